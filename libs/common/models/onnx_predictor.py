"""ONNX models, run by ONNX Runtime: one row at a time, on one thread, so that the same row gives the same bits.

A block is walked row by row on purpose. The runtime multiplies a matrix of many rows by other kernels than one row,
and their sums differ in the last bits; a backtest would then not be what was live.
"""

from typing import Any, Self

import numpy as np
import onnxruntime

from libs.common.errors import ArtifactError
from libs.common.messages.base import Floats
from libs.common.models.bundle import ONNX_FILE, Bundle
from libs.common.models.onnx_file import CLASSES, checked_onnx

_TYPES: dict[str, type[np.floating[Any]]] = {"float": np.float32, "double": np.float64}
_FATAL = 4


class OnnxPredictor:
    """A three-class model as ONNX.

    Parameters
    ----------
    content : the model; it is checked here
    features : number of features k

    Raises
    ------
    ArtifactError : when the file is refused, or does not run
    """

    def __init__(self, content: bytes, features: int) -> None:
        layout = checked_onnx(content, features)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _FATAL  # what is wrong is raised, and told by whoever catches it
        self._features = features
        self._row = np.zeros((1, features), dtype=_TYPES[layout.number])
        self._feed = {layout.row: self._row}
        self._wanted = [layout.probabilities]
        # The runtime's exceptions have no common base.
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            found = self._session.run(self._wanted, self._feed)[0]
        except Exception as error:
            raise ArtifactError(f"{ONNX_FILE} does not run: {error}") from error
        if found.shape != (1, CLASSES):
            raise ArtifactError(f"{ONNX_FILE} gives a tensor of shape {found.shape}, it must give (1, {CLASSES})")

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Self:
        """Make the predictor of a bundle whose model lies in ``model.onnx``.

        Raises
        ------
        ArtifactError : when the file is missing or is no sound model of the manifest's features
        """
        content = bundle.files.get(ONNX_FILE)
        if content is None:
            raise ArtifactError(f"bundle has no {ONNX_FILE}")
        return cls(content, len(bundle.manifest.feature_names))

    def predict(self, values: Floats) -> Floats:
        """Return (3,) probabilities down, flat, up of one row of (k,) values.

        Raises
        ------
        ValueError : when the row does not have k values
        """
        if values.shape != (self._features,):
            raise ValueError(f"row of shape {values.shape}, the model has {self._features} features")
        # What single precision cannot hold becomes infinite: the model's answer shows whether it minds.
        with np.errstate(over="ignore"):
            self._row[0] = values
        found: Floats = self._session.run(self._wanted, self._feed)[0][0].astype(np.float64)
        return found

    def predict_block(self, values: Floats) -> Floats:
        """Return (n, 3) probabilities of (n, k) rows."""
        if values.ndim != 2 or values.shape[1] != self._features:
            raise ValueError(f"rows of shape {values.shape}, the model has {self._features} features")
        block = np.empty((len(values), CLASSES))
        for index, row in enumerate(values):
            block[index] = self.predict(row)
        return block
