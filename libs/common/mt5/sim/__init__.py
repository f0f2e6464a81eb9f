"""A MetaTrader 5 terminal that runs anywhere: market, account and trade server in one deterministic object."""

from libs.common.mt5.sim.events import DealAdded, RequestAnswered, TerminalEvent
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal

__all__ = ["DealAdded", "RequestAnswered", "SimulatedTerminal", "TerminalEvent", "TerminalSettings"]
