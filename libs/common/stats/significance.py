"""Is a Sharpe ratio more than luck: bootstrap, probabilistic and deflated Sharpe ratio, length of a track record.

All Sharpe ratios here are per period (of the returns given), not annualised.
"""

import math
from statistics import NormalDist

import numpy as np

from libs.common.messages.base import Floats, Ints

_NORMAL = NormalDist()
_EULER_GAMMA = 0.5772156649015329
_ROWS_AT_ONCE = 4_000_000


def period_sharpe(returns: Floats) -> float | None:
    """Return mean over standard deviation (n - 1) of the returns; ``None`` where they never vary."""
    if len(returns) < 2 or np.ptp(returns) == 0.0:
        return None
    return float(np.mean(returns) / np.std(returns, ddof=1))


def skewness(values: Floats) -> float:
    """Return the third standardised moment (of the sample, not corrected for its size); 0.0 for constant values.

    >>> round(skewness(np.array([0.0, 0.0, 3.0])), 6)
    0.707107
    """
    return _moment(values, 3)


def kurtosis(values: Floats) -> float:
    """Return the fourth standardised moment: 3 for normal values; 3.0 for constant ones too.

    >>> kurtosis(np.array([-1.0, 1.0, -1.0, 1.0]))
    1.0
    """
    return _moment(values, 4) if len(values) and np.ptp(values) > 0.0 else 3.0


def _moment(values: Floats, order: int) -> float:
    if not len(values) or np.ptp(values) == 0.0:
        return 0.0
    around = values - np.mean(values)
    return float(np.mean(around**order) / np.mean(around**2) ** (order / 2.0))


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float | None:
    """Return the probability that the true Sharpe ratio is above a benchmark, given the returns' length and shape.

    Parameters
    ----------
    returns : (n,) returns per period
    benchmark : Sharpe ratio per period

    Returns
    -------
    In [0, 1]; ``None`` where there is no Sharpe ratio.

    References
    ----------
    Bailey and Lopez de Prado (2012), The Sharpe ratio efficient frontier, Journal of Risk 15, equation 7.
    """
    ratio = period_sharpe(returns)
    if ratio is None:
        return None
    return _NORMAL.cdf((ratio - benchmark) / _sharpe_error(returns, ratio))


def _sharpe_error(returns: Floats, ratio: float) -> float:
    """Return the standard error of a Sharpe ratio for returns that need not be normal."""
    spread = 1.0 - skewness(returns) * ratio + (kurtosis(returns) - 1.0) / 4.0 * ratio * ratio
    # Never negative in exact arithmetic (kurtosis >= skewness^2 + 1); two-valued returns can reach zero.
    return math.sqrt(max(spread, 1e-12) / (len(returns) - 1))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Return the largest Sharpe ratio to expect of so many trials none of which has any skill.

    Parameters
    ----------
    trials : independent trials, >= 1
    variance : of the Sharpe ratios over the trials

    Examples
    --------
    >>> expected_best_sharpe(1, 1.0)
    0.0

    References
    ----------
    Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio Management 40, equation 1.
    """
    if trials < 1:
        raise ValueError(f"{trials} trials: at least the one that is looked at counts")
    if trials == 1:
        return 0.0
    upper = (1.0 - _EULER_GAMMA) * _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    return math.sqrt(variance) * (upper + _EULER_GAMMA * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e)))


def deflated_sharpe(returns: Floats, trials: int, trial_sharpes: Floats | None = None) -> float | None:
    """Return the probability that the true Sharpe ratio is above what the best of all trials shows by luck alone.

    Parameters
    ----------
    returns : (n,) returns per period of the strategy that was chosen
    trials : strategies and settings that were tried, this one included
    trial_sharpes : (m,) their Sharpe ratios per period; without at least two of them, the variance that trials without
        skill have, 1 / (n - 1)

    Returns
    -------
    In [0, 1]; ``None`` where there is no Sharpe ratio.
    """
    if period_sharpe(returns) is None:
        return None
    known = trial_sharpes is not None and len(trial_sharpes) >= 2
    variance = float(np.var(trial_sharpes, ddof=1)) if trial_sharpes is not None and known else 1.0 / (len(returns) - 1)
    return probabilistic_sharpe(returns, expected_best_sharpe(trials, variance))


def needed_periods(returns: Floats, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """Return how many periods like these would prove a Sharpe ratio above the benchmark.

    Returns
    -------
    The least number of returns; ``None`` where the ratio is not above the benchmark at all.

    References
    ----------
    Bailey and Lopez de Prado (2012), equation 11 (minimum track record length).
    """
    ratio = period_sharpe(returns)
    if ratio is None or not ratio > benchmark:
        return None
    error = _sharpe_error(returns, ratio) * math.sqrt(len(returns) - 1)
    return 1.0 + (error * _NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2


def stationary_rows(count: int, mean_block: float, draws: int, random: np.random.Generator) -> Ints:
    """Return resampled row numbers: blocks of geometrically distributed length, around the end to the beginning.

    Parameters
    ----------
    count : rows of the sample, > 0
    mean_block : mean length of a block, >= 1
    draws : resamples

    Returns
    -------
    (draws, count) row numbers.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap, Journal of the American Statistical Association 89.
    """
    begins = random.random((draws, count)) < 1.0 / max(mean_block, 1.0)
    begins[:, 0] = True
    starts = random.integers(0, count, size=(draws, count))
    place = np.arange(count)
    begun = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    rows: Ints = (np.take_along_axis(starts, begun, axis=1) + place - begun) % count
    return rows


def sharpe_p_value(
    returns: Floats, *, resamples: int = 2_000, seed: int = 0, mean_block: float | None = None
) -> float:
    """Return the p value of "the Sharpe ratio is not above zero" by the stationary bootstrap.

    Parameters
    ----------
    returns : (n,) returns per period in order of time, possibly dependent
    resamples : how often the ratio is drawn again from the returns without their mean
    seed : the same seed gives the same answer
    mean_block : mean length of a block; ``None``: as long as the returns depend on each other (``block_length``)

    Returns
    -------
    In (0, 1]; 1.0 where there is no ratio, or it is not above zero.
    """
    ratio = period_sharpe(returns)
    if ratio is None or not ratio > 0.0:
        return 1.0
    length = block_length(returns) if mean_block is None else mean_block
    random = np.random.default_rng(seed)
    centred = returns - np.mean(returns)
    reached = done = 0
    at_once = max(1, _ROWS_AT_ONCE // len(returns))
    while done < resamples:
        draws = min(at_once, resamples - done)
        drawn = centred[stationary_rows(len(returns), length, draws, random)]
        deviation = np.std(drawn, axis=1, ddof=1)
        means = np.mean(drawn, axis=1)
        # A draw that never varies has no ratio; it counts as reached where its mean is above zero.
        reached += int(np.count_nonzero(means >= ratio * deviation))
        done += draws
    return (1 + reached) / (1 + resamples)


def block_length(values: Floats) -> float:
    """Return the mean block length that suits a series, by how far its values depend on each other.

    Parameters
    ----------
    values : (n,) in order of time

    Returns
    -------
    For the stationary bootstrap; 1.0 for independent or few values.

    References
    ----------
    Politis and White (2004), Automatic block-length selection for the dependent bootstrap; corrected by Patton,
    Politis and White (2009), Econometric Reviews 28.
    """
    count = len(values)
    if count < 10 or np.ptp(values) == 0.0:
        return 1.0
    around = values - np.mean(values)
    run = max(5, int(math.log10(count)))
    furthest = min(math.ceil(math.sqrt(count)) + run, count - 1)
    covariances = np.array([np.dot(around[: count - lag], around[lag:]) / count for lag in range(furthest + 1)])
    significant = np.abs(covariances[1:] / covariances[0]) > 2.0 * math.sqrt(math.log10(count) / count)
    lags = min(2 * max(_last_significant(significant, run), 1), furthest)
    share = np.arange(lags + 1) / lags
    window = np.clip(2.0 * (1.0 - share), 0.0, 1.0)
    weighted = window * covariances[: lags + 1]
    bend = 2.0 * float(np.sum(np.arange(lags + 1) * weighted))
    spectrum = float(covariances[0] + 2.0 * np.sum(weighted[1:]))
    if spectrum == 0.0 or bend == 0.0:
        return 1.0
    length = float((bend * bend / (spectrum * spectrum) * count) ** (1.0 / 3.0))
    return min(max(length, 1.0), math.ceil(min(3.0 * math.sqrt(count), count / 3.0)))


def _last_significant(significant: "np.ndarray[tuple[int], np.dtype[np.bool_]]", run: int) -> int:
    """Return the lag after which ``run`` lags in a row are not significant, else the last significant one."""
    quiet = 0
    for lag, is_significant in enumerate(significant.tolist(), start=1):
        quiet = 0 if is_significant else quiet + 1
        if quiet == run:
            return lag - run
    found = np.flatnonzero(significant)
    return int(found[-1]) + 1 if len(found) else 0
