"""Bars and ticks of the simulated terminal: right, bounded, the same however the ticks were cut, and off by default."""

import datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SimulatedTerminal, TerminalSettings
from libs.common.mt5.sim.bar_series import RATES
from libs.common.mt5.sim.columns import Columns
from libs.common.mt5.sim.tick_history import TICKS, TickHistory
from libs.common.mt5.sim.timeframes import TIMEFRAMES
from libs.common.trading.instrument import Instrument

SECOND_NS = 1_000_000_000
SUNDAY_NIGHT_NS = 1_391_378_400 * SECOND_NS  # 2014-02-02 22:00 UTC: midnight of the server's Monday
EVER = 2**31 - 1


def terminal(history: TickHistory | None, server_zone: str = "NY+7") -> SimulatedTerminal:
    instruments = {"EURUSD": Instrument("EURUSD", InstrumentConfig())}
    return SimulatedTerminal(TerminalSettings(server_zone=server_zone), instruments, 1, history)


def block(time_ns, bid, spread_points=10, **columns) -> TickBlock:
    bid = np.asarray(bid, dtype=np.float64)
    return TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=np.asarray(time_ns, dtype=np.int64), bid=bid,
        ask=np.round(bid + spread_points * 1e-5, 5), ts_event_ns=int(time_ns[-1]), ts_init_ns=0, **columns,
    )  # fmt: skip


def walk(n, seed=1, step_s=20.0, start_ns=SUNDAY_NIGHT_NS):
    """Return times and bids of a random walk."""
    random = np.random.default_rng(seed)
    time_ns = start_ns + np.cumsum(random.exponential(step_s, n) * SECOND_NS).astype(np.int64)
    return time_ns, np.round(1.1 + np.cumsum(random.normal(0, 3e-5, n)), 5)


def begins(timeframe: int, server_s: int) -> int:
    """Return where the bar of a server time begins, in words instead of arithmetic."""
    moment = datetime.datetime.fromtimestamp(server_s, datetime.UTC)
    midnight = moment.replace(hour=0, minute=0, second=0)
    if timeframe == mt5.TIMEFRAME_MN1:
        return int(midnight.replace(day=1).timestamp())
    if timeframe == mt5.TIMEFRAME_W1:
        return int((midnight - datetime.timedelta(days=(moment.weekday() + 1) % 7)).timestamp())
    length_s = TIMEFRAMES[timeframe].length_s
    return int(midnight.timestamp()) + (server_s - int(midnight.timestamp())) // length_s * length_s


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_bars_are_those_of_a_plain_loop(timeframe) -> None:
    sim = terminal(TickHistory())
    time_ns, bid = walk(40_000, step_s=60.0)
    sim.advance(block(time_ns, bid))
    ticks = sim.copy_ticks_range("EURUSD", 1, EVER, mt5.COPY_TICKS_ALL)
    wanted: dict[int, list] = {}
    for tick in ticks:
        price = float(tick["bid"])
        bar = wanted.setdefault(begins(timeframe, int(tick["time"])), [price, price, price, price, 0])
        bar[1], bar[2], bar[3], bar[4] = max(bar[1], price), min(bar[2], price), price, bar[4] + 1
    found = sim.copy_rates_range("EURUSD", timeframe, 1, EVER)
    names = ("open", "high", "low", "close", "tick_volume")
    assert [(int(bar["time"]), [float(bar[name]) for name in names]) for bar in found] == list(wanted.items())
    assert set(found["spread"]) == {10}


def test_there_are_the_packages_21_timeframes() -> None:
    names = {value for name, value in mt5.PACKAGE_CONSTANTS.items() if name.startswith("TIMEFRAME_")}
    assert set(TIMEFRAMES) == names
    assert len(names) == 21


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 1_999), max_size=6, unique=True), asked=st.lists(st.booleans(), min_size=7, max_size=7))
def test_history_is_the_same_however_ticks_are_cut_and_whenever_it_is_asked_for(cuts, asked) -> None:
    time_ns, bid = walk(2_000)
    last = np.where(np.arange(2_000) % 3 == 0, bid, 0.0)
    volume = (np.arange(2_000) % 5).astype(np.float64)
    whole, parts = terminal(TickHistory()), terminal(TickHistory())
    whole.advance(block(time_ns, bid, last=last, volume=volume))
    edges = [0, *sorted(cuts), 2_000]
    for (start, stop), ask in zip(pairwise(edges), asked, strict=False):
        part = slice(start, stop)
        parts.advance(block(time_ns[part], bid[part], last=last[part], volume=volume[part]))
        if ask:
            parts.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M5, 0, 3)
    for timeframe in (mt5.TIMEFRAME_M1, mt5.TIMEFRAME_M5, mt5.TIMEFRAME_H1):
        one, other = (sim.copy_rates_range("EURUSD", timeframe, 1, EVER) for sim in (whole, parts))
        assert one.tobytes() == other.tobytes()
        assert one["real_volume"].sum() == volume.sum()
    one, other = (sim.copy_ticks_range("EURUSD", 1, EVER, mt5.COPY_TICKS_ALL) for sim in (whole, parts))
    assert one.tobytes() == other.tobytes()


def test_positions_count_back_from_the_forming_bar() -> None:
    sim = terminal(TickHistory())
    sim.advance(block(*walk(500)))
    everything = sim.copy_rates_range("EURUSD", mt5.TIMEFRAME_M1, 1, EVER)
    n = len(everything)
    ask = sim.copy_rates_from_pos
    assert ask("EURUSD", mt5.TIMEFRAME_M1, 0, 3).tolist() == everything[-3:].tolist()
    assert ask("EURUSD", mt5.TIMEFRAME_M1, 2, 3).tolist() == everything[-5:-2].tolist()
    assert ask("EURUSD", mt5.TIMEFRAME_M1, 0, n + 50).tolist() == everything.tolist()
    assert ask("EURUSD", mt5.TIMEFRAME_M1, n, 1) is None
    assert sim.last_error() == (-1, "Terminal: Call failed")
    date = int(everything["time"][7])
    before = sim.copy_rates_from("EURUSD", mt5.TIMEFRAME_M1, date, 3)
    assert before.tolist() == everything[5:8].tolist()
    assert sim.copy_rates_from("EURUSD", mt5.TIMEFRAME_M1, EVER, 1).tolist() == everything[-1:].tolist()
    assert sim.copy_rates_from("EURUSD", mt5.TIMEFRAME_M1, 1, 1) is None


def test_answers_are_copies_that_later_ticks_do_not_change() -> None:
    sim = terminal(TickHistory())
    time_ns, bid = walk(300)
    sim.advance(block(time_ns[:200], bid[:200]))
    ticks, rates = (
        sim.copy_ticks_range("EURUSD", 1, EVER, mt5.COPY_TICKS_ALL),
        sim.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 20),
    )  # fmt: skip
    before = ticks.tobytes(), rates.tobytes()
    sim.advance(block(time_ns[200:], bid[200:]))
    assert (ticks.tobytes(), rates.tobytes()) == before


def test_flags_say_what_changed_and_choices_filter_by_them() -> None:
    sim = terminal(TickHistory())
    at = SUNDAY_NIGHT_NS + np.arange(5) * SECOND_NS
    bid, ask = np.array([1.1, 1.1, 1.2, 1.2, 1.2]), np.array([1.3, 1.31, 1.31, 1.31, 1.31])
    ticks = TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=at, bid=bid, ask=ask, last=np.array([0.0, 0.0, 0.0, 1.25, 1.25]),
        volume=np.array([0.0, 0.0, 0.0, 2.0, 2.0]), ts_event_ns=int(at[-1]), ts_init_ns=0,
    )  # fmt: skip
    sim.advance(ticks)
    found = {
        name: sim.copy_ticks_range("EURUSD", 1, EVER, choice)["flags"].tolist()
        for name, choice in (("all", mt5.COPY_TICKS_ALL), ("info", mt5.COPY_TICKS_INFO), ("trade", mt5.COPY_TICKS_TRADE))
    }
    # The last tick repeats everything: a quote that was sent again.
    assert found == {"all": [6, 4, 2, 24, 6], "info": [6, 4, 2, 6], "trade": [24]}
    assert sim.copy_ticks_from("EURUSD", 1, 2, mt5.COPY_TICKS_INFO)["flags"].tolist() == [6, 4]
    assert sim.copy_ticks_from("EURUSD", 1, 2, 77) is None
    assert sim.last_error() == (-2, "Terminal: Invalid params")
    assert sim.symbol_info_tick("EURUSD").last == 1.25


def test_times_are_the_servers_clock_across_daylight_saving() -> None:
    sim = terminal(TickHistory())
    before_ns = 1_394_226_000 * SECOND_NS  # Friday 2014-03-07 21:00 UTC; New York's summer begins on the 9th
    sim.advance(block([before_ns, before_ns + 72 * 3_600 * SECOND_NS], [1.1, 1.2]))
    ticks = sim.copy_ticks_range("EURUSD", 1, EVER, mt5.COPY_TICKS_ALL)
    assert (ticks["time"] - [before_ns // SECOND_NS, before_ns // SECOND_NS + 72 * 3_600]).tolist() == [7_200, 10_800]


def test_without_a_history_the_terminal_keeps_nothing_and_says_so() -> None:
    sim = terminal(None)
    sim.advance(block(*walk(10)))
    assert sim.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 1) is None
    assert sim.last_error() == (-1, "Terminal: Call failed")
    assert sim.copy_ticks_from("EURUSD", 1, 1, mt5.COPY_TICKS_ALL) is None
    assert sim.symbol_info_tick("EURUSD").bid > 0.0


def test_old_ticks_are_forgotten_and_bars_already_asked_for_stay() -> None:
    sim = terminal(TickHistory(ticks_kept=1_000, bars_kept=50))
    time_ns, bid = walk(5_000)
    for start in range(0, 5_000, 100):
        part = slice(start, start + 100)
        sim.advance(block(time_ns[part], bid[part]))
        sim.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M15, 0, 1)
    kept = sim.copy_ticks_range("EURUSD", 1, EVER, mt5.COPY_TICKS_ALL)
    assert 1_000 <= len(kept) <= 1_250
    assert float(kept["bid"][-1]) == bid[-1]
    bars = sim.copy_rates_range("EURUSD", mt5.TIMEFRAME_M15, 1, EVER)
    assert 50 <= len(bars) <= 64
    assert int(bars["time"][0]) < int(kept["time"][0])
    whole = terminal(TickHistory())
    whole.advance(block(time_ns, bid))
    assert bars.tolist() == whole.copy_rates_range("EURUSD", mt5.TIMEFRAME_M15, 1, EVER)[-len(bars) :].tolist()
    assert sim.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 51) is None
    assert (sim.last_error()[0], sim.terminal_info().maxbars) == (-2, 50)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=20), limit=st.integers(1, 30))
def test_columns_keep_the_newest_rows_and_count_the_forgotten(sizes, limit) -> None:
    columns, everything = Columns(np.int64, limit), []
    for size in sizes:
        rows = np.arange(len(everything), len(everything) + size)
        columns.add(rows)
        everything += rows.tolist()
        assert columns.forgotten + len(columns) == len(everything)
        assert columns.rows.tolist() == everything[columns.forgotten :]
        assert min(limit, len(everything)) <= len(columns) <= limit + limit // 4


def test_rows_are_packed_into_60_bytes() -> None:
    assert (RATES.itemsize, TICKS.itemsize) == (60, 60)


def test_the_book_is_the_servers_own_and_dearest_first(market) -> None:
    from libs.common.mt5.sim.settings import SymbolTerms

    desk = market(symbols=("EURUSD",), **{"balance_ccy": 1e6})
    assert desk.terminal.market_book_add("EURUSD") is False
    instruments = {"EURUSD": Instrument("EURUSD", InstrumentConfig())}
    sim = SimulatedTerminal(
        TerminalSettings(balance_ccy=1e6, symbols={"EURUSD": SymbolTerms(depth_lots=(1.0, 2.0))}), instruments, 1
    )
    sim.advance(block([SUNDAY_NIGHT_NS + 3_600 * SECOND_NS], [1.1]))
    assert sim.market_book_get("EURUSD") is None
    assert sim.market_book_add("EURUSD") is True
    lines = [(line.type, line.price, line.volume_dbl) for line in sim.market_book_get("EURUSD")]
    assert lines == [(1, 1.10011, 2.0), (1, 1.1001, 1.0), (2, 1.1, 1.0), (2, 1.09999, 2.0)]
    assert sim.market_book_release("EURUSD") is True
    assert sim.market_book_release("EURUSD") is False
