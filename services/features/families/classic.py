"""The families of the default set and their kin."""

import math

from services.features.family import FORGOTTEN, Clock, Family, Parameter, WarmUp, span, wilder
from services.features.kernels import on_bars, on_rows, on_ticks

TREND, VOLATILITY, QUOTES = "Trend and momentum", "Volatility", "Microstructure from quotes"
TRADED, CLOCKS = "Microstructure from trades and depth", "Sessions and calendar"
SPAN = Parameter(100, meaning="ticks")
PERIOD = Parameter(20, 2, meaning="bars")
WIDTH = Parameter(2.0, 0.1, whole=False, meaning="half-widths")

ON_TICKS = (
    Family(
        "ema_distance", Clock.TICKS, on_ticks.ema_distance, 1,
        {"distance": "10⁴ · (mid - EMA_span(mid)) / EMA_span(mid)"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 1, ints=1,
        group=TREND,
    ),
    Family(
        "spread_score", Clock.TICKS, on_ticks.spread_score, 1,
        {"score": "(spread - EW mean) / EW deviation; 0 while the deviation is below 10⁻⁶ points"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 2, ints=1,
        group=QUOTES,
    ),
    Family(
        "quote_rate", Clock.TICKS, on_ticks.quote_rate, 1,
        {"rate": "Σ exp(-(t - tᵢ) / seconds) / seconds over ticks i that changed bid or ask; per second"},
        {"seconds": Parameter(60, meaning="time constant")},
        warm_up=lambda p: WarmUp(seconds=math.ceil(-math.log(FORGOTTEN) * p["seconds"])),
        floats=lambda p: 3, ints=2,
        group=QUOTES,
    ),
    Family(
        "tick_imbalance", Clock.TICKS, on_ticks.tick_imbalance, 1,
        {"imbalance": "EMA_span(sign(change of mid))"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 2, ints=1,
        group=QUOTES,
    ),
    Family(
        "traded_volume", Clock.TICKS, on_ticks.traded_volume, 1,
        {"volume": "EMA_span(volume); lots per tick"},
        {"span": SPAN}, frozenset({"quotes", "volume"}),
        warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 1, ints=1,
        group=TRADED,
    ),
)

ON_ROWS = (
    Family(
        "spread", Clock.ROWS, on_rows.spread, 1,
        {"points": "(ask - bid) / point", "basis_points": "10⁴ · (ask - bid) / mid"},
        group=QUOTES,
    ),
    Family(
        "time_of_day", Clock.ROWS, on_rows.time_of_day, 1,
        {"sine": "sin(2π · time of day UTC / 24 h)", "cosine": "cos(2π · time of day UTC / 24 h)"},
        group=CLOCKS,
    ),
    Family(
        "day_of_week", Clock.ROWS, on_rows.day_of_week, 1,
        {"day": "day of the week UTC, Monday = 0 … Sunday = 6"},
        group=CLOCKS,
    ),
    Family(
        "session", Clock.ROWS, on_rows.session, 1,
        {
            "sydney": "1 Monday to Friday 7:00 to 16:00 in Sydney, else 0",
            "tokyo": "1 Monday to Friday 9:00 to 18:00 in Tokyo, else 0",
            "london": "1 Monday to Friday 8:00 to 17:00 in London, else 0",
            "new_york": "1 Monday to Friday 8:00 to 17:00 in New York, else 0",
        },
        group=CLOCKS,
    ),
    Family(
        "last_distance", Clock.ROWS, on_rows.last_distance, 1,
        {"points": "(last - mid) / point"}, inputs=frozenset({"quotes", "last"}),
        group=TRADED,
    ),
)

ON_BARS = (
    Family(
        "log_return", Clock.BARS, on_bars.log_return, 1,
        {"return": "10⁴ · ln(mid close / mid close `bars` bars earlier)"},
        {"bars": Parameter(1, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["bars"]) + 1), floats=lambda p: int(p["bars"]), ints=1,
        group=TREND,
    ),
    Family(
        "moving_average", Clock.BARS, on_bars.moving_average, 1,
        {
            "fast": "10⁴ · (EMA_fast(close) - close) / close",
            "slow": "10⁴ · (EMA_slow(close) - close) / close",
            "cross": "10⁴ · (EMA_fast(close) - EMA_slow(close)) / close; above 0: the fast average is on top",
        },
        {"fast": Parameter(10, meaning="bars"), "slow": Parameter(40, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=max(span(p, "fast"), span(p, "slow"))), floats=lambda p: 2, ints=1,
        group=TREND,
    ),
    Family(
        "rsi", Clock.BARS, on_bars.rsi, 1,
        {"rsi": "100 · G / (G + L), Wilder means of gains and losses of the close; 50 if both are 0"},
        {"period": Parameter(14, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=wilder(p)), floats=lambda p: 3, ints=1,
        group=TREND,
    ),
    Family(
        "average_true_range", Clock.BARS, on_bars.average_true_range, 1,
        {"range": "Wilder mean of max(high, previous close) - min(low, previous close); price units"},
        {"period": Parameter(14, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=wilder(p)), floats=lambda p: 2, ints=1,
        group=VOLATILITY,
    ),
    Family(
        "realised_volatility", Clock.BARS, on_bars.realised_volatility, 1,
        {"volatility": "√(mean of the squares of the last `window` one-bar log-returns of the mid close) · 10⁴"},
        {"window": Parameter(60, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
        group=VOLATILITY,
    ),
    Family(
        "price_sigma", Clock.BARS, on_bars.price_sigma, 1,
        {"sigma": "√(horizon · mean of the squares of the last `window` changes of the mid close); price units"},
        {"window": Parameter(60, 2, meaning="bars"), "horizon": Parameter(60, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
        group=VOLATILITY,
    ),
    Family(
        "macd", Clock.BARS, on_bars.macd, 1,
        {
            "line": "10⁴ · M / close with M = EMA_fast(close) - EMA_slow(close)",
            "signal": "10⁴ · EMA_signal(M) / close",
            "histogram": "10⁴ · (M - EMA_signal(M)) / close",
        },
        {
            "fast": Parameter(12, meaning="bars"), "slow": Parameter(26, meaning="bars"),
            "signal": Parameter(9, meaning="bars"),
        },
        warm_up=lambda p: WarmUp(bars=max(span(p, "fast"), span(p, "slow")) + span(p, "signal")),
        floats=lambda p: 3, ints=1,
        group=TREND,
    ),
    Family(
        "bollinger", Clock.BARS, on_bars.bollinger, 1,
        {"position": "(close - mean) / (width · deviation) of the last `period` closes; 0 if flat"},
        {"period": PERIOD, "width": WIDTH},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1,
        group=VOLATILITY,
    ),
    Family(
        "donchian", Clock.BARS, on_bars.donchian, 1,
        {"position": "2 · (close - lowest low) / (highest high - lowest low) - 1 over `period` bars; 0 if flat"},
        {"period": PERIOD},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: 2 * int(p["period"]), ints=1,
        group=VOLATILITY,
    ),
    Family(
        "keltner", Clock.BARS, on_bars.keltner, 1,
        {"position": "(close - EMA_period(close)) / (width · ATR_range_period); 0 if flat"},
        {"period": PERIOD, "range_period": Parameter(10, 2, meaning="bars"), "width": WIDTH},
        warm_up=lambda p: WarmUp(bars=max(span(p, "period"), wilder(p, "range_period"))),
        floats=lambda p: 3, ints=1,
        group=VOLATILITY,
    ),
)
