"""Small trained models and their bundles, for the tests of models and inference."""

import functools
from typing import Any

import lightgbm
import msgspec
import numpy as np

from libs.common.messages.base import Floats
from libs.common.messages.features import FeatureBlock
from libs.common.models.bundle import GOLDEN_FILE, MODEL_FILE, Manifest, golden_file, pack, unpack
from libs.common.signing import Signer, Verifier
from libs.common.stats.drift import drift_reference

FEATURES = ("ret_1", "ret_5", "ma_cross", "rsi_14", "spread", "sigma")
SCHEMA = "schema-of-six"
SIGNER = Signer(bytes(range(32)))
VERIFIER = Verifier(SIGNER.public_bytes)
STRANGER = Signer(bytes(32))
SECOND_NS = 1_000_000_000


def rows_like_training(n: int, seed: int = 0) -> Floats:
    """Return (n, 6) feature rows of the distribution the models were trained on."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, len(FEATURES)))
    rows[:, 3] = 50.0 + 10.0 * rows[:, 3]
    rows[:, 4] = np.round(np.abs(rows[:, 4]), 1)
    rows[:, 5] = 0.001 * (1.0 + np.abs(rows[:, 5]))
    return rows


@functools.cache
def model_text(seed: int = 0, rounds: int = 8) -> bytes:
    """Return a trained model."""
    rows = rows_like_training(600, seed)
    noise = np.random.default_rng(seed + 1).normal(size=len(rows))
    label = np.digitize(rows[:, 0] + 0.5 * noise, (-0.5, 0.5))
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": seed,
         "deterministic": True, "force_row_wise": True},
        lightgbm.Dataset(rows, label, feature_name=list(FEATURES)), rounds,
    )
    return booster.model_to_string().encode()


@functools.cache
def golden(seed: int = 0, rounds: int = 8) -> bytes:
    rows = rows_like_training(16, seed + 7)
    return golden_file(rows, lightgbm.Booster(model_str=model_text(seed, rounds).decode()).predict(rows))


def manifest(**changes: Any) -> Manifest:
    rows = rows_like_training(2_000, 99)
    whole = Manifest(
        name="direction-EURUSD", version=1, symbol="EURUSD", schema_id=SCHEMA, feature_names=FEATURES, horizon_s=600,
        stop_sigma=1.5, target_sigma=2.0, sigma_feature="sigma", first_ns=0, last_ns=SECOND_NS, rows=600, seed=0,
        metrics={"accuracy": 0.5},
        drift={name: drift_reference(rows[:, i]) for i, name in enumerate(FEATURES)},
        mean_return_pct={"long": 0.1, "short": 0.1},
    )
    return msgspec.structs.replace(whole, **changes)


def files(seed: int = 0) -> dict[str, bytes]:
    return {MODEL_FILE: model_text(seed), GOLDEN_FILE: golden(seed)}


@functools.cache
def archive(version: int = 1, symbol: str = "EURUSD", seed: int = 0) -> bytes:
    """Return a sound bundle."""
    return pack(manifest(version=version, symbol=symbol, name=f"direction-{symbol}"), files(seed), SIGNER)


@functools.cache
def sha_of(version: int = 1, symbol: str = "EURUSD", seed: int = 0) -> str:
    return unpack(archive(version, symbol, seed), VERIFIER).sha256


def feature_row(index: int, symbol: str = "EURUSD", values: Floats | None = None, **changes: Any) -> FeatureBlock:
    """Return the feature row of decision ``index``."""
    if values is None:
        values = rows_like_training(1, 1_000 + index)[0]
    at_ns = (index + 1) * SECOND_NS
    fields: dict[str, Any] = {
        "schema_id": SCHEMA, "names": FEATURES, "bid": 1.1, "ask": 1.1001, "values": values,
    } | changes
    return FeatureBlock(
        ts_event_ns=at_ns, ts_init_ns=at_ns, seq=index + 1, step=index + 1, symbol=symbol, tick=index + 1, **fields
    )
