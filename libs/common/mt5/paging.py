"""Reading a terminal's ticks page by page, each once: where to ask next, and which ticks of a page are new.

The package takes whole seconds, so a page begins with ticks of the last second that were taken before. They are
recognised by time in milliseconds and values, and counted, because a feed may bring the same tick several times within
one millisecond and each of them counts.
"""

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.messages.base import Ints
from libs.common.mt5.convert import ServerTicks

TickKey = tuple[int, int, int, int, int]
"""A tick to the bit: time in milliseconds, then bid, ask, last and volume as the bits of their doubles. The flags are
left out: a terminal may work them out again when it stores a tick."""
MAX_PAGE = 1 << 21
"""Most ticks asked for at once, however many share a second."""


class TickCursor(msgspec.Struct, frozen=True):
    """How far a symbol's ticks were taken.

    Parameters
    ----------
    second_s : server second to ask from, seconds since 1970
    seen : ticks of that second (and of later ones, where the clock was turned back) that were taken already
    """

    second_s: int
    seen: tuple[TickKey, ...] = ()


class Page(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a page brought.

    Parameters
    ----------
    fresh : ticks not taken before, in the terminal's order
    cursor : where to go on
    count : how many ticks to ask for next
    more : the page was full: ask again at once
    """

    fresh: ServerTicks
    cursor: TickCursor
    count: int
    more: bool


def take_page(cursor: TickCursor, ticks: ServerTicks, asked: int, usual: int) -> Page:
    """Tell the new ticks of a page from those taken before.

    Parameters
    ----------
    cursor : what the page was asked with
    ticks : the answer to ``copy_ticks_from(symbol, cursor.second_s, asked, COPY_TICKS_ALL)``
    asked : how many were asked for
    usual : how many one likes to ask for
    """
    seconds = ticks.time_msc // 1_000
    wanted = np.flatnonzero(seconds >= cursor.second_s)
    if len(wanted) < len(ticks):
        ticks, seconds = ticks.part(wanted), seconds[wanted]
    keys = tick_keys(ticks)
    rows = _fresh_rows(cursor, keys)
    full = len(ticks) >= asked
    stuck = full and len(seconds) > 0 and int(seconds[-1]) == cursor.second_s
    count = min(2 * asked, MAX_PAGE) if stuck or (full and len(rows) == 0) else usual
    if len(rows) == 0:
        return Page(fresh=ticks.part(rows), cursor=cursor, count=count, more=full)
    second_s = int(seconds[rows[-1]])
    held = np.flatnonzero(seconds >= second_s)
    seen = Counter(map(_key, keys[held].tolist())) | Counter(
        key for key in cursor.seen if key[0] // 1_000 >= second_s
    )
    return Page(
        fresh=ticks.part(rows), cursor=TickCursor(second_s, tuple(sorted(seen.elements()))), count=count, more=full
    )


def tick_keys(ticks: ServerTicks) -> Ints:
    """Return (n, 5) the bits by which ticks are recognised."""
    keys = np.empty((len(ticks), 5), dtype=np.int64)
    keys[:, 0] = ticks.time_msc
    for column, values in enumerate((ticks.bid, ticks.ask, ticks.last, ticks.volume), start=1):
        # Adding zero makes -0.0 and 0.0 the same bits.
        keys[:, column] = (values + 0.0).view(np.int64)
    return keys


def cursor_at(second_s: int, taken: ServerTicks) -> TickCursor:
    """Return the cursor after ticks that are known to have been taken, from a second on."""
    keys = [_key(row) for row in tick_keys(taken).tolist() if row[0] // 1_000 >= second_s]
    return TickCursor(second_s, tuple(sorted(keys)))


def _fresh_rows(cursor: TickCursor, keys: Ints) -> NDArray[np.intp]:
    known = len(cursor.seen)
    if known == 0:
        return np.arange(len(keys))
    left = Counter(cursor.seen)
    last_known_msc = max(key[0] for key in cursor.seen)
    # Only ticks up to the last one seen can have been seen; the rest of a long page needs no look.
    looked = int(np.searchsorted(keys[:, 0], last_known_msc, side="right")) if _sorted(keys) else len(keys)
    fresh = []
    for row, key in enumerate(map(_key, keys[:looked].tolist())):
        if left[key] > 0:
            left[key] -= 1
        else:
            fresh.append(row)
    return np.concatenate((np.array(fresh, dtype=np.intp), np.arange(looked, len(keys))))


def _sorted(keys: Ints) -> bool:
    return bool((keys[1:, 0] >= keys[:-1, 0]).all())


def _key(row: list[int]) -> TickKey:
    return (row[0], row[1], row[2], row[3], row[4])
