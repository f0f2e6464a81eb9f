"""What an answer of the terminal means for an order: one table, nothing left to judgement elsewhere."""

from enum import StrEnum

from libs.common.mt5 import constants as mt5


class Outcome(StrEnum):
    """What became of a request.

    ``DONE`` executed whole; ``PARTIAL`` executed in part, the rest is cancelled; ``PLACED`` accepted, follow the
    order; ``REJECTED`` definitely not executed; ``RETRY_SAFE`` definitely not executed and a new attempt with a
    fresh price may succeed; ``UNKNOWN`` nobody can say: never resend, look it up.
    """

    DONE = "done"
    PARTIAL = "partial"
    PLACED = "placed"
    REJECTED = "rejected"
    RETRY_SAFE = "retry_safe"
    UNKNOWN = "unknown"


OUTCOMES: dict[int, Outcome] = {
    mt5.TRADE_RETCODE_REQUOTE: Outcome.RETRY_SAFE,
    mt5.TRADE_RETCODE_REJECT: Outcome.REJECTED,
    mt5.TRADE_RETCODE_CANCEL: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_PLACED: Outcome.PLACED,
    mt5.TRADE_RETCODE_DONE: Outcome.DONE,
    mt5.TRADE_RETCODE_DONE_PARTIAL: Outcome.PARTIAL,
    mt5.TRADE_RETCODE_ERROR: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_TIMEOUT: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_INVALID: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_VOLUME: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_PRICE: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_STOPS: Outcome.REJECTED,
    mt5.TRADE_RETCODE_TRADE_DISABLED: Outcome.REJECTED,
    mt5.TRADE_RETCODE_MARKET_CLOSED: Outcome.REJECTED,
    mt5.TRADE_RETCODE_NO_MONEY: Outcome.REJECTED,
    mt5.TRADE_RETCODE_PRICE_CHANGED: Outcome.RETRY_SAFE,
    mt5.TRADE_RETCODE_PRICE_OFF: Outcome.RETRY_SAFE,
    mt5.TRADE_RETCODE_INVALID_EXPIRATION: Outcome.REJECTED,
    # "Order state changed": to what, only the books can tell.
    mt5.TRADE_RETCODE_ORDER_CHANGED: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS: Outcome.RETRY_SAFE,
    mt5.TRADE_RETCODE_NO_CHANGES: Outcome.REJECTED,
    mt5.TRADE_RETCODE_SERVER_DISABLES_AT: Outcome.REJECTED,
    mt5.TRADE_RETCODE_CLIENT_DISABLES_AT: Outcome.REJECTED,
    mt5.TRADE_RETCODE_LOCKED: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_FROZEN: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_FILL: Outcome.REJECTED,
    mt5.TRADE_RETCODE_CONNECTION: Outcome.UNKNOWN,
    mt5.TRADE_RETCODE_ONLY_REAL: Outcome.REJECTED,
    mt5.TRADE_RETCODE_LIMIT_ORDERS: Outcome.REJECTED,
    mt5.TRADE_RETCODE_LIMIT_VOLUME: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_ORDER: Outcome.REJECTED,
    mt5.TRADE_RETCODE_POSITION_CLOSED: Outcome.REJECTED,
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: Outcome.REJECTED,
    mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST: Outcome.REJECTED,
    mt5.TRADE_RETCODE_LIMIT_POSITIONS: Outcome.REJECTED,
    mt5.TRADE_RETCODE_REJECT_CANCEL: Outcome.REJECTED,
    mt5.TRADE_RETCODE_LONG_ONLY: Outcome.REJECTED,
    mt5.TRADE_RETCODE_SHORT_ONLY: Outcome.REJECTED,
    mt5.TRADE_RETCODE_CLOSE_ONLY: Outcome.REJECTED,
    mt5.TRADE_RETCODE_FIFO_CLOSE: Outcome.REJECTED,
    mt5.TRADE_RETCODE_HEDGE_PROHIBITED: Outcome.REJECTED,
}
"""Outcome of every code a server may answer with, unless ``BY_ACTION`` knows better for the action asked for."""

_CHANGES = (mt5.TRADE_ACTION_SLTP, mt5.TRADE_ACTION_MODIFY)

BY_ACTION: dict[tuple[int, int], Outcome] = {
    # What was asked for is so already.
    **{(action, mt5.TRADE_RETCODE_NO_CHANGES): Outcome.DONE for action in _CHANGES},
    # A pending order that was taken is not executed: follow it.
    (mt5.TRADE_ACTION_PENDING, mt5.TRADE_RETCODE_DONE): Outcome.PLACED,
    (mt5.TRADE_ACTION_PENDING, mt5.TRADE_RETCODE_DONE_PARTIAL): Outcome.PLACED,
    # There is no half of a change or of a removal: whether it is in force, only the books can tell.
    **{
        (action, mt5.TRADE_RETCODE_DONE_PARTIAL): Outcome.UNKNOWN
        for action in (*_CHANGES, mt5.TRADE_ACTION_REMOVE)
    },
}
"""(action, code) -> outcome where it depends on what was asked."""

ACTIONS = (
    mt5.TRADE_ACTION_DEAL, mt5.TRADE_ACTION_PENDING, mt5.TRADE_ACTION_SLTP, mt5.TRADE_ACTION_MODIFY,
    mt5.TRADE_ACTION_REMOVE, mt5.TRADE_ACTION_CLOSE_BY,
)
"""Everything a terminal can be asked to do."""

COMMENTS: dict[int, str] = {
    mt5.TRADE_RETCODE_REQUOTE: "Requote",
    mt5.TRADE_RETCODE_REJECT: "Request rejected",
    mt5.TRADE_RETCODE_PLACED: "Request placed",
    mt5.TRADE_RETCODE_DONE: "Request executed",
    mt5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    mt5.TRADE_RETCODE_INVALID: "Invalid request",
    mt5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    mt5.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    mt5.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    mt5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    mt5.TRADE_RETCODE_NO_MONEY: "No money",
    mt5.TRADE_RETCODE_PRICE_OFF: "No prices",
    mt5.TRADE_RETCODE_INVALID_EXPIRATION: "Invalid expiration",
    mt5.TRADE_RETCODE_NO_CHANGES: "No changes",
    mt5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
    mt5.TRADE_RETCODE_INVALID_ORDER: "Invalid order",
    mt5.TRADE_RETCODE_POSITION_CLOSED: "Position doesn't exist",
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Invalid close volume",
}
"""Text that goes with a code, where the terminal is known to send one."""

_NOT_SENT_ERRORS = {mt5.RES_E_AUTO_TRADING_DISABLED, mt5.RES_E_INTERNAL_FAIL_CONNECT, mt5.RES_E_INTERNAL_FAIL_INIT}


def outcome_of(retcode: int, action: int = mt5.TRADE_ACTION_DEAL) -> Outcome:
    """Return what a server's code means for the request; a code nobody knows is ``UNKNOWN``.

    Parameters
    ----------
    retcode : ``OrderSendResult.retcode``
    action : of the request
    """
    by_action = BY_ACTION.get((action, retcode))
    return OUTCOMES.get(retcode, Outcome.UNKNOWN) if by_action is None else by_action


def outcome_of_error(code: int, text: str) -> Outcome:
    """Return what it means when ``order_send`` gave ``None`` and ``last_error()`` says this.

    Parameters
    ----------
    code, text : of ``last_error()``; the package's own refusal of an argument (-2 without the prefix ``Terminal:``)
        and a missing connection prove that nothing was sent, everything else proves nothing
    """
    if code in _NOT_SENT_ERRORS:
        return Outcome.REJECTED
    if code == mt5.RES_E_INVALID_PARAMS and not text.startswith("Terminal:"):
        return Outcome.REJECTED
    return Outcome.UNKNOWN
