"""What a terminal says, judged: one finding each, with the remedy. Nothing here asks anything."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import AccountInfo, SymbolInfo, TerminalInfo, Tick
from libs.common.mt5.specification import Weight, differences
from services.executor.identity import identity_of, refusal_of_account
from services.executor.requests import FILLING
from services.executor.resolution import Unfit, filling_mode

State = Literal["ok", "warning", "problem", "skipped"]
SLOW_PING_US = 500_000
OLDEST_BUILD = 2_755
"""The first build whose Python interface is the one we know (January 2021)."""
_STEP_S = 900


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Parameters
    ----------
    what : in a word or two
    found : what was found
    state : ``ok``; ``warning`` (works, but); ``problem`` (trading does not work); ``skipped`` (could not be looked at)
    remedy : what to do about it; empty when nothing
    """

    what: str
    found: str
    state: State = "ok"
    remedy: str = ""

    def plain(self) -> dict[str, str]:
        return asdict(self)


def is_well(findings: list[Finding]) -> bool:
    """Tell whether nothing stands in the way of trading."""
    return all(finding.state != "problem" for finding in findings)


_CONNECT = (
    # (words or code in the driver's problem, what it means, remedy)
    ("MetaTrader 5 x64 not found", "no terminal found",
     "install MetaTrader 5 (64 bit) for this user, or set mt5.path to its terminal64.exe"),
    ("Process create failed", "the terminal could not be started", "check mt5.path: it must name terminal64.exe"),
    ("Pipe server didn't answer", "the terminal was started but does not answer",
     "look at its window: a dialog may wait (account, update, LiveUpdate); close it, then try again"),
    ("(-10005)", "the terminal did not log in in time (IPC timeout)",
     "log in by hand once and tick 'Save password'; check mt5.server; raise executor.mt5.connect_timeout_s"),
    ("(-6)", "the trade server refused the login",
     "check mt5.login, mt5.server and the password in TICKWIRE_MT5_PASSWORD"),
    ("(-7)", "the account needs a one-time password or a certificate",
     "log in by hand in the terminal and leave mt5.login at 0"),
    ("(-8)", "trading by Python is disabled in the terminal",
     "Tools, Options, Expert Advisors: clear 'Disable automated trading via external Python API'"),
    ("(-5)", "the terminal and the MetaTrader5 package do not fit together (build mismatch)",
     "update both: let the terminal update itself, then pip install -U MetaTrader5"),
    ("No module named 'MetaTrader5'", "the package MetaTrader5 is not installed in the worker's Python",
     "with the Python of mt5.python: python -m pip install MetaTrader5"),
    ("No module named", "the worker's Python lacks a package", "install msgspec and numpy into the Python of mt5.python"),
    ("did not start", "the worker process did not start",
     "run the command of mt5.python by hand; under Wine check WINEPREFIX and that python.exe is a 64-bit Python 3.11"),
    ("(-10004)", "there is no connection to the terminal", "start the terminal and log in"),
    ("(-10003)", "the terminal could not be reached", "start it by hand, or set mt5.path"),
    ("no such file", "the command of mt5.python does not exist", "set mt5.python to a command that starts Python"),
)


def no_connection(problem: str, backend: str = "real") -> Finding:
    """Explain why the worker could not connect to a terminal."""
    if backend == "sim" and "(-1000" in problem:
        return Finding(
            "connection", f"no simulated terminal there: {problem}", "problem",
            "start it (python -m libs.common.mt5.adapters.host), and set mt5.connect and TICKWIRE_TERMINAL_TOKEN",
        )
    for words, meaning, remedy in _CONNECT:
        if words.lower() in problem.lower():
            return Finding("connection", f"{meaning}: {problem}", "problem", remedy)
    return Finding("connection", problem, "problem", "start the terminal by hand, log in, and try again")


def check_terminal(info: TerminalInfo) -> list[Finding]:
    """Judge the terminal program and its connection."""
    found = [Finding("terminal", f"{info.name or 'MetaTrader 5'} build {info.build} ({info.company or 'unknown'})")]
    if 0 < info.build < OLDEST_BUILD:
        found.append(Finding(
            "build", f"{info.build} is older than {OLDEST_BUILD}", "warning", "let the terminal update itself"
        ))
    if info.connected:
        slow = info.ping_last > SLOW_PING_US
        found.append(Finding(
            "trade server", f"connected, last ping {info.ping_last / 1e3:.0f} ms", "warning" if slow else "ok",
            "orders will be slow: a machine nearer to the broker helps" if slow else "",
        ))
    else:
        found.append(Finding(
            "trade server", "not connected", "problem",
            "look at the lower right corner of the terminal; check the network and the login",
        ))
    if not info.trade_allowed:
        found.append(Finding(
            "Algo Trading", "off", "problem", "press the button 'Algo Trading' in the terminal's toolbar"
        ))
    if info.tradeapi_disabled:
        found.append(Finding(
            "Python API", "disabled", "problem",
            "Tools, Options, Expert Advisors: clear 'Disable automated trading via external Python API'",
        ))
    if info.trade_allowed and not info.tradeapi_disabled:
        found.append(Finding("automated trading", "allowed by the terminal"))
    return found


def check_account(account: AccountInfo, mode: str, pinned: dict[str, object]) -> list[Finding]:
    """Judge the account: is it the one meant, and may it trade.

    Parameters
    ----------
    mode : ``system.mode``
    pinned : identity by field, from the configuration and from the executor's ``account.json``
    """
    seen = identity_of(account)
    found = [Finding(
        "account", f"{seen.login} on {seen.server}: {seen.trade_mode}, {seen.margin_mode}, {seen.currency}, "
        f"balance {account.balance:.{account.currency_digits or 2}f}",
    )]
    refusal = refusal_of_account(seen, mode, pinned)
    if refusal:
        told, _, remedy = refusal.partition(". ")
        found.append(Finding("identity", told, "problem", remedy))
    if not account.trade_allowed:
        found.append(Finding(
            "permission", "the account may not trade", "problem",
            "log in with the master password, not the investor's; or the broker has blocked the account",
        ))
    elif not account.trade_expert:
        found.append(Finding(
            "permission", "the broker forbids automated trading on this account", "problem", "ask the broker"
        ))
    if account.fifo_close:
        found.append(Finding(
            "closing", "first in, first out", "warning", "positions can only be closed oldest first; others are refused"
        ))
    return found


def check_symbol(symbol: str, info: SymbolInfo, config: InstrumentConfig | None, filling: str) -> list[Finding]:
    """Judge one symbol against our configuration of it.

    Parameters
    ----------
    filling : ``executor.filling``
    """
    found = []
    name = symbol if info.name == symbol else f"{symbol} = {info.name}"
    if info.trade_mode != mt5.SYMBOL_TRADE_MODE_FULL:
        found.append(Finding(
            name, f"trading is restricted (mode {info.trade_mode})", "problem",
            "choose another symbol of the broker under mt5.symbols, or take it out of system.symbols",
        ))
    found.append(_check_filling(name, info, filling))
    if config is None:
        return [*found, Finding(name, "no entry in section instruments", "problem", f"add instruments.{symbol}")]
    differing = differences(config, info)
    for difference in differing:
        wrong = difference.weight is Weight.WRONG
        found.append(Finding(
            name, str(difference), "problem" if wrong else "warning", f"set instruments.{symbol}.{difference.key}"
            if " " not in difference.key else "prices are rounded to the broker's grid when an order is sent",
        ))
    if not differing:
        found.append(Finding(name, "as configured"))
    return found


def _check_filling(name: str, info: SymbolInfo, filling: str) -> Finding:
    wanted = FILLING[filling]
    try:
        chosen = filling_mode(wanted, info)
    except Unfit:
        return Finding(
            name, f"filling_mode {info.filling_mode} allows no market order", "problem",
            "ask the broker, or choose another symbol",
        )
    if chosen == wanted:
        return Finding(name, f"filling {filling} is supported")
    other = next(word for word, number in FILLING.items() if number == chosen)
    return Finding(
        name, f"filling {filling} is not supported; orders will be sent as {other}", "warning",
        f"set executor.filling: {other}",
    )


def check_clock(before: Tick | None, after: Tick | None, now_ns: int, expected_s: int, zone: str) -> Finding:
    """Judge the broker's clock by a tick that came between two looks.

    Parameters
    ----------
    before, after : the newest tick at two looks a moment apart; None where there was none
    now_ns : time of the second look, ns UTC
    expected_s : what the clock should be ahead of UTC, seconds
    """
    if before is None or after is None or after.time_msc <= before.time_msc:
        return Finding(
            "server clock", "not measured: no tick came while we looked (market closed?)", "skipped",
            "look again while the market is open",
        )
    ahead_s = after.time_msc / 1e3 - now_ns / 1e9
    offset_s = round(ahead_s / _STEP_S) * _STEP_S
    left_s = ahead_s - offset_s
    if math.fabs(left_s) > 60.0:
        return Finding(
            "server clock", f"{ahead_s:+.0f} s from UTC, which is no time zone: {left_s:+.0f} s are left over", "warning",
            "set this machine's clock by NTP; otherwise the feed is delayed",
        )
    if offset_s != expected_s:
        return Finding(
            "server clock", f"UTC{offset_s / 3_600:+g} h, mt5.server_zone {zone} says UTC{expected_s / 3_600:+g} h",
            "warning",
            "set mt5.server_zone (NY+7, EET, UTC, +03:00); while the market moves the offset is measured and used",
        )
    return Finding("server clock", f"UTC{offset_s / 3_600:+g} h as mt5.server_zone {zone} says")
