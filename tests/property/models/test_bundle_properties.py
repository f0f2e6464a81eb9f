"""Bundles of any content come back as they were, and any damage is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import ArtifactError
from libs.common.models.bundle import pack, unpack
from tests.unit.models.small_models import SIGNER, VERIFIER, archive, manifest

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}\.(txt|json)", fullmatch=True)
texts = st.text(max_size=200).map(str.encode)
contents = st.dictionaries(names.filter(lambda name: name != "manifest.json"), texts, max_size=6)
figures = st.dictionaries(st.text(max_size=10), st.floats(allow_nan=False, allow_infinity=False), max_size=5)


@given(contents, figures)
@settings(max_examples=80, deadline=None)
def test_any_content_comes_back_under_one_hash(files, metrics):
    packed = pack(manifest(metrics=metrics), files, SIGNER)
    found = unpack(packed, VERIFIER)
    assert (found.files, found.manifest.metrics) == (files, metrics)
    again = pack(found.manifest, dict(reversed(found.files.items())), SIGNER)
    assert again == packed
    assert unpack(again, VERIFIER).sha256 == found.sha256


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_edit_of_an_archive_is_refused(data):
    """Cut out, overwrite, insert, swap: whatever happens to the bytes."""
    packed = archive()
    start = data.draw(st.integers(0, len(packed)))
    end = data.draw(st.integers(start, min(start + 300, len(packed))))
    other = data.draw(st.binary(max_size=40) | st.integers(0, len(packed) - 40).map(lambda at: packed[at : at + 40]))
    edited = packed[:start] + other + packed[end:]
    if edited != packed:
        with pytest.raises(ArtifactError):
            unpack(edited, VERIFIER)


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_other_bytes_are_refused(content):
    with pytest.raises(ArtifactError):
        unpack(content, VERIFIER)
