"""What the market said: tick blocks, closed bars, the state of a feed."""

from copy import copy
from enum import StrEnum

from msgspec import field, structs

from libs.common.messages.base import NO_FLOATS, NO_INTS, Floats, Ints, Message

_ALWAYS = ("time_ns", "bid", "ask")
_WHERE_THE_FEED_HAS_THEM = ("last", "volume", "flags", "bid_lots", "ask_lots")


def no_floats() -> Floats:
    """Return the empty column: the feed does not carry this value."""
    return NO_FLOATS


def no_ints() -> Ints:
    """Return the empty column: the feed does not carry this value."""
    return NO_INTS


class TickBlock(Message, frozen=True, kw_only=True, eq=False):
    """One or more consecutive ticks of one symbol, as columns of equal length.

    ``ts_event_ns`` of the block is the time of its last tick.

    Parameters
    ----------
    symbol : canonical symbol
    first_tick : number of the block's first tick within the symbol, counted from 1 without holes
    time_ns : (n,) when each tick happened, ns UTC, never falling
    bid, ask : (n,) prices, finite, > 0, bid <= ask
    last, volume : (n,) last trade price and its volume in lots; **empty** where the feed has none
    flags : (n,) MetaTrader tick flags; **empty** where the feed has none
    bid_lots, ask_lots : (n,) volume offered at the best bid and ask, lots; **empty** where the feed has no depth
    """

    symbol: str
    first_tick: int
    time_ns: Ints
    bid: Floats
    ask: Floats
    last: Floats = field(default_factory=no_floats)
    volume: Floats = field(default_factory=no_floats)
    flags: Ints = field(default_factory=no_ints)
    bid_lots: Floats = field(default_factory=no_floats)
    ask_lots: Floats = field(default_factory=no_floats)

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        if n == 0:
            raise ValueError("a tick block holds at least one tick")
        for name in ("bid", "ask"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"column {name} has {len(getattr(self, name))} values, time_ns has {n}")
        for name in _WHERE_THE_FEED_HAS_THEM:
            column = getattr(self, name)
            if column is not NO_FLOATS and column is not NO_INTS and len(column) not in (0, n):
                raise ValueError(f"column {name} has {len(getattr(self, name))} values, expected 0 or {n}")
        if n == 1:
            # The live case; a numpy reduction costs more than all the rest of a tick's way through the codec.
            if not 0.0 < self.bid[0] <= self.ask[0]:
                raise ValueError("prices must satisfy 0 < bid <= ask; ingest quarantines the others")
            return
        if (self.bid <= 0.0).any() or (self.ask < self.bid).any():
            raise ValueError("prices must satisfy 0 < bid <= ask; ingest quarantines the others")
        if (self.time_ns[1:] < self.time_ns[:-1]).any():
            raise ValueError("time_ns falls")

    def __len__(self) -> int:
        return len(self.time_ns)

    def part(self, start: int, end: int) -> "TickBlock":
        """Return the ticks from one offset to another, at least one; what was checked once is not checked again."""
        part, end_ns = copy(self), int(self.time_ns[end - 1])
        set_field = structs.force_setattr
        set_field(part, "ts_event_ns", end_ns)
        set_field(part, "ts_init_ns", end_ns)
        set_field(part, "first_tick", self.first_tick + start)
        for name in _ALWAYS:
            set_field(part, name, getattr(self, name)[start:end])
        for name in _WHERE_THE_FEED_HAS_THEM:
            column = getattr(self, name)
            if len(column):
                set_field(part, name, column[start:end])
        return part


class Bar(Message, frozen=True, kw_only=True):
    """A closed bar of bid prices.

    ``ts_event_ns`` is when it became visible: the time of the first tick at or after its close.

    Parameters
    ----------
    timeframe_s : length in seconds
    open_ns : start of the bar, ns UTC
    open, high, low, close : bid prices
    spread_mean : mean of ask - bid over the bar, price units
    tick_count : ticks in the bar
    """

    symbol: str
    timeframe_s: int
    open_ns: int
    open: float
    high: float
    low: float
    close: float
    spread_mean: float
    tick_count: int


class FeedStatus(Message, frozen=True, kw_only=True):
    """What ingest thinks of one symbol's feed, published when it changes and every few seconds.

    Parameters
    ----------
    last_tick_ns : time of the last good tick, ns UTC
    ticks : good ticks passed on since the start
    quarantined : ticks kept back since the start, by rule (crossed, locked, non_positive, non_finite,
        out_of_order, time_jump, duplicate, spike)
    gaps : times the feed fell silent longer than it should
    stale : True while no good tick has come for longer than the limit, or the feed is known to be down
    finished : True when a replay has sent its last tick
    reason : why it is stale: ``silent`` (nothing says why), ``disconnected`` (the terminal has lost its broker),
        ``unreachable`` (the terminal does not answer), ``missing`` (it no longer knows the symbol), ``clock`` (what
        its times mean is being found out); empty while it is not
    """

    symbol: str
    last_tick_ns: int
    ticks: int
    quarantined: dict[str, int]
    gaps: int
    stale: bool
    finished: bool = False
    reason: str = ""


class Side(StrEnum):
    """Which way a position or an order points.

    Attributes
    ----------
    sign : +1 for buy, -1 for sell
    opposite : the other side
    """

    BUY = "buy"
    SELL = "sell"

    sign: int
    opposite: "Side"


# Attributes, not properties: they are asked for many times an order.
Side.BUY.sign, Side.SELL.sign = 1, -1
Side.BUY.opposite, Side.SELL.opposite = Side.SELL, Side.BUY
