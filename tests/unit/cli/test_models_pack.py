"""``tickwire models pack``: somebody's own ONNX model becomes a bundle that backtest and inference take, or is refused."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from libs.common.models.bundle import Golden, golden_file, unpack
from libs.common.signing import Verifier
from libs.common.storage.keys import ensure_keys
from services.features.config import FeaturesConfig
from services.features.feature_set import FeatureSet
from services.inference.library import verified_model
from tests.unit.cli.test_backtest_command import tick_file
from tests.unit.models.small_onnx import content, onnx_files
from tickwire.main import app

runner = CliRunner()
FEATURES = FeatureSet.from_config(FeaturesConfig())
K = len(FEATURES.names)
ROWS = np.random.default_rng(3).normal(size=(400, K))
ABOUT = {
    "symbol": "EURUSD", "version": 7, "horizon_s": 1800, "stop_sigma": 1.0, "target_sigma": 1.2, "sigma_feature": "sigma_60",
    "first_ns": 1, "last_ns": 2, "rows": 400, "mean_return_pct": {"long": 0.1, "short": 0.1}, "metrics": {"auc": 0.6},
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKWIRE_"):
            monkeypatch.delenv(name)
    ensure_keys(tmp_path / "data")
    files = onnx_files(ROWS[:16], features=K)
    Path("model.onnx").write_bytes(files["model.onnx"])
    Path("golden.json").write_bytes(files["golden.json"])
    Path("about.json").write_text(json.dumps(ABOUT))
    np.save("rows.npy", ROWS)


def call(*more: str) -> Any:
    arguments = ["models", "pack", "model.onnx", "about.json", "golden.json", "--data-dir", "data", *more]
    return runner.invoke(app, arguments, env={"COLUMNS": "300"})


def refused(*more: str) -> str:
    result = call(*more)
    assert result.exit_code == 2, result.output
    assert not list(Path().glob("*.bundle"))
    return " ".join(result.output.split())


def test_a_packed_model_passes_every_check_of_inference() -> None:
    result = call("--rows", "rows.npy", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    archive = Path("direction-EURUSD-7.bundle").read_bytes()
    verifier = Verifier(Path("data/keys/trainer.pub").read_bytes())
    manifest = unpack(archive, verifier).manifest
    assert verified_model(archive, verifier, said["bundle_sha256"]).predictor.predict(ROWS[0]).shape == (3,)
    assert (manifest.backend, manifest.schema_id, manifest.feature_names) == ("onnx", FEATURES.schema_id, FEATURES.names)
    assert (manifest.version, manifest.horizon_s, manifest.metrics) == (7, 1800, {"auc": 0.6})
    assert set(manifest.drift) == set(FEATURES.names)
    assert call("--rows", "rows.npy", "--out", "again.bundle").exit_code == 0
    assert Path("again.bundle").read_bytes() == archive


def test_without_training_rows_it_is_packed_and_said_that_drift_is_not_watched() -> None:
    result = call()
    assert result.exit_code == 0, result.output
    assert "--rows" in result.output


def test_a_backtest_decides_by_it() -> None:
    assert call().exit_code == 0
    result = runner.invoke(app, [
        "backtest", "--ticks", tick_file(count=6_000), "--symbol", "EURUSD", "--bundle", "direction-EURUSD-7.bundle",
        "--key", "data/keys/trainer.pub", "--set", "inference.signals.confirmation.enabled=false",
        "--set", "inference.signals.min_confidence=0.01", "--set", "inference.signals.min_expected_return_pct=-100",
    ], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    (made,) = Path("runs").iterdir()
    metrics = json.loads((made / "metrics.json").read_text())
    assert metrics["title"] == "direction-EURUSD v7"
    assert metrics["messages"]["Prediction"] > 0


def test_a_model_that_does_not_give_what_is_stated_is_refused() -> None:
    golden = msgspec.json.decode(Path("golden.json").read_bytes(), type=Golden)
    moved = np.array(golden.probabilities)
    moved[4, 0] += 0.01
    Path("golden.json").write_bytes(golden_file(np.array(golden.rows), moved))
    assert "model.onnx: golden row 4" in refused()


@pytest.mark.parametrize(
    ("name", "wrong", "problem"),
    [
        ("model.onnx", b"no model", "is no ONNX model"),
        ("model.onnx", content(features=6), f"1 x {K}"),
        ("golden.json", b"[]", "golden.json"),
        ("golden.json", b'{"rows": [], "probabilities": []}', "golden.json"),
        ("about.json", b"{", "about.json"),
        ("about.json", json.dumps(ABOUT | {"hoizon_s": 1}).encode(), "unknown field `hoizon_s`"),
        ("about.json", b"{\"symbol\": \"EURUSD\"}", "missing required field `version`"),
        ("about.json", json.dumps(ABOUT | {"sigma_feature": "none"}).encode(), "sigma_feature 'none' is not a feature"),
        ("about.json", json.dumps(ABOUT | {"last_ns": 0}).encode(), "before it begins"),
        ("rows.npy", b"no rows", "rows.npy"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(name: str, wrong: bytes, problem: str) -> None:
    Path(name).write_bytes(wrong)
    assert problem in refused("--rows", "rows.npy")


def test_rows_of_other_features_are_refused() -> None:
    np.save("rows.npy", ROWS[:, :5])
    assert f"rows of {K}" in refused("--rows", "rows.npy")
    np.save("rows.npy", np.full((3, K), np.nan))
    assert "not finite" in refused("--rows", "rows.npy")


@pytest.mark.parametrize("name", ["model.onnx", "about.json", "golden.json", "data/keys/trainer.key", "rows.npy"])
def test_a_missing_file_is_named(name: str) -> None:
    Path(name).unlink()
    assert Path(name).name in refused("--rows", "rows.npy")
