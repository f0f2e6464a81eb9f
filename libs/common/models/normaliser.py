"""Scales features by what the training rows were like; carried in the bundle, so that live rows are scaled alike.

A normaliser is fitted on the training split and never again: it is a file of the bundle, hashed and signed with the
weights, and ``load_predictor`` applies it to every row before the model sees it.
"""

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from libs.common.errors import ArtifactError
from libs.common.messages.base import Floats

if TYPE_CHECKING:
    from libs.common.models.predictor import Predictor

NORMALISER_FILE = "normaliser.json"
"""The bundle's file that holds a normaliser; a bundle without it feeds rows to the model as they are."""
STILL = 1e-12
"""A deviation below this share of a feature's size is rounding: the feature stood still over the training rows."""


class Normaliser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How each feature was distributed over the training rows.

    Parameters
    ----------
    kind : ``z_score``: (value - mean) / deviation, cut off at ±``limit``; ``rank``: place among the training values,
        -1 (below all) to +1 (above all), between two quantiles by a straight line
    features : names, in the order of a row
    means, deviations : one per feature; empty for ``rank``
    quantiles : per feature the values at equally spaced shares of the training rows, rising; empty for ``z_score``
    limit : of the z-score, standard deviations
    """

    kind: Literal["z_score", "rank"]
    features: tuple[str, ...]
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    limit: float = 10.0

    def apply(self, values: Floats) -> Floats:
        """Return scaled values of one row (k,) or many (n, k).

        Raises
        ------
        ValueError : when there are not k values
        """
        k = len(self.features)
        if values.shape[-1] != k:
            raise ValueError(f"rows of {values.shape[-1]} values, the normaliser has {k} features")
        scaled: Floats
        if self.kind == "z_score":
            scaled = np.clip((values - np.array(self.means)) / np.array(self.deviations), -self.limit, self.limit)
            return scaled
        scaled = np.empty_like(values, dtype=np.float64)
        for column, known in enumerate(self.quantiles):
            scaled[..., column] = _rank(np.asarray(values[..., column], dtype=np.float64), np.array(known))
        return scaled

    def to_json(self) -> bytes:
        """Return the content of ``normaliser.json``."""
        return msgspec.json.encode(self)


def _rank(values: Floats, quantiles: Floats) -> Floats:
    # Between equal quantiles lies no straight line: a value takes the middle of the places it could have.
    last = len(quantiles) - 1
    low = np.searchsorted(quantiles, values, side="left")
    high = np.searchsorted(quantiles, values, side="right")
    left, right = np.clip(low - 1, 0, last), np.clip(low, 0, last)
    width = quantiles[right] - quantiles[left]
    inner = np.where(width > 0.0, (values - quantiles[left]) / np.where(width > 0.0, width, 1.0), 0.0)
    place = np.where(high > low, 0.5 * (low + high - 1), np.clip(left + inner, 0, last))
    place = np.where(values < quantiles[0], 0.0, np.where(values > quantiles[-1], float(last), place))
    ranked: Floats = 2.0 * place / last - 1.0
    return ranked


def fit_z_score(rows: Floats, features: tuple[str, ...], limit: float = 10.0) -> Normaliser:
    """Return the normaliser that gives training rows mean 0 and deviation 1; a feature that stood still gives 0.

    Parameters
    ----------
    rows : (n, k) of the training split alone, finite
    """
    _check(rows, features)
    means, deviations = rows.mean(axis=0), rows.std(axis=0)
    still = deviations <= STILL * np.abs(rows).max(axis=0)
    return Normaliser(
        kind="z_score", features=features, means=tuple(means.tolist()),
        deviations=tuple(np.where(still, 1.0, deviations).tolist()), limit=limit,
    )


def fit_rank(rows: Floats, features: tuple[str, ...], steps: int = 100) -> Normaliser:
    """Return the normaliser that spreads training rows evenly over -1 to +1.

    Parameters
    ----------
    rows : (n, k) of the training split alone, finite
    steps : stretches between the remembered quantiles
    """
    _check(rows, features)
    known = np.quantile(rows, np.linspace(0.0, 1.0, steps + 1), axis=0)
    return Normaliser(kind="rank", features=features, quantiles=tuple(tuple(column) for column in known.T.tolist()))


def _check(rows: Floats, features: tuple[str, ...]) -> None:
    if rows.ndim != 2 or rows.shape[1] != len(features) or len(rows) < 2:
        raise ValueError(f"rows of shape {rows.shape}, expected at least two of {len(features)} values")
    if not np.isfinite(rows).all():
        raise ValueError("a normaliser is fitted on finite values only")


def read_normaliser(content: bytes, features: tuple[str, ...]) -> Normaliser:
    """Read and check the file of a bundle.

    Raises
    ------
    ArtifactError : when it is malformed or speaks of other features
    """
    try:
        found = msgspec.json.decode(content, type=Normaliser)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{NORMALISER_FILE}: {error}") from error
    k = len(features)
    if found.features != features:
        raise ArtifactError(f"{NORMALISER_FILE}: its features are not the bundle's")
    wanted = (k, k, 0) if found.kind == "z_score" else (0, 0, k)
    if (len(found.means), len(found.deviations), len(found.quantiles)) != wanted:
        raise ArtifactError(f"{NORMALISER_FILE}: does not hold one entry per feature")
    numbers = np.array([*found.means, *found.deviations, found.limit, *(q for row in found.quantiles for q in row)])
    rising = all(len(row) > 1 and (np.diff(row) >= 0.0).all() for row in found.quantiles)
    if not np.isfinite(numbers).all() or not rising or min((found.limit, *found.deviations)) <= 0.0:
        raise ArtifactError(f"{NORMALISER_FILE}: holds numbers that cannot scale anything")
    return found


class NormalisedPredictor:
    """A model behind its normaliser.

    Parameters
    ----------
    normaliser, inner : rows go through the first into the second
    """

    def __init__(self, normaliser: Normaliser, inner: "Predictor") -> None:
        self._normaliser, self._inner = normaliser, inner

    def predict(self, values: Floats) -> Floats:
        """Return (3,) probabilities down, flat, up of one row of (k,) values."""
        return self._inner.predict(self._normaliser.apply(values))

    def predict_block(self, values: Floats) -> Floats:
        """Return (n, 3) probabilities of (n, k) rows."""
        return self._inner.predict_block(self._normaliser.apply(values))
