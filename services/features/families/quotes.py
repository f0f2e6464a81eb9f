"""Microstructure from quotes."""

from services.features.family import Clock, Family, Parameter, WarmUp, span
from services.features.kernels import quotes

GROUP = "Microstructure from quotes"
SPAN = Parameter(100, meaning="ticks", brief=8)

FAMILIES = (
    Family(
        "spread_percentile", Clock.TICKS, quotes.spread_percentile, 1,
        {"percentile": "share of the last `window` spreads below this one, equal ones counting half; percent"},
        {"window": Parameter(1000, 2, meaning="ticks", most=100_000, brief=20)},
        warm_up=lambda p: WarmUp(ticks=int(p["window"])), floats=lambda p: int(p["window"]), ints=1, group=GROUP,
    ),
    Family(
        "inter_arrival", Clock.TICKS, quotes.inter_arrival, 1,
        {
            "mean": "EMA_span(time between ticks); milliseconds",
            "ratio": "last time between ticks / that mean; 1 if all ticks came at once",
        },
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p) + 1), floats=lambda p: 1, ints=2, group=GROUP,
    ),
    Family(
        "sign_autocorrelation", Clock.TICKS, quotes.sign_autocorrelation, 1,
        {"autocorrelation": "EMA_span(sign of a move · sign of the move before) / EMA_span(|the same|); 0 at rest"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 4, ints=1, group=GROUP,
    ),
    Family(
        "mid_pressure", Clock.TICKS, quotes.mid_pressure, 1,
        {"pressure": "EMA_span(change of mid) / EMA_span(|change of mid|); 0 at rest"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 3, ints=1, group=GROUP,
    ),
    Family(
        "quote_pressure", Clock.TICKS, quotes.quote_pressure, 1,
        {"pressure": "EMA_span((sign of the bid's change + sign of the ask's change) / 2)"},
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 3, ints=1, group=GROUP,
    ),
    Family(
        "tick_volatility", Clock.TICKS, quotes.tick_volatility, 1,
        {
            "volatility": "√EMA_span(change of mid²); points per tick",
            "roll_spread": "2 · √max(0, -EMA_span(change of mid · change before)); points",
        },
        {"span": SPAN}, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 4, ints=1, group=GROUP,
    ),
)
