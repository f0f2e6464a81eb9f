"""Recorded ticks through the default set, in whatever blocks they come."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from libs.common.config import DecideOn, InstrumentConfig
from libs.common.messages.market import TickBlock
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from tests.unit.features.feature_markets import cut, rows_of, run, signature

TICKS = Path(__file__).parents[4] / "shared" / "data" / "ticks"
RECORDED = {
    "EURUSD": ("eurusd_oanda_2014-05.parquet", 5), "XAUUSD": ("xauusd_oanda_2014-05.parquet", 2),
    "EURUSD_FXCM": ("eurusd_fxcm_2014-05.parquet", 5),
}


def recorded(symbol: str) -> TickBlock:
    name = RECORDED[symbol][0]
    if not (TICKS / name).exists():
        pytest.skip(f"recorded ticks {name} are not here")
    frame = pl.scan_parquet(TICKS / name).filter(pl.col("bid") <= pl.col("ask")).head(200_000).collect()
    times = frame["time_msc"].to_numpy() * 1_000_000
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=1, time_ns=times,
        bid=frame["bid"].to_numpy(), ask=frame["ask"].to_numpy(),
    )


def default_core(symbol: str) -> FeaturesCore:
    instruments = {symbol: InstrumentConfig(digits=RECORDED[symbol][1])}
    return FeaturesCore(FeaturesConfig(), (symbol,), DecideOn(), instruments)


@pytest.mark.needs_data
@pytest.mark.parametrize("symbol", RECORDED)
def test_recorded_ticks_give_the_same_rows_in_any_blocks(symbol: str) -> None:
    market = recorded(symbol)
    whole, parts = default_core(symbol), default_core(symbol)
    expected = run(whole, [market])
    edges = np.unique(np.random.default_rng(7).integers(1, len(market), 2_000)).tolist()
    said = run(parts, (cut(market, a, b) for a, b in zip([0, *edges], [*edges, len(market)], strict=True)))
    assert signature(said) == signature(expected)
    assert parts.snapshot() == whole.snapshot()
    rows = rows_of(expected)
    values = np.array([row.values for row in rows])
    assert len(rows) > 500
    assert np.isfinite(values).all()
    spread = dict(zip(rows[0].names, np.median(values, axis=0), strict=True))
    assert 0.0 < spread["spread_points"] < 200.0
    assert 20.0 < spread["rsi_14"] < 80.0
    # Every value moves: a column that never changes would teach a model nothing.
    assert (values.std(axis=0) > 0.0).all()
