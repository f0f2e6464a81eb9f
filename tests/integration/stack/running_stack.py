"""A whole stack of real processes on a real nats-server, for tests: start, kill, restart, read what it did."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from libs.common.bus.nats import NatsBus, _stored
from libs.common.bus.server import EmbeddedServer, die_with_parent
from libs.common.bus.streams import SERVICES
from libs.common.codec import Codec
from libs.common.messages.control import Watermark
from libs.common.messages.market import FeedStatus
from libs.common.storage.keys import ensure_keys
from services.ingest.conductor import LOCKSTEP_MARKS
from tickwire.tally import Tally

ROOT = Path(__file__).resolve().parents[3]


class RunningStack:
    """All services as processes of their own."""

    def __init__(self, folder: Path, config: dict) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = {**config, "system": {**config["system"], "data_dir": str(self.state)}}
        self.processes: dict[str, subprocess.Popen] = {}
        self.server = EmbeddedServer(self.state)
        self.watching: NatsBus | None = None
        self._being_killed: set[str] = set()

    async def start(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        ensure_keys(self.state)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        await self.server.start()
        for name in SERVICES:
            self.launch(name)
        self.watching = await NatsBus.connect(
            self.server.url, user="observer", password=self.server.passwords["observer"]
        )

    def launch(self, name: str) -> None:
        environment = {
            **os.environ,
            "TICKWIRE_BUS__URL": self.server.url,
            "TICKWIRE_NATS_PASSWORD": self.server.passwords[name],
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}", "--config", str(self.folder / "config.yaml")],
                env=environment, stdout=out, stderr=out, cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def kill(self, name: str) -> None:
        """SIGKILL a service and start it again at once."""
        self._being_killed.add(name)
        self.processes[name].kill()
        self.processes[name].wait()
        self.launch(name)
        self._being_killed.discard(name)

    def dead(self) -> list[str]:
        return [
            name for name, process in self.processes.items()
            if process.poll() is not None and name not in self._being_killed
        ]

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text(errors="replace")

    async def finished(self, symbols: list[str], timeout_s: float) -> None:
        """Wait until every feed has ended and everything sent was settled."""
        deadline = time.monotonic() + timeout_s
        marks: dict[str, Watermark] = {}
        ended: set[str] = set()
        last_step = [0]
        codec = Codec((Watermark,))
        await self.watching.on_message(
            "health.watermark.*", lambda _, payload: self._note(marks, codec.decode(payload))
        )
        while True:
            if self.dead():
                name = self.dead()[0]
                raise AssertionError(f"{name} died:\n{self.output(name)[-3000:]}")
            for symbol in symbols:
                newest = await self.watching.last(f"feed.{symbol}")
                if isinstance(newest, FeedStatus) and newest.finished:
                    ended.add(symbol)
                block = await self.watching.last(f"ticks.{symbol}")
                last_step[0] = max(last_step[0], block.step if block else 0)
            wanted = (
                LOCKSTEP_MARKS
                if self.config["system"].get("lockstep")
                else ("features.handled", "executor.handled", "risk.handled", "trainer.handled")
            )
            if ended == set(symbols) and all(key in marks and marks[key].step >= last_step[0] for key in wanted):
                return
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not finished in {timeout_s} s: ended {ended}, last step {last_step}, "
                    f"marks { {key: mark.step for key, mark in marks.items()} }"
                )
            await asyncio.sleep(0.1)

    @staticmethod
    def _note(marks: dict[str, Watermark], mark: Watermark) -> None:
        marks[f"{mark.service}.{mark.stage}"] = mark

    async def messages(self, pattern: str) -> list:
        """Return everything a stream holds of a pattern, each once, in the stream's order."""
        codec, seen, found = Codec(), set(), []
        async for msg in _stored(self.watching, pattern, 0.0, 0):
            message = codec.decode(msg.data, msg.subject)
            if (msg.subject, message.seq) not in seen:
                seen.add((msg.subject, message.seq))
                found.append(message)
        return found

    async def decisions_sha256(self) -> str:
        """Return the demo's hash over approved orders and fills."""
        tally = Tally()
        for message in [*await self.messages("orders.>"), *await self.messages("executions.>")]:
            tally.hear(message)
        return tally.orders_sha256()

    async def stop(self) -> None:
        if self.watching is not None:
            await self.watching.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                await asyncio.to_thread(process.wait, 15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        await self.server.stop()
