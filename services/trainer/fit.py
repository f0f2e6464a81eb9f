"""From labelled rows to a model, out-of-fold figures and the evidence for the gate.

One thread, one seed, no clock: the same dataset and settings give the same bytes. What is judged are always
out-of-fold predictions: of walk-forward models that saw nothing whose label touches the rows they are judged on.
The model that serves is then fitted by the same recipe on all rows.
"""

import lightgbm as lgb
import msgspec
import numpy as np

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from libs.common.models.bundle import golden_file
from libs.common.models.lightgbm_predictor import LightGbmPredictor
from libs.common.models.lightgbm_text import checked_text
from libs.common.models.predictor import Predictor
from libs.common.stats.drift import drift_reference
from libs.common.stats.performance import sharpe, win_rate
from services.trainer.config import FitConfig
from services.trainer.dataset import DOWN, FLAT, UP, Dataset
from services.trainer.folds import Fold, overlap_rows, walk_forward
from services.trainer.gate import net_returns, p_not_above_zero, signals_of
from services.trainer.work import FitOutcome, FitRequest

CLASSES = 3
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


def fit(dataset: Dataset, request: FitRequest, champion: Predictor | None) -> FitOutcome:
    """Fit a model, judge its recipe out of fold and compare it with the champion.

    Parameters
    ----------
    dataset : labelled rows, oldest first
    champion : predicts rows of the same features; ``None`` when nothing comparable serves

    Raises
    ------
    DataError : when there are too few rows for the folds, or values that are not finite
    """
    check_dataset(dataset, request)
    settings, seed = request.settings, request.seed
    # A training window that cannot be split even once teaches nothing.
    folds = walk_forward(
        dataset.time_ns, dataset.end_ns, settings.folds, settings.embargo_s * 1_000_000_000, 2 * settings.min_leaf_rows
    )
    if not folds:
        raise DataError(
            "dataset", f"{len(dataset)} rows leave too little to train on after purging",
            remedy="Raise trainer.min_rows, or lower trainer.horizon_s or trainer.fit.embargo_s",
        )
    judged = out_of_fold(dataset, folds, request)
    metrics = {"train_rows": float(len(dataset)), "folds": float(len(folds)), **judge(dataset, judged, settings, seed)}
    if champion is not None:
        metrics |= compare(dataset, judged, champion, request)
    text = train(dataset.features, dataset.label, request)
    return FitOutcome(
        model_text=text,
        golden=_golden(dataset, text, settings.golden_rows),
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
        drift={
            name: drift_reference(dataset.features[:, column], settings.drift_bins)
            for column, name in enumerate(request.feature_names)
        },
        mean_return_pct={
            "long": _mean(dataset.long_pct[dataset.label == UP]),
            "short": _mean(dataset.short_pct[dataset.label == DOWN]),
        },
    )


def check_dataset(dataset: Dataset, request: FitRequest) -> None:
    """Refuse a dataset that cannot be what the trainer wrote.

    Raises
    ------
    DataError : naming the column and what is wrong with it
    """
    n, k = len(dataset), len(request.feature_names)
    if dataset.features.shape != (n, k):
        raise DataError("dataset", f"features of shape {dataset.features.shape}, expected {(n, k)}")
    for name in ("features", "gross_pct", "long_pct", "short_pct"):
        if not np.isfinite(getattr(dataset, name)).all():
            raise DataError("dataset", f"column {name} holds values that are not finite")
    for name in ("end_ns", "label", "gross_pct", "long_pct", "short_pct"):
        if len(getattr(dataset, name)) != n:
            raise DataError("dataset", f"column {name} has {len(getattr(dataset, name))} rows, time_ns has {n}")
    if not np.isin(dataset.label, (DOWN, FLAT, UP)).all():
        raise DataError("dataset", "column label holds classes other than 0, 1, 2")
    if (np.diff(dataset.time_ns) < 0).any() or (dataset.end_ns < dataset.time_ns).any():
        raise DataError("dataset", "time_ns falls, or a label ends before its row")


def train(features: Floats, label: Ints, request: FitRequest) -> bytes:
    """Return the text of a LightGBM model fitted on (n, k) features and (n,) classes."""
    settings = request.settings
    parameters = {
        "objective": "multiclass", "num_class": CLASSES, "learning_rate": settings.learning_rate,
        "num_leaves": settings.num_leaves, "min_data_in_leaf": settings.min_leaf_rows, "max_bin": settings.max_bin,
        "feature_fraction": settings.feature_fraction, "lambda_l2": settings.l2, "seed": request.seed,
        "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }
    # Features get neutral names: real ones may hold characters LightGBM rewrites; the manifest keeps the order.
    names = [f"f{column}" for column in range(features.shape[1])]
    rows = lgb.Dataset(features, label, feature_name=names, free_raw_data=False)
    booster = lgb.train(parameters, rows, num_boost_round=settings.rounds)
    return booster.model_to_string().encode()


def predictor_of(model_text: bytes, features: int) -> Predictor:
    """Return the predictor inference will make of a model text.

    Raises
    ------
    ArtifactError : when inference would refuse the text
    """
    return LightGbmPredictor(checked_text(model_text, features), features)


def out_of_fold(dataset: Dataset, folds: tuple[Fold, ...], request: FitRequest) -> OutOfFold:
    """Fit one model per fold and let it predict the fold's test window."""
    rows, probabilities, rates = [], [], []
    for fold in folds:
        label = dataset.label[fold.train]
        model = predictor_of(train(dataset.features[fold.train], label, request), dataset.features.shape[1])
        rows.append(fold.test)
        probabilities.append(model.predict_block(dataset.features[fold.test]))
        shares = np.bincount(label, minlength=CLASSES) / len(label)
        rates.append(np.repeat(shares[None, :], len(fold.test), axis=0))
    return OutOfFold(np.concatenate(rows), np.concatenate(probabilities), np.concatenate(rates))


def judge(dataset: Dataset, judged: OutOfFold, settings: FitConfig, seed: int) -> dict[str, float]:
    """Return the out-of-fold figures of a recipe.

    Returns
    -------
    ``rows`` judged; ``log_loss``, ``base_log_loss`` (of the training window's class shares) and ``skill`` (base
    minus model) in nats per row with ``skill_p``; ``accuracy`` and ``base_accuracy``; ``auc`` of up against down;
    ``share_*`` of the classes; ``trades``, ``trade_net_pct`` (mean per trade), ``net_pct`` (sum), ``hit_rate``,
    ``trade_t`` (mean over its standard error, trades taken for independent) of the signal after costs.
    """
    label = dataset.label[judged.rows]
    block = overlap_rows(dataset.time_ns[judged.rows], dataset.end_ns[judged.rows])
    loss, base = _log_losses(judged.probabilities, label), _log_losses(judged.base_rates, label)
    side = signals_of(judged.probabilities, settings.min_confidence)
    net = net_returns(side, dataset.long_pct[judged.rows], dataset.short_pct[judged.rows])
    shares = np.bincount(label, minlength=CLASSES) / len(label)
    return {
        "rows": float(len(label)), "overlap_rows": float(block),
        "log_loss": float(loss.mean()), "base_log_loss": float(base.mean()),
        "skill": float((base - loss).mean()),
        "skill_p": p_not_above_zero(base - loss, block, settings.resamples, seed),
        "accuracy": float((judged.probabilities.argmax(axis=1) == label).mean()),
        "base_accuracy": float((judged.base_rates.argmax(axis=1) == label).mean()),
        "auc": auc(judged.probabilities[:, UP] - judged.probabilities[:, DOWN], label),
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


def _log_losses(probabilities: Floats, label: Ints) -> Floats:
    chosen = probabilities[np.arange(len(label)), label]
    losses: Floats = -np.log(np.maximum(chosen, LEAST_PROBABILITY))
    return losses


def _trade_figures(net: Floats, prefix: str) -> dict[str, float]:
    ratio = sharpe(net, float(len(net)))
    return {
        f"{prefix}trades": float(len(net)), f"{prefix}net_pct": float(net.sum()),
        f"{prefix}trade_net_pct": _mean(net), f"{prefix}hit_rate": win_rate(net) or 0.0,
        f"{prefix}trade_t": 0.0 if ratio is None else ratio,
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _golden(dataset: Dataset, model_text: bytes, wanted: int) -> bytes:
    chosen = np.unique(np.linspace(0, len(dataset) - 1, wanted).round().astype(np.int64))
    rows = dataset.features[chosen]
    return golden_file(rows, predictor_of(model_text, rows.shape[1]).predict_block(rows))
