"""Bounded first-in-first-out tables of numbers."""

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints


class TableState(msgspec.Struct, frozen=True):
    """The rows of a table as bytes, oldest first."""

    rows: int
    ints: bytes
    floats: bytes


class Table:
    """Rows of integers and doubles, oldest first; the oldest go when there are too many.

    Parameters
    ----------
    capacity : most rows kept
    ints, floats : columns of each kind
    """

    def __init__(self, capacity: int, ints: int, floats: int) -> None:
        self._capacity = capacity
        self._begin = self._end = 0
        # Twice the capacity, so that closing the gap at the front costs one copy per ``capacity`` rows.
        self._ints = np.zeros((2 * capacity, ints), dtype=np.int64)
        self._floats = np.zeros((2 * capacity, floats), dtype=np.float64)

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def full(self) -> bool:
        return len(self) == self._capacity

    @property
    def ints(self) -> Ints:
        """The integer columns, (rows, ints): a view, valid until the next change."""
        return self._ints[self._begin : self._end]

    @property
    def floats(self) -> Floats:
        """The double columns, (rows, floats): a view, valid until the next change."""
        return self._floats[self._begin : self._end]

    def append(self, ints: Ints, floats: Floats) -> None:
        """Add rows, (n, ints) and (n, floats); rows in excess of the capacity push the oldest out."""
        ints, floats = ints[-self._capacity :], floats[-self._capacity :]
        n = len(ints)
        self._begin = max(self._begin, self._end + n - self._capacity)
        if self._begin >= self._end:
            self._begin = self._end = 0
        if self._end + n > len(self._ints):
            self._move_to_front()
        self._ints[self._end : self._end + n] = ints
        self._floats[self._end : self._end + n] = floats
        self._end += n

    def drop(self, rows: int) -> None:
        """Forget the oldest rows."""
        self._begin = min(self._end, self._begin + rows)

    def state(self) -> TableState:
        return TableState(len(self), self.ints.tobytes(), self.floats.tobytes())

    def load(self, state: TableState) -> None:
        """Become what ``state`` described."""
        self._begin = self._end = 0
        shape = (state.rows, -1) if state.rows else (0, self._ints.shape[1])
        ints = np.frombuffer(state.ints, dtype=np.int64).reshape(shape)
        shape = (state.rows, -1) if state.rows else (0, self._floats.shape[1])
        self.append(ints, np.frombuffer(state.floats, dtype=np.float64).reshape(shape))

    def _move_to_front(self) -> None:
        rows = len(self)
        self._ints[:rows] = self._ints[self._begin : self._end].copy()
        self._floats[:rows] = self._floats[self._begin : self._end].copy()
        self._begin, self._end = 0, rows
