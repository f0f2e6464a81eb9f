"""How far one sample of a feature lies from another: the population stability index."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.messages.base import Floats

SHARE_FLOOR = 1e-4
"""Smallest share a bin counts with: an empty bin would make the index infinite."""
_MOST_PERSISTENT = 1.0 - 1e-6


class DriftReference(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature was distributed over a training window.

    Parameters
    ----------
    edges : (m,) inner bin edges, finite, rising; bin 0 lies below the first, bin i holds edges[i-1] <= x < edges[i]
    shares : (m + 1,) share of the window in each bin, each >= 0, together 1
    persistence : correlation of the bin number with that of the row before, in [0, 1): how slowly the feature moves
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    persistence: float = 0.0


def drift_reference(sample: Floats, bins: int = 10) -> DriftReference:
    """Describe a sample by bins that hold about equally many of its values.

    Parameters
    ----------
    sample : (n,) finite values in the order they happened, n > 0
    bins : how many bins to aim at, > 1; a sample of few distinct values gets fewer

    Raises
    ------
    ValueError : for an empty or not finite sample, or fewer than two bins

    Examples
    --------
    >>> drift_reference(np.array([0.0, 1.0, 3.0, 2.0]), bins=4)
    DriftReference(edges=(1.0, 2.0, 3.0), shares=(0.25, 0.25, 0.25, 0.25), persistence=0.15)
    """
    if bins < 2:
        raise ValueError(f"{bins} bins, at least 2 are needed")
    if len(sample) == 0 or not np.isfinite(sample).all():
        raise ValueError("a reference needs a sample of finite values")
    # Edges are values of the sample itself ("higher"), so that a value that repeats gets a bin to itself.
    levels = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(sample, levels, method="higher"))
    lowest = float(sample.min())
    if edges[0] == lowest and len(edges) == 1:
        # One value makes up nearly everything: a second edge just above it keeps it apart from what is larger.
        edges = np.array([lowest, np.nextafter(lowest, np.inf)])
    return DriftReference(
        edges=tuple(edges.tolist()), shares=tuple(bin_shares(edges, sample).tolist()),
        persistence=_persistence(np.searchsorted(edges, sample, side="right")),
    )


def _persistence(numbers: NDArray[np.intp]) -> float:
    """Return the correlation of neighbours, within [0, 1); 0 where nothing varies."""
    deviations = numbers - numbers.mean()
    squares = float(deviations @ deviations)
    if squares == 0.0:
        return 0.0
    return min(max(float(deviations[1:] @ deviations[:-1]) / squares, 0.0), _MOST_PERSISTENT)


def bin_shares(edges: Floats, sample: Floats) -> Floats:
    """Return the share of a sample in each bin.

    Parameters
    ----------
    edges : (m,) inner edges, rising
    sample : (n,) values, n > 0

    Returns
    -------
    (m + 1,) shares.

    Examples
    --------
    >>> bin_shares(np.array([0.0]), np.array([-1.0, 0.0, 1.0, 2.0])).tolist()
    [0.25, 0.75]
    """
    counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1)
    shares: Floats = counts / len(sample)
    return shares


def psi(reference: Floats, live: Floats, floor: float = SHARE_FLOOR) -> NDArray[np.float64]:
    """Return the population stability index of live shares against reference shares.

    Parameters
    ----------
    reference, live : (..., m) shares of the same bins; the last axis is summed over
    floor : smallest share a bin counts with, > 0

    Returns
    -------
    (...) index: 0 for equal shares; by custom above 0.1 is a shift, above 0.25 a large one.

    References
    ----------
    Yurdakul (2018), Statistical properties of the population stability index: for equal distributions its mean is
    about (bins - 1) * (1 / n + 1 / m) for samples of n and m values.

    Examples
    --------
    >>> round(float(psi(np.array([0.5, 0.5]), np.array([0.2, 0.8]))), 6)
    0.415888
    """
    expected, actual = np.maximum(reference, floor), np.maximum(live, floor)
    index: NDArray[np.float64] = np.sum((actual - expected) * np.log(actual / expected), axis=-1)
    return index


def psi_by_chance(bins: int, persistence: float, live_rows: float, reference_rows: float, deviations: float) -> float:
    """Return the index that samples of one and the same distribution reach by chance.

    Neighbouring rows of a slow feature say nearly the same: a window of them is worth far fewer independent rows,
    and by chance alone covers only a part of what the training window covered.

    Parameters
    ----------
    bins : compared, > 1
    persistence : correlation of neighbouring rows, in [0, 1)
    live_rows, reference_rows : rows of both samples, > 0
    deviations : standard deviations above the mean

    Returns
    -------
    Mean and so many deviations of the index under its chi-square approximation, with each sample's rows reduced to
    the independent rows they are worth: (1 - persistence) / (1 + persistence) of them.

    References
    ----------
    Yurdakul (2018), as above; Bayley and Hammersley (1946), The "effective" number of independent observations in
    an autocorrelated time series.

    Examples
    --------
    >>> round(psi_by_chance(10, 0.0, 480, 1e9, 4.0), 3), round(psi_by_chance(10, 0.97, 480, 1e9, 4.0), 3)
    (0.054, 3.553)
    """
    worth = (1.0 - persistence) / (1.0 + persistence)
    noise = 1.0 / (live_rows * worth) + 1.0 / (reference_rows * worth)
    freedom = bins - 1
    return noise * (freedom + deviations * math.sqrt(2.0 * freedom))
