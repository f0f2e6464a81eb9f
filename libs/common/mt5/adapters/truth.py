"""The broker's truth on disk: every input is written down before it is acted on, every outcome after.

A folder holds ``records-<n>.jsonl`` files, one JSON object per line, and from time to time a snapshot. State is the newest
snapshot plus the inputs written since, so it survives ``kill -9`` at any moment; an auditor reads the records alone:

``request``
    A trade request that was received (``client``, ``request``, ``magic``, ``strike``: what befell it), before it is
    looked at. Its ``answer`` (``result``, ``last_error``, ``silent``) and the ``deal`` lines it caused carry its ``n``.
``submit``, ``advance``, ``plan``
    A request of the market's feeder, a block of ticks, another fault plan; with ``answer`` and ``deal`` lines as well.
``rules``
    A fault struck at a question.
``start``
    A process took over; ``settings`` is a digest of what it was started with.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from libs.common.errors import StorageError
from libs.common.storage.whole_file import write_whole

INPUTS = ("request", "submit", "advance", "plan", "rules")
_encoder = msgspec.json.Encoder()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """State after input ``n``."""

    n: int
    state: bytes


class TruthLog:
    """The records of one simulated broker.

    Parameters
    ----------
    folder : of the records; one process at a time
    sync : have the disk confirm what must not be lost in a power cut; without it ``kill -9`` is still survived

    Raises
    ------
    StorageError : when another process uses the folder
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self.folder = folder
        self._sync = sync
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / "lock")
        self._file: BinaryIO | None = None
        self.n = 0

    def read(self) -> tuple[Snapshot | None, list[dict[str, Any]]]:
        """Return the newest snapshot and all records; a line that was cut by a kill is taken off.

        Raises
        ------
        StorageError : when a record is damaged
        """
        snapshot = self._newest_snapshot()
        after = snapshot.n if snapshot else 0
        records: list[dict[str, Any]] = []
        for path in record_files(self.folder):
            _cut_torn_line(path)
            records += read_records(path)
        self.n = max([after, *(record["n"] for record in records)])
        self._open(record_files(self.folder)[-1] if record_files(self.folder) else self._path_after(after))
        return snapshot, records

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        """Append a record; an input gets the next number, an outcome carries its input's.

        Raises
        ------
        StorageError : when the disk refuses
        """
        assert self._file is not None, "read() comes first"
        self.n += kind in INPUTS
        line = _encoder.encode({"n": self.n, "kind": kind, **fields}) + b"\n"
        try:
            self._file.write(line)
        except OSError as error:
            raise StorageError(f"{self._file.name}: {error.strerror}. Free some room.") from error

    def flush(self) -> None:
        """Have the disk confirm everything written.

        Raises
        ------
        StorageError : when the disk refuses
        """
        assert self._file is not None, "read() comes first"
        if not self._sync:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self._file.name}: {error.strerror}.") from error

    def keep(self, state: bytes) -> None:
        """Write a snapshot of the state after the latest input, and begin another file of records."""
        write_whole(self.folder / f"snapshot-{self.n:012d}.bin", msgspec.msgpack.encode(Snapshot(n=self.n, state=state)))
        self._open(self._path_after(self.n))
        for old in sorted(self.folder.glob("snapshot-*.bin"))[:-2]:
            old.unlink()

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = None

    def _newest_snapshot(self) -> Snapshot | None:
        for path in reversed(sorted(self.folder.glob("snapshot-*.bin"))):
            with contextlib.suppress(msgspec.MsgspecError):
                return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
        return None

    def _path_after(self, n: int) -> Path:
        return self.folder / f"records-{n + 1:012d}.jsonl"

    def _open(self, path: Path) -> None:
        if self._file is not None:
            self._file.close()
        # Unbuffered: what was written has left the process.
        self._file = path.open("ab", buffering=0)


def record_files(folder: Path) -> list[Path]:
    """Return the files of records, oldest first."""
    return sorted(folder.glob("records-*.jsonl"))


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file that are whole.

    Raises
    ------
    StorageError : when a line in its middle is damaged
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise StorageError(f"{path}, line {number}: damaged ({error}). Restore the folder or begin another.") from error


def all_records(folder: Path) -> list[dict[str, Any]]:
    """Return every record of a folder, also while its process runs: a line that is being written is left out."""
    found: list[dict[str, Any]] = []
    for path in record_files(folder):
        whole = path.read_bytes().rpartition(b"\n")[0]
        found += [msgspec.json.decode(line, type=dict[str, Any]) for line in whole.split(b"\n") if line]
    return found


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def _locked(path: Path) -> BinaryIO:
    """Keep others out for as long as this process lives; on systems without ``fcntl`` nobody is kept out."""
    file = path.open("ab")
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StorageError(f"{path.parent} is in use by another simulated terminal. Stop it, or name another.") from error
    return file
