"""One demo run: start everything, watch it flow, let it settle, stop it, and read back what came of it."""

import asyncio
import contextlib
import itertools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.text import Text

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.bus.streams import SERVICES
from libs.common.config import BusConfig
from libs.common.errors import DataError, TickwireError
from libs.common.messages.market import TickBlock
from tickwire.connect import stored
from tickwire.demo_config import DemoOptions, TickFile, demo_config
from tickwire.demo_counts import PATTERNS, DemoCounts
from tickwire.demo_view import DemoView, summary_table
from tickwire.flow import has_settled, number, sequence_lags
from tickwire.sections import read_all
from tickwire.stack import Stack, stop_signals, wait_for_stop
from tickwire.tally import HISTORY, Summary, Tally, broken_promises
from tickwire.terminal import expert_plan, terminal_plan

EXIT_INTERRUPTED = 130
READY_WITHIN_S = 90.0
SETTLE_WITHIN_S = 180.0
STUCK_AFTER_S = 30.0
_PATIENCE = 3.0
_MADE_UP = "The market was made up, with something in it to be learnt: these figures say nothing about a real one."
_REFRESH_S = 0.25
_LAST_BEAT_S = 1.3
"""Heartbeats come every second: after this long the newest one tells of everything before."""


class DemoStuck(TickwireError):
    """The run did not get ready or did not settle."""


class Demo:
    """One run in a folder of its own.

    Parameters
    ----------
    options : what was asked for
    run_dir : ``config.yaml``, ``summary.json``, ``logs`` and ``state`` go here
    console : where the table or the lines go
    """

    def __init__(self, options: DemoOptions, run_dir: Path, console: Console) -> None:
        self.options, self.run_dir, self._console = options, run_dir, console
        self.counts = DemoCounts()
        self._began_s = time.monotonic()
        self._interrupted = False
        self._config_file = run_dir / "config.yaml"

    async def run(self) -> int:
        """Run the demo; return 0, 1 when a promise was broken, 130 when a person ended it early.

        Raises
        ------
        TickwireError : when a process could not be kept alive, or the flow got stuck
        """
        sections = self._write_config()
        stop = asyncio.Event()
        view = DemoView(self.counts, self.options.symbols, self.options.duration_s, self._console)
        stack = self._make_stack(sections)
        with stop_signals(stop):
            try:
                with view:
                    tally = await self._flow(stack, view, stop)
            finally:
                await stack.stop()
        return self._report(tally)

    def _write_config(self) -> dict[str, Any]:
        (self.run_dir / "logs").mkdir(parents=True, exist_ok=True)
        plain = demo_config(self.options, self.run_dir / "state")
        self._config_file.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
        return read_all(self._config_file)

    def _make_stack(self, sections: dict[str, Any]) -> Stack:
        events = (self.run_dir / "logs" / "supervisor.log").open("a", encoding="utf-8", buffering=1)

        def note(name: str, text: str) -> None:
            events.write(f"{datetime.now(UTC):%H:%M:%S} {name}: {text}\n")
            if "starts again" in text or "given up" in text:
                self.counts.events.append(f"{name} {text}")
                self.counts.new_events.append(f"{name} {text}")

        bus: BusConfig = sections["bus"]
        system = msgspec.structs.replace(sections["system"], data_dir=str(self.run_dir / "state"))
        return Stack(
            self._config_file, system, bus, on_event=note, log_dir=self.run_dir / "logs",
            terminal=terminal_plan(sections), expert=expert_plan(sections),
        )

    async def _flow(self, stack: Stack, view: DemoView, stop: asyncio.Event) -> Tally:
        view.refresh()
        await stack.start()
        guard = asyncio.create_task(wait_for_stop(stack, stop))
        bus = await NatsBus.connect(stack.url, user="observer", password=stack.passwords["observer"])
        try:
            for pattern in PATTERNS:
                await bus.on_message(pattern, self.counts.hear)
            await self._until_ready(view, guard)
            view.phase("flowing")
            await self._until_finished(view, guard)
            if not stop.is_set():
                if not self.counts.feeds_finished(self.options.symbols):
                    await stack.stop_service("ingest")
                view.phase("settling")
                await self._until_settled(bus, view, guard)
            self._interrupted = stop.is_set()
            view.phase("stopping")
            view.refresh()
            guard.cancel()
            await stack.stop_services()
            view.phase("reading the streams back")
            view.refresh()
            return await read_back(bus)
        finally:
            guard.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((guard,))
            await bus.close()

    async def _until_ready(self, view: DemoView, guard: "asyncio.Task[None]") -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not all(name in self.counts.beats.latest for name in SERVICES) and not _is_over(guard):
            if time.monotonic() > deadline:
                missing = [name for name in SERVICES if name not in self.counts.beats.latest]
                raise DemoStuck(
                    f"{', '.join(missing)} not up within {READY_WITHIN_S:.0f} s; see {self.run_dir / 'logs'}"
                )
            await self._pause(view, guard)

    async def _until_finished(self, view: DemoView, guard: "asyncio.Task[None]") -> None:
        duration_s = self.options.duration_s
        # A slow machine takes longer than planned; the market's end is worth a wait, but not for ever.
        patience = _PATIENCE if self.options.ends_by_itself else 1.0
        deadline = time.monotonic() + duration_s * patience if duration_s else float("inf")
        while not self.counts.feeds_finished(self.options.symbols) and not _is_over(guard):
            if time.monotonic() >= deadline:
                return
            await self._pause(view, guard)

    async def _until_settled(self, bus: NatsBus, view: DemoView, guard: "asyncio.Task[None]") -> None:
        """Wait until everything sent has been handled, twice in a row one heartbeat apart."""
        waiting = [name for name in SERVICES if name != "ingest"]
        began_s = moved_s = time.monotonic()
        progress: object = None
        settled_since_s: float | None = None
        while settled_since_s is None or time.monotonic() - settled_since_s < _LAST_BEAT_S:
            if _is_over(guard):
                return
            await self._pause(view, guard)
            now_s, beats = time.monotonic(), self.counts.beats.latest
            if has_settled(beats, waiting, await self._ticks_stored(bus)):
                settled_since_s = settled_since_s or now_s
            else:
                settled_since_s = None
            figures = [(name, dict(beat.seen), dict(beat.sent)) for name, beat in beats.items()]
            if figures != progress:
                progress, moved_s = figures, now_s
            trains = bool(beats["trainer"].details.get("effects_pending")) if "trainer" in beats else False
            if now_s - began_s > SETTLE_WITHIN_S or (now_s - moved_s > STUCK_AFTER_S and not trains):
                raise DemoStuck(f"the flow did not settle: {self._stuck_text(waiting)}; see {self.run_dir / 'logs'}")

    def _stuck_text(self, services: list[str]) -> str:
        beats = self.counts.beats.latest
        lags = sequence_lags(beats)
        found = []
        for name in services:
            beat = beats.get(name)
            if beat is None:
                found.append(f"{name} is silent")
            elif not has_settled(beats, [name]):
                behind = ", ".join(f"{lag} of {subject}" for subject, lag in lags[name].items() if lag) or "nothing"
                pending = number(beat.details.get("effects_pending"))
                found.append(f"{name} (ready: {beat.ready}, effects pending: {pending:.0f}, not handled: {behind})")
        return "; ".join(found) or "ticks of the stream were not handled"

    async def _ticks_stored(self, bus: NatsBus) -> dict[str, int]:
        stored_seqs = {}
        for symbol in self.options.symbols:
            subject = subjects.ticks(symbol)
            last = await bus.last(subject)
            if isinstance(last, TickBlock):
                stored_seqs[subject] = last.seq
        return stored_seqs

    @staticmethod
    async def _pause(view: DemoView, guard: "asyncio.Task[None]") -> None:
        view.refresh()
        await asyncio.wait((guard,), timeout=_REFRESH_S)

    def _report(self, tally: Tally) -> int:
        summary = tally.summary(self.counts.beats.latest, self.counts.gaps.total())
        problems = [] if self._interrupted else broken_promises(summary, tally)
        write_summary(self.run_dir / "summary.json", summary)
        self._console.print(summary_table(summary, problems, time.monotonic() - self._began_s))
        if not self.options.files:
            self._console.print(Text(_MADE_UP, style="dim"))
        self._console.print(Text(f"written to {self.run_dir}", style="dim"))
        if self._interrupted:
            return EXIT_INTERRUPTED
        return 1 if problems else 0


def _is_over(guard: "asyncio.Task[None]") -> bool:
    """Tell whether a person asked to stop; raises what the stack failed with."""
    if not guard.done():
        return False
    guard.result()
    return True


def write_summary(file: Path, summary: Summary) -> None:
    """Write ``summary.json``, whole or not at all."""
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    temporary.replace(file)


async def read_back(bus: NatsBus) -> Tally:
    """Fold everything the streams hold into a tally."""
    tally = Tally()
    async for delivered in stored(bus, HISTORY):
        if delivered.message is not None:
            tally.hear(delivered.message)
    return tally


def new_run_dir(parent: Path) -> Path:
    """Create and return ``<parent>/<time>``; a second run in the same second gets a number."""
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for attempt in itertools.count(1):
        folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            problem = f"cannot be created ({error.strerror})"
            raise DataError(str(folder), problem, remedy="Choose another --out") from error
        return folder
    raise AssertionError("itertools.count ended")


def checked_file(path: Path, symbol: str, zone: str, limit: int) -> TickFile:
    """Read a market data file through, so that a broken one is refused before anything starts.

    Raises
    ------
    DataError : naming file, line, problem and remedy
    ConfigError : for an unknown zone
    """
    from services.ingest.adapters.replay import ReplayOptions, read_through
    from services.ingest.digits import infer_digits

    digits: int | None = None
    first_ns = last_ns = 0
    for chunk in read_through(path, symbol, ReplayOptions(zone=zone, limit=limit)):
        if digits is None:
            digits, first_ns = infer_digits(chunk.bid), int(chunk.time_ns.min())
        last_ns = max(last_ns, int(chunk.time_ns.max()))
    if digits is None:
        raise DataError(str(path), "holds no ticks", remedy="Name another file")
    return TickFile(path=path, symbol=symbol, zone=zone, digits=digits, first_ns=first_ns, last_ns=last_ns)
