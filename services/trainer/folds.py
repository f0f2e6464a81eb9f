"""Walk-forward folds without leaks: purged by the time labels end, embargoed before each test window.

References: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7.
"""

import itertools
import math

import msgspec
import numpy as np

from libs.common.messages.base import Ints


class Fold(msgspec.Struct, frozen=True, eq=False):
    """One training window and the test window after it.

    Parameters
    ----------
    train : indices of the rows to fit on
    test : indices of the rows to judge on, all later than the training rows
    """

    train: Ints
    test: Ints


def walk_forward(
    time_ns: Ints, end_ns: Ints, folds: int, embargo_ns: int, least_rows: int = 1
) -> tuple[Fold, ...]:
    """Cut rows into consecutive test windows, each with all rows before it that cannot leak into it.

    Parameters
    ----------
    time_ns : (n,) time of each row, never falling
    end_ns : (n,) when each row's label was decided, >= time_ns
    folds : test windows; the rows before the first one are about as many as in each window
    embargo_ns : a training row's label ends more than this before the test window's first row
    least_rows : a fold with fewer training rows is left out

    Returns
    -------
    Folds in order of time; together their test windows hold every row once but those of the first block and of
    folds left out.
    """
    edges = [round(i * len(time_ns) / (folds + 1)) for i in range(folds + 2)]
    found = []
    for begin, end in itertools.pairwise(edges[1:]):
        if begin == end:
            continue
        train = np.flatnonzero(end_ns[:begin] < time_ns[begin] - embargo_ns)
        if len(train) >= max(1, least_rows):
            found.append(Fold(train, np.arange(begin, end)))
    return tuple(found)


def overlap_rows(time_ns: Ints, end_ns: Ints) -> int:
    """Return how many rows in a row share a label window on average, rounded up, >= 1.

    It is the block length of a bootstrap that must not take overlapping labels for independent ones.
    """
    if len(time_ns) == 0:
        return 1
    later = np.searchsorted(time_ns, end_ns, side="left") - np.arange(len(time_ns))
    return max(1, math.ceil(float(later.mean())))
