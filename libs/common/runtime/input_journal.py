"""What a service was handed, in the order it was handed it, and its state from time to time.

A restart loads the newest snapshot and replays the inputs after it: same order, same times, so the core comes back
bit for bit. An input is in the file before anything it caused goes out; ``kill -9`` does not lose what was handed
to the kernel.
"""

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from libs.common.errors import StorageError

_CRC = struct.Struct("<I")  # of all that follows
_HEADER = struct.Struct("<IqqHq")  # payload length, now_ns, seq, subject length, step


class Input(msgspec.Struct, frozen=True):
    """One journaled input.

    Parameters
    ----------
    subject : where it came from; ``!`` for results of effects, ``~`` for timers
    seq : as delivered
    now_ns : the time the core was told
    payload : the message, JSON
    step : the lockstep step it belongs to
    """

    subject: str
    seq: int
    now_ns: int
    payload: bytes
    step: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a service needs to go on.

    Parameters
    ----------
    index : number of the journal file that follows
    core : the core's own snapshot
    seen : last number handled, by subject (``@pattern`` for commands)
    sent : last number published, by subject
    clock_ns : event clock
    step : highest step handled
    wall_ns : wall clock when it was taken
    """

    index: int
    core: bytes
    seen: dict[str, int]
    sent: dict[str, int]
    clock_ns: int
    step: int
    wall_ns: int


_REMEDY = (
    "Move it and the files beside it (snapshot, inputs-*) away; the service then rebuilds its state from the streams."
)


def _record_at(content: bytes, at: int) -> Input | None:
    """Return the whole and sound record at a place, ``None`` when there is none."""
    end = _end_of(content, at)
    if not at < end <= len(content):
        return None
    (crc,) = _CRC.unpack_from(content, at)
    if zlib.crc32(memoryview(content)[at + _CRC.size : end]) != crc:
        return None
    start = at + _CRC.size
    _, now_ns, seq, subject_length, step = _HEADER.unpack_from(content, start)
    body = content[start + _HEADER.size : end]
    return Input(body[:subject_length].decode(), seq, now_ns, body[subject_length:], step)


def _end_of(content: bytes, at: int) -> int:
    """Return where the record at a place ends by its own word, the place itself where there is no whole header."""
    start = at + _CRC.size
    if start + _HEADER.size > len(content):
        return at
    length, _, _, subject_length, _ = _HEADER.unpack_from(content, start)
    return start + _HEADER.size + int(subject_length) + int(length)


class InputJournal:
    """Snapshots and input files in one folder.

    Raises
    ------
    StorageError : when the disk refuses; nothing is half-written
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._buffer: list[bytes] = []
        self._descriptor = -1
        self._index = 0
        self._saved_index = -1
        self._saving = threading.Lock()
        self.bytes_since_snapshot = 0

    def load(self) -> Snapshot | None:
        """Return the newest whole snapshot."""
        file = self._folder / "snapshot"
        if not file.exists():
            return None
        content = file.read_bytes()
        digest, body = content[:32], content[32:]
        if hashlib.sha256(body).digest() != digest:
            raise StorageError(f"{file}: damaged (its hash does not match). {_REMEDY}")
        snapshot = msgspec.msgpack.decode(body, type=Snapshot)
        self._index = self._saved_index = snapshot.index
        return snapshot

    def inputs(self) -> Iterator[Input]:
        """Yield the inputs after the loaded snapshot, in order; a torn last record ends them.

        Raises
        ------
        StorageError : when records are damaged that others follow
        """
        files = sorted(self._folder.glob("inputs-*"), key=lambda file: int(file.name.partition("-")[2]))
        for file in files:
            index = int(file.name.partition("-")[2])
            if index < self._index:
                continue
            content = file.read_bytes()
            at = 0
            while (record := _record_at(content, at)) is not None:
                yield record
                at = _end_of(content, at)
            if at < len(content):
                if file != files[-1] or _record_at(content, _end_of(content, at)) is not None:
                    raise StorageError(f"{file}: damaged at byte {at}, and whole records follow. {_REMEDY}")
                # Torn by a crash: what was cut off had caused nothing yet.
                with file.open("r+b") as opened:
                    opened.truncate(at)
            self._index = max(self._index, index)

    def open(self) -> None:
        """Be ready to append, after what ``inputs`` returned."""
        self._descriptor = os.open(self._file(self._index), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, subject: str, seq: int, now_ns: int, payload: bytes, step: int) -> None:
        """Take an input; ``flush`` hands it to the kernel."""
        name = subject.encode()
        record = _HEADER.pack(len(payload), now_ns, seq, len(name), step) + name + payload
        self._buffer.append(_CRC.pack(zlib.crc32(record)))
        self._buffer.append(record)

    def flush(self) -> None:
        """Hand everything taken to the kernel in one write."""
        if not self._buffer:
            return
        content = b"".join(self._buffer)
        self._buffer.clear()
        try:
            written = os.write(self._descriptor, content)
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            raise StorageError(
                f"{self._folder}: cannot write ({error.strerror}). Make room on the disk, then start again."
            ) from error
        self.bytes_since_snapshot += len(content)

    def rotate(self) -> int:
        """Begin the next input file; return its number, which the snapshot taken now must carry."""
        os.close(self._descriptor)
        self._index += 1
        self.bytes_since_snapshot = 0
        self.open()
        return self._index

    def save(self, snapshot: Snapshot) -> int:
        """Write a snapshot whole or not at all, drop the inputs it covers, return its size."""
        with self._saving:
            return self._save(snapshot)

    def _save(self, snapshot: Snapshot) -> int:
        if snapshot.index <= self._saved_index:
            return 0  # a newer one is already there
        body = msgspec.msgpack.encode(snapshot)
        temporary = self._folder / "snapshot.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / "snapshot")
            self._saved_index = snapshot.index
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(
                f"{self._folder}: cannot write a snapshot ({error.strerror}). Make room on the disk."
            ) from error
        for covered in self._folder.glob("inputs-*"):
            if int(covered.name.partition("-")[2]) < snapshot.index:
                covered.unlink(missing_ok=True)
        return len(body)

    def close(self) -> None:
        if self._descriptor >= 0:
            self.flush()
            os.close(self._descriptor)
            self._descriptor = -1

    def _file(self, index: int) -> Path:
        return self._folder / f"inputs-{index}"
