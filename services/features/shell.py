"""Builds the features service from its config."""

from typing import Any

from libs.common.runtime.service import Service, ServiceContext
from services.features.core import FeaturesCore


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Return the features service, its kernels loaded.

    Parameters
    ----------
    config : sections ``system``, ``instruments`` and ``features``
    context : what the runtime offers; the service needs none of it but the log
    """
    core = FeaturesCore.from_config(config["features"], config["system"], config["instruments"])
    core.warm()
    context.log.info("features_ready", schema_id=core.schema_id, features=len(core.names))
    return Service(core=core)
