"""Small files that are written whole or not at all, and survive a power cut."""

import contextlib
import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content; its folder is made where it is missing.

    Several processes may do so at once: the last one wins, and no reader ever sees half a file.

    Raises
    ------
    OSError : when the disk refuses; the old content stands
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
