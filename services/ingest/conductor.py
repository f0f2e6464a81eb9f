"""When the next tick block may go out: pacing and flow control as pure arithmetic.

A replay must not outrun its listeners. Running free, a window of blocks may be under way; in lockstep one step is,
and the next goes out when every service has settled it.
"""

from libs.common.messages.control import Watermark

FREE_LISTENERS = ("features", "executor", "risk", "trainer")
"""Who handles tick blocks and says so with the mark ``handled``."""
LOCKSTEP_MARKS = ("executor.settled", "inference.settled", "trainer.settled", "risk.rested")
"""A step is over when these have come; the other services' marks are conditions of theirs."""
WINDOW_BLOCKS = 64


class FlowControl:
    """Keeps the marks of the listeners and tells whether a step may go out.

    Parameters
    ----------
    lockstep : one step at a time, settled by all; else a window of ``WINDOW_BLOCKS`` blocks
    """

    def __init__(self, *, lockstep: bool) -> None:
        self._lockstep = lockstep
        self._wanted = LOCKSTEP_MARKS if lockstep else tuple(f"{name}.handled" for name in FREE_LISTENERS)
        self._reached: dict[str, int] = {}

    def mark(self, watermark: Watermark) -> None:
        """Note how far a service is."""
        key = f"{watermark.service}.{watermark.stage}"
        if key in self._wanted:
            self._reached[key] = max(self._reached.get(key, 0), watermark.step)

    def listening(self) -> bool:
        """Tell whether every listener has been heard of."""
        return len(self._reached) == len(self._wanted)

    def may_send(self, step: int) -> bool:
        """Tell whether step ``step`` (counted from 1) may go out now."""
        slowest = min((self._reached.get(key, 0) for key in self._wanted), default=0)
        return slowest >= (step - 1 if self._lockstep else step - WINDOW_BLOCKS)

    def settled(self, step: int) -> bool:
        """Tell whether every listener has handled every step up to this one."""
        return all(self._reached.get(key, 0) >= step for key in self._wanted)


def due_s(event_ns: int, first_event_ns: int, speed: float) -> float:
    """Return how many seconds after the first block a block is due, at ``speed`` event seconds per second.

    >>> due_s(60_000_000_000, 0, 30.0), due_s(60_000_000_000, 0, float("inf"))
    (2.0, 0.0)
    """
    return (event_ns - first_event_ns) / 1e9 / speed
