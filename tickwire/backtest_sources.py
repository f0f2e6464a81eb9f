"""Where a backtest's ticks come from: files, the tick store, or what the config names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from libs.common.errors import ConfigError, DataError
from libs.common.storage.ticks import TickStore
from libs.common.subjects import encode_token
from services.ingest.adapters.replay import ReplayOptions, open_replay, replay_format
from services.ingest.bars import BarPath
from services.ingest.digits import infer_digits
from services.ingest.raw import RawTicks

NS_PER_S = 1_000_000_000
_FEW = 10


@dataclass(frozen=True)
class Window:
    """Which ticks of a source are wanted.

    Parameters
    ----------
    from_ns, to_ns : from the first instant on, before the second, ns UTC; 0 for no bound
    limit : most ticks, 0 for all
    """

    from_ns: int = 0
    to_ns: int = 0
    limit: int = 0


@dataclass(frozen=True)
class MarketFile:
    """A file, or a folder of the tick store, that was read through once.

    Parameters
    ----------
    format : what it is taken for
    ticks : how many are wanted of it
    digits : decimals of its prices
    size : bytes
    """

    path: Path
    symbol: str
    zone: str
    format: str
    ticks: int
    digits: int
    size: int

    @property
    def is_bars(self) -> bool:
        """True when every line is a bar of four ticks."""
        return "bars" in self.format


def survey(path: Path, symbol: str, zone: str, window: Window) -> MarketFile:
    """Read a source through, so that what cannot be used is refused before anything starts.

    Raises
    ------
    DataError : naming file, line, problem and remedy
    ConfigError : for an unknown zone
    """
    found = replay_format(path)
    ticks = falls = 0
    digits: int | None = None
    chunks = open_replay(path, symbol, ReplayOptions(zone=zone, check=False))
    for chunk in wanted(chunks, window):
        if digits is None and len(chunk):
            digits = infer_digits(chunk.bid)
        ticks += len(chunk)
        falls += int((np.diff(chunk.time_ns) < 0).sum())
    if digits is None:
        if window.from_ns or window.to_ns:
            raise DataError(str(path), "holds no tick in the time that was asked for", remedy="Look at --from and --to")
        raise DataError(str(path), "holds no ticks", remedy="Name another file")
    if ticks > _FEW and falls * 2 > ticks:
        raise DataError(
            str(path), f"{falls} of {ticks} ticks are earlier than the tick before them",
            remedy="Sort the file by time, oldest first",
        )
    return MarketFile(path, symbol, zone, found, ticks, digits, _size(path))


def open_file(file: MarketFile, window: Window, digits: int, spread_points: float, bar_path: BarPath) -> Iterator[RawTicks]:
    """Yield a surveyed file's ticks.

    Parameters
    ----------
    digits : decimals of the symbol's prices, for spreads in points
    spread_points : spread of bars that name none
    bar_path : what came first in a bar
    """
    options = ReplayOptions(
        zone=file.zone, check=False, digits=digits, bar_spread_points=spread_points, bar_path=bar_path
    )
    return wanted(open_replay(file.path, file.symbol, options), window)


def wanted(chunks: Iterator[RawTicks], window: Window) -> Iterator[RawTicks]:
    """Yield the ticks of a window."""
    left = window.limit or None
    for chunk in chunks:
        start, stop = 0, len(chunk)
        if window.from_ns:
            inside = np.flatnonzero(chunk.time_ns >= window.from_ns)
            start = int(inside[0]) if len(inside) else stop
        if window.to_ns:
            late = np.flatnonzero(chunk.time_ns[start:] >= window.to_ns)
            stop = start + int(late[0]) if len(late) else stop
        if left is not None:
            stop = min(stop, start + left)
            left -= stop - start
        if stop > start:
            yield chunk.part(start, stop)
        if left == 0 or (window.to_ns and start < len(chunk) and stop < len(chunk)):
            return


def stored_folder(store: Path, symbol: str) -> Path:
    """Return the folder of a symbol in a tick store.

    Raises
    ------
    DataError : when the store has none of its ticks
    """
    held = TickStore(store).symbols()
    if symbol not in held:
        known = f"it holds {', '.join(held)}" if held else "it is empty, or there is none"
        raise DataError(
            str(store), f"this tick store has no ticks of {symbol}; {known}",
            remedy="Name a file with --ticks, another store with --store, or load ticks (`tickwire history`)",
        )
    return store / encode_token(symbol)


def instant_ns(text: str, option: str, *, end: bool = False) -> int:
    """Return a date or an ISO 8601 instant as ns UTC; 0 for an empty text.

    Parameters
    ----------
    end : a bare date means the end of that day

    Raises
    ------
    ConfigError : naming the option

    Examples
    --------
    >>> instant_ns("1970-01-02", "--from"), instant_ns("1970-01-01", "--to", end=True)
    (86400000000000, 86400000000000)
    """
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected a date (2026-01-31) or an instant (2026-01-31T14:30:00)") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if end and len(text) == len("2026-01-31"):
        moment += timedelta(days=1)
    return round(moment.timestamp() * 1_000_000) * 1_000


def as_text(file: MarketFile) -> str:
    """Return what a file is, in words."""
    return f"{file.symbol}: {file.path} ({file.format})"


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return path.stat().st_size
