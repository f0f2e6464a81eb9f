"""Seeded markets the checks run on, and the ways they are cut, changed and compared."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock, no_floats
from services.features.calendar import CalendarEvent

NS = 1_000_000_000
START_NS = 1_400_000_037 * NS
"""A Tuesday in 2014, within a minute."""
COLUMNS = ("time_ns", "bid", "ask", "last", "volume", "flags", "bid_lots", "ask_lots")


def random_market(
    n: int, seed: int = 1, symbol: str = "EURUSD", mean_gap_s: float = 2.0, still: bool = False
) -> TickBlock:
    """Return a seeded random walk on a grid of points, now and then silent for a while, with every column."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(mean_gap_s * NS, n) * np.where(rng.random(n) < 0.01, 60.0 if mean_gap_s < 10.0 else 5.0, 1.0)
    gaps[rng.random(n) < 0.05] = 0.0
    moves = np.zeros(n, np.int64) if still else rng.integers(-3, 4, n)
    bid = (110_000 + np.cumsum(moves)) / 1e5
    ask = bid + (2 if still else rng.integers(0, 6, n)) / 1e5
    times = START_NS + np.cumsum(gaps).astype(np.int64)
    volume = np.round(rng.exponential(1.0, n), 2)
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=1, time_ns=times, bid=bid, ask=ask,
        last=np.round((bid + ask) / 2.0 if still else np.where(rng.random(n) < 0.5, bid, ask), 5), volume=volume,
        bid_lots=np.ones(n) if still else np.round(rng.exponential(5.0, n), 1),
        ask_lots=np.ones(n) if still else np.round(rng.exponential(5.0, n), 1),
    )


def events(n: int = 200, seed: int = 1) -> tuple[CalendarEvent, ...]:
    """Return seeded economic events around ``START_NS``, most of them announced before, some only afterwards."""
    rng = np.random.default_rng(seed)
    times = START_NS + rng.integers(-2 * 86_400, 6 * 86_400, n) * NS
    known = times - rng.integers(-3_600, 3 * 86_400, n) * NS
    return tuple(
        CalendarEvent(int(t), int(k), ("USD", "EUR")[j % 2], 1 + j % 3)
        for j, (t, k) in enumerate(zip(times, known, strict=True))
    )


def cut(block: TickBlock, begin: int, end: int) -> TickBlock:
    """Return ticks ``begin`` to ``end`` (exclusive, from 0) of a block."""
    return TickBlock(
        ts_event_ns=int(block.time_ns[end - 1]), ts_init_ns=0, symbol=block.symbol,
        first_tick=block.first_tick + begin, **{name: getattr(block, name)[begin:end] for name in COLUMNS},
    )


def pieces(block: TickBlock, cuts: Sequence[int]) -> list[TickBlock]:
    """Return the block cut at offsets strictly within it."""
    return [cut(block, begin, end) for begin, end in pairwise([0, *sorted(set(cuts)), len(block)])]


def quotes_only(block: TickBlock) -> TickBlock:
    """Return the block without the columns a feed may lack."""
    return msgspec.structs.replace(
        block, last=no_floats(), volume=no_floats(), bid_lots=no_floats(), ask_lots=no_floats()
    )


def with_other_future(
    block: TickBlock, known: int, seed: int, factor: float = 1.5, edge_ns: int = 0
) -> TickBlock:
    """Return the block with everything after the first ``known`` ticks changed: prices (``factor``), sizes, times.

    No changed tick comes at or before ``edge_ns``.
    """
    if known >= len(block):
        return block
    other = random_market(len(block), seed, block.symbol, mean_gap_s=7.0)
    begin_ns = max(int(block.time_ns[known - 1]), edge_ns + 1)
    later = other.time_ns[known:] - other.time_ns[known - 1] + begin_ns
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(block, name)[:known], getattr(other, name)[known:] * scale])
        for name, scale in (
            ("bid", factor), ("ask", 1.1 * factor), ("last", factor), ("volume", 7.0), ("bid_lots", 3.0),
            ("ask_lots", 0.5),
        )
    }
    return TickBlock(
        ts_event_ns=int(later[-1]), ts_init_ns=0, symbol=block.symbol, first_tick=block.first_tick,
        time_ns=np.concatenate([block.time_ns[:known], later]), **joined,
    )


def rows_of(messages: Iterable[Message], symbol: str = "") -> list[FeatureBlock]:
    """Return the rows among messages, of one symbol if one is named."""
    return [m for m in messages if isinstance(m, FeatureBlock) and symbol in ("", m.symbol)]


def signature(messages: Iterable[Message]) -> list[tuple[object, ...]]:
    """Return what must not depend on how a stream was cut: everything but the time of handling, bit for bit."""
    said: list[tuple[object, ...]] = []
    for message in messages:
        fields = {name: getattr(message, name) for name in message.__struct_fields__ if name != "ts_init_ns"}
        if isinstance(message, FeatureBlock):
            fields["values"] = message.values.tobytes()
        said.append((type(message).__name__, *fields.items()))
    return said
