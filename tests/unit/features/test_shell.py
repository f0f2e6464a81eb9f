"""The shell builds a core that is ready before it says so."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import structlog

from libs.common.config import COMMON_SECTIONS, read_config
from libs.common.messages.features import FeatureBlock
from libs.common.runtime.metrics import Metrics
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.shell import build


def test_build_returns_a_warm_core_of_the_configured_symbols() -> None:
    config = read_config(None, {**COMMON_SECTIONS, "features": FeaturesConfig}, {})
    context: Any = SimpleNamespace(log=structlog.get_logger(), metrics=Metrics())
    service = build(config, context)
    assert isinstance(service.core, FeaturesCore)
    assert service.effects is None
    assert service.core.details()["ticks_seen"] == 0
    assert "last_tick.EURUSD" in service.core.details()


def test_rows_are_counted_by_symbol() -> None:
    metrics = Metrics()
    config = read_config(None, {**COMMON_SECTIONS, "features": FeaturesConfig}, {})
    context: Any = SimpleNamespace(log=structlog.get_logger(), metrics=metrics)
    service = build(config, context)
    row = FeatureBlock(
        ts_event_ns=1, ts_init_ns=1, symbol="EURUSD", schema_id="x", names=(), values=np.empty(0), tick=1, bid=1.0, ask=1.0
    )
    service.observe(row)
    service.observe(row)
    assert b'tickwire_features_rows_total{symbol="EURUSD"} 2.0' in metrics.render()
