"""Copies the Expert Advisors' sources into a MetaTrader 5 data folder, and says what is left to click."""

import os
from pathlib import Path
from typing import NamedTuple

from libs.common.errors import DataError
from libs.common.storage.keys import EA_KEY, ensure_keys, ensure_passwords, read_key, write_private

SOURCES = Path(__file__).resolve().parent.parent / "mql"
PARTS = ("Experts", "Include", "Scripts")
_KINDS = (".mq5", ".mqh")
_SECRETS = Path("MQL5", "Files", "tickwire")


class Installed(NamedTuple):
    """What an installation did: files by what became of them, relative to the data folder."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    secrets: tuple[str, ...]


def find_data_folder(given: Path) -> Path:
    """Return the data folder that a path names: itself, its ``MQL5``, or a portable installation's folder.

    Raises
    ------
    DataError : when it is none, naming how to find it
    """
    folder = given.expanduser()
    if not folder.is_dir():
        raise DataError(str(given), "there is no such folder", remedy=_WHERE)
    for candidate in (folder, folder.parent):
        if (candidate / "MQL5").is_dir() and any((candidate / "MQL5" / part).is_dir() for part in ("Experts", "Include")):
            return candidate
    if (folder / "MQL4").is_dir():
        raise DataError(str(given), "it belongs to MetaTrader 4, the sources are for MetaTrader 5", remedy=_WHERE)
    raise DataError(str(given), "no MetaTrader 5 data folder: it holds no MQL5 with Experts or Include", remedy=_WHERE)


_WHERE = "Name the folder that File, Open Data Folder shows in the terminal"


def install(folder: Path, *, sources: Path = SOURCES) -> Installed:
    """Copy all sources; files of ours that are there already are replaced when they differ, others are not touched.

    Parameters
    ----------
    folder : a data folder, see ``find_data_folder``

    Raises
    ------
    DataError : when something cannot be written
    """
    new, changed, same = [], [], []
    for source in sorted(path for part in PARTS for path in (sources / part).rglob("*") if path.suffix in _KINDS):
        inside = Path("MQL5") / source.relative_to(sources)
        target, content = folder / inside, source.read_bytes()
        try:
            if target.exists():
                if target.read_bytes() == content:
                    same.append(str(inside))
                    continue
                changed.append(str(inside))
            else:
                new.append(str(inside))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(target.name + ".part")
            temporary.write_bytes(content)
            os.replace(temporary, target)
        except OSError as error:
            raise DataError(str(target), f"cannot be written ({error.strerror})", remedy=_CLOSE) from error
    return Installed(tuple(new), tuple(changed), tuple(same), ())


_CLOSE = "Close MetaEditor and check the folder's permissions, then try again"


def install_secrets(folder: Path, root_dir: Path, users: tuple[str, ...]) -> tuple[str, ...]:
    """Write the bus password of user ``ea`` and the key of the message codes where the Expert Advisors read them.

    Parameters
    ----------
    folder : a data folder
    root_dir : Tickwire's data folder, whose ``keys`` hold them (made where they are missing)
    users : all users of the bus

    Raises
    ------
    DataError : when they cannot be written
    """
    ensure_keys(root_dir)
    contents = {
        "ea.password": ensure_passwords(root_dir, users)["ea"],
        "ea.key": read_key(root_dir, EA_KEY).hex(),
    }
    target = folder / _SECRETS
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            write_private(target / name, f"{text}\n".encode())
    except OSError as error:
        raise DataError(str(target), f"cannot be written ({error.strerror})", remedy=_CLOSE) from error
    return tuple(str(_SECRETS / name) for name in contents)
