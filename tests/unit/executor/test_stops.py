"""Break-even and trailing on one quote."""

from typing import Any

import pytest

from libs.common.config import InstrumentConfig
from libs.common.messages.market import Side
from libs.common.trading.instrument import Instrument
from services.executor.stops import BreakEven, Protected, Trailing, better_stop

EURUSD = Instrument("EURUSD", InstrumentConfig())
FAR = Instrument("EURUSD", InstrumentConfig(stops_level_points=60))
BUY = Protected(Side.BUY, 1.10000, 1.09900, 0.001)
SELL = Protected(Side.SELL, 1.10000, 1.10100, 0.001)


def moved(
    position: Protected, close: float, break_even: Any = None, trailing: Any = None, instrument: Instrument = EURUSD
) -> tuple[float, str] | None:
    """Return the rules' answer when the position would close at this price."""
    bid, ask = (close, close + 0.0001) if position.side is Side.BUY else (close - 0.0001, close)
    return better_stop(position, bid, ask, instrument, break_even, trailing)


def test_without_rules_nothing_moves() -> None:
    assert moved(BUY, 1.2) is None


@pytest.mark.parametrize(("position", "close", "expected"), [
    (BUY, 1.10099, None),
    (BUY, 1.10100, (1.10005, "break_even")),
    (SELL, 1.09901, None),
    (SELL, 1.09900, (1.09995, "break_even")),
])
def test_break_even_triggers_exactly_at_its_multiple(position: Protected, close: float, expected: Any) -> None:
    assert moved(position, close, BreakEven(after=1.0, offset_points=5)) == expected


def test_break_even_needs_an_initial_stop() -> None:
    assert moved(Protected(Side.BUY, 1.1, 0.0, 0.0), 1.2, BreakEven()) is None


def test_a_stop_that_is_already_better_stays() -> None:
    assert moved(BUY._replace(sl=1.1001), 1.102, BreakEven()) is None


@pytest.mark.parametrize(("position", "close", "expected"), [
    (BUY, 1.10000, None),
    (BUY, 1.10050, (1.09950, "trailing")),
    (SELL, 1.09950, (1.10050, "trailing")),
])
def test_trailing_keeps_its_distance(position: Protected, close: float, expected: Any) -> None:
    assert moved(position, close, trailing=Trailing(distance=1.0)) == expected


def test_trailing_begins_at_its_profit() -> None:
    rule = Trailing(distance=30, after=40, unit="points")
    assert moved(BUY, 1.10039, trailing=rule) is None
    assert moved(BUY, 1.10040, trailing=rule) == (1.10010, "trailing")


def test_trailing_moves_in_steps() -> None:
    rule = Trailing(distance=100, unit="points", step_points=20)
    assert moved(BUY, 1.10019, trailing=rule) is None
    assert moved(BUY, 1.10020, trailing=rule) == (1.09920, "trailing")


def test_trailing_gives_a_position_without_a_stop_its_first_one() -> None:
    bare = Protected(Side.SELL, 1.1, 0.0, 0.0)
    assert moved(bare, 1.1, trailing=Trailing(distance=50, unit="points")) == (1.10050, "trailing")


def test_the_more_protective_rule_wins() -> None:
    both = {"break_even": BreakEven(after=0.5), "trailing": Trailing(distance=0.5)}
    assert moved(BUY, 1.10100, **both) == (1.10050, "trailing")
    assert moved(BUY, 1.10050, **both) == (1.10000, "break_even")


def test_no_stop_comes_nearer_than_the_stops_level() -> None:
    rule = Trailing(distance=10, unit="points")
    assert moved(BUY, 1.10100, trailing=rule, instrument=FAR) == (1.10040, "trailing")
    assert moved(SELL, 1.09900, trailing=rule, instrument=FAR) == (1.09960, "trailing")
