"""A simulated terminal in a process of its own, and what a test needs around it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.driver import Deadlines, Mt5Driver, worker_command
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.simulated_broker import BrokerOptions
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE
from libs.common.mt5.adapters.truth import all_records
from libs.common.mt5.sim.faults import FaultPlan, Rule

TOKEN = "a-token-for-tests"
THURSDAY_NS = 1_398_938_400_000_000_000
SECOND_NS = 1_000_000_000
BUY: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


def plan(*rules: dict[str, Any], seed: int = 0) -> FaultPlan:
    """Return a plan as a YAML file would give it."""
    return FaultPlan(rules=tuple(msgspec.convert(rule, Rule) for rule in rules), seed=seed)


def ticks(first: int, *quotes: tuple[float, float], symbol: str = "EURUSD", start_ns: int = THURSDAY_NS) -> TickBlock:
    """Return ticks one second apart; tick 1 is at ``start_ns``."""
    time_ns = start_ns + (first - 1 + np.arange(len(quotes), dtype=np.int64)) * SECOND_NS
    return TickBlock(
        symbol=symbol, first_tick=first, time_ns=time_ns, bid=np.array([q[0] for q in quotes]),
        ask=np.array([q[1] for q in quotes]), ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
    )


class HostProcess:
    """The host, to be killed and started again at the same address.

    Parameters
    ----------
    folder : of its truth
    options : what it simulates
    """

    def __init__(self, folder: Path, options: BrokerOptions | None = None) -> None:
        self.folder = folder / "state"
        self.address = "127.0.0.1:0"
        self._options = folder / "options.json"
        self._options.write_bytes(msgspec.json.encode(options or BrokerOptions()))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, die_at: str = "") -> None:
        """Start it and wait until it listens."""
        command = [
            sys.executable, "-m", "libs.common.mt5.adapters.host", "--listen", self.address, "--state", str(self.folder),
            "--options", str(self._options), "--die-at", die_at,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, TOKEN_VARIABLE: TOKEN})
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the simulated terminal did not start"
        self.address = json.loads(line)["listen"]

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def died(self, within_s: float = 5.0) -> bool:
        """Tell whether it ended by itself."""
        assert self.process is not None
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def feed(self) -> TerminalFeed:
        return TerminalFeed(self.address, TOKEN)

    def driver(self, **options: Any) -> Mt5Driver:
        """Return a driver with short deadlines, not started."""
        options = {"deadlines": Deadlines(read_s=2.0, send_s=2.0, connect_s=5.0), "backoff_s": 0.02, **options}
        return Mt5Driver(worker_command("sim", self.address), env={TOKEN_VARIABLE: TOKEN}, **options)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return what an auditor reads."""
        return [record for record in all_records(self.folder) if record["kind"] == kind]

    def requests_of(self, magic: int) -> int:
        """Return how often a request with this magic was received."""
        return sum(record["magic"] == magic for record in self.records("request"))

    def deals_of(self, magic: int) -> int:
        """Return how many deals that opened something carry this magic."""
        deals = [record["deal"] for record in self.records("deal")]
        return sum(deal["magic"] == magic and deal["entry"] == 0 for deal in deals)


class LoopWatch:
    """Measures the longest time an event loop was held up."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest_s = max(self.longest_s, time.perf_counter() - began - 0.001)


@asynccontextmanager
async def watched_loop() -> AsyncIterator[LoopWatch]:
    """Watch the running loop."""
    watch = LoopWatch()
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    try:
        yield watch
    finally:
        task.cancel()
