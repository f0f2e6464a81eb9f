"""Starts, kills and watches toy services, feeds them ticks, and says what they should have answered."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import yaml

from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer, die_with_parent
from libs.common.messages.market import TickBlock
from tests.integration.runtime.toy_service import ToyConfig, ToyCore, Write, Written

ROOT = Path(__file__).resolve().parents[3]
PASSWORD_USERS = ("features",)


class Nursery:
    """Forks toys quickly."""

    def __init__(self) -> None:
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self):
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("toy_service.py")), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, preexec_fn=die_with_parent,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        for pid, end in self._ends.items():
            if not end.done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.stdin.close()
        await self._process.wait()
        self._reading.cancel()

    async def _read(self):
        async for line in self._process.stdout:
            said = json.loads(line)
            if "born" in said:
                self._ends[said["born"]] = asyncio.get_running_loop().create_future()
                self._born.put_nowait(said["born"])
            else:
                self._ends[said["ended"]].set_result(said["code"])

    async def fork(self, order):
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = await self._born.get()
        return pid, self._ends[pid]


class Toy:
    """One toy service with its folder; may be started many times."""

    def __init__(self, nursery: Nursery, server: EmbeddedServer, folder: Path, *, system=None, order=None, **config):
        self._nursery, self._server, self.folder = nursery, server, folder
        self.config = ToyConfig(**config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({
            "system": {"data_dir": str(folder / "state"), **(system or {})}, "features": config,
        }))
        self._order = {
            "config": str(folder / "config.yaml"), "out": str(folder / "out"),
            "environment": {
                "TICKWIRE_BUS__URL": server.url, "TICKWIRE_NATS_PASSWORD": server.passwords["features"],
            },
            **(order or {}),
        }
        self.pid, self.end = 0, None

    async def start(self):
        note = self.folder / "state" / "features" / "http.json"
        note.unlink(missing_ok=True)
        self.pid, self.end = await self._nursery.fork(self._order)
        return self

    async def kill(self, number=signal.SIGKILL, wait_s=15):
        """Send a signal and return the exit code."""
        os.kill(self.pid, number)
        return await self.ended(wait_s)

    async def ended(self, wait_s=15):
        return await asyncio.wait_for(asyncio.shield(self.end), wait_s)

    def output(self):
        return (self.folder / "out").read_text()

    def written(self):
        file = self.folder / "state" / "features" / "written"
        return file.read_text().split() if file.exists() else []

    async def http(self, path):
        """Return (status, text) of one of its HTTP answers, waiting for the server to be there."""
        note = self.folder / "state" / "features" / "http.json"
        for _ in range(1_000):
            if note.exists() and note.read_text().endswith("}"):
                break
            await asyncio.sleep(0.01)
        port = json.loads(note.read_text())["port"]

        def get():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(get)

    async def ready(self):
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                if (await self.http("/readyz"))[0] == 200:
                    return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never ready:\n{self.output()}")


def tick(number, symbol):
    return TickBlock(
        ts_event_ns=number * 1_000, ts_init_ns=1, seq=number, step=number, symbol=symbol, first_tick=number,
        time_ns=np.array([number * 1_000]), bid=np.array([1.0 + (number * 37 % 101) / 100]), ask=np.array([3.0]),
    )


def expected(config, count, without=()):
    """Return what a toy answers to that many ticks when nothing ever happens to it: (bars, results)."""
    core, bars, results = ToyCore(ToyConfig(symbol=config.symbol, effect_every=config.effect_every)), [], []
    for number in range(1, count + 1):
        if number in without:
            continue
        for said in core.on_tick_block(tick(number, config.symbol), 0):
            if isinstance(said, Write):
                done = Written(ts_event_ns=said.ts_event_ns, ts_init_ns=0, effect_id=said.effect_id, count=said.count)
                results += core.on_written(done, 0)
            else:
                bars.append(said)
    return [key(bar) for bar in bars], [key(bar) for bar in results]


def key(bar):
    """Return a bar without what may differ: when it was built and its number."""
    return bar.ts_event_ns, bar.tick_count, bar.close


async def hear(server, symbol, timeframe_s, count, timeout_s=30.0):
    """Return the first so many bars as any reader gets them, and prove that nothing follows at once."""
    bus = await NatsBus.connect(server.url, user="observer", password=server.passwords["observer"])
    try:
        reader = await bus.reader([f"bars.{symbol}.{timeframe_s}s"])
        got = []
        try:
            async with asyncio.timeout(timeout_s):
                while len(got) < count:
                    got += await reader.batch()
        except TimeoutError:
            raise AssertionError(f"{len(got)} of {count} bars of {symbol}") from None
        assert [item.seq for item in got] == list(range(1, len(got) + 1))
        assert reader.counts().lost == 0
        return [key(item.message) for item in got]
    finally:
        await bus.close()


async def connect(server, user):
    return await NatsBus.connect(server.url, user=user, password=server.passwords[user])
