"""From a model's probabilities to a suggestion: pure rules, asked in order, the first objection counts.

A model leans to the side whose barrier it thinks likelier. The suggestion stands unless a rule objects; a prediction
goes out either way and says why it suggests nothing.
"""

import math
from collections.abc import Callable

import msgspec

from libs.common.messages.base import Floats
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import Side
from libs.common.models.bundle import Manifest
from services.inference.config import SignalConfig
from services.inference.library import LoadedModel


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules judge.

    Parameters
    ----------
    side : where the model leans; ``None`` when up and down are equally likely
    confidence : margin between the probabilities of up and down, 0..1
    expected_return_pct : of the side, percent of price
    p_flat : probability that neither barrier is reached
    sigma : one standard deviation of the price over the horizon, price units; NaN when the row does not hold it
    spread : price units
    ma, rsi : the confirming indicators; NaN when the row does not hold them
    """

    side: Side | None
    confidence: float
    expected_return_pct: float
    p_flat: float
    sigma: float
    spread: float
    ma: float
    rsi: float


def needs_a_side(candidate: Candidate, config: SignalConfig) -> str:
    return "" if candidate.side is not None else "no_edge"


def needs_volatility(candidate: Candidate, config: SignalConfig) -> str:
    return "" if math.isfinite(candidate.sigma) and candidate.sigma > 0.0 else "no_volatility"


def needs_confidence(candidate: Candidate, config: SignalConfig) -> str:
    return "" if candidate.confidence >= config.min_confidence else "low_confidence"


def needs_movement(candidate: Candidate, config: SignalConfig) -> str:
    return "" if candidate.p_flat <= config.max_p_flat else "flat_likely"


def needs_expected_return(candidate: Candidate, config: SignalConfig) -> str:
    return "" if candidate.expected_return_pct >= config.min_expected_return_pct else "low_expected_return"


def needs_allowed_side(candidate: Candidate, config: SignalConfig) -> str:
    return "" if config.sides in ("both", candidate.side) else "side_not_allowed"


def needs_tight_spread(candidate: Candidate, config: SignalConfig) -> str:
    limit = config.max_spread_sigma
    return "" if limit == 0.0 or candidate.spread <= limit * candidate.sigma else "spread_too_wide"


def needs_confirmation(candidate: Candidate, config: SignalConfig) -> str:
    """Object unless moving averages and RSI both speak for the side; a missing indicator confirms nothing."""
    rule = config.confirmation
    if not rule.enabled:
        return ""
    if math.isnan(candidate.ma) or math.isnan(candidate.rsi):
        return "confirmation_missing"
    if candidate.side is Side.BUY:
        agreed = candidate.ma > 0.0 and rule.rsi_buy_min <= candidate.rsi <= rule.rsi_buy_max
    else:
        agreed = candidate.ma < 0.0 and rule.rsi_sell_min <= candidate.rsi <= rule.rsi_sell_max
    return "" if agreed else "not_confirmed"


RULES: tuple[Callable[[Candidate, SignalConfig], str], ...] = (
    needs_a_side, needs_volatility, needs_confidence, needs_movement, needs_expected_return, needs_allowed_side,
    needs_tight_spread, needs_confirmation,
)
"""Every rule returns why it objects, or an empty text."""


def objection(candidate: Candidate, config: SignalConfig) -> str:
    """Return the first rule's objection, or an empty text."""
    for rule in RULES:
        reason = rule(candidate, config)
        if reason:
            return reason
    return ""


def expected_return_pct(side: Side | None, p_down: float, p_up: float, mean_return_pct: dict[str, float]) -> float:
    """Return what a trade to a side earns on average, percent of price.

    Parameters
    ----------
    side : of the trade; ``None`` earns nothing
    p_down, p_up : probabilities that the lower, the upper barrier comes first
    mean_return_pct : mean return of ``long`` where the price went up and of ``short`` where it went down

    Returns
    -------
    The gain where the side is right less what the other side would have gained where it is wrong; a trade that
    meets neither barrier is taken to earn nothing.

    Examples
    --------
    >>> round(expected_return_pct(Side.BUY, 0.2, 0.5, {"long": 0.1, "short": 0.1}), 6)
    0.03
    """
    if side is None:
        return 0.0
    long = p_up * mean_return_pct["long"] - p_down * mean_return_pct["short"]
    return long if side is Side.BUY else -long


def sigma_of(row: FeatureBlock, model: LoadedModel) -> float:
    """Return one standard deviation of the price over the model's horizon, price units."""
    manifest = model.manifest
    sigma = float(row.values[model.sigma_index]) * manifest.sigma_scale
    return sigma * (row.bid + row.ask) / 2.0 if manifest.sigma_unit == "relative" else sigma


def suggest(
    row: FeatureBlock, probabilities: Floats, model: LoadedModel, config: SignalConfig, *, shadow: bool, now_ns: int
) -> Prediction:
    """Return the prediction a model's probabilities amount to.

    Parameters
    ----------
    row : of the model's schema
    probabilities : (3,) down, flat, up
    model : who predicts
    config : the rules' limits
    shadow : for the record only
    now_ns : when the prediction is made
    """
    p_down, p_flat, p_up = probabilities.tolist()
    lean = Side.BUY if p_up > p_down else Side.SELL if p_down > p_up else None
    manifest = model.manifest
    sigma = sigma_of(row, model)
    candidate = Candidate(
        side=lean,
        confidence=abs(p_up - p_down),
        expected_return_pct=expected_return_pct(lean, p_down, p_up, manifest.mean_return_pct),
        p_flat=p_flat,
        sigma=sigma,
        spread=row.ask - row.bid,
        ma=_feature(row, model, config.confirmation.ma_feature),
        rsi=_feature(row, model, config.confirmation.rsi_feature),
    )
    reason = objection(candidate, config)
    usable_sigma = 0.0 if needs_volatility(candidate, config) else sigma
    return Prediction(
        ts_event_ns=row.ts_event_ns, ts_init_ns=now_ns, symbol=row.symbol,
        p_down=p_down, p_flat=p_flat, p_up=p_up,
        expected_return_pct=candidate.expected_return_pct, confidence=candidate.confidence,
        side=None if reason else lean,
        stop_distance=manifest.stop_sigma * usable_sigma, target_distance=manifest.target_sigma * usable_sigma,
        volatility=usable_sigma, horizon_s=manifest.horizon_s,
        model=manifest.name, version=manifest.version, bid=row.bid, ask=row.ask, shadow=shadow, reason=reason,
    )


def missing_confirmation(manifest: Manifest, config: SignalConfig) -> tuple[str, ...]:
    """Return the confirming features a model's rows do not hold: with it, nothing would ever be confirmed."""
    rule = config.confirmation
    wanted = (rule.ma_feature, rule.rsi_feature) if rule.enabled else ()
    return tuple(name for name in wanted if name not in manifest.feature_names)


def _feature(row: FeatureBlock, model: LoadedModel, name: str) -> float:
    index = model.positions.get(name)
    return math.nan if index is None else float(row.values[index])
