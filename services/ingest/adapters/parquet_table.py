"""Parquet files in batches: our own tick store, what others wrote, and bars."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from services.ingest.adapters.columns import (
    ASK_BAR,
    BID_BAR,
    EXPECTED,
    TIMES,
    epoch_scale,
    kind_of,
    known_columns,
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
    """

    kind: str
    rows: int
    time: str
    scale: int
    columns: dict[str, str]


def find_table(path: Path) -> ParquetTable:
    """Read a Parquet file's description.

    Raises
    ------
    DataError : when the file is torn or holds neither ticks nor bars
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
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
        return ParquetTable(
            kind=kind, rows=file.metadata.num_rows, time=names[found[time]], scale=scale, columns=columns
        )


def parquet_blocks(path: Path, table: ParquetTable) -> Iterator[TableBlock]:
    """Yield the table in order, at most 65,536 rows at a time.

    Raises
    ------
    DataError : when a part of the file cannot be read, a column has the wrong type, or a time is missing
    """
    row = 1
    scale = table.scale
    with _opened(path) as file:
        wanted = [table.time, *table.columns.values()]
        try:
            for batch in file.iter_batches(batch_size=MAX_CHUNK, columns=wanted):
                if batch.num_rows == 0:
                    continue
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
        return column.cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64) * (86_400 * _NS_PER["s"]), 1
    if pa.types.is_timestamp(column.type):
        values = column.cast(pa.int64()).to_numpy()
        return values.astype(np.int64) * _NS_PER[column.type.unit], 1
    if pa.types.is_integer(column.type):
        values = column.cast(pa.int64()).to_numpy().astype(np.int64)
        scale = scale or epoch_scale(float(values[0]))
        return values * scale, scale
    if pa.types.is_floating(column.type):
        floats = column.cast(pa.float64()).to_numpy()
        scale = scale or epoch_scale(float(floats[0]))
        return np.rint(floats * (scale / 1_000)).astype(np.int64) * 1_000, scale
    raise DataError(
        str(path), f"column {table.time} holds {column.type}, not times",
        remedy="Store timestamps, or integers since 1970 (s, ms, us or ns)",
    )  # fmt: skip


def _floats(path: Path, name: str, column: pa.Array) -> Floats:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise DataError(str(path), f"column {name} holds {column.type}, not numbers", remedy="Store doubles")
    # A missing value becomes NaN, which the quality rules find.
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
