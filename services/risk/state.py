"""Everything risk remembers; its snapshot is exactly this."""

import math
from typing import Literal

import msgspec

from libs.common.messages.account import AccountSnapshot
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderPurpose


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Last bid and ask of a symbol and when they were made."""

    bid: float
    ask: float
    time_ns: int

    @property
    def is_usable(self) -> bool:
        """True when both prices are finite and positive and not crossed."""
        return math.isfinite(self.ask) and 0.0 < self.bid <= self.ask

    def entry(self, side: Side) -> float:
        """Return the price at which a side opens."""
        return self.ask if side is Side.BUY else self.bid


class OpenOrder(msgspec.Struct, gc=False):
    """An order whose outcome the account does not show yet.

    Parameters
    ----------
    stage : ``approved`` (may expire), ``sent`` (the broker has it), ``unknown``, ``settled`` (executed, waiting for an
        account snapshot that shows it)
    position_id : the position it reduces or turns round, or the one it opened once that is known
    expires_ns : of the approval
    settled_ns : when it was executed
    before_lots : the symbol's net position when it was approved, negative for sold; ``None`` where nobody noted it
    """

    order_id: str
    symbol: str
    side: Side
    purpose: OrderPurpose
    volume_lots: float
    position_id: int
    expires_ns: int
    stage: Literal["approved", "sent", "unknown", "settled"] = "approved"
    settled_ns: int = 0
    before_lots: float | None = None


class RecentOrder(msgspec.Struct, frozen=True, gc=False):
    """An approval given lately: what the rate and repetition checks look at."""

    order_id: str
    symbol: str
    side: Side
    purpose: OrderPurpose
    price: float
    approved_ns: int


class HaltState(msgspec.Struct, frozen=True):
    """Why nothing new is opened, since when."""

    reason: str
    detail: str
    since_ns: int


class BookState(msgspec.Struct):
    """Everything risk remembers; this is what a snapshot holds.

    Parameters
    ----------
    own_keys : the magic keys (first 48 bits of the order id) of positions that our orders opened; keys of positions
        long gone are dropped once there are twice as many as were needed (``keys_needed``) the last time
    peak_equity_ccy : highest equity since the start, or since a person accepted a drawdown
    accepted_peak_ccy : the account's own peak at that acceptance; it counts again only when exceeded
    commands : ids of commands obeyed, so that a repeated one does nothing
    flattening : our positions are being closed because a limit tripped
    """

    quotes: dict[str, Quote] = {}
    account: AccountSnapshot | None = None
    orders: dict[str, OpenOrder] = {}
    recent: list[RecentOrder] = []
    own_keys: dict[int, bool] = {}
    keys_needed: int = 0
    halt: HaltState | None = None
    flattening: bool = False
    peak_equity_ccy: float = 0.0
    accepted_peak_ccy: float = 0.0
    commands: dict[str, bool] = {}
    approved: int = 0
    refused: dict[str, int] = {}
    no_direction: int = 0
