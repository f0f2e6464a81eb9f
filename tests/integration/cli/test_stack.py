"""The supervisor's stack, ``tail``, ``status`` and the control commands against a real nats-server.

The services are stand-ins of a few lines that speak the same protocol, so that what is tested is the command and the
supervision, not the trading.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from libs.common.bus.nats import NatsBus
from libs.common.config import BusConfig, SystemConfig
from libs.common.errors import ConfigError
from tickwire import stack as stack_module
from tickwire.main import app
from tickwire.runfile import find_running, read_run_file
from tickwire.stack import Stack
from tickwire.supervisor import RestartPolicy, StackFailed

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = RestartPolicy(first_delay_s=0.05, longest_delay_s=0.1, deaths=4)
FAKE_SERVICE = '''
import asyncio, json, os, signal, sys, time
sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
from libs.common.bus.nats import NatsBus
from libs.common.messages.control import Halt, Heartbeat, Resume, TradingHalted, TradingResumed

async def main(name):
    password = os.environ["TICKWIRE_NATS_PASSWORD"]
    bus = await NatsBus.connect(os.environ["TICKWIRE_BUS__URL"], user=name, password=password)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"event": "started", "level": "info"}), flush=True)
    seq = 0
    async def obey():
        nonlocal seq
        reader = await bus.reader(["control.halt", "control.resume"], from_start=False)
        while True:
            for delivered in await reader.batch():
                seq += 1
                common = dict(ts_event_ns=1, ts_init_ns=time.time_ns(), account="paper", seq=seq)
                if isinstance(delivered.message, Halt):
                    await bus.publish(TradingHalted(reason=delivered.message.reason, **common))
                elif isinstance(delivered.message, Resume):
                    await bus.publish(TradingResumed(issued_by=delivered.message.issued_by, **common))
    task = asyncio.create_task(obey()) if name == "risk" else None
    while not stop.is_set():
        now = time.time_ns()
        await bus.publish(Heartbeat(
            ts_event_ns=now, ts_init_ns=now, service=name, instance="i", version="0", ready=True, lag_ms=0.5,
            seen={}, sent={}, details={"pid": os.getpid()},
        ))
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except TimeoutError:
            pass
    print(json.dumps({"event": "stopped", "level": "info"}), flush=True)
    await bus.close()

asyncio.run(main(sys.argv[1]))
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "fake_service.py"
    program.write_text(FAKE_SERVICE)
    monkeypatch.setattr(
        stack_module, "service_command", lambda name, config: (sys.executable, str(program), name)
    )
    # Stand-ins give a heartbeat every 0.1 s, so that nobody need listen as long as a person would.
    monkeypatch.setattr("tickwire.commands.status.LISTEN_S", 0.5)
    monkeypatch.setattr("tickwire.commands.control.CONFIRM_WITHIN_S", 1.0)
    return tmp_path


def make_stack(folder: Path, services: tuple[str, ...] = ("features", "risk"), on_line: object = None) -> Stack:
    system = SystemConfig(data_dir=str(folder / "state"))
    return Stack(
        folder / "config.yaml", system, BusConfig(), services=services, policy=QUICK, log_dir=folder,
        on_line=on_line,  # type: ignore[arg-type]
    )


@pytest.fixture
async def running(folder: Path) -> AsyncIterator[Stack]:
    stack = make_stack(folder)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()


async def eventually(is_so: Callable[[], bool], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not is_so():
            await asyncio.sleep(0.02)


async def command(*arguments: str) -> Any:
    """Run ``tickwire`` as a second terminal would, in a thread of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def heard_alive(stack: Stack) -> None:
    """Return once both stand-ins have said that they live."""
    bus = await NatsBus.connect(stack.url, user="observer", password=stack.passwords["observer"])
    alive: set[str] = set()
    await bus.on_message("health.*", lambda subject, _payload: alive.add(subject))
    await eventually(lambda: alive == {"health.features", "health.risk"})
    await bus.close()


async def test_a_second_terminal_finds_the_stack_and_nothing_is_left_after_a_stop(folder: Path) -> None:
    stack = make_stack(folder)
    await stack.start()
    data_dir, run = find_running(None)
    pids = [*run.services.values(), run.server_pid]
    assert data_dir == (folder / "state").resolve()
    assert set(run.services) == {"features", "risk"}
    assert run.url == stack.url
    assert all(psutil.pid_exists(pid) for pid in pids)
    await heard_alive(stack)
    await stack.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert read_run_file(folder / "state") is None
    assert '"stopped"' in (folder / "risk.log").read_text()


async def test_a_second_stack_in_the_same_folder_is_refused(folder: Path, running: Stack) -> None:
    file = folder / "state" / "run.json"
    other = json.loads(file.read_text())
    other["pid"] = os.getppid()
    file.write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="another stack"):
        await make_stack(folder).start()


async def test_killed_services_and_a_killed_server_come_back_on_the_same_port(running: Stack) -> None:
    url, server, risk = running.url, running.pid_of("nats"), running.pid_of("risk")
    assert server is not None
    assert risk is not None
    os.kill(server, signal.SIGKILL)
    os.kill(risk, signal.SIGKILL)
    for name, old in (("nats", server), ("risk", risk)):
        await eventually(lambda name=name, old=old: running.pid_of(name) not in (None, old))  # type: ignore[misc]
    await heard_alive(running)
    assert running.url == url
    assert running.restarts == {"nats": 1, "features": 0, "risk": 1}
    await eventually(lambda: find_running(None)[1].services["risk"] == running.pid_of("risk"))
    assert find_running(None)[1].server_pid == running.pid_of("nats")


async def test_a_service_that_cannot_live_stops_the_stack_loudly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('error: cannot live'); sys.exit(1)"
    monkeypatch.setattr(stack_module, "service_command", lambda name, config: (sys.executable, "-c", code))
    stack = make_stack(folder, services=("risk",))
    await stack.start()
    with pytest.raises(StackFailed, match="cannot live"):
        await asyncio.wait_for(stack.wait(), 15)
    await stack.stop()


async def test_tail_prints_decoded_filtered_and_raw_messages(running: Stack) -> None:
    pretty = await command("tail", "health.*", "-n", "2", "--filter", "service=risk")
    filtered = await command("tail", "health.*", "--json", "-n", "1", "--filter", "service=features")
    raw = await command("tail", "health.risk", "--raw", "-n", "1")
    assert pretty.exit_code == 0, pretty.stderr
    assert [line.split()[2:4] for line in pretty.stdout.splitlines()] == [["health.risk", "Heartbeat"]] * 2
    [line] = filtered.stdout.splitlines()
    assert json.loads(line)["subject"] == "health.features"
    assert json.loads(line)["message"]["service"] == "features"
    assert json.loads(raw.stdout)["type"] == "Heartbeat"


async def test_halt_and_resume_are_confirmed_by_risk_and_seen_in_the_history(running: Stack) -> None:
    await heard_alive(running)
    halted = await command("halt", "--reason", "news ahead")
    assert halted.exit_code == 0, halted.stderr
    assert "risk confirms" in halted.stdout
    assert "news ahead" in halted.stdout
    state = await command("status", "--json")
    assert json.loads(state.stdout)["risk"]["halted"] is True
    resumed = await command("resume", "--json")
    assert json.loads(resumed.stdout)["confirmed"] is True
    history = await command("tail", "risk.*", "--history", "--json")
    kinds = [json.loads(line)["message"]["type"] for line in history.stdout.splitlines()]
    assert kinds == ["TradingHalted", "TradingResumed"]


async def test_an_unconfirmed_command_says_so_and_fails(folder: Path) -> None:
    stack = make_stack(folder, services=("features",))
    await stack.start()
    try:
        result = await command("halt")
        assert result.exit_code == 1
        assert "risk did not confirm" in result.stderr
        # The command is stored all the same, for a risk that comes back.
        bus = await NatsBus.connect(stack.url, user="observer", password=stack.passwords["observer"])
        assert await bus.last("control.halt") is not None
        await bus.close()
    finally:
        await stack.stop()


async def test_status_tells_who_is_ready_and_who_is_silent(running: Stack) -> None:
    await heard_alive(running)
    result = await command("status", "--json")
    report = json.loads(result.stdout)
    states = {service["name"]: service["state"] for service in report["services"]}
    assert states == {"features": "ready", "risk": "ready"}
    assert result.exit_code == 0
    assert report["account"] is None
    pid = running.pid_of("features")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.2)
        silent = await command("status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert silent.exit_code == 1
    assert "silent" in silent.stdout


async def test_an_observer_may_not_command(running: Stack) -> None:
    bus = await NatsBus.connect(running.url, user="observer", password=running.passwords["observer"])
    operator = await NatsBus.connect(running.url, user="operator", password=running.passwords["operator"])
    heard: list[str] = []
    await operator.on_message("risk.*", lambda subject, _payload: heard.append(subject))
    await bus.publish_payload("risk.paper", 1, b"{}")
    await asyncio.sleep(0.3)
    assert heard == []
    await bus.close()
    await operator.close()


async def test_a_wrong_password_is_a_clear_refusal(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickwire.connect.CONNECT_WITHIN_S", 1.0)
    result = await command("status", "--url", running.url, "--password", "wrong")
    assert result.exit_code == 2
    assert running.url in result.stderr
    assert "refuses user 'observer'" in result.stderr


async def test_models_list_says_when_there_is_none(running: Stack) -> None:
    listed, as_json = await command("models", "list"), await command("models", "list", "--json")
    assert "no model was published yet" in listed.stdout
    assert json.loads(as_json.stdout) == []
    unknown = await command("models", "rollback", "direction-EURUSD")
    assert unknown.exit_code == 2
    assert "no model direction-EURUSD was ever promoted" in unknown.stderr


def test_up_runs_until_sigterm_and_leaves_nothing(folder: Path) -> None:
    starter = folder / "up.py"
    starter.write_text(
        "import sys\nfrom pathlib import Path\nfrom tickwire import stack\nfrom tickwire.main import main\n"
        f"stack.service_command = lambda name, config: (sys.executable, {str(folder / 'fake_service.py')!r}, name)\n"
        "main()\n"
    )
    (folder / "config.yaml").write_text("system:\n  data_dir: state\n")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    up = subprocess.Popen(
        [sys.executable, str(starter), "up", "--without", "trainer"], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while (run := read_run_file(folder / "state")) is None or len(run.services) < 5:
        assert time.monotonic() < deadline
        assert up.poll() is None, up.communicate()
        time.sleep(0.05)
    pids = [*run.services.values(), run.server_pid]
    assert up.stdout is not None
    while not up.stdout.readline().startswith("features  "):
        assert up.poll() is None
    up.send_signal(signal.SIGTERM)
    printed, errors = up.communicate(timeout=20)
    assert up.returncode == 0, errors
    assert "trainer" not in run.services
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "tickwire: stopped" in printed
