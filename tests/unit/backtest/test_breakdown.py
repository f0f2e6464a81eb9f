"""Where a result comes from, and what was refused."""

import msgspec
import pytest

from backtest.breakdown import breakdowns, costs_of, refusals_of
from backtest.trades import fold_trades
from libs.common.messages.orders import OrderRefused, OrderRejected, RefusalReason
from tests.unit.backtest.backtest_world import HOUR, INSTRUMENTS, NOON, closed


def trades(*nets: float):
    messages = [
        closed(NOON + k * HOUR, k, opened=NOON + k * HOUR, profit=net + 1.0, commission=-1.0)
        for k, net in enumerate(nets)
    ]
    return fold_trades(messages, INSTRUMENTS, "USD").trades


def test_costs_lead_from_mid_prices_to_what_is_left():
    some = [
        msgspec.structs.replace(trade, spread_ccy=-2.0, slippage_ccy=-0.5, swap_ccy=0.25)
        for trade in trades(10.0, -4.0)
    ]
    costs = costs_of(some)
    assert costs.gross_ccy == 8.0 + 2 * 2.5
    assert costs.net_ccy == pytest.approx(sum(trade.net_ccy for trade in some))
    assert costs.net_ccy == pytest.approx(
        costs.gross_ccy + costs.spread_ccy + costs.slippage_ccy + costs.commission_ccy + costs.swap_ccy
    )


def test_no_trade_costs_nothing():
    assert costs_of([]).net_ccy == 0.0


def test_every_kind_of_group_holds_every_trade_once():
    some = trades(3.0, -1.0, 2.0, -5.0, 4.0, 1.0)
    for groups in breakdowns(some).values():
        assert sum(group.trades for group in groups) == len(some)
        assert sum(group.net_ccy for group in groups) == pytest.approx(4.0)
    first = breakdowns(some)["session"][0]
    assert (first.name, first.trades, first.win_rate) == ("London + New York", 4, 0.5)


def refused(reason: RefusalReason, observed: float) -> OrderRefused:
    return OrderRefused(
        ts_event_ns=NOON, ts_init_ns=NOON, account="paper", symbol="EURUSD", reason=reason, observed=observed, limit=30.0
    )


def test_refusals_are_counted_by_reason_with_what_was_seen_and_allowed():
    rejected = OrderRejected(
        ts_event_ns=NOON, ts_init_ns=NOON, order_id="a", account="paper", symbol="EURUSD", retcode=10_016,
        reason="Invalid stops",
    )
    wide, broker = refusals_of([refused(RefusalReason.SPREAD_TOO_WIDE, value) for value in (40.0, 50.0, 90.0)] + [rejected])
    assert (wide.by, wide.reason, wide.count, wide.observed, wide.limit) == ("risk", "spread_too_wide", 3, 50.0, 30.0)
    assert (broker.by, broker.reason, broker.observed) == ("broker", "Invalid stops", None)
