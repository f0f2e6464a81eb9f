"""Families that follow another feature from row to row: lags, rolling statistics, normalisers."""

from services.features.family import Clock, Family, Parameter, WarmUp
from services.features.kernels import series

GROUP = "Of other features"
INPUTS = frozenset({"another feature"})

FAMILIES = (
    Family(
        "lag", Clock.SERIES, series.lag, 1,
        {"value": "the feature's value `rows` rows earlier", "change": "value now - value `rows` rows earlier"},
        {"rows": Parameter(1, meaning="rows", most=100_000, brief=2)}, INPUTS,
        warm_up=lambda p: WarmUp(rows=int(p["rows"])), floats=lambda p: int(p["rows"]), ints=1, group=GROUP,
    ),
    Family(
        "rolling", Clock.SERIES, series.rolling, 1,
        {
            "mean": "mean of the last `window` rows", "deviation": "their standard deviation (population)",
            "minimum": "their minimum", "maximum": "their maximum",
            "z_score": "(value - mean) / deviation; 0 at rest",
            "rank": "share of the window below the value, equal ones counting half; 0.5 at rest",
        },
        {"window": Parameter(20, 2, meaning="rows", most=100_000)}, INPUTS,
        warm_up=lambda p: WarmUp(rows=int(p["window"]) - 1), floats=lambda p: int(p["window"]), ints=1, group=GROUP,
    ),
    Family(
        "scaled", Clock.SERIES, series.scaled, 1,
        {"score": "(value - mean) / deviation with the training rows' mean and deviation; cut off at ±`limit`"},
        {
            "mean": Parameter(0.0, -1e12, whole=False, most=1e12),
            "deviation": Parameter(1.0, 1e-12, whole=False, most=1e12),
            "limit": Parameter(10.0, 0.1, whole=False, meaning="deviations"),
        },
        INPUTS, ints=1, group=GROUP,
    ),
)
