"""Gives the executor's core its broker, risk's public key and a journal, and turns what it says into metrics."""

from typing import Any

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.orders import (
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    PositionClosed,
)
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service, ServiceContext
from libs.common.signing import Verifier
from libs.common.storage.keys import read_key
from libs.common.trading.instrument import Instrument
from services.executor.adapters.broker import Broker
from services.executor.adapters.performer import ExecutorEffects
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import Desk, ExternalDesk, SimulatedDesk

JOURNAL = "orders.sqlite"
_STATES = {
    OrderSent: "sent",
    OrderFilled: "filled",
    OrderPartiallyFilled: "partially_filled",
    OrderRejected: "rejected",
    OrderUnknown: "unknown",
    OrderResolved: "resolved",
    PositionClosed: "position_closed",
}


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Return the executor with its broker.

    Raises
    ------
    ConfigError : when risk's public key is missing, a symbol has no specification, or the settings contradict
        each other
    """
    system: SystemConfig = config["system"]
    executor: ExecutorConfig = config["executor"]
    instruments = instruments_of(system, config["instruments"])
    verifier = Verifier(read_key(context.root_dir, "risk.pub"))
    desk, broker = _DESKS[executor.broker](config, context, instruments)
    core = ExecutorCore(executor, system.account, instruments, desk, verifier)
    effects = ExecutorEffects(context.data_dir / JOURNAL, broker, log=context.log)
    context.log.info("executor", broker=executor.broker, account=system.account, namespace=executor.namespace)
    return Service(core=core, effects=effects, observe=ExecutorMetrics(context.metrics, core))


def _simulated(
    config: dict[str, Any], context: ServiceContext, instruments: dict[str, Instrument]
) -> tuple[Desk, Broker | None]:
    """Return the simulated terminal in this process."""
    executor: ExecutorConfig = config["executor"]
    check_filling(executor)
    return SimulatedDesk(SimulatedTerminal(executor.terminal, instruments, config["system"].seed)), None


def _mt5(
    config: dict[str, Any], context: ServiceContext, instruments: dict[str, Instrument]
) -> tuple[Desk, Broker | None]:
    """Return the terminal of section ``mt5``; one that is simulated is fed our ticks."""
    # Only who trades with a terminal needs what asking one takes.
    from services.executor.adapters.mt5_build import build_broker  # noqa: PLC0415

    return ExternalDesk(fed=config["mt5"].backend == "sim"), build_broker(config, context)


def _ea(
    config: dict[str, Any], context: ServiceContext, instruments: dict[str, Instrument]
) -> tuple[Desk, Broker | None]:
    """Return the terminal of section ``mt5`` by way of its Expert Advisor."""
    from services.executor.adapters.ea_build import build_broker  # noqa: PLC0415

    return ExternalDesk(fed=config["mt5"].backend == "sim"), build_broker(config, context)


_DESKS = {"sim": _simulated, "mt5": _mt5, "ea": _ea}


def instruments_of(system: SystemConfig, configured: dict[str, InstrumentConfig]) -> dict[str, Instrument]:
    """Return the instruments by symbol.

    Raises
    ------
    ConfigError : naming a traded symbol without a specification
    """
    for symbol in system.symbols:
        if symbol not in configured:
            raise ConfigError(
                f"instruments: no entry for '{symbol}' of system.symbols; the broker's specification is needed to "
                "execute orders. Add it."
            )
    return {symbol: Instrument(symbol, specification) for symbol, specification in configured.items()}


def check_filling(executor: ExecutorConfig) -> None:
    """Refuse a filling the simulated broker would refuse on every order.

    Raises
    ------
    ConfigError : naming both keys
    """
    flag = {"fok": 1, "ioc": 2}.get(executor.filling, 0)
    if executor.terminal.execution == "market" and not executor.terminal.filling_mode & flag:
        raise ConfigError(
            f"executor.filling: '{executor.filling}' is not among executor.terminal.filling_mode "
            f"{executor.terminal.filling_mode} (1 fok, 2 ioc), so every order would be refused. Change one of them."
        )


class ExecutorMetrics:
    """Counts orders and shows the account.

    Parameters
    ----------
    core : asked for the orders in doubt, because a doubt may have come out of a snapshot instead of a message
    """

    def __init__(self, metrics: Metrics, core: ExecutorCore) -> None:
        self._core = core
        self._orders = metrics.counter("tickwire_executor_orders_total")
        self._unknown = metrics.gauge("tickwire_executor_orders_unknown")
        self._equity = metrics.gauge("tickwire_executor_equity_ccy")
        self._balance = metrics.gauge("tickwire_executor_balance_ccy")
        self._positions = metrics.gauge("tickwire_executor_open_positions")
        self._slippage = metrics.histogram("tickwire_executor_slippage_points")

    def __call__(self, message: Message) -> None:
        """Take in one message the core was handed or returned."""
        state = _STATES.get(type(message))
        if state is not None:
            self._orders.labels(state=state).inc()
        if isinstance(message, OrderFilled | OrderPartiallyFilled):
            self._slippage.labels(symbol=message.symbol).observe(message.slippage_points)
        elif isinstance(message, AccountSnapshot):
            self._equity.labels(account=message.account).set(message.equity_ccy)
            self._balance.labels(account=message.account).set(message.balance_ccy)
            self._positions.labels(account=message.account).set(len(message.positions))
        self._unknown.set(self._core.orders_in_doubt)
