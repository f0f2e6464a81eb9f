"""What kind of broker the simulated terminal is."""

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings


class TerminalSettings(Settings, frozen=True, kw_only=True):
    """The account and the manners of the simulated broker.

    Parameters
    ----------
    balance_ccy : initial deposit, account currency
    currency, currency_digits : of the account
    leverage : of the account
    hedging : several positions per symbol (True), or one net position (False)
    execution : ``market``: filled at the market whatever ``price`` and ``deviation`` say; ``instant``: filled within
        ``deviation`` points of ``price``, else a requote
    latency_ms, latency_sigma : time between a request and its execution: lognormal with this median and this
        sigma of its logarithm; sigma 0 is a constant, 0 ms answers at once
    slippage, slippage_points : how much worse market orders and stops are filled: not at all, by exactly so many
        points, or by the absolute value of a normal number with this standard deviation
    filling_mode : what the symbols allow, flags: 1 fill or kill, 2 immediate or cancel
    margin_call_pct, stop_out_pct : margin levels, percent; at or below the second positions are closed
    triple_swap_day : weekday (Monday 0) whose night pays for the weekend
    server_zone : the broker's clock: ``NY+7`` (New York + 7 h) or ``UTC``
    history_limit : most deals and most orders kept; older ones are forgotten, the balance is not touched
    """

    balance_ccy: Annotated[float, Meta(gt=0)] = 10_000.0
    currency: str = "USD"
    currency_digits: Annotated[int, Meta(ge=0, le=8)] = 2
    leverage: Annotated[float, Meta(gt=0)] = 100.0
    hedging: bool = True
    execution: Literal["market", "instant"] = "market"
    latency_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    latency_sigma: Annotated[float, Meta(ge=0, le=3)] = 0.0
    slippage: Literal["none", "fixed", "half_normal"] = "none"
    slippage_points: Annotated[float, Meta(ge=0)] = 0.0
    filling_mode: Annotated[int, Meta(ge=0, le=3)] = 3
    margin_call_pct: Annotated[float, Meta(ge=0)] = 100.0
    stop_out_pct: Annotated[float, Meta(ge=0)] = 50.0
    triple_swap_day: Annotated[int, Meta(ge=0, le=4)] = 2
    server_zone: Literal["NY+7", "UTC"] = "NY+7"
    history_limit: Annotated[int, Meta(ge=100)] = 50_000
    login: Annotated[int, Meta(gt=0)] = 1_000_001
    server: str = "Tickwire-Simulated"
