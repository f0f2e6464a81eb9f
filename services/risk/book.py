"""What risk knows: quotes, the account, approvals whose outcome is open, and the halt.

Exposure is counted at its worst: of everything that may be open on a symbol (positions, approvals on their way,
orders of unknown outcome) any part may turn out to be there or not, so what counts is the larger of all buys and all
sells. Positions opened by others count in full; only our own are ever closed.
"""

import math
from bisect import bisect_right

from libs.common.messages.account import AccountSnapshot, Position
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderPurpose
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, cross_rates, margin_ccy
from services.risk.state import BookState, OpenOrder, RecentOrder

_TRIM_AT = 64
"""Old approvals are dropped this many at a time: shifting the list costs more than keeping a few."""
_KEYS_AT_LEAST = 1_024
"""So many keys are kept without asking whether their positions are still there."""
_MAGIC_KEY_BITS = 48
"""A position's magic number carries this much of the id of the order that opened it."""


def magic_key(magic: int) -> int:
    """Return the part of a magic number that is the order's."""
    return magic & ((1 << _MAGIC_KEY_BITS) - 1)


def _by_symbol(positions: tuple[Position, ...]) -> dict[str, tuple[Position, ...]]:
    found: dict[str, list[Position]] = {}
    for position in positions:
        found.setdefault(position.symbol, []).append(position)
    return {symbol: tuple(held) for symbol, held in found.items()}


def order_key(order_id: str) -> int:
    """Return the part of an order id that its magic number carries; -1, which none carries, for what is no order id."""
    try:
        return int(order_id[: _MAGIC_KEY_BITS // 4], 16)
    except ValueError:
        return -1


class Book:
    """The state with the questions checks ask of it; every question is answered without changing anything.

    Parameters
    ----------
    instruments : specification by symbol, of every symbol that may be held
    """

    def __init__(self, instruments: dict[str, Instrument]) -> None:
        self.instruments = instruments
        self.state = BookState()
        self._indexed: list[RecentOrder] | None = None
        self._index: dict[str, int] = {}
        self._sorted_account: AccountSnapshot | None = None
        self._sorted: dict[str, tuple[Position, ...]] = {}

    def rates_for(self, instrument: Instrument) -> dict[str, Rate]:
        """Return what currencies are worth in account currency, from the last usable quotes.

        Empty for an instrument that holds the account currency itself: its own price converts it.
        """
        account = self.state.account
        if account is None or account.currency in (
            instrument.config.margin_currency,
            instrument.config.profit_currency,
        ):
            return {}
        usable = {symbol: (q.bid, q.ask) for symbol, q in self.state.quotes.items() if q.is_usable}
        return cross_rates(account.currency, self.instruments, usable)

    def needed_quote_times_ns(self, symbol: str) -> tuple[int, ...]:
        """Return the times of the quotes a decision on a symbol rests on: its own and those that convert it.

        0 stands for a quote that never came, so that its age is larger than any limit.
        """
        times = [self._quote_time_ns(symbol)]
        instrument, account = self.instruments.get(symbol), self.state.account
        if instrument is not None and account is not None:
            currencies = {instrument.config.profit_currency, instrument.config.margin_currency}
            if account.currency not in currencies:
                times += [self._rate_time_ns(currency, account.currency) for currency in sorted(currencies)]
        return tuple(times)

    def _quote_time_ns(self, symbol: str) -> int:
        quote = self.state.quotes.get(symbol)
        return 0 if quote is None else quote.time_ns

    def _rate_time_ns(self, currency: str, account_currency: str) -> int:
        """Return the time of the quote ``cross_rates`` uses for a currency."""
        pair = {currency, account_currency}
        for symbol in sorted(self.instruments):
            config, quote = self.instruments[symbol].config, self.state.quotes.get(symbol)
            if quote is not None and quote.is_usable and {config.margin_currency, config.profit_currency} == pair:
                return quote.time_ns
        return 0

    def notional_ccy(self, symbol: str, volume_lots: float, fallback_price: float = 0.0) -> float | None:
        """Return what a volume is worth in account currency, ``None`` when that cannot be said.

        Parameters
        ----------
        fallback_price : used where the symbol has no usable quote
        """
        instrument, account = self.instruments.get(symbol), self.state.account
        if instrument is None or account is None:
            return None
        quote = self.state.quotes.get(symbol)
        price = quote.ask if quote is not None and quote.is_usable else fallback_price
        if not price > 0.0:
            return None
        return margin_ccy(instrument, volume_lots, price, 1.0, account.currency, self.rates_for(instrument))

    def worst_case_lots(self, symbol: str, added: Side | None = None, added_lots: float = 0.0) -> float:
        """Return the largest net position a symbol may turn out to have, lots.

        Parameters
        ----------
        added, added_lots : an order to count as filled
        """
        bought = sold = own_unknown = 0.0
        for position in self.positions(symbol):
            if position.side is Side.BUY:
                bought += position.volume_lots
            else:
                sold += position.volume_lots
        for order in self.state.orders.values():
            if order.symbol == symbol and self._may_add_risk(order):
                if order.side is Side.BUY:
                    bought += order.volume_lots
                else:
                    sold += order.volume_lots
                own_unknown += order.volume_lots if order.stage == "unknown" else 0.0
        if added is not None:
            bought, sold = (bought + added_lots, sold) if added is Side.BUY else (bought, sold + added_lots)
        return max(bought, sold) + self._doubtful_lots(symbol, own_unknown)

    def _doubtful_lots(self, symbol: str, own_unknown: float) -> float:
        """Return the volume in doubt that the executor reports beyond what we count ourselves, lots."""
        account = self.state.account
        if account is None or not account.unknown_lots:
            return 0.0
        return max(abs(account.unknown_lots.get(symbol, 0.0)) - own_unknown, 0.0)

    def _may_add_risk(self, order: OpenOrder) -> bool:
        if order.purpose is OrderPurpose.REDUCE:
            return False
        # An executed order whose position the account already shows would be counted twice.
        return not (order.stage == "settled" and self._holds(order))

    def _holds(self, order: OpenOrder) -> bool:
        """Tell whether the account already shows what an executed order opened."""
        account, key = self.state.account, order_key(order.order_id)
        if account is None:
            return False
        if not (account.hedging or account.ts_event_ns > order.settled_ns):
            # A netting position keeps its id when it grows. A later snapshot is sure to hold the new volume; one of the
            # same moment does when the net position is what the order makes of the one before.
            if order.before_lots is None:
                return False
            after = order.before_lots + order.side.sign * order.volume_lots
            return abs(self._net_lots(order.symbol) - after) < 1e-9
        for p in self.positions(order.symbol):
            if (order.position_id and p.position_id == order.position_id) or (p.magic and magic_key(p.magic) == key):
                return True
        return False

    def _net_lots(self, symbol: str) -> float:
        return sum([position.side.sign * position.volume_lots for position in self.positions(symbol)], 0.0)

    def exposed_symbols(self) -> list[str]:
        """Return every symbol with a position or an order in doubt, in alphabetical order."""
        account = self.state.account
        names = {order.symbol for order in self.state.orders.values()}
        if account is not None:
            names.update([position.symbol for position in account.positions], account.unknown_lots)
        return sorted(names)

    def exposures_x(self) -> dict[str, float | None]:
        """Return the worst-case notional of every exposed symbol, in multiples of equity; ``None``: cannot be valued."""
        return {symbol: self.exposure_x(symbol) for symbol in self.exposed_symbols()}

    def exposure_x(self, symbol: str, added: Side | None = None, added_lots: float = 0.0) -> float | None:
        """Return a symbol's worst-case notional in multiples of equity, ``None`` when it cannot be valued."""
        account = self.state.account
        lots = self.worst_case_lots(symbol, added, added_lots)
        if lots == 0.0:
            return 0.0
        if account is None or not account.equity_ccy > 0.0:
            return None
        opened_at = max((position.price_open for position in self.positions(symbol)), default=0.0)
        notional = self.notional_ccy(symbol, lots, opened_at)
        return None if notional is None or not math.isfinite(notional) else notional / account.equity_ccy

    def in_flight_margin_ccy(self) -> float | None:
        """Return the margin that orders on their way will take, account currency, ``None`` when it cannot be said."""
        account = self.state.account
        total = 0.0
        for order in self.state.orders.values():
            if account is not None and self._may_add_risk(order):
                notional = self.notional_ccy(order.symbol, order.volume_lots)
                if notional is None or not account.leverage > 0.0:
                    return None
                total += notional / account.leverage
        return total

    def position_count(self, symbol: str | None = None, ignored: frozenset[int] = frozenset()) -> int:
        """Return how many positions there are or may be, of one symbol or of all.

        Parameters
        ----------
        ignored : positions that are being closed by the same decision
        """
        held = self.positions(symbol)
        count = len(held)
        if ignored:
            count -= len([p for p in held if p.position_id in ignored])
        for order in self.state.orders.values():
            if (symbol is None or order.symbol == symbol) and self._may_add_risk(order):
                count += 1
        account = self.state.account
        if account is not None:
            for name, lots in account.unknown_lots.items():
                count += symbol in (None, name) and lots != 0.0 and not self._knows_unknown(name)
        return count

    def _knows_unknown(self, symbol: str) -> bool:
        return any(order.symbol == symbol and order.stage == "unknown" for order in self.state.orders.values())

    def positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Return the open positions of one symbol, or of all."""
        account = self.state.account
        if account is None or not account.positions:
            return ()
        if symbol is None:
            return account.positions
        if self._sorted_account is not account:
            # Asked a dozen times between two snapshots.
            self._sorted_account, self._sorted = account, _by_symbol(account.positions)
        return self._sorted.get(symbol, ())

    def own_positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Return the positions our own orders opened."""
        keys = self.state.own_keys
        return tuple([p for p in self.positions(symbol) if p.magic and magic_key(p.magic) in keys])

    def is_being_closed(self, position_id: int) -> bool:
        """Tell whether an order that reduces the position, or turns it round, is on its way."""
        for order in self.state.orders.values():
            if order.position_id == position_id and (
                order.purpose is OrderPurpose.REDUCE or order.stage != "settled"
            ):
                return True
        return False

    def unknown_lots(self, symbol: str) -> float:
        """Return the volume of a symbol's orders whose outcome nobody can say, lots."""
        own = sum([o.volume_lots for o in self.state.orders.values() if o.symbol == symbol and o.stage == "unknown"])
        reported = self.state.account.unknown_lots.get(symbol, 0.0) if self.state.account else 0.0
        return max(own, abs(reported))

    def daily_loss_pct(self) -> float:
        """Return the loss since the broker's midnight, floating included, percent of the equity then."""
        account = self.state.account
        if account is None or not account.day_start_equity_ccy > 0.0:
            return 0.0
        return (account.day_start_equity_ccy - account.equity_ccy) / account.day_start_equity_ccy * 100.0

    def drawdown_pct(self) -> float:
        """Return how far equity has fallen from its peak, percent of the peak."""
        account, peak = self.state.account, self.state.peak_equity_ccy
        return 0.0 if account is None or not peak > 0.0 else (peak - account.equity_ccy) / peak * 100.0

    # What follows changes the book; only the core calls it.

    def take_account(self, account: AccountSnapshot, grace_ns: int) -> None:
        """Take the broker's word for what we have and let go of what it settles."""
        state = self.state
        if state.account is not None and account.ts_event_ns < state.account.ts_event_ns:
            return
        state.account = account
        peak = account.peak_equity_ccy if account.peak_equity_ccy > state.accepted_peak_ccy else 0.0
        state.peak_equity_ccy = max(
            [value for value in (state.peak_equity_ccy, peak, account.equity_ccy) if math.isfinite(value)], default=0.0
        )
        if len(state.own_keys) > 2 * max(state.keys_needed, _KEYS_AT_LEAST):
            self._drop_old_keys(account)
        for order in list(state.orders.values()):
            waited_long = account.ts_event_ns > order.settled_ns + grace_ns
            if order.stage == "settled" and (waited_long or self._is_shown(order)):
                del state.orders[order.order_id]

    def _drop_old_keys(self, account: AccountSnapshot) -> None:
        state = self.state
        needed = {magic_key(position.magic) for position in account.positions if position.magic}
        needed |= {order_key(order_id) for order_id in state.orders}
        needed |= {order_key(order.order_id) for order in state.recent}
        state.own_keys = {key: True for key in state.own_keys if key in needed}
        state.keys_needed = len(state.own_keys)

    def _is_shown(self, order: OpenOrder) -> bool:
        if order.purpose is OrderPurpose.OPEN:
            return self._holds(order)
        return all(position.position_id != order.position_id for position in self.positions(order.symbol))

    def add(self, order: OrderApproved, now_ns: int) -> None:
        """Count an approval as filled until its outcome is known."""
        self.state.orders[order.order_id] = OpenOrder(
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            purpose=order.purpose,
            volume_lots=order.volume_lots,
            position_id=order.position_id,
            expires_ns=order.expires_ns,
            before_lots=self._net_lots(order.symbol),
        )
        self._recent_index()[order.order_id] = now_ns
        self.state.recent.append(
            RecentOrder(order.order_id, order.symbol, order.side, order.purpose, order.price, now_ns)
        )
        if order.purpose is OrderPurpose.OPEN:
            self.state.own_keys[order_key(order.order_id)] = True
        self.state.approved += 1

    def forget_old(self, now_ns: int, keep_recent_ns: int, grace_ns: int) -> None:
        """Drop expired approvals nobody ever heard of again, and approvals too old to matter for any check."""
        state = self.state
        expired = [
            order.order_id for order in state.orders.values()
            if order.stage == "approved" and now_ns > order.expires_ns + grace_ns
        ]
        for order_id in expired:
            del state.orders[order_id]
        recent = state.recent
        if len(recent) <= _TRIM_AT or recent[_TRIM_AT].approved_ns >= now_ns - keep_recent_ns:
            return
        old = self.recent_until(now_ns - keep_recent_ns - 1)
        if old > _TRIM_AT:
            index = self._recent_index()
            for past in recent[:old]:
                index.pop(past.order_id, None)
            del recent[:old]

    def recent_until(self, time_ns: int) -> int:
        """Return how many recent approvals were given at or before a time; the others follow them in the list."""
        return bisect_right(self.state.recent, time_ns, key=lambda order: order.approved_ns)

    def approved_at_ns(self, order_id: str) -> int | None:
        """Return when a recent order was approved, ``None`` for one that was not."""
        return self._recent_index().get(order_id)

    def _recent_index(self) -> dict[str, int]:
        """Return order id -> time of approval; made anew when the state was restored."""
        if self._indexed is not self.state.recent:
            self._indexed = self.state.recent
            self._index = {order.order_id: order.approved_ns for order in self.state.recent}
        return self._index
