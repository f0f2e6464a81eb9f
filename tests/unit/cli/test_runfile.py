"""How a second terminal finds what runs."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from libs.common.errors import ConfigError
from tickwire.runfile import RunFile, find_running, read_run_file, remove_run_file, write_run_file

RUN = RunFile(
    url="nats://127.0.0.1:4222", pid=os.getpid(), server_pid=2, account="paper", symbols=("EURUSD",),
    config="config.yaml", started_ns=5, services={"risk": 3},
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    child.wait()
    return child.pid


def test_what_was_written_is_found_by_folder_and_without_one(tmp_path: Path) -> None:
    folder = tmp_path / "somewhere" / "state"
    folder.mkdir(parents=True)
    write_run_file(folder, RUN)
    assert find_running(folder) == (folder, RUN)
    assert find_running(None) == (folder, RUN)


def test_after_a_clean_stop_nothing_is_found(tmp_path: Path) -> None:
    write_run_file(tmp_path, RUN)
    remove_run_file(tmp_path)
    with pytest.raises(ConfigError, match="no running stack"):
        find_running(None)
    with pytest.raises(ConfigError, match="no stack is running in"):
        find_running(tmp_path)


def test_a_dead_supervisor_does_not_count_and_its_pointer_goes(tmp_path: Path) -> None:
    dead = msgspec.structs.replace(RUN, pid=dead_pid())
    write_run_file(tmp_path, dead)
    assert read_run_file(tmp_path) is None
    with pytest.raises(ConfigError):
        find_running(None)
    assert list((tmp_path / ".tickwire" / "stacks").iterdir()) == []


def test_of_several_the_one_started_last_is_meant(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
    try:
        for name, run in (("old", msgspec.structs.replace(RUN, pid=sleeper.pid, started_ns=1)), ("new", RUN)):
            (tmp_path / name).mkdir()
            write_run_file(tmp_path / name, run)
        assert find_running(None)[0] == tmp_path / "new"
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize("content", [b"", b"{", b'{"url": 5}'])
def test_a_damaged_run_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert read_run_file(tmp_path) is None
