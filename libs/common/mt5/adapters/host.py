"""The simulated terminal as a process of its own: asked by workers, moved by a feeder, followed by Expert Advisors.

``python -m libs.common.mt5.adapters.host --listen 127.0.0.1:0 --state FOLDER [--options FILE]`` serves until SIGTERM. Its
first line on standard output is JSON: ``{"listen": "127.0.0.1:41234", "pid": ..., "n": ..., "clock_ns": ...}``.

A client first says who it is and shows the token (``TICKWIRE_TERMINAL_TOKEN``, or the file ``token`` in the folder, made
at the first start). Roles:

``package``
    A worker. Calls in frames (``frames.py``); faults strike here.
``control``
    The market's feeder, tests, auditors. Calls in frames, never struck: ``advance``, ``submit``, ``marks``, ``plan``, and
    the package's questions as they truly are.
``ea``
    What stands for an Expert Advisor. JSON lines: ``{"role":"ea","token":"..."}``, then ``{"id":1,"call":"order_send",
    "args":[{...}]}`` answered by ``{"id":1,"ret":...,"last_error":[1,"Success"]}``, and pushed events
    ``{"ev":"transaction","type":"DEAL_ADD","deal":{...}}`` (see ``transactions.py``).

One call at a time is worked on, in the order they came. A call that hangs blocks its own client alone.
"""

import asyncio
import contextlib
import hmac
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from libs.common.errors import ConfigError, TickwireError
from libs.common.messages.base import column_from_json
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.frames import (
    PROTOCOL,
    Answer,
    Call,
    FrameBuffer,
    FrameError,
    Hello,
    Raised,
    answer_frames,
    decode_as,
    encode_frame,
    plain,
)
from libs.common.mt5.adapters.functions import NAMES
from libs.common.mt5.adapters.simulated_broker import BrokerOptions, SimulatedBroker
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE
from libs.common.mt5.adapters.transactions import TransactionWatch
from libs.common.mt5.address import host_and_port
from libs.common.mt5.sim.faults import FaultPlan
from libs.common.mt5.sim.faulty_terminal import Silent
from libs.common.storage.whole_file import write_whole

MAX_BLOCK_FRAME_BYTES = 4_000_000
MAX_LINE_BYTES = 1_000_000
_calls = msgspec.json.Decoder(Call)
_hellos = msgspec.json.Decoder(Hello)
_lines = msgspec.json.Decoder(dict[str, Any])


class Host:
    """Serves one simulated broker.

    Parameters
    ----------
    broker : the truth
    token : what a client must show
    """

    def __init__(self, broker: SimulatedBroker, token: str) -> None:
        self.broker = broker
        self._token = token.encode()
        self._clients: set[Client] = set()
        self._watch: TransactionWatch | None = None
        self._generation = broker.faulty.generation
        self._numbers = 0

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Begin to accept clients."""
        return await asyncio.get_running_loop().create_server(lambda: Client(self), host, port)

    def join(self, client: "Client") -> str:
        self._numbers += 1
        self._clients.add(client)
        return f"{client.role or 'client'}-{self._numbers}"

    def leave(self, client: "Client") -> None:
        self._clients.discard(client)

    def is_known(self, token: str) -> bool:
        """Compare a token in constant time."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token)

    def settle(self) -> None:
        """After something has happened: tell the Expert Advisors, and break old pipes after a restart."""
        followers = [client for client in self._clients if client.role == "ea"]
        if not followers:
            self._watch = None
        elif self._watch is None:
            self._watch = TransactionWatch(self.broker.terminal)
        else:
            for event in self._watch.changes():
                for follower in followers:
                    follower.tell(event)
        if self._generation != self.broker.faulty.generation:
            self._generation = self.broker.faulty.generation
            for client in [c for c in self._clients if c.role == "package"]:
                client.drop()


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._frames = FrameBuffer(MAX_BLOCK_FRAME_BYTES)
        self._line = b""
        self._is_lines: bool | None = None
        self._transport: asyncio.Transport | None = None
        self._hangs = False
        self.role = ""
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._hangs:
            return
        if self._is_lines is None:
            self._is_lines = data[:1] == b"{"
        try:
            if self._is_lines:
                self._take_lines(data)
            else:
                for payload in self._frames.feed(data):
                    self._take_frame(payload)
        except FrameError:
            self.drop()

    def drop(self) -> None:
        """Break the connection."""
        if self._transport is not None:
            self._transport.abort()

    def tell(self, event: dict[str, Any]) -> None:
        """Push an event to an Expert Advisor."""
        self._send_line(event)

    # Frames: package and control.

    def _take_frame(self, payload: bytes) -> None:
        if not self.role:
            self._send(encode_frame(self._greet(decode_as(payload, _hellos))))
            if not self.role:
                self._close()
            return
        call = decode_as(payload, _calls)
        frames = self._package(call) if self.role == "package" else self._control(call)
        for frame in frames:
            self._send(frame)
        self._host.settle()

    def _greet(self, hello: Hello) -> Hello:
        problem = ""
        if not self._host.is_known(hello.token):
            problem = f"wrong token: set {TOKEN_VARIABLE} to the content of the file token in the terminal's folder"
        elif hello.protocol != PROTOCOL:
            problem = f"protocol {hello.protocol}, this is {PROTOCOL}"
        elif hello.role not in ("package", "control", "ea"):
            problem = f"unknown role '{hello.role}'"
        else:
            self.role = hello.role
            self.name = self._host.join(self)
        return Hello(role="terminal", pid=os.getpid(), problem=problem)

    def _package(self, call: Call) -> Iterable[bytes]:
        broker = self._host.broker
        if call.call not in NAMES:
            raise FrameError(f"no function {call.call}")
        try:
            outcome = broker.handle(self.name, call.call, tuple(call.args), call.kwargs)
        except (TypeError, ValueError, LookupError, msgspec.ValidationError) as error:
            return self._refusal(call, error)
        if isinstance(outcome, Silent):
            self._hangs = outcome.how == "hang"
            if not self._hangs:
                self.drop()
            return ()
        return answer_frames(call.id, outcome.result, outcome.last_error)

    def _control(self, call: Call) -> Iterable[bytes]:
        try:
            return answer_frames(call.id, *self._true_answer(call.call, call.args, call.kwargs))
        except (TypeError, ValueError, LookupError, msgspec.ValidationError, TickwireError) as error:
            return self._refusal(call, error)

    def _true_answer(self, function: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, tuple[int, str]]:
        broker = self._host.broker
        own: dict[str, Callable[..., Any]] = {
            "advance": lambda block: broker.advance(msgspec.convert(block, TickBlock, dec_hook=column_from_json)),
            "submit": broker.submit, "marks": broker.marks,
            "plan": lambda plan: broker.use_plan(msgspec.convert(plan, FaultPlan)),
        }  # fmt: skip
        if function in own:
            return msgspec.to_builtins(own[function](*args, **kwargs)), (1, "Success")
        if function not in NAMES or function in ("initialize", "login", "order_send"):
            raise LookupError(f"no function {function} here")
        return getattr(broker.terminal, function)(*args, **kwargs), broker.terminal.last_error()

    def _refusal(self, call: Call, error: Exception) -> Iterable[bytes]:
        raised = Raised(kind=type(error).__name__, text=str(error))
        return (encode_frame(Answer(id=call.id, last_error=(-2, "Terminal: Invalid params"), raised=raised)),)

    # Lines: Expert Advisors.

    def _take_lines(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > MAX_LINE_BYTES:
            raise FrameError("a line without end")
        for line in lines:
            if self._hangs or not line.strip():
                continue
            try:
                self._take_line(_lines.decode(line))
            except msgspec.MsgspecError as error:
                raise FrameError(str(error)) from error
            self._host.settle()

    def _take_line(self, message: dict[str, Any]) -> None:
        if not self.role:
            role = str(message.get("role", ""))
            problem = self._greet(Hello(role=role, token=str(message.get("token", "")))).problem
            problem = problem or ("" if role == "ea" else f"role {role} speaks in frames")
            self._send_line({"role": "terminal", "problem": problem})
            if problem:
                self._close()
            return
        function, number = message.get("call"), message.get("id")
        if function not in NAMES:
            self._send_line({"id": number, "problem": f"no function {function}"})
            return
        try:
            outcome = self._host.broker.handle(
                self.name, function, tuple(message.get("args", ())), message.get("kwargs", {})
            )
        except (TypeError, ValueError, LookupError, msgspec.ValidationError) as error:
            self._send_line({"id": number, "problem": f"{type(error).__name__}: {error}"})
            return
        if isinstance(outcome, Silent):
            self._hangs = outcome.how == "hang"
            if not self._hangs:
                self.drop()
            return
        self._send_line({"id": number, "ret": _as_json(outcome.result), "last_error": outcome.last_error})

    def _send_line(self, message: dict[str, Any]) -> None:
        self._send(msgspec.json.encode(message) + b"\n")

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _as_json(answer: Any) -> Any:
    """Return an answer for a line: an array becomes an object of columns."""
    names = getattr(getattr(answer, "dtype", None), "names", None)
    return plain(answer) if names is None else {name: answer[name].tolist() for name in names}


def read_options(path: Path | None) -> BrokerOptions:
    """Read the options of a broker from a JSON or YAML file.

    Raises
    ------
    ConfigError : naming the file and the field
    """
    if path is None:
        return BrokerOptions()
    try:
        content = path.read_bytes()
        if path.suffix == ".json":
            return msgspec.json.decode(content, type=BrokerOptions)
        return msgspec.yaml.decode(content, type=BrokerOptions)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}") from error


def token_of(folder: Path) -> str:
    """Return the terminal's token: of the environment, else of the file ``token``, made where it is missing."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given:
        return given
    path = folder / "token"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        old = os.umask(0o077)
        try:
            write_whole(path, secrets.token_urlsafe(24).encode())
        finally:
            os.umask(old)
    return path.read_text().strip()


async def serve(listen: str, folder: Path, options: BrokerOptions, *, sync: bool = True, die_at: str = "") -> None:
    """Serve until SIGTERM or SIGINT; then keep a snapshot.

    Raises
    ------
    ConfigError : wrong address, or options other than the folder's
    StorageError : the folder is in use or damaged
    """
    try:
        name, port = host_and_port(listen, any_port=True)
    except ValueError as error:
        raise ConfigError(f"--listen: {error}") from None
    broker = SimulatedBroker(options, folder, sync=sync, die_at=die_at)
    host = Host(broker, token_of(folder))
    server = await host.listen(name, port)
    address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    facts = {"listen": address, "pid": os.getpid(), "n": broker.log.n, "clock_ns": broker.terminal.clock_ns}
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no handlers in the loop
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        await stopped.wait()
    broker.close()


def main() -> int:
    """Run the command line; 1 with the reason when it cannot start."""
    import argparse  # noqa: PLC0415 - only the command line needs it

    parser = argparse.ArgumentParser(prog="python -m libs.common.mt5.adapters.host", description="A simulated terminal.")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port; port 0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="folder of its truth; made where it is missing")
    parser.add_argument("--options", type=Path, help="YAML or JSON file: terminal, instruments, seed, faults")
    parser.add_argument("--no-sync", action="store_true", help="do not wait for the disk (survives kill -9 all the same)")
    parser.add_argument("--die-at", default="", help="for tests: end at once at a place, such as executed:3")
    arguments = parser.parse_args()
    try:
        options = read_options(arguments.options)
        asyncio.run(serve(
            arguments.listen, arguments.state, options, sync=not arguments.no_sync, die_at=arguments.die_at
        ))  # fmt: skip
    except (TickwireError, OSError) as error:
        print(f"the simulated terminal cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
