"""Ticks as a source gave them: times already UTC, nothing checked yet."""

import msgspec

from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import no_floats, no_ints

MAX_CHUNK = 65_536
"""Most ticks a source hands over at once."""


class RawTicks(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Consecutive ticks of one symbol from one source, as columns of equal length.

    Parameters
    ----------
    symbol : canonical symbol
    file : where they come from: a path, or ``synthetic``
    first_line : line (row, for Parquet) of the first tick, counted from 1
    time_ns : (n,) ns UTC, as recorded, possibly falling
    bid, ask : (n,) prices as recorded, possibly crossed, zero or NaN
    last, volume, flags : (n,), or empty where the source has none
    ticks_per_line : ticks made of one line (4 for bars, otherwise 1)
    within_line : ticks of ``first_line`` that came before this chunk
    interval_ns : usual distance of two ticks where the source is coarser than ticks (bars), otherwise 0
    """

    symbol: str
    file: str
    first_line: int
    time_ns: Ints
    bid: Floats
    ask: Floats
    last: Floats = msgspec.field(default_factory=no_floats)
    volume: Floats = msgspec.field(default_factory=no_floats)
    flags: Ints = msgspec.field(default_factory=no_ints)
    ticks_per_line: int = 1
    within_line: int = 0
    interval_ns: int = 0

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        for name in ("bid", "ask", "last", "volume", "flags"):
            size = len(getattr(self, name))
            if size != n and (name in ("bid", "ask") or size != 0):
                raise ValueError(f"column {name} has {size} values, time_ns has {n}")

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def source(self) -> str:
        """The place of the first tick, ``file:line``."""
        return self.place(0)

    def place(self, index: int) -> str:
        """Return where a tick stands in its source, ``file:line``."""
        return f"{self.file}:{self._line(index)}"

    def part(self, start: int, stop: int) -> "RawTicks":
        """Return the ticks ``start`` .. ``stop - 1`` as a chunk of their own (the columns are views)."""
        return msgspec.structs.replace(
            self,
            first_line=self._line(start),
            within_line=(self.within_line + start) % self.ticks_per_line,
            **{
                name: getattr(self, name)[start:stop]
                for name in ("time_ns", "bid", "ask", "last", "volume", "flags")
            },
        )

    def _line(self, index: int) -> int:
        return self.first_line + (self.within_line + index) // self.ticks_per_line
