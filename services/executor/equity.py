"""Equity at the broker's last midnight and its peak, from looks at an account that does not keep them itself."""

import msgspec

from libs.common.trading.sessions import server_day


class EquityTrack(msgspec.Struct):
    """Equity as seen so far; no finer than the looks are.

    Parameters
    ----------
    day : broker day (see ``server_day``) of the last look; None before the first
    last_ccy : equity at the last look

    Examples
    --------
    >>> track, midnight_ns = EquityTrack(), 1_399_064_400_000_000_000  # 17:00 in New York
    >>> for equity_ccy, ts_ns in ((100.0, midnight_ns - 2), (90.0, midnight_ns - 1), (95.0, midnight_ns)):
    ...     track.see(equity_ccy, ts_ns)
    >>> track.day_start_ccy, track.peak_ccy
    (90.0, 100.0)
    """

    day: int | None = None
    last_ccy: float = 0.0
    day_start_ccy: float = 0.0
    peak_ccy: float = 0.0

    def see(self, equity_ccy: float, ts_ns: int) -> None:
        """Take in the equity; in a new broker day the last one seen before is what the day began with."""
        day = server_day(ts_ns)
        if self.day is None:
            self.day, self.day_start_ccy, self.peak_ccy = day, equity_ccy, equity_ccy
        elif day > self.day:
            self.day, self.day_start_ccy = day, self.last_ccy
        self.last_ccy = equity_ccy
        self.peak_ccy = max(self.peak_ccy, equity_ccy)
