"""Bars of a symbol and timeframe as one Parquet file, made of parts while a download goes on.

::

    <root>/<symbol, percent-encoded>-M1.parquet            what is finished
    <root>/<symbol>-M1.parts/<first second>.parquet        one part per span that was downloaded
"""

import contextlib
import io
from pathlib import Path

import msgspec
import polars as pl

from libs.common.errors import StorageError
from libs.common.messages.base import Floats, Ints
from libs.common.storage.whole_file import write_whole
from libs.common.subjects import encode_token

_COLUMNS = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")


class BarColumns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Bars as columns of equal length.

    Parameters
    ----------
    time : (n,) start of each bar, ns UTC, rising
    open, high, low, close : (n,) prices
    tick_volume : (n,) ticks in the bar
    spread : (n,) points
    real_volume : (n,) traded volume, 0 where there is none
    """

    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    tick_volume: Ints
    spread: Floats
    real_volume: Floats

    def __len__(self) -> int:
        return len(self.time)


class BarFile:
    """The bars of one symbol and timeframe.

    Parameters
    ----------
    root : folder of all bar files
    timeframe : its name, ``M1``
    """

    def __init__(self, root: Path, symbol: str, timeframe: str) -> None:
        self.path = root / f"{encode_token(symbol)}-{timeframe}.parquet"
        self._parts = root / f"{encode_token(symbol)}-{timeframe}.parts"

    def has_part(self, key: int) -> bool:
        """Tell whether a span's part is there."""
        return self._part(key).exists()

    def write_part(self, key: int, bars: BarColumns) -> None:
        """Keep the bars of one span, whole or not at all.

        Raises
        ------
        StorageError : when the disk refuses
        """
        self._write(self._part(key), pl.DataFrame({name: getattr(bars, name) for name in _COLUMNS}))

    def drop_part(self, key: int) -> None:
        """Forget a span, which is then to be loaded again."""
        self._part(key).unlink(missing_ok=True)

    def join(self) -> int:
        """Make the parts (and an older file) one file, each bar once; return how many bars it holds.

        Parts stay, so that a later download goes on where this one ended.

        Raises
        ------
        StorageError : when the disk refuses
        """
        frames = [pl.read_parquet(path.read_bytes()) for path in sorted(self._parts.glob("*.parquet"))]
        if self.path.exists():
            frames.insert(0, pl.read_parquet(self.path.read_bytes()))
        frames = [frame for frame in frames if frame.height]
        if not frames:
            return 0
        # A bar that was still forming when an older file was made is the newer part's.
        whole = pl.concat(frames).unique("time", keep="last", maintain_order=True).sort("time")
        self._write(self.path, whole)
        return whole.height

    def times(self) -> Ints:
        """Return the starts of all bars of the finished file, ns UTC."""
        return pl.read_parquet(self.path.read_bytes(), columns=["time"])["time"].to_numpy()

    def _part(self, key: int) -> Path:
        return self._parts / f"{key:012d}.parquet"

    def _write(self, path: Path, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        try:
            write_whole(path, buffer.getvalue())
        except OSError as error:
            with contextlib.suppress(OSError):
                path.with_name(path.name + ".tmp").unlink()
            raise StorageError(
                f"{path}: the disk refuses to store bars ({error.strerror}). Free some space, then run the command again."
            ) from error
