"""What the risk service needs before it starts, and what it shows."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from libs.common.storage.keys import ensure_keys
from services.risk.config import RiskConfig
from services.risk.shell import RiskMetrics, build
from tests.unit.risk.scenarios import World, halt, prediction, resume


def context(root: Path) -> ServiceContext:
    return ServiceContext(
        name="risk", data_dir=root / "risk", root_dir=root, bus=None, log=structlog.get_logger(), metrics=Metrics()  # type: ignore[arg-type]
    )


def sections(**changes: Any) -> dict[str, Any]:
    return {
        "system": SystemConfig(), "instruments": {"EURUSD": InstrumentConfig()}, "risk": RiskConfig(),
    } | changes


def test_build_signs_with_the_key_on_disk(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    service = build(sections(), context(tmp_path))
    assert service.effects is None
    assert service.core.details()["halted"] == 0.0


def test_a_missing_or_readable_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"risk\.key.*keys init"):
        build(sections(), context(tmp_path))
    ensure_keys(tmp_path)
    (tmp_path / "keys" / "risk.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        build(sections(), context(tmp_path))


def test_symbols_that_could_not_be_traded_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"instruments: no entry for 'EURUSD'"):
        build(sections(instruments={}), context(tmp_path))
    with pytest.raises(ConfigError, match=r"risk\.allowed_symbols: 'GOLD' is not among system\.symbols"):
        build(sections(risk=RiskConfig(allowed_symbols=("GOLD",))), context(tmp_path))


def test_metrics_count_what_risk_says_and_show_a_halt_even_after_a_restart() -> None:
    metrics, world = Metrics(), World().ready()
    observe = RiskMetrics(metrics, world.core)
    for message in (prediction(), prediction(), halt()):
        for output in world.hear(message):
            observe(output)
    text = metrics.render().decode()
    assert 'tickwire_risk_approvals_total{symbol="EURUSD"} 1.0' in text
    assert 'tickwire_risk_refusals_total{reason="repeated_order"} 1.0' in text
    assert "tickwire_risk_halted 1.0" in text
    again, fresh = world.restarted(), Metrics()
    RiskMetrics(fresh, again.core)(prediction())
    assert "tickwire_risk_halted 1.0" in fresh.render().decode()
    again.hear(resume())
    RiskMetrics(fresh, again.core)(resume())
    assert "tickwire_risk_halted 0.0" in fresh.render().decode()
