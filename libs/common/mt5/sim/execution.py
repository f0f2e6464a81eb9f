"""Execution: how an order becomes deals and positions, on hedging and on netting accounts."""

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeDeal, TradeOrder
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.liquidity import take
from libs.common.mt5.sim.state import Execution, OpenPosition, PendingOrder
from libs.common.trading.money import UNIT

BUY_TYPES = frozenset((
    mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_BUY_STOP_LIMIT,
))
STOP_TYPES = frozenset((mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP))
STOP_LIMIT_TYPES = frozenset((mt5.ORDER_TYPE_BUY_STOP_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT))
LIMIT_TYPES = frozenset((mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_LIMIT))
_DUST_LOTS = 5e-9


def sign_of(order_type: int) -> int:
    """Return +1 for an order type that buys, -1 for one that sells."""
    return 1 if order_type in BUY_TYPES else -1


def target_of(ledger: Ledger, symbol: str, sign: int, position: int) -> OpenPosition | None:
    """Return the position that a deal of this direction meets: the one named, or a netting account's only one."""
    if position:
        return ledger.state.positions.get(position)
    if ledger.settings.hedging:
        return None
    return next(iter(ledger.symbols[symbol].exposure.positions.values()), None)


def fill(ledger: Ledger, execution: Execution, ts_ns: int) -> TradeDeal:
    """Make one deal: open, add to, reduce, close or reverse a position.

    Parameters
    ----------
    execution : already checked: volume, margin and the position it names are in order
    ts_ns : when, ns UTC

    Returns
    -------
    The deal, booked and told; the order is not yet in the history, see ``finish``.
    """
    take(ledger, ledger.symbols[execution.symbol], execution.sign, execution.volume_lots)
    target = target_of(ledger, execution.symbol, execution.sign, execution.position)
    if target is None:
        target = _own_position(ledger, execution)
    if target is None:
        return _open(ledger, execution, ts_ns)
    if target.sign == execution.sign:
        return _add(ledger, execution, target, ts_ns)
    if execution.volume_lots > target.volume_lots + _DUST_LOTS:
        return _reverse(ledger, execution, target, ts_ns)
    return _reduce(ledger, execution, target, ts_ns)


def _own_position(ledger: Ledger, execution: Execution) -> OpenPosition | None:
    """Return the position that earlier deals of the order have opened, also where a swap has given it a new ticket."""
    own = ledger.state.positions.get(execution.order)
    if own is not None or not execution.is_rest:
        return own
    held = ledger.symbols[execution.symbol].exposure.positions.values()
    return next((p for p in held if p.identifier == execution.order), None)


def close(ledger: Ledger, position: OpenPosition, price: float, reason: int, comment: str, ts_ns: int) -> TradeDeal:
    """Close a whole position by the server's own order (SL, TP or stop-out)."""
    execution = Execution(
        order=ledger.take_order_ticket(), symbol=position.symbol, sign=-position.sign,
        type=mt5.ORDER_TYPE_SELL if position.sign > 0 else mt5.ORDER_TYPE_BUY, volume_lots=position.volume_lots,
        price=price, position=position.ticket, magic=position.magic, comment=comment, reason=reason, placed_ns=ts_ns,
    )
    deal = fill(ledger, execution, ts_ns)
    finish(ledger, execution, deal, ts_ns)
    return deal


def close_by(
    ledger: Ledger, position: OpenPosition, other: OpenPosition, execution: Execution, ts_ns: int
) -> TradeDeal:
    """Close a position by an opposite one, both at the opposite one's opening price.

    The whole profit is in the first position's deal; what the second one's price adds to it is nothing.
    """
    first_id, other_id = position.identifier, other.identifier
    deal = _reduce(ledger, execution, position, ts_ns, entry=mt5.DEAL_ENTRY_OUT_BY)
    counter = msgspec.structs.replace(execution, sign=-execution.sign, position=other.ticket)
    _reduce(ledger, counter, other, ts_ns, entry=mt5.DEAL_ENTRY_OUT_BY)
    _remember(ledger, execution, deal.magic, first_id, ts_ns, by_id=other_id)
    return deal


def finish(
    ledger: Ledger, execution: Execution, deal: TradeDeal, ts_ns: int, *, state: int = mt5.ORDER_STATE_FILLED,
    initial_lots: float = 0.0, rest_lots: float = 0.0, price_stoplimit: float = 0.0,
) -> None:
    """Put an order that is over into the history.

    Parameters
    ----------
    deal : its last deal
    initial_lots, rest_lots : as placed (0.0: the execution's volume), and what was not filled
    """
    _remember(ledger, execution, deal.magic, deal.position_id, ts_ns, state=state, rest_lots=rest_lots,
              initial_lots=initial_lots or execution.volume_lots, price_stoplimit=price_stoplimit)


def cancel(ledger: Ledger, order: PendingOrder, state: int, ts_ns: int) -> None:
    """Take an order off the book; ``state`` says why (ORDER_STATE_*)."""
    ledger.withdraw(order)
    done_msc = ledger.clock.msc(ts_ns)
    ledger.remember_order(pending_as_order(ledger, order)._replace(
        state=state, time_done=done_msc // 1000, time_done_msc=done_msc,
    ))


def pending_as_order(ledger: Ledger, order: PendingOrder) -> TradeOrder:
    """Return an order on the book as the package shows it."""
    placed_msc = ledger.clock.msc(order.placed_ns)
    quote = ledger.state.quotes[order.symbol]
    initial = order.volume_initial_lots or order.volume_lots
    started = order.volume_lots < initial - _DUST_LOTS
    return TradeOrder(
        ticket=order.ticket, time_setup=placed_msc // 1000, time_setup_msc=placed_msc,
        time_expiration=ledger.clock.msc(order.expires_ns) // 1000 if order.expires_ns else 0, type=order.type,
        type_time=order.type_time, type_filling=order.type_filling,
        state=mt5.ORDER_STATE_PARTIAL if started else mt5.ORDER_STATE_PLACED, magic=order.magic,
        position_id=order.position_id or order.position, reason=order.reason, volume_initial=initial,
        volume_current=order.volume_lots, price_open=order.price, sl=order.sl, tp=order.tp,
        price_current=quote.ask if sign_of(order.type) > 0 else quote.bid, price_stoplimit=order.stoplimit,
        symbol=order.symbol, comment=order.comment,
    )


def _open(ledger: Ledger, execution: Execution, ts_ns: int) -> TradeDeal:
    identifier = execution.identifier or execution.order
    ledger.add(_position(ledger, execution, identifier, execution.volume_lots, ts_ns))
    return _deal(ledger, execution, mt5.DEAL_ENTRY_IN, identifier, ts_ns)


def _add(ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int) -> TradeDeal:
    before, more = target.volume_lots, execution.volume_lots
    total = ledger.instruments[target.symbol].add_volumes(before, more)
    ledger.leave(target)
    target.price_open = (target.price_open * before + execution.price * more) / total
    target.margin_per_lot_ccy = (
        target.margin_per_lot_ccy * before + _margin_per_lot(ledger, execution) * more
    ) / total
    target.volume_lots, target.sl, target.tp, target.updated_ns = total, execution.sl, execution.tp, ts_ns
    ledger.enter(target)
    return _deal(ledger, execution, mt5.DEAL_ENTRY_IN, target.identifier, ts_ns)


def _reduce(
    ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int, entry: int = mt5.DEAL_ENTRY_OUT
) -> TradeDeal:
    profit = _realised(ledger, execution, target, execution.volume_lots)
    rest = ledger.instruments[target.symbol].add_volumes(target.volume_lots, -execution.volume_lots)
    swap = target.swap_ccy
    if rest <= 0.0:
        ledger.remove(target)
    else:
        if swap:
            swap = ledger.round_ccy(swap * execution.volume_lots / target.volume_lots)
        ledger.leave(target)
        target.swap_ccy = ledger.round_ccy(target.swap_ccy - swap)
        target.volume_lots, target.updated_ns = rest, ts_ns
        ledger.enter(target)
    return _deal(ledger, execution, entry, target.identifier, ts_ns, profit, swap, execution.magic or target.magic)


def _reverse(ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int) -> TradeDeal:
    profit = _realised(ledger, execution, target, target.volume_lots)
    rest = ledger.instruments[target.symbol].add_volumes(execution.volume_lots, -target.volume_lots)
    ledger.remove(target)
    ledger.add(_position(ledger, execution, target.identifier, rest, ts_ns))
    return _deal(ledger, execution, mt5.DEAL_ENTRY_INOUT, target.identifier, ts_ns, profit, target.swap_ccy)


def _position(ledger: Ledger, execution: Execution, identifier: int, lots: float, ts_ns: int) -> OpenPosition:
    return OpenPosition(
        ticket=execution.order, identifier=identifier, symbol=execution.symbol, sign=execution.sign,
        magic=execution.magic, volume_lots=lots, price_open=execution.price, sl=execution.sl, tp=execution.tp,
        opened_ns=ts_ns, updated_ns=ts_ns, margin_per_lot_ccy=_margin_per_lot(ledger, execution),
        comment=execution.comment, reason=execution.reason,
    )


def _realised(ledger: Ledger, execution: Execution, target: OpenPosition, lots: float) -> float:
    profit = ledger.profit(target.symbol, target.sign, lots, target.price_open, execution.price)
    assert profit is not None, "no position is opened before its rates are known"
    return profit


def _margin_per_lot(ledger: Ledger, execution: Execution) -> float:
    margin = ledger.margin_per_lot(execution.symbol, execution.price, execution.sign, held=True)
    assert margin is not None, "checked before the fill"
    return margin


def _deal(
    ledger: Ledger, execution: Execution, entry: int, position_id: int, ts_ns: int, profit: float = 0.0,
    swap: float = 0.0, magic: int | None = None,
) -> TradeDeal:
    traded, lots, msc = ledger.symbols[execution.symbol], execution.volume_lots, ledger.clock.msc(ts_ns)
    per_deal = traded.terms.commission_pct > 0.0
    commission = traded.commission(
        lots, _value_ccy(ledger, execution) if per_deal else 0.0,
        opens=entry in (mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_INOUT), closes=entry != mt5.DEAL_ENTRY_IN,
    )
    fee = ledger.round_ccy(-traded.terms.fee_per_lot_ccy * lots) if traded.terms.fee_per_lot_ccy else 0.0
    # By position, which is twice as fast as by name; the order of the fields is the package's.
    return ledger.book(TradeDeal(
        ledger.take_deal_ticket(), execution.order, msc // 1000, msc,
        mt5.DEAL_TYPE_BUY if execution.sign > 0 else mt5.DEAL_TYPE_SELL, entry,
        execution.magic if magic is None else magic, position_id, execution.reason, lots, execution.price,
        ledger.round_ccy(commission), swap, profit, fee, execution.symbol, execution.comment,
    ), ts_ns)


def _value_ccy(ledger: Ledger, execution: Execution) -> float:
    """Return what the volume dealt is worth, account currency."""
    traded = ledger.symbols[execution.symbol]
    amount = execution.volume_lots * traded.value_per_lot * execution.price
    if traded.in_account:
        return amount
    if traded.own_rate:
        return amount / execution.price
    return amount * ledger.rates().get(traded.config.profit_currency, UNIT).loss


def _remember(
    ledger: Ledger, execution: Execution, magic: int, position_id: int, ts_ns: int, *,
    state: int = mt5.ORDER_STATE_FILLED, initial_lots: float = 0.0, rest_lots: float = 0.0, by_id: int = 0,
    price_stoplimit: float = 0.0,
) -> None:
    setup_msc, done_msc = ledger.clock.msc(execution.placed_ns), ledger.clock.msc(ts_ns)
    ledger.remember_order(TradeOrder(
        execution.order, setup_msc // 1000, setup_msc, done_msc // 1000, done_msc, 0, execution.type,
        execution.type_time, execution.type_filling, state, magic, position_id, by_id, execution.reason,
        initial_lots or execution.volume_lots, rest_lots, execution.price, execution.sl, execution.tp, execution.price,
        price_stoplimit, execution.symbol, execution.comment,
    ))
