"""Commission as a share of the price."""

import pytest

from libs.common.config import InstrumentConfig
from services.trainer.costs import round_trip_pct


def test_with_the_account_currency_as_quote_the_lot_is_worth_contract_times_price():
    gold = InstrumentConfig(contract_size=100.0, profit_currency="USD", margin_currency="USD", commission_per_lot_ccy=5)
    assert round_trip_pct(gold, 2_000.0, "USD", 0.0) == pytest.approx(100.0 * 10.0 / 200_000.0)


def test_with_the_account_currency_as_base_the_lot_is_worth_its_contract():
    yen = InstrumentConfig(profit_currency="JPY", margin_currency="USD", commission_per_lot_ccy=3.5)
    assert round_trip_pct(yen, 150.0, "USD", 0.0) == pytest.approx(0.007)


def test_slippage_comes_on_top():
    free = InstrumentConfig(commission_per_lot_ccy=0.0)
    assert round_trip_pct(free, 1.3, "USD", 0.02) == 0.02
