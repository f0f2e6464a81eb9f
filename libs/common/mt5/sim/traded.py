"""One symbol as the trade server knows it: specification, conditions, hours, margin, commission, swap, exposure."""

from collections.abc import Mapping
from typing import Any

from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.clock import ServerClock, weekly_windows
from libs.common.mt5.sim.exposure import Exposure
from libs.common.mt5.sim.settings import SymbolTerms, TerminalSettings
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, margin_ccy
from libs.common.trading.sessions import fx_market_open

_HOUR_NS = 3_600_000_000_000
_FUTURES = ("futures", "exch_futures", "exch_options", "exch_options_margin")
_BONDS = ("exch_bonds", "exch_bonds_moex")
_STOCKS = ("exch_stocks", "exch_stocks_moex")
_UNLEVERAGED = ("forex_no_leverage", "cfd", "cfd_index", *_STOCKS, *_BONDS)
EXECUTION_MODES = {
    "request": mt5.SYMBOL_TRADE_EXECUTION_REQUEST,
    "instant": mt5.SYMBOL_TRADE_EXECUTION_INSTANT,
    "market": mt5.SYMBOL_TRADE_EXECUTION_MARKET,
    "exchange": mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE,
}
NO_TERMS = SymbolTerms()


class TradedSymbol:
    """A symbol with everything about it that does not change from order to order worked out once.

    Parameters
    ----------
    settings : of the terminal; ``settings.symbols`` may be overruled by ``terms``
    instrument : the symbol's specification
    terms : its trading conditions
    """

    def __init__(self, settings: TerminalSettings, instrument: Instrument, terms: SymbolTerms) -> None:
        config = instrument.config
        self.symbol, self.instrument, self.config, self.terms = instrument.symbol, instrument, config, terms
        self.point, self.digits = instrument.point, instrument.digits
        self.value_per_lot = instrument.value_per_lot
        self.is_collateral = config.calc_mode == "collateral"
        self.execution: str = terms.execution or settings.execution
        self.filling_mode = settings.filling_mode if terms.filling_mode is None else terms.filling_mode
        self.triple_swap_day = settings.triple_swap_day if terms.triple_swap_day is None else terms.triple_swap_day
        self.swap_long = config.swap_long_points if terms.swap_long is None else terms.swap_long
        self.swap_short = config.swap_short_points if terms.swap_short is None else terms.swap_short
        self.is_market = self.execution in ("market", "exchange")
        self.by_last = terms.trigger == "last"
        # Profit currency to account currency: nothing to do, with the symbol's own price, or with another's.
        self.in_account = config.profit_currency == settings.currency
        self.own_rate = not self.in_account and config.margin_currency == settings.currency
        self.needs_cross = not (self.in_account or self.own_rate)
        self._settings = settings
        self._plain_margin = (
            self.in_account and config.calc_mode == "auto" and instrument.is_forex
            and terms.margin_rate_buy == terms.margin_rate_sell == 1.0
        )
        self._contract_over_leverage = config.contract_size / settings.leverage
        # Whether profit or margin may be unknown for want of a quote of another symbol.
        self.needs_rates = not self._plain_margin
        self.checks: dict[bool, Any] = {}
        self._windows = weekly_windows(terms.sessions)
        self._open_hour, self._open = -1, False
        self._plain_commission = not (
            terms.commission_per_deal_ccy or terms.commission_pct or terms.commission_min_ccy
        ) and terms.commission_on == "both"
        collateral = self.config.contract_size * self.terms.liquidity_rate
        value = collateral if self.is_collateral else self.value_per_lot
        self.exposure = Exposure(self.instrument, value, 0.0 if self.is_collateral else value)

    # Hours.

    def is_open(self, clock: ServerClock, ts_ns: int) -> bool:
        """Tell whether the symbol trades at this time."""
        if self._windows:
            second = clock.second_of_week(ts_ns)
            return any(opens <= second < closes for opens, closes in self._windows)
        if self.config.session == "always":
            return True
        # The week of the FX market begins and ends at a whole hour.
        hour = ts_ns // _HOUR_NS
        if hour != self._open_hour:
            self._open_hour, self._open = hour, fx_market_open(ts_ns)
        return self._open

    # Margin.

    def margin_per_lot(
        self, price: float, sign: int, rates: Mapping[str, Rate], last: float = 0.0, *, held: bool = False
    ) -> float | None:
        """Return the margin of one lot in account currency, not rounded; ``None`` when a rate is missing.

        Parameters
        ----------
        price : at which it is opened
        sign : +1 buy, -1 sell
        last : price of the last trade, 0.0 for none; stocks are valued at it
        held : what an open position ties up, where that is less than opening it

        References
        ----------
        MQL5 reference, ENUM_SYMBOL_CALC_MODE.
        """
        if self._plain_margin:
            return self._contract_over_leverage * price
        terms, config = self.terms, self.config
        mode = config.calc_mode
        rate = terms.margin_rate_buy if sign > 0 else terms.margin_rate_sell
        currency = self._settings.currency
        if mode in _FUTURES:
            amount = terms.margin_maintenance_ccy if held and terms.margin_maintenance_ccy else terms.margin_initial_ccy
            return self._from_margin_currency(amount * rate, price, rates)
        if mode in _BONDS:
            amount = config.contract_size * config.face_value * price / 100.0
            return self._from_margin_currency(amount * rate, price, rates)
        if self.is_collateral:
            return 0.0
        leverage = 1.0 if mode in _UNLEVERAGED else self._settings.leverage
        basis = last if mode in _STOCKS and last > 0.0 else price
        margin = margin_ccy(self.instrument, 1.0, basis, leverage, currency, rates)
        if mode == "cfd_index" and config.tick_value and margin is not None:
            margin *= config.tick_value / self.instrument.tick_size
        return margin if margin is None or rate == 1.0 else margin * rate

    def _from_margin_currency(self, amount: float, price: float, rates: Mapping[str, Rate]) -> float | None:
        if self.config.margin_currency == self._settings.currency:
            return amount
        rate = rates.get(self.config.margin_currency)
        return None if rate is None else amount * rate.loss

    def margin_of(self, legs: tuple[tuple[float, float], tuple[float, float]]) -> float:
        """Return the margin of two legs, each (lots, margin of all of them), account currency, not rounded.

        References
        ----------
        MetaTrader 5 help, "Margin calculation: retail forex, hedging".
        """
        (long_lots, long_ccy), (short_lots, short_ccy) = legs
        if self.terms.margin_hedged_use_leg or not (long_lots and short_lots):
            return max(long_ccy, short_ccy)
        covered = min(long_lots, short_lots)
        larger = (long_lots, long_ccy) if long_lots >= short_lots else (short_lots, short_ccy)
        uncovered = larger[1] / larger[0] * (larger[0] - covered)
        if self.terms.margin_initial_ccy:
            return uncovered + covered * self.terms.margin_hedged
        average = (long_ccy + short_ccy) / (long_lots + short_lots)
        return uncovered + covered * average * self.terms.margin_hedged / self.config.contract_size

    def margin_now(self) -> float:
        """Return what positions and orders tie up, account currency, not rounded."""
        exposure = self.exposure
        long, short = exposure.long, exposure.short
        if not short.count:
            return long.margin_ccy + exposure.pending_margin_ccy
        legs = (long.lots / 1e8, long.margin_ccy), (short.lots / 1e8, short.margin_ccy)
        return self.margin_of(legs) + exposure.pending_margin_ccy

    # Costs.

    def commission(self, lots: float, value_ccy: float, *, opens: bool, closes: bool) -> float:
        """Return a deal's commission, not rounded, <= 0.

        Parameters
        ----------
        value_ccy : the deal's value in account currency
        opens, closes : what the deal does; a reversal does both
        """
        per_lot = self.config.commission_per_lot_ccy
        if self._plain_commission:
            return -per_lot * lots
        terms = self.terms
        if not {"opening": opens, "closing": closes, "both": True}[terms.commission_on]:
            return 0.0
        amount = per_lot * lots + terms.commission_per_deal_ccy + terms.commission_pct / 100.0 * value_ccy
        return -max(amount, terms.commission_min_ccy)


def cross_symbols(account_currency: str, instruments: Mapping[str, Instrument]) -> dict[str, str]:
    """Return currency -> the forex symbol that converts it to account currency (the first by name)."""
    crosses: dict[str, str] = {}
    for symbol, instrument in sorted(instruments.items()):
        base, profit = instrument.config.margin_currency, instrument.config.profit_currency
        if instrument.is_forex and profit == account_currency:
            crosses.setdefault(base, symbol)
        elif instrument.is_forex and base == account_currency:
            crosses.setdefault(profit, symbol)
    return crosses
