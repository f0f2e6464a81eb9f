"""The simulated account: quotes, rates, positions, margin, equity, and the booking of deals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from libs.common.messages.base import Floats
from libs.common.mt5.results import TradeDeal, TradeOrder
from libs.common.mt5.sim import kernel
from libs.common.mt5.sim.clock import ServerClock
from libs.common.mt5.sim.events import DealAdded
from libs.common.mt5.sim.exposure import Exposure, exposure_of
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.state import OpenPosition, PendingOrder, Quote, TerminalState
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, cross_rates, margin_ccy, profit_ccy


class Ledger:
    """The account and everything that is a function of it.

    Parameters
    ----------
    settings : of the terminal
    instruments : by symbol
    seed : of slippage and latency
    """

    def __init__(self, settings: TerminalSettings, instruments: Mapping[str, Instrument], seed: int) -> None:
        self.settings = settings
        self.instruments = {symbol: instruments[symbol] for symbol in sorted(instruments)}
        self.seed = seed
        self.clock = ServerClock(settings.server_zone)
        self.state = TerminalState(
            balance_ccy=settings.balance_ccy,
            quotes={symbol: Quote() for symbol in self.instruments},
            day_start_equity_ccy=settings.balance_ccy,
            peak_equity_ccy=settings.balance_ccy,
        )
        self._crosses = _cross_symbols(settings.currency, self.instruments)
        self._exposures: dict[str, Exposure] = {}

    def round_ccy(self, amount: float) -> float:
        """Round an amount of account currency to its digits; never gives -0.0."""
        return round(amount, self.settings.currency_digits) + 0.0

    # Quotes and rates.

    def has_quote(self, symbol: str) -> bool:
        return self.state.quotes[symbol].bid > 0.0

    def rates(self) -> dict[str, Rate]:
        """Return what every currency we have a quoted cross for is worth."""
        crosses = {symbol: self.instruments[symbol] for symbol in self._crosses.values()}
        quotes = {symbol: (self.state.quotes[symbol].bid, self.state.quotes[symbol].ask) for symbol in crosses
                  if self.has_quote(symbol)}
        return cross_rates(self.settings.currency, crosses, quotes)

    def profit(self, symbol: str, sign: int, lots: float, price_open: float, price_close: float) -> float | None:
        """Return a profit rounded to the account's digits; ``None`` when a rate is missing."""
        amount = profit_ccy(self.instruments[symbol], sign, lots, price_open, price_close, self.settings.currency,
                            self._rates_for(symbol))
        return None if amount is None else self.round_ccy(amount)

    def margin_per_lot(self, symbol: str, price: float) -> float | None:
        """Return the margin of one lot opened at ``price``; ``None`` when a rate is missing."""
        return margin_ccy(self.instruments[symbol], 1.0, price, self.settings.leverage, self.settings.currency,
                          self._rates_for(symbol))

    def _rates_for(self, symbol: str) -> dict[str, Rate]:
        """Return the rates money of a symbol needs: none when it is quoted in or against account currency."""
        config = self.instruments[symbol].config
        return {} if self.settings.currency in (config.profit_currency, config.margin_currency) else self.rates()

    # Positions and orders.

    def positions(self, symbol: str | None = None) -> list[OpenPosition]:
        return [p for p in self.state.positions.values() if symbol is None or p.symbol == symbol]

    def orders(self, symbol: str | None = None) -> list[PendingOrder]:
        return [o for o in self.state.orders.values() if symbol is None or o.symbol == symbol]

    def exposure(self, symbol: str) -> Exposure:
        """Return the symbol's sums and nearest levels, worked out again only after a change."""
        known = self._exposures.get(symbol)
        if known is None:
            known = exposure_of(self.instruments[symbol], self.positions(symbol), self.orders(symbol))
            self._exposures[symbol] = known
        return known

    def touch(self, symbol: str | None = None) -> None:
        """Say that positions or orders of a symbol (or of all) have changed."""
        if symbol is None:
            self._exposures.clear()
        else:
            self._exposures.pop(symbol, None)

    # Account figures.

    def floating(self, position: OpenPosition) -> float:
        """Return the position's profit at the quote in force, rounded; swap and commission not in it."""
        quote = self.state.quotes[position.symbol]
        price = quote.bid if position.sign > 0 else quote.ask
        profit = self.profit(position.symbol, position.sign, position.volume_lots, position.price_open, price)
        assert profit is not None, "no position is opened before its rates are known"
        return profit

    def equity(self) -> float:
        """Return balance plus floating profit and swap of all positions, account currency."""
        open_now = self.state.positions.values()
        return self.round_ccy(self.state.balance_ccy + sum(self.floating(p) + p.swap_ccy for p in open_now))

    def margin(self) -> float:
        """Return the margin in use; per symbol the larger of the long and the short side counts."""
        return self.round_ccy(sum(self.exposure(symbol).margin_ccy for symbol in self.instruments))

    def figures(self, symbol: str) -> tuple[bool, Floats]:
        """Return whether the symbol's price moves the account, and the figures ``kernel.scan`` needs."""
        figures = np.zeros(kernel.FIGURES)
        own = self.exposure(symbol)
        moved = own.held > 0
        fixed, doubt, others = self.state.balance_ccy + own.swap_ccy, 0.0, own.held
        for other in self.instruments:
            exposure = self.exposure(other)
            if other == symbol or exposure.held == 0:
                continue
            others += exposure.held
            fixed += exposure.swap_ccy
            if self._cross_of(other) == symbol:
                moved = True
                self._add_dependent(figures, other, exposure)
            else:
                other_floating, other_doubt = self._leg_floating(other, exposure)
                fixed += other_floating
                doubt += other_doubt
        figures[kernel.FIXED] = fixed
        doubt += self._set_own(figures, symbol, own)
        # Every position's profit is rounded: half a unit each, and a little for the floats themselves.
        doubt += (others + 1) * 10.0**-self.settings.currency_digits
        line = self.settings.stop_out_pct / 100.0 * self.margin()
        figures[kernel.STOP_OUT_LINE] = line + doubt if self.margin() > 0.0 else -np.inf
        return moved, figures

    def note_peak(self, symbol: str) -> None:
        """Raise the peak if equity at the quote in force is above it."""
        quote = self.state.quotes[symbol]
        equity = self.state.balance_ccy
        if self.state.positions:
            equity = float(kernel.equity_at(self.figures(symbol)[1], quote.bid, quote.ask))
        self.state.peak_equity_ccy = max(self.state.peak_equity_ccy, equity)

    def _set_own(self, figures: Floats, symbol: str, own: Exposure) -> float:
        figures[kernel.LONG_UNITS], figures[kernel.LONG_COST] = own.long_units, own.long_cost
        figures[kernel.SHORT_UNITS], figures[kernel.SHORT_COST] = own.short_units, own.short_cost
        config = self.instruments[symbol].config
        if config.profit_currency == self.settings.currency:
            figures[kernel.CONVERSION] = kernel.ACCOUNT
        elif config.margin_currency == self.settings.currency:
            figures[kernel.CONVERSION] = kernel.OWN
        else:
            figures[kernel.CONVERSION] = kernel.CROSS
            rate = self.rates().get(config.profit_currency, Rate(0.0, 0.0))
            figures[kernel.GAIN_RATE], figures[kernel.LOSS_RATE] = rate
            return own.mixed * (rate.loss - rate.gain)
        return 0.0

    def _leg_floating(self, symbol: str, exposure: Exposure) -> tuple[float, float]:
        figures = np.zeros(kernel.FIGURES)
        doubt = self._set_own(figures, symbol, exposure)
        quote = self.state.quotes[symbol]
        return float(kernel.equity_at(figures, quote.bid, quote.ask)), doubt

    def _add_dependent(self, figures: Floats, symbol: str, exposure: Exposure) -> None:
        """Add the legs of a symbol whose profit the scanned symbol's price converts."""
        config = self.instruments[self._crosses[self.instruments[symbol].config.profit_currency]].config
        inverse = config.margin_currency == self.settings.currency
        quote = self.state.quotes[symbol]
        for amount in (
            exposure.long_units * quote.bid - exposure.long_cost,
            exposure.short_cost - exposure.short_units * quote.ask,
        ):
            gain_place = kernel.INVERSE_GAIN if inverse else kernel.DIRECT_GAIN
            figures[gain_place if amount >= 0.0 else gain_place + 1] += amount
        figures[kernel.INVERSE_MIXED if inverse else kernel.DIRECT_MIXED] += exposure.mixed

    def _cross_of(self, symbol: str) -> str | None:
        config = self.instruments[symbol].config
        if self.settings.currency in (config.profit_currency, config.margin_currency):
            return None
        return self._crosses.get(config.profit_currency)

    # Booking.

    def take_order_ticket(self) -> int:
        self.state.next_order += 1
        return self.state.next_order - 1

    def book(self, deal: TradeDeal, ts_ns: int) -> TradeDeal:
        """Number the deal, move the balance by it, remember and tell it."""
        state = self.state
        deal = deal._replace(ticket=state.next_deal)
        state.next_deal += 1
        state.balance_ccy = self.round_ccy(state.balance_ccy + deal.profit + deal.swap + deal.commission + deal.fee)
        _append_bounded(state.history_deals, deal, self.settings.history_limit)
        self.state.untold.append(DealAdded(ts_ns, deal))
        self.touch(deal.symbol)
        return deal

    def remember_order(self, order: TradeOrder) -> None:
        _append_bounded(self.state.history_orders, order, self.settings.history_limit)


def _append_bounded(records: list[Any], record: Any, limit: int) -> None:
    records.append(record)
    if len(records) > limit:
        # A tenth at once, so that a full history does not shift on every deal.
        del records[: limit // 10]


def _cross_symbols(account_currency: str, instruments: Mapping[str, Instrument]) -> dict[str, str]:
    """Return currency -> the forex symbol that converts it to account currency (the first by name)."""
    crosses: dict[str, str] = {}
    for symbol, instrument in sorted(instruments.items()):
        base, profit = instrument.config.margin_currency, instrument.config.profit_currency
        if instrument.is_forex and profit == account_currency:
            crosses.setdefault(base, symbol)
        elif instrument.is_forex and base == account_currency:
            crosses.setdefault(profit, symbol)
    return crosses
