"""History comes into the store once and whole: over days, restarts, moody terminals and a broker's clock."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest

from libs.common.errors import BrokerError, ConfigError, DataError
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError
from libs.common.mt5.convert import RATE_DTYPE, OffsetHistory
from libs.common.storage.ticks import NS_PER_DAY, TickStore
from services.ingest.adapters.replay import ReplayOptions, open_replay
from tests.integration.ingest.live_world import SERVER, FakeTerminal, rates
from tickwire import history_ticks
from tickwire.history_bars import BarDownload
from tickwire.history_report import examine
from tickwire.history_ticks import TickDownload

S = 1_000_000_000
START = int(datetime(2024, 3, 8, 20, tzinfo=UTC).timestamp()) * S
DAY = START // NS_PER_DAY
LATER = START + 30 * NS_PER_DAY
QUICK = {"pauses_s": (0.0, 0.0), "confirm_s": (0.0,)}


def clock(zone: str = "NY+7") -> OffsetHistory:
    return OffsetHistory(server=SERVER, zone=zone)


def market(n: int = 3_000, *, zone: str = "NY+7", step_ms: int = 200_000, seed: int = 1) -> FakeTerminal:
    terminal = FakeTerminal({"EURUSD": rates(n, start_ns=START, step_ms=step_ms, zone=zone, seed=seed)})
    terminal.shown["EURUSD"] = n
    return terminal


def expected(terminal: FakeTerminal, zone: str = "NY+7") -> list[tuple[int, float, float]]:
    ticks = terminal.ticks["EURUSD"]
    time_ns = clock(zone).times(int(ticks["time_msc"][0])).to_utc_ns(ticks["time_msc"].astype(np.int64))
    return list(zip(time_ns.tolist(), ticks["bid"].tolist(), ticks["ask"].tolist(), strict=True))


def stored(root) -> list[tuple[int, float, float]]:
    return [
        row for part in TickStore(root).read("EURUSD", 0, 2**62)
        for row in zip(part.time_ns.tolist(), part.bid.tolist(), part.ask.tolist(), strict=True)
    ]  # fmt: skip


def inside(rows, first, last):
    return [row for row in rows if first * NS_PER_DAY <= row[0] < (last + 1) * NS_PER_DAY]


@pytest.mark.parametrize("zone", ["NY+7", "EET"])
@pytest.mark.parametrize("page", [7, 1_000])
async def test_history_over_a_change_of_daylight_time_is_whole(tmp_path, zone, page):
    # New York changes on 2024-03-10, Europe on 03-31; the ticks reach to the 11th of March.
    terminal = market(zone=zone)
    loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(zone), page_ticks=page, **QUICK)
    await loading.load(DAY, DAY + 20, LATER)
    assert stored(tmp_path) == expected(terminal, zone)


async def test_what_was_downloaded_is_read_by_a_replay(tmp_path):
    terminal = market()
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, DAY + 20, LATER)
    read = list(open_replay(tmp_path / "EURUSD", "EURUSD", ReplayOptions()))
    assert np.concatenate([raw.bid for raw in read]).tolist() == terminal.ticks["EURUSD"]["bid"].tolist()


async def test_whole_days_are_loaded_and_nothing_else(tmp_path):
    terminal = market()
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY + 1, DAY + 1, LATER)
    assert stored(tmp_path) == inside(expected(terminal), DAY + 1, DAY + 1)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("seed", range(10))
async def test_killed_anywhere_and_run_again_history_has_no_hole_and_no_repeat(tmp_path, seed, monkeypatch):
    chance = random.Random(seed)
    monkeypatch.setattr(history_ticks, "_KEEP_TICKS", chance.choice([50, 400]))
    terminal = market(seed=seed)
    asked = terminal._copy_ticks_from
    writes = history_ticks.write_whole

    def dying(call):
        def maybe(*arguments):
            if chance.random() < 0.04:
                raise Killed
            return call(*arguments)
        return maybe

    terminal._copy_ticks_from = dying(asked)
    monkeypatch.setattr(history_ticks, "write_whole", dying(writes))
    for _ in range(40):
        first, last = DAY + chance.randint(0, 2), DAY + 20
        try:
            page = chance.choice([10, 90])
            loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), page_ticks=page, **QUICK)
            await loading.load(first, last, LATER)
        except Killed:
            continue
    terminal._copy_ticks_from = asked
    monkeypatch.setattr(history_ticks, "write_whole", writes)
    loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK)
    await loading.load(DAY, DAY + 20, LATER)
    assert stored(tmp_path) == expected(terminal)
    assert loading.state.days == [(DAY, DAY + 20)]
    assert loading.state.run is None
    calls = len(terminal.asked)
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, DAY + 20, LATER)
    assert len(terminal.asked) == calls, "a complete history is not asked for again"


async def test_a_day_that_is_not_over_is_gone_on_with(tmp_path):
    terminal = market()
    whole = expected(terminal)
    for shown in (1_000, 1_700, 3_000):
        terminal.shown["EURUSD"] = shown
        now_ns = whole[shown - 1][0] + S
        await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, now_ns // NS_PER_DAY, now_ns)
        assert stored(tmp_path) == whole[:shown]


async def test_history_that_is_still_on_its_way_is_waited_for(tmp_path):
    terminal = market()
    terminal.shown["EURUSD"] = 500
    asked = terminal._copy_ticks_from

    def more_comes(*arguments):
        answer = asked(*arguments)
        terminal.shown["EURUSD"] = min(3_000, terminal.shown["EURUSD"] + 700)
        return answer

    terminal._copy_ticks_from = more_comes
    loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), pauses_s=(0.0,), confirm_s=(0.0,) * 8)
    await loading.load(DAY, DAY + 20, LATER)
    assert stored(tmp_path) == expected(terminal)


async def test_a_terminal_that_stumbles_is_asked_again(tmp_path):
    terminal = market()
    asked = terminal._copy_ticks_from
    failures = iter([PackageError("copy_ticks_from", -1, "Terminal: Call failed"), TimeoutError(), None, TimeoutError()])

    def stumbling(*arguments):
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return asked(*arguments)

    terminal._copy_ticks_from = stumbling
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), page_ticks=500, **QUICK).load(DAY, DAY + 20, LATER)
    assert stored(tmp_path) == expected(terminal)


async def test_a_terminal_that_gives_up_ends_the_download_and_what_was_loaded_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(history_ticks, "_KEEP_TICKS", 100)
    terminal = market()

    def told(_day: float, count: int) -> None:
        terminal.down = "gone" if count > 900 else ""

    loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), page_ticks=100, told=told, **QUICK)
    with pytest.raises(BrokerError, match="gone"):
        await loading.load(DAY, DAY + 20, LATER)
    assert 900 <= len(stored(tmp_path)) < 3_000
    terminal.down = ""
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, DAY + 20, LATER)
    assert stored(tmp_path) == expected(terminal)


async def test_ticks_without_both_prices_are_left_out_and_counted(tmp_path):
    terminal = market(100)
    terminal.ticks["EURUSD"]["bid"][10] = 0.0
    terminal.ticks["EURUSD"]["ask"][20] = float("nan")
    loading = TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK)
    await loading.load(DAY, DAY + 20, LATER)
    assert (len(stored(tmp_path)), loading.state.unusable) == (98, 2)


async def test_a_store_that_was_recorded_live_is_not_written_into(tmp_path):
    terminal = market(100)
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, DAY, LATER)
    (tmp_path / "EURUSD" / "download.json").unlink()
    with pytest.raises(DataError, match=r"no download wrote.*another --out"):
        TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock())


async def test_history_of_another_broker_is_not_mixed_in(tmp_path):
    terminal = market(100)
    await TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", clock(), **QUICK).load(DAY, DAY, LATER)
    with pytest.raises(DataError, match="logged in to Other"):
        TickDownload(terminal, tmp_path, "EURUSD", "EURUSD", OffsetHistory(server="Other"))


# ---- bars


def with_bars(terminal: FakeTerminal, first_s: int, n: int) -> None:
    bars = np.zeros(n, dtype=RATE_DTYPE)
    bars["time"] = first_s + 60 * np.arange(n)
    bars["open"], bars["high"], bars["low"], bars["close"] = 1.1, 1.2, 1.0, 1.15
    bars["tick_volume"], bars["spread"] = 5, 7

    def copy_rates_range(_symbol: str, timeframe: int, date_from: int, date_to: int) -> np.ndarray:
        assert timeframe == mt5.TIMEFRAME_M1
        return bars[(bars["time"] >= date_from) & (bars["time"] <= date_to)]

    terminal._copy_rates_range = copy_rates_range  # type: ignore[attr-defined]


async def test_bars_come_once_in_utc_and_a_second_call_asks_only_for_what_is_new(tmp_path):
    terminal = market(10)
    # In the US, the clock is turned forward within these three weeks; a broker on a fixed clock shows no hole there.
    with_bars(terminal, clock("+02:00").server_s(START), 30_000)
    end_ns = START + 30_000 * 60 * S
    loading = BarDownload(terminal, tmp_path, "EURUSD", "EURUSD", "M1", clock("+02:00"))
    assert await loading.load(START, end_ns - 5_000 * 60 * S, end_ns - 5_000 * 60 * S) == 25_000
    calls = len(terminal.asked)
    assert await loading.load(START, end_ns, LATER) == 30_000
    assert len(terminal.asked) - calls <= 2
    times = loading.file.times()
    assert times[0] == START
    assert (np.diff(times) == 60 * S).all()
    (raw,) = [raw for raw in open_replay(loading.file.path, "EURUSD", ReplayOptions(limit=4))]
    assert raw.bid.tolist() == [1.1, 1.0, 1.2, 1.15]


async def test_a_forming_bar_is_not_kept(tmp_path):
    terminal = market(10)
    with_bars(terminal, clock().server_s(START), 10)
    loading = BarDownload(terminal, tmp_path, "EURUSD", "EURUSD", "M1", clock())
    assert await loading.load(START, START + 600 * S, START + 90 * S) == 1
    assert await loading.load(START, START + 600 * S, START + 150 * S) == 2


def test_an_unknown_timeframe_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"M7.*known: M1"):
        BarDownload(market(1), tmp_path, "EURUSD", "EURUSD", "M7", clock())


# ---- the report


def test_the_report_counts_what_is_there_and_what_is_not(tmp_path):
    store = TickStore(tmp_path)
    from libs.common.storage.ticks import TickColumns

    seconds = [0, 0, 0, 10, 700, 701]
    times = np.array([START + second * S for second in seconds], dtype=np.int64)
    bid = np.array([1.1, 1.1, 1.2, 1.1, 1.1, 1.1])
    store.append("EURUSD", TickColumns(time_ns=times, bid=bid, ask=bid + np.array([0.1, 0.1, 0.1, -0.01, 0.1, 0.1])))
    store.close()
    minutes = np.array([START, START + 60 * S, START + 660 * S, START + 720 * S], dtype=np.int64)
    report = examine("EURUSD", store.read("EURUSD", 0, 2**62), session="fx", silent_s=300.0, bar_minutes_ns=minutes)
    assert (report.ticks, report.same_instant, report.duplicates, report.crossed, report.disordered) == (6, 2, 1, 1, 0)
    assert (report.silences, report.longest[0].open_s) == (1, 690.0)
    assert (report.minutes_checked, report.minutes_without_ticks) == (4, 2)
    assert not report.is_whole


def test_a_weekend_is_no_silence(tmp_path):
    friday = int(datetime(2024, 3, 8, 21, 59, tzinfo=UTC).timestamp()) * S
    sunday = int(datetime(2024, 3, 10, 21, 1, tzinfo=UTC).timestamp()) * S
    from libs.common.storage.ticks import TickColumns

    part = TickColumns(time_ns=np.array([friday, sunday]), bid=np.array([1.0, 1.0]), ask=np.array([1.1, 1.1]))
    assert examine("EURUSD", [part], session="fx", silent_s=300.0).silences == 0
    assert examine("EURUSD", [part], session="always", silent_s=300.0).silences == 1
