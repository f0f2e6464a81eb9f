"""Whatever the broker's manners, the trades of a run explain every cent of its account."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtest.result import Result
from libs.common.messages.orders import OrderRefused, OrderRejected, PositionClosed
from tests.unit.backtest.backtest_world import run, sections

TERMINALS = st.fixed_dictionaries({
    "hedging": st.booleans(),
    "slippage": st.sampled_from(["none", "half_normal"]),
    "slippage_points": st.sampled_from([0.0, 3.0]),
    "latency_ms": st.sampled_from([0.0, 400.0]),
    "leverage": st.sampled_from([5.0, 100.0]),
})
RISKS = st.fixed_dictionaries({
    "on_opposite": st.sampled_from(["hold", "close", "reverse"]),
    "max_positions_per_symbol": st.sampled_from([1, 3]),
    "risk_per_trade_pct": st.sampled_from([0.3, 2.0]),
})
MANNERS = st.fixed_dictionaries({
    "system": st.fixed_dictionaries({"seed": st.integers(0, 50)}),
    "executor": st.fixed_dictionaries({"terminal": TERMINALS}),
    "risk": RISKS,
    "instruments": st.fixed_dictionaries({"EURUSD": st.fixed_dictionaries({
        "swap_long_points": st.sampled_from([0.0, -4.0]), "commission_per_lot_ccy": st.sampled_from([0.0, 3.5]),
    })}),
})


def explained(result: Result) -> float:
    """Return the equity that deposit, closed trades and open positions amount to."""
    done = sum(trade.net_ccy for trade in result.trades)
    return result.start_ccy + done + sum(held.net_ccy for held in result.still_open)


@given(manners=MANNERS, hours=st.sampled_from([7.0, 13.7, 30.0]))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_closed_trades_and_open_positions_together_are_the_change_of_equity(manners: dict[str, Any], hours: float) -> None:
    result = run(sections(manners, hours=hours))
    assert len(result.trades) == len(result.record.of(PositionClosed))
    assert explained(result) == pytest.approx(result.equity.equity[-1], abs=0.011 * (1 + len(result.still_open)))
    paid = result.start_ccy + sum(t.net_ccy for t in result.trades) + sum(o.commission_ccy for o in result.still_open)
    assert paid == pytest.approx(result.equity.balance[-1], abs=0.011 * (1 + len(result.still_open)))
    costs = result.costs
    assert costs.net_ccy == pytest.approx(sum(trade.net_ccy for trade in result.trades))
    assert costs.spread_ccy <= 0.0
    assert costs.gross_ccy + costs.spread_ccy + costs.slippage_ccy + costs.commission_ccy + costs.swap_ccy == pytest.approx(
        costs.net_ccy
    )
    for groups in result.groups.values():
        assert sum(group.net_ccy for group in groups) == pytest.approx(costs.net_ccy)
        assert sum(group.trades for group in groups) == len(result.trades)
    assert sum(one.count for one in result.refusals) == len(result.record.of(OrderRefused, OrderRejected))
    assert (np.diff(result.equity.time_ns) > 0).all()


def test_excursions_enclose_the_result_of_every_trade() -> None:
    result = run(sections(hours=24.0))
    assert len(result.trades) > 50
    for trade in result.trades:
        assert trade.mae_points is not None
        assert trade.mfe_points is not None
        moved = trade.side.sign * (trade.price_close - trade.price_open) / 1e-5
        assert -trade.mae_points - 0.1 <= moved <= trade.mfe_points + 0.1


def test_walking_every_step_gives_the_same_trades_and_the_same_figures() -> None:
    fast, careful = run(sections(hours=6.0)), run(sections(hours=6.0), careful=True)
    assert fast.trades == careful.trades
    assert fast.data_sha256 == careful.data_sha256
    assert fast.summary.return_pct == careful.summary.return_pct
    assert fast.summary.sharpe == careful.summary.sharpe


def test_two_symbols_are_one_account_and_their_books_balance_too() -> None:
    both = sections(hours=4.0, symbols=("EURUSD", "XAUUSD"))
    result = run(both)
    assert {trade.symbol for trade in result.trades} == {"EURUSD", "XAUUSD"}
    assert explained(result) == pytest.approx(result.equity.equity[-1], abs=0.03)
    assert all(trade.spread_ccy < 0.0 for trade in result.trades)
