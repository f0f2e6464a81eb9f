"""How a second terminal finds what runs: ``run.json`` in the stack's data folder, a pointer to it in ``.tickwire``."""

import contextlib
import os
from pathlib import Path

import msgspec

from libs.common.errors import ConfigError

RUN_FILE = "run.json"
POINTERS = Path(".tickwire") / "stacks"
"""One small file per running stack of this folder; holds the path of its data folder."""


class RunFile(msgspec.Struct, kw_only=True):
    """What is running.

    Parameters
    ----------
    url : ``nats://host:port`` without credentials
    pid : the supervisor's process
    server_pid : nats-server's process, 0 when it is not ours
    account : account key
    symbols : canonical symbols
    config : the config file it was started with
    started_ns : wall time of the start, ns UTC
    services : service -> process id, kept up to date over restarts
    """

    url: str
    pid: int
    server_pid: int
    account: str
    symbols: tuple[str, ...]
    config: str
    started_ns: int
    services: dict[str, int]


def write_run_file(data_dir: Path, run: RunFile) -> None:
    """Write ``run.json`` (whole or not at all) and the pointer to it."""
    file = data_dir / RUN_FILE
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    temporary.replace(file)
    with contextlib.suppress(OSError):  # a read-only working folder only costs the convenience
        POINTERS.mkdir(parents=True, exist_ok=True)
        (POINTERS / str(run.pid)).write_text(str(data_dir.resolve()), encoding="utf-8")


def remove_run_file(data_dir: Path) -> None:
    """Forget the stack of this process."""
    (data_dir / RUN_FILE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (POINTERS / str(os.getpid())).unlink(missing_ok=True)


def read_run_file(data_dir: Path) -> RunFile | None:
    """Return what runs in a data folder, ``None`` when nothing (alive) does."""
    try:
        run = msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError):
        return None
    return run if is_alive(run.pid) else None


def find_running(data_dir: Path | None) -> tuple[Path, RunFile]:
    """Return the data folder and run file of the stack a command means.

    Parameters
    ----------
    data_dir : the stack's data folder; ``None`` for the one started last from this folder

    Raises
    ------
    ConfigError : when nothing runs there
    """
    if data_dir is not None:
        run = read_run_file(data_dir)
        if run is None:
            raise ConfigError(f"no stack is running in {data_dir}. Start one with `tickwire up` or `tickwire demo`.")
        return data_dir, run
    found = [(folder, run) for folder in _pointed() if (run := read_run_file(folder)) is not None]
    if not found:
        raise ConfigError(
            "no running stack was started from this folder. Start one with `tickwire up` or `tickwire demo`, "
            "or name one with --data-dir or --url."
        )
    return max(found, key=lambda pair: pair[1].started_ns)


def _pointed() -> list[Path]:
    if not POINTERS.is_dir():
        return []
    folders = []
    for pointer in POINTERS.iterdir():
        if pointer.name.isdigit() and is_alive(int(pointer.name)):
            folders.append(Path(pointer.read_text(encoding="utf-8").strip()))
        else:
            pointer.unlink(missing_ok=True)
    return folders


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
