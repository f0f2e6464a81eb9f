"""Regimes."""

from services.features.family import Clock, Family, Parameter, Params, WarmUp, steps_to_forget
from services.features.kernels import regime

GROUP = "Regime"


def _memory(p: Params) -> int:
    """Return when the filter has forgotten its beginning: without any evidence the second eigenvalue decides."""
    return steps_to_forget(1.0 - abs(p["stay_calm"] + p["stay_wild"] - 1.0)) + 1


def _states(p: Params) -> str:
    if p["calm"] < p["wild"]:
        return ""
    return f"calm = {p['calm']:g} must be below wild = {p['wild']:g}"


def _thresholds(p: Params) -> str:
    if p["short"] >= p["long"]:
        return f"short = {p['short']:g} must be below long = {p['long']:g}"
    return "" if p["leave"] < p["enter"] else f"leave = {p['leave']:g} must be below enter = {p['enter']:g}"


FAMILIES = (
    Family(
        "hidden_markov", Clock.BARS, regime.hidden_markov, 1,
        {
            "wild": "probability of the wild state given all returns so far (forward filter, no smoothing)",
            "volatility": "√(expected squared log-return of the next bar); basis points",
        },
        {
            "stay_calm": Parameter(0.98, 0.01, whole=False, meaning="probability", most=0.9999, brief=0.9),
            "stay_wild": Parameter(0.95, 0.01, whole=False, meaning="probability", most=0.9999, brief=0.8),
            "calm": Parameter(1.0, 1e-6, whole=False, meaning="σ, basis points"),
            "wild": Parameter(3.0, 1e-6, whole=False, meaning="σ, basis points"),
        },
        warm_up=lambda p: WarmUp(bars=_memory(p)), floats=lambda p: 2, ints=1, problem=_states, group=GROUP,
    ),
    Family(
        "volatility_regime", Clock.BARS, regime.volatility_regime, 1,
        {"wild": "1 from when the ratio of short to long volatility reaches `enter` until it falls to `leave`, else 0"},
        {
            "short": Parameter(10, 1, meaning="bars", brief=3), "long": Parameter(120, 2, meaning="bars", brief=8),
            "enter": Parameter(1.3, 0.0, whole=False, meaning="ratio"),
            "leave": Parameter(0.9, 0.0, whole=False, meaning="ratio"),
        },
        warm_up=lambda p: WarmUp(bars=int(p["long"]) + 1, data=True), floats=lambda p: int(p["long"]) + 1, ints=2,
        problem=_thresholds, group=GROUP,
    ),
    Family(
        "trend_range", Clock.BARS, regime.trend_range, 1,
        {
            "state": "+1 or -1 while the efficiency ratio is at least `limit`, by direction, else 0",
            "efficiency": "|close - close `period` bars earlier| / Σ|one-bar changes|; 0 if flat",
            "choppiness": "100 · ln(Σ true range / (highest high - lowest low)) / ln(period); 100 if flat",
        },
        {
            "period": Parameter(20, 2, meaning="bars"),
            "limit": Parameter(0.4, 0.0, whole=False, meaning="efficiency ratio", most=1.0),
        },
        warm_up=lambda p: WarmUp(bars=int(p["period"]) + 1), floats=lambda p: 1 + 4 * int(p["period"]), ints=1,
        group=GROUP,
    ),
    Family(
        "cusum", Clock.BARS, regime.cusum, 1,
        {
            "up": "max(0, sum before + standardised log-return - drift)",
            "down": "max(0, sum before - standardised log-return - drift)",
            "change": "+1 or -1 at the bar whose sum passes `limit`, which begins again at 0; else 0",
        },
        {
            "span": Parameter(60, 2, meaning="bars", brief=6),
            "drift": Parameter(0.5, 0.0, whole=False, meaning="deviations per bar"),
            "limit": Parameter(5.0, 0.1, whole=False, meaning="deviations"),
        },
        warm_up=lambda p: WarmUp(bars=2 * steps_to_forget(2.0 / (p["span"] + 1.0)) + 1), floats=lambda p: 4, ints=1,
        group=GROUP,
    ),
    Family(
        "tick_activity", Clock.BARS, regime.tick_activity, 1,
        {"activity": "ticks of the bar / mean ticks of the last `period` bars"},
        {"period": Parameter(20, 2, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1, group=GROUP,
    ),
)
