"""The config file and its documentation name every key there is."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import yaml

from libs.common.config import Settings
from libs.common.errors import ConfigError
from tickwire.config_reference import markdown, yaml_reference
from tickwire.sections import Key, config_keys, masked_config, parameter_texts, read_all

REPOSITORY = Path(__file__).resolve().parents[3]
KEYS = list(config_keys())


def test_every_key_of_the_documentation_is_there_and_up_to_date() -> None:
    written = (REPOSITORY / "docs" / "config.md").read_text()
    assert written == markdown(), "settings changed: run `tickwire config reference > docs/config.md`"


@pytest.mark.parametrize("key", [key for key in KEYS if key.depth], ids=lambda key: key.path)
def test_the_config_file_mentions_every_key_with_its_unit_and_default(key: Key) -> None:
    text = (REPOSITORY / "config.yaml").read_text()
    if not key.kind.startswith("section per"):
        assert f"{key.name}:" in text
    flat = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    if not key.kind.startswith("section"):
        assert key.default in flat


def test_the_config_file_is_right_and_runs_out_of_the_box() -> None:
    sections = read_all(REPOSITORY / "config.yaml", {})
    assert set(sections["instruments"]) == set(sections["system"].symbols)
    assert sections["bus"].url == ""


def test_the_reference_with_all_defaults_is_the_defaults() -> None:
    found = yaml.safe_load(yaml_reference())
    assert found["risk"]["max_spread_points"] == 30.0
    assert found["features"]["features"][0]["name"] == "return_1"
    assert found["executor"]["break_even"] is None


def test_the_reference_with_all_defaults_is_a_config_that_means_the_same(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml_reference())
    assert msgspec.to_builtins(read_all(file, {})) == msgspec.to_builtins(read_all(None, {}))


def test_chosen_values_and_names_are_written(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    chosen = {
        "system.symbols": ["EURUSD", "XAUUSD"], "risk.max_spread_points": 12.5, "instruments.EURUSD.digits": 5,
        "instruments.XAUUSD.digits": 2, "instruments.XAUUSD.contract_size": 100.0,
        "risk.max_spread_points_by_symbol": {"XAUUSD": 60.0},
    }
    file.write_text(yaml_reference(chosen))
    sections = read_all(file, {})
    assert sections["system"].symbols == ("EURUSD", "XAUUSD")
    assert sections["instruments"]["XAUUSD"].contract_size == 100.0
    assert sections["risk"].max_spread_points_by_symbol == {"XAUUSD": 60.0}


def test_texts_come_from_docstrings_also_for_several_names_and_over_lines() -> None:
    class Example(Settings, frozen=True, kw_only=True):
        """Things.

        Parameters
        ----------
        first, second : both of these
            over two lines
        third : alone
        """

        first: int = 1
        second: Annotated[int, msgspec.Meta(gt=0)] = 2
        third: str = ""

    assert parameter_texts(Example) == {
        "first": "both of these over two lines", "second": "both of these over two lines", "third": "alone"
    }


def test_secrets_are_masked_and_everything_else_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("bus:\n  password: secret://MY_PASSWORD\n  url: nats://host:4222\nrisk:\n  max_order_lots: 2\n")
    environ = {"MY_PASSWORD": "hunter2", "TICKWIRE_RISK__MAX_SPREAD_POINTS": "25"}
    assert read_all(file, environ)["bus"].password == "hunter2"
    plain = masked_config(file, environ)
    assert plain["bus"]["password"] == "********"
    assert plain["bus"]["url"] == "nats://host:4222"
    assert plain["risk"]["max_order_lots"] == 2.0
    assert plain["risk"]["max_spread_points"] == 25.0
    assert "hunter2" not in str(plain)


def test_a_missing_secret_names_its_variable_and_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("bus:\n  password: secret://NOWHERE\n")
    with pytest.raises(ConfigError, match="environment variable NOWHERE or create the file"):
        read_all(file, {})
