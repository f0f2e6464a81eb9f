"""Is a downloaded history whole: counts, duplicates, silences, and minutes with a bar but no tick."""

from collections.abc import Iterable

import msgspec
import numpy as np

from libs.common.messages.base import Ints
from libs.common.storage.ticks import TickColumns
from services.ingest.market_hours import open_ns_between

NS_PER_S = 1_000_000_000
NS_PER_MIN = 60 * NS_PER_S
_LISTED = 10


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch without a tick while the market was open."""

    from_ns: int
    to_ns: int
    open_s: float


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the tick store holds of a symbol and stretch.

    Parameters
    ----------
    ticks : how many
    first_ns, last_ns : the first and the last, ns UTC; 0 without ticks
    same_instant : ticks that share their millisecond with the one before (normal)
    duplicates : ticks equal to the one before in every column (some feeds have them)
    disordered : ticks earlier than the one before: a broken store
    crossed : ticks with bid above ask, as recorded
    silences : stretches of an open market longer than ``silent_s`` without a tick, and the longest of them
    minutes_checked, minutes_without_ticks : minutes for which the terminal has a bar, and those of them in which the
        store has no tick; -1 where the terminal gave no bars
    """

    symbol: str
    ticks: int
    first_ns: int
    last_ns: int
    same_instant: int
    duplicates: int
    disordered: int
    crossed: int
    silent_s: float
    silences: int
    longest: tuple[Silence, ...]
    minutes_checked: int = -1
    minutes_without_ticks: int = -1

    @property
    def is_whole(self) -> bool:
        """True where nothing speaks against it: in order, and a tick in every minute that has a bar."""
        return self.disordered == 0 and self.minutes_without_ticks <= 0


def examine(
    symbol: str, parts: Iterable[TickColumns], *, session: str, silent_s: float, bar_minutes_ns: Ints | None = None
) -> HistoryReport:
    """Read a symbol's ticks through once.

    Parameters
    ----------
    parts : in the store's order
    session : when the market is open, ``fx`` or ``always``
    silent_s : shortest silence that counts
    bar_minutes_ns : (n,) minutes that should have ticks, ns UTC; ``None``: unknown
    """
    ticks = same = duplicates = disordered = crossed = 0
    first_ns = last_ns = 0
    silences: list[Silence] = []
    minutes: list[Ints] = []
    previous: tuple[int, ...] | None = None
    for part in parts:
        if not len(part):
            continue
        rows = _bits(part)
        if previous is not None:
            rows = np.vstack((np.array([previous], dtype=np.int64), rows))
        steps = np.diff(rows[:, 0])
        same += int((steps == 0).sum())
        disordered += int((steps < 0).sum())
        duplicates += int((rows[1:] == rows[:-1]).all(axis=1).sum())
        crossed += int((part.bid > part.ask).sum())
        silences += _silences(rows[:, 0], steps, session, silent_s)
        minutes.append(np.unique(part.time_ns // NS_PER_MIN))
        first_ns, last_ns = first_ns or int(part.time_ns[0]), int(part.time_ns[-1])
        ticks += len(part)
        previous = tuple(rows[-1].tolist())
    longest = tuple(sorted(silences, key=lambda one: -one.open_s)[:_LISTED])
    checked = without = -1
    if bar_minutes_ns is not None:
        wanted = np.unique(bar_minutes_ns // NS_PER_MIN)
        held = np.unique(np.concatenate(minutes)) if minutes else np.empty(0, dtype=np.int64)
        checked, without = len(wanted), int((~np.isin(wanted, held)).sum())
    return HistoryReport(
        symbol=symbol, ticks=ticks, first_ns=first_ns, last_ns=last_ns, same_instant=same, duplicates=duplicates,
        disordered=disordered, crossed=crossed, silent_s=silent_s, silences=len(silences), longest=longest,
        minutes_checked=checked, minutes_without_ticks=without,
    )  # fmt: skip


def _bits(part: TickColumns) -> Ints:
    columns = [part.bid, part.ask]
    columns += [column if len(column) else np.zeros(len(part)) for column in (part.last, part.volume)]
    rows = np.empty((len(part), 5), dtype=np.int64)
    rows[:, 0] = part.time_ns
    for place, column in enumerate(columns, start=1):
        rows[:, place] = np.ascontiguousarray(column, dtype=np.float64).view(np.int64)
    return rows


def _silences(time_ns: Ints, steps: Ints, session: str, silent_s: float) -> list[Silence]:
    found = []
    for row in np.flatnonzero(steps > silent_s * NS_PER_S).tolist():
        open_s = open_ns_between(int(time_ns[row]), int(time_ns[row + 1]), session) / NS_PER_S
        if open_s > silent_s:
            found.append(Silence(from_ns=int(time_ns[row]), to_ns=int(time_ns[row + 1]), open_s=open_s))
    return found
