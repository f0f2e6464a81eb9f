"""What happens at the server's midnight: swap, and the end of orders that live for a day."""

from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.execution import cancel, close, fill, finish
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.state import Execution, OpenPosition
from libs.common.mt5.sim.traded import TradedSymbol
from libs.common.trading.money import Rate

SATURDAY = 5


def roll_over(ledger: Ledger) -> None:
    """End the server's day: charge the night's swap and start the next day's figures."""
    state = ledger.state
    ended_ns = state.next_midnight_ns
    new_day = ledger.clock.day(ended_ns)
    for position in ledger.positions():
        traded = ledger.symbols[position.symbol]
        nights = _nights(ledger, traded, new_day - 1)
        if nights:
            _charge(ledger, traded, position, nights, ended_ns)
    for traded in ledger.symbols.values():
        if traded.terms.gtc_mode != "gtc":
            _end_day_orders(ledger, traded, ended_ns)
    state.day = new_day
    state.next_midnight_ns = ledger.clock.next_midnight_ns(ended_ns)
    state.day_start_equity_ccy = ledger.equity()


def _nights(ledger: Ledger, traded: TradedSymbol, ended_day: int) -> int:
    if traded.config.session == "always":
        return 1
    week_day = ledger.clock.week_day(ended_day)
    if week_day >= SATURDAY:
        return 0
    return 3 if week_day == traded.triple_swap_day else 1


def _charge(ledger: Ledger, traded: TradedSymbol, position: OpenPosition, nights: int, ts_ns: int) -> None:
    mode = traded.terms.swap_mode
    if mode.startswith("reopen"):
        _reopen(ledger, traded, position, nights, ts_ns)
        return
    swap = ledger.round_ccy(position.swap_ccy + nights * swap_per_night(ledger, traded, position))
    if swap != position.swap_ccy:
        ledger.leave(position)
        position.swap_ccy = swap
        ledger.enter(position)


def swap_per_night(ledger: Ledger, traded: TradedSymbol, position: OpenPosition) -> float:
    """Return what one night costs (< 0) or brings, account currency, rounded.

    References
    ----------
    MQL5 reference, ENUM_SYMBOL_SWAP_MODE.
    """
    rate = traded.swap_long if position.sign > 0 else traded.swap_short
    mode, lots = traded.terms.swap_mode, position.volume_lots
    quote = ledger.state.quotes[position.symbol]
    price = quote.bid if position.sign > 0 else quote.ask
    if mode == "disabled" or rate == 0.0:
        return 0.0
    if mode == "points":
        # Swap points are price differences, so they are worth what a profit of so many points is worth.
        amount = ledger.profit(position.symbol, 1, lots, price - rate * traded.point, price)
        assert amount is not None, "no position is opened before its rates are known"
        return amount
    if mode == "deposit_currency":
        return ledger.round_ccy(rate * lots)
    if mode in ("base_currency", "margin_currency"):
        return ledger.round_ccy(_base_rate(ledger, traded, price).convert(rate * lots))
    basis = price if mode == "interest_current" else position.price_open
    # A gain of so many per cent a year, in profit currency, booked like a profit of that size.
    yearly = basis * rate / 100.0
    amount = ledger.profit(position.symbol, 1, lots, price - yearly / ledger.settings.swap_days_per_year, price)
    assert amount is not None, "no position is opened before its rates are known"
    return amount


def _base_rate(ledger: Ledger, traded: TradedSymbol, price: float) -> Rate:
    currency = traded.config.margin_currency
    if currency == ledger.settings.currency:
        return Rate(1.0, 1.0)
    if traded.in_account and traded.instrument.is_forex:
        return Rate(price, price)
    rate = ledger.rates().get(currency)
    assert rate is not None, "no position is opened before its rates are known"
    return rate


def _reopen(ledger: Ledger, traded: TradedSymbol, position: OpenPosition, nights: int, ts_ns: int) -> None:
    """Close a position and open it again at a price so many points worse (swap < 0) or better, under a new ticket."""
    rate = traded.swap_long if position.sign > 0 else traded.swap_short
    if rate == 0.0:
        return
    quote = ledger.state.quotes[position.symbol]
    ask_side = position.sign < 0 and traded.terms.swap_mode == "reopen_close"
    price = traded.instrument.round_price(quote.ask if ask_side else quote.bid)
    close(ledger, position, price, mt5.DEAL_REASON_ROLLOVER, "", ts_ns)
    execution = Execution(
        order=ledger.take_order_ticket(), symbol=position.symbol, sign=position.sign,
        type=mt5.ORDER_TYPE_BUY if position.sign > 0 else mt5.ORDER_TYPE_SELL, volume_lots=position.volume_lots,
        price=traded.instrument.shift(price, -position.sign * rate * nights), sl=position.sl, tp=position.tp,
        magic=position.magic, comment=position.comment, reason=mt5.DEAL_REASON_ROLLOVER, placed_ns=ts_ns,
        identifier=position.identifier,
    )
    finish(ledger, execution, fill(ledger, execution, ts_ns), ts_ns)


def _end_day_orders(ledger: Ledger, traded: TradedSymbol, ts_ns: int) -> None:
    for order in ledger.orders(traded.symbol):
        cancel(ledger, order, mt5.ORDER_STATE_EXPIRED, ts_ns)
    if traded.terms.gtc_mode == "daily":
        for position in ledger.positions(traded.symbol):
            if position.sl or position.tp:
                ledger.leave(position)
                position.sl = position.tp = 0.0
                ledger.enter(position)


def expire_orders(ledger: Ledger, symbol: str, ts_ns: int) -> None:
    """Take off the symbol's orders whose time is over."""
    for expires_ns, ticket in list(ledger.symbols[symbol].exposure.expiries):
        if expires_ns > ts_ns:
            return
        cancel(ledger, ledger.state.orders[ticket], mt5.ORDER_STATE_EXPIRED, expires_ns)
