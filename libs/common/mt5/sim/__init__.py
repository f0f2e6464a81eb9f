"""A MetaTrader 5 terminal that runs anywhere: market, account and trade server in one deterministic object."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from libs.common.mt5.sim.events import DealAdded, RequestAnswered, TerminalEvent
    from libs.common.mt5.sim.settings import SymbolTerms, TerminalSettings
    from libs.common.mt5.sim.terminal import SimulatedTerminal
    from libs.common.mt5.sim.treatment import Treatment

__all__ = [
    "DealAdded", "RequestAnswered", "SimulatedTerminal", "SymbolTerms", "TerminalEvent", "TerminalSettings", "Treatment",
]

_HOMES = {
    "DealAdded": "events", "RequestAnswered": "events", "TerminalEvent": "events", "TerminalSettings": "settings",
    "SimulatedTerminal": "terminal", "SymbolTerms": "settings", "Treatment": "treatment",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: a worker speaks the package's half without the terminal's kernels."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
