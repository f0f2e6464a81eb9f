"""How a text file writes its times, found out from its first line."""

import re

import msgspec
import numpy as np
import polars as pl

from libs.common.messages.base import Ints
from libs.common.messages.sense import END_NS
from services.ingest.adapters.columns import TIMES, epoch_scale

NS_PER_S = 1_000_000_000
_DATES = ("%Y.%m.%d", "%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%H%M%S%3f", "%H%M%S")
_OFFSET = re.compile(r"[+-]\d{2}:?\d{2}$")
_NUMBER = re.compile(r"^\d+(\.\d+)?$")
_DATE_LENGTH = 8
ACCEPTED = (
    "Write times as 2024-01-31 23:59:59.123 (also with '.', '/' or nothing between the date's parts, as 31.01.2024, "
    "with an offset, or as seconds, milliseconds, microseconds or nanoseconds since 1970), from 1970 to 2099"
)


class TimeText(msgspec.Struct, frozen=True, kw_only=True):
    """The layout of a time.

    Parameters
    ----------
    columns : indices of the columns it is written in: one, or date and clock
    formats : how each is written; empty for a number
    offset : the text says its distance from UTC
    zulu : the text ends in Z
    scale : ns per unit of a number; 0 for text
    whole : the number has no fraction
    """

    columns: tuple[int, ...]
    formats: tuple[str, ...] = ()
    offset: bool = False
    zulu: bool = False
    scale: int = 0
    whole: bool = True

    @property
    def is_utc(self) -> bool:
        """Whether the text itself says where UTC is, so that no zone applies."""
        return self.offset or self.zulu

    def dtype(self) -> pl.DataType:
        """How the columns are to be read."""
        if self.scale:
            return pl.Int64() if self.whole else pl.Float64()
        return pl.String()

    def local_ns(self, frame: pl.DataFrame) -> tuple[Ints, Ints]:
        """Return (times in ns since 1970, rows whose time cannot be read) of a table read with ``dtype``."""
        columns = [frame.to_series(index) for index in self.columns]
        if self.scale:
            return self._from_number(columns[0])
        if len(columns) == 2:
            date = columns[0].str.to_date(self.formats[0], strict=False).cast(pl.Int64)
            clock = columns[1].str.to_time(self.formats[1], strict=False).cast(pl.Int64)
            return _from_days(date, clock)
        text = columns[0].str.strip_suffix("Z") if self.zulu else columns[0]
        form = self.formats[0]
        if "%H" not in form:
            return _from_days(text.str.to_date(form, strict=False).cast(pl.Int64))
        # Microseconds reach further than any year that can be written; nanoseconds would come round again.
        whole = text.str.to_datetime(form, time_unit="us", strict=False).cast(pl.Int64)
        stamps = text.str.to_datetime(form, time_unit="ns", strict=False).cast(pl.Int64)
        return _filled(stamps, _within(whole, 1_000))

    def _from_number(self, column: pl.Series) -> tuple[Ints, Ints]:
        if self.whole:
            return _filled(column * self.scale, _within(column, self.scale))
        # A double holds today's seconds to a quarter of a microsecond; what lies below is noise.
        micros = (column * (self.scale / 1_000)).round().cast(pl.Int64, strict=False)
        return _filled(micros * 1_000, _within(micros, 1_000))


def _from_days(date: pl.Series, clock: pl.Series | None = None) -> tuple[Ints, Ints]:
    times = date * (86_400 * NS_PER_S)
    return _filled(times if clock is None else times + clock, _within(date, 86_400 * NS_PER_S))


def _within(units: pl.Series, scale: int) -> pl.Series:
    return (units >= 0) & (units < END_NS // scale)


def _filled(times: pl.Series, within: pl.Series) -> tuple[Ints, Ints]:
    """Return times, and the rows that hold none or one out of range (where a product may have come round)."""
    bad = (times.is_null() | within.is_null() | ~within.fill_null(False)).to_numpy().nonzero()[0]
    return times.fill_null(0).to_numpy().astype(np.int64, copy=False), bad


def guess_time(cells: list[str], columns: dict[str, int]) -> TimeText | None:
    """Return how a line's time is written, ``None`` where no layout fits.

    Parameters
    ----------
    cells : the first line of data
    columns : our column names -> index
    """
    if "date" in columns and "time" in columns and not _NUMBER.match(cells[columns["time"]]):
        pair = (columns["date"], columns["time"])
        date = _fitting(cells[pair[0]], _DATES)
        clock = _fitting(cells[pair[1]], _CLOCKS)
        return TimeText(columns=pair, formats=(date, clock)) if date and clock else None
    name = next(name for name in TIMES if name in columns)
    return _guess_one(cells[columns[name]].strip(), columns[name], name)


def _guess_one(text: str, index: int, name: str) -> TimeText | None:
    if _NUMBER.match(text) and len(text) != _DATE_LENGTH:
        fixed = {"time_ns": 1, "time_msc": 1_000_000}.get(name)
        return TimeText(columns=(index,), scale=fixed or epoch_scale(float(text)), whole="." not in text)
    zulu = text.endswith("Z")
    bare = text.removesuffix("Z")
    offset = bool(_OFFSET.search(bare)) and ":" in bare
    suffix = "%z" if offset else ""
    candidates = list(_DATES) if not offset else []
    candidates += [f"{date}{gap}{clock}{suffix}" for date in _DATES for gap in (" ", "T") for clock in _CLOCKS]
    form = _fitting(bare, tuple(candidates))
    return TimeText(columns=(index,), formats=(form,), offset=offset, zulu=zulu) if form else None


def _fitting(text: str, candidates: tuple[str, ...]) -> str:
    """Return the first layout that reads the text, "" where none does."""
    column = pl.Series([text], dtype=pl.String)
    for form in candidates:
        if "%Y" in form:
            bad = TimeText(columns=(0,), formats=(form,)).local_ns(pl.DataFrame([column]))[1].size
        else:
            bad = column.str.to_time(form, strict=False).null_count()
        if not bad:
            return form
    return ""
