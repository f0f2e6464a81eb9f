"""The tick blocks of all symbols in one order that depends on nothing but the ticks."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock

Group = tuple[Message, ...]
"""A tick block and whatever else is said before the symbol's next block."""


class BlockMerge:
    """Orders blocks by the time of their last tick, then by symbol.

    A block is given out only when no symbol can still bring an earlier one: every other symbol has a block waiting
    or has finished.

    Parameters
    ----------
    symbols : who will bring blocks; each brings its own in order of time
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._waiting: dict[str, deque[tuple[int, Group]]] = {symbol: deque() for symbol in sorted(symbols)}
        self._finished: set[str] = set()
        self._empty = len(self._waiting)
        self._heads: list[tuple[int, str]] = []

    def push(self, symbol: str, messages: Iterable[Message]) -> None:
        """Take a symbol's next messages; those after a block stay behind it, those before any block go alone.

        Raises
        ------
        ValueError : for a symbol that was not named or has finished
        """
        if symbol not in self._waiting or symbol in self._finished:
            raise ValueError(f"symbol {symbol!r} was not named, or has finished")
        queue = self._waiting[symbol]
        group: list[Message] = []
        groups: list[list[Message]] = []
        for message in messages:
            if isinstance(message, TickBlock) or not groups:
                group = []
                groups.append(group)
            group.append(message)
        for group in groups:
            if not queue:
                self._empty -= 1
                heapq.heappush(self._heads, (group[0].ts_event_ns, symbol))
            queue.append((group[0].ts_event_ns, tuple(group)))

    def finish(self, symbol: str) -> None:
        """Say that the symbol brings nothing more."""
        if symbol not in self._finished:
            self._finished.add(symbol)
            if not self._waiting[symbol]:
                self._empty -= 1

    def needs(self) -> tuple[str, ...]:
        """Return the symbols whose next block must come before anything can be given out."""
        return tuple(
            symbol for symbol, queue in self._waiting.items() if not queue and symbol not in self._finished
        )

    def pop(self) -> Group | None:
        """Return the next group in order, ``None`` while ``needs()`` names a symbol or everything was given out."""
        if self._empty or not self._heads:
            return None
        _, symbol = heapq.heappop(self._heads)
        queue = self._waiting[symbol]
        _, group = queue.popleft()
        if queue:
            heapq.heappush(self._heads, (queue[0][0], symbol))
        elif symbol not in self._finished:
            self._empty += 1
        return group


def merged(streams: Mapping[str, Iterator[Iterable[Message]]]) -> Iterator[Group]:
    """Yield the groups of several symbols' streams in order, drawing on each stream only when it is needed.

    Parameters
    ----------
    streams : symbol -> iterator over its messages, a few at a time
    """
    merge = BlockMerge(streams)
    while True:
        for symbol in merge.needs():
            messages = next(streams[symbol], None)
            if messages is None:
                merge.finish(symbol)
            else:
                merge.push(symbol, messages)
        group = merge.pop()
        if group is not None:
            yield group
        elif not merge.needs():
            return
