"""What risk may be told (section ``risk``): every limit with its unit in the name and its bounds in the type."""

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings

Positive = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]


class RiskConfig(Settings, frozen=True, kw_only=True):
    """Limits and sizing.

    Parameters
    ----------
    allowed_symbols : symbols that may be traded; empty for all of ``system.symbols``
    sizing : ``fixed_fraction`` (a stop costs ``risk_per_trade_pct`` of equity) or ``volatility_target`` (one standard
        deviation over the horizon costs ``volatility_target_pct``, and a stop never more than the fixed fraction)
    risk_per_trade_pct, volatility_target_pct : percent of equity
    max_trade_exposure_x : one order's notional at most, multiples of equity; larger wishes are cut down to it
    max_order_lots : what one order may open at most; larger wishes are cut down to it
    max_spread_points : widest spread, points; ``max_spread_points_by_symbol`` has precedence
    account_max_age_ms, quote_max_age_ms, prediction_max_age_ms : older (or so far in the future): refuse
    max_open_positions, max_positions_per_symbol : open and in-flight, whoever opened them
    max_symbol_exposure_x, max_total_exposure_x : worst-case notional after the order, multiples of equity
    min_free_margin_pct : free margin after the order, percent of equity
    max_daily_loss_pct : loss since the broker's midnight, floating included, percent of the equity then; halts
    max_drawdown_pct : fall from the highest equity, percent of it; halts
    max_orders_per_minute : approvals in any 60 s
    repeat_window_ms, repeat_price_points : an order of the same symbol and side, as near in time and price as this,
        is taken for a repetition
    approval_ttl_ms : an approval not sent within this time must not be sent any more
    approval_grace_ms : an expired approval of which nothing was heard stops counting as exposure after this time
    max_slippage_points, reduce_max_slippage_points : how far from the approved price a fill may be
    on_opposite : what a prediction against an open position does: ``hold`` (nothing special), ``close`` that
        position, or ``reverse`` (close it and open the other side; on a netting account with one order of both volumes)
    report_no_direction : publish a refusal also for predictions that suggest no side (always counted)
    flatten_on_halt : close our positions when the daily loss or the drawdown limit trips
    """

    allowed_symbols: tuple[str, ...] = ()
    sizing: Literal["fixed_fraction", "volatility_target"] = "fixed_fraction"
    risk_per_trade_pct: Annotated[float, Meta(gt=0, le=2)] = 0.5
    volatility_target_pct: Annotated[float, Meta(gt=0, le=2)] = 0.25
    max_trade_exposure_x: Annotated[float, Meta(gt=0, le=50)] = 2.0
    max_order_lots: Positive = 10.0
    max_spread_points: Positive = 30.0
    max_spread_points_by_symbol: dict[str, Positive] = {}
    account_max_age_ms: Annotated[int, Meta(gt=0)] = 10_000
    quote_max_age_ms: Annotated[int, Meta(gt=0)] = 10_000
    prediction_max_age_ms: Annotated[int, Meta(gt=0)] = 5_000
    max_open_positions: Annotated[int, Meta(gt=0)] = 5
    max_positions_per_symbol: Annotated[int, Meta(gt=0)] = 1
    max_symbol_exposure_x: Annotated[float, Meta(gt=0, le=100)] = 3.0
    max_total_exposure_x: Annotated[float, Meta(gt=0, le=100)] = 6.0
    min_free_margin_pct: Annotated[float, Meta(ge=0, le=100)] = 30.0
    max_daily_loss_pct: Percent = 3.0
    max_drawdown_pct: Percent = 10.0
    max_orders_per_minute: Annotated[int, Meta(gt=0)] = 30
    repeat_window_ms: Annotated[int, Meta(ge=0)] = 5_000
    repeat_price_points: Annotated[float, Meta(ge=0)] = 20.0
    approval_ttl_ms: Annotated[int, Meta(gt=0, le=3_600_000)] = 2_000
    approval_grace_ms: Annotated[int, Meta(ge=0)] = 5_000
    max_slippage_points: Annotated[int, Meta(ge=0)] = 20
    reduce_max_slippage_points: Annotated[int, Meta(ge=0)] = 1_000
    on_opposite: Literal["hold", "close", "reverse"] = "close"
    report_no_direction: bool = False
    flatten_on_halt: bool = False

    def spread_limit_points(self, symbol: str) -> float:
        """Return the widest spread allowed for a symbol, points."""
        return self.max_spread_points_by_symbol.get(symbol, self.max_spread_points)
