"""Recorded market files of several venues, as they are: read, judged, counted."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from libs.common.errors import DataError
from libs.common.messages.market import TickBlock
from services.ingest.adapters.replay import ReplayOptions, open_replay, replay_format
from services.ingest.config import IngestConfig
from services.ingest.core import IngestCore

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
pytestmark = pytest.mark.needs_data


def recorded(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"recorded file {name} is not beside this repository")
    return path


def judged(path: Path) -> tuple[int, dict[str, int], int, int]:
    core = IngestCore(IngestConfig(), ("X",))
    passed = quarantined = 0
    for raw in open_replay(path, "X", ReplayOptions(check=False)):
        found = core.on_raw_ticks(raw, 0)
        passed += sum(len(message) for message in found.messages if isinstance(message, TickBlock))
        quarantined += len(found.quarantined)
    (status,) = core.on_finished("X", 0)
    assert status.ticks == passed
    assert sum(status.quarantined.values()) == quarantined
    return passed + quarantined, status.quarantined, status.gaps, int(core.details()["X locked"])


def test_oanda_euro_has_no_defects_but_one_repeated_tick_and_the_payrolls_jump():
    total, quarantined, _, _ = judged(recorded("ticks/eurusd_oanda_2014-05.parquet"))
    assert total == 532_903
    assert quarantined == {**dict.fromkeys(quarantined, 0), "duplicate": 1, "spike": 3}


def test_oanda_gold_has_no_defects_but_the_payrolls_jump():
    total, quarantined, _, _ = judged(recorded("ticks/xauusd_oanda_2014-05.parquet"))
    assert total == 2_022_969
    assert quarantined == {**dict.fromkeys(quarantined, 0), "spike": 3}


def test_fxcm_euro_is_crossed_a_hundred_thousand_times_and_locked_as_often():
    total, quarantined, _, locked = judged(recorded("ticks/eurusd_fxcm_2014-05.parquet"))
    assert total == 1_144_807
    assert quarantined["crossed"] == 116_871
    assert locked == 142_462
    assert sum(quarantined.values()) - quarantined["crossed"] < 10


@pytest.mark.parametrize(
    ("name", "format_", "ticks", "first", "last"),
    [
        ("mt5_bars_XAUUSD_M1_202602160207_202602272357.csv", "MT5 bars", 54_232,
         "2026-02-16T00:07:00.000", "2026-02-27T21:57:59.999"),
        ("histdata_ticks_EURUSD_20200101.csv", "HistData ticks", 9_500,
         "2020-01-01T22:00:00.065", "2020-01-02T04:00:52.125"),
        ("truefx_ticks_USDJPY_20130101.csv", "plain ticks", 1_000,
         "2013-01-01T22:00:00.295", "2013-01-01T22:35:13.494"),
    ],
)  # fmt: skip
def test_raw_exports_are_recognised_and_put_into_utc(name, format_, ticks, first, last):
    path = recorded(f"raw/{name}")
    assert replay_format(path) == format_
    times = np.concatenate([raw.time_ns for raw in open_replay(path, "X")])
    assert len(times) == ticks
    assert (np.diff(times) >= 0).all()
    for moment, found in ((first, times[0]), (last, times[-1])):
        assert np.datetime64(int(found), "ns") == np.datetime64(moment)
    total, quarantined, _, _ = judged(path)
    assert total == ticks
    assert sum(quarantined.values()) <= 5


def test_the_export_of_mixed_timeframes_is_refused_before_its_first_tick():
    path = recorded("raw/mt5_bars_XAUUSD_H1_202101040000_202412312100_mixed_timeframes.csv")
    with pytest.raises(DataError) as caught:
        open_replay(path, "XAUUSD")
    assert caught.value.path == str(path)
    assert caught.value.line == 434  # 432 daily bars under the header come before it
    assert "1 d before this line, 1 h from it on" in caught.value.problem
    assert "delete the lines of one of them" in caught.value.remedy


def test_the_account_statement_is_refused_as_such():
    with pytest.raises(DataError, match="an account statement, not ticks or bars"):
        open_replay(recorded("raw/mt4_DetailedStatement_demo_2017.htm"), "X")


def test_tables_of_trades_are_refused():
    with pytest.raises(DataError, match="neither ticks nor bars"):
        open_replay(recorded("trades/mt5_tester_deals_xauusd_2026.csv"), "X")


@pytest.mark.parametrize(
    ("name", "bars"),
    [
        ("btcusd_m1_mt5_2026-01_2026-03", 100_000), ("eurusd_h1_oanda_bidask_2007_2018", 74_439),
        ("eurusd_m1_histdata_2017h1", 186_348), ("gbpusd_m1_fxcm_bidask_2012-02", 30_117),
        ("us30_m1_mt5_2025-12_2026-03", 100_000), ("usdjpy_m1_fxcm_bidask_2013-02", 28_761),
        ("xauusd_h1_oanda_bidask_2006_2019", 76_499), ("xauusd_m1_mt5_2025-12_2026-03", 100_000),
        ("xauusd_m1_mt5_eudst_2025-12_2026-03", 90_000),
    ],
)  # fmt: skip
def test_every_bar_file_passes_the_bar_checks(name, bars):
    assert sum(len(raw) for raw in open_replay(recorded(f"bars/{name}.parquet"), "X")) == 4 * bars


def test_the_raw_export_and_the_parquet_bars_of_the_same_minutes_agree_on_the_time():
    """Two files of one market, one on the broker's clock: shifted by an hour they would not agree."""
    raw = recorded("raw/mt5_bars_XAUUSD_M1_202602160207_202602272357.csv")
    columns = {}
    for name, path in (("csv", raw), ("parquet", recorded("bars/xauusd_m1_mt5_2025-12_2026-03.parquet"))):
        chunks = list(open_replay(path, "X"))
        columns[name] = (np.concatenate([c.time_ns[::4] for c in chunks]), np.concatenate([c.bid[::4] for c in chunks]))
    common, left, right = np.intersect1d(columns["csv"][0], columns["parquet"][0], return_indices=True)
    assert len(common) > 13_000
    moves = [np.diff(np.log(columns[name][1][rows])) for name, rows in (("csv", left), ("parquet", right))]
    assert np.corrcoef(*moves)[0, 1] > 0.95


def test_reading_is_fast_enough_not_to_be_noticed():
    path = recorded("ticks/xauusd_oanda_2014-05.parquet")
    start = perf_counter()
    ticks = sum(len(raw) for raw in open_replay(path, "X", ReplayOptions(check=False)))
    assert ticks / (perf_counter() - start) > 1_000_000
