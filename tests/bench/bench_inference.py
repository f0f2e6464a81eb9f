"""How fast inference is: one row through a model beside ``Booster.predict``, and one row through the whole core."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import lightgbm
import numpy as np

from libs.common.messages.base import Floats
from libs.common.messages.features import FeatureBlock
from libs.common.messages.models import ModelPromoted
from libs.common.models.bundle import GOLDEN_FILE, MODEL_FILE, Manifest, golden_file, pack, unpack
from libs.common.signing import Signer, Verifier
from libs.common.stats.drift import drift_reference
from services.inference.config import InferenceConfig
from services.inference.core import InferenceCore
from services.inference.effects import BundleVerified, LoadBundle
from services.inference.library import ModelLibrary, verified_model

FEATURES = 36
ROUNDS = 100
ROWS = 2_000
REPEATS = 7
NAMES = ("ma_cross", "rsi_14", "sigma_60", *(f"feature_{i}" for i in range(FEATURES - 3)))
SIGNER = Signer(bytes(32))


def sample(n: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(n, FEATURES))
    rows[:, 2] = np.abs(rows[:, 2]) + 0.1
    return rows


def trained() -> lightgbm.Booster:
    """Return a model of the size the trainer makes."""
    rows = sample(4_000, 1)
    label = np.digitize(rows[:, 0] + 2.0 * np.random.default_rng(2).normal(size=len(rows)), (-0.8, 0.8))
    parameters = {"objective": "multiclass", "num_class": 3, "num_leaves": 8, "num_threads": 1, "verbosity": -1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, label), ROUNDS)


def archive_of(booster: lightgbm.Booster) -> bytes:
    rows = sample(1_000, 3)
    manifest = Manifest(
        name="direction-EURUSD", version=1, symbol="EURUSD", schema_id="bench", feature_names=NAMES, horizon_s=600,
        stop_sigma=1.0, target_sigma=1.0, sigma_feature="sigma_60", first_ns=0, last_ns=1, rows=len(rows), seed=0,
        metrics={}, drift={name: drift_reference(rows[:, i]) for i, name in enumerate(NAMES)},
        mean_return_pct={"long": 0.1, "short": 0.1},
    )
    files = {
        MODEL_FILE: booster.model_to_string().encode(), GOLDEN_FILE: golden_file(rows[:32], booster.predict(rows[:32])),
    }
    return pack(manifest, files, SIGNER)


def microseconds(work: Callable[[Any], object], items: list[Any]) -> float:
    """Return the time of one call, averaged over all items."""
    started = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - started) / len(items) * 1e6


def serving_core(archive: bytes) -> InferenceCore:
    """Return a core whose champion is the archive's model."""
    library = ModelLibrary()
    sha = unpack(archive, Verifier(SIGNER.public_bytes)).sha256
    library.put(verified_model(archive, Verifier(SIGNER.public_bytes), sha))
    core = InferenceCore(InferenceConfig(), library)
    (effect,) = core.on_model_promoted(
        ModelPromoted(
            ts_event_ns=0, ts_init_ns=0, name="direction-EURUSD", version=1, symbol="EURUSD", bundle_sha256=sha
        ), 0,
    )
    assert isinstance(effect, LoadBundle)
    fields = {name: getattr(effect, name) for name in BundleVerified.__struct_fields__}
    core.on_bundle_verified(BundleVerified(**fields), 0)
    return core


def row(
    name: str, unit: str, ours: list[float], against: str, theirs: list[float], n: int
) -> dict[str, object]:
    value, other = median(ours), median(theirs)
    return {
        "name": name, "unit": unit, "value": value, "against": against, "against_value": other,
        "ratio": value / other, "n": n, "min": min(ours), "max": max(ours),
    }


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    booster = trained()
    archive = archive_of(booster)
    verifier = Verifier(SIGNER.public_bytes)
    sha = unpack(archive, verifier).sha256
    predictor = verified_model(archive, verifier, sha).predictor
    core = serving_core(archive)
    values = list(sample(ROWS, 4))
    blocks = [
        FeatureBlock(
            ts_event_ns=i, ts_init_ns=i, symbol="EURUSD", schema_id="bench", names=NAMES, values=value, tick=i,
            bid=1.1, ask=1.1001,
        )
        for i, value in enumerate(values)
    ]
    alone, theirs, through_core, loading, bare = [], [], [], [], []
    text = booster.model_to_string()
    for _ in range(REPEATS):
        alone.append(microseconds(predictor.predict, values))
        theirs.append(microseconds(lambda one: booster.predict(one[None, :], num_threads=1), values[:500]))
        through_core.append(microseconds(lambda block: core.on_feature_block(block, block.ts_event_ns), blocks))
        loading.append(microseconds(lambda packed: verified_model(packed, verifier, sha), [archive]) / 1e3)
        bare.append(microseconds(lambda model: lightgbm.Booster(model_str=model), [text]) / 1e3)
    return [
        row(
            f"inference, one row through {3 * ROUNDS} trees", "µs/row", alone, "Booster.predict of one row", theirs,
            ROWS * REPEATS,
        ),
        row(
            f"inference, one row through the core ({FEATURES} features, rules, drift)", "µs/row", through_core,
            "the predictor alone", alone, ROWS * REPEATS,
        ),
        row(
            f"inference, a bundle of {len(archive) // 1024} KiB verified and loaded", "ms", loading,
            "LightGBM loading the same text unchecked", bare, REPEATS,
        ),
    ]


if __name__ == "__main__":
    for measured in rows():
        print(measured)
