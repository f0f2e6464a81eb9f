"""A market that moves while a program watches: tick sources played into a simulated terminal as time passes.

Time is asked for, never fetched: ``PlayedPort`` is given a clock and moves the market up to it before every question.
``StepClock`` makes time pass only by what the program does, so that the same program sees the same market every time.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from libs.common.messages.market import TickBlock
from libs.common.mt5.sim.port import ConnectOptions, InProcessPort, LastError
from libs.common.mt5.sim.terminal import SimulatedTerminal

NS_PER_S = 1_000_000_000
CALL_NS = 1_000_000
"""What a round trip through the pipe takes on a step clock: 1 ms."""
READING_NS = 10_000
"""What reading the time takes on a step clock: 10 µs, so that a loop which waits for a time comes to its end."""
_NEVER = 2**63 - 1


class StepClock:
    """Time that passes by calls, by readings and by sleeping only.

    Parameters
    ----------
    now_ns : where it starts, ns UTC
    """

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def call_ns(self) -> int:
        """Let a round trip pass and return the time, ns UTC."""
        self.now_ns += CALL_NS
        return self.now_ns

    def read_ns(self) -> int:
        """Let a reading pass and return the time, ns UTC."""
        self.now_ns += READING_NS
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Let time pass; what is negative passes none."""
        self.now_ns += max(0, round(seconds * NS_PER_S))


class PlayedMarket:
    """Tick sources, played into a terminal in order of time.

    Parameters
    ----------
    terminal : gets the ticks
    sources : symbol -> its blocks in order of time; empty when they end
    """

    def __init__(self, terminal: SimulatedTerminal, sources: Mapping[str, Iterator[TickBlock]]) -> None:
        self.terminal = terminal
        self._waiting = {symbol: _Waiting(source) for symbol, source in sorted(sources.items())}

    @property
    def next_ns(self) -> int:
        """When the next tick comes, ns UTC; far in the future when there is none."""
        return min((waiting.next_ns for waiting in self._waiting.values()), default=_NEVER)

    @property
    def over(self) -> bool:
        """Whether every source has ended."""
        return self.next_ns == _NEVER

    def advance_to(self, ts_ns: int) -> None:
        """Play every tick up to a time (ns UTC), that of all symbols in one order; equal times by symbol."""
        while (first := min(self._waiting.values(), key=lambda waiting: waiting.next_ns, default=None)) is not None:
            if first.next_ns > ts_ns:
                return
            until_ns = ts_ns
            if self.terminal.positions_total() or self.terminal.orders_total():
                # Up to the next tick of another symbol; at the same time at least its own first ones. Where nothing
                # is open the symbols do not meet, and their order does not show.
                others = min((w.next_ns for w in self._waiting.values() if w is not first), default=_NEVER)
                until_ns = max(first.next_ns, min(ts_ns, others - 1))
            self.terminal.advance(first.take(until_ns))


class PlayedPort(InProcessPort):
    """The pipe to a terminal whose market has moved on at every call.

    Parameters
    ----------
    market : what is played
    now_ns : the time of a call, ns UTC
    when_over : called when the market has ended; what it raises ends the program
    """

    def __init__(
        self, market: PlayedMarket, now_ns: Callable[[], int], when_over: Callable[[], None] | None = None
    ) -> None:
        super().__init__(market.terminal)
        self._market = market
        self._now_ns = now_ns
        self._when_over = when_over

    def connect(self, options: ConnectOptions) -> LastError:
        self._move()
        return super().connect(options)

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        self._move()
        return super().ask(function, *arguments, **named)

    def _move(self) -> None:
        if self._market.over and self._when_over is not None:
            self._when_over()
        self._market.advance_to(self._now_ns())


class _Waiting:
    """A source with the block it is in."""

    def __init__(self, source: Iterator[TickBlock]) -> None:
        self._source = source
        self._block: TickBlock | None = next(source, None)
        self._start = 0

    @property
    def next_ns(self) -> int:
        return _NEVER if self._block is None else int(self._block.time_ns[self._start])

    def take(self, until_ns: int) -> TickBlock:
        """Return the ticks up to a time that are in the present block: at least one, the next."""
        block = self._block
        assert block is not None, "nobody takes from a source that has ended"
        stop = int(block.time_ns.searchsorted(until_ns, side="right"))
        taken = _part(block, self._start, stop)
        if stop == len(block):
            self._block, self._start = next(self._source, None), 0
        else:
            self._start = stop
        return taken


def _part(block: TickBlock, start: int, stop: int) -> TickBlock:
    if (start, stop) == (0, len(block)):
        return block
    columns = {name: getattr(block, name)[start:stop] for name in ("time_ns", "bid", "ask", "last", "volume", "flags")}
    last_ns = int(columns["time_ns"][-1])
    return msgspec.structs.replace(
        block, first_tick=block.first_tick + start, ts_event_ns=last_ns, ts_init_ns=last_ns, **columns
    )
