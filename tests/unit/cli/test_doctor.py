"""The doctor names what is wrong and how to mend it."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from libs.common.config import InstrumentConfig, Mt5Config
from libs.common.mt5.results import AccountInfo, SymbolInfo, TerminalInfo, Tick
from tickwire.doctor_checks import (
    check_account,
    check_clock,
    check_symbol,
    check_terminal,
    is_well,
    no_connection,
)
from tickwire.doctor_mt5 import check_backend
from tickwire.main import app

GOOD = TerminalInfo(connected=True, trade_allowed=True, build=4755, company="Broker", ping_last=20_000)
DEMO = AccountInfo(
    login=7, server="Broker-Demo", trade_mode=0, margin_mode=2, currency="USD", trade_allowed=True, trade_expert=True,
    currency_digits=2, balance=1e4,
)
EURUSD = SymbolInfo(
    name="EURUSD", digits=5, point=1e-5, trade_tick_size=1e-5, trade_contract_size=1e5, currency_profit="USD",
    currency_margin="EUR", volume_min=0.01, volume_max=100.0, volume_step=0.01, trade_mode=4, trade_exemode=2,
    filling_mode=3, select=True,
)
NOW = 1_700_000_000_000_000_000


def problems(findings: list[Any]) -> list[str]:
    return [f"{finding.what}: {finding.found}" for finding in findings if finding.state == "problem"]


def test_a_good_terminal_account_and_symbol_are_well() -> None:
    findings = [
        *check_terminal(GOOD), *check_account(DEMO, "paper", {}),
        *check_symbol("EURUSD", EURUSD, InstrumentConfig(), "ioc"),
    ]
    assert {finding.state for finding in findings} == {"ok"}
    assert is_well(findings)


@pytest.mark.parametrize(("problem", "means", "remedy"), [
    ("initialize: IPC initialize failed, MetaTrader 5 x64 not found (-10003)", "no terminal found", "mt5.path"),
    ("initialize: IPC initialize failed, Process create failed 'x' (-10003)", "could not be started", "mt5.path"),
    ("initialize: IPC initialize failed, Pipe server didn't answer in 60 sec (-10003)", "does not answer", "dialog"),
    ("initialize: IPC timeout (-10005)", "IPC timeout", "mt5.server"),
    ("initialize: Terminal: Authorization failed (-6)", "refused the login", "TICKWIRE_MT5_PASSWORD"),
    ("initialize: Unsupported authorization mode (-7)", "one-time password", "by hand"),
    ("initialize: Incompatible versions (-5)", "build mismatch", "update both"),
    ("the worker did not start: ModuleNotFoundError: No module named 'MetaTrader5'", "not installed", "pip install"),
    ("the worker did not start: No module named 'msgspec'", "lacks a package", "msgspec"),
    ("the worker did not start: it ended with code 53", "did not start", "WINEPREFIX"),
    ("something nobody has seen", "something nobody has seen", "by hand"),
])
def test_every_way_not_to_connect_has_its_remedy(problem: str, means: str, remedy: str) -> None:
    finding = no_connection(problem)
    assert finding.state == "problem"
    assert means in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(("changed", "what"), [
    ({"connected": False}, "trade server: not connected"),
    ({"trade_allowed": False}, "Algo Trading: off"),
    ({"tradeapi_disabled": True}, "Python API: disabled"),
])
def test_a_terminal_that_does_not_trade_is_a_problem(changed: dict[str, Any], what: str) -> None:
    assert problems(check_terminal(GOOD._replace(**changed))) == [what]


def test_an_old_build_and_a_slow_server_are_warnings() -> None:
    states = [f.state for f in check_terminal(GOOD._replace(build=2000, ping_last=900_000))]
    assert states.count("warning") == 2


@pytest.mark.parametrize(("changed", "mode", "pinned", "words"), [
    ({"trade_mode": 2}, "paper", {}, "holds real money and system.mode is paper"),
    ({}, "paper", {"login": 8}, "login is 7, pinned is 8"),
    ({"trade_allowed": False}, "paper", {}, "may not trade"),
    ({"trade_expert": False}, "paper", {}, "forbids automated trading"),
])
def test_an_account_that_must_not_be_traded_is_a_problem(
    changed: dict[str, Any], mode: str, pinned: dict[str, object], words: str
) -> None:
    (found,) = problems(check_account(DEMO._replace(**changed), mode, pinned))
    assert words in found


@pytest.mark.parametrize(("changed", "state", "words"), [
    ({"volume_step": 0.1}, "problem", "volume_step is 0.01, the broker says 0.1"),
    ({"digits": 4, "point": 1e-4, "trade_tick_size": 1e-4}, "problem", "digits is 5, the broker says 4"),
    ({"trade_stops_level": 30}, "warning", "stops_level_points is 0, the broker says 30"),
    ({"filling_mode": 1}, "warning", "filling ioc is not supported; orders will be sent as fok"),
    ({"filling_mode": 0}, "problem", "allows no market order"),
    ({"trade_mode": 3}, "problem", "trading is restricted"),
])
def test_a_symbol_that_is_not_as_configured_is_named(changed: dict[str, Any], state: str, words: str) -> None:
    findings = check_symbol("EURUSD", EURUSD._replace(**changed), InstrumentConfig(), "ioc")
    found = next(finding for finding in findings if words in finding.found)
    assert found.state == state
    assert found.remedy


def test_a_symbol_without_an_instrument_is_a_problem() -> None:
    assert problems(check_symbol("EURUSD", EURUSD, None, "ioc")) == ["EURUSD: no entry in section instruments"]


@pytest.mark.parametrize(("ahead_s", "state", "words"), [
    (7_200.4, "ok", r"UTC+2 h"), (10_800.4, "warning", "UTC+3 h, mt5.server_zone NY+7 says UTC+2 h"),
    (7_500.0, "warning", "which is no time zone"),
])
def test_the_broker_s_clock_is_judged_by_a_fresh_tick(ahead_s: float, state: str, words: str) -> None:
    stamp = int(NOW / 1e6 + ahead_s * 1e3)
    finding = check_clock(Tick(time_msc=stamp - 500), Tick(time_msc=stamp), NOW, 7_200, "NY+7")
    assert (finding.state, words in finding.found) == (state, True)


def test_a_clock_that_stands_still_proves_nothing() -> None:
    assert check_clock(Tick(time_msc=5), Tick(time_msc=5), NOW, 7_200, "NY+7").state == "skipped"


def test_on_linux_the_real_package_needs_wine_and_the_simulated_one_needs_nothing() -> None:
    finding = check_backend(Mt5Config(), "linux")
    assert finding is not None
    assert "mt5.python" in finding.remedy
    assert check_backend(Mt5Config(python=("wine", "python.exe")), "linux") is None
    assert check_backend(Mt5Config(backend="sim", connect="127.0.0.1:1"), "linux") is None
    missing = check_backend(Mt5Config(), "win32")
    assert missing is not None
    assert "pip install MetaTrader5" in missing.remedy


def test_the_command_ends_with_1_and_says_what_is_wrong() -> None:
    result = CliRunner().invoke(
        app, ["doctor", "mt5", "--json", "--backend", "sim", "--connect", "127.0.0.1:1", "--wait", "1.5"]
    )
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert not told["well"]
    assert "no simulated terminal there" in told["findings"][0]["found"]
