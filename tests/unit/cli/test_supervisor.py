"""The supervisor with small children of our own."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tickwire.supervisor import ProcessUnit, RestartPolicy, StackFailed, Supervisor

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = RestartPolicy(first_delay_s=0.02, longest_delay_s=0.1, deaths=4, within_s=30.0)
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Log:
    """Keeps what the supervisor and its children say."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.events: list[tuple[str, str]] = []

    def line(self, name: str, text: str) -> None:
        self.lines.append((name, text))

    def event(self, name: str, text: str) -> None:
        self.events.append((name, text))

    async def until(self, name: str, text: str, times: int = 1) -> None:
        await eventually(lambda: self.lines.count((name, text)) >= times)


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


def unit(log: Log, name: str, code: str, log_file: Path | None = None) -> ProcessUnit:
    return ProcessUnit(name, (sys.executable, "-I", "-S", "-c", code), dict(os.environ), log.line, log_file)


def supervisor(log: Log, *units: ProcessUnit, stop_timeout_s: float = 5.0) -> Supervisor:
    return Supervisor(units, policy=QUICK, on_event=log.event, stop_timeout_s=stop_timeout_s)


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_killed_child_is_started_again() -> None:
    log = Log()
    child = unit(log, "risk", SLEEPER)
    keeper = supervisor(log, child)
    await keeper.start()
    await log.until("risk", "up")
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await log.until("risk", "up", times=2)
    assert child.pid != first
    assert keeper.restarts == {"risk": 1}
    assert ("risk", "was killed by SIGKILL, starts again in 0.0 s") in log.events
    await keeper.stop()


async def test_a_child_that_keeps_dying_is_given_up_with_its_last_words() -> None:
    log = Log()
    keeper = supervisor(log, unit(log, "features", "print('no disk', flush=True); raise SystemExit(3)"))
    await keeper.start()
    with pytest.raises(StackFailed) as failure:
        await asyncio.wait_for(keeper.wait(), 10)
    await keeper.stop()
    assert failure.value.name == "features"
    assert "died 4 times within 30 s, last exited with code 3" in str(failure.value)
    assert "no disk" in str(failure.value)
    assert len(log.lines) == QUICK.deaths


async def test_a_wrong_setting_is_not_tried_again() -> None:
    log = Log()
    keeper = supervisor(log, unit(log, "risk", "print('error: bad key'); raise SystemExit(2)"))
    await keeper.start()
    with pytest.raises(StackFailed, match="starting it again would not help"):
        await asyncio.wait_for(keeper.wait(), 10)
    await keeper.stop()
    assert len(log.lines) == 1


async def test_stopping_ends_children_one_after_the_other_in_their_order() -> None:
    log = Log()
    code = (
        "import os, signal, time\n"
        "def end(*_):\n time.sleep(0.2); os.write(1, b'ended\\n'); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    names = ("ingest", "features", "risk")
    keeper = supervisor(log, *(unit(log, name, code) for name in names))
    await keeper.start()
    for name in names:
        await log.until(name, "up")
    await keeper.stop()
    assert [name for name, text in log.lines if text == "ended"] == list(names)


async def test_a_child_that_ignores_the_request_is_killed_in_time() -> None:
    log = Log()
    child = unit(log, "trainer", DEAF)
    keeper = supervisor(log, child, stop_timeout_s=0.5)
    await keeper.start()
    await log.until("trainer", "up")
    pid = child.pid
    began = time.monotonic()
    await keeper.stop()
    assert time.monotonic() - began < 3.0
    assert pid is not None
    assert await gone(pid)
    assert ("trainer", "did not end when asked, killed") in log.events


async def test_stopping_during_the_pause_before_a_restart_starts_nothing() -> None:
    log = Log()
    slow = RestartPolicy(first_delay_s=5.0)
    keeper = Supervisor([unit(log, "risk", "raise SystemExit(1)")], policy=slow, on_event=log.event)
    await keeper.start()
    await eventually(lambda: len(log.events) == 2)
    await keeper.stop()
    assert [text for _, text in log.events if text.startswith("started")] == [log.events[0][1]]


async def test_a_dead_childs_own_children_go_with_it() -> None:
    log = Log()
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    child = unit(log, "trainer", code)
    keeper = supervisor(log, child)
    await keeper.start()
    await eventually(lambda: bool(log.lines))
    grandchild = int(log.lines[0][1])
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    assert await gone(grandchild)
    await keeper.stop()


async def test_one_unit_can_be_ended_for_good_while_the_others_go_on() -> None:
    log = Log()
    ingest, risk = unit(log, "ingest", SLEEPER), unit(log, "risk", SLEEPER)
    keeper = supervisor(log, ingest, risk)
    await keeper.start()
    await log.until("ingest", "up")
    await keeper.stop_unit("ingest")
    await asyncio.sleep(0.2)
    assert ingest.pid is None
    assert risk.pid is not None
    assert keeper.restarts["ingest"] == 0
    await keeper.stop()


async def test_lines_go_to_the_log_file_and_an_endless_one_does_no_harm(tmp_path: Path) -> None:
    log = Log()
    file = tmp_path / "features.log"
    code = "print('x' * 3_000_000); print('after', flush=True); import time; time.sleep(60)"
    keeper = supervisor(log, unit(log, "features", code, file))
    await keeper.start()
    await log.until("features", "after")
    await keeper.stop()
    assert file.read_text().splitlines()[-1] == "after"
    assert len(file.read_text()) < 1_000_000


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_no_orphan_is_left_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "keeper.py"
    script.write_text(
        "import asyncio, os, sys\n"
        "from tickwire.supervisor import ProcessUnit, Supervisor\n"
        "async def main():\n"
        "    code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'\n"
        "    unit = ProcessUnit('a', (sys.executable, '-I', '-S', '-c', code), dict(os.environ))\n"
        "    keeper = Supervisor([unit])\n"
        "    await keeper.start()\n"
        "    print(unit.pid, flush=True)\n"
        "    await keeper.wait()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    keeper = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True)
    assert keeper.stdout is not None
    orphan = int(keeper.stdout.readline())
    keeper.kill()
    keeper.wait()
    assert asyncio.run(gone(orphan))


def test_the_pause_doubles_up_to_its_longest() -> None:
    policy = RestartPolicy()
    assert [policy.delay_s(deaths) for deaths in range(1, 8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
