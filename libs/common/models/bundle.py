"""A model as a file that can be refused: manifest, files, hashes, golden rows, signature.

A bundle is a zip archive of stored (never compressed) entries with fixed times, so that the same content always
gives the same bytes. ``manifest.json`` holds the hash of every other file and is what the signature in
``manifest.sig`` covers; its own hash names the bundle. Reading refuses every archive that is not byte for byte what
``pack`` would have written, and never executes, imports or unpickles anything.
"""

import hashlib
import io
import math
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from libs.common.errors import ArtifactError
from libs.common.models.limits import MAX_ARCHIVE_BYTES
from libs.common.signing import Signer, Verifier
from libs.common.stats.drift import DriftReference

if TYPE_CHECKING:
    from libs.common.models.predictor import Predictor

__all__ = [
    "Bundle", "DriftReference", "Golden", "Manifest", "check_golden", "golden_file", "pack", "unpack",
]

FORMAT = 1
"""The only bundle format there is."""
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
GOLDEN_FILE = "golden.json"
"""Rows with the probabilities the model gave them when it was packed."""
MODEL_FILE = "model.txt"
"""The weights of a LightGBM model, as LightGBM's own text."""
ONNX_FILE = "model.onnx"
"""A model as ONNX: what a bundle of backend ``onnx`` predicts with, and what terminals run of every bundle."""
MAX_FILES = 32
GOLDEN_TOLERANCES = {"lightgbm": 1e-12, "onnx": 1e-5}
"""Largest difference of a golden probability, by backend. LightGBM reproduces it exactly on equal machines; an ONNX model
counts in single precision, and its golden rows come from wherever it was trained."""

_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*")
_FILE_KINDS = (".json", ".txt", ".onnx")
_TEXT_KINDS = (".json", ".txt")
_SIGNATURE = re.compile(rb"(?P<key_id>[0-9a-f]{16}) (?P<signature>[0-9a-f]{128})\n")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_PICKLE_START = re.compile(rb"\x80[\x01-\x0f]")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says about its model.

    Parameters
    ----------
    name, version, symbol : which model of which symbol
    backend : ``lightgbm`` (predicts with ``model.txt``) or ``onnx`` (with ``model.onnx``)
    schema_id, feature_names : the feature rows it was trained on, and the only ones it may see
    horizon_s : for how long a prediction speaks, seconds
    stop_sigma, target_sigma : distance of the lower and upper barrier, standard deviations over the horizon
    sigma_feature : feature that holds the volatility
    sigma_unit : what that feature holds: ``price`` (price units) or ``relative`` (share of the mid price)
    sigma_scale : factor that makes it one standard deviation of the price over the horizon
    first_ns, last_ns, rows : training window
    seed : of everything random in the training
    metrics : out-of-fold figures
    drift : how each watched feature was distributed over the training window
    mean_return_pct : ``long`` and ``short``: mean net return of a trade to that side when its class came true,
        percent of price
    files : name -> sha256 in hex of every other file; filled in by ``pack``
    key_id : of the key that signed; filled in by ``pack``
    extra : anything a person may want to know
    """

    format: int = FORMAT
    name: str
    version: int
    symbol: str
    backend: str = "lightgbm"
    schema_id: str
    feature_names: tuple[str, ...]
    horizon_s: int
    stop_sigma: float
    target_sigma: float
    sigma_feature: str
    first_ns: int
    last_ns: int
    rows: int
    seed: int
    metrics: dict[str, float]
    drift: dict[str, DriftReference]
    mean_return_pct: dict[str, float]
    files: dict[str, str] = {}
    key_id: str = ""
    extra: dict[str, str] = {}
    sigma_unit: Literal["price", "relative"] = "price"
    sigma_scale: float = 1.0


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest with the files it vouches for.

    Parameters
    ----------
    manifest : what the bundle says about its model
    files : content of every file but the manifest and its signature
    manifest_bytes : the manifest as it was signed; empty: as this version would write it
    """

    manifest: Manifest
    files: dict[str, bytes]
    manifest_bytes: bytes = b""

    @property
    def sha256(self) -> str:
        """Hash of what was trained, hex: the manifest without the name of the key, and by it every file.

        The same data and seed give the same hash, whoever signs.
        """
        content = msgspec.json.decode(self.manifest_bytes or canonical(self.manifest), type=dict[str, Any])
        del content["key_id"]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the probabilities the model must give them.

    Parameters
    ----------
    rows : (n, k) feature values
    probabilities : (n, 3) down, flat, up
    """

    rows: list[list[float]]
    probabilities: list[list[float]]


def canonical(manifest: Manifest) -> bytes:
    """Return the manifest as the one JSON text that is signed and hashed."""
    return msgspec.json.encode(manifest, order="sorted")


def golden_file(rows: np.ndarray, probabilities: np.ndarray) -> bytes:
    """Return the content of ``golden.json``.

    Parameters
    ----------
    rows : (n, k) finite feature values
    probabilities : (n, 3) what the model gave them
    """
    return msgspec.json.encode(Golden(rows=rows.tolist(), probabilities=probabilities.tolist()))


def pack(manifest: Manifest, files: dict[str, bytes], signer: Signer) -> bytes:
    """Return the signed archive of a model; the same content always gives the same bytes.

    Parameters
    ----------
    manifest : its ``files`` and ``key_id`` are filled in here
    files : name -> content, plain lower-case names ending in .json, .txt or .onnx
    signer : the trainer's key

    Raises
    ------
    ArtifactError : when the result would be refused by ``unpack``
    """
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    whole = msgspec.structs.replace(manifest, files=hashes, key_id=signer.key_id)
    _check_manifest(whole)
    for name, content in files.items():
        _check_file(name, content)
    manifest_bytes = canonical(whole)
    archive = _archive(manifest_bytes, f"{signer.key_id} {signer.sign(manifest_bytes)}\n".encode(), files)
    if len(archive) > MAX_ARCHIVE_BYTES or len(files) > MAX_FILES:
        raise ArtifactError(f"bundle too large: {len(files)} files, {len(archive)} bytes")
    return archive


def unpack(archive: bytes, verifier: Verifier) -> Bundle:
    """Read an archive and check all of it: names, sizes, hashes, signature, manifest.

    Parameters
    ----------
    archive : what ``pack`` wrote
    verifier : the trainer's public key

    Raises
    ------
    ArtifactError : naming what is wrong; nothing of the archive was used
    """
    contents = _read_archive(archive)
    if MANIFEST_FILE not in contents:
        raise ArtifactError(f"bundle has no {MANIFEST_FILE}")
    manifest_bytes = contents.pop(MANIFEST_FILE)
    signature_bytes = contents.pop(SIGNATURE_FILE, b"")
    _check_signature(manifest_bytes, signature_bytes, verifier)
    manifest = _read_manifest(manifest_bytes)
    if manifest.key_id != verifier.key_id:
        raise ArtifactError(f"manifest names key {manifest.key_id}, the signature is of key {verifier.key_id}")
    _check_hashes(manifest, contents)
    for name, content in contents.items():
        _check_file(name, content)
    if _archive(manifest_bytes, signature_bytes, contents) != archive:
        raise ArtifactError("archive holds bytes that belong to no file of the bundle")
    return Bundle(manifest=manifest, files=contents, manifest_bytes=manifest_bytes)


def check_golden(bundle: Bundle, predictor: "Predictor") -> None:
    """Let a predictor reproduce the bundle's golden rows, row by row and as a block.

    Raises
    ------
    ArtifactError : when the rows are missing, malformed, or come out differently
    """
    content = bundle.files.get(GOLDEN_FILE)
    if content is None:
        raise ArtifactError(f"bundle has no {GOLDEN_FILE}")
    try:
        golden = msgspec.json.decode(content, type=Golden)
        rows, wanted = np.array(golden.rows, dtype=float), np.array(golden.probabilities, dtype=float)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{GOLDEN_FILE}: {error}") from error
    features = len(bundle.manifest.feature_names)
    if not len(rows) or rows.shape != (len(wanted), features) or wanted.shape != (len(rows), 3):
        raise ArtifactError(f"{GOLDEN_FILE}: rows of shape {rows.shape} with probabilities of shape {wanted.shape}")
    tolerance = GOLDEN_TOLERANCES[bundle.manifest.backend]
    one_by_one = np.array([predictor.predict(row) for row in rows])
    for given, way in ((one_by_one, "row by row"), (predictor.predict_block(rows), "as a block")):
        # Written so that NaN fails too.
        wrong = ~(np.abs(given - wanted) <= tolerance).all(axis=1)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ArtifactError(
                f"golden row {first} predicted {way} gave {given[first].tolist()}, not {wanted[first].tolist()}"
            )


def _archive(manifest_bytes: bytes, signature: bytes, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(MANIFEST_FILE, manifest_bytes), (SIGNATURE_FILE, signature), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = 3  # the default depends on the platform; the bytes must not
            archive.writestr(entry, content)
    return buffer.getvalue()


def _read_archive(archive: bytes) -> dict[str, bytes]:
    """Return the content of every entry; sizes are checked before anything is read."""
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise ArtifactError(f"archive too large: {len(archive)} bytes, at most {MAX_ARCHIVE_BYTES} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            _check_entries(entries, len(archive))
            return {entry.filename: opened.read(entry) for entry in entries}
    except (
        # All that zipfile is known to raise over a damaged archive.
        zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError,
        OverflowError, IndexError, struct.error,
    ) as error:
        raise ArtifactError(f"not an archive: {error}") from error


def _check_entries(entries: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    names = [entry.filename for entry in entries]
    if len(entries) > MAX_FILES + 2:
        raise ArtifactError(f"archive too large: {len(entries)} files, at most {MAX_FILES + 2} are allowed")
    if len(set(names)) != len(names):
        raise ArtifactError("archive holds a file twice")
    for entry in entries:
        if not _FILE_NAME.fullmatch(entry.filename) or len(entry.filename) > 64:
            raise ArtifactError(f"archive holds a file of forbidden name {entry.filename!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ArtifactError(f"file {entry.filename} is compressed")
    # Stored entries that overlap could still multiply what is read.
    if sum(entry.file_size for entry in entries) > archive_bytes:
        raise ArtifactError("archive claims more content than it has bytes")


def _check_signature(manifest_bytes: bytes, signature_bytes: bytes, verifier: Verifier) -> None:
    found = _SIGNATURE.fullmatch(signature_bytes)
    if not signature_bytes or not found:
        raise ArtifactError("bundle is unsigned" if not signature_bytes else f"{SIGNATURE_FILE} is malformed")
    key_id = found["key_id"].decode()
    if key_id != verifier.key_id:
        raise ArtifactError(f"signed with key {key_id}, only key {verifier.key_id} is trusted")
    if not verifier.verify(manifest_bytes, found["signature"].decode()):
        raise ArtifactError("bad signature: the manifest is not what the trainer signed")


def _read_manifest(content: bytes) -> Manifest:
    try:
        stated = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("format")
        found = None if stated is None else msgspec.json.decode(stated)
        if found != FORMAT:
            raise ArtifactError(f"unknown bundle format {found}, this version reads format {FORMAT}")
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{MANIFEST_FILE}: {error}") from error
    _check_manifest(manifest)
    return manifest


def _check_hashes(manifest: Manifest, contents: dict[str, bytes]) -> None:
    missing, extra = sorted(manifest.files.keys() - contents.keys()), sorted(contents.keys() - manifest.files.keys())
    if missing:
        raise ArtifactError(f"file {missing[0]} is missing")
    if extra:
        raise ArtifactError(f"file {extra[0]} is not in the manifest")
    for name, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != manifest.files[name]:
            raise ArtifactError(f"hash mismatch: {name} has sha256 {found}, the manifest says {manifest.files[name]}")


def _check_file(name: str, content: bytes) -> None:
    if not _FILE_NAME.fullmatch(name) or len(name) > 64 or name in (MANIFEST_FILE, SIGNATURE_FILE):
        raise ArtifactError(f"file name {name!r} is forbidden in a bundle")
    if not name.endswith(_FILE_KINDS):
        raise ArtifactError(f"file {name} is of a forbidden kind; a bundle holds {', '.join(_FILE_KINDS)} only")
    if _PICKLE_START.match(content) or zipfile.is_zipfile(io.BytesIO(content)):
        raise ArtifactError(f"file {name} is a pickle or an archive, which a bundle never holds")
    if name.endswith(_TEXT_KINDS):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(f"file {name} is not UTF-8 text: {error}") from error


def _check_manifest(manifest: Manifest) -> None:
    names = manifest.feature_names
    numbers = (
        manifest.stop_sigma, manifest.target_sigma, manifest.sigma_scale,
        *manifest.metrics.values(), *manifest.mean_return_pct.values(),
    )
    problems = (
        (manifest.format != FORMAT, f"format is {manifest.format}, not {FORMAT}"),
        (not manifest.name or not manifest.symbol or not manifest.schema_id, "name, symbol or schema_id is empty"),
        (manifest.version < 1, "version is below 1"),
        (not names or len(set(names)) != len(names), "feature_names are empty or repeat"),
        (manifest.sigma_feature not in names, f"sigma_feature {manifest.sigma_feature!r} is not a feature"),
        (manifest.rows < 1, "rows is below 1"),
        (not all(map(math.isfinite, numbers)), "a figure is not finite"),
        (min(manifest.stop_sigma, manifest.target_sigma, manifest.sigma_scale) <= 0, "a sigma factor is not above 0"),
        (manifest.horizon_s <= 0, "horizon_s must be above 0"),
        (not manifest.mean_return_pct.keys() >= {"long", "short"}, "mean_return_pct needs 'long' and 'short'"),
    )
    for wrong, problem in problems:
        if wrong:
            raise ArtifactError(f"{MANIFEST_FILE}: {problem}")
    for feature, reference in manifest.drift.items():
        _check_reference(feature, reference, names)


def _check_reference(feature: str, reference: DriftReference, names: tuple[str, ...]) -> None:
    edges, shares = np.array(reference.edges), np.array(reference.shares)
    if (
        feature not in names or len(shares) != len(edges) + 1 or not len(edges)
        or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all()
        or not (shares >= 0).all() or abs(shares.sum() - 1.0) > 1e-6 or not 0.0 <= reference.persistence < 1.0
    ):
        raise ArtifactError(f"{MANIFEST_FILE}: drift reference of feature {feature!r} is malformed")
