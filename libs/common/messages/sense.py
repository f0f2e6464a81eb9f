"""What a message of the right shape must also say before anybody acts on it.

The types and the codec know what a field may hold; here is what they leave open and no core could live with: a time
that would put everybody's clock out for ever, an order id that is none, ticks whose numbers or times are not theirs.
"""

from collections.abc import Callable
from typing import Any

from libs.common.ids import ORDER_ID
from libs.common.messages import orders
from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock

END_NS = 4_102_444_800_000_000_000
"""Nothing happens in or after this moment (the year 2100): leaves room to reckon with times in 64 bits."""
MAX_PRICE = 1e12
"""No price is higher: points, products and sums of prices stay finite."""
_LAST_TICK = 2**62


def nonsense(message: Message) -> str:
    """Return what makes no sense in a message, empty when all does.

    >>> from libs.common.messages.control import Halt
    >>> nonsense(Halt(ts_event_ns=-1, ts_init_ns=0, command_id="a", issued_by="me", reason="why"))
    'ts_event_ns -1 is no time from 1970 to 2099'
    """
    if not 0 <= message.ts_event_ns < END_NS:
        return f"ts_event_ns {message.ts_event_ns} is no time from 1970 to 2099"
    check = _CHECKS.get(type(message))
    return "" if check is None else check(message)


def _of_ticks(block: TickBlock) -> str:
    if not 1 <= block.first_tick < _LAST_TICK:
        return f"first_tick {block.first_tick} is no number of a tick"
    if block.time_ns[-1] != block.ts_event_ns:
        return f"ts_event_ns {block.ts_event_ns} is not the time of the last tick ({block.time_ns[-1]})"
    if block.time_ns[0] < 0:
        return f"time_ns {block.time_ns[0]} is no time from 1970 to 2099"
    highest = block.ask[0] if len(block) == 1 else block.ask.max()
    if highest > MAX_PRICE:
        return f"ask {highest} is above {MAX_PRICE:g}"
    return ""


def _of_order(order: Any) -> str:
    return "" if ORDER_ID.fullmatch(order.order_id) else f"order_id {order.order_id[:40]!r} is none: hex digits, 12 to 64"


# An approval and the word that it was turned down may name anything: that is what is turned down.
_CHECKS: dict[type[Message], Callable[[Any], str]] = {
    TickBlock: _of_ticks,
    orders.OrderSent: _of_order,
    orders.OrderFilled: _of_order,
    orders.OrderPartiallyFilled: _of_order,
    orders.OrderUnknown: _of_order,
    orders.OrderResolved: _of_order,
}
