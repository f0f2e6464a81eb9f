"""Where a run of good ticks is cut into blocks."""

import numpy as np

from libs.common.config import DecideOn
from libs.common.messages.base import Ints
from libs.common.trading.decision import decision_ticks

NS_PER_S = 1_000_000_000


def cut_offsets(
    time_ns: Ints,
    first_tick: int,
    previous_ns: int | None,
    *,
    max_block: int,
    decide_on: DecideOn | None = None,
    grid_ns: int = 0,
) -> Ints:
    """Return where each block ends.

    A block ends after every decision tick (so that whatever is decided on it is decided before a later tick of the
    symbol is seen), at each line of a time grid all symbols share (so that none runs ahead), and when it is full.

    Parameters
    ----------
    time_ns : (n,) times of consecutive good ticks, ns UTC, never falling, n >= 1
    first_tick : number of the first of them
    previous_ns : time of the tick before them, ``None`` where there is none
    max_block : most ticks in a block, >= 1
    decide_on : cut after decision ticks of this rule; ``None``: do not
    grid_ns : distance of the grid's lines, ns; 0: no grid

    Returns
    -------
    (m,) exclusive ends, rising, the last one n.
    """
    n = len(time_ns)
    cuts = [np.array([n], dtype=np.int64)]
    if decide_on is not None:
        cuts.append(decision_ticks(decide_on, time_ns, first_tick, previous_ns) + 1)
    if grid_ns > 0:
        cuts.append(np.flatnonzero(np.diff(time_ns // grid_ns)) + 1)
    ends = _merged(cuts)
    lengths = np.diff(ends, prepend=0)
    if (lengths <= max_block).all():
        return ends
    pieces = [
        np.append(np.arange(end - length + max_block, end, max_block), end)
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
    return np.concatenate(pieces).astype(np.int64)


def _merged(cuts: list[Ints]) -> Ints:
    """Return the distinct values of rising columns, rising."""
    ends = np.sort(np.concatenate(cuts), kind="stable")
    fresh = np.ones(len(ends), dtype=bool)
    np.not_equal(ends[1:], ends[:-1], out=fresh[1:])
    return ends[fresh]


def grid_for(decide_on: DecideOn | None, symbols: int, max_skew_s: float) -> int:
    """Return the distance of the grid's lines in ns, 0 where no grid is needed.

    One symbol cannot run ahead of itself, and decisions by the clock cut often enough when they come at least
    once in ``max_skew_s``.
    """
    if symbols <= 1:
        return 0
    if decide_on is not None and decide_on.kind != "tick" and decide_on.every <= max_skew_s:
        return 0
    return int(max_skew_s * NS_PER_S)
