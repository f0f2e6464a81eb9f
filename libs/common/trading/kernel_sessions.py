"""Lets compiled code call the clocks of ``sessions``: importing this module is enough.

Apart from ``sessions`` itself so that services without kernels need no numba.
"""

from types import FunctionType

from libs.common.trading import sessions
from libs.common.trading.compiled import kernel_part
from libs.common.trading.sessions import (
    fx_market_open,
    in_london,
    in_new_york,
    in_sydney,
    in_tokyo,
    london_offset_s,
    ny_offset_s,
    server_day,
    server_midnight_ns,
    sydney_offset_s,
    week_day,
)

__all__ = [
    "fx_market_open", "in_london", "in_new_york", "in_sydney", "in_tokyo", "london_offset_s", "ny_offset_s",
    "server_day", "server_midnight_ns", "sydney_offset_s", "week_day",
]

for _function in list(vars(sessions).values()):
    if isinstance(_function, FunctionType) and _function.__module__ == sessions.__name__:
        kernel_part(_function)
