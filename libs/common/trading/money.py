"""Profit and margin in account currency; an unknown rate gives ``None``, never a guess."""

from collections.abc import Mapping
from typing import NamedTuple

from libs.common.trading.instrument import Instrument


class Rate(NamedTuple):
    """What one unit of a currency is in account currency.

    Parameters
    ----------
    gain : what we get for a unit we hold
    loss : what we pay for a unit we owe; at least ``gain``
    """

    gain: float
    loss: float

    def convert(self, amount: float) -> float:
        """Return the amount in account currency, at the side of the market that applies to its sign."""
        return amount * (self.gain if amount >= 0.0 else self.loss)


UNIT = Rate(1.0, 1.0)


def cross_rates(
    account_currency: str,
    instruments: Mapping[str, Instrument],
    quotes: Mapping[str, tuple[float, float]],
) -> dict[str, Rate]:
    """Derive what currencies are worth from the quotes of forex instruments that hold the account currency.

    Parameters
    ----------
    instruments : by symbol
    quotes : symbol -> (bid, ask), both > 0; symbols without a quote yet are left out

    Returns
    -------
    Currency -> rate, the account currency included. The first instrument in alphabetical order wins.
    """
    rates = {account_currency: UNIT}
    for symbol in sorted(instruments):
        instrument, quote = instruments[symbol], quotes.get(symbol)
        if quote is None or not instrument.is_forex:
            continue
        bid, ask = quote
        base, profit = instrument.config.margin_currency, instrument.config.profit_currency
        if profit == account_currency:
            rates.setdefault(base, Rate(bid, ask))
        elif base == account_currency:
            rates.setdefault(profit, Rate(1.0 / ask, 1.0 / bid))
    return rates


def profit_ccy(
    instrument: Instrument,
    sign: int,
    volume_lots: float,
    price_open: float,
    price_close: float,
    account_currency: str,
    rates: Mapping[str, Rate],
) -> float | None:
    """Return the profit of a position in account currency, not rounded; swap and commission not in it.

    A symbol that is quoted against the account currency (USDJPY on a USD account) is converted with its own
    closing price.

    Parameters
    ----------
    sign : +1 for buy, -1 for sell
    rates : currency -> rate; needed for symbols that do not hold the account currency

    Returns
    -------
    ``None`` when the rate of the profit currency is unknown.

    Examples
    --------
    >>> from libs.common.config import InstrumentConfig
    >>> usdjpy = InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY")
    >>> profit_ccy(Instrument("USDJPY", usdjpy), 1, 0.5, 100.0, 101.0, "USD", {})
    495.0495049504951
    """
    config = instrument.config
    amount = sign * (price_close - price_open) * instrument.value_per_lot * volume_lots
    if config.profit_currency == account_currency:
        return amount
    if config.margin_currency == account_currency:
        return amount / price_close
    rate = rates.get(config.profit_currency)
    return None if rate is None else rate.convert(amount)


def margin_ccy(
    instrument: Instrument,
    volume_lots: float,
    price: float,
    leverage: float,
    account_currency: str,
    rates: Mapping[str, Rate],
) -> float | None:
    """Return the margin a position needs, in account currency, not rounded.

    Forex: ``lots * contract / leverage`` in margin currency, converted with the symbol's own price when it is quoted
    in account currency. CFD (margin and profit currency are one): ``lots * contract * price / leverage``.

    Parameters
    ----------
    price : opening price
    leverage : of the account, > 0

    Returns
    -------
    ``None`` when the rate of the margin currency is unknown.

    References
    ----------
    MQL5 reference, ENUM_SYMBOL_CALC_MODE: SYMBOL_CALC_MODE_FOREX and SYMBOL_CALC_MODE_CFDLEVERAGE.

    Examples
    --------
    >>> from libs.common.config import InstrumentConfig
    >>> margin_ccy(Instrument("EURUSD", InstrumentConfig()), 1.0, 1.25, 100.0, "USD", {})
    1250.0
    """
    config = instrument.config
    amount = volume_lots * config.contract_size / leverage
    if not instrument.is_forex:
        amount *= price
    if config.margin_currency == account_currency:
        return amount
    if instrument.is_forex and config.profit_currency == account_currency:
        return amount * price
    rate = rates.get(config.margin_currency)
    return None if rate is None else amount * rate.loss
