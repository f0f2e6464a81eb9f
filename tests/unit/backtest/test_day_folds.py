"""Folds of days: purged, embargoed, and what choosing by the others is worth."""

import numpy as np
import pytest

from backtest.day_folds import OBJECTIVES, Judged, choose, judge_folds, usable_days
from libs.common.errors import DataError

DAYS = np.arange(100, 112)
NONE = np.empty(0, dtype=np.int64)


def judged(returns, folds=3, embargo=0, objective="return", opened=NONE, closed=NONE, profits=None):
    profits = np.zeros(len(opened)) if profits is None else profits
    return judge_folds(
        DAYS, np.asarray(returns, dtype=float), opened, closed, profits, folds=folds, embargo=embargo, objective=objective
    )


def test_a_fold_is_judged_by_its_own_days_and_chosen_by_the_others():
    found = judged([0.01] * 4 + [0.0] * 8)
    assert found.outside == pytest.approx(((1.01**4 - 1) * 100, 0.0, 0.0))
    assert found.inside == pytest.approx((0.0, (1.01**4 - 1) * 100, (1.01**4 - 1) * 100))
    assert found.score == pytest.approx(np.mean(found.outside))


def test_days_of_a_trade_that_reaches_into_the_fold_are_not_chosen_by():
    usable = usable_days(DAYS, np.array([101, 108]), np.array([105, 110]), 104, 107, 0)
    assert DAYS[usable].tolist() == [100, 108, 109, 110, 111]


def test_the_days_after_a_fold_are_embargoed():
    assert DAYS[usable_days(DAYS, NONE, NONE, 104, 107, 2)].tolist() == [100, 101, 102, 103, 110, 111]


def test_without_folds_everything_is_judged_at_once():
    found = judged([0.01] * 12, folds=1)
    assert found.inside == found.outside == pytest.approx(((1.01**12 - 1) * 100,))


def test_too_few_days_are_refused_with_a_remedy():
    with pytest.raises(DataError, match=r"12 trading days after its first, 7 folds need 14.*fewer --folds"):
        judged([0.0] * 12, folds=7)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_nothing_where_nothing_happened_and_larger_for_more(name):
    assert OBJECTIVES[name](np.zeros(10), np.empty(0)) == 0.0
    swing = np.tile([0.02, -0.01], 5)
    assert OBJECTIVES[name](swing, np.array([2.0, -1.0])) > OBJECTIVES[name](-swing, np.array([-2.0, 1.0]))


def test_a_trade_counts_in_the_fold_it_was_closed_in():
    opened, closed = np.array([101, 109]), np.array([102, 110])
    found = judged([0.0] * 12, objective="expectancy", opened=opened, closed=closed, profits=np.array([4.0, 8.0]))
    assert found.outside == (4.0, 0.0, 8.0)
    assert found.inside == (8.0, 6.0, 4.0)


def test_each_fold_is_given_to_the_trial_that_is_best_on_the_other_days():
    def trial(inside, outside, returns):
        return Judged(days=(1, 2, 3, 4), returns=returns, inside=inside, outside=outside)

    lucky = trial((0.0, 9.0), (9.0, 0.0), (0.9, 0.9, 0.0, 0.0))
    steady = trial((1.0, 1.0), (1.0, 1.0), (0.1, 0.1, 0.1, 0.1))
    choices, (days, returns) = choose([lucky, steady])
    assert [choice.trial for choice in choices] == [1, 0]
    assert [choice.outside for choice in choices] == [1.0, 0.0]
    assert [choice.rank for choice in choices] == [0.0, 0.0]
    assert days.tolist() == [1, 2, 3, 4]
    assert returns.tolist() == [0.1, 0.1, 0.0, 0.0]
    assert choose([])[0] == ()
