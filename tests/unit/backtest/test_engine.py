"""A run passes over steps at which nothing can happen; what is decided is what walking every step decides."""

from typing import Any

import pytest

from libs.common.messages.control import TradingHalted
from libs.common.messages.orders import OrderFilled, PositionClosed
from tests.unit.backtest.passing_world import decided, quotes, run, sections

HOURS = 8
TICKS = HOURS * 3_600
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "crossings with a stop and a target": {},
    "an order takes its time and slips": {
        "executor": {"terminal": {
            "latency_ms": 900.0, "latency_sigma": 0.5, "slippage": "half_normal", "slippage_points": 1.0,
        }},
    },
    "decided on ticks": {"system": {
        "symbols": ["EURUSD"], "seed": 3, "decide_on": {"kind": "tick", "every": 20},
    }},
    "decided by the clock": {"system": {
        "symbols": ["EURUSD"], "seed": 3, "decide_on": {"kind": "interval", "every": 7},
    }},
    "positions whose time is up": {"inference": {
        "strategy": {"name": "mean_reversion", "params": {
            "position": "bollinger_20", "protection": {"stop": 0.0003}, "horizon_s": 600,
        }},
        "drift": {"enabled": False},
    }},
    "a netting account": {"executor": {"terminal": {"hedging": False}}},
    "stops that follow the price": {"executor": {"trailing": {"distance": 0.5}, "break_even": {"after": 0.5}}},
    "a breakout": {"inference": {
        "strategy": {"name": "donchian_breakout", "params": {"protection": {"stop": 0.0004, "target": 0.0003}}},
        "drift": {"enabled": False},
    }},
}


@pytest.mark.parametrize("case", CASES)
def test_passing_over_steps_decides_what_walking_every_step_decides(case: str) -> None:
    configuration, blocks = sections(**CASES[case]), [quotes(11, TICKS)]
    quick, cores = run(configuration, blocks, careful=False)
    slow, careful_cores = run(configuration, blocks, careful=True)
    assert decided(quick) == decided(slow)
    assert quick.counts[OrderFilled.__name__] > 0
    assert quick.counts[PositionClosed.__name__] > 0
    assert cores.terminal.balance_ccy == careful_cores.terminal.balance_ccy
    assert cores.terminal.peak_equity_ccy == careful_cores.terminal.peak_equity_ccy
    assert cores.features.snapshot() == careful_cores.features.snapshot()


@pytest.mark.parametrize("flatten", [False, True])
def test_a_halt_on_a_loss_comes_at_the_very_snapshot_it_comes_at_when_every_step_is_walked(flatten: bool) -> None:
    limits = {"risk": {
        "on_opposite": "reverse", "max_spread_points": 1000.0, "max_daily_loss_pct": 0.4, "max_drawdown_pct": 0.6,
        "max_orders_per_minute": 10**6, "repeat_window_ms": 0, "flatten_on_halt": flatten,
    }}
    configuration, blocks = sections(**limits), [quotes(11, TICKS)]
    quick, _ = run(configuration, blocks, careful=False)
    slow, _ = run(configuration, blocks, careful=True)
    assert quick.counts[TradingHalted.__name__] == 1
    assert decided(quick) == decided(slow)


def test_passing_over_steps_says_far_less(record_of_both: tuple[int, int]) -> None:
    quick, slow = record_of_both
    assert quick * 4 < slow


@pytest.fixture(scope="module")
def record_of_both() -> tuple[int, int]:
    """Return how many account snapshots each way says."""
    blocks = [quotes(11, TICKS)]
    said = [run(sections(), blocks, careful=careful)[0].counts["AccountSnapshot"] for careful in (False, True)]
    return said[0], said[1]


def test_where_the_blocks_are_cut_changes_nothing() -> None:
    whole = quotes(5, 6_000)
    parts = [whole.part(0, 1), whole.part(1, 2_500), whole.part(2_500, 6_000)]
    once, _ = run(sections(), [whole], careful=False)
    cut, _ = run(sections(), parts, careful=False)
    # Steps are counted from the cuts, what happens in them is the same.
    assert [message for _, message in decided(once)] == [message for _, message in decided(cut)]
