"""What out-of-fold predictions are worth: figures of a recipe, and its paired comparison with the champion."""

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.models.predictor import Predictor
from libs.common.stats.performance import sharpe, win_rate
from services.trainer.config import FitConfig
from services.trainer.dataset import CLASSES, DOWN, FLAT, UP, Dataset
from services.trainer.folds import overlap_rows
from services.trainer.gate import net_returns, p_not_above_zero, signals_of
from services.trainer.work import FitRequest

LEAST_PROBABILITY = 1e-6
"""Probabilities count with at least this in a log-loss: one impossible event must not decide everything."""


class OutOfFold(msgspec.Struct, frozen=True, eq=False):
    """What walk-forward models said of rows they could not know.

    Parameters
    ----------
    rows : (m,) indices into the dataset, rising
    probabilities : (m, 3) of down, flat, up
    base_rates : (m, 3) shares of the classes in each row's training window
    """

    rows: Ints
    probabilities: Floats
    base_rates: Floats


def judge(dataset: Dataset, judged: OutOfFold, settings: FitConfig, seed: int) -> dict[str, float]:
    """Return the out-of-fold figures of a recipe.

    Returns
    -------
    ``rows`` judged; ``log_loss``, ``base_log_loss`` (of the training window's class shares) and ``skill`` (base
    minus model) in nats per row with ``skill_p``; ``lean`` (how much further the model leaned to the side the market
    went to than the base rates did, mean over the rows) with ``lean_p``; ``auc`` of up against down; ``accuracy`` and
    ``base_accuracy``; ``share_*`` of the classes; ``trades``, ``trade_net_pct`` (mean per trade), ``net_pct`` (sum),
    ``hit_rate``, ``trade_t`` (mean over its standard error, trades taken for independent) of the signal after costs.
    """
    label = dataset.label[judged.rows]
    block = overlap_rows(dataset.time_ns[judged.rows], dataset.end_ns[judged.rows])
    loss, base = _log_losses(judged.probabilities, label), _log_losses(judged.base_rates, label)
    lean = (_margin(judged.probabilities) - _margin(judged.base_rates)) * (label - FLAT)
    side = signals_of(judged.probabilities, settings.min_confidence)
    net = net_returns(side, dataset.long_pct[judged.rows], dataset.short_pct[judged.rows])
    shares = np.bincount(label, minlength=CLASSES) / len(label)
    return {
        "rows": float(len(label)), "overlap_rows": float(block),
        "log_loss": float(loss.mean()), "base_log_loss": float(base.mean()),
        "skill": float((base - loss).mean()),
        "skill_p": p_not_above_zero(base - loss, block, settings.resamples, seed),
        "lean": float(lean.mean()), "lean_p": p_not_above_zero(lean, block, settings.resamples, seed),
        "accuracy": float((judged.probabilities.argmax(axis=1) == label).mean()),
        "base_accuracy": float((judged.base_rates.argmax(axis=1) == label).mean()),
        "auc": auc(_margin(judged.probabilities), label),
        "share_down": float(shares[DOWN]), "share_flat": float(shares[FLAT]), "share_up": float(shares[UP]),
        **_trade_figures(net[side != 0], ""),
    }


def compare(dataset: Dataset, judged: OutOfFold, champion: Predictor, request: FitRequest) -> dict[str, float]:
    """Return the paired comparison of challenger and champion, after costs, on rows neither was trained on.

    Returns
    -------
    ``gate_rows`` compared; for both sides trades, mean and sum of net returns and hit rate (``gate_*`` the
    challenger's, ``champion_*``); log-losses; ``gate_edge_pct`` mean of challenger minus champion per row with
    ``gate_edge_p``.
    """
    settings = request.settings
    unseen = dataset.time_ns[judged.rows] > request.champion_last_ns + settings.embargo_s * 1_000_000_000
    rows, challenger = judged.rows[unseen], judged.probabilities[unseen]
    if len(rows) == 0:
        return {"gate_rows": 0.0, "gate_trades": 0.0, "gate_edge_pct": 0.0, "gate_edge_p": 1.0}
    label = dataset.label[rows]
    other = champion.predict_block(dataset.features[rows])
    side, other_side = signals_of(challenger, settings.min_confidence), signals_of(other, settings.min_confidence)
    net = net_returns(side, dataset.long_pct[rows], dataset.short_pct[rows])
    other_net = net_returns(other_side, dataset.long_pct[rows], dataset.short_pct[rows])
    block = overlap_rows(dataset.time_ns[rows], dataset.end_ns[rows])
    return {
        "gate_rows": float(len(rows)),
        "gate_log_loss": float(_log_losses(challenger, label).mean()),
        "champion_log_loss": float(_log_losses(other, label).mean()),
        **_trade_figures(net[side != 0], "gate_"), **_trade_figures(other_net[other_side != 0], "champion_"),
        "gate_edge_pct": float((net - other_net).mean()),
        "gate_edge_p": p_not_above_zero(net - other_net, block, settings.resamples, request.seed),
    }


def auc(score: Floats, label: Ints) -> float:
    """Return the probability that a random up row scores above a random down row; 0.5 when one class is missing.

    References
    ----------
    Mann, Whitney (1947), On a test of whether one of two random variables is stochastically larger than the other.
    """
    up, down = np.sort(score[label == UP]), score[label == DOWN]
    if len(up) == 0 or len(down) == 0:
        return 0.5
    below, not_above = np.searchsorted(up, down, side="left"), np.searchsorted(up, down, side="right")
    return float(1.0 - (below + not_above).sum() / (2.0 * len(up) * len(down)))


def _margin(probabilities: Floats) -> Floats:
    margin: Floats = probabilities[:, UP] - probabilities[:, DOWN]
    return margin


def _log_losses(probabilities: Floats, label: Ints) -> Floats:
    chosen = probabilities[np.arange(len(label)), label]
    losses: Floats = -np.log(np.maximum(chosen, LEAST_PROBABILITY))
    return losses


def _trade_figures(net: Floats, prefix: str) -> dict[str, float]:
    ratio = sharpe(net, float(len(net)))
    return {
        f"{prefix}trades": float(len(net)), f"{prefix}net_pct": float(net.sum()),
        f"{prefix}trade_net_pct": mean_of(net), f"{prefix}hit_rate": win_rate(net) or 0.0,
        f"{prefix}trade_t": 0.0 if ratio is None else ratio,
    }


def mean_of(values: Floats) -> float:
    """Return the mean, 0.0 of nothing."""
    return float(values.mean()) if len(values) else 0.0
