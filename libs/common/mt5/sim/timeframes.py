"""MetaTrader's timeframes: where a bar of each begins on the server's clock.

A bar belongs to the server's own minutes, hours and days; weeks begin on Sunday, months on their first day. Months are
not equally long, so times are laid out on a ruler on which every bar of a timeframe has the same length.
"""

from typing import NamedTuple

import numpy as np

from libs.common.messages.base import Ints
from libs.common.mt5 import constants as mt5

_DAY_S = 86_400
_SUNDAY_S = 4 * _DAY_S
"""From the Sunday before 1970 to 1970-01-01, a Thursday."""
_MONTH_S = 32 * _DAY_S
"""Longer than any month."""


class Timeframe(NamedTuple):
    """A timeframe's ruler.

    Parameters
    ----------
    length_s : of a bar on the ruler
    shift_s : from the server's clock to the ruler, for all but months
    monthly : whether the ruler is made of months
    """

    length_s: int
    shift_s: int = 0
    monthly: bool = False

    def ruler_s(self, server_s: Ints) -> Ints:
        """Return places on the ruler of server times, both (n,) seconds."""
        if not self.monthly:
            return server_s + self.shift_s
        moments = server_s.astype("datetime64[s]")
        months = moments.astype("datetime64[M]")
        into = (moments - months.astype("datetime64[s]")).astype(np.int64)
        laid: Ints = months.astype(np.int64) * _MONTH_S + into
        return laid

    def server_s(self, ruler_s: Ints) -> Ints:
        """Return the server times of beginnings of bars on the ruler, both (n,) seconds."""
        if not self.monthly:
            return ruler_s - self.shift_s
        begun: Ints = (ruler_s // _MONTH_S).astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
        return begun


def _by_number() -> dict[int, Timeframe]:
    found = {minutes: Timeframe(60 * minutes) for minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)}
    found |= {0x4000 | hours: Timeframe(3_600 * hours) for hours in (1, 2, 3, 4, 6, 8, 12, 24)}
    found[mt5.TIMEFRAME_W1] = Timeframe(7 * _DAY_S, _SUNDAY_S)
    found[mt5.TIMEFRAME_MN1] = Timeframe(_MONTH_S, monthly=True)
    return found


TIMEFRAMES: dict[int, Timeframe] = _by_number()
"""TIMEFRAME_* -> its ruler; the 21 of the package."""
