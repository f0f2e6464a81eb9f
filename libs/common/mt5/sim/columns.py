"""Columns that grow at the end and forget their beginning."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_CAPACITY = 1_024


class Columns:
    """Rows of one numpy type, the newest ``limit`` (and up to a quarter more) of all that were added.

    Parameters
    ----------
    dtype : of a row
    limit : rows that are always kept
    """

    def __init__(self, dtype: Any, limit: int) -> None:
        self._limit = limit
        self._buffer: NDArray[Any] = np.empty(_FIRST_CAPACITY, dtype=dtype)
        self._size = 0
        self.forgotten = 0
        """Rows that were dropped: the number of the first row kept, counted from 0."""

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> NDArray[Any]:
        """What is kept, oldest first: a view that the next ``add`` may overwrite."""
        return self._buffer[: self._size]

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows; the oldest are forgotten, a quarter of the limit at a time."""
        needed = self._size + len(rows)
        if needed > self._limit + self._limit // 4:
            surplus = needed - self._limit
            from_new = max(0, surplus - self._size)
            kept = self._buffer[min(surplus, self._size) : self._size].copy()
            self.forgotten += surplus
            rows, self._size = rows[from_new:], len(kept)
            _raw(self._buffer)[: len(kept)] = _raw(kept)
            needed = self._size + len(rows)
        if needed > len(self._buffer):
            grown = np.empty(max(needed, 2 * len(self._buffer)), dtype=self._buffer.dtype)
            _raw(grown)[: self._size] = _raw(self._buffer)[: self._size]
            self._buffer = grown
        _raw(self._buffer)[self._size : needed] = _raw(rows)
        self._size = needed


def _raw(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as bare bytes: numpy copies records field by field, which takes ten times as long."""
    return rows.view(f"V{rows.itemsize}") if rows.dtype.names else rows
