"""What a round trip costs besides the spread."""

from libs.common.config import InstrumentConfig


def round_trip_pct(instrument: InstrumentConfig, mid: float, account_currency: str, slippage_pct: float) -> float:
    """Return commission of both sides and assumed slippage in percent of price.

    Parameters
    ----------
    instrument : what the broker says of the symbol
    mid : price, > 0
    account_currency : the currency commissions are charged in
    slippage_pct : assumed slippage of a round trip, percent of price

    Returns
    -------
    Percent of price, >= 0. A lot's value in account currency is its contract size where the base currency is the
    account's, else contract size times price: exact where the quote currency is the account's, and an
    approximation by the exchange rate between the two for a cross.

    Examples
    --------
    >>> round(round_trip_pct(InstrumentConfig(commission_per_lot_ccy=3.5), 1.4, "USD", 0.0), 6)
    0.005
    """
    base_is_account = instrument.margin_currency == account_currency != instrument.profit_currency
    lot_value_ccy = instrument.contract_size * (1.0 if base_is_account else mid)
    return 200.0 * instrument.commission_per_lot_ccy / lot_value_ccy + slippage_pct
