"""The shell builds a core that is ready before it says so."""

from types import SimpleNamespace
from typing import Any

import structlog

from libs.common.config import COMMON_SECTIONS, read_config
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.shell import build


def test_build_returns_a_warm_core_of_the_configured_symbols() -> None:
    config = read_config(None, {**COMMON_SECTIONS, "features": FeaturesConfig}, {})
    context: Any = SimpleNamespace(log=structlog.get_logger())
    service = build(config, context)
    assert isinstance(service.core, FeaturesCore)
    assert service.effects is None
    assert service.core.details()["ticks_seen"] == 0
    assert "last_tick.EURUSD" in service.core.details()
