"""Rows kept for the report, and how far their distributions moved."""

import numpy as np
import pytest

from backtest.row_sample import RowSample, drift_over


@pytest.mark.parametrize("cuts", [1, 7, 400])
def test_the_rows_kept_are_evenly_spread_bounded_and_the_same_however_they_came(cuts):
    sample = RowSample(("a",), most=100)
    for part in np.array_split(np.arange(1_000), cuts):
        sample.add(part, part.astype(float)[:, None])
    times, values = sample.table()
    assert times.tolist() == list(range(0, 1_000, 16))
    assert values[:, 0].tolist() == times.tolist()


def test_a_feature_that_moved_stands_first_and_one_that_did_not_stays_low():
    random = np.random.default_rng(1)
    values = random.normal(size=(8_000, 2))
    values[4_000:, 1] += 2.0
    sample = RowSample(("still", "moved"))
    sample.add(np.arange(8_000), values)
    table = drift_over(sample)
    assert table.names == ("moved", "still")
    assert table.moved[0].max() > 1.0
    assert table.moved[1].max() < 0.1
    assert len(table.part_ns) == 7


def test_too_few_rows_or_none_finite_make_no_table():
    sample = RowSample(("a",))
    sample.add(np.arange(60), np.ones((60, 1)))
    assert drift_over(sample).names == ()
    sample.add(np.arange(60), np.full((60, 1), np.nan))
    assert drift_over(sample).names == ()
