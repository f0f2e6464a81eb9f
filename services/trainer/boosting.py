"""LightGBM, and how long to boost.

The number of rounds is chosen inside the rows a model is fitted on, by purged walk-forward folds within them: where
there is little to learn, few rounds are best, and the model stays close to the shares of the classes instead of
learning noise by heart. Nothing outside these rows has a say in it.
"""

from typing import Any

import lightgbm as lgb
import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.models.lightgbm_predictor import LightGbmPredictor
from libs.common.models.lightgbm_text import checked_text
from libs.common.models.predictor import Predictor
from services.trainer.config import FitConfig
from services.trainer.dataset import CLASSES, Dataset
from services.trainer.folds import walk_forward
from services.trainer.work import FitRequest

_LOSS = "multi_logloss"


def train(dataset: Dataset, rows: Ints, request: FitRequest) -> bytes:
    """Return the text of a LightGBM model fitted on the given rows of a dataset.

    Parameters
    ----------
    rows : (m,) indices, rising
    """
    features, label = dataset.features[rows], dataset.label[rows]
    rounds = best_rounds(features, label, dataset.time_ns[rows], dataset.end_ns[rows], request)
    return boost(features, label, rounds, request)


def boost(features: Floats, label: Ints, rounds: int, request: FitRequest) -> bytes:
    """Return the text of a model boosted for so many rounds on (n, k) features and (n,) classes."""
    parameters = _parameters(request.settings, request.seed)
    booster = lgb.train(parameters, _rows(features, label), num_boost_round=rounds)
    return booster.model_to_string().encode()


def best_rounds(features: Floats, label: Ints, time_ns: Ints, end_ns: Ints, request: FitRequest) -> int:
    """Return the number of rounds with the smallest log-loss over purged walk-forward folds within the rows.

    Parameters
    ----------
    features, label, time_ns, end_ns : (n, k), (n,), (n,), (n,) the rows to fit on, oldest first

    Returns
    -------
    1 to ``settings.rounds``; 1 when there are too few rows for even one fold.
    """
    settings = request.settings
    folds = walk_forward(
        time_ns, end_ns, settings.inner_folds, settings.embargo_s * 1_000_000_000, settings.least_train_rows
    )
    losses = np.zeros(settings.rounds)
    for fold in folds:
        learned = _rows(features[fold.train], label[fold.train])
        judged = learned.create_valid(features[fold.test], label[fold.test])
        record: dict[str, Any] = {}
        lgb.train(
            _parameters(settings, request.seed), learned, num_boost_round=settings.rounds, valid_sets=[judged],
            valid_names=["judged"], callbacks=[lgb.record_evaluation(record)],
        )
        losses += np.array(record["judged"][_LOSS]) * len(fold.test)
    return int(np.argmin(losses)) + 1


def predictor_of(model_text: bytes, features: int) -> Predictor:
    """Return the predictor inference will make of a model text.

    Raises
    ------
    ArtifactError : when inference would refuse the text
    """
    return LightGbmPredictor(checked_text(model_text, features), features)


def _rows(features: Floats, label: Ints) -> lgb.Dataset:
    # Features get neutral names: real ones may hold characters LightGBM rewrites; the manifest keeps the order.
    return lgb.Dataset(features, label, feature_name=[f"f{column}" for column in range(features.shape[1])])


def _parameters(settings: FitConfig, seed: int) -> dict[str, Any]:
    return {
        "objective": "multiclass", "num_class": CLASSES, "metric": _LOSS, "learning_rate": settings.learning_rate,
        "num_leaves": settings.num_leaves, "min_data_in_leaf": settings.min_leaf_rows, "max_bin": settings.max_bin,
        "feature_fraction": settings.feature_fraction, "lambda_l2": settings.l2, "seed": seed,
        "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }
