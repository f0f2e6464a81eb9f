"""The ticks an Expert Advisor has pushed, kept as one run without holes."""

from collections import deque

import numpy as np

from libs.common.messages.ea import EaTicks
from libs.common.mt5.adapters.calls import Array
from libs.common.mt5.adapters.ea_records import tick_array

KEPT_TICKS = 50_000


class PushedTicks:
    """The newest run of one symbol's ticks in which nothing is missing.

    Parameters
    ----------
    limit : about how many ticks are kept
    """

    def __init__(self, limit: int = KEPT_TICKS) -> None:
        self._limit = limit
        self._parts: deque[Array] = deque()
        self._count = 0
        self._end = (0, 0)
        self.breaks = 0
        """How often a message did not go on where the one before had ended: something was lost."""

    def add(self, ticks: EaTicks) -> None:
        """Take a pushed message; one that does not go on where we stand begins a new run."""
        if not len(ticks.time_msc):
            return
        if (ticks.after_msc, ticks.after_count) != self._end:
            self.breaks += bool(self._count)
            self._parts.clear()
            self._count = 0
        part = tick_array(ticks)
        last_msc = int(part["time_msc"][-1])
        same = int(np.count_nonzero(part["time_msc"] == last_msc))
        if same == len(part) and ticks.after_msc == last_msc:
            same += ticks.after_count
        self._end = (last_msc, same)
        self._parts.append(part)
        self._count += len(part)
        while len(self._parts) > 1 and self._count - len(self._parts[0]) >= self._limit:
            self._count -= len(self._parts.popleft())

    def since(self, from_msc: int, count: int) -> Array | None:
        """Return up to ``count`` ticks from a time on; None where the run does not surely hold all of them.

        Parameters
        ----------
        from_msc : server clock, ms, included
        """
        if not self._parts or from_msc <= int(self._parts[0]["time_msc"][0]):
            return None
        found: list[Array] = []
        missing = count
        for part in self._parts:
            if int(part["time_msc"][-1]) < from_msc or missing <= 0:
                continue
            piece = part[np.searchsorted(part["time_msc"], from_msc) :][:missing]
            missing -= len(piece)
            found.append(piece)
        return np.concatenate(found) if found else self._parts[0][:0]
