"""One worker process, seen from the event loop: ask it, end it, hear its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from libs.common.errors import BrokerError
from libs.common.mt5.adapters.arrays import ArrayFilling
from libs.common.mt5.adapters.frames import (
    PROTOCOL,
    Answer,
    Call,
    FrameBuffer,
    FrameError,
    Hello,
    Part,
    decode_reply,
    encode_frame,
)
from libs.common.mt5.adapters.functions import FUNCTIONS
from libs.common.mt5.adapters.records import Gathering

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_TAIL_CHARACTERS = 2_000
_LONGEST_LINE = 2_000


class WorkerEnded(Exception):
    """The worker has ended, or what it writes is no answer; a call that was under way may have been executed."""


class Reply(NamedTuple):
    """A worker's answer, as records; ``raised`` empty when the function returned."""

    result: Any
    last_error: tuple[int, str]
    raised: str


class WorkerProcess:
    """A worker and the one call it may be busy with.

    Parameters
    ----------
    command : starts it
    env : added to our environment
    on_end : told, once, when it ends by itself
    on_line : told every line it writes to stderr
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], on_end: Callable[[str], None],
        on_line: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._command, self._env = tuple(command), dict(env)
        self._on_end, self._on_line = on_end, on_line
        self._transport: asyncio.SubprocessTransport | None = None
        self._hello: asyncio.Future[Hello] | None = None
        self._pending: asyncio.Future[Reply] | None = None
        self._gathering: Gathering | None = None
        self._frames = FrameBuffer()
        self._number = 0
        self._said = ""
        self._line = b""
        self._gone = asyncio.Event()
        self._is_wanted = True
        self.problem = ""
        self.pid = 0

    @property
    def is_alive(self) -> bool:
        """True while it can be asked."""
        return self._transport is not None and not self.problem

    async def start(self) -> Hello:
        """Start it and wait for its first words.

        Raises
        ------
        WorkerEnded : when it cannot be started, ends at once, or says something else
        """
        loop = asyncio.get_running_loop()
        self._hello = loop.create_future()
        options: dict[str, Any] = {"env": {**os.environ, **self._env}}
        if sys.platform != "win32":
            options["start_new_session"] = True  # its own process group, to be killed with all its children
        try:
            transport, _ = await loop.subprocess_exec(lambda: _Pipes(self), *self._command, **options)
        except (OSError, ValueError) as error:
            self.problem = str(error)
            raise WorkerEnded(f"{self._command[0]}: {error}") from error
        self._transport, self.pid = transport, transport.get_pid()
        hello = await self._hello
        if hello.protocol != PROTOCOL or hello.problem:
            raise WorkerEnded(hello.problem or f"it speaks protocol {hello.protocol}, {PROTOCOL} was expected")
        return hello

    async def ask(
        self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], deadline_s: float = 0.0
    ) -> Reply:
        """Call a function; one call at a time.

        Parameters
        ----------
        deadline_s : after which it will be killed; told to it, so that it ends by itself should we be gone. 0: none

        Raises
        ------
        BrokerError : when the arguments cannot be written down; nothing was sent
        WorkerEnded : when it ends, or answers with something else
        """
        assert self._pending is None, "one call at a time"
        if self._transport is None or self.problem:
            raise BrokerError(f"{function}: the worker is gone ({self.problem}); nothing was sent")
        self._number += 1
        try:
            frame = encode_frame(Call(id=self._number, call=function, args=list(args), kwargs=kwargs, deadline_s=deadline_s))
        except FrameError as error:
            raise BrokerError(f"{function}: {error}; nothing was sent") from error
        self._gathering = Gathering(FUNCTIONS[function].record, ArrayFilling)
        self._pending = asyncio.get_running_loop().create_future()
        # uvloop's transports are not asyncio's classes, only alike.
        stdin: Any = self._transport.get_pipe_transport(_STDIN)
        try:
            stdin.write(frame)
        except (RuntimeError, OSError) as error:
            # uvloop says so where asyncio drops the bytes: the pipe was closed already.
            self._pending = None
            self._end(str(error))
            raise BrokerError(f"{function}: {self.problem}; nothing was sent") from error
        try:
            return await self._pending
        finally:
            self._pending = None

    async def kill(self) -> None:
        """End it and all its children at once, and wait until it is gone; who kills it is not told."""
        self._is_wanted = False
        self._end("it was killed")
        if self._transport is None:
            return
        if self._transport.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":
                    self._transport.kill()
                else:
                    os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self._gone.wait()
        self._transport.close()

    async def close(self, why: str) -> None:
        """End it, telling a call that is under way why."""
        self._is_wanted = False
        self._end(why)
        await self.kill()

    # What the pipes tell.

    def received(self, received: bytes) -> None:
        try:
            for payload in self._frames.feed(received):
                self._take(payload)
        except FrameError as error:
            self._end(f"what it writes makes no sense: {error}")

    def said(self, received: bytes) -> None:
        *lines, self._line = (self._line + received).split(b"\n")
        if len(self._line) > _LONGEST_LINE:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()[:_LONGEST_LINE]
            self._said = (self._said + text + "\n")[-_TAIL_CHARACTERS:]
            self._on_line(text)

    def output_closed(self) -> None:
        # It is about to exit, and its exit code says more; one that only closes its output is not waited for.
        asyncio.get_running_loop().call_later(0.1, self._end, "its output has ended")

    def exited(self) -> None:
        code = self._transport.get_returncode() if self._transport is not None else None
        last = self._said.strip().rpartition("\n")[2]
        self._end(f"it ended with exit code {code}" + (f": {last}" if last else ""))
        self._gone.set()

    def _take(self, payload: bytes) -> None:
        frame = decode_reply(payload)
        if isinstance(frame, Hello):
            if self._hello is None or self._hello.done():
                raise FrameError("a second greeting")
            self._hello.set_result(frame)
            return
        if self._pending is None or self._gathering is None or frame.id != self._number:
            raise FrameError(f"an answer to call {frame.id}, which was not asked")
        if isinstance(frame, Part):
            self._gathering.add(frame)
        elif not self._pending.done():
            self._pending.set_result(_reply(frame, self._gathering))

    def _end(self, problem: str) -> None:
        """Note the end; whoever waits is told."""
        if self.problem:
            return
        self.problem = f"the worker is gone: {problem}"
        for waiting in (self._hello, self._pending):
            if waiting is not None and not waiting.done():
                waiting.set_exception(WorkerEnded(self.problem))
                waiting.exception()  # looked at here: the waiting side may have been cancelled
        if self._is_wanted:
            self._on_end(self.problem)


def _reply(answer: Answer, gathering: Gathering) -> Reply:
    if answer.raised is not None:
        return Reply(None, answer.last_error, f"{answer.raised.kind}: {answer.raised.text}")
    return Reply(gathering.finish(answer), answer.last_error, "")


class _Pipes(asyncio.SubprocessProtocol):
    """Hands over what the pipes bring."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDOUT:
            self._worker.received(data)
        elif fd == _STDERR:
            self._worker.said(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDOUT:
            self._worker.output_closed()

    def process_exited(self) -> None:
        self._worker.exited()
