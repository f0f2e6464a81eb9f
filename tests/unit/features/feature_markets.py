"""Small markets and small feature sets the tests of the features service share."""

from collections.abc import Iterable

import numpy as np

from libs.common.config import DecideOn, InstrumentConfig
from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock, no_floats
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.registry import FAMILIES, Clock
from services.features.spec import FeatureSpec

NS = 1_000_000_000
START_NS = 1_400_000_037 * NS  # a Tuesday in 2014, within a minute
POINT = 1e-5
FIVE_DIGITS = {"EURUSD": InstrumentConfig(digits=5), "GBPUSD": InstrumentConfig(digits=5)}
SHORT = {
    "span": 8, "seconds": 5, "bars": 3, "fast": 3, "slow": 6, "signal": 3, "period": 4, "window": 5, "horizon": 2,
    "range_period": 3, "width": 1.5,
}
"""A short value for every parameter, so that small streams reach the end of the warm-up."""


def short_spec(family: str, output: str, timeframe_s: int = 10) -> FeatureSpec:
    known = FAMILIES[family]
    return FeatureSpec(
        name=f"{family}_{output}" + (f"_{timeframe_s}" if known.clock is Clock.BARS else ""), family=family,
        output=output, timeframe_s=timeframe_s if known.clock is Clock.BARS else 0,
        params={name: SHORT[name] for name in known.parameters},
    )


def every_family() -> FeaturesConfig:
    """Every value of every family, bar families on two timeframes."""
    specs = [short_spec(name, output) for name, family in FAMILIES.items() for output in family.outputs]
    specs += [
        short_spec(name, output, 30)
        for name, family in FAMILIES.items() if family.clock is Clock.BARS for output in family.outputs
    ]
    return FeaturesConfig(timeframes_s=(10, 30), features=tuple(specs))


def random_market(
    n: int, seed: int = 1, symbol: str = "EURUSD", mean_gap_s: float = 2.0, still: bool = False
) -> TickBlock:
    """A seeded random walk on a grid of points, now and then silent for a while."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(mean_gap_s * NS, n) * np.where(rng.random(n) < 0.01, 60.0, 1.0)
    gaps[rng.random(n) < 0.05] = 0.0
    moves = np.zeros(n, np.int64) if still else rng.integers(-3, 4, n)
    bid = (110_000 + np.cumsum(moves)) / 1e5
    ask = bid + (2 if still else rng.integers(0, 6, n)) / 1e5
    times = START_NS + np.cumsum(gaps).astype(np.int64)
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=1, time_ns=times, bid=bid, ask=ask,
        last=np.round((bid + ask) / 2.0, 5), volume=np.round(rng.exponential(1.0, n), 2),
    )


def cut(block: TickBlock, begin: int, end: int) -> TickBlock:
    """Ticks ``begin`` to ``end`` (exclusive, from 0) of a block."""
    columns = {
        name: getattr(block, name)[begin:end]
        for name in ("time_ns", "bid", "ask", "last", "volume", "flags")
    }
    return TickBlock(
        ts_event_ns=int(block.time_ns[end - 1]), ts_init_ns=0, symbol=block.symbol,
        first_tick=block.first_tick + begin, **columns,
    )


def quotes_only(block: TickBlock) -> TickBlock:
    return TickBlock(
        ts_event_ns=block.ts_event_ns, ts_init_ns=0, symbol=block.symbol, first_tick=block.first_tick,
        time_ns=block.time_ns, bid=block.bid, ask=block.ask, last=no_floats(), volume=no_floats(),
    )


def new_core(
    config: FeaturesConfig | None = None, decide_on: DecideOn | None = None, symbols: tuple[str, ...] = ("EURUSD",)
) -> FeaturesCore:
    return FeaturesCore(config or every_family(), symbols, decide_on or DecideOn(every=10), FIVE_DIGITS)


def run(core: FeaturesCore, blocks: Iterable[TickBlock]) -> list[Message]:
    return [message for block in blocks for message in core.on_tick_block(block, block.ts_event_ns)]


def rows_of(messages: Iterable[Message]) -> list[FeatureBlock]:
    return [message for message in messages if isinstance(message, FeatureBlock)]


def bars_of(messages: Iterable[Message], timeframe_s: int) -> list[Bar]:
    return [m for m in messages if isinstance(m, Bar) and m.timeframe_s == timeframe_s]


def column(rows: Iterable[FeatureBlock], name: str) -> np.ndarray:
    return np.array([row.values[row.names.index(name)] for row in rows])


def signature(messages: Iterable[Message]) -> list[tuple[object, ...]]:
    """What must not depend on how a stream was cut: everything but the time of handling, bit for bit."""
    said: list[tuple[object, ...]] = []
    for message in messages:
        fields = {name: getattr(message, name) for name in message.__struct_fields__ if name != "ts_init_ns"}
        if isinstance(message, FeatureBlock):
            fields["values"] = message.values.tobytes()
        said.append((type(message).__name__, *fields.items()))
    return said
