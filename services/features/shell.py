"""Builds the features service from its config."""

from typing import Any

from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service, ServiceContext
from services.features.adapters.calendar_file import read_calendar
from services.features.adapters.plugin_files import load_plugins
from services.features.calendar import CalendarEvent
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore


def prepare(config: FeaturesConfig) -> tuple[CalendarEvent, ...] | None:
    """Load the plugins a config names and read its calendar; ``None`` where it names none.

    Raises
    ------
    ConfigError, DataError : naming the file and what is wrong with it
    """
    load_plugins(config.plugins)
    return read_calendar(config.calendar) if config.calendar else None


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Return the features service, its kernels loaded.

    Parameters
    ----------
    config : sections ``system``, ``instruments`` and ``features``
    context : what the runtime offers; the service needs none of it but the log
    """
    calendar = prepare(config["features"])
    core = FeaturesCore.from_config(config["features"], config["system"], config["instruments"], calendar)
    core.warm()
    context.log.info("features_ready", schema_id=core.schema_id, features=len(core.names))
    return Service(core=core, observe=FeaturesMetrics(context.metrics))


class FeaturesMetrics:
    """Counts the rows emitted."""

    def __init__(self, metrics: Metrics) -> None:
        self._rows = metrics.counter("tickwire_features_rows_total")

    def __call__(self, message: Message) -> None:
        """Take in one message the core was handed or returned."""
        if isinstance(message, FeatureBlock):
            self._rows.labels(symbol=message.symbol).inc()
