"""Trend and momentum of bars."""

from services.features.family import Clock, Family, Parameter, Params, WarmUp, span, steps_to_forget, wilder
from services.features.kernels import averages, oscillators

GROUP = "Trend and momentum"
PERIOD = Parameter(14, 2, meaning="bars")
LENGTH = Parameter(20, 2, meaning="bars")


def _average(name: str) -> dict[str, str]:
    return {
        "distance": f"10⁴ · (close - {name}) / {name}",
        "slope": f"10⁴ · ({name} - {name} one bar earlier) / {name}",
        "level": f"{name}; price units",
    }


def _kama_warm_up(p: Params) -> WarmUp:
    # In the noisiest market nothing but the slow weight forgets the close it began with.
    return WarmUp(bars=int(p["period"]) + steps_to_forget((2.0 / (p["slow"] + 1.0)) ** 2))


def _fast_before_slow(p: Params) -> str:
    return "" if p["fast"] < p["slow"] else f"fast = {p['fast']:g} must be below slow = {p['slow']:g}"


FAMILIES = (
    Family(
        "sma", Clock.BARS, averages.sma, 1, _average("mean of the last `period` closes"), {"period": LENGTH},
        warm_up=lambda p: WarmUp(bars=int(p["period"]) + 1), floats=lambda p: int(p["period"]) + 1, ints=1,
        group=GROUP,
    ),
    Family(
        "ema", Clock.BARS, averages.ema, 1, _average("EMA_period(close)"), {"period": LENGTH},
        warm_up=lambda p: WarmUp(bars=span(p, "period")), floats=lambda p: 1, ints=1, group=GROUP,
    ),
    Family(
        "wma", Clock.BARS, averages.wma, 1, _average("mean of the last `period` closes weighted 1 … `period`"),
        {"period": LENGTH},
        warm_up=lambda p: WarmUp(bars=int(p["period"]) + 1), floats=lambda p: int(p["period"]) + 1, ints=1,
        group=GROUP,
    ),
    Family(
        "kama", Clock.BARS, averages.kama, 1, _average("Kaufman's adaptive average"),
        {
            "period": Parameter(10, 2, meaning="bars"), "fast": Parameter(2, 1, meaning="bars"),
            "slow": Parameter(30, 2, meaning="bars", brief=6),
        },
        warm_up=_kama_warm_up, floats=lambda p: int(p["period"]) + 2, ints=1, problem=_fast_before_slow, group=GROUP,
    ),
    Family(
        "stochastic", Clock.BARS, oscillators.stochastic, 1,
        {
            "k": "mean over `slowing` of 100 · (close - lowest low) / (highest high - lowest low); 50 if flat",
            "d": "mean of k over `smooth` bars", "difference": "k - d",
        },
        {
            "period": PERIOD, "slowing": Parameter(3, meaning="bars"), "smooth": Parameter(3, meaning="bars"),
        },
        warm_up=lambda p: WarmUp(bars=int(p["period"] + p["slowing"] + p["smooth"]) - 2),
        floats=lambda p: int(2 * p["period"] + p["slowing"] + p["smooth"]), ints=1, group=GROUP,
    ),
    Family(
        "williams_r", Clock.BARS, oscillators.williams_r, 1,
        {"r": "-100 · (highest high - close) / (highest high - lowest low) of `period` bars; -50 if flat"},
        {"period": PERIOD},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: 2 * int(p["period"]), ints=1, group=GROUP,
    ),
    Family(
        "directional", Clock.BARS, oscillators.directional, 1,
        {
            "plus": "+DI = 100 · Wilder sum of upward movement / Wilder sum of true range",
            "minus": "-DI, downward movement likewise",
            "adx": "Wilder mean of 100 · |+DI - -DI| / (+DI + -DI)",
            "difference": "+DI - -DI",
        },
        {"period": PERIOD},
        warm_up=lambda p: WarmUp(bars=2 * wilder(p)), floats=lambda p: 7, ints=2, group=GROUP,
    ),
    Family(
        "cci", Clock.BARS, oscillators.cci, 1,
        {"cci": "(typical - mean) / (0.015 · mean deviation) over `period` bars, typical = (high + low + close) / 3"},
        {"period": LENGTH},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1, group=GROUP,
    ),
    Family(
        "momentum", Clock.BARS, oscillators.momentum, 1,
        {
            "rate": "100 · (close / close `bars` bars earlier - 1); percent",
            "change": "close - close `bars` bars earlier; price units",
        },
        {"bars": Parameter(10, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["bars"]) + 1), floats=lambda p: int(p["bars"]), ints=1, group=GROUP,
    ),
    Family(
        "aroon", Clock.BARS, oscillators.aroon, 1,
        {
            "up": "100 · (`period` - bars since the highest high) / `period`",
            "down": "100 · (`period` - bars since the lowest low) / `period`", "oscillator": "up - down",
        },
        {"period": PERIOD},
        warm_up=lambda p: WarmUp(bars=int(p["period"]) + 1), floats=lambda p: 2 * int(p["period"]) + 2, ints=1,
        group=GROUP,
    ),
    Family(
        "regression", Clock.BARS, oscillators.regression, 1,
        {
            "slope": "10⁴ · slope of the least-squares line through the last `period` closes / close; per bar",
            "fit": "R² of that line; 0 if flat", "distance": "10⁴ · (close - end of that line) / close",
        },
        {"period": Parameter(20, 3, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1, group=GROUP,
    ),
    Family(
        "hurst", Clock.BARS, oscillators.hurst, 1,
        {"exponent": "slope of ln(R/S) against ln(length) over stretches of 8, 16, 32 … returns; 0.5 at rest"},
        {"window": Parameter(128, 16, meaning="bars", most=8192)},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
        group=GROUP,
    ),
)
