"""Files as ticks: whatever the format, chunks of at most 65,536 ticks in UTC, memory flat.

====================  ============================================================  ================
format                recognised by                                                 default clock
====================  ============================================================  ================
Parquet ticks         a time with bid and ask; the tick store's own files           UTC
Parquet bars          a time with open, high, low, close                            UTC
tick store folder     a folder of ``YYYY-MM-DD*.parquet``                           UTC
MT5 exported bars     ``<DATE> <TIME> <OPEN> ... <SPREAD>``                         NY+7
MT5 exported ticks    ``<DATE> <TIME> <BID> <ASK> <LAST> <VOLUME> <FLAGS>``         NY+7
HistData ticks, bars  ``YYYYMMDD HHMMSSmmm,bid,ask,vol``, ``YYYYMMDD HHMMSS;...``   America/New_York
TrueFX ticks          ``EUR/USD,YYYYMMDD HH:MM:SS.mmm,bid,ask``                     UTC
plain columns         a header with time, bid, ask (or open, high, low, close)      UTC
====================  ============================================================  ================

A time that carries its own offset needs no zone and ignores one. A named zone applies to numbers since 1970 as
well: MetaTrader's Python package writes the server's wall clock as if it were such a number.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from libs.common.errors import DataError
from libs.common.messages.base import Floats
from libs.common.messages.market import no_floats, no_ints
from libs.common.storage.ticks import day_files
from services.ingest.adapters.columns import ASK_BAR, BID_BAR
from services.ingest.adapters.csv_table import TableBlock, table_blocks
from services.ingest.adapters.layouts import find_layout
from services.ingest.adapters.parquet_table import MAGIC, find_table, parquet_blocks
from services.ingest.adapters.zones import WallClock
from services.ingest.bars import TICKS_PER_BAR, BarPath, Bars, BarWatch, expand_bars
from services.ingest.config import QualitySettings
from services.ingest.digits import infer_digits
from services.ingest.quality import OUT_OF_ORDER, QualityState
from services.ingest.raw import MAX_CHUNK, RawTicks

NS_PER_S = 1_000_000_000
_FEW = 10
_DEFAULT_STEP_NS = 60 * NS_PER_S
_TRADED = ("last", "volume", "flags")


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to read one file.

    Parameters
    ----------
    zone : clock of its times; empty for the format's default
    limit : most ticks to yield, 0 for all
    skip : ticks to leave out at the start (where a restarted replay goes on)
    chunk : most ticks at once
    check : read the file through before the first tick, so that a broken line refuses the whole file
    digits : decimals of a price, for spreads in points; ``None``: found out from the prices
    bar_spread_points : spread of bars that name none, points
    bar_path : what came first in a bar, its high or its low
    """

    zone: str = ""
    limit: int = 0
    skip: int = 0
    chunk: int = MAX_CHUNK
    check: bool = True
    digits: int | None = None
    bar_spread_points: float = 20.0
    bar_path: BarPath = "direction"


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a known format, not yet read."""

    path: Path
    format: str
    kind: str
    zone: str
    is_utc: bool

    @property
    def is_parquet(self) -> bool:
        return self.format.startswith("Parquet")


def open_replay(path: str | Path, symbol: str, options: ReplayOptions | None = None) -> Iterator[RawTicks]:
    """Open a market data file and yield its ticks.

    Times that fall, crossed quotes and the like are passed on: they are the quality rules' to judge. What cannot be
    read at all, and bars that are out of order or of mixed lengths, are refused here.

    Parameters
    ----------
    path : a file, or a folder of the tick store's day files
    symbol : whose ticks they are

    Raises
    ------
    DataError : at the call (with ``check``) or while reading: naming file, line, problem and remedy
    ConfigError : for an unknown zone
    """
    options = options or ReplayOptions()
    sources = _sources(Path(path))
    if options.check:
        for _ in _watched(sources, symbol, options):
            pass
    return _limited(_all(sources, symbol, options), options.skip, options.limit, options.chunk)


def read_through(path: str | Path, symbol: str, options: ReplayOptions) -> Iterator[RawTicks]:
    """Yield the ticks of a file as ``open_replay`` does, and refuse it at its end where most are out of order.

    Raises
    ------
    DataError, ConfigError : as ``open_replay``
    """
    return _watched(_sources(Path(path)), symbol, options)


def _watched(sources: list[_Source], symbol: str, options: ReplayOptions) -> Iterator[RawTicks]:
    ticks = late = 0
    first_late: str | None = None
    rules = QualityState(QualitySettings())
    for chunk in _limited(_all(sources, symbol, options), options.skip, options.limit, options.chunk):
        rows = np.flatnonzero(rules.judge(chunk) == OUT_OF_ORDER)
        if rows.size and first_late is None:
            first_late = chunk.place(int(rows[0]))
        ticks += len(chunk)
        late += rows.size
        yield chunk
    if ticks > _FEW and late * 2 > ticks and first_late is not None:
        path, _, line = first_late.rpartition(":")
        raise DataError(
            path, f"{late} of {ticks} ticks are earlier than a tick before them, from this line on", line=int(line),
            remedy="Sort the file by time, oldest first, or mend the time of the line before",
        )  # fmt: skip


def replay_format(path: str | Path) -> str:
    """Return what a file is taken for, e.g. ``MT5 bars``.

    Raises
    ------
    DataError : as ``open_replay``
    """
    return _sources(Path(path))[0].format


def _sources(path: Path) -> list[_Source]:
    try:
        if path.is_dir():
            return [_source(file) for file in _day_files(path)]
        return [_source(path)]
    except FileNotFoundError:
        raise DataError(
            str(path), "there is no such file", remedy="Check the path; it is relative to where you start"
        ) from None
    except OSError as error:
        raise DataError(
            str(path), f"cannot be read ({error.strerror})", remedy="Check the path and its permissions"
        ) from error


def _day_files(folder: Path) -> list[Path]:
    files = day_files(folder)
    if not files:
        raise DataError(
            str(folder), "this is a folder and holds no day files of the tick store (YYYY-MM-DD.parquet)",
            remedy="Name a file",
        )  # fmt: skip
    return files


def _source(path: Path) -> _Source:
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
    if magic == MAGIC:
        table = find_table(path)
        return _Source(
            path=path, format=f"Parquet {table.kind}", kind=table.kind, zone="UTC", is_utc=table.is_utc
        )
    layout = find_layout(path)
    utc = layout.time.is_utc
    return _Source(
        path=path, format=layout.name, kind=layout.kind, zone="UTC" if utc else layout.zone, is_utc=utc
    )


def _all(sources: list[_Source], symbol: str, options: ReplayOptions) -> Iterator[RawTicks]:
    for source in sources:
        yield from _read(source, symbol, options)


def _read(source: _Source, symbol: str, options: ReplayOptions) -> Iterator[RawTicks]:
    try:
        if source.is_parquet:
            blocks = parquet_blocks(source.path, find_table(source.path))
        else:
            blocks = table_blocks(source.path, find_layout(source.path))
        clock = WallClock(source.zone if source.is_utc or not options.zone else options.zone)
        if source.kind == "bars":
            yield from _bar_ticks(source, symbol, blocks, clock, options)
        else:
            yield from _ticks(source, symbol, blocks, clock)
    except OSError as error:
        raise DataError(str(source.path), f"cannot be read ({error.strerror})", remedy="Check the disk") from error


def _ticks(source: _Source, symbol: str, blocks: Iterator[TableBlock], clock: WallClock) -> Iterator[RawTicks]:
    carried: dict[str, float] = {}
    silent: set[str] | None = None
    for block in blocks:
        columns = block.columns if source.is_parquet else _filled(block.columns, carried)
        if silent is None:
            # A column that says nothing in the first block is not one: feeds without trades fill it with zeros.
            silent = {name for name in _TRADED if name not in columns or not np.any(columns[name] != 0.0)}
        yield RawTicks(
            symbol=symbol,
            file=str(source.path),
            first_line=block.first_line,
            time_ns=clock.to_utc(block.time_ns),
            bid=columns["bid"],
            ask=columns["ask"],
            last=no_floats() if "last" in silent else columns["last"],
            volume=no_floats() if "volume" in silent else columns["volume"],
            flags=no_ints() if "flags" in silent else np.nan_to_num(columns["flags"]).astype(np.int64),
        )


def _filled(columns: dict[str, Floats], carried: dict[str, float]) -> dict[str, Floats]:
    """Fill a text table's empty cells: a price is what it was before, a volume or flag is 0.

    Before the first price nothing is known; a bid or ask stays NaN, which the quality rules find.
    """
    filled = dict(columns)
    for name, unknown in (("bid", np.nan), ("ask", np.nan), ("last", 0.0)):
        if name in columns:
            filled[name] = _carry(columns[name], carried.get(name, unknown))
            carried[name] = float(filled[name][-1])
    for name in ("volume", "flags"):
        if name in columns:
            filled[name] = np.nan_to_num(columns[name])
    return filled


def _carry(column: Floats, before: float) -> Floats:
    missing = np.isnan(column)
    if not missing.any():
        return column
    known = np.where(missing, 0, np.arange(1, len(column) + 1))
    return np.concatenate(([before], column))[np.maximum.accumulate(known)]


def _bar_ticks(
    source: _Source, symbol: str, blocks: Iterator[TableBlock], clock: WallClock, options: ReplayOptions
) -> Iterator[RawTicks]:
    watch = BarWatch()
    digits = options.digits
    first_line = 0
    for block in blocks:
        first_line = first_line or block.first_line
        spread = block.columns.get("spread", no_floats())
        asks = {name: block.columns[name] for name in ASK_BAR} if "ask_open" in block.columns else {}
        bars = Bars(
            time_ns=clock.to_utc(block.time_ns),
            spread_points=spread,
            **{name: block.columns[name] for name in BID_BAR},
            **asks,
        )
        fault = watch.check(bars)
        if fault is not None:
            raise DataError(str(source.path), fault.problem, line=first_line + fault.bar, remedy=fault.remedy)
        if digits is None:
            digits = infer_digits(bars.close)
        step_ns = watch.step_ns or _DEFAULT_STEP_NS
        time_ns, bid, ask = expand_bars(bars, step_ns, 10.0**-digits, options.bar_spread_points, options.bar_path)
        yield RawTicks(
            symbol=symbol,
            file=str(source.path),
            first_line=block.first_line,
            time_ns=time_ns,
            bid=bid,
            ask=ask,
            ticks_per_line=TICKS_PER_BAR,
            interval_ns=step_ns // 3 + 1,
        )


def _limited(chunks: Iterator[RawTicks], skip: int, limit: int, chunk: int) -> Iterator[RawTicks]:
    """Leave out the first ``skip`` ticks, stop after ``limit`` more, and cut what is larger than ``chunk``."""
    left = limit or None
    for whole in chunks:
        start = min(skip, len(whole))
        skip -= start
        while start < len(whole) and left != 0:
            stop = min(len(whole), start + chunk if left is None else start + min(chunk, left))
            yield whole.part(start, stop)
            left = None if left is None else left - (stop - start)
            start = stop
        if left == 0:
            return
