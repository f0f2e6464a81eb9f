"""A running MQL5 program: fires its events, answers its calls to the terminal, keeps what it prints."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.mql.harness.answers import Answerer, Unanswered
from tests.mql.harness.build import build

_ANSWER_WITHIN_S = 30.0


class MqlCritical(AssertionError):
    """The terminal would have stopped the program: index out of range, division by zero, invalid pointer..."""


class MqlError(Exception):
    """An answerer raises it to let a call fail with an error code (``GetLastError``) and a result.

    Parameters
    ----------
    code : what ``GetLastError`` returns afterwards
    result : what the call returns all the same
    """

    def __init__(self, code: int, result: Any = None) -> None:
        super().__init__(f"error {code}")
        self.code, self.result = code, result


class Expert:
    """One program on one chart. Make it with ``start`` (or the fixture ``ea``).

    Nothing happens but by a call from here: an event runs to its end, and every question the program asks the
    terminal meanwhile goes to ``answers``. So a run is deterministic but for what the program hears on sockets.

    Attributes
    ----------
    prints : what ``Print``, ``PrintFormat``, ``Alert`` and ``Comment`` said, in order
    calls : how often each terminal function was asked
    files, common : its folders ``MQL5/Files`` and ``Terminal/Common/Files``
    timer_ms : period of its timer, ``None`` none
    globals : the terminal's global variables; hand the same dictionary to a second program to share them
    removed : it called ``ExpertRemove``
    leaks : objects not deleted when it ended (known after ``deinit``)
    """

    def __init__(
        self, process: subprocess.Popen[bytes], channel: socket.socket, answers: Answerer, folder: Path
    ) -> None:
        self.process, self.answers, self.folder = process, answers, folder
        self.files, self.common = folder / "Files", folder / "Common"
        self.prints: list[str] = []
        self.calls: Counter[str] = Counter()
        self.timer_ms: int | None = None
        self.globals: dict[str, float] = {}
        self.books: set[str] = set()
        self.removed = False
        self.leaks = 0
        self.lock = threading.RLock()
        self._channel = channel
        self._in = channel.makefile("rb")
        self._ended = False

    @classmethod
    def start(
        cls,
        name: str | Path,
        *,
        folder: Path,
        inputs: Mapping[str, Any] | None = None,
        answers: Answerer | None = None,
        faults: Mapping[str, Any] | None = None,
        symbol: str = "EURUSD",
        period: str = "PERIOD_M1",
        sanitized: bool = False,
        allowed: str = "127.0.0.1,localhost",
        trusted_ca: Path | None = None,
        clock_ms: int | None = None,
        globals_: dict[str, float] | None = None,
    ) -> "Expert":
        """Build and start a program; its ``OnInit`` has not run yet (call ``init``).

        Parameters
        ----------
        name : a file of mql/Experts, mql/Scripts or tests/mql/experts, or a path
        folder : where its Files folders are made
        inputs : values of its ``input`` variables
        answers : answers its calls to the terminal; the default answers none but clocks, files and the like
        faults : the adversary's switches (README.md), also changeable later with ``fault``
        symbol, period : its chart
        sanitized : build with AddressSanitizer and UBSan, and fill what arrays grow by with rubbish
        allowed : the terminal's list of allowed addresses
        trusted_ca : PEM file of the certificates TLS trusts
        clock_ms : freeze its clock at this UTC time; it moves by ``clock`` only
        globals_ : the terminal's global variables, shared
        """
        program = build(name, sanitized=sanitized)
        for sub in ("Files", "Common"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            "MQL_CONTROL_FD": str(theirs.fileno()),
            "MQL_FILES": str(folder / "Files"),
            "MQL_COMMON": str(folder / "Common"),
            "MQL_SYMBOL": symbol,
            "MQL_PERIOD": period,
            "MQL_ALLOWED": allowed,
            "MQL_NAME": Path(name).stem,
            "MQL_CA": str(trusted_ca or ""),
            "MQL_INPUTS": json.dumps(_as_inputs(inputs or {})),
            "MQL_FAULTS": json.dumps({"stale_arrays": sanitized, **(faults or {})}),
            "MQL_CLOCK_MS": "" if clock_ms is None else str(clock_ms),
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
        }
        process = subprocess.Popen(
            [str(program)],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        ours.settimeout(_ANSWER_WITHIN_S)
        expert = cls(process, ours, answers or Unanswered(), folder)
        if globals_ is not None:
            expert.globals = globals_
        expert.answers.attach(expert)
        return expert

    # ---- events

    def init(self) -> int:
        """Run ``OnInit``; return its code (0 INIT_SUCCEEDED)."""
        return int(self.fire("init") or 0)

    def tick(self) -> None:
        self.fire("tick")

    def timer(self) -> None:
        self.fire("timer")

    def trade(self) -> None:
        self.fire("trade")

    def transaction(
        self,
        trans: Mapping[str, Any],
        request: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Run ``OnTradeTransaction``; fields are named as in MQL5, enumerations are names or numbers."""
        self.fire("transaction", trans=dict(trans), request=dict(request or {}), result=dict(result or {}))

    def book(self, symbol: str) -> None:
        self.fire("book", symbol=symbol)

    def chart_event(self, number: int, lparam: int = 0, dparam: float = 0.0, sparam: str = "") -> None:
        self.fire("chart", id=number, lparam=lparam, dparam=dparam, sparam=sparam)

    def script(self) -> None:
        """Run ``OnStart`` of a script or service to its end."""
        self.fire("start")

    def deinit(self, reason: int = 1) -> int:
        """Run ``OnDeinit`` and end the program; return the process's exit status (0: nothing went wrong)."""
        self.fire("deinit", reason=reason)
        self._ended = True
        self._channel.close()
        try:
            output, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.process.returncode:
            raise AssertionError(
                f"the program ended with {self.process.returncode}:\n{output.decode(errors='replace')[-4000:]}"
            )
        return self.process.returncode

    def fire(self, event: str, **fields: Any) -> Any:
        """Run one event to its end and answer what the program asks meanwhile; return what the handler returned."""
        with self.lock:
            self._send({"event": event, **fields})
            while True:
                message = self._receive()
                if "call" in message:
                    self._send(self._answer(message["call"], message["args"]))
                elif "print" in message:
                    self.prints.append(message["print"])
                elif "critical" in message:
                    raise MqlCritical(message["critical"])
                else:
                    self.leaks = message.get("leaks", 0)
                    return message.get("returned")

    def pump(self, until: Callable[[], bool], timeout_s: float = 10.0, pause_s: float = 0.001) -> None:
        """Fire the timer until a condition holds.

        Raises
        ------
        AssertionError : when it does not within ``timeout_s``
        """
        end = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < end, f"not within {timeout_s} s; last prints: {self.prints[-5:]}"
            self.timer()
            time.sleep(pause_s)

    @contextlib.contextmanager
    def running(self, pause_s: float = 0.001) -> Iterator["Expert"]:
        """Fire the timer from a thread of its own for as long as the block lasts; other events may be fired beside."""
        stop, failures = threading.Event(), []

        def run() -> None:
            try:
                while not stop.wait(pause_s):
                    self.timer()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(_ANSWER_WITHIN_S)
        if failures:
            raise failures[0]

    # ---- the adversary and the clock

    def fault(self, **switches: Any) -> None:
        """Change the adversary's switches from now on."""
        self.fire("faults", faults=switches)

    def clock(self, utc_ms: int) -> None:
        """Set the frozen clock."""
        self.fire("clock", ms=utc_ms)

    def end(self) -> None:
        """Kill the program if it still runs."""
        if self._ended:
            return
        self._ended = True
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()

    # ---- the control channel: one JSON object a line

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._died()

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._in.readline()
        except TimeoutError:
            raise AssertionError(f"the program did not answer for {_ANSWER_WITHIN_S} s") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self._died()
        message: dict[str, Any] = json.loads(line)
        return message

    def _died(self) -> None:
        self._ended = True
        self.process.kill()
        output, _ = self.process.communicate()
        raise AssertionError(
            f"the program died ({self.process.returncode}):\n{output.decode(errors='replace')[-4000:]}"
        )

    def _answer(self, call: str, arguments: list[Any]) -> dict[str, Any]:
        self.calls[call] += 1
        own = getattr(self, f"_on_{call}", None)
        try:
            if own is not None:
                return {"ret": own(*arguments)}
            return {"ret": self.answers.answer(call, arguments)}
        except MqlError as error:
            return {"ret": error.result, "error": error.code}

    # ---- what every terminal does

    def _on_EventSetMillisecondTimer(self, period_ms: int) -> bool:
        self.timer_ms = period_ms
        return period_ms > 0

    def _on_EventKillTimer(self) -> None:
        self.timer_ms = None

    def _on_ExpertRemove(self) -> None:
        self.removed = True

    def _on_MarketBookAdd(self, symbol: str) -> bool:
        self.books.add(symbol)
        return True

    def _on_MarketBookRelease(self, symbol: str) -> bool:
        self.books.discard(symbol)
        return True

    def _on_GlobalVariableSet(self, name: str, value: float) -> int:
        self.globals[name] = value
        return 1

    def _on_GlobalVariableGet(self, name: str) -> float:
        if name not in self.globals:
            raise MqlError(4501, 0.0)
        return self.globals[name]

    def _on_GlobalVariableCheck(self, name: str) -> bool:
        return name in self.globals

    def _on_GlobalVariableDel(self, name: str) -> bool:
        return self.globals.pop(name, None) is not None

    def _on_GlobalVariableSetOnCondition(self, name: str, value: float, expected: float) -> bool:
        if self.globals.get(name) != expected:
            return False
        self.globals[name] = value
        return True


def _as_inputs(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in inputs.items()}
