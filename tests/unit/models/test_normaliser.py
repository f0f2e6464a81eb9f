"""Scaling by what the training rows were like, carried in the bundle."""

from typing import Any

import msgspec
import numpy as np
import pytest

from libs.common.errors import ArtifactError
from libs.common.models.normaliser import (
    NormalisedPredictor,
    Normaliser,
    fit_rank,
    fit_z_score,
    read_normaliser,
)

FEATURES = ("a", "b", "c")
RNG = np.random.default_rng(1)
ROWS = np.column_stack([RNG.normal(50.0, 10.0, 500), RNG.exponential(1.0, 500), np.full(500, 7.0)])


def test_training_rows_come_out_with_mean_0_and_deviation_1_and_still_ones_as_0() -> None:
    scaled = fit_z_score(ROWS, FEATURES).apply(ROWS)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), [1.0, 1.0, 0.0], atol=1e-9)
    assert fit_z_score(ROWS, FEATURES, limit=3.0).apply(np.array([1e9, 0.0, 7.0]))[0] == 3.0


def test_nothing_of_later_rows_is_in_the_scale() -> None:
    known = fit_z_score(ROWS[:300], FEATURES)
    assert known == fit_z_score(np.concatenate([ROWS[:300]]), FEATURES)
    assert known != fit_z_score(ROWS, FEATURES)


def test_ranks_spread_training_rows_evenly_and_end_at_the_edges() -> None:
    known = fit_rank(ROWS, FEATURES)
    scaled = known.apply(ROWS)
    assert abs(scaled[:, :2].mean(axis=0)).max() < 0.02
    np.testing.assert_allclose(np.quantile(scaled[:, 1], [0.1, 0.5, 0.9]), [-0.8, 0.0, 0.8], atol=0.02)
    np.testing.assert_allclose(scaled[:, 2], 0.0)  # all the same: in the middle
    assert known.apply(np.array([-1e9, 1e9, 8.0])).tolist() == [-1.0, 1.0, 1.0]
    order = np.argsort(ROWS[:, 0])
    assert (np.diff(scaled[order, 0]) >= 0.0).all()


@pytest.mark.parametrize("known", [fit_z_score(ROWS, FEATURES), fit_rank(ROWS, FEATURES)], ids=["z_score", "rank"])
def test_a_row_alone_and_in_a_block_and_read_back_is_scaled_alike(known: Normaliser) -> None:
    again = read_normaliser(known.to_json(), FEATURES)
    block = known.apply(ROWS)
    assert block.tobytes() == again.apply(ROWS).tobytes()
    assert block.tobytes() == np.array([again.apply(row) for row in ROWS]).tobytes()


class Echo:
    """Gives back what it was given."""

    def predict(self, values: Any) -> Any:
        return values

    predict_block = predict


def test_a_model_behind_a_normaliser_sees_scaled_rows() -> None:
    known = fit_z_score(ROWS, FEATURES)
    model = NormalisedPredictor(known, Echo())
    np.testing.assert_array_equal(model.predict(ROWS[0]), known.apply(ROWS[0]))
    np.testing.assert_array_equal(model.predict_block(ROWS), known.apply(ROWS))


@pytest.mark.parametrize(
    ("changes", "words"), [
        ({"features": ("a", "b")}, "its features are not the bundle's"), ({"means": (1.0,)}, "one entry per feature"),
        ({"deviations": (1.0, 0.0, 1.0)}, "cannot scale"), ({"limit": -1.0}, "cannot scale"),
    ],
)
def test_a_broken_file_is_refused(changes: dict[str, Any], words: str) -> None:
    wrong = msgspec.structs.replace(fit_z_score(ROWS, FEATURES), **changes)
    with pytest.raises(ArtifactError, match=words):
        read_normaliser(wrong.to_json(), FEATURES)
    with pytest.raises(ArtifactError, match=r"normaliser\.json"):
        read_normaliser(b'{"kind": "pickle"}', FEATURES)


def test_rows_that_cannot_be_fitted_or_scaled_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_z_score(np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]]), FEATURES)
    with pytest.raises(ValueError, match="2 values, the normaliser has 3"):
        fit_z_score(ROWS, FEATURES).apply(np.zeros(2))
