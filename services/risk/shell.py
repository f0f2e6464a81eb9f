"""Gives the risk core its key and turns what it says into metrics."""

from typing import Any

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.messages.base import Message
from libs.common.messages.orders import OrderApproved, OrderRefused
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service, ServiceContext
from libs.common.signing import Signer
from libs.common.storage.keys import read_key
from services.risk.config import RiskConfig
from services.risk.core import RiskCore


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Return the risk service; it needs no effects.

    Raises
    ------
    ConfigError : when the private key is missing or readable by others, or a symbol has no specification
    """
    system: SystemConfig = config["system"]
    limits: RiskConfig = config["risk"]
    instruments: dict[str, InstrumentConfig] = config["instruments"]
    check_symbols(system, limits, instruments)
    signer = Signer(read_key(context.root_dir, "risk.key"))
    core = RiskCore(limits, system.account, system.symbols, instruments, signer)
    context.log.info("limits", **{name: getattr(limits, name) for name in limits.__struct_fields__})
    return Service(core=core, observe=RiskMetrics(context.metrics, core))


def check_symbols(system: SystemConfig, limits: RiskConfig, instruments: dict[str, InstrumentConfig]) -> None:
    """Refuse a configuration under which some symbol could never be traded, or only by guessing its contract.

    Raises
    ------
    ConfigError : naming the key and the symbol
    """
    for symbol in limits.allowed_symbols:
        if symbol not in system.symbols:
            raise ConfigError(
                f"risk.allowed_symbols: '{symbol}' is not among system.symbols ({', '.join(system.symbols)}). "
                "Remove it, or add it there."
            )
    for symbol in system.symbols:
        if symbol not in instruments:
            raise ConfigError(
                f"instruments: no entry for '{symbol}' of system.symbols; its contract size, digits and currencies "
                "are needed to size orders. Add it."
            )


class RiskMetrics:
    """Counts approvals and refusals, and shows whether trading is halted.

    Parameters
    ----------
    core : asked whether it is halted, because a halt may have come out of a snapshot instead of a message
    """

    def __init__(self, metrics: Metrics, core: RiskCore) -> None:
        self._core = core
        self._approvals = metrics.counter("tickwire_risk_approvals_total")
        self._refusals = metrics.counter("tickwire_risk_refusals_total")
        self._halted = metrics.gauge("tickwire_risk_halted")

    def __call__(self, message: Message) -> None:
        """Take in one message the core was handed or returned."""
        if isinstance(message, OrderApproved):
            self._approvals.labels(symbol=message.symbol).inc()
        elif isinstance(message, OrderRefused):
            self._refusals.labels(reason=message.reason.value).inc()
        self._halted.set(self._core.is_halted)
