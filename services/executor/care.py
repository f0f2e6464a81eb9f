"""Care for open positions: which are to be closed, which stop losses are to move."""

from collections.abc import Iterable
from typing import NamedTuple

from libs.common.ids import derived_id, magic_of
from libs.common.messages.orders import OrderPurpose
from libs.common.trading.instrument import Instrument
from services.executor.admission import open_lots
from services.executor.broker import BrokerPosition
from services.executor.config import ExecutorConfig
from services.executor.state import ActiveOrder, ExecutorState, OwnPosition
from services.executor.stops import Protected, better_stop


def due_positions(state: ExecutorState, symbol: str, now_ns: int) -> list[OwnPosition]:
    """Return the positions to close now: those of the symbol whose time is up, and all a flatten means.

    A position that a reduction is on its way for, or whose last one was refused a moment ago, is left out.
    """
    return [
        own for own in state.positions.values()
        if not own.closing and own.lots > 0.0 and own.retry_ns <= now_ns
        and (
            (state.flatten and state.flatten_symbol in ("", own.symbol))
            or (own.symbol == symbol and 0 < own.deadline_ns <= now_ns)
        )
    ]


def closing_order(
    own: OwnPosition, position: BrokerPosition, state: ExecutorState, config: ExecutorConfig
) -> ActiveOrder:
    """Return our own order that closes a position; its id follows from what caused it and the attempt."""
    cause, by = ("flatten", state.flatten) if state.flatten else ("horizon", own.order_id)
    own.attempts += 1
    order_id = derived_id(cause, by, own.position_id, own.attempts)
    side = position.side.opposite
    quote = state.quotes.get(own.symbol)
    price = 0.0 if quote is None else quote.ask if side.sign > 0 else quote.bid
    return ActiveOrder(
        order_id=order_id, magic=magic_of(order_id, config.namespace), symbol=own.symbol, side=side,
        lots=open_lots(position, own), price=price, sl=0.0, tp=0.0, purpose=OrderPurpose.REDUCE,
        position_id=own.position_id, deviation_points=config.close_slippage_points, horizon_s=0, expires_ns=0,
        cause=cause,
    )


class StopMove(NamedTuple):
    """A stop loss that should be elsewhere."""

    own: OwnPosition
    position: BrokerPosition
    sl: float
    rule: str


def stop_moves(
    state: ExecutorState, positions: Iterable[BrokerPosition], instrument: Instrument, config: ExecutorConfig
) -> list[StopMove]:
    """Return the stop losses of one symbol that break-even and trailing want moved, on its last quote."""
    quote = state.quotes[instrument.symbol]
    moves = []
    for position in positions:
        own = state.positions.get(position.position_id)
        if own is None or own.closing or own.moving:
            continue
        protected = Protected(position.side, position.price_open, position.sl, own.stop_distance)
        wanted = better_stop(protected, quote.bid, quote.ask, instrument, config.break_even, config.trailing)
        if wanted is not None and wanted[0] != own.refused_sl:
            moves.append(StopMove(own, position, *wanted))
    return moves
