"""An instrument: the only place that rounds prices and volumes."""

import math
from dataclasses import dataclass, field

from libs.common.config import InstrumentConfig

_UNITS_PER_LOT = 100_000_000
"""Volumes are compared as integers of 1e-8 lot, the tolerance brokers grant."""
_POWERS = tuple(10.0**digits for digits in range(9))
_TICK_VALUED = ("futures", "exch_futures", "exch_options", "exch_options_margin")
_BONDS = ("exch_bonds", "exch_bonds_moex")


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol with the broker's specification of it.

    Prices are compared as integer points and volumes as integer units of 1e-8 lot, so that 0.07 / 0.01 is 7. What
    follows from the specification is worked out once: it is asked many times an order.

    Parameters
    ----------
    symbol : canonical symbol
    config : its specification

    Attributes
    ----------
    digits : decimals of a price
    point : size of one point, price units
    is_forex : True when a lot is an amount of another currency (or metal) than the profit's; else a CFD
    tick_size : smallest step of a price, price units: one point unless the broker says otherwise
    value_per_lot : what one lot gains in profit currency when the price rises by 1.0

    Examples
    --------
    >>> eurusd = Instrument("EURUSD", InstrumentConfig())
    >>> eurusd.round_volume_down(0.079)
    0.07
    >>> eurusd.points(1.23456), eurusd.price(123456)
    (123456, 1.23456)
    """

    symbol: str
    config: InstrumentConfig
    digits: int = field(init=False, repr=False, compare=False)
    point: float = field(init=False, repr=False, compare=False)
    is_forex: bool = field(init=False, repr=False, compare=False)
    tick_size: float = field(init=False, repr=False, compare=False)
    value_per_lot: float = field(init=False, repr=False, compare=False)
    _scale: float = field(init=False, repr=False, compare=False)
    _step_units: int = field(init=False, repr=False, compare=False)
    _least_units: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        config = self.config
        scale = _POWERS[config.digits]
        worked_out: dict[str, object] = {
            "digits": config.digits,
            "point": 1 / scale,
            "is_forex": _is_forex(config),
            "tick_size": config.tick_size or 1 / scale,
            "value_per_lot": _value_per_lot(config, config.tick_size or 1 / scale),
            "_scale": scale,
            "_step_units": _units(config.volume_step),
            "_least_units": _units(config.volume_min) - 1,
        }
        for name, value in worked_out.items():
            object.__setattr__(self, name, value)

    def points(self, price: float) -> int:
        """Return the price as the nearest whole number of points.

        Raises
        ------
        ValueError : when the price is not finite
        """
        if not math.isfinite(price):
            raise ValueError(f"{self.symbol}: price {price} has no points")
        return round(price * self._scale)

    def price(self, points: int) -> float:
        """Return the price that many points stand for: the double nearest to the decimal number."""
        return points / self._scale

    def round_price(self, price: float) -> float:
        """Return the nearest price on the grid of points."""
        return self.points(price) / self._scale

    def is_on_price_grid(self, price: float) -> bool:
        """Tell whether the price is a whole number of points (of ticks, where they are larger), to a thousandth."""
        if not math.isfinite(price):
            return False
        if self.config.tick_size:
            ticks = price / self.config.tick_size
            return abs(ticks - round(ticks)) <= 1e-3
        scaled = price * self._scale
        return abs(scaled - round(scaled)) <= 1e-3

    def shift(self, price: float, points: float) -> float:
        """Return the price moved up by so many points (rounded to whole ones)."""
        return self.price(self.points(price) + round(points))

    def round_volume_down(self, lots: float) -> float:
        """Return the largest tradable volume that is not above ``lots``.

        Parameters
        ----------
        lots : wished volume; 1e-8 lot below a step still counts as that step

        Returns
        -------
        A volume on the step grid, at most ``volume_max``; 0.0 when ``lots`` is below ``volume_min`` or not a number.
        """
        if math.isnan(lots):
            return 0.0
        wished = min(lots, self.config.volume_max)
        step = self._step_units
        units = (_units(max(wished, 0.0)) + 1) // step * step
        return units / _UNITS_PER_LOT if units >= self._least_units else 0.0

    def add_volumes(self, lots: float, more_lots: float) -> float:
        """Return the sum of two volumes (the second may be negative) without the dust floats leave behind."""
        return (_units(lots) + _units(more_lots)) / _UNITS_PER_LOT

    def is_valid_volume(self, lots: float) -> bool:
        """Tell whether a broker would take the volume: within the limits and on the step grid."""
        if not math.isfinite(lots) or not 0.0 < lots <= self.config.volume_max + 1e-8:
            return False
        units, step = round(lots * _UNITS_PER_LOT), self._step_units
        beyond = units % step
        return units >= self._least_units and (beyond <= 1 or step - beyond <= 1)

    def is_stop_allowed(self, sign: int, sl: float, tp: float, bid: float, ask: float) -> bool:
        """Tell whether SL and TP lie on the right side and far enough away.

        Parameters
        ----------
        sign : +1 for a buy position (measured from the bid), -1 for a sell position (from the ask)
        sl, tp : prices, 0.0 for none
        bid, ask : current quote; give the order's price as both for a pending order

        Returns
        -------
        False also for a level off the price grid, negative or not finite.
        """
        scale = self._scale
        reference = self.points(bid if sign > 0 else ask)
        least = max(self.config.stops_level_points, 1)
        for level, direction in ((sl, -sign), (tp, sign)):
            if level == 0.0:
                continue
            if level < 0.0 or not self.is_on_price_grid(level):
                return False
            if direction * (round(level * scale) - reference) < least:
                return False
        return True


def _is_forex(config: InstrumentConfig) -> bool:
    if config.calc_mode != "auto":
        return config.calc_mode in ("forex", "forex_no_leverage")
    return config.margin_currency != config.profit_currency


def _value_per_lot(config: InstrumentConfig, tick_size: float) -> float:
    if config.calc_mode in _TICK_VALUED:
        return config.tick_value / tick_size if config.tick_value else config.contract_size
    if config.calc_mode in _BONDS:
        return config.contract_size * config.face_value / 100.0
    return 0.0 if config.calc_mode == "collateral" else config.contract_size


def _units(lots: float) -> int:
    return round(lots * _UNITS_PER_LOT)
