"""The command line as a person uses it."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.errors import ConfigError
from tickwire.commands.demo import pair_symbols, read_speed
from tickwire.commands.up import services_without
from tickwire.main import COMMANDS, app

REPOSITORY = Path(__file__).resolve().parents[3]
runner = CliRunner()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKWIRE_"):
            monkeypatch.delenv(name)


def config_file(text: str) -> str:
    Path("config.yaml").write_text(text)
    return "config.yaml"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_all_its_options(command: str) -> None:
    result = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "Not available" not in result.output


def test_the_help_page_lists_every_command() -> None:
    result = runner.invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert all(command in result.output for command in COMMANDS)


def test_an_unknown_command_is_refused() -> None:
    assert runner.invoke(app, ["dmeo"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("risk:\n  max_spred_points: 3\n", "unknown key 'max_spred_points'; did you mean 'max_spread_points'?"),
        ("rsk: {}\n", "unknown section 'rsk'; did you mean 'risk'?"),
        ("risk:\n  max_order_lots: -1\n", "risk: Expected `float` > 0.0 - at `max_order_lots`"),
        ("risk:\n  max_order_lots: many\n", "Expected `float`, got `str` - at `max_order_lots`"),
        ("bus:\n  password: secret://NOBODY_SET_THIS\n", "secret 'NOBODY_SET_THIS' not found. Set the environment"),
        ("risk: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_exit_code_two(text: str, problem: str) -> None:
    result = runner.invoke(app, ["config", "check", config_file(text)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: config.yaml")
    assert problem in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def test_debug_shows_where_an_error_comes_from() -> None:
    result = runner.invoke(app, ["--debug", "config", "check", "nowhere.yaml"])
    assert isinstance(result.exception, ConfigError)


def test_config_check_prints_the_resolved_config_with_secrets_masked() -> None:
    file = config_file("bus:\n  password: secret://THE_PASSWORD\nrisk:\n  max_order_lots: 2\n")
    environment = {"THE_PASSWORD": "hunter2", "TICKWIRE_RISK__MAX_OPEN_POSITIONS": "7"}
    result = runner.invoke(app, ["config", "check", file, "--json"], env=environment)
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert shown["bus"]["password"] == "********"
    assert shown["risk"]["max_order_lots"] == 2.0
    assert shown["risk"]["max_open_positions"] == 7
    assert shown["trainer"]["gate"]["first_model"] == "skill"
    assert "hunter2" not in result.output


def test_config_check_can_be_quiet() -> None:
    result = runner.invoke(app, ["config", "check", config_file(""), "--quiet"])
    assert (result.exit_code, result.output) == (0, "")


def test_env_reports_as_json_what_it_found() -> None:
    result = runner.invoke(app, ["env", "--json"])
    found = json.loads(result.stdout)
    names = [check["name"] for check in found["checks"]]
    assert {"python", "package nats-py", "cpu flags", "cores", "memory", "disk", "nats-server"} <= set(names)
    assert result.exit_code == (0 if found["usable"] else 1)


def test_keys_init_makes_private_files_and_leaves_old_ones_alone() -> None:
    assert runner.invoke(app, ["keys", "init", "--data-dir", "state"]).exit_code == 0
    folder = Path("state/keys")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"risk.key", "risk.pub", "trainer.key", "trainer.pub", "passwords.json"} <= set(before)
    for name in ("risk.key", "trainer.key", "passwords.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert runner.invoke(app, ["keys", "init", "--data-dir", "state"]).exit_code == 0
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_nats_config_takes_every_password_from_the_environment() -> None:
    result = runner.invoke(app, ["nats-config", "--listen", "0.0.0.0:4333"])
    assert result.exit_code == 0
    assert 'listen: "0.0.0.0:4333"' in result.stdout
    for user in ("risk", "executor", "observer", "admin"):
        assert f"user: {user}, password: $TICKWIRE_NATS_{user.upper()}_PASSWORD" in result.stdout


@pytest.mark.parametrize("command", [["tail", "orders.>"], ["status"], ["halt"], ["models", "list"]])
def test_without_a_running_stack_the_remedy_is_named(command: list[str]) -> None:
    result = runner.invoke(app, command)
    assert result.exit_code == 2
    assert "tickwire up" in result.stderr


def test_a_named_data_folder_where_nothing_runs_is_refused() -> None:
    result = runner.invoke(app, ["status", "--data-dir", "elsewhere"])
    assert result.exit_code == 2
    assert "no stack is running in elsewhere" in result.stderr


def test_a_server_that_does_not_answer_is_an_error_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setattr("tickwire.connect.CONNECT_WITHIN_S", 0.2)
    result = runner.invoke(app, ["status", "--url", f"nats://127.0.0.1:{port}", "--password", "x"])
    assert result.exit_code == 2
    assert f"nats://127.0.0.1:{port}: no NATS server" in result.stderr


def test_a_server_needs_a_password() -> None:
    result = runner.invoke(app, ["tail", "--url", "nats://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "TICKWIRE_NATS_OBSERVER_PASSWORD" in result.stderr


def test_a_filter_without_meaning_is_refused_before_anything_is_asked() -> None:
    result = runner.invoke(app, ["tail", "--filter", "side"])
    assert result.exit_code == 2
    assert "expected field=value" in result.stderr


def test_up_refuses_a_port_that_is_taken_and_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["up", "--config", config_file(""), "--port", str(port)])
    assert result.exit_code == 2
    assert f"port {port}" in result.stderr
    assert "in use" in result.stderr
    assert "--port" in result.stderr


def test_run_knows_its_services_and_needs_a_bus() -> None:
    unknown = runner.invoke(app, ["run", "rsk"])
    assert unknown.exit_code == 2
    assert "'rsk' is no service" in unknown.stderr
    lonely = runner.invoke(app, ["run", "risk", "--config", config_file("")])
    assert lonely.exit_code == 2
    assert "tickwire up --without risk" in lonely.stderr.replace("\n", " ")


def test_a_missing_tick_file_ends_the_demo_before_it_starts() -> None:
    result = runner.invoke(app, ["demo", "--ticks", "nowhere.csv", "--symbol", "EURUSD"])
    assert result.exit_code == 2
    assert "nowhere.csv" in result.stderr
    assert not Path("runs").exists()


def test_a_broken_line_ends_the_demo_with_its_number() -> None:
    Path("eurusd.csv").write_text("time,bid,ask\n2024-01-01 00:00:00,1.1,1.2\n2024-01-01 00:00:01,oops,1.2\n")
    result = runner.invoke(app, ["demo", "--ticks", "eurusd.csv"])
    assert result.exit_code == 2
    assert "eurusd.csv, line 3" in result.stderr
    assert not Path("runs").exists()


def test_a_file_that_tells_of_no_symbol_asks_for_one() -> None:
    with pytest.raises(ConfigError, match="Add --symbol"):
        pair_symbols([Path("ticks.csv")], [])


def test_files_and_symbols_are_paired() -> None:
    one, two = Path("eurusd_a.csv"), Path("mt5_XAUUSD_M1.csv")
    assert pair_symbols([one, two], []) == [(one, "EURUSD"), (two, "XAUUSD")]
    assert pair_symbols([one, two], ["A", "B"]) == [(one, "A"), (two, "B")]
    assert pair_symbols([one, two], ["A"]) == [(one, "A"), (two, "A")]
    with pytest.raises(ConfigError, match="give one for each file"):
        pair_symbols([one, two, one], ["A", "B"])
    with pytest.raises(ConfigError, match="--symbol needs --ticks"):
        pair_symbols([], ["A"])


def test_a_speed_is_max_or_a_number() -> None:
    assert (read_speed(""), read_speed("max"), read_speed("1"), read_speed("0.5")) == (None, "max", 1.0, 0.5)
    for text in ("fast", "0", "-1", "nan"):
        with pytest.raises(ConfigError, match="--speed"):
            read_speed(text)


def test_services_can_be_left_out_by_name() -> None:
    assert services_without(["risk", "trainer"]) == ("ingest", "features", "inference", "executor")
    with pytest.raises(ConfigError, match="no such service"):
        services_without(["rsk"])
