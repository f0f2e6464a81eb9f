"""Cross-asset families: what related symbols say."""

from services.features.family import Clock, Family, Parameter, WarmUp
from services.features.kernels import cross

GROUP = "Cross-asset"
WINDOW = Parameter(60, 3, meaning="bars", most=10_000, brief=6)
INPUTS = frozenset({"quotes", "related symbols"})

FAMILIES = (
    Family(
        "cross_momentum", Clock.CROSS, cross.cross_momentum, 1,
        {
            "basket": "10⁴ · mean over the related symbols of ln(mid close / mid close `bars` bars earlier)",
            "relative": "10⁴ · the symbol's own log-return over `bars` bars - basket",
        },
        {"bars": Parameter(1, meaning="bars", most=10_000)}, INPUTS,
        warm_up=lambda p: WarmUp(bars=int(p["bars"]) + 1), group=GROUP,
    ),
    Family(
        "cross_correlation", Clock.CROSS, cross.cross_correlation, 1,
        {
            "correlation": "of own and the basket's one-bar log-returns over `window` bars; 0 if one rests",
            "beta": "covariance / variance of the basket; 0 if it rests",
        },
        {"window": WINDOW}, INPUTS, warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), group=GROUP,
    ),
    Family(
        "lead_lag", Clock.CROSS, cross.lead_lag, 1,
        {
            "leads": "correlation of the own return with the basket's `lag` bars earlier",
            "net": "leads - correlation of the basket's return with the own `lag` bars earlier",
        },
        {"window": WINDOW, "lag": Parameter(1, meaning="bars", most=1_000)}, INPUTS,
        warm_up=lambda p: WarmUp(bars=int(p["window"] + p["lag"]) + 1), group=GROUP,
    ),
    Family(
        "basket_residual", Clock.CROSS, cross.basket_residual, 1,
        {
            "residual": "10⁴ · (own log-return - beta · the basket's)",
            "score": "last residual of ln price regressed on the basket's over `window` bars / their deviation",
        },
        {"window": WINDOW}, INPUTS, warm_up=lambda p: WarmUp(bars=int(p["window"]) + 1), group=GROUP,
    ),
)
