"""Tables of plain columns as Parquet files."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from libs.common.errors import DataError, StorageError
from libs.common.storage.whole_file import write_whole


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | Any]) -> None:
    """Write columns of equal length, whole or not at all.

    Parameters
    ----------
    columns : name -> values (a sequence or a numpy array); an empty list needs its type: ``pl.Series``-like arrays do

    Raises
    ------
    StorageError : when the disk refuses
    """
    buffer = io.BytesIO()
    pl.DataFrame(dict(columns)).write_parquet(buffer, compression="zstd")
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}). Make room, then run again.") from error


def read_table(path: Path) -> dict[str, list[Any]]:
    """Return a table's columns by name.

    Raises
    ------
    DataError : when the file is missing or no table
    """
    try:
        frame = pl.read_parquet(path.read_bytes())
    except FileNotFoundError:
        raise DataError(str(path), "there is no such file", remedy="Name the folder of a finished run") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(str(path), f"cannot be read ({str(error).splitlines()[0][:160]})") from error
    return {name: frame[name].to_list() for name in frame.columns}
