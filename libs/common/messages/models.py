"""The life of a model: published, shadowed, promoted or refused, loaded, retired."""

from libs.common.messages.base import Message


class ModelEvent(Message, frozen=True, kw_only=True):
    """What all model events share.

    Parameters
    ----------
    name : model name, one per symbol (``EURUSD``'s champion is ``direction-EURUSD``)
    version : 1, 2, 3, ... within the name
    symbol : which symbol it predicts
    bundle_sha256 : hash of the bundle's manifest; names the object in the store
    metrics : out-of-fold figures, finite
    """

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    metrics: dict[str, float] = {}


class ModelPublished(ModelEvent, frozen=True, kw_only=True):
    """A trained bundle lies in the object store."""


class ModelShadowed(ModelEvent, frozen=True, kw_only=True):
    """The bundle is to predict beside the champion, for the record only."""


class ModelPromoted(ModelEvent, frozen=True, kw_only=True):
    """The bundle is to be the champion."""

    rollback: bool = False


class ModelRefused(ModelEvent, frozen=True, kw_only=True):
    """The promotion gate said no; ``metrics`` holds both sides' numbers."""

    reason: str


class ModelRetired(ModelEvent, frozen=True, kw_only=True):
    """The bundle is no longer the champion.

    Parameters
    ----------
    reason : why inference could not use it; empty when another simply took its place
    """

    reason: str = ""


class ModelLoaded(ModelEvent, frozen=True, kw_only=True):
    """Inference verified the bundle and now predicts with it."""

    shadow: bool = False


class ModelRejected(ModelEvent, frozen=True, kw_only=True):
    """Inference could not verify or load the bundle and keeps what it had."""

    reason: str
