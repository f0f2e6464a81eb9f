"""What Expert Advisors and services say to each other (``mql/PROTOCOL.md``).

An Expert Advisor speaks of its terminal in the terminal's own words: broker symbols, MetaTrader's field names and
numbers, and times of the broker's server clock written as if they were UTC (``_s``, ``_msc``). Whoever listens
translates. Answers to requests go to the asker's inbox, so they are no messages with a subject of their own.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from libs.common.messages.base import Floats, Ints, Message

PROTOCOL = 1
"""The version spoken here; version 0 is the bar-and-answer dialogue of older Expert Advisors."""
MAX_TICKS = 4_096
"""Most ticks in one message of an Expert Advisor."""


class EaMessage(Message, frozen=True, kw_only=True):
    """What every message of an Expert Advisor carries.

    ``ts_event_ns`` and ``ts_init_ns`` are the clock of the terminal's computer, UTC; ``seq`` counts the messages of
    one subject within one ``instance``.

    Parameters
    ----------
    protocol : version of the protocol
    account : account key the Expert Advisor was given
    instance : unique per start of the Expert Advisor
    """

    protocol: int
    account: str
    instance: str


class EaHello(EaMessage, frozen=True, kw_only=True):
    """Who speaks: sent on every (re)connection and every minute.

    Parameters
    ----------
    program, program_version : name and version of the Expert Advisor
    build : of the terminal
    login, server, currency, company : the trading account
    trade_mode : 0 demo, 1 contest, 2 real
    margin_mode : 0 netting, 1 exchange, 2 hedging
    leverage : of the account
    symbols : broker symbols it publishes
    max_lots, max_positions, max_daily_loss_pct : its own hard limits, 0 for none
    dead_man_s : silence of risk after which it opens nothing
    signed : True when it takes orders with the right message code only
    """

    program: str
    program_version: str
    build: int
    login: int
    server: str
    currency: str
    company: str
    trade_mode: int
    margin_mode: int
    leverage: int
    symbols: tuple[str, ...]
    max_lots: float
    max_positions: int
    max_daily_loss_pct: float
    dead_man_s: float
    signed: bool


class EaHeartbeat(EaMessage, frozen=True, kw_only=True):
    """The Expert Advisor is alive; sent every second.

    Parameters
    ----------
    connected : the terminal reaches the broker
    trade_allowed : algorithmic trading is allowed by terminal, account and program
    blocked : why it opens nothing now: ``kill_file``, ``dead_man``, ``daily_loss``, ``max_positions``,
        ``trading_disabled``, ``not_connected``, ``table_broken``; empty when it would
    time_server_s, time_gmt_s : the broker's clock and the computer's, seconds
    risk_age_s : since risk's last heartbeat, -1 before the first
    equity_ccy : account currency
    positions : open positions of the account
    orders : orders executed since the start
    ticks : ticks published since the start, by broker symbol
    """

    connected: bool
    trade_allowed: bool
    blocked: str
    time_server_s: int
    time_gmt_s: int
    risk_age_s: float
    equity_ccy: float
    positions: int
    orders: int
    ticks: dict[str, int]


class EaTicks(EaMessage, frozen=True, kw_only=True, eq=False):
    """Consecutive ticks of one broker symbol, as columns of equal length.

    Parameters
    ----------
    symbol : broker symbol
    first : number of the first tick within symbol and instance, from 1 without holes
    after_msc, after_count : where these ticks go on: time of the tick before them (0: none), and how many ticks of
        that very millisecond were given out
    time_msc : (n,) server clock, milliseconds, never falling
    bid, ask, last, volume : (n,) as the terminal has them
    flags : (n,) MetaTrader tick flags
    """

    symbol: str
    first: int
    after_msc: int
    after_count: int
    time_msc: Ints
    bid: Floats
    ask: Floats
    last: Floats
    volume: Floats
    flags: Ints

    def __post_init__(self) -> None:
        check_columns(self, "time_msc", ("bid", "ask", "last", "volume", "flags"))


class EaBars(EaMessage, frozen=True, kw_only=True, eq=False):
    """Closed bars of one broker symbol, oldest first.

    Parameters
    ----------
    symbol : broker symbol
    timeframe_s : length in seconds
    time_s : (n,) open time, server clock, seconds
    open, high, low, close : (n,) bid prices
    tick_volume, spread : (n,) ticks in the bar; spread, points
    """

    symbol: str
    timeframe_s: int
    time_s: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    tick_volume: Ints
    spread: Ints

    def __post_init__(self) -> None:
        check_columns(self, "time_s", ("open", "high", "low", "close", "tick_volume", "spread"))


class EaSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a weekday.

    Parameters
    ----------
    day : 0 Sunday .. 6 Saturday
    from_s, to_s : seconds of the day, server clock
    """

    day: int
    from_s: int
    to_s: int


class EaSpecification(EaMessage, frozen=True, kw_only=True):
    """What the broker says of a symbol: with every hello, and when it changes.

    Parameters
    ----------
    symbol : broker symbol
    digits, point : decimals and size of a point
    contract_size, tick_size, tick_value : as the broker defines them
    volume_min, volume_max, volume_step, volume_limit : lots
    stops_level, freeze_level : points
    filling_mode, execution_mode, calc_mode, trade_mode, expiration_mode, order_mode : MetaTrader's numbers and flags
    swap_mode, swap_long, swap_short, swap_rollover_day : overnight interest
    currency_base, currency_profit, currency_margin : currencies
    path, description : the broker's texts
    quote_sessions, trade_sessions : when it quotes and trades
    """

    symbol: str
    digits: int
    point: float
    contract_size: float
    tick_size: float
    tick_value: float
    volume_min: float
    volume_max: float
    volume_step: float
    volume_limit: float
    stops_level: int
    freeze_level: int
    filling_mode: int
    execution_mode: int
    calc_mode: int
    trade_mode: int
    expiration_mode: int
    order_mode: int
    swap_mode: int
    swap_long: float
    swap_short: float
    swap_rollover_day: int
    currency_base: str
    currency_profit: str
    currency_margin: str
    path: str
    description: str
    quote_sessions: tuple[EaSession, ...]
    trade_sessions: tuple[EaSession, ...]


class EaCalendarValue(msgspec.Struct, frozen=True, kw_only=True):
    """One release of the economic calendar.

    Parameters
    ----------
    value_id, event_id : the terminal's ids
    time_s : server clock, seconds
    importance : 0 none .. 3 high
    actual, forecast, previous : figures in the event's unit, null where unknown
    """

    value_id: int
    event_id: int
    time_s: int
    currency: str
    country: str
    name: str
    importance: int
    actual: float | None
    forecast: float | None
    previous: float | None


class EaCalendar(EaMessage, frozen=True, kw_only=True):
    """Releases from yesterday to a week ahead; again whenever one of them changed.

    Parameters
    ----------
    values : in order of time
    """

    values: tuple[EaCalendarValue, ...]


class EaPosition(msgspec.Struct, frozen=True, kw_only=True):
    """An open position, with MetaTrader's names and numbers."""

    ticket: int
    identifier: int
    time_msc: int
    type: int
    magic: int
    reason: int
    volume: float
    price_open: float
    price_current: float
    sl: float
    tp: float
    swap: float
    profit: float
    symbol: str
    comment: str


class EaWorkingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order, working or in the history, with MetaTrader's names and numbers."""

    ticket: int
    time_setup_msc: int
    time_done_msc: int
    type: int
    type_time: int
    type_filling: int
    state: int
    magic: int
    position_id: int
    position_by_id: int
    reason: int
    volume_initial: float
    volume_current: float
    price_open: float
    price_stoplimit: float
    sl: float
    tp: float
    symbol: str
    comment: str


class EaDeal(msgspec.Struct, frozen=True, kw_only=True):
    """A deal, with MetaTrader's names and numbers."""

    ticket: int
    order: int
    time_msc: int
    type: int
    entry: int
    magic: int
    position_id: int
    reason: int
    volume: float
    price: float
    commission: float
    swap: float
    profit: float
    fee: float
    symbol: str
    comment: str


class EaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The account's figures, with MetaTrader's names."""

    login: int
    server: str
    currency: str
    company: str
    trade_mode: int
    margin_mode: int
    trade_allowed: bool
    trade_expert: bool
    leverage: int
    balance: float
    credit: float
    profit: float
    equity: float
    margin: float
    margin_free: float


class EaAccount(EaMessage, frozen=True, kw_only=True):
    """Account and positions as the terminal shows them: every second, and after each transaction.

    Parameters
    ----------
    time_server_msc : the broker's clock
    figures : of the account
    positions : all of them, others' too
    """

    time_server_msc: int
    figures: EaFigures
    positions: tuple[EaPosition, ...]


class EaTransaction(EaMessage, frozen=True, kw_only=True):
    """An independent copy of what ``OnTradeTransaction`` was told.

    Parameters
    ----------
    kind : MetaTrader's number of the transaction type
    deal, order, position, position_by : tickets, 0 where there is none
    symbol : broker symbol, empty where there is none
    order_type, order_state, deal_type, time_type : MetaTrader's numbers
    price, price_trigger, sl, tp, volume : as told
    magic : of the request or of the deal, 0 where unknown
    retcode, request_id, comment : of the result, where the transaction is an answered request
    figures : the deal itself, where it is in the history already
    """

    kind: int
    deal: int
    order: int
    position: int
    position_by: int
    symbol: str
    order_type: int
    order_state: int
    deal_type: int
    time_type: int
    price: float
    price_trigger: float
    sl: float
    tp: float
    volume: float
    magic: int
    retcode: int
    request_id: int
    comment: str
    figures: EaDeal | None = None


class EaPrediction(EaMessage, frozen=True, kw_only=True):
    """What a model inside the terminal made of a feature row, to be compared with inference's prediction.

    Parameters
    ----------
    symbol : canonical symbol
    bundle_sha256 : of the bundle that holds the model
    row_seq, row_ns : ``seq`` and ``ts_event_ns`` of the ``FeatureBlock``
    p_down, p_flat, p_up : probabilities
    """

    symbol: str
    model: str
    version: int
    bundle_sha256: str
    row_seq: int
    row_ns: int
    p_down: float
    p_flat: float
    p_up: float


class EaModel(EaMessage, frozen=True, kw_only=True):
    """A model inside the terminal was put in place, or refused while the old one goes on.

    Parameters
    ----------
    symbol : canonical symbol
    bundle_sha256 : of the bundle
    accepted : True when it predicts from now on
    serving_version : version that predicts now, 0 for none
    """

    symbol: str
    model: str
    version: int
    bundle_sha256: str
    accepted: bool
    serving_version: int
    reason: str


class EaOrder(Message, frozen=True, kw_only=True):
    """The executor's order to an Expert Advisor: made of an approval risk has signed, journaled before it is sent.

    Parameters
    ----------
    protocol : version of the protocol
    key : the order id, or the key of a change of stops; an Expert Advisor executes a key once, for ever
    expires_ns : refuse at or after this time of the computer's clock, ns UTC
    request : MetaTrader's request: its names, its numbers, broker symbol
    """

    protocol: int
    account: str
    key: str
    expires_ns: int
    request: dict[str, str | int | float]


class EaAsker(StrEnum):
    """A service that may ask a terminal's books."""

    EXECUTOR = "executor"
    INGEST = "ingest"


class EaBooksRequest(Message, frozen=True, kw_only=True):
    """A service asks what the terminal shows now, and perhaps for history.

    Parameters
    ----------
    protocol : version of the protocol
    asker : service that asks
    from_s, to_s : of the history, server clock, seconds; both 0: no history
    order : only the deals of this order; 0: all
    skip : records of the history that were read already (deals first, then orders)
    introduce : hello and specifications are to be said again, to all
    """

    protocol: int
    account: str
    asker: EaAsker
    from_s: int = 0
    to_s: int = 0
    order: int = 0
    skip: int = 0
    introduce: bool = False


class EaHistoryRequest(Message, frozen=True, kw_only=True):
    """Ingest asks for ticks it has not got.

    Parameters
    ----------
    protocol : version of the protocol
    symbol : broker symbol
    from_msc, to_msc : server clock, milliseconds, both included; ``to_msc`` 0: up to now
    limit : most ticks in the answer
    """

    protocol: int
    account: str
    symbol: str
    from_msc: int
    to_msc: int = 0
    limit: int = MAX_TICKS


class EaBarRequest(EaMessage, frozen=True, kw_only=True, eq=False):
    """An Expert Advisor that trades without the rest of Tickwire asks what to do after a closed one-minute bar.

    Parameters
    ----------
    symbol : broker symbol
    id : of the request; the answer names it, and is executed once
    bootstrap : True for the first request, which carries the history
    time_server_s, time_gmt_s : the broker's clock and the computer's
    time_s : (n,) open times of closed bars, server clock, oldest first
    open, high, low, close : (n,) bid prices
    tick_value, tick_size, contract_size : of the symbol
    position : -1 short, 0 none, 1 long
    position_lots, position_price, position_sl, position_tp, position_profit_ccy : of what is open
    balance_ccy, equity_ccy : of the account
    """

    symbol: str
    id: str
    bootstrap: bool
    time_server_s: int
    time_gmt_s: int
    time_s: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    tick_value: float
    tick_size: float
    contract_size: float
    position: int
    position_lots: float
    position_price: float
    position_sl: float
    position_tp: float
    position_profit_ccy: float
    balance_ccy: float
    equity_ccy: float

    def __post_init__(self) -> None:
        check_columns(self, "time_s", ("open", "high", "low", "close"))


class EaReply(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """What every answer to a request carries.

    Parameters
    ----------
    protocol : version of the protocol
    instance : who answers
    """

    protocol: int
    instance: str


class EaResult(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal's answer to ``OrderSend``, with MetaTrader's names."""

    retcode: int
    deal: int
    order: int
    volume: float
    price: float
    bid: float
    ask: float
    comment: str
    request_id: int
    retcode_external: int


class EaOrderAnswer(EaReply, frozen=True, kw_only=True):
    """What became of an order.

    Parameters
    ----------
    key : of the order
    outcome : ``answered``; ``refused`` (``OrderSend`` was not called and never will be for this key); ``unknown``
        (it was called in an earlier life, the answer is lost)
    reason : why refused
    repeated : True when the key was known; nothing was executed again
    time_server_msc : the broker's clock when it was answered
    result : where there is one
    deals : of the order, as far as the terminal shows them already
    """

    key: str
    outcome: Literal["answered", "refused", "unknown"]
    reason: str
    repeated: bool
    time_server_msc: int
    result: EaResult | None = None
    deals: tuple[EaDeal, ...] = ()


class EaQuote(msgspec.Struct, frozen=True, kw_only=True):
    """The newest tick of a symbol, with MetaTrader's names."""

    symbol: str
    time_msc: int
    bid: float
    ask: float
    last: float
    volume_real: float
    flags: int


class EaBooks(EaReply, frozen=True, kw_only=True):
    """What the terminal shows, in one moment; or the next page of its history.

    Parameters
    ----------
    problem : why it cannot be read now; empty when it can
    connected : the terminal reaches the broker
    trade_allowed : algorithmic trading is allowed in terminal and program
    build : of the terminal
    time_server_msc : the broker's clock
    figures : of the account
    quotes : newest tick of every published symbol
    positions, orders : all that is open
    deals, history : this page's part of the history
    more : records of the history after this page
    """

    problem: str
    connected: bool
    trade_allowed: bool
    build: int
    time_server_msc: int
    figures: EaFigures
    quotes: tuple[EaQuote, ...]
    positions: tuple[EaPosition, ...]
    orders: tuple[EaWorkingOrder, ...]
    deals: tuple[EaDeal, ...]
    history: tuple[EaWorkingOrder, ...]
    more: int


class EaHistory(EaReply, frozen=True, kw_only=True, eq=False):
    """Ticks that were asked for, as columns.

    Parameters
    ----------
    symbol : broker symbol
    problem : why they cannot be read now (the terminal may still be loading them); empty when they can
    more : True when there are later ones
    """

    symbol: str
    problem: str
    more: bool
    time_msc: Ints
    bid: Floats
    ask: Floats
    last: Floats
    volume: Floats
    flags: Ints

    def __post_init__(self) -> None:
        check_columns(self, "time_msc", ("bid", "ask", "last", "volume", "flags"))


class EaDecision(EaReply, frozen=True, kw_only=True):
    """The answer to an ``EaBarRequest``. Of protocol version 0 all but the four figures may be missing.

    Parameters
    ----------
    id : of the request
    action : 0 flat, 1 long, 2 short, 999 nothing; or ``BUY``, ``SELL``, ``HOLD``, ``CLOSE``
    size : lots
    sl, tp : prices, 0 for none
    """

    id: str
    action: int | str
    size: float
    sl: float
    tp: float


def check_columns(block: msgspec.Struct, first: str, others: tuple[str, ...]) -> None:
    """Refuse columns of unequal length.

    Raises
    ------
    ValueError : naming the column
    """
    n = len(getattr(block, first))
    for name in others:
        if len(getattr(block, name)) != n:
            raise ValueError(f"column {name} has {len(getattr(block, name))} values, {first} has {n}")
