"""The history of a broker's clock on disk: ``<data_dir>/mt5/clock.json``, by trade server.

Ingest measures and writes; whoever else converts times reads.
"""

from pathlib import Path

import msgspec

from libs.common.errors import StorageError
from libs.common.mt5.convert import OffsetHistory
from libs.common.storage.whole_file import write_whole


def clock_path(root_dir: Path) -> Path:
    """Return the file below the system's data folder."""
    return root_dir / "mt5" / "clock.json"


def read_clock(path: Path, server: str, zone: str) -> OffsetHistory:
    """Return what is known of a server's clock; nothing measured where there is no file.

    Parameters
    ----------
    server : ``account_info().server``
    zone : the named clock that holds where nothing was measured

    Raises
    ------
    StorageError : when the file cannot be read; a history that is lost must not pass for one that is empty
    """
    found = _read(path).get(server)
    return OffsetHistory(server=server, zone=zone) if found is None else msgspec.structs.replace(found, zone=zone)


def write_clock(path: Path, history: OffsetHistory) -> None:
    """Write what is known of a server's clock, beside other servers'; whole or not at all.

    Raises
    ------
    StorageError : when the disk refuses
    """
    known = _read(path) | {history.server: history}
    try:
        write_whole(path, msgspec.json.format(msgspec.json.encode(known)))
    except OSError as error:
        raise StorageError(f"{path}: the broker's clock cannot be written down ({error.strerror})") from error


def _read(path: Path) -> dict[str, OffsetHistory]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, OffsetHistory])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"{path}: not a history of the broker's clock ({error}). Restore the file, or remove it: the offset is "
            "then measured afresh, and mt5.server_zone holds for the time before."
        ) from error
