"""When the market is open, as an Expert Advisor tells it, decides whether ingest takes a silence for a fault."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from libs.common.messages.ea import EaSession
from libs.common.mt5.convert import OffsetHistory
from services.ingest.adapters.ea_service import EaIngestService
from tests.integration.ingest.live_world import FakeTerminal, LiveWorld, rates

S = 1_000_000_000
DAY_S = 86_400


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look after the terminal often, and wait for no clock to be measured."""
    monkeypatch.setattr("services.ingest.adapters.mt5_service._CHECK_EVERY_S", 0.03)
    monkeypatch.setattr("services.ingest.adapters.mt5_service.ServerClockKeeper.is_measured", lambda *_: True)


class ToldTerminal(FakeTerminal):
    """Answers as ``EaTerminal``, with what the Expert Advisor told of its symbols."""

    def __init__(self, ticks, sessions):
        super().__init__(ticks)
        self.arrived = asyncio.Event()
        self.specifications = {}
        self.tell(sessions)

    def tell(self, sessions):
        told = tuple(EaSession(day=day, from_s=first_s, to_s=last_s) for day, first_s, last_s in sessions)
        self.specifications = {name: SimpleNamespace(quote_sessions=told) for name in self.ticks}

    def take_arrived(self):
        return set(self.ticks)


class ToldIngest(EaIngestService):
    """Ingest whose Expert Advisor is the test's."""

    terminal: ToldTerminal

    def _make_terminal(self):
        super()._make_terminal()
        self._ea = self.terminal
        return self._ea


def told_world(tmp_path, sessions):
    """Return a world whose only symbol has been silent for a quarter of an hour."""
    quarter_ago_ns = time.time_ns() - 900 * S
    ticks = rates(20, start_ns=quarter_ago_ns, zone="NY+7", step_ms=10)
    terminal = ToldTerminal({"EURUSD": ticks}, sessions)
    terminal.shown["EURUSD"] = len(ticks)
    service = type("OneIngest", (ToldIngest,), {"terminal": terminal})
    return LiveWorld(tmp_path, terminal, clock="wall", zone="NY+7", service=service, backfill_s=3_600.0)


def now_at_the_server():
    """Return (day, second of the day) by the broker's clock."""
    server_s = OffsetHistory(zone="NY+7").server_s(time.time_ns())
    return (server_s // DAY_S + 4) % 7, server_s % DAY_S


ALWAYS = [(day, 0, DAY_S) for day in range(7)]


def closed_now():
    """Return sessions of the days that are far from now."""
    day, _ = now_at_the_server()
    return [one for one in ALWAYS if (one[0] - day) % 7 not in (6, 0, 1)]


def is_silent(world):
    return any(status.reason == "silent" for status in world.bus.statuses("EURUSD"))


async def test_a_silence_is_a_fault_when_the_terminal_says_the_market_is_open(tmp_path):
    world = told_world(tmp_path, ALWAYS)
    await world.start()
    await world.until(lambda: is_silent(world))
    await world.stop()


async def test_a_silence_of_a_market_that_the_terminal_says_is_closed_is_none_until_it_says_otherwise(tmp_path):
    world = told_world(tmp_path, closed_now())
    await world.start()
    await world.until(lambda: world.published() == 20)
    await asyncio.sleep(0.3)  # several looks at the feeds
    assert not is_silent(world)
    world.terminal.tell(ALWAYS)
    await world.until(lambda: is_silent(world))
    await world.stop()


async def test_where_the_terminal_names_no_session_the_configuration_holds(tmp_path):
    world = told_world(tmp_path, [])
    world.config["instruments"]["EURUSD"] = type(world.config["instruments"]["EURUSD"])(session="always")
    await world.start()
    await world.until(lambda: is_silent(world))
    await world.stop()
