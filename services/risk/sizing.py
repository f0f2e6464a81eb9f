"""How much to trade: stops on the price grid, then the volume whose loss at the stop we are ready to bear.

Only the broker's own rounding is used (``libs.common.trading.instrument``), and volumes are only ever rounded down.
"""

import math
from typing import NamedTuple

from libs.common.messages.features import Prediction
from libs.common.messages.market import Side
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, margin_ccy, profit_ccy
from services.risk.config import RiskConfig


class Stops(NamedTuple):
    """Protective prices on the grid; ``tp`` is 0.0 for none, ``sl`` is 0.0 when no stop can be placed."""

    sl: float
    tp: float


class Size(NamedTuple):
    """A volume and the reason for it.

    Parameters
    ----------
    wished_lots : before rounding to the lot step, lots
    volume_lots : tradable volume, at most ``wished_lots``; 0.0 when that is too small
    bound : what limited it (``risk``, ``volatility``, ``exposure``, ``order_lots``), or why there is none
    """

    wished_lots: float
    volume_lots: float
    bound: str


NO_SIZE = Size(0.0, 0.0, "inputs are missing")


def fixed_fraction_lots(equity_ccy: float, risk_pct: float, loss_ccy_per_lot: float) -> float:
    """Size a position so that its stop costs a fixed share of equity.

    Parameters
    ----------
    equity_ccy : account equity in account currency
    risk_pct : share of equity in percent
    loss_ccy_per_lot : what one lot loses at its stop, costs included, account currency, > 0

    Returns
    -------
    Volume in lots, not yet rounded to the lot step; 0.0 when nothing can be lost or there is nothing to lose.

    Examples
    --------
    >>> fixed_fraction_lots(10_000.0, 0.5, 500.0)
    0.1

    References
    ----------
    Vince (1990), Portfolio Management Formulas, fixed fractional trading.
    """
    if not (equity_ccy > 0.0 and loss_ccy_per_lot > 0.0):
        return 0.0
    return equity_ccy * risk_pct / 100.0 / loss_ccy_per_lot


def volatility_target_lots(equity_ccy: float, target_pct: float, sigma_ccy_per_lot: float) -> float:
    """Size a position so that one standard deviation costs a fixed share of equity.

    Parameters
    ----------
    equity_ccy : account equity in account currency
    target_pct : share of equity in percent
    sigma_ccy_per_lot : standard deviation of one lot over the horizon, account currency, > 0

    Returns
    -------
    Volume in lots, not yet rounded to the lot step; 0.0 when the deviation is not positive.

    Examples
    --------
    >>> volatility_target_lots(10_000.0, 0.25, 250.0)
    0.1
    """
    if not (equity_ccy > 0.0 and sigma_ccy_per_lot > 0.0):
        return 0.0
    return equity_ccy * target_pct / 100.0 / sigma_ccy_per_lot


def place_stops(
    instrument: Instrument, side: Side, bid: float, ask: float, stop_distance: float, target_distance: float
) -> Stops:
    """Turn distances from the entry price into prices the broker accepts.

    Stops nearer than the broker's stops level (measured from the closing side's price) are moved out to it; sizing
    then pays for the wider stop. Distances are rounded up to whole points.

    Parameters
    ----------
    bid, ask : current quote, finite, > 0
    stop_distance, target_distance : from the entry price, price units; a target of 0 means none

    Returns
    -------
    ``sl`` is 0.0 when no distance was given, it is larger than the price, or the stop would lie at or below zero.

    Examples
    --------
    >>> from libs.common.config import InstrumentConfig
    >>> place_stops(Instrument("EURUSD", InstrumentConfig()), Side.BUY, 1.1, 1.10010, 0.001, 0.002)
    Stops(sl=1.0991, tp=1.1021)
    """
    if not (0.0 < stop_distance < bid and 0.0 <= target_distance < bid):
        return Stops(0.0, 0.0)
    sign = side.sign
    entry = instrument.points(ask if sign > 0 else bid)
    closing = instrument.points(bid if sign > 0 else ask)
    least = max(instrument.config.stops_level_points, 1)
    sl_gap = max(_whole_points(instrument, stop_distance), least + abs(entry - closing))
    sl = entry - sign * sl_gap
    tp = 0
    if target_distance > 0.0:
        tp = entry + sign * max(_whole_points(instrument, target_distance), least)
    return Stops(instrument.price(max(sl, 0)), instrument.price(max(tp, 0)))


def _whole_points(instrument: Instrument, distance: float) -> int:
    # A distance of 20.000000000000018 points is 20 points that went through a division.
    return math.ceil(round(distance * 10.0**instrument.digits, 6))


def loss_at_stop_ccy_per_lot(
    instrument: Instrument,
    side: Side,
    worst_entry: float,
    sl: float,
    account_currency: str,
    rates: dict[str, Rate],
) -> float | None:
    """Return what one lot loses when its stop is hit, both commissions included.

    Parameters
    ----------
    worst_entry : the worst price the executor may accept for the entry
    rates : currency -> rate

    Returns
    -------
    Account currency; ``None`` when the profit currency has no rate.
    """
    profit = profit_ccy(instrument, side.sign, 1.0, worst_entry, sl, account_currency, rates)
    return None if profit is None else -profit + 2.0 * instrument.config.commission_per_lot_ccy


def order_size(
    instrument: Instrument,
    prediction: Prediction,
    side: Side,
    price: float,
    sl: float,
    equity_ccy: float,
    account_currency: str,
    rates: dict[str, Rate],
    config: RiskConfig,
) -> Size:
    """Return the volume to trade: the smallest of what each rule allows, rounded down to the lot step.

    Parameters
    ----------
    price : the side's price; the stop is paid for from the worst price within ``max_slippage_points``
    sl : stop loss price on the grid, 0.0 for none (which sizes to nothing)
    """
    if not (sl > 0.0 and math.isfinite(equity_ccy) and math.isfinite(price)):
        return Size(0.0, 0.0, "no stop distance" if sl == 0.0 else "inputs are not finite")
    worst_entry = price + side.sign * config.max_slippage_points * instrument.point
    loss = loss_at_stop_ccy_per_lot(instrument, side, worst_entry, sl, account_currency, rates)
    notional = margin_ccy(instrument, 1.0, price, 1.0, account_currency, rates)
    if loss is None or notional is None or not (math.isfinite(notional) and notional > 0.0):
        return Size(0.0, 0.0, "a conversion rate is missing")
    wishes = {
        "risk": fixed_fraction_lots(equity_ccy, config.risk_per_trade_pct, loss),
        "exposure": max(equity_ccy, 0.0) * config.max_trade_exposure_x / notional,
        "order_lots": config.max_order_lots,
    }
    if config.sizing == "volatility_target":
        sigma = profit_ccy(instrument, -1, 1.0, price, price + prediction.volatility, account_currency, rates)
        wishes["volatility"] = volatility_target_lots(equity_ccy, config.volatility_target_pct, -(sigma or 0.0))
    bound = min(wishes, key=lambda name: (wishes[name], name))
    return Size(wishes[bound], instrument.round_volume_down(wishes[bound]), bound)
