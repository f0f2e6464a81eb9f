"""Days of a run as folds: what a choice of parameters earns on days that had no part in the choosing.

Each fold is a stretch of days to judge on. The days to choose by are the others, purged of every day of a trade that
reaches into the fold and of the days right after it (the embargo): what happened there is not independent of the fold.

References: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7; Bailey, Borwein, Lopez de Prado
and Zhu (2017), The probability of backtest overfitting, Journal of Computational Finance 20.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from libs.common.stats.performance import max_drawdown_pct

LEAST_DAYS = 2
"""Days of a fold below which no ratio of daily returns exists."""
_LEAST_DRAWDOWN_PCT = 0.1


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A run's score, fold by fold.

    Parameters
    ----------
    days, returns : (n,) trading days since 1970, and the return of each as a fraction
    inside : per fold, the score of all other days that may be used to choose
    outside : per fold, its own score
    """

    days: tuple[int, ...]
    returns: tuple[float, ...]
    inside: tuple[float, ...]
    outside: tuple[float, ...]

    @property
    def score(self) -> float:
        """What a search makes as large as it can: the mean of the folds' own scores."""
        return float(np.mean(self.outside))


def sharpe_of(returns: Floats, profits: Floats) -> float:
    """Return the mean daily return over its deviation, times the root of 252; 0 where nothing varies."""
    if len(returns) < LEAST_DAYS or np.ptp(returns) == 0.0:
        return 0.0
    return float(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(252.0))


def return_of(returns: Floats, profits: Floats) -> float:
    """Return what the days earned, percent."""
    return float((np.prod(1.0 + returns) - 1.0) * 100.0)


def return_over_drawdown_of(returns: Floats, profits: Floats) -> float:
    """Return what the days earned over their deepest drawdown, which counts as 0.1 % at least."""
    equity = np.concatenate((np.ones(1), np.cumprod(1.0 + returns))).astype(np.float64)
    return return_of(returns, profits) / max(max_drawdown_pct(equity), _LEAST_DRAWDOWN_PCT)


def expectancy_of(returns: Floats, profits: Floats) -> float:
    """Return the mean profit of a trade, account currency; 0 without trades."""
    return float(np.mean(profits)) if len(profits) else 0.0


OBJECTIVES: Mapping[str, Callable[[Floats, Floats], float]] = {
    "sharpe": sharpe_of,
    "return": return_of,
    "return_over_drawdown": return_over_drawdown_of,
    "expectancy": expectancy_of,
}
"""What can be made as large as possible, by name."""


def judge_folds(
    days: Ints, returns: Floats, opened: Ints, closed: Ints, profits: Floats, *, folds: int, embargo: int, objective: str
) -> Judged:
    """Score a run.

    Parameters
    ----------
    days, returns : (n,) trading days since 1970, rising, and the return of each
    opened, closed, profits : (m,) days on which each trade was opened and closed, and what it earned
    folds : stretches of days; 1: all days are one, and nothing is left to choose by but itself
    embargo : days after a fold that nothing is chosen by
    objective : one of ``OBJECTIVES``

    Raises
    ------
    DataError : when there are too few days
    """
    if len(days) < LEAST_DAYS * folds:
        raise DataError(
            "days", f"the data has {len(days)} trading days after its first, {folds} folds need {LEAST_DAYS * folds}",
            remedy="Give more data, or fewer --folds",
        )
    measure = OBJECTIVES[objective]
    edges = [round(k * len(days) / folds) for k in range(folds + 1)]
    inside, outside = [], []
    for begin, end in pairwise(edges):
        first, last = int(days[begin]), int(days[end - 1])
        own = (closed >= first) & (closed <= last)
        outside.append(measure(returns[begin:end], profits[own]))
        if folds == 1:
            inside.append(outside[-1])
            continue
        usable = usable_days(days, opened, closed, first, last, embargo)
        chosen_by = np.isin(closed, days[usable]) & ~((opened <= last) & (closed >= first))
        inside.append(measure(returns[usable], profits[chosen_by]))
    return Judged(
        days=tuple(days.tolist()), returns=tuple(returns.tolist()), inside=tuple(inside), outside=tuple(outside)
    )


def usable_days(days: Ints, opened: Ints, closed: Ints, first: int, last: int, embargo: int) -> NDArray[np.bool_]:
    """Return which days may be used to choose what is judged on the days ``first`` to ``last``, (n,) bools."""
    usable = (days < first) | (days > last)
    after = np.flatnonzero(days > last)[:embargo]
    usable[after] = False
    reaching = (opened <= last) & (closed >= first)
    for begin, end in set(zip(opened[reaching].tolist(), closed[reaching].tolist(), strict=True)):
        usable &= (days < begin) | (days > end)
    return usable


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What choosing by the other folds came to in one fold.

    Parameters
    ----------
    first_day, last_day : of the fold, since 1970
    trial : place of the chosen trial
    inside, outside : its score on the days it was chosen by, and on the fold
    rank : share of all trials that it beats on the fold, 0..1
    """

    first_day: int
    last_day: int
    trial: int
    inside: float
    outside: float
    rank: float


def choose(trials: Sequence[Judged]) -> tuple[tuple[Choice, ...], tuple[Ints, Floats]]:
    """Choose, for each fold, the trial that is best on all other days.

    Returns
    -------
    The choices, and (days, returns) of the chosen trials on the folds they had no part in: what the search itself is
    worth.
    """
    if not trials:
        return (), (np.empty(0, dtype=np.int64), np.empty(0))
    days = np.array(trials[0].days, dtype=np.int64)
    folds = len(trials[0].outside)
    edges = [round(k * len(days) / folds) for k in range(folds + 1)]
    choices, stitched = [], []
    for fold, (begin, end) in enumerate(pairwise(edges)):
        best = max(range(len(trials)), key=lambda k: (trials[k].inside[fold], -k))
        others = [trial.outside[fold] for trial in trials]
        own = trials[best].outside[fold]
        beaten = sum(other < own for other in others) / max(len(others) - 1, 1)
        choices.append(Choice(
            first_day=int(days[begin]), last_day=int(days[end - 1]), trial=best, inside=trials[best].inside[fold],
            outside=own, rank=beaten,
        ))
        stitched.append(np.array(trials[best].returns)[begin:end])
    return tuple(choices), (days, np.concatenate(stitched))
