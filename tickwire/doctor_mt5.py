"""``tickwire doctor mt5``: asks the terminal everything that must be right before trading, through the worker."""

import asyncio
import importlib.util
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from libs.common.config import InstrumentConfig, Mt5Config
from libs.common.errors import BrokerError, ConfigError
from libs.common.mt5.adapters.connection import driver_for
from libs.common.mt5.adapters.driver import Deadlines, Mt5Driver
from libs.common.mt5.adapters.symbol_registry import SymbolRegistry
from libs.common.mt5.results import SymbolInfo, Tick
from libs.common.mt5.server_zone import parse_zone
from services.executor.config import ExecutorConfig
from services.executor.identity import AccountIdentity
from tickwire.doctor_checks import (
    Finding,
    check_account,
    check_clock,
    check_symbol,
    check_terminal,
    no_connection,
)

LOOK_S = 3.0
"""How long a tick is waited for to measure the broker's clock."""


def check_backend(mt5: Mt5Config, platform: str = sys.platform) -> Finding | None:
    """Return what is wrong before anything is started; None when the worker may be tried."""
    if mt5.backend == "sim" or mt5.python:
        return None
    if platform != "win32":
        return Finding(
            "package", f"the MetaTrader5 package runs on Windows only, this is {platform}", "problem",
            "set mt5.python to a Windows Python under Wine, such as [wine, C:/python/python.exe]; or try "
            "--backend sim --connect host:port",
        )
    if importlib.util.find_spec("MetaTrader5") is None:
        return Finding("package", "MetaTrader5 is not installed", "problem", "python -m pip install MetaTrader5")
    return None


async def examine(config: dict[str, Any], wait_s: float) -> AsyncIterator[Finding]:
    """Yield what was found, one after the other.

    Parameters
    ----------
    config : sections system, instruments, executor and mt5
    wait_s : how long the terminal may take to connect
    """
    mt5: Mt5Config = config["mt5"]
    broken = check_backend(mt5)
    if broken is not None:
        yield broken
        return
    driver = driver_for(mt5, deadlines=Deadlines(start_s=wait_s, connect_s=wait_s))
    async with driver:
        try:
            await driver.ready(wait_s)
        except BrokerError as error:
            yield no_connection(driver.health().problem or str(error), mt5.backend)
            return
        async for finding in _examine_connected(driver, config):
            yield finding


async def _examine_connected(driver: Mt5Driver, config: dict[str, Any]) -> AsyncIterator[Finding]:
    try:
        started = time.perf_counter()
        info = await driver.terminal_info()
        trip_ms = (time.perf_counter() - started) * 1e3
        yield Finding("worker", f"answers within {trip_ms:.1f} ms")
        for finding in check_terminal(info):
            yield finding
        account = await driver.account_info()
        for finding in check_account(account, config["system"].mode, pins(config)):
            yield finding
        found: dict[str, SymbolInfo] = {}
        registry = SymbolRegistry(None, account.server, config["mt5"].symbols)
        for symbol in config["system"].symbols:
            try:
                found[symbol] = await registry.resolve(driver, symbol)
            except (BrokerError, ConfigError) as error:
                told, _, remedy = str(error).partition(". ")
                yield Finding(symbol, told, "problem", remedy or f"name it under mt5.symbols.{symbol}")
                continue
            instruments: dict[str, InstrumentConfig] = config["instruments"]
            executor: ExecutorConfig = config["executor"]
            for finding in check_symbol(symbol, found[symbol], instruments.get(symbol), executor.filling):
                yield finding
        yield await _examine_clock(driver, config["mt5"], [one.name for one in found.values()])
    except (BrokerError, TimeoutError) as error:
        yield no_connection(str(error), config["mt5"].backend)


async def _examine_clock(driver: Mt5Driver, mt5: Mt5Config, names: list[str]) -> Finding:
    if mt5.backend == "sim":
        return Finding("server clock", f"{mt5.server_zone}, in the simulation's time", "skipped")
    before: dict[str, Tick] = {}
    deadline = time.monotonic() + LOOK_S
    while time.monotonic() < deadline:
        for name in names:
            tick = await driver.symbol_info_tick(name)
            now_ns = time.time_ns()
            if name in before and tick.time_msc > before[name].time_msc:
                expected_s = parse_zone(mt5.server_zone).offset_s(now_ns)
                return check_clock(before[name], tick, now_ns, expected_s, mt5.server_zone)
            before.setdefault(name, tick)
        await asyncio.sleep(0.1)
    return check_clock(None, None, time.time_ns(), 0, mt5.server_zone)


def pins(config: dict[str, Any]) -> dict[str, object]:
    """Return which account is pinned: by the configuration, and by the executor's first sight."""
    executor: ExecutorConfig = config["executor"]
    pinned: dict[str, object] = msgspec.to_builtins(executor.mt5.account)
    file = Path(config["system"].data_dir) / "executor" / "account.json"
    if file.exists():
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=AccountIdentity)
        except msgspec.MsgspecError:
            return pinned
        pinned |= {name: value for name, value in msgspec.to_builtins(kept).items() if not pinned.get(name)}
    return pinned
