"""The trade server's side: what it does with a request, and what it does by itself as time and prices move."""

from collections.abc import Callable

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import OrderSendResult, TradeRequest
from libs.common.mt5.retcodes import COMMENTS
from libs.common.mt5.sim import checks
from libs.common.mt5.sim.execution import (
    STOP_TYPES,
    Execution,
    cancel,
    close,
    fill,
    market_price,
    sign_of,
)
from libs.common.mt5.sim.exposure import price_reached, stop_reached
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.state import OpenPosition, PendingOrder

SATURDAY = 5


def handle(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    """Execute or refuse a request at the quotes in force.

    Parameters
    ----------
    ts_ns : when, ns UTC

    Returns
    -------
    The answer; deals that came of it are told before it.
    """
    ledger.state.requests += 1
    action = ACTIONS.get(request.action, _refuse_action)
    return action(ledger, request, ts_ns)


def refusal(ledger: Ledger, request: TradeRequest, retcode: int, comment: str = "") -> OrderSendResult:
    """Return the answer that says no; a requote offers the current prices."""
    quote = ledger.state.quotes.get(request.symbol)
    offers = retcode == mt5.TRADE_RETCODE_REQUOTE and quote is not None
    return OrderSendResult(
        retcode=retcode, comment=comment or COMMENTS.get(retcode, ""), request_id=ledger.state.requests,
        request=request, bid=quote.bid if offers and quote else 0.0, ask=quote.ask if offers and quote else 0.0,
    )


def act_on_quote(ledger: Ledger, symbol: str) -> None:
    """Do what a symbol's new quote calls for: SL and TP, then pending orders, then stop-out.

    Positions and orders act in the order of their tickets. A position opened here meets its own SL and TP from the
    next quote on.
    """
    instrument, quote = ledger.instruments[symbol], ledger.state.quotes[symbol]
    for position in ledger.positions(symbol):
        reason = stop_reached(instrument, position, quote)
        if reason is not None:
            _close_by_stop(ledger, position, reason, quote.time_ns)
    for order in ledger.orders(symbol):
        if price_reached(instrument, order, quote):
            _activate(ledger, order, quote.time_ns)
    stop_out(ledger, quote.time_ns)


def stop_out(ledger: Ledger, ts_ns: int) -> None:
    """Close the largest loser, again and again, while the margin level is at or below the stop-out level."""
    while ledger.state.positions:
        margin, equity = ledger.margin(), ledger.equity()
        if margin <= 0.0 or equity * 100.0 > margin * ledger.settings.stop_out_pct:
            return
        loser = min(ledger.positions(), key=lambda p: (ledger.floating(p) + p.swap_ccy, p.ticket))
        price = market_price(ledger, loser.symbol, -loser.sign, ledger.state.next_order)
        close(ledger, loser, price, mt5.DEAL_REASON_SO, f"[so {equity / margin * 100.0:.2f}%]", ts_ns)


def roll_over(ledger: Ledger) -> None:
    """End the server's day: charge the night's swap and start the next day's figures."""
    state = ledger.state
    new_day = ledger.clock.day(state.next_midnight_ns)
    for position in state.positions.values():
        nights = _nights(ledger, position.symbol, new_day - 1)
        if nights:
            position.swap_ccy = ledger.round_ccy(position.swap_ccy + nights * _swap_per_night(ledger, position))
    ledger.touch()
    state.day = new_day
    state.next_midnight_ns = ledger.clock.next_midnight_ns(state.next_midnight_ns)
    state.day_start_equity_ccy = ledger.equity()


def expire_orders(ledger: Ledger, symbol: str, ts_ns: int) -> None:
    """Take off the symbol's pending orders whose time is over."""
    for order in ledger.orders(symbol):
        if 0 < order.expires_ns <= ts_ns:
            cancel(ledger, order, mt5.ORDER_STATE_EXPIRED, order.expires_ns)


def _nights(ledger: Ledger, symbol: str, ended_day: int) -> int:
    if ledger.instruments[symbol].config.session == "always":
        return 1
    week_day = ledger.clock.week_day(ended_day)
    if week_day >= SATURDAY:
        return 0
    return 3 if week_day == ledger.settings.triple_swap_day else 1


def _swap_per_night(ledger: Ledger, position: OpenPosition) -> float:
    instrument, quote = ledger.instruments[position.symbol], ledger.state.quotes[position.symbol]
    config = instrument.config
    points = config.swap_long_points if position.sign > 0 else config.swap_short_points
    price = quote.bid if position.sign > 0 else quote.ask
    # Swap points are price differences, so they are worth what a profit of so many points is worth.
    amount = ledger.profit(position.symbol, 1, position.volume_lots, price - points * instrument.point, price)
    assert amount is not None, "no position is opened before its rates are known"
    return amount


def _close_by_stop(ledger: Ledger, position: OpenPosition, reason: int, ts_ns: int) -> None:
    digits = ledger.instruments[position.symbol].digits
    if reason == mt5.DEAL_REASON_TP:
        close(ledger, position, position.tp, reason, f"[tp {position.tp:.{digits}f}]", ts_ns)
        return
    price = market_price(ledger, position.symbol, -position.sign, ledger.state.next_order)
    close(ledger, position, price, reason, f"[sl {position.sl:.{digits}f}]", ts_ns)


def _activate(ledger: Ledger, order: PendingOrder, ts_ns: int) -> None:
    sign = sign_of(order.type)
    needed = checks.additional_margin(ledger, order.symbol, sign, order.volume_lots, order.price)
    if needed is None or needed > ledger.equity() - ledger.margin():
        cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
        return
    price = order.price
    if order.type in STOP_TYPES:
        price = market_price(ledger, order.symbol, sign, order.ticket)
    del ledger.state.orders[order.ticket]
    fill(ledger, Execution(
        order=order.ticket, symbol=order.symbol, sign=sign, type=order.type, volume_lots=order.volume_lots,
        price=price, sl=order.sl, tp=order.tp, magic=order.magic, comment=order.comment, placed_ns=order.placed_ns,
        type_filling=order.type_filling, type_time=order.type_time,
    ), ts_ns)


def _deal(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    code = checks.first_refusal(checks.DEAL_CHECKS, ledger, request, ts_ns)
    if code != checks.OK:
        return refusal(ledger, request, code)
    quote, sign = ledger.state.quotes[request.symbol], sign_of(request.type)
    ticket = ledger.take_order_ticket()
    deal = fill(ledger, Execution(
        order=ticket, symbol=request.symbol, sign=sign, type=request.type, volume_lots=request.volume,
        price=market_price(ledger, request.symbol, sign, ticket), sl=request.sl, tp=request.tp,
        position=request.position, magic=request.magic, comment=request.comment, placed_ns=ts_ns,
        type_filling=request.type_filling, type_time=request.type_time,
    ), ts_ns)
    return OrderSendResult(
        retcode=mt5.TRADE_RETCODE_DONE, deal=deal.ticket, order=ticket, volume=deal.volume, price=deal.price,
        bid=quote.bid, ask=quote.ask, comment=COMMENTS[mt5.TRADE_RETCODE_DONE], request_id=ledger.state.requests,
        request=request,
    )


def _place(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    code = checks.first_refusal(checks.PENDING_CHECKS, ledger, request, ts_ns)
    if code != checks.OK:
        return refusal(ledger, request, code)
    ticket = ledger.take_order_ticket()
    ledger.state.orders[ticket] = PendingOrder(
        ticket=ticket, symbol=request.symbol, type=request.type, magic=request.magic, volume_lots=request.volume,
        price=request.price, sl=request.sl, tp=request.tp, placed_ns=ts_ns, type_time=request.type_time,
        type_filling=request.type_filling, expires_ns=_expires_ns(ledger, request, ts_ns), comment=request.comment,
    )
    ledger.touch(request.symbol)
    return _done(ledger, request, ticket)


def _expires_ns(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.type_time == mt5.ORDER_TIME_DAY:
        return ledger.clock.next_midnight_ns(ts_ns)
    if request.type_time == mt5.ORDER_TIME_SPECIFIED:
        return ledger.clock.utc_ns(request.expiration)
    return 0


def _move_stops(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    position = ledger.state.positions.get(request.position)
    if position is None and request.position == 0 and not ledger.settings.hedging:
        position = next(iter(ledger.positions(request.symbol)), None)
    if position is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_POSITION_CLOSED)
    if not checks.is_session_open(ledger, position.symbol, ts_ns):
        return refusal(ledger, request, mt5.TRADE_RETCODE_MARKET_CLOSED)
    if (request.sl, request.tp) == (position.sl, position.tp):
        return refusal(ledger, request, mt5.TRADE_RETCODE_NO_CHANGES)
    quote = ledger.state.quotes[position.symbol]
    instrument = ledger.instruments[position.symbol]
    # A level that stays as it was need not be far enough from where the price is now.
    sl = request.sl if request.sl != position.sl else 0.0
    tp = request.tp if request.tp != position.tp else 0.0
    if not instrument.is_stop_allowed(position.sign, sl, tp, quote.bid, quote.ask):
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID_STOPS)
    position.sl, position.tp, position.updated_ns = request.sl, request.tp, ts_ns
    ledger.touch(position.symbol)
    return _done(ledger, request, 0)


def _modify(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    order = ledger.state.orders.get(request.order)
    if order is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)
    asked = request._replace(symbol=order.symbol, type=order.type, volume=order.volume_lots)
    code = checks.first_refusal(checks.PENDING_CHECKS, ledger, asked, ts_ns)
    if code != checks.OK:
        return refusal(ledger, request, code)
    wished = (request.price, request.sl, request.tp, request.type_time, _expires_ns(ledger, request, ts_ns))
    if wished == (order.price, order.sl, order.tp, order.type_time, order.expires_ns):
        return refusal(ledger, request, mt5.TRADE_RETCODE_NO_CHANGES)
    order.price, order.sl, order.tp, order.type_time, order.expires_ns = wished
    ledger.touch(order.symbol)
    return _done(ledger, request, order.ticket)


def _remove(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    order = ledger.state.orders.get(request.order)
    if order is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)
    cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
    return _done(ledger, request, order.ticket)


def _refuse_action(ledger: Ledger, request: TradeRequest, ts_ns: int) -> OrderSendResult:
    return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)


def _done(ledger: Ledger, request: TradeRequest, ticket: int) -> OrderSendResult:
    return OrderSendResult(
        retcode=mt5.TRADE_RETCODE_DONE, order=ticket, volume=request.volume, price=request.price,
        comment=COMMENTS[mt5.TRADE_RETCODE_DONE], request_id=ledger.state.requests, request=request,
    )


Action = Callable[[Ledger, TradeRequest, int], OrderSendResult]
ACTIONS: dict[int, Action] = {
    mt5.TRADE_ACTION_DEAL: _deal,
    mt5.TRADE_ACTION_PENDING: _place,
    mt5.TRADE_ACTION_SLTP: _move_stops,
    mt5.TRADE_ACTION_MODIFY: _modify,
    mt5.TRADE_ACTION_REMOVE: _remove,
}
"""What the server can be asked; anything else is an invalid request."""
