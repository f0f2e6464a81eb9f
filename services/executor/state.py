"""Everything the executor's core remembers; its snapshot is exactly this."""

from typing import Any

import msgspec

from libs.common.messages.market import Side
from libs.common.messages.orders import OrderPurpose
from services.executor.broker import Answer, BrokerAccount, BrokerPosition
from services.executor.equity import EquityTrack
from services.executor.order_state import OrderState


class ActiveOrder(msgspec.Struct, kw_only=True, gc=False):
    """An order that is not settled yet.

    Parameters
    ----------
    price : the side's price when approved; slippage is measured from it
    expires_ns : not sent at or after this time; 0 for our own closing orders, which do not expire
    position_id : the position it reduces; 0 for none
    cause : ``approved``, ``horizon`` or ``flatten``
    request : what the broker is asked, exactly as its intent was recorded; empty before that
    filled_lots, filled_value, commission_ccy : sums over its deals (value: lots times price)
    """

    order_id: str
    magic: int
    symbol: str
    side: Side
    lots: float
    price: float
    sl: float
    tp: float
    purpose: OrderPurpose
    position_id: int
    deviation_points: int
    horizon_s: int
    expires_ns: int
    cause: str = "approved"
    request: dict[str, Any] = {}
    state: OrderState = OrderState.APPROVED
    sent_ns: int = 0
    doubt_ns: int = 0
    answer: Answer | None = None
    filled_lots: float = 0.0
    filled_value: float = 0.0
    commission_ccy: float = 0.0
    deal: int = 0
    filled_position_id: int = 0


class KnownOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order id that must never be sent again, and the last state it was seen in; short, as there are many."""

    order_id: str
    state: OrderState


class OwnPosition(msgspec.Struct, kw_only=True, gc=False):
    """What we know of a position of ours beyond what the broker tells.

    Parameters
    ----------
    order_id : the order that opened it; empty when only the broker's books tell of it
    lots : open volume as deals have it
    unclosed_lots : volume whose closing deals have not been heard yet
    stop_distance : distance of its first SL from the entry, price units, 0.0 for none
    deadline_ns : when its time is up, 0 for never
    commission_ccy : opening commission not yet booked to a closed part
    adopted_ns : its volume is as of the broker's books of that time; 0 while deals alone made it
    closing : order id of the reduction on its way; empty for none
    attempts : closing orders of our own so far
    retry_ns : no further closing order before
    moving : key of the change of stops on its way; empty for none
    refused_sl : the stop loss the broker refused last, 0.0 for none
    """

    position_id: int
    order_id: str
    symbol: str
    side: Side
    lots: float
    unclosed_lots: float
    price_open: float
    opened_ns: int
    stop_distance: float
    deadline_ns: int
    commission_ccy: float = 0.0
    adopted_ns: int = 0
    closing: str = ""
    attempts: int = 0
    retry_ns: int = 0
    moving: str = ""
    refused_sl: float = 0.0


class StopsOnTheirWay(msgspec.Struct, frozen=True):
    """A change of stops the broker has not answered yet."""

    position_id: int
    sl: float
    tp: float
    rule: str
    sent_ns: int


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The last quote of a symbol."""

    bid: float
    ask: float


class Counters(msgspec.Struct):
    """Figures for ``tickwire status``."""

    approved: int = 0
    sent: int = 0
    filled: int = 0
    rejected: int = 0
    unknown: int = 0
    resolved: int = 0
    closed: int = 0
    duplicates: int = 0
    forged: int = 0
    foreign_account: int = 0
    strange_ticks: int = 0
    stops_moved: int = 0


class ExecutorState(msgspec.Struct, kw_only=True):
    """The core's memory.

    Parameters
    ----------
    halted : no new risk until a person resumes
    flatten : command id of a flatten in force, else empty; ``flatten_symbol`` limits it to one symbol
    active : orders by id, oldest first
    known : every order there ever was, by magic number
    positions : ours, by position id
    deals : tickets of the deals counted in (a dict for its order; the values mean nothing)
    moving : changes of stops by key; ``moves`` counts them
    foreign : positions of others that were reported
    read_ns : when the books that were read last had been asked for; 0 before the first
    broker_problem : why the broker cannot be read; empty while it can
    next_look_ns : no look into the broker's books before; ``looking`` while an answer is outstanding
    """

    halted: bool = False
    flatten: str = ""
    flatten_symbol: str = ""
    active: dict[str, ActiveOrder] = {}
    known: dict[int, KnownOrder] = {}
    positions: dict[int, OwnPosition] = {}
    deals: dict[int, None] = {}
    quotes: dict[str, Quote] = {}
    moving: dict[str, StopsOnTheirWay] = {}
    moves: int = 0
    foreign: dict[int, None] = {}
    counters: Counters = msgspec.field(default_factory=Counters)
    looking: bool = False
    next_look_ns: int = 0
    looks: int = 0
    read_ns: int = 0
    broker_problem: str = ""
    account_sent_ns: int | None = None
    journal_broken: bool = False


class ExternalState(msgspec.Struct):
    """What is known of a broker outside this process: its last report."""

    account: BrokerAccount | None = None
    positions: tuple[BrokerPosition, ...] = ()
    equity: EquityTrack = msgspec.field(default_factory=EquityTrack)


class CoreSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """State and desk together."""

    state: ExecutorState
    desk: bytes
