"""Watches whether live rows still look like the rows a model was trained on."""

from fnmatch import fnmatchcase

import msgspec
import numpy as np

from libs.common.messages.base import Floats
from libs.common.models.bundle import Manifest
from libs.common.stats.drift import psi, psi_by_chance
from services.inference.config import DriftConfig


class DriftState(msgspec.Struct, kw_only=True):
    """What a monitor remembers.

    Parameters
    ----------
    counts : (panes, features, bins) int64 rows per bin, as bytes
    filled : panes whose rows are all there
    pane : the pane being filled
    rows : rows in it
    drifted : drift was announced and has not ended
    psi : (features,) indices at the last comparison; empty before the first
    """

    counts: bytes
    filled: int
    pane: int
    rows: int
    drifted: bool
    psi: list[float]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Live rows that have left the training window.

    Parameters
    ----------
    psi : index of every feature above its limit, the one furthest above it first
    limit : of that feature
    rows : live rows compared
    """

    psi: dict[str, float]
    limit: float
    rows: int


class DriftMonitor:
    """Compares a window of live rows, feature by feature, with a model's training window.

    The window is cut into panes: each time one is full the indices are computed over all of them and the oldest
    pane is emptied. What a row costs does not depend on the window's length.

    Parameters
    ----------
    manifest : holds the reference distributions
    config : window and limits
    """

    def __init__(self, manifest: Manifest, config: DriftConfig) -> None:
        self._config = config
        self.features = tuple(
            name for name in manifest.feature_names
            if name in manifest.drift and not any(fnmatchcase(name, pattern) for pattern in config.ignore)
        )
        references = [manifest.drift[name] for name in self.features]
        bins = max((len(reference.shares) for reference in references), default=1)
        self._columns = np.array([manifest.feature_names.index(name) for name in self.features], dtype=np.intp)
        # Bins a feature does not have stay empty on both sides and add nothing to its index.
        self._edges = np.full((len(references), bins - 1), np.inf)
        self._shares = np.zeros((len(references), bins))
        for i, reference in enumerate(references):
            self._edges[i, : len(reference.edges)] = reference.edges
            self._shares[i, : len(reference.shares)] = reference.shares
        self._lines = np.arange(len(references))
        self._pane_rows = config.window_rows // config.panes
        self._window_rows = self._pane_rows * config.panes
        self.limits = np.array([
            max(config.limit, psi_by_chance(
                len(reference.shares), reference.persistence, self._window_rows, manifest.rows, config.chance_deviations
            ))
            for reference in references
        ])
        self._counts = np.zeros((config.panes, len(references), bins), dtype=np.int64)
        self._filled = self._pane = self._rows = 0
        self.drifted = False
        self.psi = np.empty(0)

    def add(self, values: Floats) -> Comparison | None:
        """Take in one row.

        Parameters
        ----------
        values : (k,) in the order of the manifest's feature names

        Returns
        -------
        A comparison when this row makes it known that the rows have drifted; once until the drift ends.
        """
        if not self.features:
            return None
        bins = (self._edges <= values[self._columns, None]).sum(axis=1)
        self._counts[self._pane, self._lines, bins] += 1
        self._rows += 1
        if self._rows < self._pane_rows:
            return None
        return self._turn_pane()

    def _turn_pane(self) -> Comparison | None:
        panes = len(self._counts)
        self._filled = min(self._filled + 1, panes)
        found = self._compare() if self._filled == panes else None
        self._pane, self._rows = (self._pane + 1) % panes, 0
        self._counts[self._pane] = 0
        return found

    def _compare(self) -> Comparison | None:
        self.psi = psi(self._shares, self._counts.sum(axis=0) / self._window_rows)
        excess = self.psi / self.limits
        above = np.flatnonzero(excess > 1.0)
        if self.drifted:
            self.drifted = bool((excess >= self._config.clear).any())
            return None
        if len(above) < self._config.min_features:
            return None
        self.drifted = True
        order = above[np.argsort(-excess[above], kind="stable")]
        found = {self.features[i]: float(self.psi[i]) for i in order}
        return Comparison(psi=found, limit=float(self.limits[order[0]]), rows=self._window_rows)

    @property
    def worst(self) -> tuple[str, float]:
        """Return the feature that came closest to its limit, or furthest beyond it, and its index."""
        if not len(self.psi):
            return "", 0.0
        worst = int(np.argmax(self.psi / self.limits))
        return self.features[worst], float(self.psi[worst])

    def state(self) -> DriftState:
        """Return what the monitor remembers."""
        return DriftState(
            counts=self._counts.tobytes(), filled=self._filled, pane=self._pane, rows=self._rows,
            drifted=self.drifted, psi=self.psi.tolist(),
        )

    def load(self, state: DriftState) -> None:
        """Become what ``state`` described; a state of other settings is left aside, and the window starts anew."""
        if len(state.counts) != self._counts.nbytes or state.rows >= self._pane_rows:
            return
        self._counts = np.frombuffer(state.counts, dtype=np.int64).reshape(self._counts.shape).copy()
        self._filled, self._pane, self._rows = state.filled, state.pane, state.rows
        self.drifted, self.psi = state.drifted, np.array(state.psi)
