"""Measuring what the broker's clock is ahead of UTC, from ticks that are seen to arrive.

The package does not tell. A tick that appeared between two looks is no older than the time between them, so its
stamp minus our clock is the offset, less that age. A tick that stands there at the first look may be from Friday and
measures nothing.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from libs.common.config import Settings

NS_PER_S = 1_000_000_000


class MeterSettings(Settings, frozen=True, kw_only=True):
    """When a measured offset is believed.

    Parameters
    ----------
    step_min : offsets are whole multiples of this, minutes (15 or 30)
    tolerance_s : how far a tick may be from such a multiple: its age, the way to us, our clock's error
    samples : ticks that must agree, one after another
    spread_s : how far they may be from each other: ticks that catch up with the present drift, live ones do not
    span_s : least time between the first and the last of them
    surprise_span_s : the same where the offset is not the expected one
    max_gap_s : two looks at a symbol further apart than this do not tell how old a tick is
    """

    step_min: Annotated[int, Meta(ge=15, le=60)] = 15
    tolerance_s: Annotated[float, Meta(gt=0.0, le=400.0)] = 60.0
    samples: Annotated[int, Meta(ge=2, le=1_000)] = 5
    spread_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 5.0
    span_s: Annotated[float, Meta(ge=0.0, le=600.0)] = 2.0
    surprise_span_s: Annotated[float, Meta(ge=0.0, le=3_600.0)] = 30.0
    max_gap_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 5.0


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of fresh ticks amounts to.

    Parameters
    ----------
    at_ns : when it was complete, our clock, ns UTC
    offset_s : server clock minus UTC, rounded to a multiple of ``step_min``
    error_s : what was left over: minus the ticks' age and way, plus what our clock is slow; seconds
    """

    at_ns: int
    offset_s: int
    error_s: float


class _Look(msgspec.Struct):
    time_msc: int
    at_ns: int


class OffsetMeter:
    """Collects evidence from looks at the newest tick of symbols.

    What does not count: the first look at a symbol, a tick that was there before, a look long after the one before,
    offsets no clock on earth has, offsets between two steps, and ticks whose distance from our clock changes (history
    coming in). So a weekend's standing clock and stale ticks leave everything as it was.

    Parameters
    ----------
    settings : see ``MeterSettings``
    """

    def __init__(self, settings: MeterSettings | None = None) -> None:
        self._settings = settings or MeterSettings()
        self._looks: dict[str, _Look] = {}
        self._evidence: list[tuple[int, float]] = []
        self.odd_error_s: float | None = None
        """How far the last fresh tick was from any whole offset, where that is more than the tolerance: our own clock
        is wrong, or the feed is delayed. ``None`` while all is well."""

    def look(self, symbol: str, time_msc: int, now_ns: int, expected_s: int | None) -> Measurement | None:
        """Take in one look at a symbol's newest tick.

        Parameters
        ----------
        time_msc : its stamp, server clock, ms
        now_ns : our clock, ns UTC
        expected_s : the offset one would expect now, seconds; ``None``: nothing is known

        Returns
        -------
        A measurement when this look completed one; evidence for the next is then collected afresh.
        """
        before = self._looks.get(symbol)
        self._looks[symbol] = _Look(time_msc, now_ns)
        if before is None or time_msc <= before.time_msc:
            return None
        if not 0 <= now_ns - before.at_ns <= self._settings.max_gap_s * NS_PER_S:
            return None
        ahead_s = time_msc / 1_000.0 - now_ns / NS_PER_S
        offset_s = self._rounded(ahead_s)
        if offset_s is None:
            self._evidence.clear()
            return None
        self._add(now_ns, ahead_s)
        return self._conclusion(now_ns, offset_s, expected_s)

    def _rounded(self, ahead_s: float) -> int | None:
        step_s = self._settings.step_min * 60
        offset_s = round(ahead_s / step_s) * step_s
        if not -12 * 3_600 <= offset_s <= 14 * 3_600:
            return None
        error_s = ahead_s - offset_s
        if abs(error_s) > self._settings.tolerance_s:
            self.odd_error_s = error_s
            return None
        self.odd_error_s = None
        return offset_s

    def _add(self, now_ns: int, ahead_s: float) -> None:
        if self._evidence and abs(ahead_s - self._evidence[-1][1]) > self._settings.spread_s:
            self._evidence.clear()
        if self._evidence and abs(ahead_s - self._evidence[0][1]) > self._settings.spread_s:
            self._evidence.clear()
        self._evidence.append((now_ns, ahead_s))

    def _conclusion(self, now_ns: int, offset_s: int, expected_s: int | None) -> Measurement | None:
        settings = self._settings
        span_s = settings.span_s if offset_s == expected_s else settings.surprise_span_s
        first_ns = self._evidence[0][0]
        if len(self._evidence) < settings.samples or now_ns - first_ns < span_s * NS_PER_S:
            return None
        # The freshest tick is the one furthest ahead.
        error_s = max(ahead_s for _, ahead_s in self._evidence) - offset_s
        self._evidence.clear()
        return Measurement(at_ns=now_ns, offset_s=offset_s, error_s=error_s)
