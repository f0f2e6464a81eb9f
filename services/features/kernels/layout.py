"""Where a symbol's numbers lie in its two state arrays, and how large the scratch space of a pass is.

A symbol's state is ``ints`` (n,) int64 and ``floats`` (m,) float64: a header, the bars in the making (one record per
timeframe), then one stretch per instruction of the feature set.
"""

from libs.common.trading.kernel_bars import (
    ANCHOR_NEW_YORK,
    ANCHOR_UTC,
    BAR_FLOATS,
    BAR_INTS,
    CLOSE,
    CLOSED,
    END_NS,
    HIGH,
    LOW,
    MID_CLOSE,
    OPEN,
    OPEN_NS,
    SPREAD_SUM,
    TICKS,
    VISIBLE_AT,
)

__all__ = [
    "ANCHOR_NEW_YORK", "ANCHOR_UTC", "BAR_FLOATS", "BAR_INTS", "CLOSE", "CLOSED", "END_NS", "HIGH", "LOW",
    "MID_CLOSE", "OPEN", "OPEN_NS", "SPREAD_SUM", "TICKS", "VISIBLE_AT",
]  # fmt: skip
"""The layout of a bar, passed on to the families."""
OPEN_S, TICK_COUNT, CLOSED_FLOATS = BAR_FLOATS, BAR_FLOATS + 1, BAR_FLOATS + 2
"""What families see of a closed bar besides: when it opened (seconds since 1970, UTC), how many ticks it holds."""

CHUNK = 4_096
"""Most ticks one pass handles; the scratch columns of a pass stay within the processor's cache."""
MAX_OUTPUTS = 8
"""Most values one family yields."""

# Header of ``ints``.
LAST_TICK, LAST_NS, FIRST_NS, TICKS_SEEN, ROWS, REFUSED, NOT_FINITE, NOT_FINITE_TICK, ROWS_SEEN, HEADER_INTS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
)

# Clocks: a family sees every tick, every closed bar of its timeframe, only the ticks at which rows are made, or the
# values another feature had in the rows.
ON_TICKS, ON_BARS, ON_ROWS, ON_SERIES = 0, 1, 2, 3

# One line of the program: where the family's machine code is, what it sees, where its numbers lie.
ADDRESS, CLOCK, TIMEFRAME, FLOATS_AT, FLOATS_END, INTS_AT, INTS_END, PARAMS_AT, PARAMS_END, OUTPUTS, SOURCE, LINE = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
)

# The settings of a pass.
RULE_MODE, RULE_LENGTH, WARM_TICKS, WARM_NS, WARM_ROWS, ANCHOR, FOLLOWERS, SETTINGS = 0, 1, 2, 3, 4, 5, 6, 7
# After them: length of each timeframe, bars of it to wait for, then one of these per column of the rows, which says
# what becomes of a value that is not finite: it is an error, it is not known yet, or it is filled after the pass.
NEVER, UNTIL_KNOWN, FOLLOWS, LATER = 0, 1, 2, 3

# Scratch columns: the outputs of the family at work come first.
ROW_BID, ROW_ASK, ROW_LAST, ROW_VOLUME, ROW_BID_LOTS, ROW_ASK_LOTS, ROW_VALUE, SCRATCH_FLOATS = (
    MAX_OUTPUTS, MAX_OUTPUTS + 1, MAX_OUTPUTS + 2, MAX_OUTPUTS + 3, MAX_OUTPUTS + 4, MAX_OUTPUTS + 5,
    MAX_OUTPUTS + 6, MAX_OUTPUTS + 7,
)
ROW_AT, ROW_NS, SCRATCH_INTS = 0, 1, 2
