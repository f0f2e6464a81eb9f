"""``tickwire doctor mt5`` through a real worker, against the simulated terminal in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from libs.common.bus.server import die_with_parent
from libs.common.mt5.adapters.simulated_broker import BrokerOptions
from libs.common.mt5.sim.settings import TerminalSettings
from tickwire.main import app
from tickwire.terminal import TerminalPlan, free_port

ROOT = Path(__file__).parents[3]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"127.0.0.1:{free_port()}"
    plan = TerminalPlan(
        listen=address, options=BrokerOptions(terminal=TerminalSettings(filling_mode=1)), token="a token of this test"
    )
    monkeypatch.setenv("TICKWIRE_TERMINAL_TOKEN", plan.token)
    process = subprocess.Popen(
        plan.command(tmp_path), env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield address
    process.terminate()
    process.wait(10)


def ask(tmp_path: Path, address: str, **sections: object) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code and what was found, by state."""
    config = {
        "instruments": {"EURUSD": {}}, "mt5": {"backend": "sim", "connect": address},
        "system": {"data_dir": str(tmp_path / "state")}, **sections,
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(app, ["doctor", "mt5", "--json", "--config", str(file), "--wait", "60"])
    told = json.loads(result.stdout)
    found: dict[str, list[str]] = {}
    for finding in told["findings"]:
        found.setdefault(finding["state"], []).append(finding["found"])
        assert finding["state"] != "problem" or finding["remedy"]
    assert told["well"] == ("problem" not in found)
    return result.exit_code, found


@pytest.mark.skipif(sys.platform == "win32", reason="kills its terminal by POSIX means; run it on Linux")
def test_what_is_wrong_is_found_through_the_worker(terminal: str, tmp_path: Path) -> None:
    code, found = ask(tmp_path, terminal)
    assert code == 0, found
    assert "filling ioc is not supported; orders will be sent as fok" in found["warning"]
    code, found = ask(
        tmp_path, terminal, instruments={"EURUSD": {"volume_step": 0.1}},
        system={"symbols": ["EURUSD", "GBPUSD"], "data_dir": str(tmp_path / "state")},
        executor={"mt5": {"account": {"login": 5}}},
    )
    assert code == 1
    problems = "\n".join(found["problem"])
    assert "volume_step is 0.1, the broker says 0.01" in problems
    assert "GBPUSD: the broker offers no such symbol" in problems
    assert "login is 1000001, pinned is 5" in problems
