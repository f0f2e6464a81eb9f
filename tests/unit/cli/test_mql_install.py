"""``tickwire mql install`` copies the sources where a terminal looks for them, and says what is left to click."""

import os
import stat

import pytest
from typer.testing import CliRunner

from libs.common.errors import ConfigError, DataError
from tickwire.commands.mql import group
from tickwire.mql_install import SOURCES, find_data_folder, install, install_secrets

runner = CliRunner()


@pytest.fixture
def terminal(tmp_path):
    """An empty data folder of a MetaTrader 5 terminal."""
    (tmp_path / "terminal" / "MQL5" / "Experts").mkdir(parents=True)
    return tmp_path / "terminal"


def test_all_sources_arrive_and_nothing_else(terminal):
    (terminal / "MQL5" / "Experts" / "Mine.mq5").write_text("mine")
    done = install(terminal)
    ours = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.mq*"))
    assert len(done.new) == len(ours)
    assert all((terminal / "MQL5" / path).read_bytes() == (SOURCES / path).read_bytes() for path in ours)
    assert (terminal / "MQL5" / "Experts" / "Mine.mq5").read_text() == "mine"
    assert not list(terminal.rglob("*.part"))


def test_a_second_time_only_what_differs_is_written(terminal):
    install(terminal)
    changed = terminal / "MQL5" / "Include" / "Tickwire" / "Nats.mqh"
    changed.write_text("old")
    done = install(terminal)
    assert done.changed == (os.path.join("MQL5", "Include", "Tickwire", "Nats.mqh"),)
    assert not done.new


def test_the_folder_may_be_named_by_its_mql5(terminal):
    assert find_data_folder(terminal / "MQL5") == terminal == find_data_folder(terminal)


@pytest.mark.parametrize(("make", "told"), [((), "no MetaTrader 5 data folder"), (("MQL4", "Experts"), "MetaTrader 4")])
def test_a_folder_that_is_none_is_refused_with_the_way_to_find_it(tmp_path, make, told):
    tmp_path.joinpath(*make).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=told) as caught:
        find_data_folder(tmp_path)
    assert "Open Data Folder" in str(caught.value)
    with pytest.raises(DataError, match="no such folder"):
        find_data_folder(tmp_path / "nowhere")


def test_the_command_says_what_is_left_to_do_and_that_nothing_was_compiled(terminal, tmp_path):
    result = runner.invoke(group, ["install", str(terminal), "--data-dir", str(tmp_path / "tw"), "--port", "4333"])
    assert result.exit_code == 0, result.output
    for words in ("press F7", "MetaEditor", "was not run", "Allow WebRequest", "Algo Trading", "InpPort=4333"):
        assert words in " ".join(result.output.split())
    for name, length in (("ea.key", 65), ("ea.password", 34)):
        secret = terminal / "MQL5" / "Files" / "tickwire" / name
        assert len(secret.read_text()) == length
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.read_text().strip() not in result.output


def test_without_a_data_folder_of_ours_no_secret_is_written(terminal):
    result = runner.invoke(group, ["install", str(terminal)])
    assert "no password and no key written" in result.output
    assert not (terminal / "MQL5" / "Files").exists()


def test_a_data_folder_that_cannot_be_is_refused_by_name(terminal, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"file.keys: cannot be made \(Not a directory\)\. Name a data folder"):
        install_secrets(terminal, tmp_path / "file", ("ea",))
