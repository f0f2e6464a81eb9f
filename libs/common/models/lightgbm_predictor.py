"""LightGBM models: loaded from checked text, one row predicted without a detour through Python objects.

``Booster.predict`` spends most of its time on arguments. LightGBM's C interface has a call for one row at a time
whose preparation is done once; it is reached through the library that the lightgbm package has loaded anyway.
"""

import ctypes
from typing import Any, Self

import lightgbm
import numpy as np
from lightgbm import basic
from lightgbm.basic import LightGBMError

from libs.common.errors import ArtifactError
from libs.common.messages.base import Floats
from libs.common.models.bundle import MODEL_FILE, Bundle
from libs.common.models.lightgbm_text import CLASSES, checked_text

_LIB: Any = basic._LIB  # type: ignore[attr-defined]
"""LightGBM's shared library, loaded by the package; the fast calls have no public spelling in Python."""
# Constants of LightGBM's c_api.h.
_FLOAT64 = 1
_PREDICT_NORMAL = 0
_ALL_ITERATIONS = -1
_PARAMETERS = b"num_threads=1 verbosity=-1"


class LightGbmPredictor:
    """A three-class LightGBM model.

    Parameters
    ----------
    text : model text that passed ``checked_text``
    features : number of features k

    Raises
    ------
    ArtifactError : when LightGBM refuses the text
    """

    def __init__(self, text: str, features: int) -> None:
        # The package looks for this line at the end of every text.
        text += "\npandas_categorical:null\n"
        try:
            self._booster = lightgbm.Booster(model_str=text)
        except LightGBMError as error:
            raise ArtifactError(f"LightGBM cannot load the model: {error}") from error
        self._features = features
        self._row = np.zeros(features)
        self._out = np.zeros(CLASSES)
        self._fast: ctypes.c_void_p | None = None
        self._fast = self._prepare()
        self._call: Any = _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._out_len = ctypes.c_int64(0)
        self._arguments = (
            self._fast, ctypes.c_void_p(self._row.ctypes.data), ctypes.byref(self._out_len),
            ctypes.c_void_p(self._out.ctypes.data),
        )

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Self:
        """Make the predictor of a bundle whose weights lie in ``model.txt``.

        Raises
        ------
        ArtifactError : when the file is missing or is not a sound model of the manifest's features
        """
        content = bundle.files.get(MODEL_FILE)
        if content is None:
            raise ArtifactError(f"bundle has no {MODEL_FILE}")
        features = len(bundle.manifest.feature_names)
        return cls(checked_text(content, features), features)

    def predict(self, values: Floats) -> Floats:
        """Return (3,) probabilities down, flat, up of one row of (k,) values.

        Raises
        ------
        ValueError : when the row does not have k values
        """
        if values.shape != self._row.shape:
            raise ValueError(f"row of shape {values.shape}, the model has {self._features} features")
        self._row[:] = values
        if self._call(*self._arguments) != 0:
            raise RuntimeError(_last_error())
        return self._out.copy()

    def predict_block(self, values: Floats) -> Floats:
        """Return (n, 3) probabilities of (n, k) rows."""
        if values.ndim != 2 or values.shape[1] != self._features:
            raise ValueError(f"rows of shape {values.shape}, the model has {self._features} features")
        if not len(values):
            return np.empty((0, CLASSES))
        block: Floats = np.asarray(self._booster.predict(values, num_threads=1), dtype=np.float64)
        return block

    def _prepare(self) -> ctypes.c_void_p:
        fast = ctypes.c_void_p()
        code = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            self._booster._handle, ctypes.c_int(_PREDICT_NORMAL), ctypes.c_int(0), ctypes.c_int(_ALL_ITERATIONS),
            ctypes.c_int(_FLOAT64), ctypes.c_int32(self._features), ctypes.c_char_p(_PARAMETERS), ctypes.byref(fast),
        )
        if code != 0:
            raise ArtifactError(f"LightGBM cannot prepare the model: {_last_error()}")
        return fast

    def __del__(self) -> None:
        # Python may end the interpreter in any order: the library can be gone before the predictor.
        fast = getattr(self, "_fast", None)
        if fast is not None and _LIB is not None:
            _LIB.LGBM_FastConfigFree(fast)


def _last_error() -> str:
    _LIB.LGBM_GetLastError.restype = ctypes.c_char_p
    return (_LIB.LGBM_GetLastError() or b"unknown error").decode("utf-8", "replace")
