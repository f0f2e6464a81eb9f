"""The life of an order as one transition table; what the table does not hold is a bug."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class OrderState(StrEnum):
    """Where an order stands."""

    APPROVED = "approved"
    RECORDED = "recorded"
    SENT = "sent"
    FILLED = "filled"
    PARTIALLY_FILLED = "partially_filled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RESOLVED_EXECUTED = "resolved_executed"
    RESOLVED_NOT_EXECUTED = "resolved_not_executed"


class Happening(StrEnum):
    """What can happen to an order.

    ``RECORD`` the intent lies in the journal; ``REFUSE`` we ourselves will not send it; ``SEND`` it was handed over;
    ``FILL``, ``PARTIAL``, ``REJECT`` the broker said so; ``DOUBT`` nobody can say; ``FIND`` the broker's records
    prove an execution; ``RULE_OUT`` they prove there was none.
    """

    RECORD = "record"
    REFUSE = "refuse"
    SEND = "send"
    FILL = "fill"
    PARTIAL = "partial"
    REJECT = "reject"
    DOUBT = "doubt"
    FIND = "find"
    RULE_OUT = "rule_out"


TRANSITIONS: Mapping[tuple[OrderState, Happening], OrderState] = MappingProxyType({
    (OrderState.APPROVED, Happening.RECORD): OrderState.RECORDED,
    (OrderState.APPROVED, Happening.REFUSE): OrderState.REJECTED,
    # The journal says an earlier life of ours handed it over already.
    (OrderState.APPROVED, Happening.DOUBT): OrderState.UNKNOWN,
    (OrderState.RECORDED, Happening.REFUSE): OrderState.REJECTED,
    (OrderState.RECORDED, Happening.SEND): OrderState.SENT,
    (OrderState.SENT, Happening.FILL): OrderState.FILLED,
    (OrderState.SENT, Happening.PARTIAL): OrderState.PARTIALLY_FILLED,
    (OrderState.SENT, Happening.REJECT): OrderState.REJECTED,
    (OrderState.SENT, Happening.DOUBT): OrderState.UNKNOWN,
    (OrderState.UNKNOWN, Happening.FIND): OrderState.RESOLVED_EXECUTED,
    (OrderState.UNKNOWN, Happening.RULE_OUT): OrderState.RESOLVED_NOT_EXECUTED,
    # A broker may contradict itself minutes later; its deal is the truth.
    (OrderState.REJECTED, Happening.FIND): OrderState.RESOLVED_EXECUTED,
    (OrderState.PARTIALLY_FILLED, Happening.FIND): OrderState.RESOLVED_EXECUTED,
    (OrderState.RESOLVED_NOT_EXECUTED, Happening.FIND): OrderState.RESOLVED_EXECUTED,
})
"""Every change of state there is. None leads from a later state back to ``SENT``: nothing is ever sent twice."""

SETTLED: frozenset[OrderState] = frozenset({
    OrderState.FILLED, OrderState.PARTIALLY_FILLED, OrderState.REJECTED,
    OrderState.RESOLVED_EXECUTED, OrderState.RESOLVED_NOT_EXECUTED,
})
"""States in which the executor waits for nothing more."""


class IllegalTransition(AssertionError):
    """The core asked for a change of state that does not exist: a bug in the core."""


def next_state(state: OrderState, happening: Happening) -> OrderState:
    """Return the state that follows.

    Raises
    ------
    IllegalTransition : when the table holds no such change

    Examples
    --------
    >>> next_state(OrderState.RECORDED, Happening.SEND).value
    'sent'
    """
    try:
        return TRANSITIONS[state, happening]
    except KeyError:
        raise IllegalTransition(f"an order that is {state} cannot {happening}") from None
