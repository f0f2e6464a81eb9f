"""What the trade server does by itself when prices move: SL and TP, orders on the book, stop-out."""

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeDeal
from libs.common.mt5.sim import checks
from libs.common.mt5.sim.execution import (
    LIMIT_TYPES,
    STOP_LIMIT_TYPES,
    cancel,
    close,
    fill,
    finish,
    sign_of,
)
from libs.common.mt5.sim.exposure import price_reached, stop_reached
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.liquidity import Offer, market_price, offers_for
from libs.common.mt5.sim.state import Execution, OpenPosition, PendingOrder, Quote
from libs.common.mt5.sim.traded import TradedSymbol


def act_on_quote(ledger: Ledger, symbol: str) -> None:
    """Do what a symbol's new quote calls for: SL and TP, then orders on the book, then stop-out.

    Positions and orders act in the order of their tickets. A position opened here meets its own SL and TP from the
    next quote on.
    """
    traded, quote = ledger.symbols[symbol], ledger.state.quotes[symbol]
    if ledger.settings.closed_market_triggers or traded.is_open(ledger.clock, quote.time_ns):
        seen = _seen(traded, quote)
        positions, orders = traded.exposure.reached(seen.bid, seen.ask)
        for ticket in positions:
            position = ledger.state.positions[ticket]
            reason = stop_reached(traded.instrument, position, seen)
            if reason is not None:
                _close_by_stop(ledger, position, reason, quote.time_ns)
        for ticket in orders:
            order = ledger.state.orders.get(ticket)
            if order is not None and (order.working or price_reached(traded.instrument, order, seen)):
                _activate(ledger, traded, order, quote.time_ns)
    if not ledger.is_clearly_solvent(symbol):
        stop_out(ledger, quote.time_ns)


def _seen(traded: TradedSymbol, quote: Quote) -> Quote:
    """Return the quote that orders and stops are compared with: the last trade's price where the symbol says so."""
    if not traded.by_last or quote.last <= 0.0:
        return quote
    return Quote(quote.time_ns, quote.last, quote.last, quote.last)


def stop_out(ledger: Ledger, ts_ns: int) -> None:
    """Free margin while the account is at or below the stop-out level.

    First the orders go that tie up margin, then the largest loser is closed, again and again.
    """
    settings, state = ledger.settings, ledger.state
    while state.positions or state.orders:
        margin, equity = ledger.margin(), ledger.equity()
        if margin <= 0.0:
            return
        if settings.stop_out_mode == "money":
            if equity > settings.stop_out_ccy:
                return
        elif equity * 100.0 > margin * settings.stop_out_pct:
            return
        tying = next((order for order in ledger.orders() if order.margin_per_lot_ccy), None)
        if tying is not None:
            cancel(ledger, tying, mt5.ORDER_STATE_CANCELED, ts_ns)
            continue
        if not state.positions:
            return
        loser = min(ledger.positions(), key=lambda p: (ledger.floating(p) + p.swap_ccy, p.ticket))
        price = market_price(ledger, loser.symbol, -loser.sign, state.next_order)
        close(ledger, loser, price, mt5.DEAL_REASON_SO, f"[so {equity / margin * 100.0:.2f}%]", ts_ns)


def _close_by_stop(ledger: Ledger, position: OpenPosition, reason: int, ts_ns: int) -> None:
    traded = ledger.symbols[position.symbol]
    digits = traded.digits
    if reason == mt5.DEAL_REASON_TP:
        price = limit_price(ledger, traded, -position.sign, position.tp)
        close(ledger, position, price, reason, f"[tp {position.tp:.{digits}f}]", ts_ns)
        return
    price = market_price(ledger, position.symbol, -position.sign, ledger.state.next_order)
    close(ledger, position, price, reason, f"[sl {position.sl:.{digits}f}]", ts_ns)


def limit_price(ledger: Ledger, traded: TradedSymbol, sign: int, level: float) -> float:
    """Return what a limit order or TP at this level is filled at: the level, or the quote that jumped over it."""
    if ledger.settings.limit_fill == "level":
        return level
    quote = ledger.state.quotes[traded.symbol]
    price = traded.instrument.round_price(quote.ask if sign > 0 else quote.bid)
    return min(price, level) if sign > 0 else max(price, level)


def _activate(ledger: Ledger, traded: TradedSymbol, order: PendingOrder, ts_ns: int) -> None:
    """Let an order whose price has come, or that waits for volume, be filled as far as there is volume."""
    sign = sign_of(order.type)
    if order.type in STOP_LIMIT_TYPES and not order.working:
        _become_limit(ledger, traded, order, ts_ns)
        return
    if not (_still_closes(ledger, order) if order.position else _has_money(ledger, order, sign)):
        cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
        return
    if order.type in LIMIT_TYPES:
        price = limit_price(ledger, traded, sign, order.price)
    else:
        price = market_price(ledger, order.symbol, sign, order.ticket)
    offers = offers_for(ledger, traded, sign, order.volume_lots, price)
    if order.type in LIMIT_TYPES:
        offers = [o for o in offers if sign * (o.price - order.price) <= traded.point / 2]
    fill_order(ledger, traded, order, offers, ts_ns)


def _still_closes(ledger: Ledger, order: PendingOrder) -> bool:
    position = ledger.state.positions.get(order.position)
    return position is not None and order.volume_lots <= position.volume_lots + 5e-9


def _has_money(ledger: Ledger, order: PendingOrder, sign: int) -> bool:
    needed = checks.additional_margin(ledger, order.symbol, sign, order.volume_lots, order.price)
    tied = order.volume_lots * order.margin_per_lot_ccy
    return needed is not None and needed - tied <= ledger.equity() - ledger.margin()


def _become_limit(ledger: Ledger, traded: TradedSymbol, order: PendingOrder, ts_ns: int) -> None:
    """Turn a stop-limit order whose stop has been reached into its limit order; it is filled from the next quote on."""
    buys = sign_of(order.type) > 0
    ledger.suspend(order)
    order.type = mt5.ORDER_TYPE_BUY_LIMIT if buys else mt5.ORDER_TYPE_SELL_LIMIT
    order.price = order.stoplimit
    ledger.place(order)
    at_once = price_reached(traded.instrument, order, _seen(traded, ledger.state.quotes[order.symbol]))
    if order.type_filling == mt5.ORDER_FILLING_BOC and at_once:
        cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)


def fill_order(
    ledger: Ledger, traded: TradedSymbol, order: PendingOrder, offers: list[Offer], ts_ns: int
) -> TradeDeal | None:
    """Fill an order on the book with what is offered; what is left of it keeps waiting or is cancelled.

    Returns
    -------
    The last deal; ``None`` when nothing was offered.
    """
    offered = sum(offer.lots for offer in offers)
    whole = offered >= order.volume_lots - 5e-9
    if not whole and order.type_filling == mt5.ORDER_FILLING_FOK and traded.is_market and traded.terms.depth_lots:
        cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
        return None
    ledger.suspend(order)
    deal = None
    for offer in offers:
        execution = _execution(order, offer, sign_of(order.type))
        deal = fill(ledger, execution, ts_ns)
        order.position_id = deal.position_id
        order.volume_lots = traded.instrument.add_volumes(order.volume_lots, -offer.lots)
    if whole and deal is not None:
        del ledger.state.orders[order.ticket]
        finish(ledger, execution, deal, ts_ns, initial_lots=order.volume_initial_lots, price_stoplimit=order.stoplimit)
        return deal
    order.working = order.working or order.type not in LIMIT_TYPES
    ledger.place(order)
    if order.type_filling == mt5.ORDER_FILLING_IOC:
        cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
    return deal


def _execution(order: PendingOrder, offer: Offer, sign: int) -> Execution:
    return Execution(
        order=order.ticket, symbol=order.symbol, sign=sign, type=order.type, volume_lots=offer.lots,
        price=offer.price, sl=order.sl, tp=order.tp, position=order.position, magic=order.magic,
        comment=order.comment, reason=order.reason, placed_ns=order.placed_ns, type_filling=order.type_filling,
        type_time=order.type_time, is_rest=order.position_id > 0,
    )
