"""The trainer's shell: a child process that may crash, hang or lie, and a bundle that inference would load."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import structlog

from libs.common.config import BusConfig, SystemConfig
from libs.common.errors import ArtifactError, ConfigError
from libs.common.models.bundle import Bundle, check_golden, pack, unpack
from libs.common.models.onnx_predictor import OnnxPredictor
from libs.common.models.predictor import load_predictor
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from libs.common.signing import Signer, Verifier
from libs.common.storage.keys import write_private
from services.trainer.adapters.exchange import REPORT_FILE, RESULT_FOLDER, read_result, read_work, write_work
from services.trainer.adapters.fit_process import ORPHANED
from services.trainer.adapters.fitting import MODULE, FittingProcess
from services.trainer.config import FitConfig, GateConfig
from services.trainer.effects import (
    AdoptBundle,
    AdoptionFailed,
    BundleAdopted,
    Champion,
    ModelTrained,
    TrainingFailed,
    TrainModel,
)
from services.trainer.shell import TrainerEffects, build
from services.trainer.work import FitRequest
from tests.unit.models.small_models import manifest
from tests.unit.models.small_onnx import onnx_files
from tests.unit.trainer.market import SCHEMA, SYMBOL, config, dataset

SEED = bytes(range(32))
VERIFIER = Verifier(Signer(SEED).public_bytes)
NAMES = ("sigma", "lean", "a", "b", "c", "d")
SETTINGS = config(fit=FitConfig(folds=2, inner_folds=2, rounds=15, min_leaf_rows=30, resamples=200), fit_timeout_s=60)
REQUEST = FitRequest(feature_names=NAMES, seed=3, settings=SETTINGS.fit)


class Store:
    """An object store in memory that may be away for a while."""

    def __init__(self):
        self.objects, self.puts, self.failures = {}, 0, 0

    async def put_object(self, name, content):
        self.puts += 1
        if self.failures:
            self.failures -= 1
            raise TimeoutError("away")
        self.objects[name] = content

    async def get_object(self, name):
        if name not in self.objects:
            raise ArtifactError(f"model store holds no object '{name}'")
        return self.objects[name]


@pytest.fixture
def context(tmp_path):
    (tmp_path / "keys").mkdir()
    write_private(tmp_path / "keys" / "trainer.key", SEED)
    (tmp_path / "trainer").mkdir()
    return ServiceContext(
        name="trainer", data_dir=tmp_path / "trainer", root_dir=tmp_path, bus=Store(), log=structlog.get_logger(),
        metrics=Metrics(),
    )


def effect(rows=None, version=1, champion=None, effect_id="effect-1"):
    return TrainModel(
        ts_event_ns=5, ts_init_ns=6, effect_id=effect_id, name=f"direction-{SYMBOL}", version=version, symbol=SYMBOL,
        trigger="first", schema_id=SCHEMA, feature_names=NAMES, dataset=rows or dataset(500, 0.8), seed=3,
        champion=champion,
    )


async def effects_of(context, command=(), timeout_s=60.0):
    process = FittingProcess(context.data_dir / "fitting", timeout_s, command) if command else None
    effects = TrainerEffects(SETTINGS, context, process)
    await effects.prepare()
    return effects


def script(context, text):
    """Return a command that runs a stand-in for the fitting process."""
    file = context.data_dir / "stand_in.py"
    file.write_text(f"import os, sys, time, pathlib\nfolder = pathlib.Path(sys.argv[1])\n{text}\n")
    return (sys.executable, str(file))


def written(file):
    """Wait for a file with something in it and return that."""
    deadline_s = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline_s, f"{file} was never written"
        time.sleep(0.01)
    return file.read_text()


def gone(pid):
    return not Path(f"/proc/{pid}").exists()


async def test_a_training_puts_a_bundle_into_the_store_that_passes_every_check_of_inference(context):
    effects = await effects_of(context)
    result = await effects.perform(effect())
    assert isinstance(result, ModelTrained)
    name = f"direction-EURUSD-1-{result.bundle_sha256[:16]}"
    bundle = unpack(context.bus.objects[name], VERIFIER)
    predictor = load_predictor(bundle)
    check_golden(bundle, predictor)
    rows = dataset(500, 0.8).features
    in_terminals = OnnxPredictor.of_bundle(bundle).predict_block(rows)
    assert in_terminals == pytest.approx(predictor.predict_block(rows), abs=1e-6)
    manifest = bundle.manifest
    assert bundle.sha256 == result.bundle_sha256
    assert (manifest.schema_id, manifest.feature_names, manifest.seed) == (SCHEMA, NAMES, 3)
    assert (manifest.sigma_feature, manifest.sigma_unit, manifest.sigma_scale) == ("sigma", "price", 1.0)
    assert (manifest.target_sigma, manifest.stop_sigma, manifest.horizon_s) == (1.0, 0.7, 20)
    assert manifest.metrics == result.metrics
    assert manifest.rows == 500
    assert result.last_ns == manifest.last_ns == int(dataset(500, 0.8).end_ns.max())
    assert list((context.data_dir / "bundles").iterdir())
    assert not list((context.data_dir / "fitting").iterdir())


async def test_the_same_effect_is_answered_from_what_is_kept(context):
    first = await (await effects_of(context)).perform(effect())
    context.bus.objects.clear()
    again = await (await effects_of(context, script(context, "sys.exit(9)"))).perform(effect())
    assert again == first
    assert len(context.bus.objects) == 1


async def test_a_kept_bundle_that_was_damaged_is_not_answered_from(context):
    first = await (await effects_of(context)).perform(effect())
    (file,) = (context.data_dir / "bundles").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    again = await (await effects_of(context)).perform(effect())
    assert again == first


async def test_two_processes_make_the_same_bundle(context, tmp_path):
    first = await (await effects_of(context)).perform(effect(effect_id="one"))
    second = await (await effects_of(context)).perform(effect(effect_id="two"))
    assert first.bundle_sha256 == second.bundle_sha256
    assert first.metrics == second.metrics


async def test_a_challenger_is_compared_with_the_champion_from_disk_or_store(context):
    first = await (await effects_of(context)).perform(effect())
    champion = Champion(version=1, bundle_sha256=first.bundle_sha256, last_ns=int(dataset(200, 0.8).end_ns.max()))
    rows = dataset(900, 0.8)
    result = await (await effects_of(context)).perform(effect(rows, 2, champion, "effect-2"))
    assert result.champion_version == 1
    assert result.metrics["gate_rows"] > 0
    for file in (context.data_dir / "bundles").iterdir():
        file.unlink()
    other = await (await effects_of(context)).perform(effect(rows, 2, champion, "effect-3"))
    assert other.bundle_sha256 == result.bundle_sha256


def own_bundle(context, signer=None, **changes):
    """Put somebody's own ONNX model into the store; return its hash."""
    told = {
        "name": f"direction-{SYMBOL}", "version": 5, "backend": "onnx", "schema_id": SCHEMA, "feature_names": NAMES,
        "drift": {}, "last_ns": int(dataset(200, 0.8).end_ns.max()), **changes,
    }
    archive = pack(manifest(**told), onnx_files(dataset(50, 0.8).features), signer or Signer(SEED))
    sha = unpack(archive, Verifier((signer or Signer(SEED)).public_bytes)).sha256
    context.bus.objects[f"direction-{SYMBOL}-5-{sha[:16]}"] = archive
    return sha


def adoption(sha):
    return AdoptBundle(
        ts_event_ns=5, ts_init_ns=6, effect_id="adopt", name=f"direction-{SYMBOL}", version=5, symbol=SYMBOL,
        bundle_sha256=sha,
    )


async def test_a_bundle_of_somebody_else_is_checked_and_then_a_challenger_is_compared_with_it(context):
    sha = own_bundle(context)
    effects = await effects_of(context)
    adopted = await effects.perform(adoption(sha))
    assert isinstance(adopted, BundleAdopted)
    assert (adopted.bundle_sha256, adopted.schema_id, adopted.metrics) == (sha, SCHEMA, {"accuracy": 0.5})
    champion = Champion(version=5, bundle_sha256=sha, last_ns=adopted.last_ns)
    result = await effects.perform(effect(dataset(900, 0.8), 6, champion, "effect-2"))
    assert (type(result), result.champion_version) == (ModelTrained, 5)
    assert result.metrics["gate_rows"] > 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"signer": Signer(bytes(32))}, "signed with key"), ({"version": 4}, "direction-EURUSD 4"),
        ({"symbol": "XAUUSD"}, "XAUUSD"), ({"backend": "other"}, "unknown backend"),
    ],
)
async def test_a_bundle_that_is_not_sound_is_not_adopted(context, changes, problem):
    result = await (await effects_of(context)).perform(adoption(own_bundle(context, **changes)))
    assert isinstance(result, AdoptionFailed)
    assert problem in result.detail


async def test_a_bundle_that_is_not_in_the_store_is_not_adopted(context):
    result = await (await effects_of(context)).perform(adoption("0" * 64))
    assert isinstance(result, AdoptionFailed)
    assert "no object" in result.detail


async def test_a_champion_that_is_gone_or_not_ours_fails_the_training(context):
    champion = Champion(version=1, bundle_sha256="0" * 64, last_ns=1)
    result = await (await effects_of(context)).perform(effect(version=2, champion=champion))
    assert isinstance(result, TrainingFailed)
    assert result.reason == "refused"
    (context.data_dir / "bundles" / f"direction-EURUSD-1-{'0' * 16}.bundle").write_bytes(b"not an archive")
    result = await (await effects_of(context)).perform(effect(version=2, champion=champion))
    assert isinstance(result, TrainingFailed)


async def test_another_model_of_ours_in_the_champions_place_fails_the_training(context):
    first = await (await effects_of(context)).perform(effect())
    (file,) = (context.data_dir / "bundles").iterdir()
    champion = Champion(version=1, bundle_sha256=first.bundle_sha256[:16] + "0" * 48, last_ns=1)
    result = await (await effects_of(context)).perform(effect(version=2, champion=champion, effect_id="effect-2"))
    assert (type(result), result.reason) == (TrainingFailed, "refused")
    assert file.exists()


async def test_a_process_that_crashes_fails_the_training_with_its_last_words(context):
    effects = await effects_of(context, script(context, "sys.stderr.write('out of memory'); sys.exit(137)"))
    result = await effects.perform(effect())
    assert (type(result), result.reason) == (TrainingFailed, "crashed")
    assert "137" in result.detail
    assert "out of memory" in result.detail
    assert not context.bus.objects


async def test_a_process_that_is_killed_fails_the_training(context):
    effects = await effects_of(context, script(context, "os.kill(os.getpid(), 9)"))
    result = await effects.perform(effect())
    assert (type(result), result.reason) == (TrainingFailed, "crashed")


async def test_a_process_that_hangs_is_killed_and_the_loop_goes_on_meanwhile(context):
    text = "(folder.parent.parent / 'pid').write_text(str(os.getpid())); time.sleep(60)"
    effects = await effects_of(context, script(context, text), timeout_s=1.0)
    longest_s, last_s = 0.0, time.monotonic()
    training = asyncio.create_task(effects.perform(effect()))
    while not training.done():
        await asyncio.sleep(0.005)
        longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
    assert (type(training.result()), training.result().reason) == (TrainingFailed, "timeout")
    assert longest_s < 0.5
    pid = (context.data_dir / "pid").read_text()
    assert gone(pid)
    assert not list((context.data_dir / "fitting").iterdir())


async def test_a_cancelled_training_leaves_no_process_behind(context):
    text = "(folder.parent.parent / 'pid').write_text(str(os.getpid())); time.sleep(60)"
    effects = await effects_of(context, script(context, text))
    training = asyncio.create_task(effects.perform(effect()))
    pid = await asyncio.to_thread(written, context.data_dir / "pid")
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert gone(pid)


@pytest.mark.parametrize(
    "damage",
    [
        "(result / 'model.txt').write_bytes((result / 'model.txt').read_bytes().replace(b'tree', b'treE', 1))",
        "(result / 'golden.json').unlink()",
        "(result / 'report.json').write_text('{}')",
        "(result / 'report.json').write_text((result / 'report.json').read_text().replace('model.txt', 'else.txt'))",
        "import shutil; shutil.rmtree(result)",
    ],
    ids=["model", "golden", "report", "names", "nothing"],
)
async def test_a_corrupt_result_is_refused(context, damage):
    text = (
        "from services.trainer.adapters.fit_process import main\nmain(folder)\n"
        f"result = folder / 'result'\n{damage}"
    )
    result = await (await effects_of(context, script(context, text))).perform(effect())
    assert (type(result), result.reason) == (TrainingFailed, "corrupt")
    assert not context.bus.objects


async def test_a_model_that_onnx_runtime_runs_otherwise_is_refused_with_the_reason(context):
    text = (
        "from services.trainer import onnx_export\n"
        "from services.trainer.adapters.fit_process import main\n"
        "onnx_export._threshold = lambda node: node['threshold'] + 1.0\n"
        "sys.exit(main(folder))"
    )
    result = await (await effects_of(context, script(context, text))).perform(effect())
    assert (type(result), result.reason) == (TrainingFailed, "refused")
    assert "model.onnx: row" in result.detail
    assert not context.bus.objects


async def test_work_that_cannot_be_done_is_refused_with_the_reason(context):
    result = await (await effects_of(context)).perform(effect(dataset(60, 0.5, overlap=100)))
    assert (type(result), result.reason) == (TrainingFailed, "refused")
    assert "min_rows" in result.detail


async def test_a_store_that_is_away_for_a_moment_is_tried_again(context, monkeypatch):
    monkeypatch.setattr("services.trainer.shell._STORE_PAUSES_S", (0.01, 0.01))
    context.bus.failures = 2
    result = await (await effects_of(context)).perform(effect())
    assert isinstance(result, ModelTrained)
    assert context.bus.puts == 3


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_missing_or_malformed_key_is_a_config_error(context, content):
    file = context.root_dir / "keys" / "trainer.key"
    file.unlink()
    if content is not None:
        write_private(file, content)
    whole = {"system": SystemConfig(), "bus": BusConfig(), "instruments": {}, "trainer": SETTINGS}
    with pytest.raises(ConfigError, match=r"trainer\.key"):
        build(whole, context)


def test_a_first_model_without_proof_cannot_serve_live(context):
    careless = msgspec.structs.replace(SETTINGS, gate=GateConfig(first_model="any"))
    whole = {"bus": BusConfig(), "instruments": {}, "trainer": careless}
    assert build({**whole, "system": SystemConfig(mode="paper")}, context)
    with pytest.raises(ConfigError, match="unproved"):
        build({**whole, "system": SystemConfig(mode="live")}, context)


def test_the_shell_counts_what_the_core_says(context):
    whole = {"system": SystemConfig(), "bus": BusConfig(), "instruments": {}, "trainer": SETTINGS}
    service = build(whole, context)
    service.observe(TrainingFailed(
        ts_event_ns=1, ts_init_ns=1, effect_id="e", name="n", version=1, symbol=SYMBOL, reason="timeout", detail="",
    ))
    text = context.metrics.render().decode()
    assert 'tickwire_trainer_trainings_total{outcome="failed",symbol="EURUSD"} 1.0' in text


def test_what_is_written_for_the_process_is_what_it_reads(tmp_path):
    rows = dataset(50, 0.5)
    bundle = Bundle(manifest=manifest(), files={"model.txt": b"tree"})
    write_work(tmp_path, rows, REQUEST, bundle)
    found, request, champion = read_work(tmp_path)
    assert found.digest() == rows.digest()
    assert (request, champion) == (REQUEST, bundle)


def test_the_process_ends_when_the_trainer_does(tmp_path):
    rows = dataset(5_000, 0.5)
    slow = msgspec.structs.replace(REQUEST, settings=FitConfig(rounds=2_000, num_leaves=64, min_leaf_rows=5))
    write_work(tmp_path, rows, slow, None)
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, str(tmp_path)], stdin=subprocess.PIPE, cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": "."},
    ) as process:
        process.stdin.close()
        assert process.wait(20) == ORPHANED
    assert not (tmp_path / RESULT_FOLDER / REPORT_FILE).exists()


def test_the_process_refuses_pickled_arrays(tmp_path):
    rows = dataset(50, 0.5)
    write_work(tmp_path, rows, REQUEST, None)
    with (tmp_path / "dataset.npz").open("wb") as file:
        np.savez(file, features=np.array([object()], dtype=object), allow_pickle=True)
    done = subprocess.run(
        [sys.executable, "-m", MODULE, str(tmp_path)], check=False, stdin=subprocess.DEVNULL, cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode in (2, ORPHANED)
    assert not (tmp_path / RESULT_FOLDER).exists()


def test_results_are_read_back_whole(tmp_path):
    write_work(tmp_path, dataset(500, 0.8), REQUEST, None)
    from services.trainer.adapters.fit_process import main

    assert main(tmp_path) == 0
    report, files = read_result(tmp_path)
    assert set(report.files) == set(files) == {"model.txt", "model.onnx", "golden.json"}
