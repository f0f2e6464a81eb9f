"""A quant's own ONNX model on a running stack: packed, adopted, shadowing, promoted; by the real trainer and inference."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from libs.common.config import BusConfig, SystemConfig
from services.features.config import FeaturesConfig
from services.features.feature_set import FeatureSet
from tests.unit.models.small_onnx import onnx_files
from tickwire.main import app
from tickwire.stack import Stack

NAME = "direction-EURUSD"
K = len(FeatureSet.from_config(FeaturesConfig()).names)
ABOUT = {
    "symbol": "EURUSD", "version": 3, "horizon_s": 1800, "stop_sigma": 1.0, "target_sigma": 1.2, "sigma_feature": "sigma_60",
    "first_ns": 1, "last_ns": 2, "rows": 400, "mean_return_pct": {"long": 0.1, "short": 0.1}, "metrics": {"auc": 0.6},
}


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tickwire.commands.models.CONFIRM_WITHIN_S", 30.0)
    Path("config.yaml").write_text(yaml.safe_dump({"system": {"data_dir": "state", "symbols": ["EURUSD"]}}))
    for name, content in onnx_files(np.random.default_rng(3).normal(size=(16, K)), features=K).items():
        Path(name).write_bytes(content)
    system = SystemConfig(data_dir=str(tmp_path / "state"), symbols=("EURUSD",))
    stack = Stack(tmp_path / "config.yaml", system, BusConfig(), services=("inference", "trainer"), log_dir=tmp_path)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()


async def command(*arguments: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"COLUMNS": "300"})


async def pack(version: int) -> str:
    """Pack the model as a version and return the bundle's file."""
    Path("about.json").write_text(json.dumps(ABOUT | {"version": version}))
    packed = await command("models", "pack", "model.onnx", "about.json", "golden.json", "-c", "config.yaml")
    assert packed.exit_code == 0, packed.output
    return f"{NAME}-{version}.bundle"


async def listed() -> dict[int, tuple[str, bool, bool]]:
    rows = json.loads((await command("models", "list", "--json")).stdout)
    return {row["version"]: (row["state"], row["in_service"], row["champion"]) for row in rows}


async def test_a_model_of_ones_own_shadows_and_is_promoted(running: Stack) -> None:
    file = await pack(3)
    adopted = await command("models", "adopt", file)
    assert adopted.exit_code == 0, adopted.output
    assert "predicts on shadows.EURUSD" in adopted.output
    assert await listed() == {3: ("shadowed", True, False)}
    promoted = await command("models", "promote", NAME, "3")
    assert promoted.exit_code == 0, promoted.output
    assert await listed() == {3: ("promoted", True, True)}

    again = await command("models", "adopt", file)
    assert again.exit_code == 1
    assert "versions up to 3 are taken" in again.output

    damaged = bytearray(Path(await pack(4)).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    Path("damaged.bundle").write_bytes(damaged)
    refused = await command("models", "adopt", "damaged.bundle")
    assert refused.exit_code == 2
    assert "damaged.bundle" in refused.output
    assert set(await listed()) == {3}
