"""The folder through which trainer and fitting process hand each other work: plain arrays, JSON and text, no pickle.

``dataset.npz``, ``request.json`` and perhaps ``champion.json``, its bundle, go in; ``result/`` with ``model.txt``,
``model.onnx``, ``golden.json`` and ``report.json`` comes out, renamed into place when it is whole. ``report.json`` holds
the hashes of the others. A ``refused.json`` comes out instead when the work cannot be done and trying again would not help.
"""

import hashlib
import os
import zipfile
from pathlib import Path

import msgspec
import numpy as np

from libs.common.errors import DataError
from libs.common.models.bundle import GOLDEN_FILE, MODEL_FILE, ONNX_FILE, Bundle
from libs.common.stats.drift import DriftReference
from services.trainer.dataset import Dataset, columns_of
from services.trainer.work import FitOutcome, FitRequest

DATASET_FILE, REQUEST_FILE, CHAMPION_FILE = "dataset.npz", "request.json", "champion.json"
RESULT_FOLDER, REPORT_FILE, REFUSAL_FILE = "result", "report.json", "refused.json"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the fitting process says of its result.

    Parameters
    ----------
    files : name -> sha256 in hex of every other file of the result
    """

    metrics: dict[str, float]
    drift: dict[str, DriftReference]
    mean_return_pct: dict[str, float]
    files: dict[str, str]


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no result."""

    detail: str


def write_work(folder: Path, dataset: Dataset, request: FitRequest, champion: Bundle | None) -> None:
    """Write what the fitting process needs into an empty folder."""
    with (folder / DATASET_FILE).open("wb") as file:
        np.savez(file, allow_pickle=False, **columns_of(dataset))
    (folder / REQUEST_FILE).write_bytes(msgspec.json.encode(request))
    if champion is not None:
        (folder / CHAMPION_FILE).write_bytes(msgspec.json.encode(champion))


def read_work(folder: Path) -> tuple[Dataset, FitRequest, Bundle | None]:
    """Read what ``write_work`` wrote.

    Raises
    ------
    DataError : naming the file that is missing or broken
    """
    file = folder / DATASET_FILE
    try:
        with np.load(file, allow_pickle=False) as columns:
            dataset = Dataset(**{name: columns[name] for name in Dataset.__struct_fields__})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(str(file), f"cannot be read: {error}") from error
    file = folder / REQUEST_FILE
    try:
        request = msgspec.json.decode(file.read_bytes(), type=FitRequest)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from error
    file = folder / CHAMPION_FILE
    if not file.exists():
        return dataset, request, None
    try:
        return dataset, request, msgspec.json.decode(file.read_bytes(), type=Bundle)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from error


def write_result(folder: Path, outcome: FitOutcome) -> None:
    """Write a result whole or not at all."""
    files = {MODEL_FILE: outcome.model_text, ONNX_FILE: outcome.model_onnx, GOLDEN_FILE: outcome.golden}
    report = Report(
        metrics=outcome.metrics, drift=outcome.drift, mean_return_pct=outcome.mean_return_pct,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    unfinished = folder / f"{RESULT_FOLDER}.tmp"
    unfinished.mkdir()
    for name, content in {**files, REPORT_FILE: msgspec.json.encode(report)}.items():
        write_durably(unfinished / name, content)
    unfinished.rename(folder / RESULT_FOLDER)


def read_result(folder: Path) -> tuple[Report, dict[str, bytes]]:
    """Read a result and check every hash.

    Raises
    ------
    DataError : naming the file that is missing or broken
    """
    file = folder / RESULT_FOLDER / REPORT_FILE
    try:
        report = msgspec.json.decode(file.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from error
    if set(report.files) != {MODEL_FILE, ONNX_FILE, GOLDEN_FILE}:
        raise DataError(str(file), f"names the files {sorted(report.files)}")
    files = {}
    for name, wanted in report.files.items():
        file = folder / RESULT_FOLDER / name
        try:
            files[name] = file.read_bytes()
        except OSError as error:
            raise DataError(str(file), f"cannot be read: {error}") from error
        if hashlib.sha256(files[name]).hexdigest() != wanted:
            raise DataError(str(file), "is not what the fitting process wrote: its hash does not match")
    return report, files


def write_refusal(folder: Path, detail: str) -> None:
    """Say why there will be no result."""
    write_durably(folder / REFUSAL_FILE, msgspec.json.encode(Refusal(detail)))


def read_refusal(folder: Path) -> str:
    """Return why there is no result; an empty text when the process did not say."""
    try:
        return msgspec.json.decode((folder / REFUSAL_FILE).read_bytes(), type=Refusal).detail
    except (OSError, msgspec.MsgspecError):
        return ""


def write_durably(file: Path, content: bytes) -> None:
    """Write a file so that after a crash it is whole or not there."""
    unfinished = file.with_name(f"{file.name}.tmp")
    with unfinished.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    unfinished.replace(file)
