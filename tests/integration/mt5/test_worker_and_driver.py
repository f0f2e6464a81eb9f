"""The driver against workers that misbehave, and the worker itself: deadlines, kills, restarts, and a loop that lives."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.mt5.adapters.calls import PackageError
from libs.common.mt5.adapters.driver import Account, Deadlines, Mt5Driver, worker_command
from libs.common.mt5.adapters.frames import Call, encode_frame
from tests.integration.mt5.terminal_world import BUY, watched_loop

SHORT = Deadlines(start_s=5.0, connect_s=2.0, read_s=0.3, ticks_s=5.0, send_s=0.3)
PACKAGE = """
    import os, signal, sys, time, types
    import numpy as np
    from libs.common.mt5.adapters.package_backend import PackageBackend
    from libs.common.mt5.adapters.functions import NAMES
    from libs.common.mt5.adapters import worker

    package = types.SimpleNamespace(**{name: lambda *a, **k: True for name in NAMES})
    package.last_error = lambda: (1, "Success")
    def on(name):
        def note(function):
            setattr(package, name, function)
        return note
    MINE
    worker._backend = lambda options: PackageBackend(package, "test", "1")
    sys.exit(worker.main(["--backend", "real"]))
"""
"""A worker over a package of the test's own: MINE says what its functions do."""


@pytest.fixture
def worker_with(tmp_path: Path):
    """Return the maker of commands that start a worker with a package of the test's own."""

    def make(mine: str = "pass") -> tuple[str, ...]:
        path = tmp_path / "worker_of_a_test.py"
        body = textwrap.dedent(PACKAGE).replace("MINE", textwrap.dedent(mine).strip())
        path.write_text(body)
        return (sys.executable, str(path))

    return make


def driver_of(command, **options) -> Mt5Driver:
    options = {"deadlines": SHORT, "backoff_s": 0.02, "account": None, **options}
    return Mt5Driver(command, env={"PYTHONPATH": os.getcwd()}, **options)


async def until_problem(driver: Mt5Driver, text: str) -> None:
    """Wait until the driver has met a problem; a worker's start takes seconds on a busy machine."""
    async with asyncio.timeout(30.0):
        while text not in driver.health().problem:
            await asyncio.sleep(0.01)


async def gone(pid: int) -> bool:
    """Tell whether a process ends."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_call_that_hangs_is_killed_in_time_with_its_children_and_the_loop_lives(worker_with, tmp_path):
    command = worker_with(f"""
    @on("account_info")
    def hang():
        child = os.fork()
        if child:
            open({str(tmp_path / 'child')!r}, "w").write(str(child))
        time.sleep(3600)
    """)
    async with driver_of(command) as driver, watched_loop() as watch:
        await driver.ready(10.0)
        pid = driver.health().pid
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="account_info"):
            await driver.account_info()
        assert 0.25 < time.monotonic() - began < 1.0
        assert await gone(pid)
        await driver.ready(10.0)
        assert driver.health().pid != pid
        assert (driver.health().kills, driver.health().restarts) == (1, 1)
        assert await driver.call("symbols_total") is True
    assert watch.longest_s < 0.1
    child = int((tmp_path / "child").read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        # Nobody may be there to bury it, but it is dead.
        assert psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_an_order_that_times_out_is_not_sent_again(worker_with, tmp_path):
    sent = tmp_path / "sent"
    command = worker_with(f"""
    @on("order_send")
    def send(request):
        open({str(sent)!r}, "a").write(str(request["magic"]) + " ")
        time.sleep(3600 if request["magic"] == 1 else 0)
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        with pytest.raises(TimeoutError):
            await driver.order_send({**BUY, "magic": 1})
        await driver.ready(10.0)
        with pytest.raises(OutcomeUncertain):  # None, and last_error says "Success": nobody knows
            await driver.order_send({**BUY, "magic": 2})
    assert sent.read_text() == "1 2 "


async def test_a_worker_that_dies_in_a_call_leaves_an_order_open_and_a_question_to_be_asked_again(worker_with):
    command = worker_with("""
    @on("order_send")
    def die(request):
        os.kill(os.getpid(), signal.SIGKILL)
    @on("positions_get")
    def leave():
        sys.exit(3)
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        with pytest.raises(OutcomeUncertain, match="magic 77"):
            await driver.order_send({**BUY, "magic": 77})
        await driver.ready(10.0)
        with pytest.raises(BrokerError, match="asking again is safe") as raised:
            await driver.positions_get()
        assert not isinstance(raised.value, OutcomeUncertain)
        await driver.ready(10.0)


async def test_exceptions_and_errors_of_the_package_are_answers(worker_with):
    command = worker_with("""
    @on("order_send")
    def raises(request):
        raise SystemError("<built-in function order_send> returned a result with an exception set")
    @on("positions_get")
    def none():
        return None
    @on("symbol_select")
    def false(*a):
        return False
    package.last_error = lambda: (-2, 'Invalid "volume" argument')
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        with pytest.raises(PackageError, match="SystemError") as raised:
            await driver.order_send(BUY)
        assert not isinstance(raised.value, OutcomeUncertain)
        with pytest.raises(PackageError) as raised:
            await driver.positions_get()
        assert (raised.value.code, raised.value.text) == (-2, 'Invalid "volume" argument')
        assert await driver.symbol_select("EURUSD") is False
        assert driver.health().last_error == (-2, 'Invalid "volume" argument')
        assert driver.health().restarts == 0


@pytest.mark.parametrize(("code", "text", "error"), [
    (-2, 'Invalid "comment" argument', PackageError), (-10004, "No IPC connection", PackageError),
    (-8, "Auto-Trading using Python API disabled in Terminal", PackageError),
    (-2, "Terminal: Invalid params", OutcomeUncertain), (-1, "Terminal: Call failed", OutcomeUncertain),
    (-10000, "IPC call failed", OutcomeUncertain), (-10001, "IPC send failed", OutcomeUncertain),
    (-10002, "IPC recv failed", OutcomeUncertain),
])  # fmt: skip
async def test_what_none_means_for_an_order_is_in_its_last_error(worker_with, code, text, error):
    command = worker_with(f"""
    package.order_send = lambda request: None
    package.last_error = lambda: ({code}, {text!r})
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        with pytest.raises(BrokerError) as raised:
            await driver.order_send(BUY)
        assert type(raised.value) is error


async def test_what_others_print_does_not_get_among_the_frames(worker_with):
    command = worker_with("""
    @on("symbols_total")
    def chatty():
        print("hello from Python", flush=True)
        os.write(1, b"hello from a library\\n")
        os.system("echo hello from a child")
        return 42
    """)
    said = []
    async with driver_of(command, log=lambda event, fields: said.append((event, fields.get("line")))) as driver:
        await driver.ready(10.0)
        assert await driver.symbols_total() == 42
        assert await driver.symbols_total() == 42
        while len([1 for event, _ in said if event == "worker_says"]) < 6:
            await asyncio.sleep(0.01)
    lines = {line for event, line in said if event == "worker_says"}
    assert lines == {"hello from Python", "hello from a library", "hello from a child"}


@pytest.mark.parametrize(("script", "problem"), [
    ("print('Traceback')", "makes no sense|exit code"),
    ("import os, time; os.write(1, b'\\xff' * 100); time.sleep(60)", "makes no sense"),
    ("import os, time; os.write(1, b'\\0\\0\\0\\4nope'); time.sleep(60)", "makes no sense"),
    ("import sys; sys.exit('no licence')", "exit code 1: no licence"),
    ("import os, time; os.close(1); time.sleep(60)", "output has ended"),
    ("import time; time.sleep(60)", "said nothing"),
])  # fmt: skip
async def test_a_worker_that_speaks_nonsense_is_ended_and_tried_again(script, problem):
    command = (sys.executable, "-c", script)
    problems = []
    log = lambda event, fields: problems.append(fields["problem"]) if event == "session_refused" else None  # noqa: E731
    # Where something is said, a slow start must not be taken for silence.
    start_s = 0.4 if problem == "said nothing" else 20.0
    async with driver_of(command, deadlines=Deadlines(start_s=start_s), backoff_s=0.01, log=log) as driver:
        async with watched_loop() as watch, asyncio.timeout(40.0):
            while len(problems) < 2:
                await asyncio.sleep(0.01)
        assert driver.health().restarts >= 1
        with pytest.raises(BrokerError, match="not ready"):
            await driver.ready(0.01)
    assert any(re.search(problem, told) for told in problems), problems
    assert watch.longest_s < 0.1


async def test_garbage_in_the_middle_of_an_answer_leaves_an_order_open(worker_with):
    command = worker_with("""
    real = worker.private_streams
    def streams():
        streams.pair = real()
        return streams.pair
    worker.private_streams = streams
    @on("order_send")
    def garbage(request):
        streams.pair[1].write(b"GARBAGE")
        return None
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        with pytest.raises(OutcomeUncertain, match="makes no sense"):
            await driver.order_send(BUY)
        await driver.ready(10.0)


async def test_a_program_that_is_not_there_is_named():
    async with driver_of(("/no/such/python",)) as driver:
        await until_problem(driver, "/no/such/python")
        with pytest.raises(BrokerError, match="/no/such/python"):
            await driver.ready(0.3)


async def test_the_pause_between_restarts_grows():
    starts = []
    log = lambda event, fields: starts.append(fields["again_in_s"]) if event == "session_refused" else None  # noqa: E731
    command = (sys.executable, "-S", "-c", "raise SystemExit(1)")
    async with driver_of(command, backoff_s=0.01, backoff_max_s=0.08, log=log):
        while len(starts) < 5:
            await asyncio.sleep(0.01)
    assert starts[:5] == [0.01, 0.02, 0.04, 0.08, 0.08]


async def test_calls_wait_in_line_and_are_answered_in_order(worker_with):
    command = worker_with("""
    package.order_calc_margin = lambda *a: (time.sleep(0.01), float(a[0]))[1]
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        order = []

        async def ask(k: int) -> None:
            assert await driver.order_calc_margin(k, "EURUSD", 1.0, 1.0) == k
            order.append(k)

        await asyncio.gather(*(ask(k) for k in range(20)))
        assert order == list(range(20))


async def test_a_line_that_is_too_long_and_a_turn_that_never_comes_are_refused_unsent(worker_with, tmp_path):
    sent = tmp_path / "sent"
    command = worker_with(f"""
    @on("symbols_total")
    def slow():
        time.sleep(0.6)
        return 1
    @on("order_send")
    def send(request):
        open({str(sent)!r}, "a").write("x")
    """)
    async with driver_of(command, queue_limit=2) as driver:
        await driver.ready(10.0)
        busy = asyncio.create_task(driver.call("symbols_total", deadline_s=5.0))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(driver.order_send(BUY, deadline_s=0.1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BrokerError, match="waiting for the terminal already"):
            await driver.order_send(BUY)
        for task in waiting:
            with pytest.raises(BrokerError, match="no turn within") as raised:
                await task
            assert not isinstance(raised.value, OutcomeUncertain)
        assert await busy == 1
    assert not sent.exists()


async def test_a_caller_that_gives_up_does_not_shift_the_answers(worker_with):
    command = worker_with("""
    package.order_calc_margin = lambda *a: (time.sleep(0.05), float(a[0]))[1]
    """)
    async with driver_of(command) as driver:
        await driver.ready(10.0)
        given_up = asyncio.create_task(driver.order_calc_margin(1, "EURUSD", 1.0, 1.0))
        await asyncio.sleep(0.02)
        given_up.cancel()
        assert await driver.order_calc_margin(2, "EURUSD", 1.0, 1.0) == 2.0
        assert driver.health().kills == 0


async def test_arguments_that_cannot_be_written_down_are_refused_unsent(worker_with):
    async with driver_of(worker_with()) as driver:
        await driver.ready(10.0)
        for value in (object(), "x" * 5_000_000):
            with pytest.raises(BrokerError, match="nothing was sent"):
                await driver.order_send({**BUY, "comment": value})
        with pytest.raises(BrokerError, match="no function"):
            await driver.call("eval", "1 + 1")
        assert driver.health().restarts == 0


async def test_a_million_ticks_do_not_hold_up_the_loop(worker_with):
    command = worker_with("""
    from libs.common.mt5.sim.tick_history import TICKS
    ticks = np.zeros(1_000_000, dtype=TICKS)
    ticks["time_msc"] = np.arange(len(ticks))
    package.copy_ticks_range = lambda *a: ticks
    """)
    async with driver_of(command, deadlines=Deadlines(ticks_s=60.0)) as driver:
        await driver.ready(20.0)
        async with watched_loop() as watch:
            got = await driver.copy_ticks_range("EURUSD", 1, 2)
    assert (got["time_msc"] == np.arange(1_000_000)).all()
    # Decoding it in one go takes several times as long; a busy machine gets some grace.
    assert watch.longest_s < 0.1


async def test_a_session_is_opened_with_the_account_and_looked_at_before_any_call(worker_with, tmp_path):
    seen = tmp_path / "seen"
    command = worker_with(f"""
    @on("initialize")
    def initialize(*path, **named):
        open({str(seen)!r}, "a").write(repr((path, named)) + "\\n")
        return True
    package.symbols_total = lambda: 3
    """)
    looks = []

    async def guard(caller) -> None:
        looks.append(await caller.symbols_total())
        if len(looks) == 1:
            raise BrokerError("wrong account")

    account = Account(path="C:/terminal64.exe", login=5, password="secret", server="Demo", timeout_ms=1_000)
    async with driver_of(command, account=account, guard=guard) as driver:
        waiting = asyncio.create_task(driver.call("symbols_total", deadline_s=10.0))
        await driver.ready(10.0)
        assert await waiting == 3
        assert looks == [3, 3]
        assert driver.health().session == 1
    lines = seen.read_text().splitlines()
    assert len(lines) == 2
    assert eval(lines[0]) == (
        ("C:/terminal64.exe",), {"timeout": 1_000, "login": 5, "password": "secret", "server": "Demo"}
    )  # fmt: skip
    assert "secret" not in repr(account)


async def test_a_terminal_that_refuses_the_login_is_told_as_it_says_it(worker_with):
    command = worker_with("""
    package.initialize = lambda *a, **k: False
    package.last_error = lambda: (-6, "Terminal: Authorization failed")
    """)
    deadlines = Deadlines(connect_s=10.0)
    async with driver_of(command, account=Account(), deadlines=deadlines, backoff_max_s=0.1) as driver:
        await until_problem(driver, "Authorization failed")
        with pytest.raises(BrokerError, match="Authorization failed"):
            await driver.ready(0.1)
        with pytest.raises(BrokerError, match="Authorization failed") as raised:
            await driver.order_send(BUY, deadline_s=0.1)
        assert not isinstance(raised.value, OutcomeUncertain)


async def test_calls_are_told_to_whoever_counts_them(worker_with):
    facts = []
    command = worker_with("package.positions_get = lambda: None")
    async with driver_of(command, on_call=facts.append) as driver:
        await driver.ready(10.0)
        await driver.symbols_total()
        with pytest.raises(PackageError):
            await driver.positions_get()
    assert [(fact.function, fact.outcome) for fact in facts] == [("symbols_total", "ok"), ("positions_get", "PackageError")]
    assert all(0.0 < fact.seconds < 5.0 for fact in facts)


async def test_closing_ends_the_worker_and_what_was_waiting_for_it(worker_with):
    command = worker_with("package.symbols_total = lambda: time.sleep(3600)")
    driver = driver_of(command, deadlines=Deadlines())
    await driver.start()
    await driver.ready(10.0)
    pid = driver.health().pid
    asked = asyncio.create_task(driver.symbols_total())
    await asyncio.sleep(0.05)
    await driver.aclose()
    with pytest.raises(BrokerError):
        await asked
    assert await gone(pid)


# The worker by itself.


def test_a_worker_imports_nothing_heavy():
    code = (
        "import sys, libs.common.mt5.adapters.worker, libs.common.mt5.adapters.simulated_package as s; "
        "print([m for m in ('numpy', 'numba', 'polars', 'asyncio', 'aiohttp', 'nats') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [
    [], ["--backend"], ["--backend", "none"], ["--backend", "sim"], ["--connect", "x:1"], ["--eval", "1"], ["sim"],
])  # fmt: skip
def test_a_worker_says_how_it_is_started(arguments):
    if arguments == []:
        arguments = ["--help"]
    command = [sys.executable, "-m", "libs.common.mt5.adapters.worker", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.startswith("usage")
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the package is there")
async def test_a_worker_without_the_package_says_so():
    async with driver_of(worker_command("real"), deadlines=Deadlines()) as driver:
        await until_problem(driver, "MetaTrader5")
        with pytest.raises(BrokerError, match="MetaTrader5"):
            await driver.ready(0.1)


async def test_a_worker_ends_when_its_driver_is_gone():
    command = worker_command("sim", "127.0.0.1:1")
    process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, stderr=-1)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10.0) == 0


HANGS_WITH_THE_LOCK = """
import ctypes, sys
from libs.common.mt5.adapters import worker
from libs.common.mt5.adapters.package_backend import PackageBackend

class Package:
    def __getattr__(self, name):
        # As the real package does, it keeps Python's lock while it waits.
        return lambda *_, **__: ctypes.PyDLL(None).sleep(3600)

worker._GRACE_S = 0.2
incoming, outgoing = worker.private_streams()
worker.serve(PackageBackend(Package(), "real", "1"), incoming, outgoing, limits_calls=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="hangs in a function of the C library of Linux")
async def test_a_worker_that_hangs_ends_by_itself_where_nobody_is_left_to_kill_it():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HANGS_WITH_THE_LOCK, stdin=-1, stdout=-1, stderr=-1)
    assert process.stdin is not None
    process.stdin.write(encode_frame(Call(id=1, call="symbols_total", deadline_s=0.3)))
    await process.stdin.drain()
    process.stdin.close()
    _, said = await asyncio.wait_for(process.communicate(), 20.0)
    assert process.returncode == 1
    assert b"Timeout" in said


async def test_the_driver_tells_a_worker_for_how_long_it_waits(worker_with):
    command = worker_with(
        "from libs.common.mt5.adapters import package_backend as backend; perform = backend.PackageBackend.perform\n"
        "def told(self, call): print(f'{call.call} {call.deadline_s:g}', file=sys.stderr); return perform(self, call)\n"
        "backend.PackageBackend.perform = told"
    )
    said = []
    async with driver_of(command, deadlines=Deadlines(read_s=7.0), log=lambda _, fields: said.append(fields)) as driver:
        await driver.ready(10.0)
        await driver.symbols_total()
        await driver.call("account_info", deadline_s=3.0)
    lines = [fields["line"] for fields in said if "line" in fields]
    assert "symbols_total 7" in lines
    assert "account_info 3" in lines
