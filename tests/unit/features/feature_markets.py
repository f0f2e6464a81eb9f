"""Small markets and small feature sets the tests of the features service share."""

from collections.abc import Iterable

import numpy as np

from libs.common.config import DecideOn, InstrumentConfig
from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock
from services.features.config import FeaturesConfig
from services.features.conformance.market import (
    NS,
    START_NS,
    cut,
    events,
    quotes_only,
    random_market,
    rows_of,
    signature,
)
from services.features.core import FeaturesCore
from services.features.families import classic
from services.features.family import Clock, Family
from services.features.registry import LIBRARY
from services.features.spec import FeatureSpec

__all__ = [
    "FIVE_DIGITS", "NS", "POINT", "START_NS", "bars_of", "column", "cut", "default_families", "new_core", "quotes_only",
    "random_market", "rows_of", "run", "short_spec", "signature",
]
POINT = 1e-5
FIVE_DIGITS = {"EURUSD": InstrumentConfig(digits=5), "GBPUSD": InstrumentConfig(digits=5)}


def short_spec(family: str, output: str, timeframe_s: int = 10) -> FeatureSpec:
    known = LIBRARY[family]
    return FeatureSpec(
        name=f"{family}_{output}" + (f"_{timeframe_s}" if known.wants_bars else ""), family=family,
        output=output, timeframe_s=timeframe_s if known.wants_bars else 0, params=known.quick_params,
        of=("tick_imbalance_imbalance",) if known.clock is Clock.SERIES else (),
    )


def is_always_soon(family: Family) -> bool:
    """Tell whether a family is warm within minutes, whatever the market does, from one symbol alone."""
    return family.clock is not Clock.CROSS and not family.warm_up(family.quick_params).data


def default_families() -> FeaturesConfig:
    """Every value of the families of the default set and their kin, bar families on two timeframes; warm in minutes."""
    known = (*classic.ON_TICKS, *classic.ON_ROWS, *classic.ON_BARS)
    specs = [short_spec(family.name, output) for family in known for output in family.outputs]
    specs += [short_spec(family.name, output, 30) for family in classic.ON_BARS for output in family.outputs]
    return FeaturesConfig(timeframes_s=(10, 30), features=tuple(specs))


def new_core(
    config: FeaturesConfig | None = None, decide_on: DecideOn | None = None, symbols: tuple[str, ...] = ("EURUSD",)
) -> FeaturesCore:
    return FeaturesCore(config or default_families(), symbols, decide_on or DecideOn(every=10), FIVE_DIGITS, events())


def run(core: FeaturesCore, blocks: Iterable[TickBlock]) -> list[Message]:
    return [message for block in blocks for message in core.on_tick_block(block, block.ts_event_ns)]


def bars_of(messages: Iterable[Message], timeframe_s: int) -> list[Bar]:
    return [m for m in messages if isinstance(m, Bar) and m.timeframe_s == timeframe_s]


def column(rows: Iterable[FeatureBlock], name: str) -> np.ndarray:
    return np.array([row.values[row.names.index(name)] for row in rows])
