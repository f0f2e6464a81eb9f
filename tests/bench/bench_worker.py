"""What a question to the terminal costs on its way through a worker, beside a bare process that echoes a frame."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

try:
    from uvloop import run  # what the services run on
except ImportError:
    from asyncio import run

from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.driver import Mt5Driver, worker_command
from libs.common.mt5.adapters.frames import Call, encode_frame
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE

CALLS = 2_000
STARTS = 7
START_NS = 1_398_938_400_000_000_000
ECHO = """
import os
while True:
    head = os.read(0, 4)
    if not head:
        break
    os.write(1, head + os.read(0, int.from_bytes(head, "big")))
"""
"""The least a hop over pipes can be: no JSON, no asyncio, no package."""
WORKER = """
import sys, types
from libs.common.mt5.adapters import worker
from libs.common.mt5.adapters.functions import NAMES
from libs.common.mt5.adapters.package_backend import PackageBackend
package = types.SimpleNamespace(**{name: lambda *a, **k: True for name in NAMES})
package.last_error = lambda: (1, "Success")
worker._backend = lambda options: PackageBackend(package, "bench", "1")
sys.exit(worker.main(["--backend", "real"]))
"""
"""A worker whose package does nothing: what is left is the hop."""


def row(name: str, ours: list[float], floor: list[float], share: float) -> dict[str, object]:
    value, against = at(ours, share), at(floor, share)
    return {
        "name": f"{name}, p{share * 100:.0f}", "unit": "ms", "value": value, "against": "bare stdio echo, same percentile",
        "against_value": against, "ratio": value / against, "n": len(ours), "min": min(ours), "max": max(ours),
    }  # fmt: skip


def at(times_ms: list[float], share: float) -> float:
    return quantiles(times_ms, n=100, method="inclusive")[round(share * 100) - 1]


def echo_times() -> list[float]:
    """Return the round trips of a frame through a bare process, ms."""
    frame = encode_frame(Call(id=1, call="symbols_total"))
    process = subprocess.Popen([sys.executable, "-S", "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    times = []
    for _ in range(CALLS + 100):
        began = time.perf_counter()
        process.stdin.write(frame)
        process.stdout.read(len(frame))
        times.append((time.perf_counter() - began) * 1e3)
    process.stdin.close()
    process.wait()
    process.stdout.close()
    return times[100:]


async def times_of(ask: Callable[[], Awaitable[Any]], n: int = CALLS) -> list[float]:
    """Return the round trips of a question, ms."""
    times = []
    for _ in range(n + n // 20):
        began = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - began) * 1e3)
    return times[n // 20 :]


async def hop_times() -> list[float]:
    driver = Mt5Driver([sys.executable, "-c", WORKER], account=None, env={"PYTHONPATH": os.getcwd()})
    async with driver:
        await driver.ready(30.0)
        return await times_of(driver.symbols_total)


async def start_times() -> list[float]:
    """Return how long a worker takes from its start to its first answer, ms."""
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        async with Mt5Driver(worker_command("sim", "127.0.0.1:1"), account=None) as driver:
            await driver.ready(30.0)
        times.append((time.perf_counter() - began) * 1e3)
    return times


async def terminal_times(address: str, token: str) -> tuple[list[float], list[float]]:
    """Return the round trips of ``account_info`` and of ``order_send`` through worker and simulated terminal, ms."""
    feed = TerminalFeed(address, token)
    await feed.advance(TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=np.array([START_NS]), bid=np.array([1.1]), ask=np.array([1.1001]),
        ts_event_ns=START_NS, ts_init_ns=START_NS,
    ))  # fmt: skip
    await feed.close()
    order = {"action": 1, "symbol": "EURUSD", "volume": 0.01, "type": 0, "magic": 1}
    async with Mt5Driver(worker_command("sim", address), env={TOKEN_VARIABLE: token}) as driver:
        await driver.ready(30.0)
        questions = await times_of(driver.account_info)
        sides = iter(range(10**9))
        orders = await times_of(lambda: driver.order_send({**order, "type": next(sides) % 2}), 200)
    return questions, orders


def through_terminal() -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        token = "bench"
        command = [sys.executable, "-m", "libs.common.mt5.adapters.host", "--state", str(Path(folder) / "state")]
        host = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, TOKEN_VARIABLE: token})
        assert host.stdout is not None
        try:
            return run(terminal_times(json.loads(host.stdout.readline())["listen"], token))
        finally:
            host.terminate()
            host.wait()
            host.stdout.close()


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    floor = echo_times()
    hop = run(hop_times())
    questions, orders = through_terminal()
    starts = run(start_times())
    bare = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
        bare.append((time.perf_counter() - began) * 1e3)
    table = [row("worker hop through the driver", hop, floor, share) for share in (0.5, 0.99)]
    table += [row("account_info of the simulated terminal", questions, floor, share) for share in (0.5, 0.99)]
    table += [row("order_send to the simulated terminal, fsynced", orders, floor, share) for share in (0.5, 0.99)]
    table.append({
        "name": "worker start to first answer", "unit": "ms", "value": median(starts), "against": "python -S -c pass",
        "against_value": median(bare), "ratio": median(starts) / median(bare), "n": STARTS, "min": min(starts),
        "max": max(starts),
    })  # fmt: skip
    return table


if __name__ == "__main__":
    for line in rows():
        print(line)
