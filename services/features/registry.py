"""Every feature family there is: what it needs, how long it warms up, what it yields.

To add one: write its kernel in ``kernels/on_{ticks,bars,rows}.py``, give it an operation number and a line in
``kernels/dispatch.py``, and describe it here; the conformance tests then run it through everything.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from services.features.kernels import dispatch, layout, on_bars, on_rows, on_ticks

Params = Mapping[str, float]
FORGOTTEN = 0.01
"""An average is warm when what it began with weighs less than this."""


class Clock(IntEnum):
    """What a family sees."""

    TICKS = layout.ON_TICKS
    BARS = layout.ON_BARS
    ROWS = layout.ON_ROWS


@dataclass(frozen=True)
class Parameter:
    """A number a family can be tuned with; ``whole`` numbers only where it counts something."""

    default: float
    least: float = 1.0
    whole: bool = True
    meaning: str = ""


@dataclass(frozen=True)
class WarmUp:
    """What must have been seen before the value may be used; bars are those of the feature's timeframe."""

    ticks: int = 0
    seconds: int = 0
    bars: int = 0


@dataclass(frozen=True)
class Family:
    """A feature family.

    Parameters
    ----------
    kernel : its code, a kernel part
    version : counted up whenever the code's results change; part of the schema id
    outputs : name of each value -> its formula
    parameters : name -> parameter, in the order the kernel reads them
    inputs : columns a feed must carry: ``quotes``, ``last``, ``volume``
    warm_up : parameters -> when its values may be used
    floats, ints : parameters -> doubles and integers of state
    """

    name: str
    op: int
    clock: Clock
    kernel: Callable[..., Any]
    version: int
    outputs: Mapping[str, str]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset({"quotes"})
    warm_up: Callable[[Params], WarmUp] = lambda p: WarmUp()
    floats: Callable[[Params], int] = lambda p: 0
    ints: int = 0


def steps_to_forget(alpha: float) -> int:
    """Return after how many values, the first included, an average with weight ``alpha`` has forgotten the first.

    >>> steps_to_forget(2.0 / (20 + 1))
    48
    """
    return 1 if alpha >= 1.0 else math.ceil(math.log(FORGOTTEN) / math.log(1.0 - alpha)) + 1


def _span(p: Params, name: str = "span") -> int:
    return steps_to_forget(2.0 / (p[name] + 1.0))


def _wilder(p: Params, name: str = "period") -> int:
    # The seed is the mean of the first changes; then it has to be forgotten.
    return int(p[name]) + steps_to_forget(1.0 / p[name])


_SPAN = Parameter(100, meaning="ticks")
_PERIOD = Parameter(20, 2, meaning="bars")
_WIDTH = Parameter(2.0, 0.1, whole=False, meaning="half-widths")

_ON_TICKS = (
    Family(
        "ema_distance", dispatch.EMA_DISTANCE, Clock.TICKS, on_ticks.ema_distance, 1,
        {"distance": "10⁴ · (mid - EMA_span(mid)) / EMA_span(mid)"},
        {"span": _SPAN}, warm_up=lambda p: WarmUp(ticks=_span(p)), floats=lambda p: 1, ints=1,
    ),
    Family(
        "spread_score", dispatch.SPREAD_SCORE, Clock.TICKS, on_ticks.spread_score, 1,
        {"score": "(spread - EW mean) / EW deviation; 0 while the deviation is below 10⁻⁶ points"},
        {"span": _SPAN}, warm_up=lambda p: WarmUp(ticks=_span(p)), floats=lambda p: 2, ints=1,
    ),
    Family(
        "quote_rate", dispatch.QUOTE_RATE, Clock.TICKS, on_ticks.quote_rate, 1,
        {"rate": "Σ exp(-(t - tᵢ) / seconds) / seconds over ticks i that changed bid or ask; per second"},
        {"seconds": Parameter(60, meaning="time constant")},
        warm_up=lambda p: WarmUp(seconds=math.ceil(-math.log(FORGOTTEN) * p["seconds"])),
        floats=lambda p: 3, ints=2,
    ),
    Family(
        "tick_imbalance", dispatch.TICK_IMBALANCE, Clock.TICKS, on_ticks.tick_imbalance, 1,
        {"imbalance": "EMA_span(sign(change of mid))"},
        {"span": _SPAN}, warm_up=lambda p: WarmUp(ticks=_span(p)), floats=lambda p: 2, ints=1,
    ),
    Family(
        "traded_volume", dispatch.TRADED_VOLUME, Clock.TICKS, on_ticks.traded_volume, 1,
        {"volume": "EMA_span(volume); lots per tick"},
        {"span": _SPAN}, frozenset({"quotes", "volume"}),
        warm_up=lambda p: WarmUp(ticks=_span(p)), floats=lambda p: 1, ints=1,
    ),
)

_ON_ROWS = (
    Family(
        "spread", dispatch.SPREAD, Clock.ROWS, on_rows.spread, 1,
        {"points": "(ask - bid) / point", "basis_points": "10⁴ · (ask - bid) / mid"},
    ),
    Family(
        "time_of_day", dispatch.TIME_OF_DAY, Clock.ROWS, on_rows.time_of_day, 1,
        {"sine": "sin(2π · time of day UTC / 24 h)", "cosine": "cos(2π · time of day UTC / 24 h)"},
    ),
    Family(
        "day_of_week", dispatch.DAY_OF_WEEK, Clock.ROWS, on_rows.day_of_week, 1,
        {"day": "day of the week UTC, Monday = 0 … Sunday = 6"},
    ),
    Family(
        "session", dispatch.SESSION, Clock.ROWS, on_rows.session, 1,
        {
            "sydney": "1 Monday to Friday 7:00 to 16:00 in Sydney, else 0",
            "tokyo": "1 Monday to Friday 9:00 to 18:00 in Tokyo, else 0",
            "london": "1 Monday to Friday 8:00 to 17:00 in London, else 0",
            "new_york": "1 Monday to Friday 8:00 to 17:00 in New York, else 0",
        },
    ),
    Family(
        "last_distance", dispatch.LAST_DISTANCE, Clock.ROWS, on_rows.last_distance, 1,
        {"points": "(last - mid) / point"}, inputs=frozenset({"quotes", "last"}),
    ),
)

_ON_BARS = (
    Family(
        "log_return", dispatch.LOG_RETURN, Clock.BARS, on_bars.log_return, 1,
        {"return": "10⁴ · ln(mid close / mid close `bars` bars earlier)"},
        {"bars": Parameter(1, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["bars"]) + 1), floats=lambda p: int(p["bars"]), ints=1,
    ),
    Family(
        "moving_average", dispatch.MOVING_AVERAGE, Clock.BARS, on_bars.moving_average, 1,
        {
            "fast": "10⁴ · (EMA_fast(close) - close) / close",
            "slow": "10⁴ · (EMA_slow(close) - close) / close",
            "cross": "10⁴ · (EMA_fast(close) - EMA_slow(close)) / close; above 0: the fast average is on top",
        },
        {"fast": Parameter(10, meaning="bars"), "slow": Parameter(40, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=max(_span(p, "fast"), _span(p, "slow"))), floats=lambda p: 2, ints=1,
    ),
    Family(
        "rsi", dispatch.RSI, Clock.BARS, on_bars.rsi, 1,
        {"rsi": "100 · G / (G + L), Wilder means of gains and losses of the close; 50 if both are 0"},
        {"period": Parameter(14, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=_wilder(p)), floats=lambda p: 3, ints=1,
    ),
    Family(
        "average_true_range", dispatch.AVERAGE_TRUE_RANGE, Clock.BARS, on_bars.average_true_range, 1,
        {"range": "Wilder mean of max(high, previous close) - min(low, previous close); price units"},
        {"period": Parameter(14, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=_wilder(p)), floats=lambda p: 2, ints=1,
    ),
    Family(
        "realised_volatility", dispatch.REALISED_VOLATILITY, Clock.BARS, on_bars.realised_volatility, 1,
        {"volatility": "√(mean of the squares of the last `window` one-bar log-returns of the mid close) · 10⁴"},
        {"window": Parameter(60, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
    ),
    Family(
        "price_sigma", dispatch.PRICE_SIGMA, Clock.BARS, on_bars.price_sigma, 1,
        {"sigma": "√(horizon · mean of the squares of the last `window` changes of the mid close); price units"},
        {"window": Parameter(60, 2, meaning="bars"), "horizon": Parameter(60, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
    ),
    Family(
        "macd", dispatch.MACD, Clock.BARS, on_bars.macd, 1,
        {
            "line": "10⁴ · M / close with M = EMA_fast(close) - EMA_slow(close)",
            "signal": "10⁴ · EMA_signal(M) / close",
            "histogram": "10⁴ · (M - EMA_signal(M)) / close",
        },
        {
            "fast": Parameter(12, meaning="bars"), "slow": Parameter(26, meaning="bars"),
            "signal": Parameter(9, meaning="bars"),
        },
        warm_up=lambda p: WarmUp(bars=max(_span(p, "fast"), _span(p, "slow")) + _span(p, "signal")),
        floats=lambda p: 3, ints=1,
    ),
    Family(
        "bollinger", dispatch.BOLLINGER, Clock.BARS, on_bars.bollinger, 1,
        {"position": "(close - mean) / (width · deviation) of the last `period` closes; 0 if flat"},
        {"period": _PERIOD, "width": _WIDTH},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1,
    ),
    Family(
        "donchian", dispatch.DONCHIAN, Clock.BARS, on_bars.donchian, 1,
        {"position": "2 · (close - lowest low) / (highest high - lowest low) - 1 over `period` bars; 0 if flat"},
        {"period": _PERIOD},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: 2 * int(p["period"]), ints=1,
    ),
    Family(
        "keltner", dispatch.KELTNER, Clock.BARS, on_bars.keltner, 1,
        {"position": "(close - EMA_period(close)) / (width · ATR_range_period); 0 if flat"},
        {"period": _PERIOD, "range_period": Parameter(10, 2, meaning="bars"), "width": _WIDTH},
        warm_up=lambda p: WarmUp(bars=max(_span(p, "period"), _wilder(p, "range_period"))),
        floats=lambda p: 3, ints=1,
    ),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in (*_ON_TICKS, *_ON_ROWS, *_ON_BARS)}
"""Every family by name."""
