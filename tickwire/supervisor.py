"""Keeps processes running: starts them, reads what they say, restarts the ones that die, stops them in order."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from libs.common.errors import TickwireError

LAST_LINES = 12
"""Log lines kept per process for the error text when it cannot be kept alive."""
_LINE_LIMIT_BYTES = 1 << 20


class StackFailed(TickwireError):
    """A process could not be kept alive; everything was stopped."""

    def __init__(self, name: str, problem: str, last_lines: Sequence[str]) -> None:
        self.name, self.problem, self.last_lines = name, problem, tuple(last_lines)
        said = "".join(f"\n  {line}" for line in last_lines) or " (it said nothing)"
        super().__init__(f"{name} {problem}; everything was stopped. Its last lines:{said}")


@dataclass(frozen=True)
class RestartPolicy:
    """When a dead process is started again, and when to give up.

    Parameters
    ----------
    first_delay_s, longest_delay_s : the pause doubles from the first to the longest with every death
    deaths, within_s : give up when a process died this often within this time
    hopeless_codes : exit codes that say another start would end the same way (a setting or a file is wrong)
    """

    first_delay_s: float = 0.2
    longest_delay_s: float = 5.0
    deaths: int = 8
    within_s: float = 60.0
    hopeless_codes: frozenset[int] = frozenset({2})

    def delay_s(self, deaths: int) -> float:
        """Return the pause before the next start after this many recent deaths (>= 1)."""
        return min(self.first_delay_s * 2.0 ** (deaths - 1), self.longest_delay_s)


class Unit(Protocol):
    """Something that runs, dies and can be started again."""

    name: str

    @property
    def last_lines(self) -> deque[str]:
        """What it said last, for the error text."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id while it runs; it leads a process group of its own."""
        ...

    async def start(self) -> None:
        """Start (again)."""
        ...

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        ...

    async def terminate(self) -> None:
        """Ask it to end."""
        ...


class ProcessUnit:
    """A child process in a session of its own, whose lines are read.

    Parameters
    ----------
    argv, env : as for ``exec``
    on_line : called with (name, line) for every line it writes to stdout or stderr
    log_file : lines are appended here as well
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_line: Callable[[str, str], None] | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.name, self._argv, self._env = name, tuple(argv), dict(env)
        self._on_line, self._log_file = on_line, log_file
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._pipe: asyncio.ReadTransport | None = None

    @property
    def last_lines(self) -> deque[str]:
        return self._last_lines

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        # A pipe of our own: asyncio counts a process as running while a grandchild holds the pipe it made for it.
        read_end, write_end = os.pipe()
        try:
            # A session of its own: Ctrl-C reaches the supervisor only, which then stops its children in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        stream = asyncio.StreamReader(limit=_LINE_LIMIT_BYTES)
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb", buffering=0)
        )
        self._reader = asyncio.create_task(self._read(stream))

    async def wait(self) -> int:
        if self._process is None or self._reader is None or self._pipe is None:
            raise RuntimeError(f"{self.name} was not started")
        code = await self._process.wait()
        # A grandchild may hold the pipe open; the lines already written are read, later ones are not waited for.
        await asyncio.wait((self._reader,), timeout=1.0)
        self._reader.cancel()
        self._pipe.close()
        return code

    async def terminate(self) -> None:
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        with contextlib.ExitStack() as stack:
            file = None if self._log_file is None else stack.enter_context(self._log_file.open("a", encoding="utf-8"))
            while True:
                try:
                    raw = await stream.readline()
                except ValueError:  # a line beyond the limit; the reader has dropped it
                    raw = b"(a line of more than 1 MiB was dropped)\n"
                if not raw:
                    return
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._last_lines.append(line)
                if file is not None:
                    file.write(line + "\n")
                    file.flush()
                if self._on_line is not None:
                    self._on_line(self.name, line)


class Supervisor:
    """Runs units until told to stop, or until one of them cannot be kept alive.

    Parameters
    ----------
    units : in the order they are started and, one after the other, asked to end
    policy : when to restart and when to give up
    on_event : called with (name, text) when a process starts, dies, or is given up
    stop_timeout_s : after this long, what has not ended by itself is killed
    """

    def __init__(
        self,
        units: Sequence[Unit],
        *,
        policy: RestartPolicy | None = None,
        on_event: Callable[[str, str], None] | None = None,
        stop_timeout_s: float = 10.0,
    ) -> None:
        self.units = tuple(units)
        self._policy = policy or RestartPolicy()
        self._on_event = on_event or (lambda name, text: None)
        self._stop_timeout_s = stop_timeout_s
        self._stopping = False
        self._ending: set[str] = set()
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._watchdog: asyncio.subprocess.Process | None = None
        self.restarts = {unit.name: 0 for unit in self.units}

    async def start(self) -> None:
        """Start all units, in order; when one does not start, stop the ones that did.

        Raises
        ------
        OSError, TickwireError : what the unit's start raised
        """
        if os.name == "posix":
            self._watchdog = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py")),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            for unit in self.units:
                await self._start(unit)
                self._keepers[unit.name] = asyncio.create_task(self._keep(unit), name=f"keep-{unit.name}")
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Wait until a unit is given up.

        Raises
        ------
        StackFailed : naming the unit and its last lines; the other units still run, call ``stop``
        """
        if self._keepers:
            done, _ = await asyncio.wait(self._keepers.values(), return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    async def stop_unit(self, name: str, timeout_s: float = 5.0) -> None:
        """End one unit for good; the others go on."""
        unit = next(unit for unit in self.units if unit.name == name)
        self._ending.add(name)
        if unit.pid is not None:
            await unit.terminate()
            if not await self._ended(unit, timeout_s) and (pid := unit.pid) is not None:
                self._on_event(name, "did not end when asked, killed")
                _kill_group(pid)
                await self._ended(unit, timeout_s)

    async def stop(self) -> None:
        """End all units in order, each given a share of the time; then kill what is left."""
        self._stopping = True
        deadline = time.monotonic() + self._stop_timeout_s
        share_s = self._stop_timeout_s / max(len(self.units), 1)
        for unit in self.units:
            if unit.pid is None:
                continue
            await unit.terminate()
            await self._ended(unit, min(share_s, deadline - time.monotonic()))
        for unit in self.units:
            if unit.pid is not None:
                await self._ended(unit, max(deadline - time.monotonic(), 0.0))
        for task in self._keepers.values():
            task.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        await self._kill_what_is_left()
        await self._dismiss_watchdog()

    async def _kill_what_is_left(self) -> None:
        for unit in self.units:
            pid = unit.pid
            if pid is not None:
                self._on_event(unit.name, "did not end when asked, killed")
                _kill_group(pid)
                await unit.wait()

    async def _ended(self, unit: Unit, timeout_s: float) -> bool:
        keeper = self._keepers.get(unit.name)
        if keeper is None:
            return True
        done, _ = await asyncio.wait((keeper,), timeout=max(timeout_s, 0.0))
        return bool(done)

    async def _start(self, unit: Unit) -> None:
        await unit.start()
        if unit.pid is not None:
            await self._tell_watchdog(f"add {unit.pid}")
        self._on_event(unit.name, f"started (pid {unit.pid})")

    async def _keep(self, unit: Unit) -> None:
        deaths: deque[float] = deque()
        while True:
            pid = unit.pid
            code = await unit.wait()
            if pid is not None:
                # Its own children (a training process) must not outlive it.
                _kill_group(pid)
                await self._tell_watchdog(f"drop {pid}")
            if self._is_ending(unit):
                return
            now = time.monotonic()
            deaths.append(now)
            while deaths[0] < now - self._policy.within_s:
                deaths.popleft()
            await self._restart(unit, code, len(deaths))

    async def _restart(self, unit: Unit, code: int, deaths: int) -> None:
        problem = self._hopeless(code, deaths)
        if problem is not None:
            self._on_event(unit.name, f"{problem}, given up")
            raise StackFailed(unit.name, problem, unit.last_lines)
        delay_s = self._policy.delay_s(deaths)
        self._on_event(unit.name, f"{exit_text(code)}, starts again in {delay_s:.1f} s")
        await asyncio.sleep(delay_s)
        if not self._is_ending(unit):
            self.restarts[unit.name] += 1
            await self._start(unit)

    def _is_ending(self, unit: Unit) -> bool:
        return self._stopping or unit.name in self._ending

    def _hopeless(self, code: int, deaths: int) -> str | None:
        if code in self._policy.hopeless_codes:
            return f"{exit_text(code)} (starting it again would not help)"
        if deaths >= self._policy.deaths:
            return f"died {deaths} times within {self._policy.within_s:.0f} s, last {exit_text(code)}"
        return None

    async def _tell_watchdog(self, text: str) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(OSError):
                self._watchdog.stdin.write(f"{text}\n".encode())
                await self._watchdog.stdin.drain()

    async def _dismiss_watchdog(self) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        self._watchdog.stdin.close()
        await self._watchdog.wait()
        self._watchdog = None


def exit_text(code: int) -> str:
    """Return an exit code in words.

    >>> exit_text(3), exit_text(-9)
    ('exited with code 3', 'was killed by SIGKILL')
    """
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
        os.killpg(pid, signal.SIGKILL)
