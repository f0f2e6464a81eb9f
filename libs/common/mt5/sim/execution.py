"""Execution: how an order becomes deals and positions, on hedging and on netting accounts."""

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeDeal, TradeOrder
from libs.common.mt5.sim.draws import slippage_points
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.state import OpenPosition, PendingOrder

BUY_TYPES = (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP)
STOP_TYPES = (mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP)


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """An order at the moment it is filled.

    Parameters
    ----------
    order : its ticket
    sign : +1 buys, -1 sells
    type : ORDER_TYPE_* it was placed as
    price : fill price
    position : ticket of the position it closes, 0 for none named
    reason : ORDER_REASON_*, the deal's reason has the same number
    placed_ns : when the order was placed, ns UTC
    """

    order: int
    symbol: str
    sign: int
    type: int
    volume_lots: float
    price: float
    sl: float = 0.0
    tp: float = 0.0
    position: int = 0
    magic: int = 0
    comment: str = ""
    reason: int = mt5.ORDER_REASON_EXPERT
    placed_ns: int
    type_filling: int = mt5.ORDER_FILLING_FOK
    type_time: int = mt5.ORDER_TIME_GTC


def sign_of(order_type: int) -> int:
    """Return +1 for an order type that buys, -1 for one that sells."""
    return 1 if order_type in BUY_TYPES else -1


def market_price(ledger: Ledger, symbol: str, sign: int, order_ticket: int) -> float:
    """Return what a market order is filled at now: ask or bid, made worse by the slippage of its ticket."""
    quote, instrument = ledger.state.quotes[symbol], ledger.instruments[symbol]
    slip = slippage_points(ledger.settings, ledger.seed, order_ticket)
    return instrument.shift(quote.ask if sign > 0 else quote.bid, sign * slip)


def target_of(ledger: Ledger, symbol: str, sign: int, position: int) -> OpenPosition | None:
    """Return the position that a deal of this direction meets: the one named, or a netting account's only one."""
    if position:
        return ledger.state.positions.get(position)
    if ledger.settings.hedging:
        return None
    return next(iter(ledger.positions(symbol)), None)


def fill(ledger: Ledger, execution: Execution, ts_ns: int) -> TradeDeal:
    """Fill an order whole: open, add to, reduce, close or reverse a position.

    Parameters
    ----------
    execution : already checked: volume, margin and the position it names are in order
    ts_ns : when, ns UTC

    Returns
    -------
    The deal, booked and told.
    """
    target = target_of(ledger, execution.symbol, execution.sign, execution.position)
    if target is None:
        deal = _open(ledger, execution, ts_ns)
    elif target.sign == execution.sign:
        deal = _add(ledger, execution, target, ts_ns)
    elif execution.volume_lots > target.volume_lots + 5e-9:
        deal = _reverse(ledger, execution, target, ts_ns)
    else:
        deal = _reduce(ledger, execution, target, ts_ns)
    ledger.remember_order(_history_order(ledger, execution, deal, ts_ns))
    return deal


def close(ledger: Ledger, position: OpenPosition, price: float, reason: int, comment: str, ts_ns: int) -> TradeDeal:
    """Close a whole position by the server's own order (SL, TP or stop-out)."""
    return fill(ledger, Execution(
        order=ledger.take_order_ticket(), symbol=position.symbol, sign=-position.sign,
        type=mt5.ORDER_TYPE_SELL if position.sign > 0 else mt5.ORDER_TYPE_BUY, volume_lots=position.volume_lots,
        price=price, position=position.ticket, magic=position.magic, comment=comment, reason=reason, placed_ns=ts_ns,
    ), ts_ns)


def cancel(ledger: Ledger, order: PendingOrder, state: int, ts_ns: int) -> None:
    """Take a pending order off the book; ``state`` says why (ORDER_STATE_*)."""
    del ledger.state.orders[order.ticket]
    ledger.touch(order.symbol)
    ledger.remember_order(pending_as_order(ledger, order)._replace(
        state=state, time_done=ledger.clock.msc(ts_ns) // 1000, time_done_msc=ledger.clock.msc(ts_ns),
    ))


def pending_as_order(ledger: Ledger, order: PendingOrder) -> TradeOrder:
    """Return a pending order as the package shows it."""
    placed_msc = ledger.clock.msc(order.placed_ns)
    quote = ledger.state.quotes[order.symbol]
    return TradeOrder(
        ticket=order.ticket, time_setup=placed_msc // 1000, time_setup_msc=placed_msc,
        time_expiration=ledger.clock.msc(order.expires_ns) // 1000 if order.expires_ns else 0, type=order.type,
        type_time=order.type_time, type_filling=order.type_filling, state=mt5.ORDER_STATE_PLACED, magic=order.magic,
        reason=mt5.ORDER_REASON_EXPERT, volume_initial=order.volume_lots, volume_current=order.volume_lots,
        price_open=order.price, sl=order.sl, tp=order.tp,
        price_current=quote.ask if sign_of(order.type) > 0 else quote.bid, symbol=order.symbol, comment=order.comment,
    )


def _open(ledger: Ledger, execution: Execution, ts_ns: int) -> TradeDeal:
    ledger.state.positions[execution.order] = OpenPosition(
        ticket=execution.order, identifier=execution.order, symbol=execution.symbol, sign=execution.sign,
        magic=execution.magic, volume_lots=execution.volume_lots, price_open=execution.price, sl=execution.sl,
        tp=execution.tp, opened_ns=ts_ns, updated_ns=ts_ns, margin_per_lot_ccy=_margin_per_lot(ledger, execution),
        comment=execution.comment,
    )
    return ledger.book(_deal(ledger, execution, mt5.DEAL_ENTRY_IN, execution.order, ts_ns), ts_ns)


def _add(ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int) -> TradeDeal:
    before, more = target.volume_lots, execution.volume_lots
    total = ledger.instruments[target.symbol].add_volumes(before, more)
    target.price_open = (target.price_open * before + execution.price * more) / total
    target.margin_per_lot_ccy = (
        target.margin_per_lot_ccy * before + _margin_per_lot(ledger, execution) * more
    ) / total
    target.volume_lots, target.sl, target.tp, target.updated_ns = total, execution.sl, execution.tp, ts_ns
    return ledger.book(_deal(ledger, execution, mt5.DEAL_ENTRY_IN, target.identifier, ts_ns), ts_ns)


def _reduce(ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int) -> TradeDeal:
    deal = _deal(ledger, execution, mt5.DEAL_ENTRY_OUT, target.identifier, ts_ns)._replace(
        profit=_realised(ledger, execution, target, execution.volume_lots),
        magic=execution.magic or target.magic,
    )
    rest = ledger.instruments[target.symbol].add_volumes(target.volume_lots, -execution.volume_lots)
    if rest <= 0.0:
        deal = deal._replace(swap=target.swap_ccy)
        del ledger.state.positions[target.ticket]
    else:
        swap = ledger.round_ccy(target.swap_ccy * execution.volume_lots / target.volume_lots)
        deal = deal._replace(swap=swap)
        target.swap_ccy = ledger.round_ccy(target.swap_ccy - swap)
        target.volume_lots, target.updated_ns = rest, ts_ns
    return ledger.book(deal, ts_ns)


def _reverse(ledger: Ledger, execution: Execution, target: OpenPosition, ts_ns: int) -> TradeDeal:
    deal = _deal(ledger, execution, mt5.DEAL_ENTRY_INOUT, target.identifier, ts_ns)._replace(
        profit=_realised(ledger, execution, target, target.volume_lots), swap=target.swap_ccy,
    )
    rest = ledger.instruments[target.symbol].add_volumes(execution.volume_lots, -target.volume_lots)
    del ledger.state.positions[target.ticket]
    ledger.state.positions[execution.order] = OpenPosition(
        ticket=execution.order, identifier=target.identifier, symbol=target.symbol, sign=execution.sign,
        magic=execution.magic, volume_lots=rest, price_open=execution.price, sl=execution.sl, tp=execution.tp,
        opened_ns=ts_ns, updated_ns=ts_ns, margin_per_lot_ccy=_margin_per_lot(ledger, execution),
        comment=execution.comment,
    )
    return ledger.book(deal, ts_ns)


def _realised(ledger: Ledger, execution: Execution, target: OpenPosition, lots: float) -> float:
    profit = ledger.profit(target.symbol, target.sign, lots, target.price_open, execution.price)
    assert profit is not None, "no position is opened before its rates are known"
    return profit


def _margin_per_lot(ledger: Ledger, execution: Execution) -> float:
    margin = ledger.margin_per_lot(execution.symbol, execution.price)
    assert margin is not None, "checked before the fill"
    return margin


def _deal(ledger: Ledger, execution: Execution, entry: int, position_id: int, ts_ns: int) -> TradeDeal:
    msc = ledger.clock.msc(ts_ns)
    per_lot = ledger.instruments[execution.symbol].config.commission_per_lot_ccy
    return TradeDeal(
        order=execution.order, time=msc // 1000, time_msc=msc,
        type=mt5.DEAL_TYPE_BUY if execution.sign > 0 else mt5.DEAL_TYPE_SELL, entry=entry, magic=execution.magic,
        position_id=position_id, reason=execution.reason, volume=execution.volume_lots, price=execution.price,
        commission=ledger.round_ccy(-per_lot * execution.volume_lots), symbol=execution.symbol,
        comment=execution.comment,
    )


def _history_order(ledger: Ledger, execution: Execution, deal: TradeDeal, ts_ns: int) -> TradeOrder:
    setup_msc, done_msc = ledger.clock.msc(execution.placed_ns), ledger.clock.msc(ts_ns)
    return TradeOrder(
        ticket=execution.order, time_setup=setup_msc // 1000, time_setup_msc=setup_msc, time_done=done_msc // 1000,
        time_done_msc=done_msc, type=execution.type, type_time=execution.type_time,
        type_filling=execution.type_filling, state=mt5.ORDER_STATE_FILLED, magic=deal.magic,
        position_id=deal.position_id, reason=execution.reason, volume_initial=execution.volume_lots,
        price_open=execution.price, sl=execution.sl, tp=execution.tp, price_current=execution.price,
        symbol=execution.symbol, comment=execution.comment,
    )
