"""Ingest from a terminal: every tick once, whatever is killed, renamed, disconnected or lost."""

import asyncio
import random
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError
from libs.common.messages.control import Severity
from libs.common.mt5.convert import OffsetHistory
from libs.common.storage.ticks import TickStore
from tests.integration.ingest.live_world import FakeTerminal, LiveWorld, assert_published, rates

S = 1_000_000_000
MONDAY = int(datetime(2024, 1, 8, 9, tzinfo=UTC).timestamp()) * S


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look after the terminal and write the position down often."""
    for name in ("_CHECK_EVERY_S", "_SAVE_EVERY_S"):
        monkeypatch.setattr(f"services.ingest.adapters.mt5_service.{name}", 0.03)


async def reveal(world: LiveWorld, name: str, upto: int, burst: int, pause_s: float = 0.001) -> None:
    """Let the market happen, a few ticks at a time."""
    terminal = world.terminal
    while terminal.shown.get(name, upto) < upto:
        terminal.shown[name] = min(upto, terminal.shown[name] + burst)
        await asyncio.sleep(pause_s)


async def test_every_tick_of_two_symbols_is_published_once_in_order(tmp_path):
    ticks = {"EURUSD": rates(3_000, start_ns=MONDAY, seed=1), "GBPUSD.m": rates(2_000, start_ns=MONDAY, seed=2)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks), symbols=("EURUSD", "GBPUSD"), page_ticks=100)
    await world.start()
    await asyncio.gather(*(reveal(world, name, len(rows), 37) for name, rows in ticks.items()))
    await world.until(lambda: (world.published("EURUSD"), world.published("GBPUSD")) == (3_000, 2_000))
    await world.stop()
    assert_published(world.bus, "EURUSD", ticks["EURUSD"])
    assert_published(world.bus, "GBPUSD", ticks["GBPUSD.m"])
    stored = [part for part in TickStore(tmp_path / "ticks").read("GBPUSD", 0, 2**62)]
    assert sum(map(len, stored)) == 2_000


@pytest.mark.parametrize("seed", range(5))
async def test_killed_anywhere_ingest_neither_loses_nor_repeats_a_tick(tmp_path, seed):
    chance = random.Random(seed)
    ticks = {"EURUSD": rates(2_500, start_ns=MONDAY, seed=seed)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks), page_ticks=chance.choice([10, 60, 5_000]))
    showing = asyncio.create_task(reveal(world, "EURUSD", 2_500, chance.choice([3, 11, 200]), 0.002))
    for _ in range(5):
        await world.start()
        await asyncio.sleep(chance.uniform(0.0, 0.12))
        await world.kill()
        # The bus is killed with it and loses what nobody was sure of.
        world.bus.crash(chance.choice([0, 0, 1, 3, 20]))
    await world.start()
    await showing
    await world.until(lambda: world.published() == 2_500)
    await world.stop()
    assert_published(world.bus, "EURUSD", ticks["EURUSD"])
    assert not [alert for alert in world.bus.alerts if alert.name in ("history_rewritten", "stream_lost_ticks")]


async def test_a_lost_position_goes_on_after_the_stream(tmp_path):
    ticks = {"EURUSD": rates(600, start_ns=MONDAY, seed=3)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 300
    await world.until(lambda: world.published() == 300)
    await world.kill()
    (tmp_path / "ingest" / "live.json").unlink(missing_ok=True)
    await world.start()
    world.terminal.shown["EURUSD"] = 600
    await world.until(lambda: world.published() == 600)
    await world.stop()
    assert_published(world.bus, "EURUSD", ticks["EURUSD"])


async def test_a_terminal_that_shows_another_past_is_reported_and_nothing_is_repeated(tmp_path):
    whole = rates(400, start_ns=MONDAY, seed=4, step_ms=2_000)
    world = LiveWorld(tmp_path, FakeTerminal({"EURUSD": whole}))
    await world.start()
    world.terminal.shown["EURUSD"] = 1
    await world.until((tmp_path / "ingest" / "live.json").exists)
    saved = (tmp_path / "ingest" / "live.json").read_bytes()
    world.terminal.shown["EURUSD"] = 200
    await world.until(lambda: world.published() == 200)
    await world.kill()
    # Back to the first moment written down; meanwhile the terminal has lost one of the ticks.
    (tmp_path / "ingest" / "live.json").write_bytes(saved)
    world.terminal.ticks["EURUSD"] = np.delete(whole, 150)
    await world.start()
    await world.until(lambda: "history_rewritten" in world.bus.names_of_alerts())
    world.terminal.shown["EURUSD"] = 399
    await world.until(lambda: world.published() == 400)
    await world.stop()
    assert_published(world.bus, "EURUSD", whole)


async def test_a_recorded_store_that_lost_its_last_minutes_is_mended_from_the_stream(tmp_path):
    ticks = {"EURUSD": rates(500, start_ns=MONDAY, seed=5)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 500
    await world.until(lambda: world.published() == 500)
    await world.kill()
    for file in (tmp_path / "ticks" / "EURUSD").iterdir():
        file.unlink()
    await world.start()
    await world.until(lambda: world.service.ready() == "")
    await world.stop()
    assert sum(map(len, TickStore(tmp_path / "ticks").read("EURUSD", 0, 2**62))) == 500


async def test_a_terminal_that_goes_away_makes_the_feed_stale_and_comes_back_without_a_hole(tmp_path):
    ticks = {"EURUSD": rates(600, start_ns=MONDAY, seed=6)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 200
    await world.until(lambda: world.published() == 200)
    world.terminal.down = "the worker is gone"
    await world.until(lambda: world.bus.statuses("EURUSD")[-1].reason == "unreachable")
    assert world.bus.statuses("EURUSD")[-1].stale
    assert "terminal" in world.service.ready()
    world.terminal.shown["EURUSD"] = 600
    world.terminal.down = ""
    world.terminal.session += 1
    await world.until(lambda: world.published() == 600)
    await world.until(lambda: world.service.ready() == "")
    await world.stop()
    assert_published(world.bus, "EURUSD", ticks["EURUSD"])
    assert world.bus.names_of_alerts().count("terminal_unreachable") == 1


async def test_a_terminal_without_its_broker_makes_the_feed_stale(tmp_path):
    ticks = {"EURUSD": rates(600, start_ns=MONDAY, seed=6)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 200
    await world.until(lambda: world.published() == 200)
    world.terminal.connected = False
    await world.until(lambda: world.bus.statuses("EURUSD")[-1].reason == "disconnected")
    world.terminal.connected = True
    world.terminal.shown["EURUSD"] = 300
    await world.until(lambda: world.published() == 300)
    await world.until(lambda: world.service.ready() == "")
    await world.stop()
    assert "terminal_disconnected" in world.bus.names_of_alerts()


async def test_a_symbol_renamed_overnight_is_found_again_and_no_tick_is_repeated(tmp_path):
    ticks = {"EURUSD.m": rates(600, start_ns=MONDAY, seed=7)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD.m"] = 200
    await world.until(lambda: world.published() == 200)
    world.terminal.rename("EURUSD.m", "EURUSD.pro")
    world.terminal.shown["EURUSD.pro"] = 600
    await world.until(lambda: world.published() == 600)
    await world.stop()
    assert_published(world.bus, "EURUSD", world.terminal.ticks["EURUSD.pro"])
    assert "symbol_renamed" in world.bus.names_of_alerts()
    assert "EURUSD.pro" in (tmp_path / "mt5" / "symbols.json").read_text()


async def test_a_symbol_that_is_gone_makes_its_feed_stale_and_says_so_loudly(tmp_path):
    ticks = {"EURUSD": rates(600, start_ns=MONDAY, seed=7)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 200
    await world.until(lambda: world.published() == 200)
    world.terminal.rename("EURUSD", "SOMETHING")
    await world.until(lambda: world.bus.statuses("EURUSD")[-1].reason == "missing")
    await world.until(lambda: "symbol_missing" in world.bus.names_of_alerts())
    await world.stop()
    alert = next(alert for alert in world.bus.alerts if alert.name == "symbol_missing")
    assert alert.severity is Severity.CRITICAL
    assert "mt5.symbols.EURUSD" in alert.detail


async def test_a_configuration_that_is_not_the_brokers_refuses_to_start_with_the_remedy(tmp_path):
    ticks = {"EURUSD": rates(10, start_ns=MONDAY)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks, digits=3, point=1e-3, trade_tick_size=1e-3))
    await world.start()
    with pytest.raises(ConfigError, match=r"digits is 5, the broker says 3.*instruments.EURUSD: \{digits: 3"):
        await world.until(lambda: False)


async def test_on_request_a_wrong_configuration_only_alerts(tmp_path):
    ticks = {"EURUSD": rates(10, start_ns=MONDAY)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks, volume_step=0.1), specification="alert")
    await world.start()
    world.terminal.shown["EURUSD"] = 10
    await world.until(lambda: world.published() == 10)
    await world.stop()
    assert "specification_differs" in world.bus.names_of_alerts()


async def test_ticks_of_another_broker_never_join_a_stream(tmp_path):
    ticks = {"EURUSD": rates(300, start_ns=MONDAY)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks))
    await world.start()
    world.terminal.shown["EURUSD"] = 100
    await world.until(lambda: world.published() == 100 and (tmp_path / "ingest" / "live.json").exists())
    world.terminal.server = "Other-Live"
    world.terminal.session += 1
    with pytest.raises(ConfigError, match=r"logged in to Other-Live.*Broker-Demo's"):
        await world.until(lambda: False)
    await world.start()
    with pytest.raises(ConfigError, match="Other-Live"):
        await world.until(lambda: False)


async def test_a_traded_symbol_keeps_its_prices_and_volumes(tmp_path):
    rows = rates(50, start_ns=MONDAY, seed=9)
    rows["last"][10:], rows["volume_real"][10:] = 1.1, 0.5
    world = LiveWorld(tmp_path, FakeTerminal({"EURUSD": rows}), page_ticks=10)
    await world.start()
    world.terminal.shown["EURUSD"] = 50
    await world.until(lambda: world.published() == 50)
    await world.stop()
    blocks = world.bus.blocks("EURUSD")
    assert set(np.concatenate([block.volume for block in blocks]).tolist()) <= {0.0, 0.5}
    assert len(blocks[-1].last) == len(blocks[-1])


@pytest.mark.parametrize("zone", ["NY+7", "EET"])
async def test_the_repeated_hour_of_autumn_is_published_once_and_in_order(tmp_path, zone):
    begin = {"NY+7": datetime(2024, 11, 3, 5, 30, tzinfo=UTC), "EET": datetime(2024, 10, 27, 0, 30, tzinfo=UTC)}[zone]
    # The terminal orders its ticks by the broker's clock; here it keeps them in order of arrival.
    rows = rates(400, start_ns=int(begin.timestamp()) * S, seed=8, step_ms=60_000, zone=zone)
    world = LiveWorld(tmp_path, FakeTerminal({"EURUSD": rows}), zone=zone)
    assert (np.diff(rows["time_msc"]) < 0).sum() == 1
    # Once more from within the second pass.
    turned = int(np.flatnonzero(np.diff(rows["time_msc"]) < 0)[0])
    for shown in (turned + 20, 400):
        await world.start()
        world.terminal.shown["EURUSD"] = shown
        await world.until(lambda shown=shown: world.published() == shown and world.written_down() == shown)
        await world.kill()
    assert_published(world.bus, "EURUSD", rows, zone)


# ---- a live clock


def live_ticks(n: int, *, first_ns: int, every_ms: int, offset_h: float) -> np.ndarray:
    rows = rates(n, start_ns=first_ns, zone="UTC", step_ms=1)
    rows["time_msc"] = first_ns // 1_000_000 + np.arange(n) * every_ms + int(offset_h * 3_600_000)
    rows["time"] = rows["time_msc"] // 1_000
    return rows


async def follow(world: LiveWorld, name: str, first_ns: int, every_ms: int) -> None:
    while True:
        passed_ms = (time.time_ns() - first_ns) // 1_000_000
        world.terminal.shown[name] = max(0, min(len(world.terminal.ticks[name]), int(passed_ms // every_ms)))
        await asyncio.sleep(0.005)


async def test_a_live_broker_clock_is_measured_before_the_first_tick_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("services.ingest.adapters.mt5_service.open_ns_between", lambda *_: S)
    monkeypatch.setattr("services.ingest.adapters.mt5_service._MEASURE_LOOK_S", 0.02)
    first_ns = time.time_ns()
    zone_h = expected_now_h("NY+7")
    rows = live_ticks(2_000, first_ns=first_ns, every_ms=20, offset_h=zone_h)
    world = LiveWorld(tmp_path, FakeTerminal({"EURUSD": rows}), clock="wall")
    following = asyncio.create_task(follow(world, "EURUSD", first_ns, 20))
    await world.start()
    await world.until(lambda: world.published() > 20)
    await world.stop()
    following.cancel()
    blocks = world.bus.blocks("EURUSD")
    assert blocks[0].ts_init_ns >= first_ns + 1_900_000_000, "published before the clock was known"
    ages = [block.ts_init_ns - block.ts_event_ns for block in blocks]
    assert all(0 <= age < S for age in ages)
    assert f'"offset_s": {int(zone_h * 3600)}' in (tmp_path / "mt5" / "clock.json").read_text()
    assert "clock_not_measured" not in world.bus.names_of_alerts()


def expected_now_h(zone: str) -> float:
    return OffsetHistory(zone=zone).offset_s(time.time_ns()) / 3_600


async def test_ticks_that_would_lie_in_the_future_wait_for_the_measured_clock(tmp_path, monkeypatch):
    monkeypatch.setattr("services.ingest.adapters.mt5_service.open_ns_between", lambda *_: S)
    monkeypatch.setattr("services.ingest.adapters.mt5_service._MEASURE_LOOK_S", 0.02)
    first_ns = time.time_ns()
    offset_h = expected_now_h("NY+7") + 3
    rows = live_ticks(2_000, first_ns=first_ns, every_ms=20, offset_h=offset_h)
    world = LiveWorld(tmp_path, FakeTerminal({"EURUSD": rows}), clock="wall", measure_wait_s=0.2)
    following = asyncio.create_task(follow(world, "EURUSD", first_ns, 20))
    await world.start()
    await world.until(lambda: "ticks_in_the_future" in world.bus.names_of_alerts())
    assert world.published() == 0
    assert world.bus.statuses("EURUSD")[-1].reason == "clock"
    # Evidence for an offset nobody expected takes longer; here it comes at once.
    world.service._clock._meter._settings = type(world.service._clock._meter._settings)(surprise_span_s=0.1)
    await world.until(lambda: world.published() > 10)
    await world.stop()
    following.cancel()
    assert all(0 <= block.ts_init_ns - block.ts_event_ns < 5 * S for block in world.bus.blocks("EURUSD"))
    assert {"clock_not_measured", "server_clock_differs", "server_zone_differs"} <= set(world.bus.names_of_alerts())


async def test_settings_that_cannot_work_are_refused(tmp_path):
    ticks = {"EURUSD": rates(10, start_ns=MONDAY)}
    world = LiveWorld(tmp_path, FakeTerminal(ticks), server_offset="measure")
    with pytest.raises(ConfigError, match="server_offset: zone"):
        await world.start()


async def test_a_symbol_the_broker_does_not_have_is_waited_for_with_an_alert(tmp_path):
    world = LiveWorld(tmp_path, FakeTerminal({"USDJPY": rates(10, start_ns=MONDAY)}))
    await world.start()
    await world.until(lambda: "terminal_unreachable" in world.bus.names_of_alerts() or world.bus.alerts)
    await world.stop()
    assert "offers no such symbol" in world.bus.alerts[0].detail


async def test_a_name_that_the_broker_does_not_know_is_refused_with_the_nearest(tmp_path):
    world = LiveWorld(
        tmp_path, FakeTerminal({"EURUSD.m": rates(10, start_ns=MONDAY)}), names={"EURUSD": "EURUSD.n"},
        instrument=InstrumentConfig(),
    )  # fmt: skip
    await world.start()
    with pytest.raises(ConfigError, match=r"no symbol 'EURUSD.n'. Did you mean EURUSD.m"):
        await world.until(lambda: False)
