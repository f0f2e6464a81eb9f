"""Bundles on the trainer's own disk, and what was answered to which effect."""

import hashlib
import os
from pathlib import Path

import msgspec

from libs.common.errors import StorageError
from libs.common.subjects import encode_token
from services.trainer.adapters.exchange import write_durably
from services.trainer.effects import ModelTrained


class _Answer(msgspec.Struct, frozen=True):
    """What came of an effect, and the bundle it speaks of."""

    result: ModelTrained
    archive_sha256: str
    file: str


class Vault:
    """Keeps the newest bundles and answers.

    Parameters
    ----------
    data_dir : the trainer's own folder
    keep : most bundles kept; champions among the older ones still lie in the object store
    """

    def __init__(self, data_dir: Path, keep: int) -> None:
        self._bundles, self._answers, self._keep = data_dir / "bundles", data_dir / "answers", keep

    def open(self) -> None:
        for folder in (self._bundles, self._answers):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, object_name: str, archive: bytes, result: ModelTrained) -> None:
        """Keep a bundle and the answer it gave rise to; the answer is written last.

        Raises
        ------
        StorageError : when the disk refuses; nothing is half-written
        """
        file = f"{encode_token(object_name)}.bundle"
        answer = _Answer(result, hashlib.sha256(archive).hexdigest(), file)
        try:
            write_durably(self._bundles / file, archive)
            write_durably(self._answers / f"{result.effect_id}.json", msgspec.json.encode(answer))
            self._prune()
        except OSError as error:
            raise StorageError(
                f"{self._bundles}: cannot keep a bundle ({error.strerror}). Make room on the disk."
            ) from error

    def answer(self, effect_id: str) -> tuple[ModelTrained, bytes] | None:
        """Return what an effect came to, with its bundle, if both are still whole."""
        try:
            found = msgspec.json.decode((self._answers / f"{effect_id}.json").read_bytes(), type=_Answer)
            archive = (self._bundles / found.file).read_bytes()
        except (OSError, msgspec.MsgspecError):
            return None
        if hashlib.sha256(archive).hexdigest() != found.archive_sha256:
            return None
        return found.result, archive

    def bundle(self, object_name: str) -> bytes | None:
        """Return a kept bundle; whoever uses it verifies it."""
        try:
            return (self._bundles / f"{encode_token(object_name)}.bundle").read_bytes()
        except OSError:
            return None

    def _prune(self) -> None:
        for folder in (self._bundles, self._answers):
            files = sorted(folder.iterdir(), key=lambda file: (file.stat().st_mtime_ns, file.name))
            for file in files[: max(0, len(files) - self._keep)]:
                os.unlink(file)
