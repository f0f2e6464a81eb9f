"""Drawdowns of an equity curve: how deep, how long, and whether they are over."""

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints


class Drawdown(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch below the highest equity so far.

    Parameters
    ----------
    depth_pct : deepest fall below the peak, percent of the peak
    peak_ns, trough_ns : when the peak was left and when the lowest point was reached, ns UTC
    recovered_ns : when the peak was reached again; ``None`` while it is not
    """

    depth_pct: float
    peak_ns: int
    trough_ns: int
    recovered_ns: int | None

    def length_ns(self, end_ns: int) -> int:
        """Return from the peak to the recovery, or to ``end_ns`` where there is none."""
        return (end_ns if self.recovered_ns is None else self.recovered_ns) - self.peak_ns


def underwater_pct(equity: Floats) -> Floats:
    """Return (n,) how far equity is below its peak so far, percent of the peak, >= 0.

    Raises
    ------
    ValueError : when equity does not start above zero

    Examples
    --------
    >>> underwater_pct(np.array([100.0, 120.0, 90.0])).tolist()
    [0.0, 0.0, 25.0]
    """
    if not len(equity):
        return np.empty(0)
    if not equity[0] > 0.0:
        raise ValueError(f"equity starts at {equity[0]}, a drawdown in percent needs a positive start")
    peaks = np.maximum.accumulate(equity)
    return (peaks - equity) / peaks * 100.0


def drawdowns(time_ns: Ints, equity: Floats) -> tuple[Drawdown, ...]:
    """Return every drawdown in order of time.

    Parameters
    ----------
    time_ns : (n,) instants, ns UTC, rising
    equity : (n,) equity at them, the first value > 0
    """
    below = underwater_pct(equity)
    if not len(below):
        return ()
    under = below > 0.0
    edges = np.flatnonzero(np.diff(under.astype(np.int8), prepend=0, append=0))
    found = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = start + int(np.argmax(below[start:stop]))
        found.append(
            Drawdown(
                depth_pct=float(below[trough]), peak_ns=int(time_ns[start - 1]), trough_ns=int(time_ns[trough]),
                recovered_ns=int(time_ns[stop]) if stop < len(below) else None,
            )
        )  # fmt: skip
    return tuple(found)


def deepest(found: tuple[Drawdown, ...]) -> Drawdown | None:
    """Return the deepest drawdown, the first of equally deep ones; ``None`` without any."""
    return max(found, key=lambda one: one.depth_pct, default=None)


def longest_ns(found: tuple[Drawdown, ...], end_ns: int) -> int:
    """Return the length of the longest drawdown, ns; one that is not over counts up to ``end_ns``."""
    return max((one.length_ns(end_ns) for one in found), default=0)
