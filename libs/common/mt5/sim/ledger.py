"""The simulated account: quotes, rates, positions, margin, equity, and the booking of deals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from libs.common.messages.base import Floats
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeDeal, TradeOrder
from libs.common.mt5.sim import kernel
from libs.common.mt5.sim.clock import ServerClock
from libs.common.mt5.sim.events import DealAdded
from libs.common.mt5.sim.exposure import Exposure
from libs.common.mt5.sim.settings import SymbolTerms, TerminalSettings
from libs.common.mt5.sim.state import ChangedSymbol, OpenPosition, PendingOrder, Quote, TerminalState
from libs.common.mt5.sim.traded import NO_TERMS, TradedSymbol, cross_symbols
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, cross_rates, profit_ccy

_NO_RATES: dict[str, Rate] = {}


class Ledger:
    """The account and everything that is a function of it.

    Positions and orders are changed through ``add``, ``enter``/``leave`` and ``remove`` (``place``, ``withdraw``) only:
    sums and levels are kept up with every change, and ``changes`` counts whatever moves a figure of the account.

    Parameters
    ----------
    settings : of the terminal
    instruments : by symbol
    seed : of slippage and latency
    """

    def __init__(self, settings: TerminalSettings, instruments: Mapping[str, Instrument], seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.clock = ServerClock(settings.server_zone)
        self._given = {symbol: instruments[symbol] for symbol in sorted(instruments)}
        self._digits = settings.currency_digits
        self._cents = 10.0**-settings.currency_digits
        self.notices = 1
        self.changes = 0
        self._figures: tuple[bool, list[float]] = (False, [])
        self._is_plain = False
        self._figures_symbol: str | None = None
        self._margin: float | None = None
        self._held: list[str] | None = None
        self._rates: dict[str, Rate] | None = None
        self.restart(TerminalState(
            balance_ccy=settings.balance_ccy,
            credit_ccy=settings.credit_ccy,
            quotes={symbol: Quote() for symbol in self._given},
            day_start_equity_ccy=settings.balance_ccy + settings.credit_ccy,
            peak_equity_ccy=settings.balance_ccy + settings.credit_ccy,
        ))

    def restart(self, state: TerminalState) -> None:
        """Become what a state describes."""
        self.state = state
        self.instruments = dict(self._given)
        terms = dict(self.settings.symbols)
        for symbol, changed in state.changed.items():
            self.instruments[symbol] = Instrument(symbol, changed.config)
            terms[symbol] = changed.terms
        self.symbols = {
            symbol: TradedSymbol(self.settings, instrument, terms.get(symbol, NO_TERMS))
            for symbol, instrument in self.instruments.items()
        }
        self._crosses = cross_symbols(self.settings.currency, self.instruments)
        self._cross_names = frozenset(self._crosses.values())
        self._rates = None
        self._has_collateral = any(t.is_collateral for t in self.symbols.values())
        self._pending_ties_up = any(t.terms.margin_rate_pending for t in self.symbols.values())
        for position in state.positions.values():
            self.symbols[position.symbol].exposure.enter(position)
        for order in state.orders.values():
            self.symbols[order.symbol].exposure.place(order)
        self._touch()

    def change_symbol(self, symbol: str, instrument: Instrument, terms: SymbolTerms | None = None) -> None:
        """Let the broker change a symbol's specification or conditions; it is part of the state from now on."""
        kept = self.symbols[symbol].terms if terms is None else terms
        self.state.changed[symbol] = ChangedSymbol(instrument.config, kept)
        self.restart(self.state)

    def round_ccy(self, amount: float) -> float:
        """Round an amount of account currency to its digits; never gives -0.0."""
        return round(amount, self._digits) + 0.0

    # Quotes and rates.

    def set_quote(self, symbol: str, quote: Quote) -> None:
        """Put a symbol's new quote in force."""
        self.state.quotes[symbol] = quote
        self.changes += 1
        if symbol != self._figures_symbol:
            self._figures_symbol = None
        if symbol in self._cross_names:
            self._rates = None

    def has_quote(self, symbol: str) -> bool:
        return self.state.quotes[symbol].bid > 0.0

    def server_msc(self) -> int:
        """Return the server's time as the terminal knows it, ms: that of the latest quote, so it rests when none comes."""
        latest_ns = max((quote.time_ns for quote in self.state.quotes.values()), default=0)
        return self.clock.msc(latest_ns) if latest_ns else 0

    def rates(self) -> dict[str, Rate]:
        """Return what every currency we have a quoted cross for is worth."""
        if self._rates is None:
            crosses = {symbol: self.instruments[symbol] for symbol in self._crosses.values()}
            quotes = {symbol: (self.state.quotes[symbol].bid, self.state.quotes[symbol].ask) for symbol in crosses
                      if self.has_quote(symbol)}
            self._rates = cross_rates(self.settings.currency, crosses, quotes)
        return self._rates

    def profit(self, symbol: str, sign: int, lots: float, price_open: float, price_close: float) -> float | None:
        """Return a profit rounded to the account's digits; ``None`` when a rate is missing."""
        traded = self.symbols[symbol]
        if traded.in_account:
            # What profit_ccy would say; this is asked many times an order.
            return self.round_ccy(sign * (price_close - price_open) * traded.value_per_lot * lots)
        amount = profit_ccy(traded.instrument, sign, lots, price_open, price_close, self.settings.currency,
                            self.rates() if traded.needs_cross else _NO_RATES)
        return None if amount is None else self.round_ccy(amount)

    def margin_per_lot(self, symbol: str, price: float, sign: int = 1, *, held: bool = False) -> float | None:
        """Return the margin of one lot opened at ``price``; ``None`` when a rate is missing."""
        traded = self.symbols[symbol]
        return traded.margin_per_lot(price, sign, self.rates() if traded.needs_cross else _NO_RATES,
                                     self.state.quotes[symbol].last, held=held)

    # Positions and orders.

    def positions(self, symbol: str | None = None) -> list[OpenPosition]:
        """Return positions in the order in which they were opened."""
        if symbol is None:
            return list(self.state.positions.values())
        own = self.symbols[symbol].exposure.positions
        return [own[ticket] for ticket in sorted(own)]

    def orders(self, symbol: str | None = None) -> list[PendingOrder]:
        """Return orders in the order in which they were placed."""
        if symbol is None:
            return list(self.state.orders.values())
        own = self.symbols[symbol].exposure.orders
        return [own[ticket] for ticket in sorted(own)]

    def exposure(self, symbol: str) -> Exposure:
        """Return the symbol's sums and levels."""
        return self.symbols[symbol].exposure

    def add(self, position: OpenPosition) -> None:
        """Take a new position in."""
        self.state.positions[position.ticket] = position
        self.enter(position)

    def remove(self, position: OpenPosition) -> None:
        """Forget a position."""
        self.leave(position)
        del self.state.positions[position.ticket]

    def enter(self, position: OpenPosition) -> None:
        """Count a position in again after a change."""
        exposure = self.symbols[position.symbol].exposure
        exposure.enter(position)
        self.changes += 1
        self._figures_symbol = self._margin = None
        if len(exposure.positions) == 1:
            self._held = None

    def leave(self, position: OpenPosition) -> None:
        """Count a position out before it is changed."""
        exposure = self.symbols[position.symbol].exposure
        exposure.leave(position)
        self.changes += 1
        self._figures_symbol = self._margin = None
        if not exposure.positions:
            self._held = None

    def place(self, order: PendingOrder) -> None:
        """Take an order onto the book, or count it in again after a change."""
        self.state.orders[order.ticket] = order
        self.symbols[order.symbol].exposure.place(order)
        self._touch()

    def suspend(self, order: PendingOrder) -> None:
        """Count an order out before it is changed."""
        self.symbols[order.symbol].exposure.withdraw(order)
        self._touch()

    def withdraw(self, order: PendingOrder) -> None:
        """Take an order off the book."""
        self.suspend(order)
        del self.state.orders[order.ticket]

    def _touch(self) -> None:
        self.changes += 1
        self._figures_symbol = self._margin = self._held = None

    def _held_symbols(self) -> list[str]:
        """Return the symbols with positions, by name, so that sums do not depend on who came first."""
        if self._held is None:
            self._held = [symbol for symbol, traded in self.symbols.items() if traded.exposure.positions]
        return self._held

    # Account figures.

    def floating(self, position: OpenPosition) -> float:
        """Return the position's profit at the quote in force, rounded; swap and commission not in it."""
        quote = self.state.quotes[position.symbol]
        price = quote.bid if position.sign > 0 else quote.ask
        profit = self.profit(position.symbol, position.sign, position.volume_lots, position.price_open, price)
        assert profit is not None, "no position is opened before its rates are known"
        return profit

    def assets(self) -> float:
        """Return what positions held as collateral are worth, account currency."""
        if not self._has_collateral:
            return 0.0
        worth = 0.0
        for symbol in self._held_symbols():
            if self.symbols[symbol].is_collateral:
                worth += self._leg_floating(symbol)[0]
        return self.round_ccy(worth)

    def equity(self) -> float:
        """Return balance and credit plus floating profit, swap and collateral of all positions, account currency."""
        state = self.state
        if not state.positions:
            return self.round_ccy(state.balance_ccy + state.credit_ccy)
        worth = sum([self.floating(p) + p.swap_ccy for p in state.positions.values()])
        return self.round_ccy(state.balance_ccy + worth + state.credit_ccy + self.assets())

    def margin(self) -> float:
        """Return the margin in use, account currency."""
        if self._margin is None:
            if not (self.state.positions or self._pending_ties_up):
                return 0.0
            names = self.symbols if self._pending_ties_up else self._held_symbols()
            self._margin = self.round_ccy(sum([self.symbols[symbol].margin_now() for symbol in names]))
        return self._margin

    def is_margin_call(self) -> bool:
        """Tell whether the account has fallen to the margin-call level."""
        settings, margin = self.settings, self.margin()
        if margin <= 0.0:
            return False
        if settings.stop_out_mode == "money":
            return self.equity() <= settings.margin_call_ccy
        return self.equity() * 100.0 <= margin * settings.margin_call_pct

    def figures(self, symbol: str) -> tuple[bool, list[float]]:
        """Return whether the symbol's price moves the account, and the figures ``kernel.scan`` needs."""
        if self._figures_symbol == symbol:
            return self._figures
        figures = [0.0] * kernel.FIGURES
        own = self.symbols[symbol].exposure
        moved, dependents, state = own.held > 0, False, self.state
        fixed, doubt, others = state.balance_ccy + state.credit_ccy + own.swap_ccy, 0.0, own.held
        for other in self._held_symbols():
            if other == symbol:
                continue
            exposure = self.symbols[other].exposure
            others += exposure.held
            fixed += exposure.swap_ccy
            if self._cross_of(other) == symbol:
                moved = dependents = True
                self._add_dependent(figures, other, exposure)
            else:
                other_floating, other_doubt = self._leg_floating(other)
                fixed += other_floating
                doubt += other_doubt
        figures[kernel.FIXED] = fixed
        # Nothing but this symbol's own price, and no conversion: the case of most accounts.
        self._is_plain = self.symbols[symbol].in_account and not dependents
        if own.held:
            doubt += self._set_own(figures, symbol, own)
        # Every position's profit is rounded: half a unit each, and a little for the floats themselves.
        doubt += (others + 1) * self._cents
        figures[kernel.STOP_OUT_LINE] = self._stop_out_line() + doubt
        self._figures_symbol, self._figures = symbol, (moved, figures)
        return self._figures

    def _stop_out_line(self) -> float:
        margin = self.margin()
        if margin <= 0.0:
            return -np.inf
        settings = self.settings
        return settings.stop_out_ccy if settings.stop_out_mode == "money" else settings.stop_out_pct / 100.0 * margin

    def is_clearly_solvent(self, symbol: str) -> bool:
        """Tell, from sums alone, that equity is above the stop-out line; False means that nobody has looked closely."""
        if not self.state.positions:
            return not self.state.orders
        figures, quote = self.figures(symbol)[1], self.state.quotes[symbol]
        bid, ask = quote.bid, quote.ask
        if bid <= 0.0:
            return False
        doubt = figures[kernel.DIRECT_MIXED] * (ask - bid) + figures[kernel.INVERSE_MIXED] * (1.0 / bid - 1.0 / ask)
        return self._estimate(symbol, bid, ask) - doubt > figures[kernel.STOP_OUT_LINE]

    def _estimate(self, symbol: str, bid: float, ask: float) -> float:
        """Return the equity at a quote of the symbol from sums alone, exactly as the compiled walk does."""
        figures = self.figures(symbol)[1]
        if self._is_plain:
            long = figures[kernel.LONG_UNITS] * bid - figures[kernel.LONG_COST]
            short = figures[kernel.SHORT_COST] - figures[kernel.SHORT_UNITS] * ask
            return figures[kernel.FIXED] + long + short
        return float(kernel.equity_at(figures, bid, ask))

    def note_peak(self, symbol: str) -> None:
        """Raise the peak if equity at the quote in force is above it."""
        state, quote = self.state, self.state.quotes[symbol]
        equity = state.balance_ccy + state.credit_ccy
        if state.positions:
            equity = self._estimate(symbol, quote.bid, quote.ask)
        state.peak_equity_ccy = max(state.peak_equity_ccy, equity)

    def _set_own(self, figures: list[float] | Floats, symbol: str, own: Exposure) -> float:
        figures[kernel.LONG_UNITS], figures[kernel.LONG_COST] = own.long.units, own.long.cost
        figures[kernel.SHORT_UNITS], figures[kernel.SHORT_COST] = own.short.units, own.short.cost
        traded = self.symbols[symbol]
        if traded.in_account:
            figures[kernel.CONVERSION] = kernel.ACCOUNT
        elif traded.own_rate:
            figures[kernel.CONVERSION] = kernel.OWN
        else:
            figures[kernel.CONVERSION] = kernel.CROSS
            rate = self.rates().get(traded.config.profit_currency, Rate(0.0, 0.0))
            figures[kernel.GAIN_RATE], figures[kernel.LOSS_RATE] = rate
            return own.mixed() * (rate.loss - rate.gain)
        return 0.0

    def _leg_floating(self, symbol: str) -> tuple[float, float]:
        figures = [0.0] * kernel.FIGURES
        doubt = self._set_own(figures, symbol, self.symbols[symbol].exposure)
        quote = self.state.quotes[symbol]
        return float(kernel.equity_at(figures, quote.bid, quote.ask)), doubt

    def _add_dependent(self, figures: list[float], symbol: str, exposure: Exposure) -> None:
        """Add the legs of a symbol whose profit the scanned symbol's price converts."""
        config = self.instruments[self._crosses[self.instruments[symbol].config.profit_currency]].config
        inverse = config.margin_currency == self.settings.currency
        quote = self.state.quotes[symbol]
        for amount in (
            exposure.long.units * quote.bid - exposure.long.cost,
            exposure.short.cost - exposure.short.units * quote.ask,
        ):
            gain_place = kernel.INVERSE_GAIN if inverse else kernel.DIRECT_GAIN
            figures[gain_place if amount >= 0.0 else gain_place + 1] += amount
        figures[kernel.INVERSE_MIXED if inverse else kernel.DIRECT_MIXED] += exposure.mixed()

    def _cross_of(self, symbol: str) -> str | None:
        traded = self.symbols[symbol]
        return self._crosses.get(traded.config.profit_currency) if traded.needs_cross else None

    # Booking.

    def take_order_ticket(self) -> int:
        self.state.next_order += 1
        return self.state.next_order - 1

    def take_deal_ticket(self) -> int:
        self.state.next_deal += 1
        return self.state.next_deal - 1

    def book(self, deal: TradeDeal, ts_ns: int) -> TradeDeal:
        """Move the balance by the deal, remember and tell it."""
        state = self.state
        if deal.type == mt5.DEAL_TYPE_CREDIT:
            state.credit_ccy = self.round_ccy(state.credit_ccy + deal.profit)
        else:
            moved = deal.profit + deal.swap + deal.commission + deal.fee
            state.balance_ccy = self.round_ccy(state.balance_ccy + moved)
        _append_bounded(state.history_deals, deal, self.settings.history_limit)
        state.untold += [DealAdded(ts_ns, deal)] * self.notices
        self.changes += 1
        self._figures_symbol = None
        return deal

    def book_money(self, amount_ccy: float, comment: str, ts_ns: int, *, kind: int = mt5.DEAL_TYPE_BALANCE) -> TradeDeal:
        """Move the balance (or the credit) without a trade: a deposit, a withdrawal, a correction."""
        msc = self.clock.msc(ts_ns)
        deal = TradeDeal(
            ticket=self.take_deal_ticket(), time=msc // 1000, time_msc=msc, type=kind,
            profit=self.round_ccy(amount_ccy), comment=comment,
        )
        return self.book(deal, ts_ns)

    def remember_order(self, order: TradeOrder) -> None:
        _append_bounded(self.state.history_orders, order, self.settings.history_limit)


def _append_bounded(records: list[Any], record: Any, limit: int) -> None:
    records.append(record)
    if len(records) > limit:
        # A tenth at once, so that a full history does not shift on every deal.
        del records[: limit // 10]
