"""Margin and profit in every calculation mode, costs, swap in every mode, margin call and stop-out."""

import pytest

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SymbolTerms, TerminalSettings
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.state import Quote
from libs.common.trading.instrument import Instrument

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
DAY_NS = 86_400_000_000_000
FREE = InstrumentConfig(commission_per_lot_ccy=0.0)


def config_of(mode, **more):
    given = {"digits": 2, "contract_size": 10.0, "margin_currency": "USD", "commission_per_lot_ccy": 0.0}
    return InstrumentConfig(**{**given, "calc_mode": mode, **more})


FOREX = {"digits": 5, "contract_size": 100_000.0, "margin_currency": "EUR"}
FUTURE = {"tick_size": 0.25, "tick_value": 12.5}
BOND = {"face_value": 1_000.0}


@pytest.mark.parametrize(("mode", "more", "terms", "prices", "margin", "profit"), [
    # 0.5 lot bought at the first price and valued at the second; account in USD, 1 : 100.
    ("forex", FOREX, {}, (1.10, 1.12), 0.5 * 100_000 / 100 * 1.10, 0.5 * 100_000 * 0.02),
    ("forex_no_leverage", FOREX, {}, (1.10, 1.12), 0.5 * 100_000 * 1.10, 0.5 * 100_000 * 0.02),
    ("futures", FUTURE, {"margin_initial_ccy": 800.0}, (5_000.0, 5_010.0), 0.5 * 800.0, 0.5 * 10.0 / 0.25 * 12.5),
    ("cfd", {}, {}, (100.0, 104.0), 0.5 * 10 * 100.0, 0.5 * 10 * 4.0),
    ("cfd_index", {"tick_size": 0.5, "tick_value": 2.0}, {}, (100.0, 104.0), 0.5 * 10 * 100.0 * 2.0 / 0.5, 0.5 * 10 * 4.0),
    ("cfd_leverage", {}, {}, (100.0, 104.0), 0.5 * 10 * 100.0 / 100, 0.5 * 10 * 4.0),
    ("exch_stocks", {}, {}, (100.0, 104.0), 0.5 * 10 * 99.0, 0.5 * 10 * 4.0),
    ("exch_stocks_moex", {}, {}, (100.0, 104.0), 0.5 * 10 * 99.0, 0.5 * 10 * 4.0),
    ("exch_futures", FUTURE, {"margin_initial_ccy": 800.0}, (5_000.0, 5_010.0), 400.0, 250.0),
    ("exch_options", FUTURE, {"margin_initial_ccy": 800.0}, (5_000.0, 5_010.0), 400.0, 250.0),
    ("exch_options_margin", FUTURE, {"margin_initial_ccy": 800.0}, (5_000.0, 5_010.0), 400.0, 250.0),
    ("exch_bonds", BOND, {}, (98.0, 99.5), 0.5 * 10 * 1_000 * 98.0 / 100, 0.5 * 10 * 1_000 * 1.5 / 100),
    ("exch_bonds_moex", BOND, {}, (98.0, 99.5), 0.5 * 10 * 1_000 * 98.0 / 100, 0.5 * 10 * 1_000 * 1.5 / 100),
    ("collateral", {}, {"liquidity_rate": 0.8}, (100.0, 104.0), 0.0, 0.0),
])
def test_margin_and_profit_by_calculation_mode(market, mode, more, terms, prices, margin, profit):
    trading = market(("X",), configs={"X": config_of(mode, **more)}, terms={"X": terms}, balance_ccy=100_000.0)
    trading.terminal.advance(trading.block((prices[0], prices[0]), last=99.0))
    assert trading.buy(0.5).retcode == mt5.TRADE_RETCODE_DONE
    trading.terminal.advance(trading.block((prices[1], prices[1]), last=99.0))
    assert trading.terminal.margin_ccy == pytest.approx(margin)
    assert trading.positions[0].profit == pytest.approx(profit)
    # A sale of the same mirrors the profit.
    mirrored = trading.terminal.order_calc_profit(SELL, "X", 0.5, *prices)
    assert mirrored == pytest.approx(-profit)
    assets = 0.5 * 10 * 104.0 * 0.8 if mode == "collateral" else 0.0
    assert trading.terminal.equity() == pytest.approx(100_000.0 + profit + assets)


def test_an_open_future_ties_up_its_maintenance_margin_and_opening_needs_the_initial_one(market):
    terms = {"margin_initial_ccy": 1_000.0, "margin_maintenance_ccy": 600.0}
    trading = market(("X",), configs={"X": config_of("exch_futures", **FUTURE)}, terms={"X": terms}, balance_ccy=1_500.0)
    trading.ticks((5_000.0, 5_000.0))
    assert trading.buy(1.0).retcode == mt5.TRADE_RETCODE_DONE
    assert trading.terminal.margin_ccy == 600.0
    assert trading.buy(1.0).retcode == mt5.TRADE_RETCODE_NO_MONEY


def test_margin_rates_differ_by_direction_and_for_waiting_orders(market):
    terms = {"margin_rate_buy": 2.0, "margin_rate_sell": 0.5, "margin_rate_pending": 0.25}
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": terms}, balance_ccy=5_000.0)
    trading.ticks((1.25, 1.25))
    trading.buy(1.0)
    assert trading.terminal.margin_ccy == 2_500.0
    ticket = trading.pending(mt5.ORDER_TYPE_SELL_LIMIT, 1.26).order
    assert trading.terminal.margin_ccy == 2_500.0 + 0.25 * 0.5 * 126.0
    assert trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.24, volume=10.0).retcode == mt5.TRADE_RETCODE_NO_MONEY
    trading.send(action=mt5.TRADE_ACTION_REMOVE, order=ticket)
    assert trading.terminal.margin_ccy == 2_500.0


@pytest.mark.parametrize(("terms", "margin"), [
    ({}, 3_750.0),  # the larger leg
    ({"margin_hedged_use_leg": False, "margin_hedged": 0.0}, 2_500.0),  # uncovered volume only
    ({"margin_hedged_use_leg": False, "margin_hedged": 100_000.0}, 2_500.0 + 1_250.0),
    ({"margin_hedged_use_leg": False, "margin_hedged": 50_000.0}, 2_500.0 + 625.0),
])
def test_a_hedge_ties_up_what_the_symbols_rule_says(market, terms, margin):
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": terms}, balance_ccy=50_000.0)
    trading.ticks((1.25, 1.25))
    trading.buy(3.0)
    trading.sell(1.0)
    assert trading.terminal.margin_ccy == margin


@pytest.mark.parametrize(("config", "terms", "volume", "opening", "closing"), [
    ({"commission_per_lot_ccy": 3.5}, {}, 0.5, -1.75, -1.75),
    ({"commission_per_lot_ccy": 7.0}, {"commission_on": "opening"}, 0.5, -3.5, 0.0),
    ({"commission_per_lot_ccy": 7.0}, {"commission_on": "closing"}, 0.5, 0.0, -3.5),
    ({"commission_per_lot_ccy": 0.0}, {"commission_per_deal_ccy": 2.0}, 0.5, -2.0, -2.0),
    ({"commission_per_lot_ccy": 0.0}, {"commission_pct": 0.01}, 0.5, -6.25, -6.25),
    ({"commission_per_lot_ccy": 0.1}, {"commission_min_ccy": 1.0}, 0.5, -1.0, -1.0),
])
def test_commission_is_charged_per_lot_per_deal_or_by_value(market, config, terms, volume, opening, closing):
    trading = market(configs={"EURUSD": InstrumentConfig(**config)}, terms={"EURUSD": terms})
    trading.ticks((1.25, 1.25))
    held = trading.buy(volume).order
    trading.sell(volume, position=held)
    assert [d.commission for d in trading.deals] == [opening, closing]
    assert trading.terminal.balance_ccy == 10_000.0 + opening + closing


def test_a_fee_is_booked_beside_the_commission(market):
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": {"fee_per_lot_ccy": 0.4}})
    trading.ticks((1.25, 1.25))
    trading.buy(0.5)
    assert (trading.deals[0].fee, trading.deals[0].commission, trading.terminal.balance_ccy) == (-0.2, 0.0, 9_999.8)


@pytest.mark.parametrize(("mode", "side", "rate", "night"), [
    ("points", BUY, -6.5, -6.5 * 1e-5 * 50_000),
    ("disabled", BUY, -6.5, 0.0),
    ("base_currency", BUY, -4.0, -4.0 * 0.5 * 1.25),
    ("margin_currency", SELL, 4.0, 4.0 * 0.5 * 1.25),
    ("deposit_currency", SELL, -3.0, -1.5),
    ("interest_current", BUY, 3.6, 50_000 * 1.25 * 0.036 / 360),
    ("interest_open", SELL, -3.6, -50_000 * 1.2 * 0.036 / 360),
])
def test_swap_by_mode(market, mode, side, rate, night):
    terms = {"swap_mode": mode, "swap_long": rate, "swap_short": rate}
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": terms}, balance_ccy=50_000.0)
    trading.ticks((1.2, 1.2))
    trading.deal(side, 0.5)
    trading.ticks((1.25, 1.25))
    trading.ticks((1.25, 1.25), at_ns=trading.now_ns + DAY_NS)
    assert trading.positions[0].swap == pytest.approx(night, abs=0.005)


@pytest.mark.parametrize(("day", "nights"), [(None, 1), (3, 3)])
def test_the_triple_night_can_be_a_symbols_own(market, day, nights):
    trading = market(terms={"EURUSD": {"triple_swap_day": day}})  # it is Thursday
    trading.ticks((1.1, 1.1))
    trading.buy(1.0)
    trading.ticks((1.1, 1.1), at_ns=trading.now_ns + DAY_NS)
    assert trading.positions[0].swap == -6.5 * nights


@pytest.mark.parametrize(("mode", "side", "closed_at", "opened_at"), [
    ("reopen_close", BUY, 1.1, 1.1001), ("reopen_close", SELL, 1.1002, 1.1001), ("reopen_bid", SELL, 1.1, 1.0999),
])
def test_swap_by_reopening_keeps_the_identifier_and_changes_the_ticket(market, mode, side, closed_at, opened_at):
    terms = {"swap_mode": mode, "swap_long": -10.0, "swap_short": -10.0}
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": terms})
    trading.ticks((1.1, 1.1002))
    first = trading.deal(side, 0.1, magic=4, sl=(1.0, 1.2)[side]).order
    trading.ticks((1.1, 1.1002), at_ns=trading.now_ns + DAY_NS)
    [position] = trading.positions
    assert (position.identifier, position.magic, position.price_open) == (first, 4, opened_at)
    assert position.ticket > first
    assert position.sl == (1.0, 1.2)[side]
    out, again = trading.deals[-2:]
    assert (out.entry, out.price, out.reason, out.position_id) == (1, closed_at, mt5.DEAL_REASON_ROLLOVER, first)
    assert (again.entry, again.price, again.reason, again.position_id) == (0, opened_at, mt5.DEAL_REASON_ROLLOVER, first)


def test_margin_call_and_stop_out_by_level(market):
    trading = market(configs={"EURUSD": FREE}, balance_ccy=2_000.0, margin_call_pct=100.0, stop_out_pct=50.0)
    trading.ticks((1.25, 1.25))
    trading.buy(1.0)  # margin 1,250
    trading.ticks((1.2426, 1.2426))
    assert not trading.terminal._ledger.is_margin_call()
    trading.ticks((1.2425, 1.2425))  # equity 1,250
    assert trading.terminal._ledger.is_margin_call()
    assert len(trading.positions) == 1
    trading.ticks((1.2362, 1.2362))  # 620 of 1,250
    assert trading.positions == ()


def test_stop_out_by_money(market):
    trading = market(configs={"EURUSD": FREE}, balance_ccy=2_000.0, stop_out_mode="money", stop_out_ccy=300.0,
                     margin_call_ccy=500.0)
    trading.ticks((1.25, 1.25))
    trading.buy(1.0)
    trading.ticks((1.2350, 1.2350))
    assert trading.terminal._ledger.is_margin_call()
    assert trading.terminal.equity() == 500.0
    trading.ticks((1.23301, 1.23301))
    assert len(trading.positions) == 1
    trading.ticks((1.2330, 1.2330))
    assert [d.reason for d in trading.deals][-1] == mt5.DEAL_REASON_SO


def test_stop_out_takes_orders_that_tie_up_margin_first(market):
    trading = market(configs={"EURUSD": FREE}, terms={"EURUSD": {"margin_rate_pending": 1.0}}, balance_ccy=2_500.0)
    trading.ticks((1.25, 1.25))
    trading.buy(1.0)
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.20, volume=0.9).order  # 1,080
    trading.ticks((1.2366, 1.2366))  # equity 1,160 of 2,330: below 50 %, without the order 93 %
    assert trading.terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_CANCELED
    assert len(trading.positions) == 1


def test_credit_counts_for_equity_and_deposits_are_deals(market):
    trading = market(configs={"EURUSD": FREE}, credit_ccy=500.0, deposit_deal=True)
    trading.ticks((1.25, 1.25))
    assert trading.terminal.equity() == 10_500.0
    trading.terminal.deposit(250.5, "bonus", credit=True)
    trading.terminal.deposit(-1_000.0, "withdrawal")
    assert (trading.terminal.balance_ccy, trading.terminal.equity()) == (9_000.0, 9_750.5)
    assert [(d.type, d.profit, d.comment) for d in trading.deals] == [
        (2, 10_000.0, "Initial deposit"), (3, 250.5, "bonus"), (2, -1_000.0, "withdrawal")]


def test_the_server_clock_stands_still_while_no_quote_comes_and_knows_europes_summer(market):
    for zone, offset_h in (("EET", 3), ("UTC+2", 2), ("UTC-5", -5), ("NY+7", 3), ("UTC", 0)):
        trading = market(server_zone=zone)
        trading.ticks((1.25, 1.25))
        shown = trading.terminal._ledger.server_msc()
        assert shown == trading.now_ns // 1_000_000 + offset_h * 3_600_000
        trading.submit(action=1, symbol="EURUSD", volume=0.1, type=BUY, sl=0.5)
        assert trading.terminal._ledger.server_msc() == shown


def test_in_march_new_york_and_europe_change_their_clocks_three_weeks_apart():
    between_ns = 1_773_313_200_000_000_000  # 2026-03-12 11:00 UTC
    ledgers = [Ledger(TerminalSettings(server_zone=zone), {}, 1) for zone in ("NY+7", "EET")]
    assert [ledger.clock.offset_s(between_ns) for ledger in ledgers] == [3 * 3_600, 2 * 3_600]


def test_a_changed_symbol_is_part_of_the_state(market):
    trading, other = market(), market()
    trading.ticks((1.25, 1.25))
    held = trading.buy(0.15).order
    coarse = InstrumentConfig(volume_step=0.1, volume_min=0.1)
    trading.terminal.change_symbol("EURUSD", coarse, SymbolTerms(swap_mode="disabled"))
    other.terminal.restore(trading.terminal.snapshot())
    assert other.terminal.snapshot() == trading.terminal.snapshot()
    other.ticks((1.25, 1.25), at_ns=trading.now_ns + DAY_NS)
    assert other.buy(0.15).retcode == mt5.TRADE_RETCODE_INVALID_VOLUME
    assert other.terminal.positions_get(ticket=held)[0].swap == 0.0
    with pytest.raises(ValueError, match="no instrument 'NOPE' to change"):
        trading.terminal.change_symbol("NOPE", coarse)


def test_value_of_a_lot_and_grid_follow_the_calculation_mode():
    future = Instrument("ES", config_of("futures", tick_size=0.25, tick_value=12.5))
    assert (future.value_per_lot, future.tick_size, future.is_forex) == (50.0, 0.25, False)
    assert (future.is_on_price_grid(5_000.25), future.is_on_price_grid(5_000.3)) == (True, False)
    assert Instrument("B", config_of("exch_bonds", face_value=1_000.0)).value_per_lot == 100.0
    assert Quote().bid == 0.0
