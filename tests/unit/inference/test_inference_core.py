"""The inference core: who predicts, when that changes, and what it refuses."""

import msgspec
import numpy as np
import pytest

from libs.common.core import handler_name
from libs.common.messages.control import Alert, Severity
from libs.common.messages.features import DriftDetected, Prediction
from libs.common.messages.market import Side
from libs.common.messages.models import ModelLoaded, ModelRejected
from libs.common.models.bundle import MODEL_FILE, golden_file, pack, unpack
from services.inference.config import DriftConfig, InferenceConfig, SignalConfig
from services.inference.core import InferenceCore
from services.inference.effects import BundleVerified
from tests.unit.inference.inference_world import (
    EAGER,
    World,
    champions,
    kinds,
    promoted,
    retired,
    shadowed,
    shadows,
)
from tests.unit.models.small_models import (
    FEATURES,
    SIGNER,
    STRANGER,
    VERIFIER,
    feature_row,
    files,
    golden,
    manifest,
    model_text,
    rows_like_training,
    sha_of,
)


def v(version: int) -> dict[str, int]:
    """Return arguments of version ``n``, whose weights are those of seed ``n - 1``."""
    return {"version": version, "seed": version - 1}


def test_without_a_model_nothing_is_predicted():
    world = World()
    assert world.hear_all(feature_row(i) for i in range(3)) == []
    assert world.core.details()["EURUSD.rows"] == 3.0


def test_a_promoted_model_is_loaded_announced_and_predicts():
    world = World()
    assert world.hear(promoted(1)) == ()
    effect = world.asked[0]
    assert effect.object_name == f"direction-EURUSD-1-{sha_of(1)[:16]}"
    assert (effect.name, effect.version, effect.symbol, effect.shadow) == ("direction-EURUSD", 1, "EURUSD", False)
    (loaded,) = world.answer()
    assert isinstance(loaded, ModelLoaded)
    assert (loaded.version, loaded.shadow, loaded.bundle_sha256) == (1, False, sha_of(1))
    assert loaded.metrics == {"accuracy": 0.5}
    row = feature_row(5)
    (prediction,) = world.hear(row)
    wanted = world.library.get(sha_of(1)).predictor.predict(row.values)
    assert (prediction.p_down, prediction.p_flat, prediction.p_up) == tuple(wanted)
    assert (prediction.model, prediction.version, prediction.shadow) == ("direction-EURUSD", 1, False)
    assert (prediction.ts_event_ns, prediction.bid, prediction.ask) == (row.ts_event_ns, row.bid, row.ask)
    assert prediction.horizon_s == 600


def test_distances_come_from_the_rows_volatility():
    world = World()
    world.settle(promoted(1))
    values = rows_like_training(1)[0]
    values[FEATURES.index("sigma")] = 0.002
    (prediction,) = world.hear(feature_row(0, values=values))
    assert prediction.volatility == 0.002
    assert prediction.stop_distance == 1.5 * 0.002
    assert prediction.target_distance == 2.0 * 0.002


def test_relative_volatility_is_scaled_by_the_price():
    world = World()
    relative = pack(manifest(sigma_unit="relative", sigma_scale=2.0), files(), SIGNER)
    event = msgspec.structs.replace(promoted(1), bundle_sha256=unpack(relative, VERIFIER).sha256)
    world.hear(event)
    world.store[world.asked[0].object_name] = relative
    world.answer()
    values = rows_like_training(1)[0]
    values[FEATURES.index("sigma")] = 0.002
    (prediction,) = world.hear(feature_row(0, values=values, bid=1.0, ask=2.0))
    assert prediction.volatility == pytest.approx(0.002 * 2.0 * 1.5)


def test_a_swap_drops_no_row_and_doubles_none():
    """The event, the verification and the rows in every possible order: one prediction per row, by old or new."""
    for verified_after in range(5):
        world = World()
        world.settle(promoted(1))
        world.hear(promoted(2, seed=1))
        said = []
        for i in range(6):
            if i == verified_after:
                world.answer()
            said.append(world.hear(feature_row(i)))
        versions = [prediction.version for (prediction,) in said]
        assert versions == [1] * verified_after + [2] * (6 - verified_after)


def test_a_later_promotion_overtakes_one_still_loading():
    world = World()
    world.settle(promoted(1))
    world.hear(promoted(2, seed=1))
    world.hear(promoted(3, seed=2))
    second, third = world.asked
    world.hear(world.perform(third))
    assert world.hear(world.perform(second)) == ()
    assert world.core.details()["EURUSD.champion"] == "direction-EURUSD v3"


def test_a_promotion_of_the_serving_champion_asks_for_nothing_and_calls_off_what_loads():
    world = World()
    world.settle(promoted(1))
    world.hear(promoted(2, seed=1))
    (second,) = world.asked
    assert kinds(world.settle(promoted(1))) == ["ModelLoaded"]  # it never left
    assert world.hear(world.perform(second)) == ()
    assert world.core.details()["EURUSD.champion"] == "direction-EURUSD v1"


def test_a_rollback_is_one_more_promotion():
    world = World()
    effects = []
    for version in (1, 2, 1, 2):
        world.hear(promoted(**v(version)))
        effects.append(world.asked[0].effect_id)
        world.answer()
        assert world.hear(feature_row(0))[0].version == version
    assert len(set(effects)) == 4


def broken_bundles() -> dict[str, bytes]:
    sound = pack(manifest(version=2), files(1), SIGNER)
    return {
        "cut": sound[:-1],
        "of a stranger": pack(manifest(version=2), files(1), STRANGER),
        "of another manifest": pack(manifest(version=2, seed=5), files(1), SIGNER),
        "empty": b"",
    }


@pytest.mark.parametrize("case", broken_bundles())
def test_a_broken_bundle_is_rejected_aloud_and_the_old_champion_goes_on(case):
    world = World()
    world.settle(promoted(1))
    world.hear(promoted(2, seed=1))
    world.store[world.asked[0].object_name] = broken_bundles()[case]
    rejected, alert = world.answer()
    assert isinstance(rejected, ModelRejected)
    assert (rejected.version, rejected.bundle_sha256) == (2, sha_of(2, seed=1))
    assert rejected.reason
    assert isinstance(alert, Alert)
    assert rejected.reason in alert.detail
    assert "direction-EURUSD v1 goes on" in alert.detail
    assert world.hear(feature_row(0))[0].version == 1


def test_a_bundle_that_misses_its_golden_rows_is_rejected():
    contents = {MODEL_FILE: model_text(1), "golden.json": golden(0)}
    wrong = pack(manifest(version=2), contents, SIGNER)
    world = World()
    event = msgspec.structs.replace(promoted(2, seed=1), bundle_sha256=unpack(wrong, VERIFIER).sha256)
    world.hear(event)
    world.store[world.asked[0].object_name] = wrong
    rejected, alert = world.answer()
    assert "golden row 0" in rejected.reason
    assert "nothing predicts" in alert.detail


def test_a_sound_bundle_is_loaded_after_a_broken_one():
    world = World()
    world.hear(promoted(1))
    world.store[world.asked[0].object_name] = b"broken"
    world.answer()
    world.store.clear()
    assert kinds(world.settle(promoted(1))) == ["ModelLoaded"]


def test_shadows_predict_beside_the_champion_for_the_record():
    world = World()
    world.settle(promoted(1))
    loaded = world.settle(shadowed(2, seed=1))
    assert loaded[0].shadow
    world.settle(shadowed(3, seed=2))
    said = world.hear(feature_row(0))
    assert [(item.version, item.shadow) for item in said] == [(1, False), (2, True), (3, True)]


def test_shadows_predict_without_a_champion():
    world = World()
    world.settle(shadowed(2, seed=1))
    said = world.hear(feature_row(0))
    assert (champions(said), [item.version for item in shadows(said)]) == ([], [2])


def test_a_promoted_shadow_is_a_shadow_no_more():
    world = World()
    world.settle(promoted(1))
    world.settle(shadowed(2, seed=1))
    world.settle(promoted(2, seed=1))
    assert [(item.version, item.shadow) for item in world.hear(feature_row(0))] == [(2, False)]


def test_a_model_that_already_serves_is_not_shadowed_too():
    world = World()
    world.settle(promoted(1))
    world.settle(shadowed(2, seed=1))
    assert world.settle(shadowed(1)) == world.settle(shadowed(2, seed=1)) == ()


def test_a_retired_shadow_leaves_also_while_it_loads():
    world = World()
    world.settle(shadowed(2, seed=1))
    world.settle(retired(2, seed=1))
    world.hear(shadowed(3, seed=2))
    world.settle(retired(3, seed=2))
    assert world.hear(feature_row(0)) == ()


def test_a_retired_champion_predicts_until_its_successor_is_verified():
    world = World()
    world.settle(promoted(1))
    world.settle(retired(1))
    assert world.hear(feature_row(0))[0].version == 1
    world.settle(promoted(2, seed=1))
    assert world.hear(feature_row(1))[0].version == 2


def test_the_oldest_shadow_makes_room():
    world = World(msgspec.structs.replace(EAGER, max_shadows=2))
    for version in (1, 2, 3):
        said = world.settle(shadowed(**v(version)))
    assert kinds(said) == ["Alert", "ModelLoaded"]
    assert [item.version for item in world.hear(feature_row(0))] == [2, 3]


def test_shadows_can_be_switched_off():
    assert World(msgspec.structs.replace(EAGER, max_shadows=0)).settle(shadowed(1)) == ()


class Failing:
    """A predictor that answers something else than probabilities."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def predict(self, values):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.array(self.answer)


BAD_ANSWERS = [
    RuntimeError("out of order"), MemoryError(), [np.nan, 0.5, 0.5], [0.5, 0.5], [0.2, 0.2, 0.2], [-0.5, 1.0, 0.5],
]


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=repr)
def test_a_failing_shadow_is_retired_with_an_alert_and_the_champion_does_not_notice(answer):
    alone = World()
    alone.settle(promoted(1))
    world = World()
    for event in (promoted(1), shadowed(2, seed=1), shadowed(3, seed=2)):
        world.settle(event)
    world.library.get(sha_of(2, seed=1)).predictor = Failing(answer)
    rows = [feature_row(i) for i in range(4)]
    said = [world.hear(row) for row in rows]
    assert [champions(item) for item in said] == [list(alone.hear(row)) for row in rows]
    assert kinds(said[0]) == ["Prediction", "Alert", "Prediction"]
    assert said[0][1].name == "shadow_failed"
    assert [kinds(item) for item in said[1:]] == [["Prediction", "Prediction"]] * 3
    assert world.core.details()["EURUSD.shadows"] == "direction-EURUSD v3"


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=repr)
def test_a_failing_champion_falls_silent_with_one_alert_and_other_symbols_go_on(answer):
    world = World()
    world.settle(promoted(1))
    world.settle(promoted(1, symbol="GBPUSD"))
    predictor = world.library.get(sha_of(1)).predictor
    world.library.get(sha_of(1)).predictor = Failing(answer)
    said = [world.hear(feature_row(i)) for i in range(3)]
    assert [kinds(item) for item in said] == [["Alert"], [], []]
    assert said[0][0].severity is Severity.CRITICAL
    assert kinds(world.hear(feature_row(3, symbol="GBPUSD"))) == ["Prediction"]
    world.library.get(sha_of(1)).predictor = predictor
    assert kinds(world.hear(feature_row(4))) == ["Prediction"]


OTHER_ROWS = {
    "another schema": {"schema_id": "other"},
    "another order": {"names": tuple(reversed(FEATURES))},
    "a feature less": {"names": FEATURES[:-1], "values": np.zeros(5)},
    "a feature more": {"names": (*FEATURES, "more"), "values": np.zeros(7)},
}


@pytest.mark.parametrize("case", OTHER_ROWS)
def test_rows_of_another_schema_are_never_predicted_and_told_once(case):
    world = World()
    world.settle(promoted(1))
    said = [world.hear(feature_row(i, **OTHER_ROWS[case])) for i in range(3)]
    assert [kinds(item) for item in said] == [["Alert"], [], []]
    assert said[0][0].name == "schema_mismatch"
    assert world.core.details()["EURUSD.mismatched"] == 3.0
    assert kinds(world.hear(feature_row(3))) == ["Prediction"]
    assert kinds(world.hear(feature_row(4, **OTHER_ROWS[case]))) == ["Alert"]


def test_a_mismatched_champion_does_not_silence_a_shadow_of_the_new_schema():
    world = World()
    world.settle(promoted(1))
    new = pack(manifest(version=2, schema_id="other"), files(1), SIGNER)
    world.hear(msgspec.structs.replace(shadowed(2), bundle_sha256=unpack(new, VERIFIER).sha256))
    world.store[world.asked[0].object_name] = new
    world.answer()
    said = world.hear(feature_row(0, schema_id="other"))
    assert kinds(said) == ["Alert", "Prediction"]
    assert said[1].version == 2


def test_symbols_have_their_own_champions():
    world = World()
    world.settle(promoted(1))
    world.settle(promoted(4, symbol="US30.cash", seed=3))
    assert world.hear(feature_row(0))[0].version == 1
    assert world.hear(feature_row(0, symbol="US30.cash"))[0].version == 4
    assert world.hear(feature_row(0, symbol="GBPUSD")) == ()


def test_a_model_without_the_confirming_features_is_announced_with_a_warning():
    config = InferenceConfig(signals=SignalConfig(min_confidence=0.0))
    odd = msgspec.structs.replace(
        config.signals.confirmation, ma_feature="sma_cross", rsi_feature="rsi_7"
    )
    config = msgspec.structs.replace(config, signals=msgspec.structs.replace(config.signals, confirmation=odd))
    world = World(config)
    said = world.settle(promoted(1))
    assert kinds(said) == ["ModelLoaded", "Alert"]
    assert "sma_cross, rsi_7" in said[1].detail
    (prediction,) = world.hear(feature_row(0))
    assert (prediction.side, prediction.reason) == (None, "confirmation_missing")


def shifted(i: int) -> np.ndarray:
    values = rows_like_training(1, 5_000 + i)[0]
    values[0] += 2.0
    return values


def test_drift_is_told_once_per_excursion_with_the_feature_that_moved_most():
    world = World()
    world.settle(promoted(1))
    calm = [item for i in range(1_000) for item in world.hear(feature_row(i)) if not isinstance(item, Prediction)]
    assert calm == []
    drifted = [
        item for i in range(1_000) for item in world.hear(feature_row(i, values=shifted(i)))
        if not isinstance(item, Prediction)
    ]
    (event,) = drifted
    assert isinstance(event, DriftDetected)
    assert (event.feature, event.model, event.version, event.rows) == ("ret_1", "direction-EURUSD", 1, 200)
    assert event.psi == event.drifted["ret_1"] > event.limit == 0.25
    assert world.core.details()["EURUSD.max_psi_feature"] == "ret_1"
    assert world.core.worst_drift("EURUSD") > 1.0
    back = [item for i in range(1_000) for item in world.hear(feature_row(i)) if not isinstance(item, Prediction)]
    assert back == []
    again = [
        item for i in range(300) for item in world.hear(feature_row(i, values=shifted(i)))
        if isinstance(item, DriftDetected)
    ]
    assert len(again) == 1


def test_a_new_champion_starts_a_new_drift_window():
    world = World()
    world.settle(promoted(1))
    for i in range(190):
        world.hear(feature_row(i, values=shifted(i)))
    world.settle(promoted(2, seed=1))
    said = [item for i in range(190) for item in world.hear(feature_row(i, values=shifted(i)))]
    assert set(kinds(said)) == {"Prediction"}


def test_a_restart_keeps_the_drift_window_and_a_snapshot_taken_before_a_swap_does_not_leak_into_it():
    world = World()
    world.settle(promoted(1))
    for i in range(190):
        world.hear(feature_row(i, values=shifted(i)))
    restarted = World(library=world.library)
    restarted.core.restore(world.core.snapshot())
    said = [restarted.hear(feature_row(i, values=shifted(i))) for i in range(190, 200)]
    assert [kinds(item) for item in said] == [["Prediction"]] * 9 + [["Prediction", "DriftDetected"]]
    world.settle(promoted(2, seed=1))
    after = [world.hear(feature_row(i, values=shifted(i))) for i in range(190, 300)]
    assert {kind for item in after for kind in kinds(item)} == {"Prediction"}


def test_drift_can_be_switched_off():
    world = World(msgspec.structs.replace(EAGER, drift=DriftConfig(enabled=False)))
    world.settle(promoted(1))
    said = [item for i in range(600) for item in world.hear(feature_row(i, values=shifted(i)))]
    assert set(kinds(said)) == {"Prediction"}
    assert world.core.worst_drift("EURUSD") == 0.0


def test_a_lost_bundle_is_asked_for_once_more_and_then_predicts_again():
    world = World()
    world.settle(promoted(1))
    world.settle(shadowed(2, seed=1))
    after = World()
    after.core.restore(world.core.snapshot())
    said = after.hear(feature_row(0))
    assert [item.name for item in said] == ["bundle_lost", "bundle_lost"]
    assert after.hear(feature_row(1)) == ()
    assert [effect.shadow for effect in after.asked] == [False, True]
    assert kinds(after.answer()) == kinds(after.answer()) == ["ModelLoaded"]
    assert [(item.version, item.shadow) for item in after.hear(feature_row(2))] == [(1, False), (2, True)]


def test_a_lost_bundle_that_cannot_be_had_is_not_asked_for_forever():
    world = World()
    world.settle(promoted(1))
    after = World()
    after.core.restore(world.core.snapshot())
    after.hear(feature_row(0))
    after.store[after.asked[0].object_name] = b""
    assert kinds(after.answer()) == ["ModelRejected", "Alert"]
    assert after.hear_all(feature_row(i) for i in range(1, 5)) == []


def test_results_nobody_waits_for_change_nothing():
    world = World()
    world.settle(promoted(1))
    stray = BundleVerified(
        ts_event_ns=0, ts_init_ns=0, effect_id="stray", name="x", version=9, symbol="EURUSD", bundle_sha256="0" * 64,
        shadow=False,
    )
    before = world.core.snapshot()
    assert world.hear(stray) == ()
    assert world.core.snapshot() == before


def test_what_is_in_use_covers_everything_that_may_be_looked_up():
    world = World()
    world.settle(promoted(1))
    world.settle(shadowed(2, seed=1))
    world.hear(promoted(3, seed=2))
    world.hear(shadowed(4, seed=3))
    assert world.core.in_use() == {sha_of(n, seed=n - 1) for n in (1, 2, 3, 4)}
    assert World().core.in_use() == set()


def test_the_core_hears_and_stages_what_lockstep_expects():
    after = {route.pattern: route.after for route in InferenceCore.HEARS}
    assert after == {
        "features.*": (), "models.*.promoted": ("features.settled",), "models.*.shadowed": ("features.settled",),
        "models.*.retired": ("features.settled",),
    }
    stages = {stage.name: stage.after for stage in InferenceCore.STAGES}
    assert stages == {"predicted": ("features.settled",), "settled": ("inference.predicted", "trainer.settled")}
    heard = {kind for route in InferenceCore.HEARS for kind in route.kinds} | set(InferenceCore.RESULTS)
    assert all(hasattr(InferenceCore, handler_name(kind)) for kind in heard)


def test_a_suggested_side_is_the_likelier_one():
    world = World()
    world.settle(promoted(1))
    for i in range(50):
        (prediction,) = world.hear(feature_row(i))
        assert prediction.side is (Side.BUY if prediction.p_up > prediction.p_down else Side.SELL)
        assert prediction.confidence == abs(prediction.p_up - prediction.p_down)


def test_golden_rows_of_a_wider_model_do_not_fit():
    contents = files(1) | {"golden.json": golden_file(np.zeros((1, 7)), np.ones((1, 3)) / 3)}
    wrong = pack(manifest(version=2), contents, SIGNER)
    world = World()
    world.hear(msgspec.structs.replace(promoted(2), bundle_sha256=unpack(wrong, VERIFIER).sha256))
    world.store[world.asked[0].object_name] = wrong
    assert kinds(world.answer()) == ["ModelRejected", "Alert"]
