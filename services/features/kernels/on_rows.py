"""Feature families without a memory, computed only at the ticks where rows are made.

Each takes its parameters ``p``, the symbol's point size and the columns of those ticks, and writes one value per row
and output into ``out`` (outputs, n).
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading import kernel_sessions as sessions
from libs.common.trading.compiled import kernel_part

BASIS_POINTS = 1e4
NS_PER_DAY = 86_400_000_000_000


@kernel_part
def spread(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Spread in points, and in basis points of the mid."""
    for k in range(len(bid)):
        width = ask[k] - bid[k]
        out[0, k] = width / point
        out[1, k] = BASIS_POINTS * width / (0.5 * (bid[k] + ask[k]))


@kernel_part
def time_of_day(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Sine and cosine of the time of day, UTC."""
    for k in range(len(bid)):
        angle = 2.0 * math.pi * (time_ns[k] % NS_PER_DAY) / NS_PER_DAY
        out[0, k] = math.sin(angle)
        out[1, k] = math.cos(angle)


@kernel_part
def day_of_week(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Day of the week, UTC, Monday = 0."""
    for k in range(len(bid)):
        out[0, k] = sessions.week_day(time_ns[k] // NS_PER_DAY)


@kernel_part
def session(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """1 while Sydney, Tokyo, London, New York trade, else 0."""
    for k in range(len(bid)):
        out[0, k] = 1.0 if sessions.in_sydney(time_ns[k]) else 0.0
        out[1, k] = 1.0 if sessions.in_tokyo(time_ns[k]) else 0.0
        out[2, k] = 1.0 if sessions.in_london(time_ns[k]) else 0.0
        out[3, k] = 1.0 if sessions.in_new_york(time_ns[k]) else 0.0


@kernel_part
def last_distance(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Distance of the last trade's price from the mid, points."""
    for k in range(len(bid)):
        out[0, k] = (last[k] - 0.5 * (bid[k] + ask[k])) / point
