"""Volatility of bars."""

from services.features.family import Clock, Family, Parameter, Params, WarmUp, steps_to_forget
from services.features.kernels import volatility

GROUP = "Volatility"
WINDOW = Parameter(60, 4, meaning="bars")


def _short_before_long(p: Params) -> str:
    return "" if p["short"] < p["long"] else f"short = {p['short']:g} must be below long = {p['long']:g}"


def _stationary(p: Params) -> str:
    total = p["alpha"] + p["beta"]
    return "" if total < 1.0 else f"alpha + beta = {total:g}: the variance has no long run, keep the sum below 1"


FAMILIES = (
    Family(
        "bollinger_bands", Clock.BARS, volatility.bollinger_bands, 1,
        {
            "percent_b": "(close - lower band) / (upper band - lower band); 0.5 if flat",
            "width": "10⁴ · (upper band - lower band) / mean",
        },
        {"period": Parameter(20, 2, meaning="bars"), "width": Parameter(2.0, 0.1, whole=False, meaning="half-widths")},
        warm_up=lambda p: WarmUp(bars=int(p["period"])), floats=lambda p: int(p["period"]), ints=1, group=GROUP,
    ),
    Family(
        "range_volatility", Clock.BARS, volatility.range_volatility, 1,
        {
            "parkinson": "10⁴ · √(mean of ln(high / low)² / (4 ln 2))",
            "garman_klass": "10⁴ · √(mean of ½ ln(high / low)² - (2 ln 2 - 1) ln(close / open)²)",
            "rogers_satchell": "10⁴ · √(mean of ln(h/o) ln(h/c) + ln(l/o) ln(l/c))",
            "yang_zhang": "10⁴ · √(variance of gaps + k · variance of bodies + (1 - k) · Rogers-Satchell)",
        },
        {"window": WINDOW},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: 1 + 5 * int(p["window"]), ints=1,
        group=GROUP,
    ),
    Family(
        "bipower", Clock.BARS, volatility.bipower, 1,
        {
            "volatility": "10⁴ · √(bipower variation / window): volatility without jumps",
            "jump_share": "max(0, 1 - bipower variation / realised variance)",
            "jump_statistic": "the ratio statistic, standard normal without jumps",
            "jump": "1 while the statistic is above `limit`, else 0",
        },
        {"window": WINDOW, "limit": Parameter(3.09, 0.0, whole=False, meaning="standard deviations")},
        warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), floats=lambda p: int(p["window"]) + 1, ints=1,
        group=GROUP,
    ),
    Family(
        "ewma_volatility", Clock.BARS, volatility.ewma_volatility, 1,
        {"volatility": "√(EW mean of squared one-bar log-returns), weight 1 - `decay`; basis points"},
        {"decay": Parameter(0.94, 0.01, whole=False, meaning="share kept per bar", most=0.9999, brief=0.6)},
        warm_up=lambda p: WarmUp(bars=steps_to_forget(1.0 - p["decay"]) + 1), floats=lambda p: 2, ints=1,
        group=GROUP,
    ),
    Family(
        "garch", Clock.BARS, volatility.garch, 1,
        {
            "volatility": "σ of the next bar, σ² = omega + alpha · return² + beta · σ² before; basis points",
            "ratio": "σ of the next bar / long-run σ",
            "surprise": "last log-return / the σ expected of it",
        },
        {
            "omega": Parameter(0.01, 1e-9, whole=False, meaning="basis points²"),
            "alpha": Parameter(0.05, 0.0, whole=False, most=1.0, brief=0.2),
            "beta": Parameter(0.94, 0.0, whole=False, most=1.0, brief=0.5),
        },
        warm_up=lambda p: WarmUp(bars=steps_to_forget(1.0 - p["alpha"] - p["beta"]) + 1), floats=lambda p: 2, ints=1,
        problem=_stationary, group=GROUP,
    ),
    Family(
        "volatility_ratio", Clock.BARS, volatility.volatility_ratio, 1,
        {"ratio": "realised volatility of `short` bars / of `long` bars; 1 at rest"},
        {"short": Parameter(10, 1, meaning="bars", brief=3), "long": Parameter(60, 2, meaning="bars", brief=8)},
        warm_up=lambda p: WarmUp(bars=int(p["long"]) + 1), floats=lambda p: int(p["long"]) + 1, ints=1,
        problem=_short_before_long, group=GROUP,
    ),
)
