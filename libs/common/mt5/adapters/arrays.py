"""Arrays of ticks and bars out of the bytes of frames."""

from typing import Any

import numpy as np
import numpy.typing as npt

from libs.common.mt5.adapters.frames import Columns, FrameError
from libs.common.mt5.adapters.records import array_bytes

Array = npt.NDArray[Any]


class ArrayFilling:
    """A structured array of shape (rows,) that is filled as its bytes come."""

    def __init__(self, columns: Columns) -> None:
        array_bytes(columns)
        self._array: Array = np.empty(columns.rows, dtype=np.dtype(list(columns.columns)))
        self._place: npt.NDArray[np.uint8] = self._array.view(np.uint8)
        self._filled = 0

    def add(self, data: bytes) -> None:
        end = self._filled + len(data)
        if end > len(self._place):
            raise FrameError("an array has more bytes than rows")
        self._place[self._filled : end] = np.frombuffer(data, dtype=np.uint8)
        self._filled = end

    def finish(self) -> Array:
        if self._filled != len(self._place):
            raise FrameError("an array has fewer bytes than rows")
        return self._array
