"""What inference asks of a model, whatever made it."""

from typing import Protocol

from libs.common.errors import ArtifactError
from libs.common.messages.base import Floats
from libs.common.models.bundle import Bundle
from libs.common.models.lightgbm_predictor import LightGbmPredictor
from libs.common.models.normaliser import NORMALISER_FILE, NormalisedPredictor, read_normaliser


class Predictor(Protocol):
    """Gives the probabilities that the lower barrier, the time limit, the upper barrier comes first.

    A predictor keeps scratch space between calls: one thread at a time may use it.
    """

    def predict(self, values: Floats) -> Floats:
        """Return (3,) probabilities down, flat, up of one row of (k,) values."""
        ...

    def predict_block(self, values: Floats) -> Floats:
        """Return (n, 3) probabilities of (n, k) rows; each equals what ``predict`` gives, bit for bit."""
        ...


def load_predictor(bundle: Bundle) -> Predictor:
    """Make the predictor of a verified bundle; rows pass through the bundle's normaliser if it carries one.

    Raises
    ------
    ArtifactError : for a backend this version does not know, or weights it cannot read
    """
    model = _model_of(bundle)
    content = bundle.files.get(NORMALISER_FILE)
    if content is None:
        return model
    return NormalisedPredictor(read_normaliser(content, bundle.manifest.feature_names), model)


def _model_of(bundle: Bundle) -> Predictor:
    if bundle.manifest.backend == "lightgbm":
        return LightGbmPredictor.of_bundle(bundle)
    if bundle.manifest.backend == "onnx":
        # Only here: whoever serves LightGBM alone needs neither the package nor its 25 MB of memory.
        from libs.common.models.onnx_predictor import OnnxPredictor  # noqa: PLC0415

        return OnnxPredictor.of_bundle(bundle)
    raise ArtifactError(f"unknown backend '{bundle.manifest.backend}', this version knows lightgbm and onnx")
