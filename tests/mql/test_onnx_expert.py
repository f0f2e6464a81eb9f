"""TickwireOnnx runs what was promoted, changes versions between two rows, and never serves a broken bundle."""

import asyncio
import time

import numpy as np
import pytest
import structlog

from libs.common.messages.features import FeatureBlock
from libs.common.messages.models import ModelPromoted
from libs.common.models.bundle import Manifest, golden_file, pack, unpack
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from libs.common.signing import Signer, Verifier
from libs.common.storage.keys import read_key
from services.inference.effects import object_name_of
from services.inference.library import verified_model
from services.trainer.config import FitConfig
from services.trainer.effects import ModelTrained, TrainModel
from services.trainer.onnx_export import EXPORT_TOLERANCE
from services.trainer.shell import TrainerEffects
from tests.mql.bridge_world import bridge_world
from tests.mql.harness.onnx import OnnxAnswers
from tests.mql.package_answers import PackageAnswers
from tests.unit.trainer.market import config, dataset

FEATURES = ("a", "b", "sigma")
NAME = "direction-EURUSD"
SCHEMA = "s" * 16
TRAINED_ON = ("sigma", "lean", "a", "b", "c", "d")


class Answers(OnnxAnswers, PackageAnswers):
    """A terminal that runs ONNX models."""


def weights(version):
    return np.random.default_rng(version).normal(size=(len(FEATURES), 3))


def probabilities(version, row):
    logits = np.asarray(row) @ weights(version)
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def model_bytes(version, *, double=True, labels=False, mixed=False):
    """Return a linear model with a softmax, as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    numbers = np.float64 if double else np.float32
    nodes = [
        helper.make_node("MatMul", ["row", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    given = kind
    if mixed:
        given = TensorProto.FLOAT if double else TensorProto.DOUBLE
        nodes[1].output[0] = "shares"
        nodes.append(helper.make_node("Cast", ["shares"], ["probabilities"], to=given))
    outputs = [helper.make_tensor_value_info("probabilities", given, [None, 3])]
    if labels:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [None]))
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("row", kind, [None, len(FEATURES)])], outputs,
        [numpy_helper.from_array(weights(version).astype(numbers), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def bundle(signer, version, *, files=None, symbol="EURUSD", golden_of=None, **model):
    rows = np.random.default_rng(1).normal(size=(5, len(FEATURES)))
    wanted = np.array([probabilities(golden_of or version, row) for row in rows])
    manifest = Manifest(
        name=NAME, version=version, symbol=symbol, backend="onnx", schema_id=SCHEMA, feature_names=FEATURES, horizon_s=300,
        stop_sigma=1.0, target_sigma=1.0, sigma_feature="sigma", first_ns=0, last_ns=1, rows=10, seed=1,
        metrics={"log_loss": 1.0}, drift={}, mean_return_pct={"long": 0.1, "short": 0.1},
    )
    content = {"golden.json": golden_file(rows, wanted)}
    if files is None:
        content["model.onnx"] = model_bytes(version, **model)
    return pack(manifest, {**content, **(files or {})}, signer)


class Factory:
    """Publishes rows and promotions."""

    def __init__(self, world):
        self.world, self.seq, self.rows = world, 0, 0
        self.signer = Signer(read_key(world.root, "trainer.key"))

    async def promote(self, archive, *, store=True, version=None):
        """Put a bundle into the store and promote it."""
        found = unpack(archive, Verifier(self.signer.public_bytes)) if version is None else None
        sha = found.sha256 if found else "0" * 64
        version = found.manifest.version if found else version
        trainer = await self.world.bus("trainer")
        if store:
            await trainer.put_object(f"{NAME}-{version}-{sha[:16]}", archive)
        self.seq += 1
        now_ns = time.time_ns()
        await trainer.publish(ModelPromoted(
            ts_event_ns=now_ns, ts_init_ns=now_ns, seq=self.seq, name=NAME, version=version, symbol="EURUSD",
            bundle_sha256=sha, metrics={},
        ))
        return sha

    async def row(self, schema=SCHEMA):
        """Publish a feature row and return its values."""
        self.rows += 1
        values = np.random.default_rng(self.rows + 100).normal(size=len(FEATURES))
        features = await self.world.bus("features")
        await features.publish(FeatureBlock(
            ts_event_ns=self.rows, ts_init_ns=self.rows, seq=self.rows, symbol="EURUSD", schema_id=schema, names=FEATURES,
            values=values, tick=self.rows, bid=1.1, ask=1.1001,
        ))
        return values


@pytest.fixture
async def world(tmp_path, ea):
    async with bridge_world(tmp_path, ea) as found:
        found.answers = Answers(found.terminal)
        found.factory = Factory(found)
        yield found


def models(world):
    return [(said["version"], said["accepted"], said["serving_version"]) for said in world.said("models")]


async def prediction(world):
    """Publish a row and return what the program made of it, with the row."""
    count = len(world.said("predictions"))
    values = await world.factory.row()
    await world.until(lambda: len(world.said("predictions")) > count)
    said = world.said("predictions")[-1]
    assert (said["row_seq"], said["row_ns"]) == (world.factory.rows, world.factory.rows)
    return said, values


@pytest.mark.parametrize(("double", "labels", "within"), [(True, False, 1e-12), (False, False, 1e-6), (False, True, 1e-6)])
async def test_a_promoted_model_predicts_what_it_should(world, double, labels, within):
    expert = await world.open("TickwireOnnx.mq5")
    with expert.running():
        sha = await world.factory.promote(bundle(world.factory.signer, 1, double=double, labels=labels))
        await world.until(lambda: models(world) == [(1, True, 1)], 20.0)
        for _ in range(3):
            said, values = await prediction(world)
            wanted = probabilities(1, values)
            assert [said["p_down"], said["p_flat"], said["p_up"]] == pytest.approx(wanted, abs=within)
            assert (said["model"], said["version"], said["bundle_sha256"]) == (NAME, 1, sha)


async def train(world):
    """Let the trainer's own shell fit a model in its child process, sign it and store it; return its answer and rows."""
    (world.root / "trainer").mkdir()
    context = ServiceContext(
        name="trainer", data_dir=world.root / "trainer", root_dir=world.root, bus=await world.bus("trainer"),
        log=structlog.get_logger(), metrics=Metrics(),
    )
    settings = config(fit=FitConfig(folds=2, inner_folds=2, rounds=40, min_leaf_rows=20, resamples=200))
    effects = TrainerEffects(settings, context)
    await effects.prepare()
    rows = dataset(500, 0.8)
    result = await effects.perform(TrainModel(
        ts_event_ns=5, ts_init_ns=6, effect_id="train", name=NAME, version=1, symbol="EURUSD", trigger="first",
        schema_id=SCHEMA, feature_names=TRAINED_ON, dataset=rows, seed=3, champion=None,
    ))
    assert isinstance(result, ModelTrained), result
    return result, rows.features[-200:]


async def test_what_the_trainer_made_predicts_here_as_it_does_in_inference(world):
    expert = await world.open("TickwireOnnx.mq5")
    trained, rows = await train(world)
    trainer, features = await world.bus("trainer"), await world.bus("features")
    archive = await trainer.get_object(object_name_of(NAME, 1, trained.bundle_sha256))
    inference = verified_model(archive, Verifier(world.factory.signer.public_bytes), trained.bundle_sha256).predictor
    with expert.running():
        await trainer.publish(ModelPromoted(
            ts_event_ns=5, ts_init_ns=6, seq=1, name=NAME, version=1, symbol="EURUSD",
            bundle_sha256=trained.bundle_sha256, metrics=trained.metrics,
        ))
        await world.until(lambda: models(world) == [(1, True, 1)], 20.0)
        for number, values in enumerate(rows, 1):
            await features.publish(FeatureBlock(
                ts_event_ns=number, ts_init_ns=number, seq=number, symbol="EURUSD", schema_id=SCHEMA, names=TRAINED_ON,
                values=values, tick=number, bid=1.1, ask=1.1001,
            ))
        await world.until(lambda: len(world.said("predictions")) == len(rows), 30.0)
    said = world.said("predictions")
    assert [one["row_seq"] for one in said] == list(range(1, len(rows) + 1))
    assert {one["bundle_sha256"] for one in said} == {trained.bundle_sha256}
    wanted = np.array([inference.predict(values) for values in rows])
    found = np.array([[one["p_down"], one["p_flat"], one["p_up"]] for one in said])
    assert np.abs(found - wanted).max() <= EXPORT_TOLERANCE
    assert np.ptp(wanted[:, 2]) > 0.05  # the model does not answer the same to every row


async def test_a_model_promoted_before_the_start_is_found_in_the_stream(world):
    await world.factory.promote(bundle(world.factory.signer, 4))
    await (await world.bus("trainer")).flush()
    expert = await world.open("TickwireOnnx.mq5")
    with expert.running():
        await world.until(lambda: models(world) == [(4, True, 4)], 20.0)
    assert expert.deinit() == 0


async def test_a_broken_bundle_never_replaces_a_good_one_and_the_next_good_one_does(world):
    signer = world.factory.signer
    expert = await world.open("TickwireOnnx.mq5")
    broken = [
        bundle(signer, 2, golden_of=7),  # it does not give its golden rows
        bundle(signer, 3, files={"model.txt": b"tree"}),  # there is no model.onnx
        bundle(signer, 4, files={"model.onnx": b"this is no model"}),
        bundle(signer, 5, symbol="XAUUSD"),
        bundle(signer, 6, files={"model.onnx": model_bytes(6), "normaliser.json": b"{}"}),  # this program does not scale
        bundle(signer, 7, mixed=True),
    ]
    with expert.running():
        await world.factory.promote(bundle(signer, 1))
        await world.until(lambda: models(world) == [(1, True, 1)], 20.0)
        for archive in broken:
            count = len(world.said("models"))
            await world.factory.promote(archive)
            await world.until(lambda count=count: len(world.said("models")) > count, 20.0)
            said, values = await prediction(world)
            assert said["version"] == 1
            assert said["p_up"] == pytest.approx(probabilities(1, values)[2], abs=1e-9)
        await world.factory.promote(b"", store=False, version=8)  # the store does not hold it
        await world.until(lambda: len(world.said("models")) == 8, 20.0)
        await world.factory.promote(bundle(signer, 9))
        await world.until(lambda: models(world)[-1] == (9, True, 9), 20.0)
        said, values = await prediction(world)
    assert said["version"] == 9
    assert models(world)[1:8] == [(version, False, 1) for version in range(2, 9)]
    reasons = [said["reason"] for said in world.said("models")]
    assert "golden row 0" in reasons[1]
    assert "model.onnx" in reasons[2]
    assert "the terminal does not take" in reasons[3]
    assert "XAUUSD" in reasons[4]
    assert "normaliser.json" in reasons[5]
    assert "its input's type" in reasons[6]
    assert "does not hold" in reasons[7]


async def test_another_bundle_than_the_promoted_one_is_refused(world):
    signer = world.factory.signer
    expert = await world.open("TickwireOnnx.mq5")
    good, other = bundle(signer, 1), bundle(signer, 1, double=False)
    sha = unpack(good, Verifier(signer.public_bytes)).sha256
    trainer = await world.bus("trainer")
    await trainer.put_object(f"{NAME}-1-{sha[:16]}", other)
    with expert.running():
        await world.factory.promote(good, store=False)
        await world.until(lambda: world.said("models"), 20.0)
    assert world.said("models")[0]["accepted"] is False
    assert "another bundle" in world.said("models")[0]["reason"]


@pytest.mark.parametrize("damage", ["cut", "flipped"])
async def test_a_bundle_in_a_file_is_read_anew_when_it_changes_and_a_half_written_one_is_refused(world, damage):
    signer = world.factory.signer
    expert = await world.open("TickwireOnnx.mq5", inputs={"InpSource": 1})
    file = expert.files / "tickwire" / "model.bundle"
    file.write_bytes(bundle(signer, 1))
    with expert.running():
        await world.until(lambda: models(world) == [(1, True, 1)], 20.0)
        whole = bundle(signer, 2)
        spot = whole.index(b"model.onnx") + 60
        file.write_bytes(whole[:-1500] if damage == "cut" else whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :])
        await world.until(lambda: len(models(world)) == 2, 20.0)
        said, _ = await prediction(world)
        assert said["version"] == 1
        await asyncio.sleep(1.1)  # the clock of files has whole seconds
        file.write_bytes(whole)
        await world.until(lambda: models(world)[-1] == (2, True, 2), 20.0)
    assert models(world)[1][1] is False


async def test_rows_of_another_schema_are_not_predicted(world):
    expert = await world.open("TickwireOnnx.mq5")
    with expert.running():
        await world.factory.promote(bundle(world.factory.signer, 1))
        await world.until(lambda: models(world) == [(1, True, 1)], 20.0)
        await world.factory.row(schema="another")
        await world.until(lambda: [s for s, _ in world.heard if s == "alerts.warning"])
        await world.factory.row()
        await world.until(lambda: world.said("predictions"))
    assert len(world.said("predictions")) == 1


async def test_the_whole_of_it_is_clean_under_the_sanitizers(world):
    expert = await world.open("TickwireOnnx.mq5", sanitized=True, faults={"read_max": 300, "write_max": 50})
    with expert.running():
        await world.factory.promote(bundle(world.factory.signer, 1))
        await world.until(lambda: models(world) == [(1, True, 1)], 40.0)
        await prediction(world)
    assert expert.deinit() == 0
    assert expert.leaks == 0
