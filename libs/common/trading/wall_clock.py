"""A wall clock's readings to UTC: the hour that comes twice, the hour that never comes.

Where the clock is turned back, an hour happens twice. Readings come in order of time, so the second pass is
recognised: it begins where, inside the doubtful hour, the clock falls by more than 30 minutes. Where the clock is
turned forward, an hour does not exist; a reading inside it is taken as if the clock had not been turned yet, which is
the same instant an hour later on the new clock.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.messages.base import Ints

NS_PER_S = 1_000_000_000
_FELL_NS = 1_800 * NS_PER_S


class OffsetTable(msgspec.Struct, frozen=True, eq=False):
    """What a wall clock is ahead of UTC, and when that changes.

    Parameters
    ----------
    starts_ns : (m,) instants of change, ns UTC, rising
    offsets_ns : (m + 1,) wall clock minus UTC before the first change and after each, ns
    """

    starts_ns: Ints
    offsets_ns: Ints

    def offset_ns(self, ts_ns: int) -> int:
        """Return wall clock minus UTC at an instant, ns."""
        return int(self.offsets_ns[np.searchsorted(self.starts_ns, ts_ns, side="right")])

    def folds_ns(self) -> Ints:
        """Return (m,) how far each change turns the clock back, 0 where it turns it forward, ns."""
        return np.maximum(0, -np.diff(self.offsets_ns)).astype(np.int64)

    def switches_ns(self) -> Ints:
        """Return (m,) the first reading of the clock that can only belong to the time after each change, ns."""
        return self.starts_ns + np.maximum(self.offsets_ns[:-1], self.offsets_ns[1:])

    def is_second_pass(self, ts_ns: int) -> bool:
        """Tell whether the clock shows, at an instant, what it has shown within the last turn back already."""
        era = int(np.searchsorted(self.starts_ns, ts_ns, side="right"))
        return era > 0 and ts_ns - int(self.starts_ns[era - 1]) < int(self.folds_ns()[era - 1])


class WallReader:
    """Turns readings of one clock into UTC, in the order they were taken.

    A clock that shows the doubtful hour only once is read as the first pass (daylight time).

    Parameters
    ----------
    table : of the clock
    """

    def __init__(self, table: OffsetTable) -> None:
        self.use(table)
        self._previous: int | None = None
        self._second_pass = False

    def use(self, table: OffsetTable) -> None:
        """Go on with another table of the same clock, a later or longer one."""
        self._table = table
        self._switches, self._folds = table.switches_ns(), table.folds_ns()

    def resume_at(self, ts_ns: int) -> None:
        """Go on as if the last reading had been taken at this instant, ns UTC."""
        self._previous = ts_ns + self._table.offset_ns(ts_ns)
        self._second_pass = self._table.is_second_pass(ts_ns)

    def to_utc(self, wall_ns: Ints) -> Ints:
        """Return UTC for (n,) readings, ns since 1970 on the clock; call in order of time."""
        if len(wall_ns) == 0:
            return wall_ns
        era = np.searchsorted(self._switches, wall_ns, side="right")
        offset = self._table.offsets_ns[era]
        if len(self._folds):
            # The doubtful hours are those just before a switch that turns the clock back.
            coming = np.minimum(era, len(self._folds) - 1)
            doubtful = (era < len(self._folds)) & (wall_ns >= self._switches[coming] - self._folds[coming])
            if doubtful.any():
                offset = offset - np.where(self._is_second_pass(wall_ns, doubtful), self._folds[coming], 0)
            else:
                self._second_pass = False
        self._previous = int(wall_ns[-1])
        return wall_ns - offset

    def _is_second_pass(self, wall: Ints, doubtful: NDArray[np.bool_]) -> NDArray[np.bool_]:
        second = np.zeros(len(wall), dtype=np.bool_)
        first = int(wall[0]) if self._previous is None else self._previous
        fell = np.diff(wall, prepend=first) < -_FELL_NS
        now = self._second_pass
        for row in range(len(wall)):
            now = bool(doubtful[row]) and (now or bool(fell[row]))
            second[row] = now
        self._second_pass = now
        return second
