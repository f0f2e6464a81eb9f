"""Whether an order may be sent now: asked when it arrives, and again when its intent is on the disk."""

from collections.abc import Iterable, Mapping, Sequence

from libs.common.messages.orders import OrderPurpose
from libs.common.trading.instrument import Instrument
from services.executor.broker import LOTS_TOLERANCE, BrokerPosition, is_ours
from services.executor.state import ActiveOrder, ExecutorState, OwnPosition


def refusal_of(
    order: ActiveOrder,
    state: ExecutorState,
    position: BrokerPosition | None,
    instruments: Mapping[str, Instrument],
    now_ns: int,
) -> str:
    """Return why an order must not be sent; empty when it may.

    Parameters
    ----------
    position : the position of ours that the order reduces or turns round, see ``position_meant``

    Returns
    -------
    ``unknown_symbol``, ``expired``, ``invalid_volume``, ``halted``, ``nothing_to_reduce``, ``would_open``,
    ``already_closing``, ``nothing_to_turn``, or "".
    """
    instrument = instruments.get(order.symbol)
    if instrument is None:
        return "unknown_symbol"
    if order.expires_ns and order.expires_ns <= now_ns:
        return "expired"
    if not instrument.is_valid_volume(order.lots):
        return "invalid_volume"
    if order.purpose is OrderPurpose.REDUCE:
        return _reduce_refusal(order, state, position)
    if state.halted:
        return "halted"
    return _turn_refusal(order, state, position) if order.position_id else ""


def _turn_refusal(order: ActiveOrder, state: ExecutorState, position: BrokerPosition | None) -> str:
    """What is to turn a position round must find it there: without it, all of the volume would be new."""
    if position is None or order.side is not position.side.opposite:
        return "nothing_to_turn"
    own = state.positions.get(position.position_id)
    if order.lots <= open_lots(position, own) + LOTS_TOLERANCE:
        return "nothing_to_turn"
    return "already_closing" if own is not None and own.closing not in ("", order.order_id) else ""


def _reduce_refusal(order: ActiveOrder, state: ExecutorState, position: BrokerPosition | None) -> str:
    """A reduction must name a position of ours and be unable to become anything else."""
    if position is None:
        return "nothing_to_reduce"
    own = state.positions.get(position.position_id)
    if order.side is not position.side.opposite or order.lots > open_lots(position, own) + LOTS_TOLERANCE:
        return "would_open"
    if own is not None and own.closing not in ("", order.order_id):
        return "already_closing"
    return ""


def open_lots(position: BrokerPosition, own: OwnPosition | None) -> float:
    """Return how much of a position can still be closed: a deal may have told of less than the last look showed."""
    if own is None or own.lots >= position.volume_lots - LOTS_TOLERANCE:
        return position.volume_lots
    return round(own.lots, 8)


def position_meant(order: ActiveOrder, own_positions: Sequence[BrokerPosition]) -> BrokerPosition | None:
    """Return the position an order reduces or turns round; without a name only a single one leaves no choice."""
    wanted = order.position_id
    found = [position for position in own_positions if not wanted or position.position_id == wanted]
    return found[0] if len(found) == 1 else None


def ours(
    positions: Iterable[BrokerPosition], state: ExecutorState, namespace: int, symbol: str = ""
) -> list[BrokerPosition]:
    """Return the positions that are ours, of one symbol or of all."""
    return [
        position for position in positions
        if symbol in ("", position.symbol)
        and (is_ours(position.magic, namespace) or position.position_id in state.positions)
    ]
