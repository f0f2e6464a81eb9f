"""The drift monitor: what it watches, when it compares, and when it speaks."""

import msgspec
import numpy as np
import pytest

from libs.common.stats.drift import DriftReference, bin_shares, drift_reference, psi
from services.inference.config import DriftConfig
from services.inference.drift import DriftMonitor
from tests.unit.models.small_models import FEATURES, manifest, rows_like_training

CONFIG = DriftConfig(window_rows=200, panes=4, ignore=())


def feed(monitor: DriftMonitor, rows: np.ndarray) -> list[tuple[int, dict[str, float]]]:
    """Return the comparisons that were spoken of, with the number of the row that caused them."""
    found = ((i, monitor.add(row)) for i, row in enumerate(rows))
    return [(i, comparison.psi) for i, comparison in found if comparison is not None]


def test_rows_of_the_training_window_are_silent():
    monitor = DriftMonitor(manifest(), CONFIG)
    assert feed(monitor, rows_like_training(4_000, 1)) == []
    assert 0.0 < monitor.worst[1] < 0.25


@pytest.mark.parametrize("feature", FEATURES)
def test_a_shift_of_any_feature_is_found_and_named_first(feature):
    monitor = DriftMonitor(manifest(), CONFIG)
    rows = rows_like_training(400, 1)
    column = FEATURES.index(feature)
    rows[:, column] += 3.0 * rows_like_training(2_000, 99)[:, column].std()
    ((row, found),) = feed(monitor, rows)
    assert (row, next(iter(found))) == (199, feature)
    assert monitor.worst[0] == feature


def test_a_wider_spread_of_values_is_found_too():
    rows = rows_like_training(400, 1)
    rows[:, 1] *= 4.0
    assert list(feed(DriftMonitor(manifest(), CONFIG), rows)[0][1]) == ["ret_5"]


def test_the_index_is_that_of_the_last_window():
    monitor = DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, limit=99.0))
    rows = rows_like_training(530, 1)
    feed(monitor, rows)
    reference = manifest().drift
    window = rows[300:500]  # 530 rows: ten whole panes of 50, the newest four of them
    wanted = [
        float(psi(np.array(reference[name].shares), bin_shares(np.array(reference[name].edges), window[:, i])))
        for i, name in enumerate(FEATURES)
    ]
    assert monitor.psi.tolist() == pytest.approx(wanted, abs=1e-12)


def slow_rows(n: int, seed: int, persistence: float = 0.98) -> np.ndarray:
    """Return rows whose features wander slowly through one and the same distribution."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, 6))
    for i in range(1, n):
        rows[i] = persistence * rows[i - 1] + np.sqrt(1 - persistence**2) * rows[i]
    return rows


def test_slow_features_that_wander_through_their_usual_range_are_no_drift():
    """Without the limits of chance nearly every window of such features would look like drift."""
    training = slow_rows(8_000, 1)
    slow = manifest(rows=8_000, drift={name: drift_reference(training[:, i]) for i, name in enumerate(FEATURES)})
    config = DriftConfig(window_rows=480, panes=4, ignore=())
    patient = DriftMonitor(slow, config)
    assert all(limit > 1.0 for limit in patient.limits)
    assert feed(patient, slow_rows(4_000, 2)) == []
    naive = DriftMonitor(manifest(rows=8_000, drift={
        name: msgspec.structs.replace(reference, persistence=0.0) for name, reference in slow.drift.items()
    }), config)
    assert len(feed(naive, slow_rows(4_000, 2))) >= 1


def test_a_slow_feature_that_leaves_its_range_is_drift_all_the_same():
    training = slow_rows(8_000, 1, 0.9)
    slow = manifest(rows=8_000, drift={name: drift_reference(training[:, i]) for i, name in enumerate(FEATURES)})
    rows = slow_rows(480, 3, 0.9)
    rows[:, 2] += 4.0
    ((_, found),) = feed(DriftMonitor(slow, DriftConfig(window_rows=480, panes=4, ignore=())), rows)
    assert next(iter(found)) == "ma_cross"


def test_a_feature_that_sticks_is_drift():
    rows = rows_like_training(400, 1)
    rows[:, 1] = 0.0
    assert list(feed(DriftMonitor(manifest(), CONFIG), rows)[0][1]) == ["ret_5"]


def test_drift_between_the_limits_neither_begins_nor_ends():
    """The index is exactly known: two bins, half and half in training."""
    halves = manifest(drift={"ret_1": DriftReference(edges=(0.0,), shares=(0.5, 0.5))})
    monitor = DriftMonitor(halves, DriftConfig(window_rows=100, panes=1, limit=0.25, clear=0.4, ignore=()))

    def window(share_up: float) -> np.ndarray:
        rows = np.zeros((100, 6))
        rows[:, 0] = np.where(np.arange(100) < share_up * 100, 1.0, -1.0)
        return rows

    spoken = [bool(feed(monitor, window(share))) for share in (0.5, 0.7, 0.8, 0.7, 0.9, 0.6, 0.7, 0.8)]
    # 0.7 has an index of 0.17, 0.8 of 0.42, 0.6 of 0.04
    assert spoken == [False, False, True, False, False, False, False, True]


def test_so_many_features_must_drift():
    rows = rows_like_training(400, 1)
    rows[:, :2] += 3.0
    assert feed(DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, min_features=3)), rows) == []
    found = feed(DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, min_features=2)), rows)
    assert sorted(found[0][1]) == ["ret_1", "ret_5"]


def test_ignored_features_are_not_watched():
    rows = rows_like_training(400, 1)
    rows[:, :2] += 3.0
    monitor = DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, ignore=("ret_*",)))
    assert monitor.features == FEATURES[2:]
    assert feed(monitor, rows) == []


def test_a_model_without_references_is_watched_in_peace():
    monitor = DriftMonitor(manifest(drift={}), CONFIG)
    assert feed(monitor, rows_like_training(500, 1) + 9.0) == []
    assert monitor.worst == ("", 0.0)


def test_a_remembered_window_of_other_settings_starts_anew():
    monitor = DriftMonitor(manifest(), CONFIG)
    feed(monitor, rows_like_training(170, 1))
    other = DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, panes=2))
    other.load(monitor.state())
    assert other.state() == DriftMonitor(manifest(), msgspec.structs.replace(CONFIG, panes=2)).state()
