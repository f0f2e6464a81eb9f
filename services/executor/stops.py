"""Where a position's stop loss should be: break-even and trailing, pure rules on one quote."""

import math
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from libs.common.config import Settings
from libs.common.messages.market import Side
from libs.common.trading.instrument import Instrument


class BreakEven(Settings, frozen=True, kw_only=True):
    """Move the SL to the entry once the profit is large enough.

    Parameters
    ----------
    after : profit that triggers it, in multiples of the position's initial stop distance
    offset_points : how far beyond the entry the SL goes (covers costs)
    """

    after: Annotated[float, Meta(gt=0)] = 1.0
    offset_points: Annotated[int, Meta(ge=0)] = 0


class Trailing(Settings, frozen=True, kw_only=True):
    """Let the SL follow the price at a distance.

    Parameters
    ----------
    distance : between the closing price and the SL, in ``unit``
    after : profit at which it begins, in ``unit``
    unit : ``stop_distances`` (multiples of the initial stop distance) or ``points``
    step_points : least improvement worth a request
    """

    distance: Annotated[float, Meta(gt=0)] = 1.0
    after: Annotated[float, Meta(ge=0)] = 0.0
    unit: Literal["stop_distances", "points"] = "stop_distances"
    step_points: Annotated[int, Meta(gt=0)] = 1


class Protected(NamedTuple):
    """A position as the rules see it.

    Parameters
    ----------
    sl : current stop loss, 0.0 for none
    stop_distance : distance of the first SL from the entry, price units; 0.0 when it had none
    """

    side: Side
    price_open: float
    sl: float
    stop_distance: float


def better_stop(
    position: Protected,
    bid: float,
    ask: float,
    instrument: Instrument,
    break_even: BreakEven | None,
    trailing: Trailing | None,
) -> tuple[float, str] | None:
    """Return the stop loss the rules want now and the rule's name, or None to leave it.

    The result is always closer to the market than the current SL (the protective direction), on the price grid, and
    never nearer to the closing price than the symbol's stops level.

    Parameters
    ----------
    bid, ask : current quote; a buy position closes at the bid

    Returns
    -------
    ``(sl, "break_even" | "trailing")``
    """
    sign = position.side.sign
    close_points = instrument.points(bid if sign > 0 else ask)
    wanted = [
        *_break_even_level(position, close_points, instrument, break_even),
        *_trailing_level(position, close_points, instrument, trailing),
    ]
    if not wanted:
        return None
    level, rule, step = max(wanted, key=lambda candidate: sign * candidate[0])
    nearest = close_points - sign * max(instrument.config.stops_level_points, 1)
    level = min(level, nearest) if sign > 0 else max(level, nearest)
    if position.sl != 0.0 and sign * (level - instrument.points(position.sl)) < step:
        return None
    return (instrument.price(level), rule) if level > 0 else None


def _break_even_level(
    position: Protected, close_points: int, instrument: Instrument, rule: BreakEven | None
) -> list[tuple[int, str, int]]:
    stop_points = position.stop_distance / instrument.point
    if rule is None or stop_points <= 0.0:
        return []
    sign, open_points = position.side.sign, instrument.points(position.price_open)
    if sign * (close_points - open_points) < _whole(rule.after * stop_points):
        return []
    return [(open_points + sign * rule.offset_points, "break_even", 1)]


def _trailing_level(
    position: Protected, close_points: int, instrument: Instrument, rule: Trailing | None
) -> list[tuple[int, str, int]]:
    if rule is None:
        return []
    unit_points = 1.0 if rule.unit == "points" else position.stop_distance / instrument.point
    if unit_points <= 0.0:
        return []
    sign, open_points = position.side.sign, instrument.points(position.price_open)
    if sign * (close_points - open_points) < _whole(rule.after * unit_points):
        return []
    return [(close_points - sign * _whole(rule.distance * unit_points), "trailing", rule.step_points)]


def _whole(points: float) -> int:
    """Round up to whole points, forgiving the dust of the division that made them."""
    return math.ceil(points - 1e-6)
