"""The real MetaTrader5 package: the only place that imports it."""

import importlib.metadata

import MetaTrader5

from libs.common.mt5.adapters.package_backend import PackageBackend


def real_package() -> PackageBackend:
    """Return the package behind the worker's interface."""
    try:
        version = importlib.metadata.version("MetaTrader5")
    except importlib.metadata.PackageNotFoundError:
        version = str(getattr(MetaTrader5, "__version__", "unknown"))
    return PackageBackend(MetaTrader5, "real", version)
