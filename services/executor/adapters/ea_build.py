"""Puts the ``ea`` broker together: the ``mt5`` broker, whose questions an Expert Advisor answers."""

from typing import Any

from libs.common.messages.ea import EaAsker
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.simulated_broker import Told
from libs.common.runtime.service import ServiceContext
from libs.common.storage.keys import EA_KEY, read_key
from services.executor.adapters import mt5_build
from services.executor.adapters.mt5 import Mt5Broker
from services.executor.config import ExecutorConfig


class ForgettingFeed(TerminalFeed):
    """Moves a simulated market behind its Expert Advisor's back, and has what that one said before forgotten."""

    terminal: EaTerminal | None = None

    async def advance(self, block: TickBlock) -> Told:
        """Let the market move (see ``TerminalFeed``)."""
        told = await super().advance(block)
        if self.terminal is not None:
            self.terminal.forget()
        return told


def build_broker(config: dict[str, Any], context: ServiceContext) -> Mt5Broker:
    """Return the broker, not started.

    Raises
    ------
    ConfigError : when the key shared with Expert Advisors is missing, or the account traded so far contradicts the
        configuration
    """
    executor: ExecutorConfig = config["executor"]
    mt5 = config["mt5"]
    feed = ForgettingFeed(mt5.connect, mt5.token) if mt5.backend == "sim" else None
    broker = mt5_build.build_broker(config, context, feed)
    terminal = EaTerminal(
        context.bus,
        config["system"].account,
        asker=EaAsker.EXECUTOR,
        mac_key=read_key(context.root_dir, EA_KEY),
        guard=broker.guard,
        send_s=executor.mt5.send_timeout_s,
        read_s=executor.mt5.read_timeout_s,
        log=context.log,
    )
    if feed is not None:
        feed.terminal = terminal
    broker.use(terminal)
    return broker
