"""From labelled rows to a model, out-of-fold figures and the evidence for the gate.

One thread, one seed, no clock: the same dataset and settings give the same bytes. What is judged are always
out-of-fold predictions: of walk-forward models that saw nothing whose label touches the rows they are judged on.
The model that serves is then fitted by the same recipe on all rows.
"""

import numpy as np

from libs.common.errors import DataError
from libs.common.messages.base import Floats
from libs.common.models.bundle import golden_file
from libs.common.models.predictor import Predictor
from libs.common.stats.drift import drift_reference
from services.trainer.boosting import predictor_of, train
from services.trainer.dataset import CLASSES, DOWN, FLAT, UP, Dataset
from services.trainer.folds import Fold, walk_forward
from services.trainer.judging import OutOfFold, compare, judge, mean_of
from services.trainer.onnx_export import exported
from services.trainer.work import FitOutcome, FitRequest


def fit(dataset: Dataset, request: FitRequest, champion: Predictor | None) -> FitOutcome:
    """Fit a model, judge its recipe out of fold and compare it with the champion.

    Parameters
    ----------
    dataset : labelled rows, oldest first
    champion : predicts rows of the same features; ``None`` when nothing comparable serves

    Raises
    ------
    DataError : when there are too few rows for the folds, or values that are not finite
    ArtifactError : when the model as ONNX does not give what LightGBM gives
    """
    check_dataset(dataset, request)
    settings, seed = request.settings, request.seed
    folds = walk_forward(
        dataset.time_ns, dataset.end_ns, settings.folds, settings.embargo_s * 1_000_000_000, settings.least_train_rows
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
    text = train(dataset, np.arange(len(dataset)), request)
    rows = _golden_rows(dataset, settings.golden_rows)
    probabilities = predictor_of(text, rows.shape[1]).predict_block(rows)
    return FitOutcome(
        model_text=text,
        model_onnx=exported(text, rows, probabilities),
        golden=golden_file(rows, probabilities),
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
        drift={
            name: drift_reference(dataset.features[:, column], settings.drift_bins)
            for column, name in enumerate(request.feature_names)
        },
        mean_return_pct={
            "long": mean_of(dataset.long_pct[dataset.label == UP]),
            "short": mean_of(dataset.short_pct[dataset.label == DOWN]),
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


def out_of_fold(dataset: Dataset, folds: tuple[Fold, ...], request: FitRequest) -> OutOfFold:
    """Fit one model per fold and let it predict the fold's test window."""
    rows, probabilities, rates = [], [], []
    for fold in folds:
        model = predictor_of(train(dataset, fold.train, request), dataset.features.shape[1])
        shares = np.bincount(dataset.label[fold.train], minlength=CLASSES) / len(fold.train)
        rows.append(fold.test)
        probabilities.append(model.predict_block(dataset.features[fold.test]))
        rates.append(np.repeat(shares[None, :], len(fold.test), axis=0))
    return OutOfFold(np.concatenate(rows), np.concatenate(probabilities), np.concatenate(rates))


def _golden_rows(dataset: Dataset, wanted: int) -> Floats:
    chosen = np.unique(np.linspace(0, len(dataset) - 1, wanted).round().astype(np.int64))
    rows: Floats = dataset.features[chosen]
    return rows
