"""Account and symbols as the package describes them."""

from typing import Any

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import AccountInfo, SymbolInfo
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.traded import EXECUTION_MODES

_CALC_MODES = {
    "forex": mt5.SYMBOL_CALC_MODE_FOREX,
    "forex_no_leverage": mt5.SYMBOL_CALC_MODE_FOREX_NO_LEVERAGE,
    "futures": mt5.SYMBOL_CALC_MODE_FUTURES,
    "cfd": mt5.SYMBOL_CALC_MODE_CFD,
    "cfd_index": mt5.SYMBOL_CALC_MODE_CFDINDEX,
    "cfd_leverage": mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
    "exch_stocks": mt5.SYMBOL_CALC_MODE_EXCH_STOCKS,
    "exch_futures": mt5.SYMBOL_CALC_MODE_EXCH_FUTURES,
    "exch_options": mt5.SYMBOL_CALC_MODE_EXCH_OPTIONS,
    "exch_options_margin": mt5.SYMBOL_CALC_MODE_EXCH_OPTIONS_MARGIN,
    "exch_bonds": mt5.SYMBOL_CALC_MODE_EXCH_BONDS,
    "exch_stocks_moex": mt5.SYMBOL_CALC_MODE_EXCH_STOCKS_MOEX,
    "exch_bonds_moex": mt5.SYMBOL_CALC_MODE_EXCH_BONDS_MOEX,
    "collateral": mt5.SYMBOL_CALC_MODE_SERV_COLLATERAL,
}
_TRADE_MODES = {
    "full": mt5.SYMBOL_TRADE_MODE_FULL,
    "long_only": mt5.SYMBOL_TRADE_MODE_LONGONLY,
    "short_only": mt5.SYMBOL_TRADE_MODE_SHORTONLY,
    "close_only": mt5.SYMBOL_TRADE_MODE_CLOSEONLY,
    "disabled": mt5.SYMBOL_TRADE_MODE_DISABLED,
}
_SWAP_MODES = {
    "disabled": mt5.SYMBOL_SWAP_MODE_DISABLED,
    "points": mt5.SYMBOL_SWAP_MODE_POINTS,
    "base_currency": mt5.SYMBOL_SWAP_MODE_CURRENCY_SYMBOL,
    "margin_currency": mt5.SYMBOL_SWAP_MODE_CURRENCY_MARGIN,
    "deposit_currency": mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT,
    "interest_current": mt5.SYMBOL_SWAP_MODE_INTEREST_CURRENT,
    "interest_open": mt5.SYMBOL_SWAP_MODE_INTEREST_OPEN,
    "reopen_close": mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT,
    "reopen_bid": mt5.SYMBOL_SWAP_MODE_REOPEN_BID,
}
_GTC_MODES = {
    "gtc": mt5.SYMBOL_ORDERS_GTC,
    "daily": mt5.SYMBOL_ORDERS_DAILY,
    "daily_keep_stops": mt5.SYMBOL_ORDERS_DAILY_NO_STOPS,
}
_DAYS = 7


def account_description(ledger: Ledger) -> AccountInfo:
    """Return the account as ``account_info`` gives it."""
    settings, state = ledger.settings, ledger.state
    equity, margin = ledger.equity(), ledger.margin()
    by_money = settings.stop_out_mode == "money"
    return AccountInfo(
        login=settings.login, trade_mode=mt5.ACCOUNT_TRADE_MODE_DEMO, leverage=round(settings.leverage),
        limit_orders=settings.limit_orders,
        margin_so_mode=mt5.ACCOUNT_STOPOUT_MODE_MONEY if by_money else mt5.ACCOUNT_STOPOUT_MODE_PERCENT,
        trade_allowed=settings.trade_allowed, trade_expert=settings.experts_allowed, margin_mode=_margin_mode(ledger),
        currency_digits=settings.currency_digits, fifo_close=settings.fifo_close, balance=state.balance_ccy,
        credit=state.credit_ccy, profit=ledger.round_ccy(sum(ledger.floating(p) for p in ledger.positions())),
        equity=equity, margin=margin, margin_free=ledger.round_ccy(equity - margin),
        margin_level=level_pct(equity, margin),
        margin_so_call=settings.margin_call_ccy if by_money else settings.margin_call_pct,
        margin_so_so=settings.stop_out_ccy if by_money else settings.stop_out_pct, assets=ledger.assets(),
        name="Simulated", server=settings.server, currency=settings.currency, company="Tickwire",
    )


def level_pct(equity: float, margin: float) -> float:
    """Return equity in percent of the margin; 0.0 without margin."""
    return equity / margin * 100.0 if margin > 0.0 else 0.0


def _margin_mode(ledger: Ledger) -> int:
    if ledger.settings.hedging:
        return mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING
    return mt5.ACCOUNT_MARGIN_MODE_EXCHANGE if ledger.settings.exchange else mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING


def symbol_description(ledger: Ledger, symbol: str, *, selected: bool) -> SymbolInfo:
    """Return a symbol as ``symbol_info`` gives it; ``selected``: it is in Market Watch."""
    traded, quote = ledger.symbols[symbol], ledger.state.quotes[symbol]
    return SymbolInfo(
        select=selected, visible=selected, time=ledger.clock.msc(quote.time_ns) // 1000 if quote.bid else 0,
        spread=traded.instrument.points(quote.ask) - traded.instrument.points(quote.bid), bid=quote.bid, ask=quote.ask,
        last=quote.last, **_conditions(ledger, symbol), **_values(ledger, symbol),
    )


def _conditions(ledger: Ledger, symbol: str) -> dict[str, Any]:
    traded = ledger.symbols[symbol]
    terms, config, instrument = traded.terms, traded.config, traded.instrument
    plain = mt5.SYMBOL_CALC_MODE_FOREX if instrument.is_forex else mt5.SYMBOL_CALC_MODE_CFDLEVERAGE
    return {
        "chart_mode": mt5.SYMBOL_CHART_MODE_LAST if traded.by_last else mt5.SYMBOL_CHART_MODE_BID,
        "digits": traded.digits, "point": traded.point, "spread_float": True, "ticks_bookdepth": len(terms.depth_lots),
        "trade_calc_mode": _CALC_MODES.get(config.calc_mode, plain), "trade_mode": _TRADE_MODES[terms.trade_mode],
        "trade_stops_level": config.stops_level_points, "trade_freeze_level": terms.freeze_level_points,
        "trade_exemode": EXECUTION_MODES[traded.execution], "swap_mode": _SWAP_MODES[terms.swap_mode],
        # The package's week begins on Sunday.
        "swap_rollover3days": (traded.triple_swap_day + 1) % _DAYS, "swap_long": traded.swap_long,
        "swap_short": traded.swap_short, "margin_hedged_use_leg": terms.margin_hedged_use_leg,
        "margin_hedged": terms.margin_hedged, "margin_initial": terms.margin_initial_ccy,
        "margin_maintenance": terms.margin_maintenance_ccy, "expiration_mode": terms.expiration_mode,
        "filling_mode": traded.filling_mode, "order_mode": terms.order_mode, "order_gtc_mode": _GTC_MODES[terms.gtc_mode],
        "trade_contract_size": config.contract_size, "trade_face_value": config.face_value,
        "trade_accrued_interest": terms.accrued_interest, "trade_liquidity_rate": terms.liquidity_rate,
        "volume_min": config.volume_min, "volume_max": config.volume_max, "volume_step": config.volume_step,
        "volume_limit": terms.volume_limit_lots, "currency_base": config.margin_currency,
        "currency_profit": config.profit_currency, "currency_margin": config.margin_currency, "name": symbol,
        "path": symbol,
    }  # fmt: skip


def _values(ledger: Ledger, symbol: str) -> dict[str, Any]:
    """Return what a tick up and a tick down of one lot are worth; 0.0 while a rate is missing."""
    traded, quote = ledger.symbols[symbol], ledger.state.quotes[symbol]
    amount = traded.instrument.tick_size * traded.value_per_lot
    gain = loss = amount
    if traded.own_rate:
        gain, loss = (amount / quote.ask, amount / quote.bid) if quote.bid else (0.0, 0.0)
    elif traded.needs_cross:
        rate = ledger.rates().get(traded.config.profit_currency)
        gain, loss = (amount * rate.gain, amount * rate.loss) if rate else (0.0, 0.0)
    return {
        "trade_tick_size": traded.instrument.tick_size, "trade_tick_value": gain, "trade_tick_value_profit": gain,
        "trade_tick_value_loss": loss,
    }  # fmt: skip
