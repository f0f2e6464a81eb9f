"""Some of a run's feature rows, evenly spread over it, and how their distributions moved."""

from typing import NamedTuple

import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.stats.drift import bin_shares, drift_reference, psi

MOST_ROWS = 20_000
PARTS = 8
_LEAST_ROWS = 50
"""Rows a part must have to be compared."""


class RowSample:
    """Keeps every n-th row of a symbol, with n growing so that never more than a bound are held.

    Parameters
    ----------
    names : of the features
    most : rows kept at most
    """

    def __init__(self, names: tuple[str, ...], most: int = MOST_ROWS) -> None:
        self.names = names
        self._most = most
        self._seen, self._stride, self._held = 0, 1, 0
        self._times: list[Ints] = []
        self._values: list[Floats] = []

    def add(self, time_ns: Ints, values: Floats) -> None:
        """Take in rows.

        Parameters
        ----------
        time_ns, values : (n,) and (n, m), in order of time
        """
        start = -self._seen % self._stride
        self._seen += len(time_ns)
        if start >= len(time_ns):
            return
        self._times.append(time_ns[start :: self._stride].copy())
        self._values.append(values[start :: self._stride].copy())
        self._held += len(self._times[-1])
        while self._held > self._most:
            times, table = self.table()
            self._times, self._values = [times[::2].copy()], [table[::2].copy()]
            self._stride *= 2
            self._held = len(self._times[0])

    def table(self) -> tuple[Ints, Floats]:
        """Return (times, values), (n,) and (n, m), of the rows kept."""
        if not self._times:
            return np.empty(0, dtype=np.int64), np.empty((0, len(self.names)))
        return np.concatenate(self._times), np.concatenate(self._values)


class DriftTable(NamedTuple):
    """How features moved away from the first part of a run.

    Parameters
    ----------
    names : of the features, the one that moved most first
    part_ns : (k,) when each part after the first began, ns UTC
    moved : (m, k) population stability index of each feature in each part against the first
    """

    names: tuple[str, ...]
    part_ns: Ints
    moved: Floats


def drift_over(sample: RowSample, parts: int = PARTS) -> DriftTable:
    """Compare the later parts of a run with its first, feature by feature.

    Parameters
    ----------
    parts : of equally many rows
    """
    times, values = sample.table()
    finite = np.isfinite(values).all(axis=1)
    times, values = times[finite], values[finite]
    parts = min(parts, len(times) // _LEAST_ROWS)
    if parts < 2:
        return DriftTable((), np.empty(0, dtype=np.int64), np.empty((0, 0)))
    edges = np.linspace(0, len(times), parts + 1).astype(np.int64)
    moved = np.empty((len(sample.names), parts - 1))
    for column in range(len(sample.names)):
        reference = drift_reference(values[: edges[1], column])
        expected = np.array(reference.shares)
        for part in range(1, parts):
            shares = bin_shares(np.array(reference.edges), values[edges[part] : edges[part + 1], column])
            moved[column, part - 1] = float(psi(expected, shares))
    order = np.argsort(-moved.max(axis=1), kind="stable")
    return DriftTable(tuple(sample.names[k] for k in order.tolist()), times[edges[1:-1]], moved[order])
