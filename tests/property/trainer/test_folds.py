"""No training row's label reaches into a test window, nor into the embargo before it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.folds import overlap_rows, walk_forward


@st.composite
def row_windows(draw):
    count = draw(st.integers(1, 80))
    waits = draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    lengths = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count))
    time_ns = np.cumsum(np.array(waits, dtype=np.int64))
    return time_ns, time_ns + np.array(lengths, dtype=np.int64)


@settings(max_examples=150, deadline=None)
@given(windows=row_windows(), folds=st.integers(2, 8), embargo_ns=st.integers(0, 50))
def test_no_training_label_overlaps_a_test_window_or_its_embargo(windows, folds, embargo_ns):
    time_ns, end_ns = windows
    for fold in walk_forward(time_ns, end_ns, folds, embargo_ns):
        opens = time_ns[fold.test].min()
        assert (end_ns[fold.train] < opens - embargo_ns).all()
        assert fold.train.max() < fold.test.min()


@settings(max_examples=150, deadline=None)
@given(windows=row_windows(), folds=st.integers(2, 8), embargo_ns=st.integers(0, 50))
def test_no_row_that_cannot_leak_is_left_out(windows, folds, embargo_ns):
    time_ns, end_ns = windows
    for fold in walk_forward(time_ns, end_ns, folds, embargo_ns):
        before = np.arange(fold.test[0])
        left_out = np.setdiff1d(before, fold.train)
        assert (end_ns[left_out] >= time_ns[fold.test[0]] - embargo_ns).all()


@settings(max_examples=80, deadline=None)
@given(windows=row_windows(), folds=st.integers(2, 8))
def test_test_windows_follow_each_other_and_share_no_row(windows, folds):
    tested = np.concatenate([np.empty(0, int), *(fold.test for fold in walk_forward(*windows, folds, 0))])
    assert len(np.unique(tested)) == len(tested)
    assert (np.diff(tested) > 0).all()


def test_without_overlap_every_row_after_the_first_block_is_tested_once():
    time_ns = np.arange(100) * 10
    found = walk_forward(time_ns, time_ns + 5, 4, 0)
    assert np.concatenate([fold.test for fold in found]).tolist() == list(range(20, 100))


def test_a_fold_with_too_few_training_rows_is_left_out():
    time_ns = np.arange(100) * 10
    assert [fold.test[0] for fold in walk_forward(time_ns, time_ns + 5, 4, 0, least_rows=41)] == [60, 80]


def test_overlap_counts_the_rows_that_share_a_label_window():
    time_ns = np.arange(50) * 10
    assert overlap_rows(time_ns, time_ns + 5) == 1
    assert overlap_rows(time_ns, time_ns + 29) == 3
    assert overlap_rows(time_ns[:0], time_ns[:0]) == 1
