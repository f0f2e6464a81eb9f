"""The trade server's side of a request: what it does with each action, and what it answers."""

from collections.abc import Callable
from typing import Any

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import OrderSendResult, TradeRequest
from libs.common.mt5.retcodes import COMMENTS
from libs.common.mt5.sim import checks
from libs.common.mt5.sim.checks import Question, checks_for, first_refusal
from libs.common.mt5.sim.execution import STOP_LIMIT_TYPES, cancel, close_by, fill, finish
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.liquidity import Offer, market_price, offers_for
from libs.common.mt5.sim.rollover import expire_orders, roll_over
from libs.common.mt5.sim.state import Execution, OpenPosition, PendingOrder
from libs.common.mt5.sim.treatment import PLAIN, Treatment
from libs.common.mt5.sim.triggers import act_on_quote, stop_out

__all__ = ["act_on_quote", "expire_orders", "handle", "refusal", "roll_over", "stop_out"]

_ORDER_DONE = frozenset((mt5.TRADE_RETCODE_PLACED, mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL))
_OFFERS_PRICES = frozenset((mt5.TRADE_RETCODE_REQUOTE, mt5.TRADE_RETCODE_PRICE_CHANGED))
_SECOND_NS = 1_000_000_000
_DUST_LOTS = 5e-9


def handle(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment = PLAIN) -> OrderSendResult:
    """Execute or refuse a request at the quotes in force.

    Parameters
    ----------
    ts_ns : when, ns UTC
    treatment : what is done otherwise than the rules say

    Returns
    -------
    The answer; deals that came of it are told before it.
    """
    ledger.state.requests += 1
    code = treatment.refuse_with or _permission(ledger, ts_ns, treatment)
    if code:
        return refusal(ledger, request, code)
    if treatment is PLAIN:
        return ACTIONS.get(request.action, _refuse_action)(ledger, request, ts_ns, treatment)
    return _handle_specially(ledger, request, ts_ns, treatment)


def _handle_specially(
    ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment
) -> OrderSendResult:
    ledger.state.next_order += treatment.skip_tickets
    ledger.state.next_deal += treatment.skip_tickets
    written = request
    if treatment.comment is not None:
        written = written._replace(comment=treatment.comment)
    if treatment.magic is not None:
        written = written._replace(magic=treatment.magic)
    ledger.notices = treatment.notices
    answer = ACTIONS.get(request.action, _refuse_action)(ledger, written, ts_ns, treatment)
    ledger.notices = 1
    answer = answer._replace(request=request)
    told = treatment.answer_with
    if not told:
        return answer
    if told in _ORDER_DONE:
        return answer._replace(retcode=told, comment=COMMENTS.get(told, ""))
    return refusal(ledger, request, told)


def _permission(ledger: Ledger, ts_ns: int, treatment: Treatment) -> int:
    """Return the code of a server or terminal that takes no requests now, or 0."""
    settings = ledger.settings
    by_program = treatment.reason == mt5.ORDER_REASON_EXPERT
    if by_program and not settings.algo_trading:
        return mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    if by_program and not settings.experts_allowed:
        return mt5.TRADE_RETCODE_SERVER_DISABLES_AT
    if not settings.trade_allowed:
        return mt5.TRADE_RETCODE_TRADE_DISABLED
    if settings.requests_per_s:
        recent = [when for when in ledger.state.recent_ns if when > ts_ns - _SECOND_NS]
        ledger.state.recent_ns = recent
        if len(recent) >= settings.requests_per_s:
            return mt5.TRADE_RETCODE_TOO_MANY_REQUESTS
        recent.append(ts_ns)
    return checks.OK


def refusal(ledger: Ledger, request: TradeRequest, retcode: int, comment: str = "") -> OrderSendResult:
    """Return the answer that says no; a requote offers the current prices."""
    quote = ledger.state.quotes.get(request.symbol)
    offers = retcode in _OFFERS_PRICES and quote is not None
    return OrderSendResult(
        retcode=retcode, comment=comment or COMMENTS.get(retcode, ""), request_id=ledger.state.requests,
        request=request, bid=quote.bid if offers and quote else 0.0, ask=quote.ask if offers and quote else 0.0,
    )


def _deal(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    question = Question(ledger, request, ts_ns, treatment)
    code = first_refusal(checks_for(question), question)
    if code:
        return refusal(ledger, request, code)
    traded, sign, lots = question.traded, question.sign, request.volume
    price = market_price(ledger, request.symbol, sign, ledger.state.next_order, treatment)
    offers = offers_for(ledger, traded, sign, lots, price, treatment)
    filled = lots if len(offers) == 1 and offers[0].lots == lots else sum(offer.lots for offer in offers)
    keeps_rest = request.type_filling == mt5.ORDER_FILLING_RETURN and treatment.rest == "filling"
    if filled < lots - _DUST_LOTS:
        kills = request.type_filling == mt5.ORDER_FILLING_FOK and treatment.rest == "filling"
        if kills or (not offers and not keeps_rest):
            return refusal(ledger, request, mt5.TRADE_RETCODE_REJECT, "No liquidity")
    ticket = ledger.take_order_ticket()
    execution = Execution(
        order=ticket, symbol=request.symbol, sign=sign, type=request.type, volume_lots=lots, price=price,
        sl=request.sl, tp=request.tp, position=request.position, magic=request.magic, comment=request.comment,
        reason=treatment.reason, placed_ns=ts_ns, type_filling=request.type_filling, type_time=request.type_time,
    )
    if filled >= lots - _DUST_LOTS:
        return _filled(ledger, request, execution, offers, ts_ns)
    if keeps_rest:
        return _keep_working(ledger, request, execution, offers, ts_ns)
    return _filled(ledger, request, execution, offers, ts_ns, rest=treatment.rest, rest_lots=lots - filled)


def _filled(
    ledger: Ledger, request: TradeRequest, execution: Execution, offers: list[Offer], ts_ns: int, *,
    rest: str = "filling", rest_lots: float = 0.0,
) -> OrderSendResult:
    """Make the deals of an order that is over with them."""
    quote = ledger.state.quotes[request.symbol]
    value = 0.0
    for offer in offers:
        execution.price, execution.volume_lots = offer
        deal = fill(ledger, execution, ts_ns)
        value += deal.price * deal.volume
    code, state = mt5.TRADE_RETCODE_DONE, mt5.ORDER_STATE_FILLED
    if rest_lots:
        rest_lots = ledger.instruments[request.symbol].add_volumes(rest_lots, 0.0)
    if rest_lots > 0.0:
        rejected = rest == "reject"
        code = mt5.TRADE_RETCODE_REJECT if rejected else mt5.TRADE_RETCODE_DONE_PARTIAL
        state = mt5.ORDER_STATE_REJECTED if rejected else mt5.ORDER_STATE_CANCELED
    finish(ledger, execution, deal, ts_ns, state=state, initial_lots=request.volume, rest_lots=rest_lots)
    if len(offers) == 1:
        lots, price = deal.volume, deal.price
    else:
        lots = ledger.instruments[request.symbol].add_volumes(request.volume, -rest_lots)
        price = value / lots
    if code == mt5.TRADE_RETCODE_REJECT:
        return refusal(ledger, request, code)
    # By position, as in ``execution``; the order of the fields is the package's.
    return OrderSendResult(
        code, deal.ticket, execution.order, lots, price, quote.bid, quote.ask, COMMENTS[code], ledger.state.requests, 0,
        request,
    )


def _keep_working(
    ledger: Ledger, request: TradeRequest, execution: Execution, offers: list[Offer], ts_ns: int
) -> OrderSendResult:
    """Fill what there is and leave the rest on the book, where every quote fills more of it."""
    add = ledger.instruments[request.symbol].add_volumes
    order = PendingOrder(
        ticket=execution.order, symbol=request.symbol, type=request.type, magic=request.magic,
        volume_lots=request.volume, price=execution.price, sl=request.sl, tp=request.tp, placed_ns=ts_ns,
        type_time=request.type_time, type_filling=request.type_filling, expires_ns=0, comment=request.comment,
        volume_initial_lots=request.volume, position=request.position, working=True, reason=execution.reason,
    )
    filled, value, deal_ticket = 0.0, 0.0, 0
    for offer in offers:
        execution.price, execution.volume_lots = offer
        deal = fill(ledger, execution, ts_ns)
        deal_ticket, order.position_id = deal.ticket, deal.position_id
        filled, value = add(filled, offer.lots), value + offer.price * offer.lots
    order.volume_lots = add(order.volume_lots, -filled)
    ledger.place(order)
    quote = ledger.state.quotes[request.symbol]
    code = mt5.TRADE_RETCODE_DONE_PARTIAL if filled else mt5.TRADE_RETCODE_PLACED
    return OrderSendResult(
        retcode=code, deal=deal_ticket, order=order.ticket, volume=filled, price=value / filled if filled else 0.0,
        bid=quote.bid, ask=quote.ask, comment=COMMENTS[code], request_id=ledger.state.requests, request=request,
    )


def _place(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    question = Question(ledger, request, ts_ns, treatment)
    code = first_refusal(checks_for(question), question)
    if code:
        return refusal(ledger, request, code)
    ticket = ledger.take_order_ticket()
    share, tied = question.traded.terms.margin_rate_pending, 0.0
    if share:
        tied = share * (ledger.margin_per_lot(request.symbol, request.price, question.sign) or 0.0)
    ledger.place(PendingOrder(
        ticket=ticket, symbol=request.symbol, type=request.type, magic=request.magic, volume_lots=request.volume,
        price=request.price, sl=request.sl, tp=request.tp, placed_ns=ts_ns, type_time=request.type_time,
        type_filling=request.type_filling, expires_ns=_expires_ns(ledger, request, ts_ns), comment=request.comment,
        volume_initial_lots=request.volume, reason=treatment.reason, margin_per_lot_ccy=tied,
        stoplimit=request.stoplimit if request.type in STOP_LIMIT_TYPES else 0.0,
    ))
    return _done(ledger, request, ticket)


def _expires_ns(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.type_time == mt5.ORDER_TIME_DAY:
        return ledger.clock.next_midnight_ns(ts_ns)
    if request.type_time == mt5.ORDER_TIME_SPECIFIED:
        return ledger.clock.utc_ns(request.expiration)
    if request.type_time == mt5.ORDER_TIME_SPECIFIED_DAY:
        return ledger.clock.utc_ns((request.expiration // 86_400 + 1) * 86_400)
    return 0


def _move_stops(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    position = ledger.state.positions.get(request.position)
    if position is None and request.position == 0 and not ledger.settings.hedging and request.symbol in ledger.symbols:
        position = next(iter(ledger.positions(request.symbol)), None)
    if position is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_POSITION_CLOSED)
    code = _stops_refusal(ledger, request, position, ts_ns)
    if code:
        return refusal(ledger, request, code)
    ledger.leave(position)
    position.sl, position.tp, position.updated_ns = request.sl, request.tp, ts_ns
    ledger.enter(position)
    return _done(ledger, request, 0)


def _stops_refusal(ledger: Ledger, request: TradeRequest, position: OpenPosition, ts_ns: int) -> int:
    traded = ledger.symbols[position.symbol]
    if not traded.is_open(ledger.clock, ts_ns):
        return mt5.TRADE_RETCODE_MARKET_CLOSED
    if (request.sl, request.tp) == (position.sl, position.tp):
        return mt5.TRADE_RETCODE_NO_CHANGES
    mode = traded.terms.order_mode
    if (request.sl and not mode & checks.ORDER_SL) or (request.tp and not mode & checks.ORDER_TP):
        return mt5.TRADE_RETCODE_INVALID_STOPS
    if checks.is_frozen_position(ledger, position):
        return mt5.TRADE_RETCODE_FROZEN
    quote = ledger.state.quotes[position.symbol]
    # A level that stays as it was need not be far enough from where the price is now.
    sl = request.sl if request.sl != position.sl else 0.0
    tp = request.tp if request.tp != position.tp else 0.0
    valid = traded.instrument.is_stop_allowed(position.sign, sl, tp, quote.bid, quote.ask)
    return checks.OK if valid else mt5.TRADE_RETCODE_INVALID_STOPS


def _modify(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    order = ledger.state.orders.get(request.order)
    if order is None or order.working:
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)
    stoplimit = request.stoplimit if order.type in STOP_LIMIT_TYPES else order.stoplimit
    asked = request._replace(symbol=order.symbol, type=order.type, volume=order.volume_lots, stoplimit=stoplimit)
    code = first_refusal(checks.MODIFY_CHECKS, Question(ledger, asked, ts_ns, treatment))
    if code:
        return refusal(ledger, request, code)
    wished: dict[str, Any] = {
        "price": request.price, "sl": request.sl, "tp": request.tp, "type_time": request.type_time,
        "expires_ns": _expires_ns(ledger, request, ts_ns), "stoplimit": stoplimit,
    }
    if all(getattr(order, name) == value for name, value in wished.items()):
        return refusal(ledger, request, mt5.TRADE_RETCODE_NO_CHANGES)
    if checks.is_frozen_order(ledger, order):
        return refusal(ledger, request, mt5.TRADE_RETCODE_FROZEN)
    ledger.suspend(order)
    for name, value in wished.items():
        setattr(order, name, value)
    ledger.place(order)
    return _done(ledger, request, order.ticket)


def _remove(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    order = ledger.state.orders.get(request.order)
    if order is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)
    if not order.working and checks.is_frozen_order(ledger, order):
        return refusal(ledger, request, mt5.TRADE_RETCODE_FROZEN)
    cancel(ledger, order, mt5.ORDER_STATE_CANCELED, ts_ns)
    return _done(ledger, request, order.ticket)


def _close_by(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    if not (request.position and request.position_by):
        return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)
    position = ledger.state.positions.get(request.position)
    other = ledger.state.positions.get(request.position_by)
    if position is None or other is None:
        return refusal(ledger, request, mt5.TRADE_RETCODE_POSITION_CLOSED)
    code = _close_by_refusal(ledger, position, other, ts_ns)
    if code:
        return refusal(ledger, request, code)
    lots = min(position.volume_lots, other.volume_lots)
    execution = Execution(
        order=ledger.take_order_ticket(), symbol=position.symbol, sign=-position.sign, type=mt5.ORDER_TYPE_CLOSE_BY,
        volume_lots=lots, price=other.price_open, position=position.ticket, magic=request.magic,
        comment=request.comment, reason=treatment.reason, placed_ns=ts_ns,
    )
    deal = close_by(ledger, position, other, execution, ts_ns)
    quote = ledger.state.quotes[position.symbol]
    return OrderSendResult(
        retcode=mt5.TRADE_RETCODE_DONE, deal=deal.ticket, order=execution.order, volume=lots, price=deal.price,
        bid=quote.bid, ask=quote.ask, comment=COMMENTS[mt5.TRADE_RETCODE_DONE], request_id=ledger.state.requests,
        request=request,
    )


def _close_by_refusal(ledger: Ledger, position: OpenPosition, other: OpenPosition, ts_ns: int) -> int:
    traded = ledger.symbols[position.symbol]
    if not ledger.settings.hedging or position.symbol != other.symbol or position.sign == other.sign:
        return mt5.TRADE_RETCODE_INVALID
    if not traded.terms.order_mode & checks.ORDER_CLOSE_BY:
        return mt5.TRADE_RETCODE_INVALID_ORDER
    if traded.terms.trade_mode == "disabled":
        return mt5.TRADE_RETCODE_TRADE_DISABLED
    if not traded.is_open(ledger.clock, ts_ns):
        return mt5.TRADE_RETCODE_MARKET_CLOSED
    frozen = checks.is_frozen_position(ledger, position) or checks.is_frozen_position(ledger, other)
    return mt5.TRADE_RETCODE_FROZEN if frozen else checks.OK


def _refuse_action(ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment) -> OrderSendResult:
    return refusal(ledger, request, mt5.TRADE_RETCODE_INVALID)


def _done(ledger: Ledger, request: TradeRequest, ticket: int) -> OrderSendResult:
    return OrderSendResult(
        retcode=mt5.TRADE_RETCODE_DONE, order=ticket, volume=request.volume, price=request.price,
        comment=COMMENTS[mt5.TRADE_RETCODE_DONE], request_id=ledger.state.requests, request=request,
    )


Action = Callable[[Ledger, TradeRequest, int, Treatment], OrderSendResult]
ACTIONS: dict[int, Action] = {
    mt5.TRADE_ACTION_DEAL: _deal,
    mt5.TRADE_ACTION_PENDING: _place,
    mt5.TRADE_ACTION_SLTP: _move_stops,
    mt5.TRADE_ACTION_MODIFY: _modify,
    mt5.TRADE_ACTION_REMOVE: _remove,
    mt5.TRADE_ACTION_CLOSE_BY: _close_by,
}
"""What the server can be asked; anything else is an invalid request."""
