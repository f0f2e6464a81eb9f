"""The market moves while a program watches: by its calls and sleeps, in order of time, the same every time."""

import numpy as np
import pytest

from libs.common.messages.market import TickBlock
from libs.common.mt5.sim.drop_in import drop_in
from libs.common.mt5.sim.played_market import CALL_NS, PlayedMarket, PlayedPort, StepClock

SECOND_NS = 1_000_000_000
START_NS = 1_398_938_400 * SECOND_NS


def blocks(symbol, seconds, price, size=7):
    """Yield a symbol's ticks at these seconds, a few at a time."""
    for begin in range(0, len(seconds), size):
        at = START_NS + np.asarray(seconds[begin : begin + size]) * SECOND_NS
        bid = price + np.arange(begin, begin + len(at)) * 1e-5
        yield TickBlock(
            symbol=symbol, first_tick=begin + 1, time_ns=at, bid=bid, ask=bid + 1e-4, ts_event_ns=int(at[-1]), ts_init_ns=0
        )


@pytest.fixture
def desk(market):
    return market(("EURUSD", "GBPUSD"))


def played(desk, **seconds):
    prices = {"EURUSD": 1.1, "GBPUSD": 1.6}
    return PlayedMarket(desk.terminal, {symbol: blocks(symbol, at, prices[symbol]) for symbol, at in seconds.items()})


def test_only_what_has_happened_is_seen(desk) -> None:
    market = played(desk, EURUSD=range(100))
    market.advance_to(START_NS + 10 * SECOND_NS)
    assert desk.terminal.symbol_info_tick("EURUSD").bid == pytest.approx(1.1001)
    assert market.next_ns == START_NS + 11 * SECOND_NS
    market.advance_to(START_NS + 10 * SECOND_NS)
    market.advance_to(START_NS + 5 * SECOND_NS)
    assert desk.terminal.clock_ns == START_NS + 10 * SECOND_NS


def test_symbols_are_played_in_order_of_time_while_something_is_open(desk) -> None:
    market = played(desk, EURUSD=range(0, 40, 2), GBPUSD=range(1, 41, 2))
    market.advance_to(START_NS + SECOND_NS)
    desk.buy()
    seen = []
    advance = desk.terminal.advance

    def told(block):
        seen.append((block.symbol, [int(at) // SECOND_NS - START_NS // SECOND_NS for at in block.time_ns]))
        return advance(block)

    desk.terminal.advance = told
    market.advance_to(START_NS + 5 * SECOND_NS)
    assert seen == [("EURUSD", [2]), ("GBPUSD", [3]), ("EURUSD", [4]), ("GBPUSD", [5])]


def test_the_order_does_not_show_where_nothing_is_open(market) -> None:
    whole, stepped = market(("EURUSD", "GBPUSD")), market(("EURUSD", "GBPUSD"))
    seconds = {"EURUSD": range(0, 172_800, 500), "GBPUSD": range(3, 172_800, 700)}
    one, other = played(whole, **seconds), played(stepped, **seconds)
    one.advance_to(START_NS + 172_800 * SECOND_NS)
    for second in range(0, 172_801, 50):
        other.advance_to(START_NS + second * SECOND_NS)
    assert whole.terminal.snapshot() == stepped.terminal.snapshot()


def test_every_call_takes_its_time_and_sleeping_the_rest(desk) -> None:
    clock = StepClock(START_NS)
    mt5 = drop_in(PlayedPort(played(desk, EURUSD=range(1, 100)), clock.call_ns))
    assert mt5.initialize()
    assert mt5.symbol_info_tick("EURUSD") is None
    assert clock.now_ns == START_NS + 2 * CALL_NS
    clock.sleep(30.0)
    clock.sleep(-5.0)
    assert mt5.symbol_info_tick("EURUSD").bid == pytest.approx(1.1 + 29e-5)
    assert mt5.symbol_info(5) is None
    assert clock.now_ns == START_NS + 30 * SECOND_NS + 3 * CALL_NS


def test_a_market_without_ticks_left_is_over(desk) -> None:
    over = []
    clock = StepClock(START_NS)
    mt5 = drop_in(PlayedPort(played(desk, EURUSD=range(3)), clock.call_ns, lambda: over.append(clock.now_ns)))
    mt5.initialize()
    clock.sleep(2.0)
    assert mt5.symbol_info_tick("EURUSD") is not None
    assert not over
    assert mt5.symbol_info_tick("EURUSD") is not None
    assert len(over) == 1
    assert PlayedMarket(desk.terminal, {}).over
