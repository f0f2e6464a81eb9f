"""Makes a request fit the broker's symbol as it is right now: filling mode, volume grid, price side, digits, stops.

Pure: what the terminal says of the symbol comes in, the request as it is sent goes out, or the reason why it must not
be sent. Nothing is widened: a volume is only ever rounded down, a stop loss only ever towards the market.
"""

import math
from typing import Any

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import SymbolInfo, Tick

_FLAG_OF = {mt5.ORDER_FILLING_FOK: mt5.SYMBOL_FILLING_FOK, mt5.ORDER_FILLING_IOC: mt5.SYMBOL_FILLING_IOC}
_GRID = 1e-8
"""Volumes closer than this to a step are on it (the tolerance brokers grant)."""
_MODES = {
    mt5.SYMBOL_TRADE_MODE_DISABLED: "trading is disabled",
    mt5.SYMBOL_TRADE_MODE_LONGONLY: "only buying is allowed",
    mt5.SYMBOL_TRADE_MODE_SHORTONLY: "only selling is allowed",
    mt5.SYMBOL_TRADE_MODE_CLOSEONLY: "only closing is allowed",
}


class Unfit(Exception):
    """The request cannot be made to fit; nothing was sent. The text says why."""


def resolve_deal(request: dict[str, Any], symbol: SymbolInfo, tick: Tick) -> dict[str, Any]:
    """Return a market order as the broker takes it.

    Parameters
    ----------
    request : as ``services.executor.requests.market_order`` makes it, the symbol in the broker's spelling
    symbol, tick : asked of the terminal a moment ago

    Returns
    -------
    A new request: filling mode the symbol supports (the one asked for where it does), volume rounded down to the
    symbol's grid, price of the right side, prices with the symbol's digits.

    Raises
    ------
    Unfit : naming what does not fit
    """
    buys = request["type"] == mt5.ORDER_TYPE_BUY
    closes = bool(request.get("position"))
    _check_mode(symbol, buys=buys, closes=closes)
    side_price = tick.ask if buys else tick.bid
    if not (tick.bid > 0.0 and tick.ask > 0.0):
        raise Unfit(f"{symbol.name}: there is no quote")
    price = float(request["price"]) or side_price
    if symbol.trade_exemode in (mt5.SYMBOL_TRADE_EXECUTION_MARKET, mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE):
        price = side_price
    sl, tp = resolve_stops(symbol, tick, buys=buys, sl=request["sl"], tp=request["tp"])
    return {
        **request,
        "volume": volume_on_grid(float(request["volume"]), symbol),
        "price": on_tick_grid(price, symbol),
        "sl": sl,
        "tp": tp,
        "type_filling": filling_mode(int(request["type_filling"]), symbol),
    }


def resolve_stops(symbol: SymbolInfo, tick: Tick, *, buys: bool, sl: float, tp: float) -> tuple[float, float]:
    """Return SL and TP of a position (0.0 for none) on the symbol's grid.

    A stop loss that lies between two prices moves to the one nearer to the market, a take profit as well.

    Raises
    ------
    Unfit : a level is on the wrong side, or nearer than the symbol's stops level; moving it away would be another risk
        than the one that was approved
    """
    reference = tick.bid if buys else tick.ask
    least = max(symbol.trade_stops_level, 1) * symbol.point
    levels = []
    for name, level, above in (("sl", float(sl), not buys), ("tp", float(tp), buys)):
        if level == 0.0:
            levels.append(0.0)
            continue
        moved = on_tick_grid(level, symbol, towards=reference)
        distance = (moved - reference) if above else (reference - moved)
        if distance < least - symbol.point * 1e-3:
            raise Unfit(
                f"{symbol.name}: {name} {moved:.{symbol.digits}f} is not {round(least / symbol.point)} points "
                f"{'above' if above else 'below'} {'bid' if buys else 'ask'} {reference:.{symbol.digits}f}"
            )
        levels.append(moved)
    return levels[0], levels[1]


def filling_mode(wanted: int, symbol: SymbolInfo) -> int:
    """Return the filling mode to ask for: the wanted one where the symbol takes it, else one it takes.

    Flags of the symbol (1 fill or kill, 2 immediate or cancel) are not the numbers of the request; RETURN is never
    taken in market execution and always elsewhere; with instant and request execution everything is taken.

    Raises
    ------
    Unfit : the symbol takes none (market execution without a flag)
    """
    if symbol.trade_exemode in (mt5.SYMBOL_TRADE_EXECUTION_REQUEST, mt5.SYMBOL_TRADE_EXECUTION_INSTANT):
        return wanted
    if symbol.filling_mode & _FLAG_OF.get(wanted, 0):
        return wanted
    at_market = symbol.trade_exemode == mt5.SYMBOL_TRADE_EXECUTION_MARKET
    if wanted == mt5.ORDER_FILLING_RETURN and not at_market:
        return wanted
    for mode, flag in _FLAG_OF.items():
        if symbol.filling_mode & flag:
            return mode
    if at_market:
        raise Unfit(f"{symbol.name}: filling_mode {symbol.filling_mode} allows no market order")
    return mt5.ORDER_FILLING_RETURN


def volume_on_grid(lots: float, symbol: SymbolInfo) -> float:
    """Return the largest volume the symbol takes that is not above ``lots``.

    Raises
    ------
    Unfit : that is less than the symbol's least volume
    """
    step = symbol.volume_step or symbol.volume_min or 0.01
    units = math.floor(min(lots, symbol.volume_max or lots) / step + _GRID / step)
    volume = round(units * step, 8)
    if volume < symbol.volume_min - _GRID or volume <= 0.0:
        raise Unfit(
            f"{symbol.name}: {lots:g} lots are less than the least volume {symbol.volume_min:g} "
            f"(step {step:g}, most {symbol.volume_max:g})"
        )
    return volume


def on_tick_grid(price: float, symbol: SymbolInfo, towards: float | None = None) -> float:
    """Return the price on the symbol's grid with its digits: the nearest, or the one towards another price."""
    size = symbol.trade_tick_size or symbol.point or 10.0**-symbol.digits
    steps = price / size
    if towards is not None and abs(steps - round(steps)) > 1e-3:
        whole = math.ceil(steps) if towards > price else math.floor(steps)
    else:
        whole = round(steps)
    return round(whole * size, symbol.digits)


def _check_mode(symbol: SymbolInfo, *, buys: bool, closes: bool) -> None:
    forbidden = {
        mt5.SYMBOL_TRADE_MODE_DISABLED: True,
        mt5.SYMBOL_TRADE_MODE_LONGONLY: not buys and not closes,
        mt5.SYMBOL_TRADE_MODE_SHORTONLY: buys and not closes,
        mt5.SYMBOL_TRADE_MODE_CLOSEONLY: not closes,
    }.get(symbol.trade_mode, False)
    if forbidden:
        raise Unfit(f"{symbol.name}: {_MODES[symbol.trade_mode]} by the broker")
