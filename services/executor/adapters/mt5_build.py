"""Puts the ``mt5`` broker together from the configuration."""

from typing import Any

from libs.common.config import Mt5Config, SystemConfig
from libs.common.mt5.adapters.connection import driver_for
from libs.common.mt5.adapters.driver import Deadlines
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.symbol_registry import SymbolRegistry
from libs.common.runtime.service import ServiceContext
from services.executor.adapters.mt5 import Mt5Broker
from services.executor.adapters.mt5_account import AccountGuard
from services.executor.adapters.mt5_clock import ServerClock
from services.executor.config import ExecutorConfig

ACCOUNT_FILE = "account.json"
SYMBOLS_FILE = "symbols.json"


def build_broker(
    config: dict[str, Any], context: ServiceContext, feed: TerminalFeed | None = None
) -> Mt5Broker:
    """Return the broker, not started.

    Parameters
    ----------
    feed : moves the market of a simulated terminal, in place of the usual one

    Raises
    ------
    ConfigError : when the account traded so far contradicts the configuration
    """
    system: SystemConfig = config["system"]
    executor: ExecutorConfig = config["executor"]
    mt5: Mt5Config = config["mt5"]
    simulated = mt5.backend == "sim"
    guard = AccountGuard(executor.mt5.account, system.mode, context.data_dir / ACCOUNT_FILE, context.log)
    broker = Mt5Broker(
        approve=guard.approve,
        clock=ServerClock(mt5.server_zone, None if simulated else context.root_dir),
        namespace=executor.namespace,
        symbols=system.symbols,
        registry=lambda server: SymbolRegistry(context.data_dir / SYMBOLS_FILE, server, mt5.symbols),
        feed=(feed or TerminalFeed(mt5.connect, mt5.token)) if simulated else None,
        log=context.log,
    )
    settings = executor.mt5
    broker.use(driver_for(
        mt5,
        guard=broker.guard,
        deadlines=Deadlines(
            connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s, send_s=settings.send_timeout_s
        ),
        log=lambda event, fields: context.log.info(event, **fields),
    ))
    return broker
