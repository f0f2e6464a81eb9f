"""Rows as one table, for runs over history, are the rows that are said one by one."""

import msgspec
import numpy as np
import pytest

from libs.common.config import DecideOn
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore

NS_PER_MS = 1_000_000
START_NS = 1_704_873_600_000_000_000
TICKS = 9_500


def block(apart_ms: int) -> TickBlock:
    rng = np.random.default_rng(3)
    bid = np.round(1.1 + np.cumsum(rng.integers(-2, 3, TICKS)) * 1e-5, 5)
    time_ns = START_NS + np.arange(TICKS, dtype=np.int64) * apart_ms * NS_PER_MS
    return TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=time_ns, bid=bid, ask=bid + 2e-5, ts_event_ns=int(time_ns[-1]), ts_init_ns=0
    )


def core() -> FeaturesCore:
    features = [{"name": "fast", "family": "ema_distance", "params": {"span": 20}}]
    config = msgspec.convert({"timeframes_s": [60], "features": features}, FeaturesConfig)
    return FeaturesCore(config, ("EURUSD",), DecideOn(kind="tick", every=1), {})


@pytest.mark.parametrize("apart_ms", [1, 5, 200, 20_000])
def test_a_table_holds_every_row_however_dense_the_ticks(apart_ms: int) -> None:
    """With milliseconds between them, thousands of ticks pass without any bar closing."""
    ticks = block(apart_ms)
    said = core().on_tick_block(ticks, ticks.ts_event_ns)
    rows = [message for message in said if isinstance(message, FeatureBlock)]
    table, beside = core().table_of(ticks, ticks.ts_event_ns)
    assert not [message for message in beside if isinstance(message, FeatureBlock)]
    assert [int(ticks.time_ns[offset]) for offset in table.offsets] == [row.ts_event_ns for row in rows]
    assert table.values.tobytes() == np.array([row.values for row in rows]).tobytes()
    assert [message for message in said if not isinstance(message, FeatureBlock)] == list(beside)
