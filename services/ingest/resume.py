"""Where a live feed goes on after a restart: what is written down, and what the stream holds already.

Written down is a moment whose ticks the stream is known to hold. What was published after it and before the end is
made again from the terminal's ticks and left out by its number, so that a process killed anywhere repeats nothing and
leaves nothing out.
"""

import msgspec
import numpy as np

from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock
from libs.common.mt5.paging import TickCursor


class SymbolPoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far one symbol was.

    Parameters
    ----------
    broker_name : the symbol it was read as
    cursor : up to where the terminal's ticks were taken
    rows : how many of them that were
    ticks_seq, feed_seq : last numbers on ``ticks.<symbol>`` and ``feed.<symbol>``
    ticks : number of the last good tick
    has_trades : the feed was seen to carry trades
    """

    broker_name: str
    cursor: TickCursor
    rows: int
    ticks_seq: int
    feed_seq: int
    ticks: int
    has_trades: bool


class LivePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a live feed.

    Parameters
    ----------
    server : trade server
    step : blocks published
    symbols : by canonical symbol
    core : the core's snapshot
    """

    server: str
    step: int
    symbols: dict[str, SymbolPoint]
    core: bytes


class Overlap:
    """Tells, of blocks that are made again after a restart, what the stream lacks.

    Parameters
    ----------
    stored : the newest block the stream holds, ``None`` for an empty stream
    """

    def __init__(self, stored: TickBlock | None) -> None:
        self._stored = stored
        self._held = 0 if stored is None else stored.first_tick + len(stored) - 1
        self.differs = False
        """True once a tick made again was not the one the stream holds under its number."""

    @property
    def is_over(self) -> bool:
        """True once nothing more can be in the stream already."""
        return self._stored is None

    def new_part(self, message: Message) -> Message | None:
        """Return what of a message is to be published: all, a block's end, or nothing."""
        if self._stored is None:
            return message
        if not isinstance(message, TickBlock):
            return None
        last = message.first_tick + len(message) - 1
        self._compare(message, self._stored)
        if last >= self._held:
            self._stored = None
        if last <= self._held:
            return None
        return part_from(message, self._held + 1)

    def _compare(self, made: TickBlock, stored: TickBlock) -> None:
        first = max(made.first_tick, stored.first_tick)
        end = min(made.first_tick + len(made), self._held + 1)
        for name in ("time_ns", "bid", "ask"):
            again = getattr(made, name)[max(0, first - made.first_tick) : max(0, end - made.first_tick)]
            before = getattr(stored, name)[first - stored.first_tick : max(first, end) - stored.first_tick]
            self.differs |= not np.array_equal(again, before)


def part_from(block: TickBlock, first_tick: int) -> TickBlock:
    """Return a block's ticks from a number on; the block itself where that is its first."""
    skip = first_tick - block.first_tick
    if skip <= 0:
        return block
    columns = {
        name: column[skip:]
        for name in block.__struct_fields__
        if isinstance(column := getattr(block, name), np.ndarray) and len(column)
    }
    return msgspec.structs.replace(block, first_tick=first_tick, **columns)
