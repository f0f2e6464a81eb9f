"""The lines of a text table as numbers: a fast parser, and an exact account of the first line it refuses."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from services.ingest.adapters.layouts import Layout
from services.ingest.adapters.text import line_blocks
from services.ingest.adapters.time_text import ACCEPTED

_SHOWN = 60
_MEND = "Mend or delete the line"


class TableBlock(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Some lines of a table.

    Parameters
    ----------
    first_line : number of the first line, counted from 1
    time_ns : (n,) times on the file's clock, ns since 1970
    columns : our name -> (n,) numbers, NaN where the cell is empty
    """

    first_line: int
    time_ns: Ints
    columns: dict[str, Floats]


def table_blocks(path: Path, layout: Layout) -> Iterator[TableBlock]:
    """Yield a text table in order.

    Raises
    ------
    DataError : naming file, line, column and content of the first line that is not as the layout says; nothing of
        the block that holds it is yielded
    """
    for first_line, text in line_blocks(path, layout.header_lines):
        # A separator inside quotes makes one column too many, which is found below.
        block = text.replace(b'"', b"") if layout.quoted else text
        lines = block.count(b"\n")
        frame = _parse(block, layout)
        parsed = None if frame is None else _numbers(frame, layout)
        separators = lines * (len(layout.names) - 1)
        if (
            frame is None or parsed is None
            or frame.height != lines
            or block.count(layout.separator.encode()) != separators
        ):  # fmt: skip
            raise _first_broken_line(path, layout, first_line, block)
        yield TableBlock(first_line=first_line, time_ns=parsed[0], columns=parsed[1])


def _parse(block: bytes, layout: Layout) -> pl.DataFrame | None:
    schema: dict[str, pl.DataType] = {}
    for index in range(len(layout.names)):
        if index in layout.time.columns:
            schema[str(index)] = layout.time.dtype()
        else:
            schema[str(index)] = pl.Float64() if index in layout.numbers else pl.String()
    try:
        return pl.read_csv(
            io.BytesIO(block), has_header=False, separator=layout.separator, schema=schema, quote_char=None
        )
    except pl.exceptions.PolarsError:
        return None


def _numbers(frame: pl.DataFrame, layout: Layout) -> tuple[Ints, dict[str, Floats]] | None:
    """Return times and numbers, ``None`` where any of them is missing or not finite."""
    time_ns, bad = layout.time.local_ns(frame)
    if bad.size:
        return None
    if layout.pair is not None and not (frame.to_series(layout.pair) == layout.pair_name).fill_null(False).all():
        return None
    columns: dict[str, Floats] = {}
    ours = {index: name for name, index in layout.columns.items()}
    for index in layout.numbers:
        column = frame.to_series(index)
        if column.null_count() and index not in layout.blanks:
            return None
        if not column.drop_nulls().is_finite().all():
            return None
        if index in ours:
            columns[ours[index]] = column.fill_null(float("nan")).to_numpy()
    return time_ns, columns


def _first_broken_line(path: Path, layout: Layout, first_line: int, block: bytes) -> DataError:
    lines = block.decode("utf-8", "replace").split("\n")[:-1]
    found = next(((k, problem) for k, line in enumerate(lines) if (problem := _problem(line, layout))), None)
    rows = [line.split(layout.separator) for line in lines[: found[0] if found else len(lines)]]
    unread = _unread_times(rows, layout)
    if unread.size:
        row, time = int(unread[0]), layout.time.columns
        text, names = (" ".join(cells[index] for index in time) for cells in (rows[row], layout.names))
        return DataError(
            str(path), f"column {names}: {_show(text)} is not a time like that of the first line",
            line=first_line + row, remedy=ACCEPTED,
        )  # fmt: skip
    if found:
        broken, (what, remedy) = found
        return DataError(str(path), what, line=first_line + broken, remedy=remedy)
    return DataError(
        str(path), f"lines {first_line} to {first_line + len(lines) - 1} cannot be read as {layout.name}",
        line=first_line, remedy="Export the file again",
    )  # fmt: skip


def _unread_times(rows: list[list[str]], layout: Layout) -> Ints:
    time = layout.time
    columns = [pl.Series(str(index), [cells[index] for cells in rows], dtype=pl.String) for index in time.columns]
    if time.scale:
        columns = [columns[0].cast(time.dtype(), strict=False)]
    # The columns stand side by side here, not at their places in the file.
    return msgspec.structs.replace(time, columns=tuple(range(len(columns)))).local_ns(pl.DataFrame(columns))[1]


def _problem(line: str, layout: Layout) -> tuple[str, str] | None:
    """Return what is wrong with a line and what to do about it, ``None`` where nothing is."""
    if not line.strip():
        return "an empty line inside the table", _MEND
    cells = line.split(layout.separator)
    if len(cells) != len(layout.names):
        return f"{len(cells)} columns instead of {len(layout.names)}: {_show(line)}", _MEND
    for index in layout.numbers:
        cell = cells[index]
        if (cell == "" and index in layout.blanks) or _is_number(cell):
            continue
        remedy = "Write decimals with a point" if _is_number(cell.replace(",", ".", 1)) else _MEND
        return f"column {layout.names[index]}: {_show(cell)} is not a number", remedy
    if layout.pair is not None and cells[layout.pair] != layout.pair_name:
        return (
            f"column {layout.names[layout.pair]}: {_show(cells[layout.pair])}, but the file begins with "
            f"{_show(layout.pair_name)}",
            "Put each symbol into a file of its own",
        )
    return None


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and cell.isascii() and "_" not in cell
    except ValueError:
        return False


def _show(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
