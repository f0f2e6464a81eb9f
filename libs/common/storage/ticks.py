"""The tick store: Parquet by symbol and UTC day, appended to while ticks flow, never half-written.

::

    <root>/<symbol, percent-encoded>/2024-01-08.parquet           a day that is over
                                    /2024-01-09.000001.parquet    parts of a day that goes on
                                    /2024-01-09.000002.parquet

A part is written under another name, synced and renamed, so a crash leaves whole parts only. When a later day
begins, the parts of the day before become one file, which names the last part it holds: parts it holds already are
ignored and removed, whenever the crash came.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq

from libs.common.errors import StorageError
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import no_floats, no_ints
from libs.common.subjects import decode_token, encode_token

NS_PER_DAY = 86_400 * 1_000_000_000
FLUSH_TICKS = 50_000
_NAME = re.compile(r"^(\d{4}-\d{2}-\d{2})(?:\.(\d{6}))?\.parquet$")
_HOLDS = "tickwire.parts"
_FLOATS = ("bid", "ask", "last", "volume")
_COLUMNS = ("time_ns", *_FLOATS, "flags")


class TickColumns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Ticks of one symbol as columns of equal length; ``last``, ``volume``, ``flags`` empty where unknown."""

    time_ns: Ints
    bid: Floats
    ask: Floats
    last: Floats = msgspec.field(default_factory=no_floats)
    volume: Floats = msgspec.field(default_factory=no_floats)
    flags: Ints = msgspec.field(default_factory=no_ints)

    def __len__(self) -> int:
        return len(self.time_ns)


class HasTickColumns(Protocol):
    """Anything with the columns of a tick block, a ``TickBlock`` for example."""

    @property
    def time_ns(self) -> Ints: ...
    @property
    def bid(self) -> Floats: ...
    @property
    def ask(self) -> Floats: ...
    @property
    def last(self) -> Floats: ...
    @property
    def volume(self) -> Floats: ...
    @property
    def flags(self) -> Ints: ...


class _Day(msgspec.Struct):
    """The day a symbol is in: what is buffered, and where its end stands on disk."""

    day: int
    next_part: int
    last_ns: int
    tail: list[tuple[float, float]]
    frames: list[pl.DataFrame]
    buffered: int = 0


class TickStore:
    """Reads and writes one store. One writer per store; any number of readers.

    Ticks that the store holds already (a replay after a crash, or of the same file) are recognised at the end of
    their day and not stored twice.

    Parameters
    ----------
    root : folder of the store; created on the first write
    flush_ticks : ticks of a symbol buffered before a part is written
    """

    def __init__(self, root: Path, flush_ticks: int = FLUSH_TICKS) -> None:
        self._root = root
        self._flush_ticks = flush_ticks
        self._open: dict[str, _Day] = {}

    def append(self, symbol: str, columns: HasTickColumns) -> int:
        """Take ticks in order of time; they are on disk after ``flush`` at the latest.

        Parameters
        ----------
        columns : good ticks, times ns UTC, never falling

        Returns
        -------
        How many of them were new.

        Raises
        ------
        StorageError : when the disk refuses; nothing is half-written, what is buffered stays buffered
        """
        frame = _frame(columns)
        days = frame["time_ns"].to_numpy() // NS_PER_DAY
        edges = np.flatnonzero(np.diff(days)) + 1
        new = 0
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(days)], strict=True):
            if stop > start:
                new += self._append_day(symbol, int(days[start]), frame[start:stop])
        return new

    def flush(self) -> None:
        """Write everything buffered.

        Raises
        ------
        StorageError : when the disk refuses
        """
        for symbol, day in self._open.items():
            self._write_part(symbol, day)

    def close(self) -> None:
        """Write everything buffered and make each day's parts one file.

        Raises
        ------
        StorageError : when the disk refuses
        """
        for symbol, day in self._open.items():
            self._write_part(symbol, day)
            self._compact(symbol, day.day)
        self._open.clear()

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols the store holds ticks of."""
        if not self._root.is_dir():
            return ()
        return tuple(sorted(decode_token(folder.name) for folder in self._root.iterdir() if folder.is_dir()))

    def last_ns(self, symbol: str) -> int:
        """Return when the last tick on disk happened, ns UTC; 0 where there is none.

        Raises
        ------
        StorageError : when the newest file cannot be read
        """
        files = day_files(self._folder(symbol))
        return int(_read(files[-1])["time_ns"][-1]) if files else 0

    def read(self, symbol: str, from_ns: int, to_ns: int) -> Iterator[TickColumns]:
        """Yield the ticks of ``from_ns <= time < to_ns`` that are on disk, in order, file by file.

        Raises
        ------
        StorageError : when a file cannot be read
        """
        folder = self._folder(symbol)
        for day in sorted({_day_number(path) for path in day_files(folder)}):
            if (day + 1) * NS_PER_DAY <= from_ns or day * NS_PER_DAY >= to_ns:
                continue
            for frame in _read_day(folder, day):
                start, stop = np.searchsorted(frame["time_ns"].to_numpy(), [from_ns, to_ns]).tolist()
                if stop > start:
                    yield _columns(frame[start:stop])

    def _folder(self, symbol: str) -> Path:
        return self._root / encode_token(symbol)

    def _append_day(self, symbol: str, number: int, frame: pl.DataFrame) -> int:
        day = self._open.get(symbol)
        if day is not None and day.day != number:
            self._write_part(symbol, day)
            self._compact(symbol, day.day)
            day = None
        if day is None:
            day = self._open[symbol] = self._open_day(symbol, number)
        frame = _without_known(frame, day)
        if frame.height == 0:
            return 0
        day.frames.append(frame)
        day.buffered += frame.height
        day.last_ns, day.tail = int(frame["time_ns"][-1]), []
        if day.buffered >= self._flush_ticks:
            self._write_part(symbol, day)
        return frame.height

    def _open_day(self, symbol: str, number: int) -> _Day:
        folder = self._folder(symbol)
        _remove_leftovers(folder, number)
        paths = [path for path in day_files(folder) if _day_number(path) == number]
        if not paths:
            return _Day(day=number, next_part=1, last_ns=-1, tail=[], frames=[])
        newest = max(max(_part_number(path), _held_parts(path)) for path in paths)
        last_ns = int(_read(paths[-1])["time_ns"][-1])
        # What stands at the last instant may spread over several files; only its quotes are needed.
        ends = [_read(path).filter(pl.col("time_ns") == last_ns) for path in paths]
        tail = [(row[0], row[1]) for end in ends for row in end.select("bid", "ask").iter_rows()]
        return _Day(day=number, next_part=newest + 1, last_ns=last_ns, tail=tail, frames=[])

    def _write_part(self, symbol: str, day: _Day) -> None:
        if not day.frames:
            return
        path = self._folder(symbol) / f"{_day_name(day.day)}.{day.next_part:06d}.parquet"
        _write(path, _joined(day.frames), {})
        day.next_part += 1
        day.frames, day.buffered = [], 0

    def _compact(self, symbol: str, number: int) -> None:
        folder = self._folder(symbol)
        paths = [path for path in day_files(folder) if _day_number(path) == number]
        if len(paths) == 1 and not _part_number(paths[0]):
            return
        if not paths:
            return
        holds = max(max(_part_number(path), _held_parts(path)) for path in paths)
        whole = folder / f"{_day_name(number)}.parquet"
        _write(whole, _joined([_read(path) for path in paths]), {_HOLDS: str(holds)})
        for path in paths:
            if path != whole:
                path.unlink(missing_ok=True)


def day_files(folder: Path) -> list[Path]:
    """Return the files of a symbol's folder that hold its ticks, in order of time, each tick once."""
    if not folder.is_dir():
        return []
    found = sorted(
        (match[1], int(match[2] or 0), path)
        for path in folder.iterdir()
        if (match := _NAME.match(path.name))
    )
    held = {day: _held_parts(path) for day, part, path in found if part == 0}
    return [path for day, part, path in found if part == 0 or part > held.get(day, 0)]


def _held_parts(path: Path) -> int:
    """Return the number of the last part a day's file was made of, 0 for a part."""
    if _part_number(path):
        return 0
    try:
        return int((pq.read_metadata(path).metadata or {}).get(_HOLDS.encode(), b"0"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _part_number(path: Path) -> int:
    match = _NAME.match(path.name)
    return int(match[2] or 0) if match else 0


def _day_number(path: Path) -> int:
    day = datetime.strptime(path.name[:10], "%Y-%m-%d").replace(tzinfo=UTC)
    return int(day.timestamp()) // 86_400


def _day_name(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")


def _remove_leftovers(folder: Path, number: int) -> None:
    """Remove what a crash left of a day: unfinished writes, and parts its file holds already."""
    if not folder.is_dir():
        return
    keep = set(day_files(folder))
    for path in folder.glob(f"{_day_name(number)}*"):
        if path not in keep:
            path.unlink(missing_ok=True)


def _without_known(frame: pl.DataFrame, day: _Day) -> pl.DataFrame:
    times = frame["time_ns"].to_numpy()
    if len(times) and times[0] > day.last_ns:
        return frame
    frame = frame[int(np.searchsorted(times, day.last_ns, side="left")) :]
    # At the very last instant stored, several ticks may share the time: they are known as far as quotes agree.
    known = 0
    for time_ns, bid, ask in frame.select("time_ns", "bid", "ask").iter_rows():
        if time_ns != day.last_ns or known >= len(day.tail) or day.tail[known] != (bid, ask):
            break
        known += 1
    del day.tail[:known]
    return frame[known:]


def _frame(columns: HasTickColumns) -> pl.DataFrame:
    arrays = {name: np.asarray(getattr(columns, name)) for name in _COLUMNS}
    times = arrays["time_ns"]
    if len(times) > 1 and (times[1:] < times[:-1]).any():
        raise ValueError("ticks to store must come in order of time")
    return pl.DataFrame({name: array for name, array in arrays.items() if len(array) or name in _COLUMNS[:3]})


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Put frames one below the other; a column only some of them have is 0 in the others, as in MetaTrader."""
    whole = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    order = [name for name in _COLUMNS if name in whole.columns]
    return whole.select(order).fill_null(0)


def _columns(frame: pl.DataFrame) -> TickColumns:
    return TickColumns(
        **{name: np.array(frame[name].to_numpy()) for name in _COLUMNS if name in frame.columns}
    )


def _read_day(folder: Path, day: int) -> list[pl.DataFrame]:
    """Read a day's files; the writer may be making them one file at this very moment."""
    attempts = 3
    while True:
        attempts -= 1
        try:
            return [_read(path) for path in day_files(folder) if _day_number(path) == day]
        except FileNotFoundError as error:
            if not attempts:
                raise _unreadable(folder, error) from error


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path.read_bytes())
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StorageError:
    reason = str(error).splitlines()[0][:160]
    return StorageError(
        f"{path}: cannot be read ({reason}). Restore the file, or remove it to go on without its ticks."
    )


def _write(path: Path, frame: pl.DataFrame, metadata: dict[str, str]) -> None:
    """Write a file whole or not at all, and have it survive a power cut."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", metadata=metadata)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"{path}: the disk refuses to store ticks ({error.strerror}). Nothing was half-written. Free some space "
            "or name another folder with system.data_dir, then start again; ingest.record: false goes on without."
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened, and a rename is synced with the file
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
