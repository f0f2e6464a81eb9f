"""Bundles: what was packed comes back, and everything else is refused by name."""

import hashlib
import io
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from libs.common.errors import ArtifactError
from libs.common.models import bundle as bundle_module
from libs.common.models.bundle import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    DriftReference,
    canonical,
    check_golden,
    golden_file,
    pack,
    unpack,
)
from libs.common.models.predictor import load_predictor
from libs.common.signing import Signer, Verifier
from tests.unit.models.small_models import (
    FEATURES,
    SIGNER,
    STRANGER,
    VERIFIER,
    archive,
    files,
    golden,
    manifest,
    model_text,
)


def entries(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Write an archive by hand, in the order given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.compress_type = compression
            opened.writestr(entry, content)
    return buffer.getvalue()


def signed(contents: dict[str, bytes], **changes: object) -> bytes:
    """Sign a manifest that ``pack`` would refuse, over the hashes of the given files."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    whole = canonical(manifest(**{"files": hashes, "key_id": SIGNER.key_id} | changes))
    signature = f"{SIGNER.key_id} {SIGNER.sign(whole)}\n".encode()
    return zipped({MANIFEST_FILE: whole, SIGNATURE_FILE: signature, **dict(sorted(contents.items()))})


def test_a_bundle_comes_back_as_it_was_packed():
    found = unpack(archive(), VERIFIER)
    wanted = manifest()
    assert found.files == files()
    assert msgspec.structs.replace(found.manifest, files={}, key_id="") == wanted
    assert found.manifest.key_id == SIGNER.key_id


def test_the_same_content_has_the_same_hash_whoever_signs():
    other = Signer(bytes(range(1, 33)))
    resigned = pack(manifest(), files(), other)
    assert resigned != archive()
    found = unpack(resigned, Verifier(other.public_bytes))
    assert found.sha256 == unpack(archive(), VERIFIER).sha256
    assert unpack(pack(manifest(seed=99), files(), SIGNER), VERIFIER).sha256 != found.sha256


def test_the_same_content_gives_the_same_bytes_whatever_the_order():
    backwards = dict(reversed(files().items()))
    metrics = {"b": 2.0, "a": 1.0}
    first = pack(manifest(metrics=metrics), files(), SIGNER)
    assert pack(manifest(metrics=dict(reversed(metrics.items()))), backwards, SIGNER) == first
    assert pack(manifest(metrics={"b": 2.0, "a": 1.5}), files(), SIGNER) != first


def test_a_handmade_archive_of_the_same_entries_is_the_same_bundle():
    assert zipped(entries(archive())) == archive()


def test_every_flipped_byte_is_refused():
    packed = bytearray(archive())
    chosen = random.Random(5).sample(range(len(packed)), 400)
    for position in [*range(80), *range(len(packed) - 400, len(packed)), *chosen]:
        packed[position] ^= 1 << (position % 8)
        with pytest.raises(ArtifactError):
            unpack(bytes(packed), VERIFIER)
        packed[position] ^= 1 << (position % 8)
    unpack(bytes(packed), VERIFIER)


def test_every_truncation_and_every_addition_is_refused():
    packed = archive()
    for length in [*range(64), *random.Random(6).sample(range(len(packed)), 100), len(packed) - 1]:
        with pytest.raises(ArtifactError):
            unpack(packed[:length], VERIFIER)
    for more in (b"\0", b"anything", packed):
        with pytest.raises(ArtifactError):
            unpack(packed + more, VERIFIER)
        with pytest.raises(ArtifactError):
            unpack(more + packed, VERIFIER)


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", os.urandom(2_000), pickle.dumps({"weights": 1})])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(ArtifactError, match="not an archive"):
        unpack(content, VERIFIER)


def test_an_unsigned_bundle_is_refused():
    contents = entries(archive())
    del contents[SIGNATURE_FILE]
    with pytest.raises(ArtifactError, match="unsigned"):
        unpack(zipped(contents), VERIFIER)


def test_another_key_is_refused():
    with pytest.raises(ArtifactError, match=f"signed with key {STRANGER.key_id}"):
        unpack(pack(manifest(), files(), STRANGER), VERIFIER)


def test_a_stranger_who_names_our_key_is_refused():
    contents = entries(pack(manifest(), files(), STRANGER))
    _, _, signature = contents[SIGNATURE_FILE].partition(b" ")
    contents[SIGNATURE_FILE] = SIGNER.key_id.encode() + b" " + signature
    with pytest.raises(ArtifactError, match="bad signature"):
        unpack(zipped(contents), VERIFIER)


def test_a_signature_of_another_manifest_is_refused():
    contents = entries(archive(version=1))
    contents[SIGNATURE_FILE] = entries(archive(version=2))[SIGNATURE_FILE]
    with pytest.raises(ArtifactError, match="bad signature"):
        unpack(zipped(contents), VERIFIER)


def test_a_malformed_signature_is_refused():
    contents = entries(archive())
    for wrong in (b"x", contents[SIGNATURE_FILE].upper(), contents[SIGNATURE_FILE] * 2):
        with pytest.raises(ArtifactError, match="malformed"):
            unpack(zipped(contents | {SIGNATURE_FILE: wrong}), VERIFIER)


def test_a_manifest_that_names_another_key_than_signed_is_refused():
    with pytest.raises(ArtifactError, match="manifest names key"):
        unpack(signed(files(), key_id=STRANGER.key_id), VERIFIER)


@pytest.mark.parametrize("name", [MANIFEST_FILE, MODEL_FILE, GOLDEN_FILE])
def test_a_missing_file_is_named(name):
    contents = entries(archive())
    del contents[name]
    with pytest.raises(ArtifactError, match=name):
        unpack(zipped(contents), VERIFIER)


def test_an_extra_file_is_named():
    with pytest.raises(ArtifactError, match=r"extra\.txt is not in the manifest"):
        unpack(zipped(entries(archive()) | {"extra.txt": b"x"}), VERIFIER)


def test_a_file_with_other_content_is_named():
    contents = entries(archive()) | {MODEL_FILE: model_text(1)}
    with pytest.raises(ArtifactError, match=r"hash mismatch: model\.txt"):
        unpack(zipped(contents), VERIFIER)


def test_a_file_that_appears_twice_is_refused():
    contents = entries(archive())
    buffer = io.BytesIO(archive())
    with zipfile.ZipFile(buffer, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr(zipfile.ZipInfo(MODEL_FILE, (1980, 1, 1, 0, 0, 0)), contents[MODEL_FILE])
    with pytest.raises(ArtifactError, match="twice"):
        unpack(buffer.getvalue(), VERIFIER)


@pytest.mark.parametrize(
    "name",
    ["../model.txt", "/etc/model.txt", "a/b.txt", "..", "a..txt", "model.txt/", "C:model.txt", "MODEL.TXT", ".x.txt",
     "x" * 65 + ".txt", "mödel.txt", "a\\b.txt"],
)
def test_names_that_could_lead_elsewhere_are_refused(name):
    with pytest.raises(ArtifactError, match="forbidden name"):
        unpack(zipped(entries(archive()) | {name: b"x"}), VERIFIER)
    with pytest.raises(ArtifactError, match="forbidden"):
        pack(manifest(), files() | {name: b"x"}, SIGNER)


def test_compressed_entries_are_refused_before_they_are_unpacked():
    bomb = zipped(entries(archive()) | {"bomb.txt": b"\0" * 30_000_000}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 500_000
    with pytest.raises(ArtifactError, match="compressed"):
        unpack(bomb, VERIFIER)


def test_entries_that_overlap_cannot_multiply_what_is_read():
    """Twenty directory entries that all point at the same stored bytes."""
    body = b"\0" * 100_000
    header = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, len(body), len(body), 5, 0) + b"a.txt"
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, len(body), len(body), 5, 0, 0, 0, 0, 0, 0)
        + f"{chr(97 + i)}.txt".encode()
        for i in range(20)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 20, 20, len(directory), len(header) + len(body), 0)
    with pytest.raises(ArtifactError, match="more content than it has bytes"):
        unpack(header + body + directory + end, VERIFIER)


def test_too_large_archives_are_refused_unread(monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_ARCHIVE_BYTES", len(archive()) - 1)
    with pytest.raises(ArtifactError, match="too large"):
        unpack(archive(), VERIFIER)
    with pytest.raises(ArtifactError, match="too large"):
        pack(manifest(), files(), SIGNER)


def test_too_many_files_are_refused():
    many = {f"f{i}.txt": b"x" for i in range(bundle_module.MAX_FILES + 1)}
    with pytest.raises(ArtifactError, match="too large"):
        unpack(zipped(entries(archive()) | many), VERIFIER)
    with pytest.raises(ArtifactError, match="too large"):
        pack(manifest(), many, SIGNER)


class Explosive:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["weights.pkl", "model.txt", "golden.json", "model.onnx"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_refused_and_never_loaded(tmp_path, name, protocol):
    payload = pickle.dumps(Explosive(tmp_path / "exploded"), protocol)
    packed = signed(files() | {name: payload})

    def load() -> None:
        found = unpack(packed, VERIFIER)
        check_golden(found, load_predictor(found))

    if protocol == 0 and name == "model.onnx":
        load()  # plain text under a name that nothing reads
    else:
        # Protocol 0 is plain text: it gets further than the others and fails as a model.
        with pytest.raises(ArtifactError):
            load()
    assert not (tmp_path / "exploded").exists()


def test_an_archive_within_a_bundle_is_refused():
    with pytest.raises(ArtifactError, match="an archive"):
        unpack(signed(files() | {"inner.onnx": archive()}), VERIFIER)


def test_bytes_that_are_no_text_are_refused_as_text():
    with pytest.raises(ArtifactError, match="not UTF-8"):
        unpack(signed(files() | {"notes.txt": b"ab\xff"}), VERIFIER)


def test_an_unknown_format_is_refused_by_number():
    with pytest.raises(ArtifactError, match="unknown bundle format 2"):
        unpack(signed(files(), format=2), VERIFIER)


def test_unknown_manifest_fields_of_a_newer_trainer_are_tolerated_and_hashed():
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files().items()}
    fields = msgspec.to_builtins(manifest(files=hashes, key_id=SIGNER.key_id)) | {"newer": 1}
    whole = msgspec.json.encode(fields, order="sorted")
    contents = {MANIFEST_FILE: whole, SIGNATURE_FILE: f"{SIGNER.key_id} {SIGNER.sign(whole)}\n".encode()}
    found = unpack(zipped(contents | dict(sorted(files().items()))), VERIFIER)
    del fields["key_id"]
    assert found.sha256 == hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 0}, "version"),
        ({"name": ""}, "empty"),
        ({"feature_names": ()}, "feature_names"),
        ({"feature_names": (*FEATURES, "sigma")}, "feature_names"),
        ({"sigma_feature": "nothing"}, "sigma_feature"),
        ({"stop_sigma": 0.0}, "sigma factor"),
        ({"sigma_scale": -1.0}, "sigma factor"),
        ({"horizon_s": 0}, "horizon_s"),
        ({"mean_return_pct": {"long": 0.1}}, "mean_return_pct"),
        ({"metrics": {"sharpe": float("nan")}}, "finite"),
        ({"drift": {"nothing": DriftReference(edges=(0.0,), shares=(0.5, 0.5))}}, "nothing"),
        ({"drift": {"sigma": DriftReference(edges=(1.0, 0.0), shares=(0.5, 0.25, 0.25))}}, "sigma"),
        ({"drift": {"sigma": DriftReference(edges=(0.0,), shares=(0.5, 0.4))}}, "sigma"),
        ({"drift": {"sigma": DriftReference(edges=(0.0,), shares=(1.0,))}}, "sigma"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_on_both_ways(changes, problem):
    with pytest.raises(ArtifactError, match=problem):
        pack(manifest(**changes), files(), SIGNER)
    with pytest.raises(ArtifactError):
        unpack(signed(files(), **changes), VERIFIER)


def test_golden_rows_are_reproduced():
    found = unpack(archive(), VERIFIER)
    check_golden(found, load_predictor(found))


class Leaning:
    """Predicts what another predictor does, and a little more."""

    def __init__(self, predictor, row: float = 0.0, block: float = 0.0) -> None:
        self.predictor, self.row, self.block = predictor, row, block

    def predict(self, values):
        return self.predictor.predict(values) + self.row

    def predict_block(self, values):
        return self.predictor.predict_block(values) + self.block


@pytest.mark.parametrize(("way", "size"), [("row", 1e-9), ("block", 1e-9), ("row", np.nan), ("block", np.nan)])
def test_a_predictor_that_reproduces_golden_rows_almost_is_refused(way, size):
    found = unpack(archive(), VERIFIER)
    with pytest.raises(ArtifactError, match="golden row 0"):
        check_golden(found, Leaning(load_predictor(found), **{way: size}))


def test_weights_of_another_model_do_not_reproduce_the_golden_rows():
    found = unpack(pack(manifest(), {MODEL_FILE: model_text(1), GOLDEN_FILE: golden(0)}, SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match="golden row"):
        check_golden(found, load_predictor(found))


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b'{"rows": [], "probabilities": []}', b'{"rows": [[1]], "probabilities": [[1, 0, 0]]}',
        b'{"rows": [[1, 2], [1]], "probabilities": [[1, 0, 0]]}', b'{"rows": [["x"]], "probabilities": [[1, 0, 0]]}',
        golden_file(np.zeros((2, 6)), np.zeros((1, 3))), golden_file(np.zeros((1, 6)), np.zeros((1, 2))),
        b'{"rows":' + b"[" * 5_000,
    ],
)
def test_malformed_golden_rows_are_refused(content):
    found = unpack(pack(manifest(), {MODEL_FILE: model_text(), GOLDEN_FILE: content}, SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match=GOLDEN_FILE):
        check_golden(found, load_predictor(found))


def test_a_bundle_without_golden_rows_is_not_checked_silently():
    found = unpack(pack(manifest(), {MODEL_FILE: model_text()}, SIGNER), VERIFIER)
    with pytest.raises(ArtifactError, match=GOLDEN_FILE):
        check_golden(found, load_predictor(found))
