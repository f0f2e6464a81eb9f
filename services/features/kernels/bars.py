"""Bid bars: built by ``libs/common/trading/kernel_bars.py``, which the simulated terminal uses as well."""

from libs.common.trading.kernel_bars import build_base_bars, build_higher_bars

__all__ = ["build_base_bars", "build_higher_bars"]
