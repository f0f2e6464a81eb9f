"""A run passes over steps at which nothing can happen; what is decided is what walking every step decides."""

from typing import Any

import msgspec
import numpy as np
import pytest

from backtest.engine import Engine
from backtest.record import Record
from backtest.wiring import build_cores
from libs.common.messages.control import TradingHalted
from libs.common.messages.market import TickBlock
from libs.common.messages.orders import OrderFilled, PositionClosed
from services.inference.strategies import Rows, Suggestions
from tests.unit.backtest.passing_world import START_NS, decided, quotes, run, sections

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


ALWAYS_IN: dict[str, Any] = {
    "system": {"symbols": ["EURUSD"], "seed": 3, "decide_on": {"kind": "tick", "every": 5}},
    "inference": {
        "strategy": {"name": "ma_crossover", "params": {"protection": {"stop": 0.05}}}, "drift": {"enabled": False},
    },
}
"""Only a crossing ends a position: its stop is out of reach."""


def test_a_netting_account_reverses_with_one_order_what_a_hedging_account_does_with_two() -> None:
    """Fills at the quote and a volume that is always the same: the trades must be the same."""
    always = {**msgspec.to_builtins(sections().risk), "max_order_lots": 0.01, "risk_per_trade_pct": 2.0}
    trades, orders = [], []
    for hedging in (True, False):
        terminal = {"hedging": hedging, "slippage": "none", "latency_ms": 0.0}
        configuration = sections(**ALWAYS_IN, risk=always, executor={"terminal": terminal})
        record, _ = run(configuration, [quotes(11, TICKS)], careful=False)
        closed = [message for message in record.of(PositionClosed) if isinstance(message, PositionClosed)]
        trades.append([(m.opened_ns, m.side, m.volume_lots, m.price_open, m.price_close, m.profit_ccy) for m in closed])
        orders.append(record.counts[OrderFilled.__name__])
    assert trades[0] == trades[1]
    assert len(trades[0]) > 10
    assert orders[1] < 0.6 * orders[0]


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


class BuyOnceSellLater:
    """Buys at one row and says nothing until it sells at another; its stop is out of reach."""

    needs: tuple[str, ...] = ()
    lookback = 0
    horizon_s = 0

    def __init__(self) -> None:
        self._seen = 0

    def decide(self, rows: Rows) -> Suggestions:
        at = np.arange(self._seen, self._seen + len(rows.bid))
        self._seen += len(rows.bid)
        side = np.where(at == 5, 1, np.where(at == 100, -1, 0)).astype(np.int8)
        far = np.full(len(side), 0.02)
        return Suggestions(side, far, np.zeros(len(side)), np.ones(len(side)))


@pytest.mark.parametrize("limit", [{"max_daily_loss_pct": 0.1}, {"max_drawdown_pct": 0.1}], ids=["day", "drawdown"])
def test_a_loss_that_comes_and_goes_between_two_suggestions_halts_all_the_same(limit: dict[str, float]) -> None:
    """Nothing of ours happens between the buy and the sell: only the account's snapshots see the dip."""
    n = 20_000
    points = np.full(n, 110_000.0)
    points[12_000:13_000] -= 700.0
    time_ns = START_NS + np.arange(n, dtype=np.int64) * 1_000_000_000
    block = TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=time_ns, bid=points / 1e5, ask=(points + 5) / 1e5,
        ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
    )
    halts = {}
    for careful in (True, False):
        configuration = sections(
            inference={"strategy": {"name": "once", "params": {}}, "drift": {"enabled": False}},
            risk={"max_spread_points": 1000.0, "max_daily_loss_pct": 50.0, "max_drawdown_pct": 50.0, **limit},
        )
        cores, record = build_cores(configuration, strategies={"once": BuyOnceSellLater}), Record()
        Engine(configuration, cores, record, careful=careful, equity_every_s=10**6).run([block])
        halts[careful] = decided(record)
        assert [type(message).__name__ for message in record.of(TradingHalted)] == ["TradingHalted"], careful
    assert halts[True] == halts[False]
