"""Why the server refuses a request: ordered lists of small checks, each with its return code."""

import math
from collections.abc import Callable

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeRequest
from libs.common.mt5.sim.execution import LIMIT_TYPES, STOP_LIMIT_TYPES, STOP_TYPES, sign_of, target_of
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.liquidity import market_price
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.state import OpenPosition, PendingOrder
from libs.common.mt5.sim.traded import TradedSymbol
from libs.common.mt5.sim.treatment import PLAIN, Treatment

OK = 0
FILLING_FOK, FILLING_IOC, FILLING_BOC = 1, 2, 4
ORDER_MARKET, ORDER_LIMIT, ORDER_STOP, ORDER_STOP_LIMIT, ORDER_SL, ORDER_TP, ORDER_CLOSE_BY = 1, 2, 4, 8, 16, 32, 64
_FILLING_FLAGS = {mt5.ORDER_FILLING_FOK: FILLING_FOK, mt5.ORDER_FILLING_IOC: FILLING_IOC}
_TIME_FLAGS = {
    mt5.ORDER_TIME_GTC: 1, mt5.ORDER_TIME_DAY: 2, mt5.ORDER_TIME_SPECIFIED: 4, mt5.ORDER_TIME_SPECIFIED_DAY: 8,
}
ALL_ORDERS = 127
_DUST_LOTS = 1e-8


class Question:
    """A request with what every check needs to know about it.

    Parameters
    ----------
    traded, sign, target : of the request's symbol; the position it would reduce, if any; only when the symbol is known
    """

    __slots__ = ("ledger", "request", "sign", "target", "traded", "treatment", "ts_ns")

    def __init__(self, ledger: Ledger, request: TradeRequest, ts_ns: int, treatment: Treatment = PLAIN) -> None:
        self.ledger, self.request, self.ts_ns, self.treatment = ledger, request, ts_ns, treatment
        self.sign = sign_of(request.type)
        known = ledger.symbols.get(request.symbol)
        self.target: OpenPosition | None = None
        if known is not None:
            self.traded: TradedSymbol = known
            self.target = target_of(ledger, request.symbol, self.sign, request.position)

    @property
    def opens_lots(self) -> float:
        """What the request would open, after closing what it closes."""
        if self.target is None or self.target.sign == self.sign:
            return self.request.volume
        return max(0.0, self.request.volume - self.target.volume_lots)

    @property
    def is_closing(self) -> bool:
        """True when it opens nothing."""
        return self.opens_lots <= _DUST_LOTS


Check = Callable[[Question], int]


def first_refusal(checks: tuple[Check, ...], question: Question) -> int:
    """Return the code of the first check that refuses, or ``OK``."""
    for check in checks:
        code = check(question)
        if code:
            return code
    return OK


def symbol_is_known(q: Question) -> int:
    return OK if q.request.symbol in q.ledger.symbols else mt5.TRADE_RETCODE_INVALID


def direction_is_market(q: Question) -> int:
    return OK if q.request.type in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL) else mt5.TRADE_RETCODE_INVALID


def order_type_is_taken(q: Question) -> int:
    kind = q.request.type
    if kind <= mt5.ORDER_TYPE_SELL:
        flag = ORDER_MARKET
    elif kind in LIMIT_TYPES:
        flag = ORDER_LIMIT
    else:
        flag = ORDER_STOP if kind in STOP_TYPES else ORDER_STOP_LIMIT
    mode = q.traded.terms.order_mode
    if not mode & flag:
        return mt5.TRADE_RETCODE_INVALID_ORDER
    if (q.request.sl and not mode & ORDER_SL) or (q.request.tp and not mode & ORDER_TP):
        return mt5.TRADE_RETCODE_INVALID_STOPS
    return OK


def trade_mode_allows(q: Question) -> int:
    mode = q.traded.terms.trade_mode
    if mode == "full":
        return OK
    if mode == "disabled":
        return mt5.TRADE_RETCODE_TRADE_DISABLED
    if q.request.action == mt5.TRADE_ACTION_DEAL and q.is_closing:
        return OK
    if (mode == "long_only" and q.sign > 0) or (mode == "short_only" and q.sign < 0):
        return OK
    return {"long_only": mt5.TRADE_RETCODE_LONG_ONLY, "short_only": mt5.TRADE_RETCODE_SHORT_ONLY}.get(
        mode, mt5.TRADE_RETCODE_CLOSE_ONLY
    )


def filling_is_supported(q: Question) -> int:
    filling, execution = q.request.type_filling, q.traded.execution
    if execution in ("instant", "request"):
        return OK if filling in (0, 1, 2) else mt5.TRADE_RETCODE_INVALID_FILL
    if filling == mt5.ORDER_FILLING_RETURN and execution == "exchange":
        return OK
    flag = _FILLING_FLAGS.get(filling, 0)
    return OK if flag & q.traded.filling_mode else mt5.TRADE_RETCODE_INVALID_FILL


def pending_filling_is_supported(q: Question) -> int:
    filling = q.request.type_filling
    if filling == mt5.ORDER_FILLING_BOC:
        fits = q.request.type in LIMIT_TYPES or q.request.type in STOP_LIMIT_TYPES
        return OK if fits and q.traded.filling_mode & FILLING_BOC else mt5.TRADE_RETCODE_INVALID_FILL
    if filling > mt5.ORDER_FILLING_BOC:
        return mt5.TRADE_RETCODE_INVALID_FILL
    strict = q.ledger.settings.pending_filling == "return" and filling != mt5.ORDER_FILLING_RETURN
    return mt5.TRADE_RETCODE_INVALID_FILL if strict else OK


def volume_is_tradable(q: Question) -> int:
    return OK if q.traded.instrument.is_valid_volume(q.request.volume) else mt5.TRADE_RETCODE_INVALID_VOLUME


def volume_is_within_limit(q: Question) -> int:
    """Refuse what would take one direction's positions and orders over the symbol's limit."""
    limit = q.traded.terms.volume_limit_lots
    if limit <= 0.0:
        return OK
    exposure = q.traded.exposure
    leg = exposure.long if q.sign > 0 else exposure.short
    waiting = sum(o.volume_lots for o in exposure.orders.values() if sign_of(o.type) == q.sign)
    opens = q.opens_lots if q.request.action == mt5.TRADE_ACTION_DEAL else q.request.volume
    over = opens > 0.0 and leg.lots / 1e8 + waiting + opens > limit + _DUST_LOTS
    return mt5.TRADE_RETCODE_LIMIT_VOLUME if over else OK


def order_count_is_within_limit(q: Question) -> int:
    limit = q.ledger.settings.limit_orders
    return mt5.TRADE_RETCODE_LIMIT_ORDERS if limit and len(q.ledger.state.orders) >= limit else OK


def position_count_is_within_limit(q: Question) -> int:
    limit = q.ledger.settings.limit_positions
    full = limit and q.target is None and len(q.ledger.state.positions) >= limit
    return mt5.TRADE_RETCODE_LIMIT_POSITIONS if full else OK


def position_can_be_closed(q: Question) -> int:
    """Refuse to close what is not there, not ours to close this way, or not its turn."""
    request, position = q.request, q.target
    if request.position == 0:
        return OK
    if position is None:
        return mt5.TRADE_RETCODE_POSITION_CLOSED
    if position.symbol != request.symbol or position.sign == q.sign:
        return mt5.TRADE_RETCODE_INVALID
    if request.volume > position.volume_lots + _DUST_LOTS:
        return mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    exposure = q.traded.exposure
    if any(exposure.orders[t].position == request.position for t in exposure.working):
        return mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST
    if is_frozen_position(q.ledger, position):
        return mt5.TRADE_RETCODE_FROZEN
    if q.ledger.settings.fifo_close and min(exposure.positions) != position.ticket:
        return mt5.TRADE_RETCODE_FIFO_CLOSE
    return OK


def hedge_is_allowed(q: Question) -> int:
    settings = q.ledger.settings
    if not (settings.hedging and settings.hedge_prohibited) or q.request.position:
        return OK
    against = q.traded.exposure.short.count if q.sign > 0 else q.traded.exposure.long.count
    return mt5.TRADE_RETCODE_HEDGE_PROHIBITED if against else OK


def session_is_open(q: Question) -> int:
    return OK if q.traded.is_open(q.ledger.clock, q.ts_ns) else mt5.TRADE_RETCODE_MARKET_CLOSED


def quotes_are_there(q: Question) -> int:
    """Refuse without a quote of the symbol or of a cross its money needs: nothing is opened on a guess."""
    ledger, traded = q.ledger, q.traded
    quote = ledger.state.quotes[traded.symbol]
    if quote.bid <= 0.0:
        return mt5.TRADE_RETCODE_PRICE_OFF
    if not traded.needs_rates:
        return OK
    known = (ledger.profit(traded.symbol, 1, 1.0, quote.ask, quote.ask), ledger.margin_per_lot(traded.symbol, quote.ask))
    return mt5.TRADE_RETCODE_PRICE_OFF if None in known else OK


def price_is_still_there(q: Question) -> int:
    if q.traded.is_market:
        return OK
    if not (math.isfinite(q.request.price) and q.request.price > 0.0):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    instrument = q.traded.instrument
    offered = market_price(q.ledger, q.request.symbol, q.sign, q.ledger.state.next_order, q.treatment)
    worse_points = q.sign * (instrument.points(offered) - instrument.points(q.request.price))
    return mt5.TRADE_RETCODE_REQUOTE if worse_points > q.request.deviation else OK


def stops_are_valid(q: Question) -> int:
    request = q.request
    if request.position or (request.sl == 0.0 and request.tp == 0.0):
        return OK
    quote = q.ledger.state.quotes[request.symbol]
    valid = q.traded.instrument.is_stop_allowed(q.sign, request.sl, request.tp, quote.bid, quote.ask)
    return OK if valid else mt5.TRADE_RETCODE_INVALID_STOPS


def margin_is_enough(q: Question) -> int:
    ledger, request = q.ledger, q.request
    if q.target is not None and q.is_closing:
        return OK
    quote = ledger.state.quotes[request.symbol]
    needed = additional_margin(ledger, request.symbol, q.sign, q.opens_lots, quote.ask if q.sign > 0 else quote.bid)
    if needed is None:
        return mt5.TRADE_RETCODE_PRICE_OFF
    return mt5.TRADE_RETCODE_NO_MONEY if needed > ledger.equity() - ledger.margin() else OK


def additional_margin(ledger: Ledger, symbol: str, sign: int, lots: float, price: float) -> float | None:
    """Return by how much the account's margin grows when so much is opened; ``None`` when a rate is missing."""
    per_lot = ledger.margin_per_lot(symbol, price, sign)
    if per_lot is None:
        return None
    traded = ledger.symbols[symbol]
    exposure = traded.exposure
    if not exposure.positions:
        return ledger.round_ccy(lots * per_lot)
    sides = {1: exposure.long, -1: exposure.short}
    legs = {side: (leg.lots / 1e8, leg.margin_ccy) for side, leg in sides.items()}
    before = traded.margin_of((legs[1], legs[-1]))
    legs[sign] = legs[sign][0] + lots, legs[sign][1] + lots * per_lot
    return ledger.round_ccy(traded.margin_of((legs[1], legs[-1])) - before)


def pending_type_is_known(q: Question) -> int:
    known = mt5.ORDER_TYPE_BUY_LIMIT <= q.request.type <= mt5.ORDER_TYPE_SELL_STOP_LIMIT
    return OK if known else mt5.TRADE_RETCODE_INVALID


def pending_price_is_valid(q: Question) -> int:
    """Refuse a price off the grid, on the wrong side of the market or too near to it."""
    request, instrument = q.request, q.traded.instrument
    quote = q.ledger.state.quotes[request.symbol]
    if request.price <= 0.0 or not instrument.is_on_price_grid(request.price):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    reference = quote.last if q.traded.by_last and quote.last > 0.0 else quote.ask if q.sign > 0 else quote.bid
    away = (instrument.points(request.price) - instrument.points(reference)) * q.sign
    distance = -away if request.type in LIMIT_TYPES else away
    if distance < max(instrument.config.stops_level_points, 1):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    return _stop_limit_is_valid(q) if request.type in STOP_LIMIT_TYPES else OK


def _stop_limit_is_valid(q: Question) -> int:
    request, instrument = q.request, q.traded.instrument
    if request.stoplimit <= 0.0 or not instrument.is_on_price_grid(request.stoplimit):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    below = (instrument.points(request.price) - instrument.points(request.stoplimit)) * q.sign
    return OK if below >= instrument.config.stops_level_points else mt5.TRADE_RETCODE_INVALID_PRICE


def pending_stops_are_valid(q: Question) -> int:
    request = q.request
    if request.sl == 0.0 and request.tp == 0.0:
        return OK
    entry = request.stoplimit if request.type in STOP_LIMIT_TYPES else request.price
    valid = q.traded.instrument.is_stop_allowed(q.sign, request.sl, request.tp, entry, entry)
    return OK if valid else mt5.TRADE_RETCODE_INVALID_STOPS


def expiration_is_valid(q: Question) -> int:
    kind = q.request.type_time
    if not _TIME_FLAGS.get(kind, 0) & q.traded.terms.expiration_mode:
        return mt5.TRADE_RETCODE_INVALID_EXPIRATION
    if kind in (mt5.ORDER_TIME_GTC, mt5.ORDER_TIME_DAY):
        return OK
    now_s = q.ledger.clock.msc(q.ts_ns) // 1000
    if kind == mt5.ORDER_TIME_SPECIFIED_DAY:
        return OK if q.request.expiration // 86_400 >= now_s // 86_400 else mt5.TRADE_RETCODE_INVALID_EXPIRATION
    return OK if q.request.expiration > now_s else mt5.TRADE_RETCODE_INVALID_EXPIRATION


def pending_margin_is_enough(q: Question) -> int:
    """Refuse an order that ties up more than there is; most brokers let orders wait for nothing."""
    rate = q.traded.terms.margin_rate_pending
    if rate == 0.0:
        return OK
    per_lot = q.ledger.margin_per_lot(q.request.symbol, q.request.price, q.sign)
    if per_lot is None:
        return mt5.TRADE_RETCODE_PRICE_OFF
    free = q.ledger.equity() - q.ledger.margin()
    return mt5.TRADE_RETCODE_NO_MONEY if rate * per_lot * q.request.volume > free else OK


def is_frozen_position(ledger: Ledger, position: OpenPosition) -> bool:
    """Tell whether the price is so near to SL or TP that the position is out of reach."""
    traded = ledger.symbols[position.symbol]
    freeze = traded.terms.freeze_level_points
    if freeze == 0:
        return False
    quote, points = ledger.state.quotes[position.symbol], traded.instrument.points
    price = points(quote.bid if position.sign > 0 else quote.ask)
    return any(level > 0.0 and abs(price - points(level)) <= freeze for level in (position.sl, position.tp))


def is_frozen_order(ledger: Ledger, order: PendingOrder) -> bool:
    """Tell whether the price is so near to the order's that it is out of reach."""
    traded = ledger.symbols[order.symbol]
    freeze = traded.terms.freeze_level_points
    quote, points = ledger.state.quotes[order.symbol], traded.instrument.points
    price = quote.ask if sign_of(order.type) > 0 else quote.bid
    return freeze > 0 and abs(points(price) - points(order.price)) <= freeze


DEAL_CHECKS: tuple[Check, ...] = (
    symbol_is_known, direction_is_market, order_type_is_taken, trade_mode_allows, filling_is_supported,
    volume_is_tradable, position_can_be_closed, hedge_is_allowed, session_is_open, quotes_are_there,
    price_is_still_there, stops_are_valid, volume_is_within_limit, position_count_is_within_limit, margin_is_enough,
)
"""The order in which a server looks at a market order is not documented; this is ours, ``deal_checks`` changes it."""

PENDING_CHECKS: tuple[Check, ...] = (
    symbol_is_known, pending_type_is_known, order_type_is_taken, trade_mode_allows, pending_filling_is_supported,
    volume_is_tradable, session_is_open, quotes_are_there, pending_price_is_valid, pending_stops_are_valid,
    expiration_is_valid, order_count_is_within_limit, volume_is_within_limit, pending_margin_is_enough,
)
"""A pending order is looked at once more, for money, when its price comes."""

MODIFY_CHECKS: tuple[Check, ...] = (
    trade_mode_allows, session_is_open, quotes_are_there, pending_price_is_valid, pending_stops_are_valid,
    expiration_is_valid,
)


_NEEDLESS: dict[Check, Callable[[TerminalSettings, TradedSymbol], bool]] = {
    order_type_is_taken: lambda settings, traded: traded.terms.order_mode == ALL_ORDERS,
    trade_mode_allows: lambda settings, traded: traded.terms.trade_mode == "full",
    price_is_still_there: lambda settings, traded: traded.is_market,
    volume_is_within_limit: lambda settings, traded: traded.terms.volume_limit_lots == 0.0,
    order_count_is_within_limit: lambda settings, traded: settings.limit_orders == 0,
    position_count_is_within_limit: lambda settings, traded: settings.limit_positions == 0,
    pending_margin_is_enough: lambda settings, traded: traded.terms.margin_rate_pending == 0.0,
    hedge_is_allowed: lambda settings, traded: not settings.hedge_prohibited,
}
"""Checks that cannot refuse under these conditions, and need not be made with every order."""


def checks_for(question: Question) -> tuple[Check, ...]:
    """Return the checks a request to trade has to pass, in the order the settings say."""
    ledger, request = question.ledger, question.request
    pending = request.action == mt5.TRADE_ACTION_PENDING
    traded = ledger.symbols.get(request.symbol)
    settings = ledger.settings
    ours = PENDING_CHECKS if pending else DEAL_CHECKS
    names = settings.pending_checks if pending else settings.deal_checks
    if traded is None:
        return ordered(names, ours)
    known: tuple[Check, ...] | None = traded.checks.get(pending)
    if known is None:
        known = tuple(
            check for check in ordered(names, ours)
            if check not in _NEEDLESS or not _NEEDLESS[check](settings, traded)
        )
        traded.checks[pending] = known
    return known


def ordered(names: tuple[str, ...], ours: tuple[Check, ...]) -> tuple[Check, ...]:
    """Return checks in the order in which they are named; those left out follow in our order.

    Raises
    ------
    ValueError : for a name that is not a check of this list
    """
    known = {check.__name__: check for check in ours}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no such check: {', '.join(unknown)}; known: {', '.join(known)}")
    return (*(known[name] for name in names), *(check for check in ours if check.__name__ not in names))
