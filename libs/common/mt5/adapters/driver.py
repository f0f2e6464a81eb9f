"""A MetaTrader 5 terminal asked from an asyncio program: a worker process, a deadline for every call, no second attempt.

The package blocks without a timeout and holds the interpreter's lock, so it lives in a worker (``worker.py``). The
driver starts it, keeps it logged in, kills it when a call takes too long, and starts it again with a growing pause::

    async with Mt5Driver(worker_command("sim", "127.0.0.1:4711"), env={TOKEN_VARIABLE: token}) as driver:
        await driver.ready(30.0)
        account = await driver.account_info()
        result = await driver.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, ...})

What a call may raise says what may have happened:

``BrokerError``
    It certainly never left us: the package refused an argument, there was no connection before the first byte, the
    queue was full or our turn never came. For a question (anything but ``order_send``) also: no answer, ask again.
``PackageError`` (a ``BrokerError``)
    A question was answered with an error; ``code`` and ``text`` are ``last_error()``'s.
``OutcomeUncertain``
    ``order_send`` may have left us: the worker died, the pipe broke, the package gave ``None`` for an unclear reason.
``TimeoutError``
    The deadline passed and the worker was killed. For ``order_send`` as uncertain as ``OutcomeUncertain``.

Nothing is ever sent again by itself. Calls wait in line, first come first served; one is at the worker at a time.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.adapters.driver_facts import (
    ANY_ACCOUNT,
    DEADLINES,
    Account,
    CallFacts,
    Deadlines,
    Health,
    State,
)
from libs.common.mt5.adapters.functions import FUNCTIONS, SENDS
from libs.common.mt5.adapters.worker_process import WorkerEnded, WorkerProcess
from libs.common.mt5.retcodes import Outcome, outcome_of_error

__all__ = [
    "ANY_ACCOUNT", "DEADLINES", "Account", "CallFacts", "Deadlines", "Guard", "Health", "Log", "Mt5Driver", "PackageError",
    "worker_command",
]
_PIPE_GONE = (mt5.RES_E_INTERNAL_FAIL_SEND, mt5.RES_E_INTERNAL_FAIL_RECEIVE, mt5.RES_E_INTERNAL_FAIL_CONNECT)
"""After these the package answers nothing until it is initialized again."""


Log = Callable[[str, Mapping[str, Any]], None]
Guard = Callable[[TerminalCalls], Awaitable[None]]


class Mt5Driver(TerminalCalls):
    """One worker, kept alive and asked one call at a time.

    All typed questions (``account_info``, ``positions_get``, ``order_send``, ``copy_ticks_from`` ...) are methods of
    ``TerminalCalls``.

    Parameters
    ----------
    command : starts the worker; see ``worker_command``
    account : what to open; the driver initializes after every start and after every broken pipe. None leaves it to
        the caller
    guard : looked through at every new session, before any waiting call: it may ask (with the caller it is given) and
        raise ``BrokerError`` to refuse the session, which is then tried again later. The identity check goes here
    deadlines : per kind of function
    queue_limit : most calls in line; one more is refused
    backoff_s : first pause before a restart; doubled up to ``backoff_max_s``, back to the first after a session
        that lasted longer than that
    env : added to the worker's environment (the token goes here, not on the command line)
    on_call : hears of every call
    log : hears event names with their fields: ``worker_started``, ``worker_killed``, ``worker_ended``,
        ``session_opened``, ``session_refused``, ``worker_says``
    """

    def __init__(
        self, command: Sequence[str], *, account: Account | None = ANY_ACCOUNT, guard: Guard | None = None,
        deadlines: Deadlines = DEADLINES, queue_limit: int = 256, backoff_s: float = 0.2,
        backoff_max_s: float = 10.0, env: Mapping[str, str] | None = None,
        on_call: Callable[[CallFacts], None] | None = None, log: Log | None = None,
    ) -> None:  # fmt: skip
        self._command, self._account, self._guard = tuple(command), account, guard
        self._deadlines, self._queue_limit = deadlines, queue_limit
        self._backoff_s, self._backoff_max_s = backoff_s, backoff_max_s
        self._env = dict(env or {})
        self._on_call, self._log = on_call, log
        self._worker: WorkerProcess | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._is_ready = asyncio.Event()
        self._is_lost = asyncio.Event()
        self._state: State = "stopped"
        self._problem = ""
        self._last_error = (0, "")
        self._session = self._starts = self._kills = self._calls = self._failures = self._waiting = 0
        self._round_trip_s = self._average_s = 0.0

    # Life.

    async def __aenter__(self) -> "Mt5Driver":
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Begin to keep a worker alive; returns at once. ``ready`` waits for it."""
        if self._keeper is None:
            self._state = "starting"
            self._keeper = asyncio.create_task(self._keep_alive(), name="mt5-driver")

    async def ready(self, timeout_s: float) -> None:
        """Wait until calls go through.

        Raises
        ------
        BrokerError : when they do not in time, with the reason
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_ready.wait()
        except TimeoutError:
            raise BrokerError(f"the terminal is not ready after {timeout_s:g} s: {self._why_not()}") from None

    async def aclose(self) -> None:
        """Stop the worker; a call that is under way becomes uncertain."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        self._is_ready.clear()
        self._state = "stopped"
        await self._end_worker("the driver was closed")

    def health(self) -> Health:
        """Return the facts of now."""
        return Health(
            state=self._state, problem=self._problem, pid=self._worker.pid if self._worker else 0,
            session=self._session, restarts=max(0, self._starts - 1), kills=self._kills, calls=self._calls,
            failures=self._failures, waiting=self._waiting, last_error=self._last_error,
            round_trip_s=self._round_trip_s, average_s=self._average_s,
        )  # fmt: skip

    # Calls.

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        """Call one function of the package, once.

        Parameters
        ----------
        function : one of ``functions.FUNCTIONS``
        args, kwargs : plain values; times are whole seconds of the broker's clock
        deadline_s : for the turn to come, and again for the answer; None takes the function's own

        Returns
        -------
        A value, a record of ``libs.common.mt5.results``, a tuple of records, or a structured array. What the package
        calls success; ``False`` is a value, ``None`` raises.

        Raises
        ------
        BrokerError, PackageError, OutcomeUncertain, TimeoutError : see the top of the module
        """
        began = time.perf_counter()
        try:
            result = await self._in_turn(function, args, kwargs, deadline_s or self._deadlines.of(function))
        except BaseException as error:
            self._failures += 1
            self._tell_call(function, began, type(error).__name__)
            raise
        self._tell_call(function, began, "ok")
        return result

    async def _in_turn(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], deadline_s: float) -> Any:
        if function not in FUNCTIONS:
            raise BrokerError(f"the package has no function '{function}' that a worker may call")
        if self._waiting >= self._queue_limit:
            raise BrokerError(f"{function}: {self._waiting} calls are waiting for the terminal already")
        self._waiting += 1
        waits = True
        try:
            try:
                async with asyncio.timeout(deadline_s):
                    await self._take_turn()
            except TimeoutError:
                raise BrokerError(f"{function}: no turn within {deadline_s:g} s: {self._why_not()}") from None
            self._waiting -= 1
            waits = False
            # From the first byte on the exchange is finished whatever becomes of the caller: its answer must not be
            # taken for the next call's.
            exchange = asyncio.ensure_future(self._exchange_and_pass_on(function, args, kwargs, deadline_s))
            return await asyncio.shield(exchange)
        finally:
            self._waiting -= waits

    async def _take_turn(self) -> None:
        """Return holding the turn, with a session open."""
        while True:
            await self._is_ready.wait()
            await self._turn.acquire()
            if self._is_ready.is_set():
                return
            self._turn.release()

    async def _exchange_and_pass_on(
        self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], deadline_s: float
    ) -> Any:
        try:
            return await self._exchange(function, args, kwargs, deadline_s)
        finally:
            self._turn.release()

    async def _exchange(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], deadline_s: float) -> Any:
        """Ask the worker and say what its answer means; the turn is ours."""
        worker = self._worker
        if worker is None or not worker.is_alive:
            self._lose("there is no worker")
            raise BrokerError(f"{function}: the worker is gone; nothing was sent")
        self._calls += 1
        began = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                reply = await worker.ask(function, args, kwargs, deadline_s)
        except TimeoutError:
            self._kills += 1
            self._lose(f"{function} took longer than {deadline_s:g} s")
            self._say("worker_killed", function=function, deadline_s=deadline_s, pid=worker.pid)
            await worker.kill()
            raise TimeoutError(f"{function}: no answer within {deadline_s:g} s; the worker was killed") from None
        except WorkerEnded as error:
            self._lose(str(error))
            await worker.kill()
            if function in SENDS:
                raise OutcomeUncertain(_name_of(args), None, f"{function}: {error}") from error
            raise BrokerError(f"{function}: {error}; asking again is safe") from error
        self._round_trip_s = time.perf_counter() - began
        self._average_s += (self._round_trip_s - self._average_s) * (0.05 if self._average_s else 1.0)
        self._last_error = reply.last_error
        return self._meaning(function, args, reply.result, reply.last_error, reply.raised)

    def _meaning(
        self, function: str, args: tuple[Any, ...], result: Any, last_error: tuple[int, str], raised: str
    ) -> Any:
        code, text = last_error
        if code in _PIPE_GONE and self._account is not None and (result is None or result is False):
            self._lose(f"{function}: {text} ({code})")
        if raised:
            # The package refuses arguments with exceptions, before anything is sent.
            raise PackageError(function, code, raised)
        if result is not None or function == "last_error":
            return result
        if function in SENDS and outcome_of_error(code, text) is Outcome.UNKNOWN:
            raise OutcomeUncertain(_name_of(args), code, f"{function}: {text} ({code})")
        raise PackageError(function, code, text)

    # Keeping the worker alive.

    async def _keep_alive(self) -> None:
        pause_s = self._backoff_s
        while True:
            try:
                await self._open_session()
            except (BrokerError, TimeoutError, OSError) as error:
                self._problem = str(error)
                self._say("session_refused", problem=self._problem, again_in_s=pause_s)
            else:
                opened = time.monotonic()
                await self._is_lost.wait()
                if time.monotonic() - opened > self._backoff_max_s:
                    pause_s = self._backoff_s
            self._state = "waiting"
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2.0, self._backoff_max_s)

    async def _open_session(self) -> None:
        """Start a worker if there is none, initialize, let the guard look, and let the calls through."""
        self._state = "starting"
        async with self._turn:
            self._is_lost.clear()
            if self._worker is None or not self._worker.is_alive:
                await self._start_worker()
            if self._account is not None:
                await self._initialize(self._account)
            if self._guard is not None:
                await self._guard(_WithoutTurn(self))
            if self._is_lost.is_set():
                raise BrokerError(self._problem)
            self._session += 1
            self._problem, self._state = "", "ready"
            self._is_ready.set()
            self._say("session_opened", session=self._session)

    async def _start_worker(self) -> None:
        await self._end_worker("a new one is started")
        self._worker = WorkerProcess(self._command, self._env, self._worker_is_gone, self._worker_says)
        self._starts += 1
        try:
            async with asyncio.timeout(self._deadlines.start_s):
                hello = await self._worker.start()
        except (TimeoutError, WorkerEnded) as error:
            await self._worker.kill()
            problem = str(error) or f"said nothing within {self._deadlines.start_s:g} s"
            raise BrokerError(f"the worker did not start: {problem}") from error
        self._say("worker_started", pid=self._worker.pid, backend=hello.backend, package=hello.package)

    async def _initialize(self, account: Account) -> None:
        args, kwargs = account.arguments()
        done = await self._exchange("initialize", args, kwargs, self._deadlines.connect_s)
        if done is not True:
            code, text = self._last_error
            raise BrokerError(f"initialize: {text} ({code})")

    def _worker_is_gone(self, problem: str) -> None:
        self._say("worker_ended", problem=problem)
        self._lose(problem)

    def _worker_says(self, line: str) -> None:
        self._say("worker_says", line=line)

    def _lose(self, problem: str) -> None:
        self._problem = problem
        self._is_ready.clear()
        self._is_lost.set()

    async def _end_worker(self, why: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close(why)

    def _why_not(self) -> str:
        if self._state == "ready":
            return f"{self._waiting} calls are in line"
        return self._problem or f"it is {self._state}"

    def _say(self, event: str, **fields: Any) -> None:
        if self._log is not None:
            self._log(event, fields)

    def _tell_call(self, function: str, began: float, outcome: str) -> None:
        if self._on_call is not None:
            self._on_call(CallFacts(function=function, seconds=time.perf_counter() - began, outcome=outcome))


class _WithoutTurn(TerminalCalls):
    """Asks out of turn: what a guard is given while everybody else waits."""

    def __init__(self, driver: Mt5Driver) -> None:
        self._driver = driver

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        driver = self._driver
        return await driver._exchange(function, args, kwargs, deadline_s or driver._deadlines.of(function))


def _name_of(args: tuple[Any, ...]) -> str:
    """Return what an order whose outcome is open may be called: its magic number."""
    request = args[0] if args else None
    return f"magic {request.get('magic', 0)}" if isinstance(request, Mapping) else "without a magic"


def worker_command(
    backend: Literal["sim", "real"], connect: str = "", python: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command of a worker.

    Parameters
    ----------
    backend : ``real``: the MetaTrader5 package; ``sim``: the simulated terminal at ``connect``
    connect : host:port of the simulated terminal
    python : what starts Python; default is this Python. Under Wine ``("wine", "C:/python/python.exe")``
    """
    start = (*(python or (sys.executable,)), "-X", "utf8", "-m", "libs.common.mt5.adapters.worker")
    return (*start, "--backend", backend, *(("--connect", connect) if connect else ()))
