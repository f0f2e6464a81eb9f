"""What the inference core asks of its shell, and what comes back."""

from libs.common.core import Effect, EffectResult


class LoadBundle(Effect, frozen=True, kw_only=True):
    """Fetch a bundle, check all of it, keep it, and put its model into the library.

    Parameters
    ----------
    name, version, symbol, bundle_sha256 : what the event said; the bundle must say the same
    shadow : predict for the record only
    object_name : of the bundle in the object store
    """

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    shadow: bool
    object_name: str


class BundleVerified(EffectResult, frozen=True, kw_only=True):
    """The bundle passed every check and its model lies in the library."""

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    shadow: bool


class BundleBroken(EffectResult, frozen=True, kw_only=True):
    """The bundle could not be had or did not pass; nothing of it is used.

    Parameters
    ----------
    reason : what was wrong, for a person
    """

    name: str
    version: int
    symbol: str
    bundle_sha256: str
    shadow: bool
    reason: str


def object_name_of(name: str, version: int, bundle_sha256: str) -> str:
    """Return the name a bundle has in the object store.

    >>> object_name_of("direction-EURUSD", 3, "0123456789abcdef0123")
    'direction-EURUSD-3-0123456789abcdef'
    """
    return f"{name}-{version}-{bundle_sha256[:16]}"
