"""The simulated MetaTrader 5 as a module: ``from tickwire import mt5`` instead of ``import MetaTrader5 as mt5``.

The synthetic market of EURUSD and XAUUSD, by the wall's clock, with a history of two days. For your own ticks, another
account, or time that passes as fast as the program asks, run the program with ``tickwire mt5-sim run`` or open a market
of your own with ``tickwire.mt5_market.open_market``.
"""

from typing import Any

from tickwire.mt5_market import MarketOptions, open_market

_module = open_market(MarketOptions(clock="wall")).module
globals().update({name: value for name, value in vars(_module).items() if not name.startswith("__")})


def __getattr__(name: str) -> Any:
    """Say what the package would: there is no such name."""
    raise AttributeError(f"module 'MetaTrader5' has no attribute {name!r}")
