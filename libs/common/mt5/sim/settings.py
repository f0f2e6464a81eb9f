"""What kind of broker the simulated terminal is."""

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings

ExecutionMode = Literal["market", "instant", "request", "exchange"]
SwapMode = Literal[
    "points", "disabled", "base_currency", "margin_currency", "deposit_currency", "interest_current",
    "interest_open", "reopen_close", "reopen_bid",
]
WeekDay = Annotated[int, Meta(ge=0, le=6)]


class SymbolTerms(Settings, frozen=True, kw_only=True):
    """A symbol's trading conditions beyond its specification in section ``instruments``.

    Parameters
    ----------
    execution, filling_mode, triple_swap_day : as in ``TerminalSettings``; None takes the value there
    order_mode : order types taken, flags: 1 market, 2 limit, 4 stop, 8 stop-limit, 16 SL, 32 TP, 64 close by
    expiration_mode : lifetimes taken, flags: 1 until cancelled, 2 day, 4 until a time, 8 until a day
    gtc_mode : what the end of the day leaves of orders until cancelled: all (``gtc``), only SL and TP
        (``daily_keep_stops``), nothing (``daily``)
    trade_mode : what may be traded
    freeze_level_points : an order or position this near to its activation can be neither changed nor taken off
    volume_limit_lots : most lots open and pending in one direction; 0 for no limit
    trigger : orders and stops are compared with the ``quote``, or with the ``last`` trade's price
    margin_initial_ccy, margin_maintenance_ccy : per lot, margin currency; for futures and options
    margin_rate_buy, margin_rate_sell : factors of the margin of either direction
    margin_rate_pending : share of the margin a pending order ties up
    margin_hedged_use_leg : a hedge ties up its larger leg's margin
    margin_hedged : without ``use_leg``: what a covered lot ties up: a contract size, or an amount of money where
        ``margin_initial_ccy`` is not 0
    accrued_interest, liquidity_rate : of bonds, of collateral
    swap_mode : what the swap figures mean
    swap_long, swap_short : in the unit of ``swap_mode``; None takes the instrument's ``swap_*_points``
    sessions : when it trades, server clock: ``mon-fri 01:00-23:59:30``, ``sun 22:00-24:00``; empty for the
        instrument's own session
    depth_lots : volume at each level of the book on either side, best first; empty for as much as anybody wants
    depth_step_points : distance of the book's levels
    commission_per_deal_ccy : account currency per deal
    commission_pct : of a deal's value
    commission_min_ccy : least commission of a deal that has any
    commission_on : deals that pay commission: opening, closing, or ``both``
    fee_per_lot_ccy : booked as the deal's fee
    """

    execution: ExecutionMode | None = None
    filling_mode: Annotated[int, Meta(ge=0, le=7)] | None = None
    order_mode: Annotated[int, Meta(ge=0, le=127)] = 127
    expiration_mode: Annotated[int, Meta(ge=0, le=15)] = 15
    gtc_mode: Literal["gtc", "daily", "daily_keep_stops"] = "gtc"
    trade_mode: Literal["full", "long_only", "short_only", "close_only", "disabled"] = "full"
    freeze_level_points: Annotated[int, Meta(ge=0)] = 0
    volume_limit_lots: Annotated[float, Meta(ge=0)] = 0.0
    trigger: Literal["quote", "last"] = "quote"
    margin_initial_ccy: Annotated[float, Meta(ge=0)] = 0.0
    margin_maintenance_ccy: Annotated[float, Meta(ge=0)] = 0.0
    margin_rate_buy: Annotated[float, Meta(ge=0)] = 1.0
    margin_rate_sell: Annotated[float, Meta(ge=0)] = 1.0
    margin_rate_pending: Annotated[float, Meta(ge=0)] = 0.0
    margin_hedged_use_leg: bool = True
    margin_hedged: Annotated[float, Meta(ge=0)] = 0.0
    accrued_interest: Annotated[float, Meta(ge=0)] = 0.0
    liquidity_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    swap_mode: SwapMode = "points"
    swap_long: float | None = None
    swap_short: float | None = None
    triple_swap_day: WeekDay | None = None
    sessions: tuple[str, ...] = ()
    depth_lots: tuple[Annotated[float, Meta(gt=0)], ...] = ()
    depth_step_points: Annotated[int, Meta(ge=0)] = 1
    commission_per_deal_ccy: Annotated[float, Meta(ge=0)] = 0.0
    commission_pct: Annotated[float, Meta(ge=0, le=100)] = 0.0
    commission_min_ccy: Annotated[float, Meta(ge=0)] = 0.0
    commission_on: Literal["both", "opening", "closing"] = "both"
    fee_per_lot_ccy: Annotated[float, Meta(ge=0)] = 0.0


class TerminalSettings(Settings, frozen=True, kw_only=True):
    """The account and the manners of the simulated broker.

    Parameters
    ----------
    balance_ccy : initial deposit, account currency
    credit_ccy : the broker's own money on the account, part of equity
    currency, currency_digits : of the account
    leverage : of the account
    hedging : several positions per symbol (True), or one net position (False)
    exchange : a netting account of an exchange
    execution : ``market``: filled at the market whatever ``price`` and ``deviation`` say; ``instant`` and
        ``request``: filled within ``deviation`` points of ``price``, else a requote; ``exchange``: from the book
    latency_ms, latency_sigma : time between a request and its execution: lognormal with this median and this
        sigma of its logarithm; sigma 0 is a constant, 0 ms answers at once
    slippage, slippage_points : how much worse market orders and stops are filled: not at all, by exactly so many
        points, or by the absolute value of a normal number with this standard deviation
    limit_fill : a limit order or TP that the price jumped over is filled at its ``level``, or at the ``better`` quote
    filling_mode : what the symbols allow, flags: 1 fill or kill, 2 immediate or cancel, 4 book or cancel
    pending_filling : filling modes a pending order may name: ``any``, or ``return`` only
    margin_call_pct, stop_out_pct : margin levels, percent; at or below the second positions are closed
    stop_out_mode, margin_call_ccy, stop_out_ccy : in mode ``money`` equity is compared with these amounts instead
    limit_orders, limit_positions : most pending orders, most positions; 0 for no limit
    fifo_close : the oldest position of a symbol must be closed first
    hedge_prohibited : a hedging account that refuses positions against each other
    trade_allowed, experts_allowed, algo_trading : what server (to trade, to trade by program) and terminal permit
    requests_per_s : most requests within a second of the clock; 0 for no limit
    closed_market_triggers : quotes outside the trading session set off orders and stops
    triple_swap_day : weekday (Monday 0) whose night pays for the weekend
    swap_days_per_year : of the swap modes that are an annual interest
    server_zone : the broker's clock: ``NY+7`` (New York + 7 h), ``EET`` (UTC+2, European summer time) or ``UTC``,
        ``UTC+3``, ``UTC-5``...
    deposit_deal : the history begins with the deposit, as a real one does
    deal_checks, pending_checks : names of the checks in the order they are made, see ``sim/checks.py``; empty for ours
    history_limit : most deals and most orders kept; older ones are forgotten, the balance is not touched
    symbols : trading conditions by symbol; a symbol left out has the defaults
    """

    balance_ccy: Annotated[float, Meta(gt=0)] = 10_000.0
    credit_ccy: Annotated[float, Meta(ge=0)] = 0.0
    currency: str = "USD"
    currency_digits: Annotated[int, Meta(ge=0, le=8)] = 2
    leverage: Annotated[float, Meta(gt=0)] = 100.0
    hedging: bool = True
    exchange: bool = False
    execution: ExecutionMode = "market"
    latency_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    latency_sigma: Annotated[float, Meta(ge=0, le=3)] = 0.0
    slippage: Literal["none", "fixed", "half_normal"] = "none"
    slippage_points: Annotated[float, Meta(ge=0)] = 0.0
    limit_fill: Literal["level", "better"] = "level"
    filling_mode: Annotated[int, Meta(ge=0, le=7)] = 3
    pending_filling: Literal["any", "return"] = "any"
    margin_call_pct: Annotated[float, Meta(ge=0)] = 100.0
    stop_out_pct: Annotated[float, Meta(ge=0)] = 50.0
    stop_out_mode: Literal["percent", "money"] = "percent"
    margin_call_ccy: Annotated[float, Meta(ge=0)] = 0.0
    stop_out_ccy: Annotated[float, Meta(ge=0)] = 0.0
    limit_orders: Annotated[int, Meta(ge=0)] = 0
    limit_positions: Annotated[int, Meta(ge=0)] = 0
    fifo_close: bool = False
    hedge_prohibited: bool = False
    trade_allowed: bool = True
    experts_allowed: bool = True
    algo_trading: bool = True
    requests_per_s: Annotated[int, Meta(ge=0)] = 0
    closed_market_triggers: bool = True
    triple_swap_day: WeekDay = 2
    swap_days_per_year: Annotated[int, Meta(gt=0)] = 360
    server_zone: Annotated[str, Meta(pattern=r"^(NY\+7|EET|UTC([+-]\d{1,2})?)$")] = "NY+7"
    deposit_deal: bool = False
    deal_checks: tuple[str, ...] = ()
    pending_checks: tuple[str, ...] = ()
    history_limit: Annotated[int, Meta(ge=100)] = 50_000
    login: Annotated[int, Meta(gt=0)] = 1_000_001
    server: str = "Tickwire-Simulated"
    symbols: dict[str, SymbolTerms] = {}
