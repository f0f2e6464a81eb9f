"""The compiled bus probe as a bus: so the suite every bus passes can be run against NatsBus.mqh."""

import asyncio
import json
import threading
import time
from collections import deque
from types import SimpleNamespace

from libs.common import subjects
from libs.common.bus.protocol import Delivered, ReaderCounts, opened
from libs.common.bus.server import EmbeddedServer
from libs.common.bus.streams import COMMANDS, COMMANDS_SEEN, Delivery, delivery_of, stream_of
from libs.common.codec import Codec, encode
from libs.common.errors import BusError
from libs.common.routing import subject_of
from tests.mql.harness.expert import Expert

_codec = Codec()


class Probe:
    """A running BusProbe.mq5 and a thread that fires its timer; commands go in, what it printed comes out."""

    def __init__(self, expert: Expert) -> None:
        self.expert = expert
        self.said: deque[dict] = deque()
        self.heard: list = []
        self.ready = False
        self.error = ""
        self._commands: deque[dict] = deque()
        self._stop = threading.Event()
        self._slow_s = 0.0
        self.failure: BaseException | None = None
        expert.init()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, what: str, **fields) -> None:
        self._commands.append({"do": what, **fields})

    def pause(self, seconds: float) -> None:
        """Hold the terminal still once: no event reaches the program meanwhile."""
        self._slow_s = seconds

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._slow_s:
                    time.sleep(self._slow_s)
                    self._slow_s = 0.0
                while self._commands:
                    self.expert.chart_event(1000, sparam=json.dumps(self._next_command()))
                self.expert.timer()
                prints, self.expert.prints = self.expert.prints, []
                for line in prints:
                    self._take(json.loads(line))
                self._stop.wait(0.001)
        except BaseException as error:
            self.failure = error

    def _next_command(self) -> dict:
        command = self._commands.popleft()
        if command["do"] == "publish":  # what waits for the same subject goes along
            while self._commands and len(command["items"]) < 100:
                following = self._commands[0]
                if following["do"] != "publish" or following["subject"] != command["subject"]:
                    break
                command["items"] += self._commands.popleft()["items"]
        return command

    def _take(self, message: dict) -> None:
        if "ready" in message:
            self.ready, self.error = message["ready"], message["error"]
        for listener in self.heard:
            if listener(message):
                return
        self.said.append(message)

    async def wait(self, test, timeout_s: float = 10.0):
        """Return the first thing said that passes a test, and forget it."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.failure is not None:
                raise self.failure
            for message in list(self.said):
                if test(message):
                    self.said.remove(message)
                    return message
            await asyncio.sleep(0.002)
        raise TimeoutError(f"the program did not say it; it said {list(self.said)[-5:]}, last error '{self.error}'")

    async def status(self) -> SimpleNamespace:
        self.do("status")
        return SimpleNamespace(**await self.wait(lambda m: m.get("status") is True))

    async def until_ready(self, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.ready:
                if self.failure is not None:
                    raise self.failure
                await asyncio.sleep(0.002)
        await self.wait(lambda m: m.get("ready") is True)

    def end(self) -> None:
        """Stop the thread, run OnDeinit, and demand a clean end: no leak, no sanitizer's word."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(30)
        if self.failure is None:
            self.expert.deinit()
            assert self.expert.leaks == 0, f"{self.expert.leaks} objects were not deleted"


class MqlReader:
    """A CNatsReader (and CNatsCommands) of the probe, behind the calls of a reader."""

    def __init__(
        self, bus: "MqlBus", numbers: list[int], commands: list[int], patterns: tuple[str, ...], sids: list[int]
    ) -> None:
        self._bus, self._numbers, self._commands, self._patterns, self._sids = bus, numbers, commands, patterns, sids
        self._ready: deque[Delivered] = deque()
        self.status: list[dict] = []
        bus.probe.heard.append(self._hear)

    def _hear(self, message: dict) -> bool:
        if (
            message.get("reader") in self._numbers
            or message.get("commands") in self._commands
            or message.get("plain") in self._sids
        ):
            subject, payload = message["subject"], message["text"].encode()
            if message["error"]:
                self._ready.append(Delivered(subject, payload, None, 0, message["error"]))
            elif any(subjects.matches(pattern, subject) for pattern in self._patterns):
                self._ready.append(opened(_codec, subject, payload, message["seq"]))
            return True
        if message.get("status") is True:
            self.status = [message["readers"][number] for number in self._numbers]
        return False

    @property
    def waiting(self) -> bool:
        return bool(self._ready)

    async def batch(self) -> list[Delivered]:
        while not self._ready:
            if self._bus.probe.failure is not None:
                raise self._bus.probe.failure
            await asyncio.sleep(0.001)
        out = []
        while self._ready:
            out.append(self._ready.popleft())
        return out

    def counts(self) -> ReaderCounts:
        before, self.status = self.status, []
        self._bus.probe.do("status")
        end = time.monotonic() + 5
        while not self.status and self._numbers and time.monotonic() < end:
            time.sleep(0.002)
        found = self.status or before
        return ReaderCounts(
            **{
                name: sum(one[name] for one in found)
                for name in ("gaps_detected", "gaps_filled", "duplicates", "lost")
            }
        )

    async def close(self) -> None:
        for number in self._numbers:
            self._bus.probe.do("close", reader=number)


class MqlBus:
    """The probe behind the calls of a bus."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._readers = 0
        self._commanders = 0
        self._answers: dict[int, asyncio.Future] = {}

    @property
    def connected(self) -> bool:
        return self.probe.ready

    async def publish(self, message) -> None:
        if self.probe.failure is not None:
            raise self.probe.failure
        subject, text = subject_of(message), encode(message).decode()
        kind = delivery_of(subject)
        if kind is Delivery.EPHEMERAL:
            self.probe.do("core", subject=subject, text=text)
            return
        if kind is Delivery.COMMANDED:
            answer = await self.request(subject, text, acked=True, message_id=message.command_id)
            assert answer["ack"], answer
            return
        if message.seq <= 0:
            raise BusError(f"{subject}: a sequenced message needs its number")
        self.probe.do(
            "publish", subject=subject, stream=stream_of(subject).name, items=[{"seq": message.seq, "text": text}]
        )

    async def request(self, subject: str, text: str = "", **options) -> dict:
        """Send a request; return what was said of its acknowledgement, the answer's text under ``text``."""
        self.probe.do("request", subject=subject, text=text, **options)
        number = (await self.probe.wait(lambda m: "requested" in m))["requested"]
        assert number, "the request was not sent"
        ack = await self.probe.wait(lambda m: m.get("request") == number)
        answer = await self.probe.wait(lambda m: m.get("answer") == number)
        return {
            **ack,
            "text": answer["text"],
            "status": answer["status"],
            "outcome": answer["error"],
            "headers": answer["headers"],
        }

    async def reader(self, patterns, *, after=None, since_ns=0, from_start=True, codec=None) -> MqlReader:
        numbers, commands, sids = [], [], []
        after = after or {}
        kinds = {pattern: delivery_of(pattern) for pattern in patterns}
        reader = MqlReader(self, numbers, commands, tuple(patterns), sids)
        for pattern in patterns:
            if kinds[pattern] is Delivery.SEQUENCED:
                numbers.append(self._readers)
                self._readers += 1
                self.probe.do(
                    "reader", pattern=pattern, stream=stream_of(pattern).name, after=after, from_start=from_start
                )
            elif kinds[pattern] is Delivery.EPHEMERAL:
                self.probe.do("subscribe", subject=pattern)
                sids.append((await self.probe.wait(lambda m: "subscribed" in m))["subscribed"])
        if Delivery.COMMANDED in kinds.values():
            commands.append(self._commanders)
            self._commanders += 1
            self.probe.do(
                "commands",
                pattern=COMMANDS,
                stream="CONTROL",
                after=after.get(COMMANDS_SEEN, 0),
                from_start=from_start,
            )
        # One question and its answer: the server has handled the subscription before it.
        stream = stream_of(next(iter(patterns)))
        if numbers and stream is not None and self.probe.ready:
            await self.request(f"$JS.API.STREAM.INFO.{stream.name}")
        elif sids:
            await asyncio.sleep(0.05)
        return reader

    async def flush(self) -> None:
        async with asyncio.timeout(30):
            while self.probe._commands or not (await self.probe.status()).flushed:
                self.probe.do("ask")
                await asyncio.sleep(0.02)

    async def last(self, subject: str):
        answer = await self.request(f"$JS.API.DIRECT.GET.{stream_of(subject).name}.{subject}")
        return opened(_codec, subject, answer["text"].encode()).message if answer["status"] == 0 else None

    async def close(self) -> None:
        await asyncio.to_thread(self.probe.end)


class MqlHarness:
    """A real nats-server; every bus is a compiled MQL5 program."""

    def __init__(self, folder, ea, **options) -> None:
        self.server = EmbeddedServer(folder)
        self._ea, self._options = ea, options
        self.buses: list[MqlBus] = []

    async def start(self) -> None:
        await self.server.start()

    async def bus(self, user, *, wait=True, inputs=None, **options) -> MqlBus:
        settings = {
            "InpPort": self.server.port,
            "InpUser": user,
            "InpPassword": self.server.passwords[user],
            **self._options.get("inputs", {}),
            **(inputs or {}),
        }
        program = await asyncio.to_thread(
            lambda: self._ea("BusProbe.mq5", **{**self._options, **options, "inputs": settings})
        )
        bus = MqlBus(Probe(program))
        self.buses.append(bus)
        if wait:
            await bus.probe.until_ready()
        return bus

    async def kill(self) -> None:
        self.server.process.kill()
        await asyncio.to_thread(self.server.process.wait)

    async def restart(self) -> None:
        self.server.launch()

    async def stop(self) -> None:
        try:
            for bus in self.buses:
                await bus.close()
        finally:
            await self.server.stop()
