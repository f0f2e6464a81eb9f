"""Sessions, clocks and the calendar."""

from services.features.family import Clock, Family, Parameter
from services.features.kernels import clocks

GROUP = "Sessions and calendar"

FAMILIES = (
    Family(
        "week_cycle", Clock.ROWS, clocks.week_cycle, 1,
        {"sine": "sin(2π · time since Sunday 0:00 UTC / 7 days)", "cosine": "cos of the same"}, group=GROUP,
    ),
    Family(
        "session_clock", Clock.ROWS, clocks.session_clock, 1,
        {
            "to_open": "minutes to the next open, 0 while the session trades",
            "to_close": "minutes to the close, 0 while it is closed",
            "since_open": "minutes since the open, 0 while it is closed",
        },
        {"session": Parameter(2, 0, meaning="0 Sydney, 1 Tokyo, 2 London, 3 New York", most=3)}, group=GROUP,
    ),
    Family(
        "rollover", Clock.ROWS, clocks.rollover, 1,
        {
            "to": "minutes to the next 17:00 in New York", "since": "minutes since the last",
            "to_week_close": "minutes to Friday 17:00 in New York, 0 while the FX week is closed",
        },
        group=GROUP,
    ),
    Family(
        "calendar_event", Clock.ROWS, clocks.calendar_event, 1,
        {
            "to_next": "minutes to the next event known by then; at most `farthest`",
            "since_last": "minutes since the last event; at most `farthest`",
        },
        {
            "impact": Parameter(3, 1, meaning="least impact: 1 low, 2 medium, 3 high", most=3),
            "farthest": Parameter(1440, 1, meaning="minutes", most=100_000),
        },
        inputs=frozenset({"quotes", "calendar"}), group=GROUP,
    ),
)
