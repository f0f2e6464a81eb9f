"""The simulated package with a terminal: the connection's life, what breaks it, and what it shapes."""

from typing import Any

import numpy as np
import pytest

from libs.common.mt5 import results
from libs.common.mt5.sim.drop_in import drop_in
from libs.common.mt5.sim.groups import in_group
from libs.common.mt5.sim.package import FUNCTIONS, QUESTIONS, Package
from libs.common.mt5.sim.package_types import TYPES, as_package_type
from libs.common.mt5.sim.port import (
    RECEIVE_FAILED,
    SEND_FAILED,
    TRADING_DISABLED,
    ConnectOptions,
    InProcessPort,
    LastError,
    PipeBroken,
)


@pytest.fixture
def desk(market):
    desk = market(("EURUSD", "GBPUSD", "USDJPY"))
    desk.ticks((1.1000, 1.1002))
    return desk


@pytest.fixture
def mt5(desk):
    module = drop_in(desk.terminal)
    assert module.initialize()
    return module


class Breaking(InProcessPort):
    """A pipe that breaks, or answers for a terminal that will not."""

    def __init__(self, terminal: Any) -> None:
        super().__init__(terminal)
        self.breaks: LastError | None = None
        self.says: LastError | None = None
        self.closed = 0
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        self.asked.append((function, arguments, named))
        if self.breaks is not None:
            raise PipeBroken(self.breaks)
        if self.says is not None:
            return None, self.says
        return super().ask(function, *arguments, **named)

    def close(self) -> None:
        self.closed += 1


def test_initialize_reads_its_options_and_the_terminal_decides(mt5) -> None:
    assert mt5.initialize("C:/mt5/terminal64.exe", login=1_000_001, password="x", server="Tickwire-Simulated")
    assert mt5.initialize(path="C:/mt5", timeout=5_000, portable=True)
    assert mt5.initialize(login=5) is False
    assert mt5.last_error() == (-6, "Terminal: Authorization failed")
    assert mt5.account_info() is None
    assert mt5.last_error() == (-10004, "No IPC connection")
    assert mt5.initialize("a", "b") is False
    assert mt5.last_error() == (-2, "Invalid number of arguments")
    assert mt5.initialize(server=5) is False
    assert mt5.last_error() == (-2, 'Invalid "server" argument')


def test_login_over_an_open_connection_changes_nothing_when_it_is_refused(mt5) -> None:
    assert mt5.login(1_000_001, "any", "Tickwire-Simulated") is True
    assert mt5.login(1_000_001, server="Other") is False
    assert mt5.last_error()[0] == -6
    assert mt5.account_info().login == 1_000_001


def test_a_broken_pipe_is_told_once_and_then_there_is_no_connection(desk) -> None:
    port = Breaking(desk.terminal)
    package = Package(port)
    package.initialize()
    port.breaks = RECEIVE_FAILED
    assert package.order_send({"action": 1}) is None
    assert package.last_error() == (-10002, "IPC recv failed")
    assert not package.connected
    port.breaks = None
    assert package.order_send({"action": 1}) is None
    assert package.last_error() == (-10004, "No IPC connection")
    assert package.version() == (0, 0, "")
    assert package.initialize() is True
    port.breaks = SEND_FAILED
    assert package.symbol_select("EURUSD") is False
    assert package.last_error() == (-10001, "IPC send failed")


def test_the_terminals_error_is_passed_on(desk) -> None:
    port = Breaking(desk.terminal)
    package = Package(port)
    package.initialize()
    port.says = TRADING_DISABLED
    assert package.order_send({"action": 1}) is None
    assert package.last_error()[0] == -8
    assert package.version() == (0, 0, "")


def test_initialize_and_shutdown_close_what_is_open(desk) -> None:
    port = Breaking(desk.terminal)
    package = Package(port)
    package.initialize()
    package.initialize()
    package.shutdown()
    package.shutdown()
    assert port.closed == 2


def test_what_goes_through_the_pipe_is_of_the_right_types_and_named_in_the_table(desk) -> None:
    port = Breaking(desk.terminal)
    package = Package(port)
    package.initialize()
    package.copy_ticks_from("EURUSD", 1_398_938_400.7, np.int64(5), -1)
    package.positions_get(ticket=True, symbol="EURUSD")
    package.history_deals_get(1, 2, group="*USD")
    package.order_send(volume=np.float64(0.5), action=True)
    (ticks, positions, history, sent) = port.asked
    assert ticks == ("copy_ticks_from", ("EURUSD", 1_398_938_400, 5, -1), {})
    assert positions == ("positions_get", (), {"ticket": 1})
    assert history == ("history_deals_get", (1, 2), {})
    assert (type(sent[1][0]["volume"]), type(sent[1][0]["action"])) == (float, int)
    assert {function for function, _, _ in port.asked} <= QUESTIONS
    for name in QUESTIONS:
        assert callable(getattr(desk.terminal, name))


def test_a_date_that_overflows_raises_after_the_terminal_was_asked(desk) -> None:
    port = Breaking(desk.terminal)
    package = Package(port)
    package.initialize()
    with pytest.raises(SystemError) as caught:
        package.copy_rates_from("EURUSD", 1, 2**31, 5)
    assert isinstance(caught.value.__cause__, OverflowError)
    assert port.asked[0][1] == ("EURUSD", 1, -1, 5)


def test_every_answer_has_the_packages_type(desk, mt5) -> None:
    desk.buy(sl=1.0)
    desk.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0)
    assert type(mt5.account_info()) is mt5.AccountInfo
    assert type(mt5.terminal_info()) is mt5.TerminalInfo
    assert type(mt5.symbol_info("EURUSD")) is mt5.SymbolInfo
    assert type(mt5.symbol_info_tick("EURUSD")) is mt5.Tick
    assert {type(one) for one in mt5.symbols_get()} == {mt5.SymbolInfo}
    assert [type(one) for one in mt5.positions_get()] == [mt5.TradePosition]
    assert [type(one) for one in mt5.orders_get()] == [mt5.TradeOrder]
    assert [type(one) for one in mt5.history_deals_get(1, 2**31 - 1)] == [mt5.TradeDeal]
    checked = mt5.order_check({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0})
    assert (type(checked), type(checked.request)) == (mt5.OrderCheckResult, mt5.TradeRequest)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_our_records_and_the_packages_types_have_the_same_values(name) -> None:
    record = getattr(results, name)()
    shaped = as_package_type(record)
    assert tuple(shaped)[:-1] == tuple(record)[:-1]
    assert type(shaped) is TYPES[name]


def test_a_symbol_out_of_market_watch_has_no_tick_until_it_is_back(desk, mt5) -> None:
    assert mt5.symbol_select("EURUSD", False) is True
    assert mt5.symbol_info("EURUSD").visible is False
    assert mt5.symbol_info_tick("EURUSD") is None
    assert mt5.symbol_select("EURUSD") is True
    assert mt5.symbol_info_tick("EURUSD").bid == 1.1
    desk.buy()
    assert mt5.symbol_select("EURUSD", False) is False
    assert mt5.last_error() == (-1, "Terminal: Call failed")


@pytest.mark.parametrize(("group", "inside"), [
    ("*", True), ("EURUSD", True), ("eur*", True), ("*USD", True), ("*R*S*", True), ("GBP*", False), ("", False),
    ("*,!EUR*", False), ("!EUR*,*", True), ("GBP*, EUR*", True), ("EURUS?", False), ("[E]URUSD", False), ("!*", False),
])  # fmt: skip
def test_masks_know_only_stars_and_exclusions_in_their_order(group, inside) -> None:
    assert in_group("EURUSD", group) is inside


def test_groups_filter_after_everything_was_fetched(mt5) -> None:
    assert [symbol.name for symbol in mt5.symbols_get(group="*USD,!GBP*")] == ["EURUSD"]
    assert [symbol.name for symbol in mt5.symbols_get("*jpy")] == ["USDJPY"]
    assert mt5.symbols_total() == 3


def test_close_tells_partially_when_some_positions_stay(desk, mt5) -> None:
    desk.buy()
    desk.buy()
    refuse, send = iter((True, False)), mt5.order_send
    package = desk.terminal
    port = Breaking(package)
    partial = Package(port)
    partial.initialize()
    partial.order_send = lambda request: send(  # type: ignore[method-assign]
        {**request, "volume": 0.0} if next(refuse) else request
    )
    assert partial.Close("EURUSD") == "Partially"
    assert partial.Close("GBPUSD") is False


def test_buy_tries_again_while_the_price_moves(desk) -> None:
    package = Package(InProcessPort(desk.terminal))
    package.initialize()
    told: list[float] = []

    def requote(request: dict[str, Any]) -> Any:
        told.append(request["price"])
        return TYPES["OrderSendResult"]((10004, *[0] * 10))

    package.order_send = requote  # type: ignore[method-assign]
    assert package.Buy("EURUSD", 0.1).retcode == 10004
    assert told == [1.1002] * 10
    assert package.Sell("EURUSD", 0.1, 1.09).retcode == 10004
    assert told[10:] == [1.09]


def test_the_table_names_every_function_once() -> None:
    assert len(FUNCTIONS) == 35
    assert set(FUNCTIONS) - {"initialize", "login", "shutdown", "last_error", "Buy", "Sell", "Close"} == QUESTIONS
    assert ConnectOptions().timeout_ms == 60_000
