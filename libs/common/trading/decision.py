"""At which ticks a decision falls due: one rule for ingest (where blocks are cut) and features (where rows are made).

The rule depends only on a tick, its number and the tick before it, so cutting a stream into blocks differently
never moves a decision.
"""

import numpy as np
from numba import types

from libs.common.config import DecideOn
from libs.common.messages.base import Ints
from libs.common.trading.compiled import INTS_IN, kernel, kernel_part

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
NO_TIME = -(2**63)
"""Stands for the time of the tick before a symbol's first tick."""
BAR, TICK, INTERVAL = 0, 1, 2
MODES = {"bar": BAR, "tick": TICK, "interval": INTERVAL}


def decision_ticks(decide_on: DecideOn, time_ns: Ints, first_tick: int, previous_ns: int | None) -> Ints:
    """Return the offsets of the ticks at which a decision row becomes visible.

    Parameters
    ----------
    decide_on : ``bar``: a tick whose bar (since 1970, UTC) is a later one than the previous tick's; ``tick``: a tick
        whose number is a multiple of ``every``; ``interval``: the first tick at or after each boundary counted from
        midnight UTC, several boundaries passed in silence counting once
    time_ns : (n,) tick times, ns UTC, never falling
    first_tick : number of the first of these ticks, counted from 1
    previous_ns : time of the tick before them; ``None`` when they begin with the symbol's very first tick, which is
        never a bar or interval decision because nothing before it is known

    Returns
    -------
    (m,) offsets into ``time_ns``, rising.

    Examples
    --------
    >>> seconds = np.array([58, 59, 61, 185], dtype=np.int64) * NS_PER_S
    >>> decision_ticks(DecideOn(kind="bar", every=60), seconds, 1, None).tolist()
    [2, 3]
    >>> decision_ticks(DecideOn(kind="tick", every=3), seconds, 5, 0).tolist()
    [1]
    """
    previous = NO_TIME if previous_ns is None else previous_ns
    times = np.ascontiguousarray(time_ns, dtype=np.int64)
    offsets: Ints = _decision_kernel(*decision_rule(decide_on), times, first_tick, previous)
    return offsets


def decision_rule(decide_on: DecideOn) -> tuple[int, int]:
    """Return the rule as ``mark_decisions`` wants it: mode, and length in ns or ticks."""
    mode = MODES[decide_on.kind]
    return mode, decide_on.every if mode == TICK else decide_on.every * NS_PER_S


@kernel_part
def next_boundary(mode: int, length: int, time_ns: int) -> int:
    """Return the first instant after ``time_ns`` at which the next bar or interval begins, ns UTC."""
    if mode == BAR:
        return (time_ns // length + 1) * length
    midnight = time_ns // NS_PER_DAY * NS_PER_DAY
    boundary = midnight + ((time_ns - midnight) // length + 1) * length
    return min(boundary, midnight + NS_PER_DAY)


@kernel_part
def mark_decisions(mode: int, length: int, time_ns: Ints, first_tick: int, previous_ns: int, offsets: Ints) -> int:
    """Write the offsets of decision ticks into ``offsets`` ((n,) at least) and return how many there are."""
    count = 0
    n = len(time_ns)
    if mode == TICK:
        offset = (-first_tick) % length
        while offset < n:
            offsets[count] = offset
            count += 1
            offset += length
        return count
    start = 0
    previous = previous_ns
    if previous == NO_TIME:
        previous = time_ns[0]
        start = 1
    boundary = next_boundary(mode, length, previous)
    for k in range(start, n):
        if time_ns[k] >= boundary:
            offsets[count] = k
            count += 1
            boundary = next_boundary(mode, length, time_ns[k])
    return count


@kernel(types.int64[::1](types.int64, types.int64, INTS_IN, types.int64, types.int64))
def _decision_kernel(mode: int, length: int, time_ns: Ints, first_tick: int, previous_ns: int) -> Ints:
    if len(time_ns) == 0:
        return np.empty(0, np.int64)
    offsets = np.empty(len(time_ns), np.int64)
    count = mark_decisions(mode, length, time_ns, first_tick, previous_ns, offsets)
    return offsets[:count].copy()
