"""Parquet files in batches: our own tick store, what others wrote, and bars."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from libs.common.messages.sense import END_NS
from services.ingest.adapters.columns import (
    ASK_BAR,
    BID_BAR,
    EXPECTED,
    TIMES,
    epoch_scale,
    kind_of,
    known_columns,
    named_twice,
)
from services.ingest.adapters.csv_table import TableBlock
from services.ingest.raw import MAX_CHUNK

MAGIC = b"PAR1"
_NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_TICK_COLUMNS = ("bid", "ask", "last", "volume", "flags")


class ParquetTable(msgspec.Struct, frozen=True, kw_only=True):
    """What a Parquet file holds.

    Parameters
    ----------
    kind : ``ticks`` or ``bars``
    rows : how many
    time : name of the time column in the file
    scale : ns per unit of its values, 0 where the file's own type says it
    columns : our name -> name in the file
    pair : name of the column that names the symbol, empty without one
    is_utc : the times are instants, so that no zone applies
    """

    kind: str
    rows: int
    time: str
    scale: int
    columns: dict[str, str]
    pair: str
    is_utc: bool


def find_table(path: Path) -> ParquetTable:
    """Read a Parquet file's description.

    Raises
    ------
    DataError : when the file is torn or holds neither ticks nor bars
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        if twice := named_twice(names):
            raise DataError(str(path), f"column {twice} is there twice", remedy="Drop or rename one of them")
        found = known_columns(names)
        kind = kind_of(found)
        if kind is None:
            raise DataError(
                str(path), f"the columns {', '.join(names)[:160]} are neither ticks nor bars; {EXPECTED}",
                remedy="Rename or add the columns",
            )  # fmt: skip
        if file.metadata.num_rows == 0:
            raise DataError(str(path), "the file holds no rows", remedy="Export it again")
        time = next(name for name in TIMES if name in found)
        wanted = _TICK_COLUMNS if kind == "ticks" else (*BID_BAR, *ASK_BAR, "spread")
        columns = {name: names[found[name]] for name in wanted if name in found}
        scale = {"time_ns": 1, "time_msc": 1_000_000}.get(time, 0)
        stored = file.schema_arrow.field(found[time]).type
        return ParquetTable(
            kind=kind, rows=file.metadata.num_rows, time=names[found[time]], scale=scale, columns=columns,
            pair=names[found["pair"]] if "pair" in found else "",
            is_utc=pa.types.is_timestamp(stored) and stored.tz is not None,
        )  # fmt: skip


def parquet_blocks(path: Path, table: ParquetTable) -> Iterator[TableBlock]:
    """Yield the table in order, at most 65,536 rows at a time.

    Raises
    ------
    DataError : when a part of the file cannot be read, a column has the wrong type, or a time is missing
    """
    row = 1
    scale = table.scale
    pair: pa.Scalar | None = None
    with _opened(path) as file:
        wanted = [table.time, *table.columns.values(), *([table.pair] if table.pair else [])]
        try:
            for batch in file.iter_batches(batch_size=MAX_CHUNK, columns=wanted):
                if batch.num_rows == 0:
                    continue
                if table.pair:
                    pair = _one_pair(path, table, batch.column(table.pair), pair, row)
                time_ns, scale = _times(path, table, batch.column(table.time), scale, row)
                columns = {
                    ours: _floats(path, theirs, batch.column(theirs)) for ours, theirs in table.columns.items()
                }
                yield TableBlock(first_line=row, time_ns=time_ns, columns=columns)
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _torn(path, error) from error


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _torn(path, error) from error


def _torn(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0][:160]
    return DataError(str(path), f"the Parquet file is torn or incomplete ({reason})", remedy="Copy or export it again")


def _times(path: Path, table: ParquetTable, column: pa.Array, scale: int, row: int) -> tuple[Ints, int]:
    if column.null_count:
        missing = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            str(path), f"column {table.time}: the time is missing", line=row + missing, remedy="Delete the row"
        )
    if pa.types.is_date(column.type):
        days = column.cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64)
        return _scaled(path, table, days, 86_400 * _NS_PER["s"], row), 1
    if pa.types.is_timestamp(column.type):
        values = column.cast(pa.int64()).to_numpy().astype(np.int64)
        return _scaled(path, table, values, _NS_PER[column.type.unit], row), 1
    if pa.types.is_integer(column.type):
        whole = column.to_numpy()
        scale = scale or epoch_scale(float(whole[0]))
        return _scaled(path, table, whole, scale, row), scale
    if pa.types.is_floating(column.type):
        floats = column.cast(pa.float64()).to_numpy()
        scale = scale or epoch_scale(float(floats[0]))
        # A double holds today's seconds to a quarter of a microsecond; what lies below is noise.
        return _scaled(path, table, np.rint(floats * (scale / 1_000)), 1_000, row), scale
    raise DataError(
        str(path), f"column {table.time} holds {column.type}, not times",
        remedy="Store timestamps, or integers since 1970 (s, ms, us or ns)",
    )  # fmt: skip


def _scaled(path: Path, table: ParquetTable, values: NDArray[Any], scale: int, row: int) -> Ints:
    """Return times in ns; NaN and what lies out of range (the product would come round) is refused."""
    outside = np.flatnonzero(~((values >= 0) & (values < END_NS // scale)))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            str(path), f"column {table.time}: {values[first]} is not a time from 1970 to 2099", line=row + first,
            remedy="Mend or delete the row",
        )  # fmt: skip
    return values.astype(np.int64) * scale


def _one_pair(path: Path, table: ParquetTable, column: pa.Array, pair: pa.Scalar | None, row: int) -> pa.Scalar:
    pair = column[0] if pair is None else pair
    for other in column.unique():
        if other != pair:
            first = column.index(other).as_py()
            raise DataError(
                str(path), f"column {table.pair}: {other.as_py()!r}, but the file begins with {pair.as_py()!r}",
                line=row + first, remedy="Put each symbol into a file of its own",
            )  # fmt: skip
    return pair


def _floats(path: Path, name: str, column: pa.Array) -> Floats:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise DataError(str(path), f"column {name} holds {column.type}, not numbers", remedy="Store doubles")
    if pa.types.is_floating(column.type) and column.type.bit_width < 64:
        # The shortest decimal that such a number is read from: 1.1, not 1.100000023841858.
        column = pl.Series(pl.from_arrow(column.cast(pa.float32()))).cast(pl.String).cast(pl.Float64).to_arrow()
    # A missing value becomes NaN, which the quality rules find.
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
