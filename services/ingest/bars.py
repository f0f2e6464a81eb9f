"""Bars as ticks: four per bar, in the order the bar's direction suggests or in one that is asked for."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import no_floats

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
TICKS_PER_BAR = 4
BarPath = Literal["direction", "ohlc", "olhc"]
"""Whether a bar's high or its low came first: as its direction suggests, always the high, always the low."""
_DAYLIGHT_NS = 3_600 * NS_PER_S
_LONG_BAR_NS = 4 * 3_600 * NS_PER_S
_CERTAIN, _LIKELY = 20, 3
_AHEAD = 50
_LIKELY_RATIO = 12


class Bars(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Consecutive bars as columns of equal length.

    Parameters
    ----------
    time_ns : (n,) start of each bar, ns UTC
    open, high, low, close : (n,) bid prices
    ask_open, ask_high, ask_low, ask_close : (n,) ask prices, or empty where only bids are known
    spread_points : (n,) ask - bid in points, or empty where unknown; 0 and NaN mean unknown
    """

    time_ns: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    ask_open: Floats = msgspec.field(default_factory=no_floats)
    ask_high: Floats = msgspec.field(default_factory=no_floats)
    ask_low: Floats = msgspec.field(default_factory=no_floats)
    ask_close: Floats = msgspec.field(default_factory=no_floats)
    spread_points: Floats = msgspec.field(default_factory=no_floats)

    def __len__(self) -> int:
        return len(self.time_ns)


def expand_bars(
    bars: Bars, step_ns: int, point: float, default_spread_points: float, path: BarPath = "direction"
) -> tuple[Ints, Floats, Floats]:
    """Return (time_ns, bid, ask) of the four ticks of each bar, each (4 n,).

    By its ``direction`` a rising bar (close >= open) goes open, low, high, close, a falling one open, high, low,
    close; ``ohlc`` and ``olhc`` send all bars one way. The ticks come at the start of the bar, after one and two
    thirds of it, and a millisecond before its end.

    Parameters
    ----------
    step_ns : length of a bar, ns
    point : size of a point, price units
    default_spread_points : spread of bars that name none, points
    path : what came first, the high or the low
    """
    n = len(bars)
    low_first = bars.close >= bars.open if path == "direction" else np.full(n, path == "olhc")
    offsets = np.array([0, step_ns // 3, 2 * step_ns // 3, step_ns - NS_PER_MS], dtype=np.int64)
    time_ns = (bars.time_ns[:, None] + offsets).ravel()
    bid = _path(bars.open, bars.high, bars.low, bars.close, low_first)
    if len(bars.ask_open):
        return time_ns, bid, _path(bars.ask_open, bars.ask_high, bars.ask_low, bars.ask_close, low_first)
    points = bars.spread_points if len(bars.spread_points) else np.zeros(n)
    known = np.where(points > 0.0, points, default_spread_points)
    # Rounded to the eighth decimal, the ask is the double its decimal text would give.
    ask = np.rint((bid + np.repeat(known, TICKS_PER_BAR) * point) * 1e8) / 1e8
    return time_ns, bid, ask


def _path(first: Floats, high: Floats, low: Floats, last: Floats, low_first: NDArray[np.bool_]) -> Floats:
    path = np.empty((len(first), TICKS_PER_BAR), dtype=np.float64)
    path[:, 0] = first
    path[:, 1] = np.where(low_first, low, high)
    path[:, 2] = np.where(low_first, high, low)
    path[:, 3] = last
    return path.ravel()


class BarFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a bar file.

    Parameters
    ----------
    bar : number of the first bar concerned, counted from 0 over the whole file
    problem, remedy : for people
    """

    bar: int
    problem: str
    remedy: str


class BarWatch:
    """Checks that a file's bars are in order, of one length, and possible; fed in file order."""

    def __init__(self) -> None:
        self.step_ns = 0
        """The shortest distance of two bars so far: their length. 0 before the second bar."""
        self._bars = 0
        self._previous_ns: int | None = None
        self._at_step = 0
        self._longer_from = 0
        self._longer = 0
        self._longer_ns = 0
        self._longer_same = 0

    def check(self, bars: Bars) -> BarFault | None:
        """Return the first fault of the next bars, ``None`` when they are in order."""
        start = self._bars
        impossible = np.flatnonzero(
            (bars.high < np.maximum(bars.open, bars.close)) | (bars.low > np.minimum(bars.open, bars.close))
        )
        fault = self._check_steps(bars.time_ns)
        if impossible.size and (fault is None or start + int(impossible[0]) < fault.bar):
            return BarFault(
                bar=start + int(impossible[0]),
                problem="open or close lies outside low .. high",
                remedy="Export the file again",
            )
        return fault

    def _check_steps(self, time_ns: Ints) -> BarFault | None:
        first = self._previous_ns
        for_diff = time_ns if first is None else np.concatenate(([first], time_ns))
        steps = np.diff(for_diff).tolist()
        bar = self._bars + (1 if first is None else 0)
        self._bars += len(time_ns)
        if len(time_ns):
            self._previous_ns = int(time_ns[-1])
        for index, step in enumerate(steps):
            fault = self._check_step(bar + index, step, steps[index : index + _AHEAD])
            if fault is not None:
                return fault
        return None

    def _check_step(self, bar: int, step: int, ahead: list[int]) -> BarFault | None:
        if step <= 0:
            return BarFault(
                bar=bar,
                problem="this bar does not come after the one before it" if step else "this bar's time comes twice",
                remedy="Sort the file by time and keep one bar per time, or name the zone of its clock",
            )
        tolerance = _DAYLIGHT_NS if self.step_ns >= _LONG_BAR_NS else 0
        if self.step_ns == 0 or step < self.step_ns - tolerance:
            return self._shorter(bar, step, ahead)
        if step <= self.step_ns + tolerance:
            self._at_step += 1
            self._longer = self._longer_same = 0
            return None
        return self._check_longer(bar, step)

    def _shorter(self, bar: int, step: int, ahead: list[int]) -> BarFault | None:
        # A thin market may open with a few wide distances; many equal ones are bars of another length.
        enough = _LIKELY if step * _LIKELY_RATIO <= self.step_ns else _CERTAIN
        if self.step_ns and self._at_step >= enough:
            # What the next bars settle on tells the new length better than the first distance after the change.
            return _mixed(bar, self.step_ns, min(later for later in ahead if later > 0))
        self.step_ns, self._at_step = step, 1
        self._longer = self._longer_same = 0
        return None

    def _check_longer(self, bar: int, step: int) -> BarFault | None:
        if self._longer == 0:
            self._longer_from, self._longer_ns = bar, step
        self._longer += 1
        if step < self._longer_ns:
            self._longer_ns, self._longer_same = step, 1
        elif step == self._longer_ns:
            self._longer_same += 1
        # Gaps differ from each other; a long run of mostly one greater distance is another bar length.
        if self._longer >= 3 * _CERTAIN and self._longer_same * 2 > self._longer and self._at_step >= _LIKELY:
            return _mixed(self._longer_from, self.step_ns, self._longer_ns)
        return None


def _mixed(bar: int, before_ns: int, after_ns: int) -> BarFault:
    return BarFault(
        bar=bar,
        problem=(
            f"bars of two lengths in one file: {_length(before_ns)} before this line, {_length(after_ns)} from it on"
        ),
        remedy=(
            "The export mixed timeframes (MetaTrader fills missing history with coarser bars): delete the lines of "
            "one of them, or load the whole history and export again"
        ),
    )


def _length(step_ns: int) -> str:
    seconds = step_ns // NS_PER_S
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
