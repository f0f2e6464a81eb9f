"""A symbol that trades through the hour a broker's clock repeats: no tick is lost while nobody has noticed yet."""

from datetime import UTC, datetime

import numpy as np
import pytest

from libs.common.mt5.convert import OffsetHistory
from libs.common.mt5.paging import TickCursor
from services.ingest.adapters.mt5_feed import SymbolFeed
from services.ingest.config import LiveSettings
from tests.integration.ingest.live_world import FakeTerminal, rates

S = 1_000_000_000
TWO_HOURS_BEFORE = int(datetime(2024, 11, 3, 4, tzinfo=UTC).timestamp()) * S


class Sorted(FakeTerminal):
    """A terminal that keeps its ticks by its clock, where the fake's own order is that of arrival."""

    def _copy_ticks_from(self, symbol, date_from, count, _flags):
        shown = self.ticks[symbol][: self.shown[symbol]]
        shown = shown[np.argsort(shown["time_msc"], kind="stable")]
        return shown[shown["time"] >= date_from][:count].copy()


async def drain(feed, terminal):
    """Return (instant, bid) of everything there is to take."""
    found = []
    while True:
        taken = await feed.take(terminal, 0)
        if taken.raw is not None:
            found += zip(taken.raw.time_ns.tolist(), taken.raw.bid.tolist(), strict=True)
        if not taken.more:
            return found


def in_utc(rows):
    """Return (instant, bid) of ticks in order of arrival."""
    times = OffsetHistory(zone="NY+7").times(int(rows["time_msc"][0])).to_utc_ns(rows["time_msc"].astype(np.int64))
    assert (np.diff(times) >= 0).all()
    return list(zip(times.tolist(), rows["bid"].tolist(), strict=True))


def market_of(kind, seed):
    rows = rates(9_000, start_ns=TWO_HOURS_BEFORE, seed=seed, step_ms=4_000)
    [turned] = np.flatnonzero(np.diff(rows["time_msc"]) < 0) + 1
    return rows, int(turned), kind({"BTCUSD": rows})


def feed_of(rows, first_row):
    second_s = int(rows["time"][first_row])
    cursor = TickCursor(second_s)
    return SymbolFeed("BTCUSD", "BTCUSD", LiveSettings(page_ticks=500), OffsetHistory(zone="NY+7"), cursor, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [FakeTerminal, Sorted])
async def test_what_came_between_the_turn_and_its_being_noticed_is_taken_once(kind, seed):
    rows, turned, terminal = market_of(kind, seed)
    feed = feed_of(rows, 0)
    terminal.shown["BTCUSD"] = turned
    expected = in_utc(rows)
    found = await drain(feed, terminal)
    assert found == expected[:turned]
    for shown in (turned + 37, turned + 38, turned + 400):
        terminal.shown["BTCUSD"] = shown
        await feed.look_for_turned_clock(terminal)
        found += await drain(feed, terminal)
        assert found == expected[:shown]


async def test_where_reading_began_within_the_hour_nothing_of_the_first_pass_is_taken_again():
    rows, turned, terminal = market_of(FakeTerminal, 9)
    first = int(np.flatnonzero(rows["time_msc"] >= rows["time_msc"][turned - 1] - 1_200_000)[0])
    feed = feed_of(rows, first)
    terminal.shown["BTCUSD"] = turned
    before = await drain(feed, terminal)
    terminal.shown["BTCUSD"] = turned + 37
    await feed.look_for_turned_clock(terminal)
    after = await drain(feed, terminal)
    assert 0 < len(after) <= 37
    assert after == in_utc(rows)[turned + 37 - len(after) : turned + 37]
    assert len(before) <= turned - first + 20
