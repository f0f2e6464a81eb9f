"""The core's decisions: when to train, what to publish, who serves."""

import msgspec
import numpy as np
import pytest

from libs.common.bus.protocol import Delivered
from libs.common.codec import encode
from libs.common.core import dispatch
from libs.common.messages.control import AdoptModel, Alert, PromoteModel, RetrainModel, Watermark
from libs.common.messages.features import DriftDetected
from libs.common.messages.models import (
    ModelPromoted,
    ModelPublished,
    ModelRefused,
    ModelRejected,
    ModelRetired,
    ModelShadowed,
)
from libs.common.runtime.lockstep import Lockstep
from services.trainer.core import TrainerCore, model_name
from services.trainer.effects import AdoptBundle, AdoptionFailed, BundleAdopted, ModelTrained, TrainingFailed, TrainModel
from tests.unit.trainer.market import SCHEMA, SYMBOL, block, config, row, stream, ticks
from tests.unit.trainer.test_gate import BETTER, SKILLED

NAME = model_name(SYMBOL)
WORSE = {**BETTER, "gate_edge_pct": -0.01, "gate_edge_p": 1.0}


def core(**changes):
    return TrainerCore(config(**changes), (SYMBOL,), {}, 123)


def feed(one, messages):
    """Hand messages to a core and return what it says."""
    return [output for message in messages for output in dispatch(one, message, message.ts_event_ns)]


def trained(effect, metrics, **changes):
    champion = effect.champion.version if effect.champion else 0
    return ModelTrained(**{
        "ts_event_ns": effect.ts_event_ns, "ts_init_ns": 0, "effect_id": effect.effect_id, "name": effect.name,
        "version": effect.version, "symbol": effect.symbol, "bundle_sha256": f"{effect.version:064x}",
        "schema_id": effect.schema_id, "last_ns": int(effect.dataset.end_ns.max()), "champion_version": champion,
        "metrics": metrics, **changes,
    })


def answer(one, effect, metrics=SKILLED, **changes):
    result = trained(effect, metrics, **changes)
    return list(one.on_model_trained(result, result.ts_event_ns))


def play(one, messages, metrics):
    """Feed messages, answer every training with the next figures and return (effects, other outputs)."""
    effects, others, waiting = [], [], list(metrics)
    for message in messages:
        for output in dispatch(one, message, message.ts_event_ns):
            if isinstance(output, TrainModel):
                effects.append(output)
                if waiting:
                    others += answer(one, output, waiting.pop(0))
            else:
                others.append(output)
    return effects, others


def command(kind, **fields):
    return kind(ts_event_ns=1, ts_init_ns=1, command_id="c", issued_by="test", **fields)


def kinds(messages):
    return [type(message).__name__ for message in messages]


def test_the_first_training_starts_with_the_row_that_makes_it_enough():
    effects, _ = play(core(), stream(300), [])
    assert [(effect.trigger, effect.version, len(effect.dataset)) for effect in effects] == [("first", 1, 60)]
    assert effects[0].champion is None
    assert effects[0].feature_names == ("sigma", "lean", "noise")


def test_no_label_of_a_dataset_reaches_beyond_the_moment_it_was_made():
    effects, _ = play(core(), stream(600), [SKILLED, BETTER])
    assert len(effects) > 1
    for effect in effects:
        assert effect.dataset.end_ns.max() <= effect.ts_event_ns
        assert effect.dataset.time_ns.max() + config().horizon_s * 10**9 <= effect.ts_event_ns


def test_a_skilled_first_model_is_published_and_promoted():
    _, outputs = play(core(), stream(240), [SKILLED])
    assert kinds(outputs) == ["ModelPublished", "ModelPromoted"]
    assert outputs[1].name == "direction-EURUSD"
    assert outputs[1].metrics == SKILLED


def test_a_first_model_without_skill_is_published_and_refused():
    _, outputs = play(core(), stream(240), [{**SKILLED, "skill": -0.1}])
    assert kinds(outputs) == ["ModelPublished", "ModelRefused"]
    assert outputs[1].reason == "no_skill"


def test_a_better_challenger_takes_over_and_the_champion_retires():
    one = core()
    effects, outputs = play(one, stream(420), [SKILLED, BETTER])
    assert [effect.trigger for effect in effects[:2]] == ["first", "schedule"]
    assert effects[1].champion.version == 1
    assert effects[1].champion.last_ns == int(effects[0].dataset.end_ns.max())
    assert kinds(outputs) == ["ModelPublished", "ModelPromoted"] * 2 + ["ModelRetired"]
    assert [outputs[3].version, outputs[4].version] == [2, 1]


def test_a_worse_challenger_is_refused_with_both_sides_numbers_and_the_champion_stays():
    one = core()
    effects, outputs = play(one, stream(600), [SKILLED, WORSE])
    assert isinstance(outputs[3], ModelRefused)
    assert outputs[3].reason == "not_better"
    assert outputs[3].metrics == WORSE
    assert effects[2].champion.version == 1
    assert effects[2].version == 3


def test_training_again_waits_for_so_many_new_rows():
    effects, _ = play(core(retrain_every_rows=50), stream(900), [SKILLED, WORSE, WORSE])
    lengths = [len(effect.dataset) for effect in effects]
    assert lengths[:3] == [60, 110, 160]


def test_training_again_waits_for_so_much_event_time():
    effects, _ = play(core(retrain_every_rows=0, retrain_every_s=100), stream(900), [SKILLED, *[WORSE] * 20])
    waits_s = np.diff([effect.ts_event_ns for effect in effects]) / 1e9
    assert len(waits_s) > 3
    assert (waits_s >= 100).all()
    assert (waits_s < 140).all()


def test_with_both_schedules_off_only_the_first_training_starts():
    effects, _ = play(core(retrain_every_rows=0), stream(900), [SKILLED])
    assert len(effects) == 1


def test_one_training_at_a_time_per_symbol():
    one = core()
    effects, _ = play(one, stream(900), [])
    assert len(effects) == 1
    assert not one.on_retrain_model(command(RetrainModel, symbol=SYMBOL, ), 1)
    # What was asked meanwhile starts as soon as the running one is answered.
    following = answer(one, effects[0])
    assert kinds(following) == ["ModelPublished", "ModelPromoted", "TrainModel"]
    assert following[2].trigger == "command"


def test_a_command_trains_at_once_when_there_are_rows_enough():
    one = core(retrain_every_rows=0)
    play(one, stream(240), [SKILLED])
    (effect,) = one.on_retrain_model(command(RetrainModel, symbol=SYMBOL), 1)
    assert (effect.trigger, effect.version) == ("command", 2)


@pytest.mark.parametrize("symbol", [SYMBOL, "GBPUSD"])
def test_a_command_that_cannot_be_followed_is_answered(symbol):
    (alert,) = core().on_retrain_model(command(RetrainModel, symbol=symbol), 1)
    assert isinstance(alert, Alert)
    assert alert.name == "retrain_refused"


def drift(one, version, event_ns):
    return one.on_drift_detected(DriftDetected(
        ts_event_ns=event_ns, ts_init_ns=0, symbol=SYMBOL, model=NAME, version=version, feature="sigma", psi=0.5,
        limit=0.2, drifted={"sigma": 0.5}, rows=100,
    ), event_ns)


def test_drift_of_the_champion_trains_after_the_cool_down():
    messages = stream(900)
    one = core(retrain_every_rows=0, drift_cooldown_s=300)
    effects, _ = play(one, messages[:300], [SKILLED])
    assert len(effects) == 1
    assert not drift(one, 1, messages[299].ts_event_ns)
    play(one, messages[300:], [])
    assert not drift(one, 7, messages[-1].ts_event_ns)
    (effect,) = drift(one, 1, messages[-1].ts_event_ns)
    assert effect.trigger == "drift"


def test_a_failed_training_says_so_keeps_the_champion_and_is_tried_again():
    one = core()
    effects, _ = play(one, stream(420), [SKILLED])
    failed = TrainingFailed(
        ts_event_ns=effects[1].ts_event_ns, ts_init_ns=0, effect_id=effects[1].effect_id, name=NAME, version=2,
        symbol=SYMBOL, reason="timeout", detail="killed after 300 s",
    )
    (alert,) = one.on_training_failed(failed, failed.ts_event_ns)
    assert alert.name == "training_failed"
    assert "timeout" in alert.detail
    assert one.details()["EURUSD.champion"] == 1.0
    (effect,) = one.on_retrain_model(command(RetrainModel, symbol=SYMBOL), 1)
    assert effect.version == 2
    assert effect.effect_id != effects[1].effect_id


def test_an_answer_to_something_else_is_passed_over():
    one = core()
    effects, _ = play(one, stream(240), [])
    stranger = trained(effects[0], SKILLED, effect_id="0" * 24)
    assert one.on_model_trained(stranger, 1) == ()
    assert one.details()["EURUSD.training"] == "yes"


def test_a_person_can_roll_back_to_a_stored_version():
    one = core(retrain_every_rows=50)
    play(one, stream(420), [SKILLED, BETTER])
    promoted, retired = one.on_promote_model(command(PromoteModel, name=NAME, version=1, rollback=True), 1)
    assert isinstance(promoted, ModelPromoted)
    assert (promoted.version, promoted.rollback, promoted.bundle_sha256) == (1, True, f"{1:064x}")
    assert isinstance(retired, ModelRetired)
    assert retired.version == 2


@pytest.mark.parametrize(("name", "version"), [(NAME, 9), (NAME, 1), ("direction-GBPUSD", 1), (SYMBOL, 1)])
def test_a_promotion_that_cannot_be_followed_is_answered(name, version):
    one = core()
    play(one, stream(240), [SKILLED])
    (alert,) = one.on_promote_model(command(PromoteModel, name=name, version=version), 1)
    assert alert.name == "promote_refused"
    assert one.details()["EURUSD.champion"] == 1.0


def test_a_challenger_compared_with_a_champion_that_no_longer_serves_is_refused():
    one = core()
    effects, _ = play(one, stream(600), [SKILLED, BETTER])
    assert effects[2].champion.version == 2
    one.on_promote_model(command(PromoteModel, name=NAME, version=1), 1)
    outputs = answer(one, effects[2], BETTER)
    assert kinds(outputs) == ["ModelPublished", "ModelRefused"]
    assert outputs[1].reason == "champion_changed"


def rejected(version, step=0, sha=None, name=NAME, symbol=SYMBOL):
    return ModelRejected(
        ts_event_ns=1, ts_init_ns=1, name=name, version=version, symbol=symbol, step=step,
        bundle_sha256=sha or f"{version:064x}", reason="golden row 0 gave something else",
    )


def next_block(step=0):
    """Return a tick block after all others."""
    return msgspec.structs.replace(block(100_000, *ticks(1, start_ns=1_500_000_000 * 10**9)), step=step)


def told(one, step=0):
    """Return what the next tick block makes the core say, trainings left out."""
    return [output for output in feed(one, [next_block(step)]) if not isinstance(output, TrainModel)]


def test_after_a_rejection_the_champion_that_still_predicts_is_champion_again():
    one = core()
    play(one, stream(420), [SKILLED, BETTER])
    assert one.on_model_rejected(rejected(2), 1) == ()
    assert one.details()["EURUSD.champion"] == 2.0
    promoted, retired, alert = told(one)
    assert isinstance(promoted, ModelPromoted)
    assert (promoted.version, promoted.rollback, promoted.bundle_sha256) == (1, True, f"{1:064x}")
    assert isinstance(retired, ModelRetired)
    assert (retired.version, retired.reason) == (2, "golden row 0 gave something else")
    assert (alert.name, alert.severity) == ("champion_rejected", "warning")
    assert "golden row 0" in alert.detail
    assert "version 1 is the champion again" in alert.detail
    assert one.details()["EURUSD.champion"] == 1.0
    assert told(one) == []


def test_a_first_model_that_is_rejected_leaves_no_champion_and_its_successor_meets_no_rival():
    one = core()
    play(one, stream(240), [SKILLED])
    one.on_model_rejected(rejected(1), 1)
    retired, alert = told(one)
    assert isinstance(retired, ModelRetired)
    assert "no model serves" in alert.detail
    assert one.details()["EURUSD.champion"] == 0.0
    (effect,) = one.on_retrain_model(command(RetrainModel, symbol=SYMBOL), 1) or feed(one, [next_block()])[:1]
    assert effect.champion is None


def test_two_rejections_fall_back_to_the_last_that_was_not_rejected():
    one = core(retrain_every_rows=50)
    play(one, stream(600), [SKILLED, BETTER, BETTER])
    assert one.details()["EURUSD.champion"] == 3.0
    one.on_model_rejected(rejected(2), 1)
    assert told(one) == []  # it was not the champion any more
    one.on_model_rejected(rejected(3), 1)
    assert told(one)[0].version == 1


def test_a_rejection_waits_until_every_run_has_heard_it():
    one = core()
    play(one, stream(420), [SKILLED, BETTER])
    one.on_model_rejected(rejected(2, step=7), 1)
    again = core()
    again.restore(one.snapshot())
    for held in (one, again):
        assert told(held, step=8) == []
        assert kinds(told(held, step=9)) == ["ModelPromoted", "ModelRetired", "Alert"]


def test_a_step_later_the_trainer_is_not_settled_before_it_has_heard_the_rejection():
    """What makes the wait of two steps enough."""
    lockstep = Lockstep("trainer", TrainerCore.HEARS, TrainerCore.STAGES)
    subject = f"models.{NAME}.rejected"

    def mark(service, stage, step, sent):
        lockstep.mark(Watermark(ts_event_ns=0, ts_init_ns=0, service=service, stage=stage, sent=sent, step=step))

    for step in (7, 8):
        lockstep.handled_ticks(step)
        mark("features", "settled", step, {})
        mark("inference", "predicted", step, {} if step == 7 else {subject: 1})
        assert lockstep.reached({}) == ([("settled", 7)] if step == 7 else [])
    lockstep.take(Delivered(subject=subject, payload=b"", seq=1, message=rejected(2, step=7)))
    assert lockstep.release({}) is not None
    assert lockstep.reached({subject: 1}) == [("settled", 8)]


@pytest.mark.parametrize(
    "word",
    [
        rejected(2, sha="0" * 64), rejected(9), rejected(2, name="direction-GBPUSD"), rejected(2, symbol="GBPUSD"),
        rejected(1),
    ],
    ids=["another bundle", "unknown version", "another model", "another symbol", "not the champion"],
)
def test_a_rejection_of_anything_but_the_champion_changes_nothing(word):
    one = core()
    play(one, stream(420), [SKILLED, BETTER])
    assert one.on_model_rejected(word, 1) == ()
    assert told(one) == []
    assert one.details()["EURUSD.champion"] == 2.0


def test_the_version_to_fall_back_to_is_remembered_although_others_are_forgotten():
    one = core(keep_versions=2, retrain_every_rows=10)
    play(one, stream(900), [SKILLED, BETTER, *[WORSE] * 50])
    one.on_model_rejected(rejected(2), 1)
    assert told(one)[0].version == 1


def test_a_version_that_was_rejected_may_be_promoted_again_by_a_person():
    one = core()
    play(one, stream(420), [SKILLED, BETTER])
    one.on_model_rejected(rejected(2), 1)
    told(one)
    promoted, retired = one.on_promote_model(command(PromoteModel, name=NAME, version=2), 1)
    assert (promoted.version, retired.version) == (2, 1)


def adopt(version, name=NAME):
    return command(AdoptModel, name=name, version=version, bundle_sha256="a" * 64)


def adopted(effect, **changes):
    return BundleAdopted(**{
        "ts_event_ns": 1, "ts_init_ns": 1, "effect_id": effect.effect_id, "name": effect.name, "version": effect.version,
        "symbol": effect.symbol, "bundle_sha256": effect.bundle_sha256, "schema_id": SCHEMA, "last_ns": 5,
        "metrics": {"auc": 0.6}, **changes,
    })


def test_a_model_of_ones_own_shadows_and_serves_when_a_person_says_so():
    one = core()
    effects, _ = play(one, stream(420), [SKILLED])
    assert len(effects) == 2  # version 2 is being trained
    (check,) = one.on_adopt_model(adopt(7), 1)
    assert isinstance(check, AdoptBundle)
    published, shadowed = one.on_bundle_adopted(adopted(check), 1)
    assert isinstance(published, ModelPublished)
    assert isinstance(shadowed, ModelShadowed)
    assert (shadowed.version, shadowed.bundle_sha256, shadowed.metrics) == (7, "a" * 64, {"auc": 0.6})
    assert one.details()["EURUSD.champion"] == 1.0
    promoted, retired = one.on_promote_model(command(PromoteModel, name=NAME, version=7), 1)
    assert (promoted.version, retired.version) == (7, 1)
    # The training that was under way ends as version 2, the next one has a higher number than the adopted one.
    assert [output.version for output in answer(one, effects[1])] == [2, 2]
    (effect,) = one.on_retrain_model(command(RetrainModel, symbol=SYMBOL), 1)
    assert effect.version == 8
    assert effect.champion.bundle_sha256 == "a" * 64


@pytest.mark.parametrize(
    ("version", "name", "problem"),
    [(1, NAME, "up to 2 are taken"), (2, NAME, "up to 2 are taken"), (7, "direction-GBPUSD", "not a model of this system")],
)
def test_an_adoption_that_cannot_be_followed_is_answered(version, name, problem):
    one = core()
    play(one, stream(420), [SKILLED])
    (alert,) = one.on_adopt_model(adopt(version, name), 1)
    assert (alert.name, problem in alert.detail) == ("adopt_refused", True)


def test_one_bundle_at_a_time_is_checked_and_an_unsound_one_changes_nothing():
    one = core()
    play(one, stream(240), [SKILLED])
    (check,) = one.on_adopt_model(adopt(7), 1)
    (alert,) = one.on_adopt_model(adopt(8), 1)
    assert "another bundle is being checked" in alert.detail
    failed = AdoptionFailed(
        ts_event_ns=1, ts_init_ns=1, effect_id=check.effect_id, name=NAME, version=7, symbol=SYMBOL, detail="bad signature"
    )
    (alert,) = one.on_adoption_failed(failed, 1)
    assert (alert.name, "bad signature" in alert.detail) == ("adopt_refused", True)
    assert one.on_adoption_failed(failed, 1) == one.on_bundle_adopted(adopted(check), 1) == ()
    (check,) = one.on_adopt_model(adopt(8), 1)
    (alert,) = one.on_bundle_adopted(adopted(check, schema_id="another"), 1)
    assert "other features" in alert.detail
    (alert,) = one.on_promote_model(command(PromoteModel, name=NAME, version=8), 1)
    assert "no stored version 8" in alert.detail


def test_rows_of_another_feature_list_start_afresh_and_meet_no_old_champion():
    one = core()
    time_ns, bid, ask = ticks(1200, seed=5)
    effects = []
    for i in range(1200):
        schema = "schema-1" if i < 500 else "schema-2"
        outputs = feed(one, [
            block(i + 1, time_ns[i : i + 1], bid[i : i + 1], ask[i : i + 1]),
            row(i + 1, time_ns[i], bid[i], ask[i], [4e-5, 0.0, float(i)], schema=schema),
        ])
        for effect in outputs:
            effects.append(effect)
            answer(one, effect, BETTER)
    fresh = next(effect for effect in effects if effect.schema_id == "schema-2")
    assert fresh.trigger == "first"
    assert fresh.champion is None
    assert fresh.dataset.features[:, 2].min() >= 500.0
    assert effects[-1].champion.version > 1
    (alert,) = one.on_promote_model(command(PromoteModel, name=NAME, version=1), 1)
    assert alert.name == "promote_refused"


def test_rows_without_the_volatility_feature_are_complained_of_once():
    one = core(sigma_feature="atr")
    outputs = feed(one, stream(300))
    assert [output.name for output in outputs] == ["no_volatility_feature"]
    assert "sigma, lean, noise" in outputs[0].detail
    assert encode(outputs[0])


def test_missing_ticks_void_open_labels_only():
    one = core()
    messages = stream(300)
    feed(one, messages[:150])
    before = one.details()
    feed(one, [message for message in messages if getattr(message, "first_tick", 0) > 250][:1])
    after = one.details()
    assert before["EURUSD.open_rows"] > 0
    assert after["EURUSD.open_rows"] == 0
    assert after["EURUSD.rows"] == before["EURUSD.rows"]


def test_repeated_blocks_and_rows_change_nothing():
    once, twice = core(), core()
    messages = stream(200)
    feed(once, messages)
    feed(twice, [copy for message in messages for copy in (message, message)])
    assert once.details()["EURUSD.rows"] == twice.details()["EURUSD.rows"] > 0


def test_rows_with_a_volatility_of_zero_are_left_out():
    one = core()
    time_ns, bid, ask = ticks(10)
    feed(one, [block(1, time_ns, bid, ask), row(10, time_ns[9], bid[9], ask[9], [0.0, 1.0, 1.0])])
    assert one.details()["EURUSD.open_rows"] == 0
    assert one.details()["EURUSD.dropped"] == 1


def test_other_symbols_are_passed_over():
    one = core()
    time_ns, bid, ask = ticks(10)
    assert feed(one, [block(1, time_ns, bid, ask, symbol="X"), row(1, 1, 1, 1, [1, 1, 1], symbol="X")]) == []


def test_memory_is_bounded():
    one = core(min_rows=50, max_rows=50, max_open_rows=5)
    effects, _ = play(one, stream(900, every=1), [SKILLED, *[WORSE] * 50])
    assert max(len(effect.dataset) for effect in effects) == 50
    assert one.details()["EURUSD.open_rows"] <= 5
    assert one.details()["EURUSD.dropped"] > 0


def test_only_so_many_versions_are_remembered_and_the_champion_among_them():
    one = core(keep_versions=3, retrain_every_rows=10)
    play(one, stream(900), [SKILLED, *[WORSE] * 50])
    state = msgspec.msgpack.decode(one.snapshot())
    assert len(state["lives"][SYMBOL]["versions"]) == 3
    assert 1 in state["lives"][SYMBOL]["versions"]


def test_the_same_effect_has_the_same_id_and_another_dataset_another():
    ids = [play(core(), stream(240, seed=seed), [])[0][0].effect_id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_published_models_are_messages():
    _, outputs = play(core(), stream(240), [SKILLED])
    assert all(encode(output) for output in outputs)
    assert isinstance(outputs[0], ModelPublished)
