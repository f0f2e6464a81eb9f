"""What the trainer hands to the fitting process, and what comes back."""

import msgspec

from libs.common.stats.drift import DriftReference
from services.trainer.config import FitConfig


class FitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the fitting process must know besides the dataset.

    Parameters
    ----------
    feature_names : (k,) names of the dataset's columns
    seed : of everything random
    settings : how to fit and judge
    champion_last_ns : end of the champion's training window, ns UTC; 0 when there is none to compare with
    """

    feature_names: tuple[str, ...]
    seed: int
    settings: FitConfig
    champion_last_ns: int = 0


class FitOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model and all that is known of it.

    Parameters
    ----------
    model_text, model_onnx, golden : the bundle's files: one model as LightGBM's text and as ONNX, and the rows both give
    metrics : finite figures
    drift : how each feature is distributed over the training window
    mean_return_pct : mean net return of each side when its class came true
    """

    model_text: bytes
    model_onnx: bytes
    golden: bytes
    metrics: dict[str, float]
    drift: dict[str, DriftReference]
    mean_return_pct: dict[str, float]
