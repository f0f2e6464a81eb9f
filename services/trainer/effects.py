"""What the trainer's core asks of its shell, and what the shell answers."""

import msgspec

from libs.common.core import Effect, EffectResult
from services.trainer.dataset import Dataset


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The model that serves.

    Parameters
    ----------
    last_ns : end of its training window: when its last label was decided, ns UTC
    """

    version: int
    bundle_sha256: str
    last_ns: int


class TrainModel(Effect, frozen=True, kw_only=True, eq=False):
    """Fit, judge and store a model.

    Parameters
    ----------
    name, version, symbol : which model
    trigger : ``first``, ``schedule``, ``drift`` or ``command``
    schema_id, feature_names : of the dataset's columns
    dataset : labelled rows, oldest first
    seed : of everything random
    champion : the model to compare with; ``None`` when nothing comparable serves
    """

    name: str
    version: int
    symbol: str
    trigger: str
    schema_id: str
    feature_names: tuple[str, ...]
    dataset: Dataset
    seed: int
    champion: Champion | None


class ModelTrained(EffectResult, frozen=True, kw_only=True):
    """A signed bundle lies in the object store.

    Parameters
    ----------
    bundle_sha256 : names the bundle
    schema_id : of the rows it was trained on
    last_ns : end of its training window, ns UTC
    champion_version : which champion it was compared with; 0: none
    metrics : out-of-fold figures, finite
    """

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    schema_id: str
    last_ns: int
    champion_version: int
    metrics: dict[str, float]


class AdoptBundle(Effect, frozen=True, kw_only=True, eq=False):
    """Check a bundle that somebody else made and put into the model store."""

    name: str
    version: int
    symbol: str
    bundle_sha256: str


class BundleAdopted(EffectResult, frozen=True, kw_only=True):
    """The bundle is sound: signed with our key, the named model, its golden rows come out.

    Parameters
    ----------
    bundle_sha256 : names the bundle
    schema_id : of the rows it was trained on
    last_ns : end of its training window, ns UTC
    metrics : what its maker says of it
    """

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    schema_id: str
    last_ns: int
    metrics: dict[str, float]


class AdoptionFailed(EffectResult, frozen=True, kw_only=True):
    """The bundle could not be had, or is not sound.

    Parameters
    ----------
    detail : one short sentence for people
    """

    name: str
    version: int
    symbol: str
    detail: str


class TrainingFailed(EffectResult, frozen=True, kw_only=True):
    """No bundle came of it; what served goes on serving.

    Parameters
    ----------
    reason : ``timeout``, ``crashed``, ``refused`` (the dataset, the champion's bundle, or the model
        as ONNX), ``corrupt``
    detail : one short sentence for people
    """

    name: str
    version: int
    symbol: str
    reason: str
    detail: str
