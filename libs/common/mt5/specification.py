"""The broker's word on a symbol against our own configuration of it."""

import math
from enum import StrEnum

import msgspec

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import SymbolInfo


class Weight(StrEnum):
    """What a difference means: WRONG makes prices, sizes or profits wrong; COSTS only makes figures less exact."""

    WRONG = "wrong"
    COSTS = "costs"


class Difference(msgspec.Struct, frozen=True):
    """One key of ``instruments.<symbol>`` that is not what the broker says.

    Parameters
    ----------
    key : of ``InstrumentConfig``
    configured, broker : the two values
    """

    key: str
    configured: float | str
    broker: float | str
    weight: Weight

    def __str__(self) -> str:
        return f"{self.key} is {self.configured}, the broker says {self.broker}"


def differences(config: InstrumentConfig, info: SymbolInfo) -> tuple[Difference, ...]:
    """Return where a configuration and a broker's symbol differ; what the broker leaves empty is not compared."""
    found = []
    for key, broker, weight in (
        ("digits", info.digits, Weight.WRONG),
        ("contract_size", info.trade_contract_size, Weight.WRONG),
        ("profit_currency", info.currency_profit, Weight.WRONG),
        ("margin_currency", info.currency_margin, Weight.WRONG),
        ("volume_min", info.volume_min, Weight.WRONG),
        ("volume_max", info.volume_max, Weight.COSTS),
        ("volume_step", info.volume_step, Weight.WRONG),
        ("stops_level_points", info.trade_stops_level, Weight.COSTS),
    ):
        configured = getattr(config, key)
        if broker in ("", 0, 0.0) and key not in ("digits", "stops_level_points"):
            continue
        if _differ(configured, broker):
            found.append(Difference(key, configured, broker, weight))
    if info.swap_mode == mt5.SYMBOL_SWAP_MODE_POINTS:
        for key, swap in (("swap_long_points", info.swap_long), ("swap_short_points", info.swap_short)):
            if _differ(getattr(config, key), swap):
                found.append(Difference(key, getattr(config, key), swap, Weight.COSTS))
    if info.trade_tick_size and _differ(info.trade_tick_size, info.point):
        # Rounding to points would not always hit the broker's grid.
        found.append(Difference("tick size", config.point, info.trade_tick_size, Weight.COSTS))
    return tuple(found)


def instrument_of(info: SymbolInfo, like: InstrumentConfig | None = None) -> InstrumentConfig:
    """Return the configuration that says what the broker says; what it does not tell is taken from ``like``."""
    base = like or InstrumentConfig()
    in_points = info.swap_mode == mt5.SYMBOL_SWAP_MODE_POINTS
    return msgspec.structs.replace(
        base,
        digits=info.digits,
        contract_size=info.trade_contract_size or base.contract_size,
        profit_currency=info.currency_profit or base.profit_currency,
        margin_currency=info.currency_margin or base.margin_currency,
        volume_min=info.volume_min or base.volume_min,
        volume_max=info.volume_max or base.volume_max,
        volume_step=info.volume_step or base.volume_step,
        stops_level_points=info.trade_stops_level,
        swap_long_points=info.swap_long if in_points else base.swap_long_points,
        swap_short_points=info.swap_short if in_points else base.swap_short_points,
    )


def _differ(ours: float | str, theirs: float | str) -> bool:
    if isinstance(ours, str) or isinstance(theirs, str):
        return ours != theirs
    return not math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)
