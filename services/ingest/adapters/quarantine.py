"""Bad ticks as lines of JSON, a file per symbol and UTC day: ``<root>/<symbol>-<YYYY-MM-DD>.jsonl``."""

import contextlib
import math
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from libs.common.errors import StorageError
from libs.common.subjects import encode_token
from services.ingest.core import QuarantinedTick

NS_PER_DAY = 86_400 * 1_000_000_000


class QuarantineFiles:
    """Appends to the quarantine. A restart may write the last ticks before it a second time.

    Parameters
    ----------
    root : folder of the files; created on the first write
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_for(self, symbol: str, time_ns: int) -> Path:
        """Return the file a tick of this symbol and time is kept in."""
        day = datetime.fromtimestamp(time_ns // NS_PER_DAY * 86_400, UTC).strftime("%Y-%m-%d")
        return self._root / f"{encode_token(symbol)}-{day}.jsonl"

    def write(self, ticks: Iterable[QuarantinedTick]) -> None:
        """Append ticks, whole lines or none.

        Raises
        ------
        StorageError : when the disk refuses
        """
        for (symbol, day), group in groupby(ticks, key=lambda tick: (tick.symbol, tick.time_ns // NS_PER_DAY)):
            lines = b"".join(msgspec.json.encode(_plain(tick)) + b"\n" for tick in group)
            self._append(self.path_for(symbol, day * NS_PER_DAY), lines)

    def _append(self, path: Path, lines: bytes) -> None:
        whole = None
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                whole = file.tell()
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if whole is not None:
                with contextlib.suppress(OSError):
                    os.truncate(path, whole)
            raise StorageError(
                f"{path}: the disk refuses to keep bad ticks ({error.strerror}). They are still counted in FeedStatus "
                "and the metrics. Free some space or name another folder with system.data_dir, then start again."
            ) from error


def _plain(tick: QuarantinedTick) -> dict[str, Any]:
    """Return a tick as JSON can hold it: a number that is none becomes its name, unknown columns are left out."""
    found: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(tick).items():
        if value is None:
            continue
        found[name] = str(value) if isinstance(value, float) and not math.isfinite(value) else value
    return found
