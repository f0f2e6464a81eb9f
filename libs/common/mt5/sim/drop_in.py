"""The simulated package as a module: what ``import MetaTrader5`` is replaced by."""

from types import ModuleType
from typing import Any

from libs.common.mt5.constants import PACKAGE_CONSTANTS
from libs.common.mt5.sim.package import FUNCTIONS, Package
from libs.common.mt5.sim.package_types import TYPES
from libs.common.mt5.sim.port import InProcessPort, TerminalPort, TerminalSide

VERSION = "5.0.6231"
"""The version of the package whose behaviour this is."""


def package_names(package: Package) -> dict[str, Any]:
    """Return every public name of the package: constants, types and the functions of ``package``."""
    return {
        **PACKAGE_CONSTANTS, **TYPES, **{name: getattr(package, name) for name in FUNCTIONS},
        "_RawOrder": package._raw_order,
    }


def as_module(package: Package, name: str = "MetaTrader5") -> ModuleType:
    """Return a module whose functions are the package's.

    Parameters
    ----------
    name : of the module; put it into ``sys.modules`` under that name and ``import`` finds it

    Examples
    --------
    >>> from libs.common.mt5.sim.port import NoTerminal
    >>> mt5 = as_module(Package(NoTerminal()))
    >>> mt5.initialize(), mt5.last_error()
    (False, (-10003, 'IPC initialize failed, MetaTrader 5 x64 not found'))
    """
    module = ModuleType(name, "The MetaTrader5 package over a simulated terminal.")
    names = package_names(package)
    core = ModuleType(f"{name}._core", "What the real package has compiled.")
    vars(core).update({key: value for key, value in names.items() if key not in PACKAGE_CONSTANTS})
    vars(module).update(names, _core=core, __version__=VERSION, __author__="Tickwire contributors", __path__=[])
    return module


def drop_in(terminal: TerminalSide | TerminalPort) -> ModuleType:
    """Return the package as a module over a simulated terminal (or over any way to one).

    Parameters
    ----------
    terminal : a ``SimulatedTerminal``, or a port
    """
    port: Any = terminal if hasattr(terminal, "ask") else InProcessPort(terminal)
    return as_module(Package(port))
