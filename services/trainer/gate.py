"""Who may serve: the statistics behind a promotion, and the decision.

The evidence is computed where the models are (in the fitting process) and travels as plain numbers; the decision
is a pure function of these numbers, taken by the core.
"""

import math

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints
from services.trainer.config import GateConfig


class Verdict(msgspec.Struct, frozen=True):
    """Whether a model may serve.

    Parameters
    ----------
    reason : empty when promoted, else one of ``incomplete_metrics``, ``too_few_rows``, ``no_skill``,
        ``no_direction``, ``too_few_trades``, ``no_profit``, ``not_better``
    """

    promoted: bool
    reason: str = ""


def signals_of(probabilities: Floats, min_confidence: float) -> Ints:
    """Return the side each row would be traded on.

    Parameters
    ----------
    probabilities : (n, 3) of down, flat, up
    min_confidence : least margin between up and down

    Returns
    -------
    (n,) +1 long, -1 short, 0 none
    """
    margin = probabilities[:, 2] - probabilities[:, 0]
    side = np.sign(margin).astype(np.int64)
    side[np.abs(margin) < min_confidence] = 0
    return side


def net_returns(side: Ints, long_pct: Floats, short_pct: Floats) -> Floats:
    """Return what each row's signal would have earned after costs, percent of price; 0 where it stays out."""
    return np.where(side > 0, long_pct, np.where(side < 0, short_pct, 0.0))


def p_not_above_zero(values: Floats, block: int, resamples: int, seed: int) -> float:
    """Return the p value of "the mean is not above zero" by a circular block bootstrap.

    Parameters
    ----------
    values : (n,) in order of time, possibly dependent
    block : rows that may depend on each other
    resamples : how often the mean is drawn again
    seed : the same seed gives the same answer

    Returns
    -------
    Share of resampled means, centred on zero, that reach the observed one; in (0, 1]. 1.0 when there is no value
    or the mean is not above zero.

    References
    ----------
    Politis, Romano (1992), A circular block-resampling procedure for stationary data.
    """
    n = len(values)
    if n == 0 or not values.mean() > 0.0:
        return 1.0
    block = min(block, n)
    around = np.concatenate((values, values[: block - 1])) - values.mean()
    sums = np.concatenate(([0.0], np.cumsum(around)))
    block_means = (sums[block:] - sums[:-block]) / block
    draws = np.random.default_rng(seed).integers(0, n, size=(resamples, math.ceil(n / block)))
    means = block_means[draws].mean(axis=1)
    return float((1 + np.count_nonzero(means >= values.mean())) / (1 + resamples))


def decide(metrics: dict[str, float], against_champion: bool, config: GateConfig) -> Verdict:
    """Promote or refuse a model.

    Parameters
    ----------
    metrics : out-of-fold figures of the model (``fit.judge``); with a champion also the paired comparison
    against_champion : True when a comparable champion serves

    Returns
    -------
    The verdict; a figure that is missing or not finite refuses.
    """
    def figure(name: str) -> float:
        return metrics.get(name, math.nan)

    needed = ["rows", "skill", "skill_p", "lean", "lean_p", "trades", "net_pct"]
    if against_champion:
        needed += ["gate_rows", "gate_trades", "gate_edge_pct", "gate_edge_p"]
    if not all(math.isfinite(figure(name)) for name in needed):
        return Verdict(False, "incomplete_metrics")
    rows, trades = (figure("gate_rows"), figure("gate_trades")) if against_champion else (
        figure("rows"), figure("trades")
    )
    profit_asked = config.first_model == "profit" and not against_champion
    skill_asked = against_champion or config.first_model != "any"
    refusals = (
        (rows < config.min_rows, "too_few_rows"),
        (skill_asked and (not figure("skill") > 0.0 or figure("skill_p") > config.skill_p_max), "no_skill"),
        (skill_asked and (not figure("lean") > 0.0 or figure("lean_p") > config.skill_p_max), "no_direction"),
        ((profit_asked or against_champion) and trades < config.min_trades, "too_few_trades"),
        (profit_asked and not figure("net_pct") > 0.0, "no_profit"),
        (
            against_champion
            and (not figure("gate_edge_pct") > 0.0 or figure("gate_edge_p") > config.edge_p_max), "not_better",
        ),
    )
    reason = next((reason for refused, reason in refusals if refused), "")
    return Verdict(not reason, reason)
