"""Ingest over a worker process, from a simulated terminal in a process of its own, onto a real bus: all may be killed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from libs.common.bus.nats import NatsBus, _stored
from libs.common.bus.server import EmbeddedServer, die_with_parent
from libs.common.codec import Codec
from libs.common.errors import BrokerError
from libs.common.messages.control import Heartbeat
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.storage.ticks import TickStore

ROOT = Path(__file__).resolve().parents[3]
S = 1_000_000_000
MONDAY = 1_704_704_400 * S
TOKEN = "a-token-for-tests-only-0123456789"
SYMBOLS = ("EURUSD", "GBPUSD")


def blocks(symbol: str, n: int, seed: int, size: int = 40) -> list[TickBlock]:
    """Return a market in blocks, many ticks in the same millisecond, none exactly like the one before."""
    chance = np.random.default_rng(seed)
    time_ns = MONDAY + np.cumsum(chance.choice([0, 0, 1, 400, 1_500], size=n)).astype(np.int64) * 1_000_000
    bid = np.round(1.1 + np.cumsum(chance.choice([-2, -1, 1, 2], size=n)) * 1e-5, 5)
    return [
        TickBlock(
            ts_event_ns=int(time_ns[min(first + size, n) - 1]), ts_init_ns=0, symbol=symbol, first_tick=first + 1,
            time_ns=time_ns[first : first + size], bid=bid[first : first + size],
            ask=np.round(bid[first : first + size] + 7e-5, 5),
        )
        for first in range(0, n, size)
    ]  # fmt: skip


class Market:
    """A simulated terminal's process, which keeps its port over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        options = {"instruments": {name: {} for name in SYMBOLS}}
        (folder / "options.yaml").write_text(yaml.safe_dump(options))
        self.address = "127.0.0.1:0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "TICKWIRE_TERMINAL_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "libs.common.mt5.adapters.host", "--listen", self.address, "--state",
             str(self.folder / "state"), "--options", str(self.folder / "options.yaml")],
            stdout=subprocess.PIPE, env=environment, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = json.loads(self.process.stdout.readline())["listen"]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def feed(self, market: list[TickBlock], pause_s: float) -> None:
        feeder = TerminalFeed(self.address, TOKEN)
        for block in market:
            while True:
                try:
                    await feeder.advance(block)
                    break
                except BrokerError:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(pause_s)
        await feeder.close()


class Ingest:
    """The service's process."""

    def __init__(self, folder: Path, server: EmbeddedServer, address: str, **live) -> None:
        self.folder, self._server = folder, server
        config = {
            "system": {"symbols": list(SYMBOLS), "data_dir": str(folder / "state"), "clock": "event"},
            "instruments": {name: {} for name in SYMBOLS},
            "mt5": {"backend": "sim", "connect": address, "token": TOKEN},
            "ingest": {"adapter": "mt5", "live": {"server_offset": "zone", "poll_ms": 5, "poll_idle_ms": 20, **live}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ, "TICKWIRE_BUS__URL": self._server.url, "PYTHONPATH": str(ROOT),
            "TICKWIRE_NATS_PASSWORD": self._server.passwords["ingest"],
        }  # fmt: skip
        with (self.folder / "ingest.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest", "--config", str(self.folder / "config.yaml")],
                env=environment, stdout=out, stderr=out, cwd=self.folder, preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end: {self.output()}") from None

    def kill_worker(self) -> bool:
        """Kill the service's worker, where it has one just now."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            child.kill()
            return True
        return False

    def output(self) -> str:
        return (self.folder / "ingest.out").read_text(errors="replace")[-3_000:]


async def published(bus: NatsBus, symbol: str) -> list[TickBlock]:
    codec, found = Codec(), {}
    async for msg in _stored(bus, f"ticks.{symbol}", 0.0, 0):
        message = codec.decode(msg.data, msg.subject)
        found[message.seq] = message
    assert sorted(found) == list(range(1, len(found) + 1))
    return [found[seq] for seq in sorted(found)]


async def until_published(bus: NatsBus, ingest: Ingest, wanted: dict[str, int], timeout_s: float = 40.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            for symbol, n in wanted.items():
                while True:
                    last = await bus.last(f"ticks.{symbol}")
                    if isinstance(last, TickBlock) and last.first_tick + len(last) - 1 >= n:
                        break
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not published in time: {ingest.output()}") from None


async def until_ready(bus: NatsBus, timeout_s: float = 60.0) -> None:
    """Wait until the process that runs now is ready, and so has recorded what the one before it did not.

    What was published says nothing of it: all of it may be the work of those that were killed, while this one is still
    so young that a signal ends it before it has set itself up.
    """
    beats, codec = asyncio.Semaphore(0), Codec()

    def hear(subject: str, payload: bytes) -> None:
        beat = codec.decode(payload, subject)
        if isinstance(beat, Heartbeat) and beat.ready:
            beats.release()

    await bus.on_message("health.ingest", hear)
    async with asyncio.timeout(timeout_s):
        for _ in range(2):  # the first may be one that was on its way from a process that was killed
            await beats.acquire()


def assert_same(found: list[TickBlock], market: list[TickBlock]) -> None:
    number = 1
    for block in found:
        assert block.first_tick == number
        number += len(block)
    assert_equal_columns(found, market)


def assert_equal_columns(found: list, market: list[TickBlock]) -> None:
    for name in ("time_ns", "bid", "ask"):
        ours = np.concatenate([getattr(block, name) for block in found])
        assert ours.tolist() == np.concatenate([getattr(block, name) for block in market]).tolist(), name


@pytest.fixture
async def market(tmp_path):
    made = Market(tmp_path / "market")
    await asyncio.to_thread(made.start)
    yield made
    if made.process.poll() is None:
        made.kill()


@pytest.fixture
async def world(tmp_path, market):
    server = EmbeddedServer(tmp_path / "state")
    await server.start()
    bus = await NatsBus.connect(server.url, user="observer", password=server.passwords["observer"])
    ingest = Ingest(tmp_path, server, market.address)
    yield market, ingest, bus
    await bus.close()
    if ingest.process is not None and ingest.process.poll() is None:
        ingest.kill()
    await server.stop()


async def kill_everything(world, seed: int, rounds: int, n: int) -> None:
    market, ingest, bus = world
    chance = random.Random(seed)
    ticks = {name: blocks(name, n, seed + place, size=chance.choice([5, 40])) for place, name in enumerate(SYMBOLS)}
    ingest.start()
    feeding = asyncio.gather(*(market.feed(rows, 0.01) for rows in ticks.values()))
    for _ in range(rounds):
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        victim = chance.choice(["ingest", "worker", "host"])
        if victim == "ingest":
            ingest.kill()
            ingest.start()
        elif victim == "worker":
            ingest.kill_worker()
        else:
            market.kill()
            await asyncio.to_thread(market.start)
    await feeding
    await until_published(bus, ingest, dict.fromkeys(SYMBOLS, n))
    await until_ready(bus)
    assert ingest.kill(signal.SIGTERM) == 0, ingest.output()
    for name in SYMBOLS:
        assert_same(await published(bus, name), ticks[name])
        recorded = list(TickStore(ingest.folder / "state" / "ticks").read(name, 0, 2**62))
        assert_equal_columns(recorded, ticks[name])


async def test_killed_workers_terminals_and_services_leave_every_tick_once(world):
    await kill_everything(world, seed=4, rounds=4, n=1_500)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 120))
async def test_many_kills_leave_every_tick_once(world, seed):
    await kill_everything(world, seed=seed, rounds=15, n=6_000)


async def test_history_of_a_terminal_comes_to_files_and_a_killed_download_is_gone_on_with(market, tmp_path):
    ticks = blocks("EURUSD", 60_000, 7, size=4_000)
    await market.feed(ticks, 0.0)
    command = [
        sys.executable, "-m", "tickwire", "history", "--symbol", "EURUSD", "--from", "2024-01-08", "--to", "2024-01-09",
        "--backend", "sim", "--connect", market.address, "--out", str(tmp_path / "history"), "--bars", "M1", "--json",
    ]  # fmt: skip
    environment = {
        **os.environ, "TICKWIRE_TERMINAL_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), "TICKWIRE_SYSTEM__DATA_DIR": str(tmp_path)
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen(command, env=environment, cwd=tmp_path, **quiet)
    await asyncio.sleep(1.5)
    killed.kill()
    killed.wait()
    done = await asyncio.to_thread(subprocess.run, command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["ticks"], report["duplicates"], report["disordered"]) == (60_000, 0, 0)
    assert report["minutes_without_ticks"] == 0
    assert report["minutes_checked"] > 100
    parts = list(TickStore(tmp_path / "history" / "ticks").read("EURUSD", 0, 2**62))
    assert_equal_columns(parts, ticks)
