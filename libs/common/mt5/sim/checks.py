"""Why the server refuses a request: ordered lists of small checks, each with its return code."""

import math
from collections.abc import Callable

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeRequest
from libs.common.mt5.sim.execution import STOP_TYPES, market_price, sign_of, target_of
from libs.common.mt5.sim.ledger import Ledger
from libs.common.trading.sessions import fx_market_open

OK = 0
Check = Callable[[Ledger, TradeRequest, int], int]
_FILLING_FLAGS = {mt5.ORDER_FILLING_FOK: mt5.SYMBOL_FILLING_FOK, mt5.ORDER_FILLING_IOC: mt5.SYMBOL_FILLING_IOC}


def first_refusal(checks: tuple[Check, ...], ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    """Return the code of the first check that refuses, or ``OK``."""
    return next((code for check in checks if (code := check(ledger, request, ts_ns)) != OK), OK)


def is_session_open(ledger: Ledger, symbol: str, ts_ns: int) -> bool:
    """Tell whether the symbol trades at this time."""
    return ledger.instruments[symbol].config.session == "always" or fx_market_open(ts_ns)


def symbol_is_known(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    return OK if request.symbol in ledger.instruments else mt5.TRADE_RETCODE_INVALID


def direction_is_market(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    return OK if request.type in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL) else mt5.TRADE_RETCODE_INVALID


def filling_is_supported(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if ledger.settings.execution == "instant":
        return OK if request.type_filling in (0, 1, 2) else mt5.TRADE_RETCODE_INVALID_FILL
    flag = _FILLING_FLAGS.get(request.type_filling, 0)
    return OK if flag & ledger.settings.filling_mode else mt5.TRADE_RETCODE_INVALID_FILL


def volume_is_tradable(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    valid = ledger.instruments[request.symbol].is_valid_volume(request.volume)
    return OK if valid else mt5.TRADE_RETCODE_INVALID_VOLUME


def position_can_be_closed(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.position == 0:
        return OK
    position = ledger.state.positions.get(request.position)
    if position is None:
        return mt5.TRADE_RETCODE_POSITION_CLOSED
    if position.symbol != request.symbol or position.sign == sign_of(request.type):
        return mt5.TRADE_RETCODE_INVALID
    too_much = request.volume > position.volume_lots + 1e-8
    return mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME if too_much else OK


def session_is_open(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    return OK if is_session_open(ledger, request.symbol, ts_ns) else mt5.TRADE_RETCODE_MARKET_CLOSED


def quotes_are_there(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    """Refuse without a quote of the symbol or of a cross its money needs: nothing is opened on a guess."""
    if not ledger.has_quote(request.symbol):
        return mt5.TRADE_RETCODE_PRICE_OFF
    price = ledger.state.quotes[request.symbol].ask
    known = (ledger.profit(request.symbol, 1, 1.0, price, price), ledger.margin_per_lot(request.symbol, price))
    return mt5.TRADE_RETCODE_PRICE_OFF if None in known else OK


def price_is_still_there(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if ledger.settings.execution == "market":
        return OK
    if not (math.isfinite(request.price) and request.price > 0.0):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    instrument, sign = ledger.instruments[request.symbol], sign_of(request.type)
    offered = instrument.points(market_price(ledger, request.symbol, sign, ledger.state.next_order))
    worse_points = sign * (offered - instrument.points(request.price))
    return mt5.TRADE_RETCODE_REQUOTE if worse_points > request.deviation else OK


def stops_are_valid(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.position:
        return OK
    quote = ledger.state.quotes[request.symbol]
    valid = ledger.instruments[request.symbol].is_stop_allowed(
        sign_of(request.type), request.sl, request.tp, quote.bid, quote.ask
    )
    return OK if valid else mt5.TRADE_RETCODE_INVALID_STOPS


def margin_is_enough(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    sign = sign_of(request.type)
    quote = ledger.state.quotes[request.symbol]
    price = quote.ask if sign > 0 else quote.bid
    target = target_of(ledger, request.symbol, sign, request.position)
    lots = request.volume
    if target is not None and target.sign != sign:
        lots = max(0.0, request.volume - target.volume_lots)
    needed = additional_margin(ledger, request.symbol, sign, lots, price)
    if needed is None:
        return mt5.TRADE_RETCODE_PRICE_OFF
    return mt5.TRADE_RETCODE_NO_MONEY if needed > ledger.equity() - ledger.margin() else OK


def additional_margin(ledger: Ledger, symbol: str, sign: int, lots: float, price: float) -> float | None:
    """Return by how much the account's margin grows when so much is opened; ``None`` when a rate is missing."""
    per_lot = ledger.margin_per_lot(symbol, price)
    if per_lot is None:
        return None
    legs = {1: 0.0, -1: 0.0}
    for position in ledger.positions(symbol):
        legs[position.sign] += position.volume_lots * position.margin_per_lot_ccy
    before = max(legs.values())
    legs[sign] += lots * per_lot
    return ledger.round_ccy(max(legs.values()) - before)


def pending_type_is_known(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.type in (mt5.ORDER_TYPE_BUY_STOP_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT):
        return mt5.TRADE_RETCODE_INVALID_ORDER
    known = mt5.ORDER_TYPE_BUY_LIMIT <= request.type <= mt5.ORDER_TYPE_SELL_STOP
    return OK if known else mt5.TRADE_RETCODE_INVALID


def pending_price_is_valid(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    """Refuse a price off the grid, on the wrong side of the market or too near to it."""
    instrument, quote = ledger.instruments[request.symbol], ledger.state.quotes[request.symbol]
    if request.price <= 0.0 or not instrument.is_on_price_grid(request.price):
        return mt5.TRADE_RETCODE_INVALID_PRICE
    sign = sign_of(request.type)
    market = instrument.points(quote.ask if sign > 0 else quote.bid)
    away = instrument.points(request.price) - market
    distance = away * sign if request.type in STOP_TYPES else -away * sign
    least = max(instrument.config.stops_level_points, 1)
    return OK if distance >= least else mt5.TRADE_RETCODE_INVALID_PRICE


def pending_stops_are_valid(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    valid = ledger.instruments[request.symbol].is_stop_allowed(
        sign_of(request.type), request.sl, request.tp, request.price, request.price
    )
    return OK if valid else mt5.TRADE_RETCODE_INVALID_STOPS


def expiration_is_valid(ledger: Ledger, request: TradeRequest, ts_ns: int) -> int:
    if request.type_time in (mt5.ORDER_TIME_GTC, mt5.ORDER_TIME_DAY):
        return OK
    if request.type_time != mt5.ORDER_TIME_SPECIFIED:
        return mt5.TRADE_RETCODE_INVALID_EXPIRATION
    return OK if request.expiration > ledger.clock.msc(ts_ns) // 1000 else mt5.TRADE_RETCODE_INVALID_EXPIRATION


DEAL_CHECKS: tuple[Check, ...] = (
    symbol_is_known, direction_is_market, filling_is_supported, volume_is_tradable, position_can_be_closed,
    session_is_open, quotes_are_there, price_is_still_there, stops_are_valid, margin_is_enough,
)
"""The order in which a server looks at a market order is not documented; this is ours."""

PENDING_CHECKS: tuple[Check, ...] = (
    symbol_is_known, pending_type_is_known, volume_is_tradable, session_is_open, quotes_are_there,
    pending_price_is_valid, pending_stops_are_valid, expiration_is_valid,
)
"""A pending order ties up no margin; whether there is enough is looked at when its price comes."""
