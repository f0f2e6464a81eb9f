"""Where a symbol's numbers lie in its two state arrays, and how large the scratch space of a pass is.

A symbol's state is ``ints`` (n,) int64 and ``floats`` (m,) float64: a header, the bars in the making (one record per
timeframe), then one stretch per instruction of the feature set.
"""

CHUNK = 4_096
"""Most ticks one pass handles; the scratch columns of a pass stay within the processor's cache."""
MAX_OUTPUTS = 4
"""Most values one family yields."""

# Header of ``ints``.
LAST_TICK, LAST_NS, FIRST_NS, TICKS_SEEN, ROWS, REFUSED, NOT_FINITE, NOT_FINITE_TICK, HEADER_INTS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8,
)

# A bar in the making: four integers and six doubles per timeframe.
OPEN_NS, END_NS, TICKS, CLOSED, BAR_INTS = 0, 1, 2, 3, 4
# A closed bar in the scratch space uses OPEN_NS and TICKS, and this in the place of END_NS: the offset of the tick
# that made it visible.
VISIBLE_AT = 1
OPEN, HIGH, LOW, CLOSE, MID_CLOSE, SPREAD_SUM, BAR_FLOATS = 0, 1, 2, 3, 4, 5, 6

# Clocks: a family sees every tick, every closed bar of its timeframe, or only the ticks at which rows are made.
ON_TICKS, ON_BARS, ON_ROWS = 0, 1, 2

# One line of the program.
OP, CLOCK, TIMEFRAME, FLOATS_AT, FLOATS_END, INTS_AT, INTS_END, PARAMS_AT, PARAMS_END, OUTPUTS, LINE = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
)

# The settings of a pass.
RULE_MODE, RULE_LENGTH, WARM_TICKS, WARM_NS, SETTINGS = 0, 1, 2, 3, 4

# Scratch columns: the outputs of the family at work come first.
ROW_BID, ROW_ASK, ROW_LAST, ROW_VOLUME = MAX_OUTPUTS, MAX_OUTPUTS + 1, MAX_OUTPUTS + 2, MAX_OUTPUTS + 3
SCRATCH_FLOATS = MAX_OUTPUTS + 4
ROW_AT, ROW_NS, SCRATCH_INTS = 0, 1, 2
