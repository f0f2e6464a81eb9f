"""The desk of the simulated terminal says of account and positions what the package would have it say."""

import numpy as np
import pytest

from libs.common.messages.market import Side, TickBlock
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from services.executor.desk import SimulatedDesk, account_record, position_record
from services.executor.requests import market_order
from tests.unit.executor.executor_world import INSTRUMENTS, NOON, S


def quote(n: int, bid: float) -> TickBlock:
    ts_ns = NOON + n * S + 123_456
    return TickBlock(
        ts_event_ns=ts_ns, ts_init_ns=0, symbol="EURUSD", first_tick=n + 1, time_ns=np.array([ts_ns]), bid=np.array([bid]),
        ask=np.array([bid + 0.0001]),
    )


@pytest.mark.parametrize("hedging", [True, False])
@pytest.mark.parametrize("zone", ["NY+7", "EET", "UTC+3"])
def test_account_and_positions_are_those_of_the_package(hedging: bool, zone: str) -> None:
    settings = TerminalSettings(hedging=hedging, server_zone=zone, leverage=33.4, credit_ccy=50.0, slippage="none")
    terminal = SimulatedTerminal(settings, INSTRUMENTS, 1)
    desk = SimulatedDesk(terminal)
    for n, bid in enumerate((1.1, 1.1002, 1.0997)):
        desk.advance(quote(n, bid), 0)
        side = Side.BUY if n % 2 == 0 else Side.SELL
        request = market_order(
            order_id="ab" * 12, magic=7 + n, symbol="EURUSD", side=side, volume_lots=0.1 + n / 10.0, price=bid, sl=0.0,
            tp=0.0, deviation_points=50, filling="ioc",
        )
        desk.send(f"{n}", request, NOON + n * S)
        assert desk.account(NOON) == account_record(
            terminal.account_info(), NOON, terminal.day_start_equity_ccy, terminal.peak_equity_ccy
        )
        assert desk.positions() == tuple(
            position_record(held, terminal.utc_ns(held.time_msc)) for held in terminal.positions_get()
        )
        assert len(desk.positions()) == (n + 1 if hedging else 1)
