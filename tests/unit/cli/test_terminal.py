"""The simulated terminal as a process of the stack: when there is one, and what it is given."""

import json
from pathlib import Path

import pytest
import yaml

from libs.common.errors import ConfigError
from tickwire.commands.demo import read_broker
from tickwire.demo_config import DemoOptions, demo_config
from tickwire.sections import read_all
from tickwire.terminal import FOLDER, terminal_plan


def sections(tmp_path: Path, options: DemoOptions) -> dict:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(demo_config(options, tmp_path / "state")))
    return read_all(file, {})


def test_a_demo_that_executes_in_the_executor_needs_no_terminal(tmp_path: Path) -> None:
    assert terminal_plan(sections(tmp_path, DemoOptions())) is None


def test_a_demo_through_a_worker_gets_the_terminal_of_the_executor_s_account(tmp_path: Path) -> None:
    found = sections(tmp_path, DemoOptions(broker="mt5", seed=7))
    assert found["executor"].broker == "mt5"
    plan = terminal_plan(found)
    assert plan is not None
    assert plan.listen == found["mt5"].connect
    assert plan.options.terminal == found["executor"].terminal
    assert plan.options.instruments == found["instruments"]
    assert plan.options.seed == 7
    command = plan.command(tmp_path / "state")
    assert plan.token not in " ".join(command), "others may read command lines"
    options = json.loads((tmp_path / "state" / FOLDER / "options.json").read_text())
    assert options["terminal"]["slippage"] == "half_normal"
    assert plan.token not in json.dumps(options)
    assert plan.environment({}) == {"TICKWIRE_TERMINAL_TOKEN": plan.token}
    assert plan.environment({"TICKWIRE_TERMINAL_TOKEN": "given"}) == {"TICKWIRE_TERMINAL_TOKEN": "given"}


def test_the_token_is_named_in_the_config_and_not_written_there(tmp_path: Path) -> None:
    plain = demo_config(DemoOptions(broker="mt5"), tmp_path)
    assert plain["mt5"]["token"] == "secret://TICKWIRE_TERMINAL_TOKEN"


@pytest.mark.parametrize(("broker", "backend", "words"), [
    ("mt4", "sim", "expected sim or mt5"), ("mt5", "real", "simulated terminal only"),
])
def test_a_demo_trades_on_paper_only(broker: str, backend: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_broker(broker, backend)
    assert read_broker("mt5", "sim") == "mt5"
