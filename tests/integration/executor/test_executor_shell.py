"""The shell: what it builds, what it refuses, and the service on a real journal."""

from pathlib import Path
from typing import Any

import pytest

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.core import Core, Effect, dispatch
from libs.common.errors import ConfigError, StorageError
from libs.common.messages.base import Message
from libs.common.messages.orders import OrderFilled, OrderSent
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service, ServiceContext
from libs.common.storage.journal import OrderJournal
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.shell import JOURNAL, build
from tests.unit.executor.executor_world import NOON, SIGNER, S, approval, order_id, ticks


class Silent:
    def info(self, event: str, **fields: Any) -> None: ...

    def error(self, event: str, **fields: Any) -> None: ...


@pytest.fixture
def context(tmp_path: Path) -> ServiceContext:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "risk.pub").write_bytes(SIGNER.public_bytes)
    (tmp_path / "executor").mkdir()
    return ServiceContext(
        name="executor", data_dir=tmp_path / "executor", root_dir=tmp_path, bus=None,  # type: ignore[arg-type]
        log=Silent(), metrics=Metrics(),
    )


def config(executor: ExecutorConfig | None = None, symbols: tuple[str, ...] = ("EURUSD",)) -> dict[str, Any]:
    return {
        "system": SystemConfig(symbols=symbols), "bus": None, "instruments": {"EURUSD": InstrumentConfig()},
        "executor": executor or ExecutorConfig(),
    }


async def run(service: Service, *messages: Message) -> list[Message]:
    """Hand messages over as the runtime does; return what was said."""
    assert service.effects is not None
    said: list[Message] = []
    waiting: list[Message] = list(messages)
    now_ns = NOON
    while waiting:
        message = waiting.pop(0)
        now_ns = max(now_ns, message.ts_event_ns)
        for output in dispatch(service.core, message, now_ns):
            said.append(output)
            service.observe(output)
            if isinstance(output, Effect):
                waiting.insert(0, await service.effects.perform(output))
    return said


async def test_the_built_service_trades_and_leaves_a_durable_record(context: ServiceContext) -> None:
    service = build(config(), context)
    assert service.effects is not None
    await service.effects.prepare()
    said = await run(
        service, ticks("EURUSD", NOON, (1.1, 1.1001)), approval("a"), ticks("EURUSD", NOON + S, (1.1, 1.1001))
    )
    assert len([m for m in said if isinstance(m, OrderSent)]) == 1
    assert len([m for m in said if isinstance(m, OrderFilled)]) == 1
    await service.effects.close()
    journal = await OrderJournal.open(context.data_dir / JOURNAL)
    assert [row.state for row in await journal.history(order_id("a"))] == ["sent", "filled"]
    await journal.close()


async def test_the_metrics_show_orders_and_account(context: ServiceContext) -> None:
    service = build(config(), context)
    assert service.effects is not None
    await service.effects.prepare()
    await run(service, ticks("EURUSD", NOON, (1.1, 1.1001)), approval("a"), approval("b", expires_ns=1))
    text = context.metrics.render().decode()
    assert 'tickwire_executor_orders_total{state="filled"} 1.0' in text
    assert 'tickwire_executor_orders_total{state="rejected"} 1.0' in text
    assert 'tickwire_executor_open_positions{account="paper"} 1.0' in text
    assert "tickwire_executor_orders_unknown 0.0" in text
    assert 'tickwire_executor_slippage_points_count{symbol="EURUSD"} 1.0' in text
    await service.effects.close()


def test_without_risks_public_key_the_executor_does_not_start(context: ServiceContext) -> None:
    (context.root_dir / "keys" / "risk.pub").unlink()
    with pytest.raises(ConfigError, match=r"risk\.pub"):
        build(config(), context)


def test_a_key_of_the_wrong_size_is_refused(context: ServiceContext) -> None:
    (context.root_dir / "keys" / "risk.pub").write_bytes(b"short")
    with pytest.raises(ConfigError, match="32"):
        build(config(), context)


def test_a_traded_symbol_without_a_specification_is_refused(context: ServiceContext) -> None:
    with pytest.raises(ConfigError, match="no entry for 'XAUUSD'"):
        build(config(symbols=("EURUSD", "XAUUSD")), context)


@pytest.mark.parametrize(("filling", "mode"), [("ioc", 1), ("fok", 2), ("return", 3)])
def test_a_filling_the_broker_would_always_refuse_is_refused_at_start(
    context: ServiceContext, filling: Any, mode: int
) -> None:
    with pytest.raises(ConfigError, match=r"executor\.filling"):
        build(config(ExecutorConfig(filling=filling, terminal=TerminalSettings(filling_mode=mode))), context)


async def test_a_damaged_journal_stops_the_start(context: ServiceContext) -> None:
    (context.data_dir / JOURNAL).write_bytes(b"garbage" * 1000)
    service = build(config(), context)
    assert service.effects is not None
    with pytest.raises(StorageError, match="damaged"):
        await service.effects.prepare()


def test_the_core_has_a_handler_for_all_it_hears_and_awaits() -> None:
    kinds = [kind for route in ExecutorCore.HEARS for kind in route.kinds] + list(ExecutorCore.RESULTS)
    core: type[Core] = ExecutorCore
    for kind in kinds:
        name = "on_" + "".join("_" + c.lower() if c.isupper() else c for c in kind.__name__).removeprefix("_")
        assert callable(getattr(core, name))
