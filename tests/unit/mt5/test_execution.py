"""Orders become deals and positions: triggers, netting and hedging, costs, swap, stop-out."""

import pytest

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import DealAdded, RequestAnswered

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
DAY_NS = 86_400_000_000_000
FREE = InstrumentConfig(commission_per_lot_ccy=0.0)


def test_the_golden_trade_is_what_a_person_works_out_by_hand(market):
    """Buy 0.50 at 1.38712, stop out of the night of Wednesday (three nights), sell on the TP at 1.38912."""
    wednesday_ns = 1_398_866_400_000_000_000  # 2014-04-30 14:00 UTC, 17:00 on the broker's clock
    trading = market(start_ns=wednesday_ns, slippage="fixed", slippage_points=2)
    trading.ticks((1.3870, 1.3871))
    opened, answered = trading.submit("order-1", action=1, symbol="EURUSD", volume=0.5, type=BUY, sl=1.38, tp=1.38912,
                                      magic=77, comment="tw:1")
    assert isinstance(opened, DealAdded)
    assert isinstance(answered, RequestAnswered)
    result = answered.result
    # Ask 1.38710 and two points of slippage; commission 3.50 per lot and side.
    assert (answered.request_key, result.retcode, result.price, result.volume) == ("order-1", 10009, 1.38712, 0.5)
    assert (opened.deal.ticket, opened.deal.order) == (result.deal, result.order)
    assert (opened.deal.entry, opened.deal.commission, opened.deal.profit) == (mt5.DEAL_ENTRY_IN, -1.75, 0.0)
    assert trading.terminal.balance_ccy == 9_998.25
    account = trading.terminal.account_info()
    # 0.5 * 100,000 * (1.38700 - 1.38712) = -6.00; margin 50,000 * 1.38712 / 100.
    assert (account.profit, account.equity, account.margin) == (-6.0, 9_992.25, 693.56)
    assert account.margin_level == pytest.approx(9_992.25 / 693.56 * 100.0)
    # Past midnight: -6.5 points * 1 USD a point and lot * 0.5 lot * 3 nights = -9.75.
    trading.ticks((1.3880, 1.3881), at_ns=wednesday_ns + DAY_NS)
    assert trading.positions[0].swap == -9.75
    [closed] = trading.ticks((1.38911, 1.38921), (1.38915, 1.38925), (1.3890, 1.3891))
    deal = closed.deal
    # The TP fills at its level: 0.5 * 100,000 * (1.38912 - 1.38712) = 100.00.
    assert (deal.price, deal.profit, deal.swap, deal.commission) == (1.38912, 100.0, -9.75, -1.75)
    assert (deal.entry, deal.reason, deal.comment) == (mt5.DEAL_ENTRY_OUT, mt5.DEAL_REASON_TP, "[tp 1.38912]")
    assert (deal.magic, deal.position_id, deal.type) == (77, result.order, SELL)
    assert closed.ts_ns == wednesday_ns + DAY_NS + 2_000_000_000
    assert trading.terminal.balance_ccy == 10_086.75
    assert trading.terminal.equity() == 10_086.75
    assert trading.positions == ()


@pytest.mark.parametrize(("side", "sl", "tp", "quote", "reason", "price"), [
    (BUY, 1.0990, 0.0, (1.09901, 1.0991), None, None),
    (BUY, 1.0990, 0.0, (1.0990, 1.0991), mt5.DEAL_REASON_SL, 1.0990),
    (BUY, 1.0990, 0.0, (1.0950, 1.0951), mt5.DEAL_REASON_SL, 1.0950),  # a gap slips
    (BUY, 1.0990, 0.0, (1.0990 + 4e-16, 1.0991), mt5.DEAL_REASON_SL, 1.0990),
    (BUY, 0.0, 1.1010, (1.10099, 1.1020), None, None),  # the ask does not close a buy
    (BUY, 0.0, 1.1010, (1.1010, 1.1011), mt5.DEAL_REASON_TP, 1.1010),
    (BUY, 0.0, 1.1010, (1.1050, 1.1051), mt5.DEAL_REASON_TP, 1.1010),
    (SELL, 1.1010, 0.0, (1.1000, 1.10099), None, None),
    (SELL, 1.1010, 0.0, (1.1005, 1.1010), mt5.DEAL_REASON_SL, 1.1010),
    (SELL, 1.1010, 0.0, (1.1050, 1.1060), mt5.DEAL_REASON_SL, 1.1060),
    (SELL, 0.0, 1.0990, (1.0980, 1.09901), None, None),  # the bid does not close a sell
    (SELL, 0.0, 1.0990, (1.0989, 1.0990), mt5.DEAL_REASON_TP, 1.0990),
    (SELL, 0.0, 1.0990, (1.0900, 1.0901), mt5.DEAL_REASON_TP, 1.0990),
])
def test_stops_trigger_on_their_side_of_the_quote(market, side, sl, tp, quote, reason, price):
    trading = market(configs={"EURUSD": FREE})
    trading.ticks((1.1000, 1.1001))
    trading.deal(side, 0.1, sl=sl, tp=tp, magic=3)
    # The deal of the order itself is told by this advance too.
    told = [e.deal for e in trading.ticks(quote) if e.deal.entry == mt5.DEAL_ENTRY_OUT]
    assert [(d.reason, d.price, d.magic) for d in told] == ([] if reason is None else [(reason, price, 3)])
    assert len(trading.positions) == int(reason is None)


@pytest.mark.parametrize(("order_type", "level", "quotes", "price"), [
    (mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, [(1.0990, 1.0991), (1.0985, 1.0986)], 1.0990),
    (mt5.ORDER_TYPE_BUY_STOP, 1.1010, [(1.1005, 1.1009), (1.1013, 1.1014)], 1.1014),
    (mt5.ORDER_TYPE_SELL_LIMIT, 1.1010, [(1.1009, 1.1011), (1.1015, 1.1016)], 1.1010),
    (mt5.ORDER_TYPE_SELL_STOP, 1.0990, [(1.0991, 1.0992), (1.0985, 1.0986)], 1.0985),
])
def test_a_pending_order_becomes_a_position_when_its_price_comes(market, order_type, level, quotes, price):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    ticket = trading.pending(order_type, level, magic=9, comment="later").order
    assert trading.ticks(quotes[0]) == ()
    [filled] = trading.ticks(quotes[1])
    [position] = trading.positions
    assert (filled.deal.price, filled.deal.order, filled.deal.magic) == (price, ticket, 9)
    assert (position.ticket, position.price_open, position.comment) == (ticket, price, "later")
    assert trading.terminal.orders_total() == 0
    [order] = trading.terminal.history_orders_get(ticket=ticket)
    assert (order.state, order.type, order.position_id) == (mt5.ORDER_STATE_FILLED, order_type, ticket)


def test_a_pending_order_without_money_is_cancelled_when_its_price_comes(market):
    trading = market(balance_ccy=100.0)
    trading.ticks((1.1000, 1.1001))
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, volume=1.0).order
    assert trading.ticks((1.0980, 1.0981)) == ()
    assert trading.terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_CANCELED


@pytest.mark.parametrize(("type_time", "lives_s"), [(mt5.ORDER_TIME_DAY, 11 * 3_600), (mt5.ORDER_TIME_SPECIFIED, 60)])
def test_a_pending_order_expires(market, type_time, lives_s):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    server_s = trading.terminal.symbol_info_tick("EURUSD").time
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09, type_time=type_time, expiration=server_s + 60).order
    placed_ns = trading.now_ns
    trading.ticks((1.1, 1.1001), at_ns=placed_ns + (lives_s - 1) * 1_000_000_000)
    assert trading.terminal.orders_total() == 1
    trading.ticks((1.08, 1.0801), at_ns=placed_ns + lives_s * 1_000_000_000)
    assert trading.terminal.orders_total() == 0
    [order] = trading.terminal.history_orders_get(ticket=ticket)
    assert (order.state, order.time_done) == (mt5.ORDER_STATE_EXPIRED, server_s + lives_s)


def test_an_expiration_in_the_past_is_refused(market):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    answer = trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_SPECIFIED, expiration=5)
    assert answer.retcode == mt5.TRADE_RETCODE_INVALID_EXPIRATION


def test_a_hedging_account_holds_both_directions_and_closes_by_ticket(market):
    trading = market(configs={"EURUSD": FREE})
    trading.ticks((1.1000, 1.1001))
    long, short = trading.buy(0.3).order, trading.sell(0.2).order
    assert [(p.ticket, p.type, p.volume) for p in trading.positions] == [(long, 0, 0.3), (short, 1, 0.2)]
    trading.ticks((1.1011, 1.1012))
    trading.sell(0.1, position=long, magic=4)
    assert [(p.ticket, p.volume) for p in trading.positions] == [(long, 0.2), (short, 0.2)]
    part = trading.deals[-1]
    assert (part.entry, part.profit, part.position_id, part.magic) == (mt5.DEAL_ENTRY_OUT, 10.0, long, 4)
    trading.buy(0.2, position=short)
    assert trading.deals[-1].profit == -24.0  # 0.2 lot from 1.1000 to the ask 1.1012
    assert [p.ticket for p in trading.positions] == [long]


def test_a_netting_account_averages_reduces_and_reverses_one_position(market):
    trading = market(configs={"EURUSD": FREE}, hedging=False)
    trading.ticks((1.1000, 1.1000))
    first = trading.buy(0.1, sl=1.05, magic=1).order
    trading.ticks((1.1030, 1.1030))
    trading.buy(0.2, sl=1.06, magic=2)
    [position] = trading.positions
    assert (position.ticket, position.volume, position.sl, position.magic) == (first, 0.3, 1.06, 1)
    assert position.price_open == pytest.approx(1.102, abs=1e-12)
    trading.sell(0.1)
    assert (trading.deals[-1].entry, trading.deals[-1].profit) == (mt5.DEAL_ENTRY_OUT, 10.0)
    reversing = trading.sell(0.5, tp=1.05).order
    [position] = trading.positions
    assert (position.type, position.volume, position.price_open, position.tp) == (1, 0.3, 1.103, 1.05)
    assert (position.ticket, position.identifier) == (reversing, first)
    turn = trading.deals[-1]
    assert (turn.entry, turn.volume, turn.profit, turn.position_id) == (mt5.DEAL_ENTRY_INOUT, 0.5, 20.0, first)
    trading.buy(0.3)
    assert trading.positions == ()


def test_reversing_a_netting_position_needs_margin_for_what_is_left_only(market):
    trading = market(configs={"EURUSD": FREE}, hedging=False, balance_ccy=1_000.0)
    trading.ticks((1.25, 1.25))
    trading.buy(0.8)
    assert trading.sell(1.7).retcode == mt5.TRADE_RETCODE_NO_MONEY
    assert trading.sell(1.6).retcode == mt5.TRADE_RETCODE_DONE
    assert trading.terminal.margin_ccy == 1_000.0


def test_a_partial_close_takes_its_share_of_the_swap(market):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    ticket = trading.buy(0.3).order
    trading.ticks((1.1, 1.1001), at_ns=trading.now_ns + DAY_NS)
    assert trading.positions[0].swap == -1.95  # a Thursday: 6.5 * 0.3
    trading.sell(0.1, position=ticket)
    assert (trading.deals[-1].swap, trading.positions[0].swap) == (-0.65, -1.3)
    trading.sell(0.2, position=ticket)
    assert trading.deals[-1].swap == -1.3


@pytest.mark.parametrize(("days", "nights"), [(0.4, 0), (1, 1), (4, 2), (5, 3), (6, 4), (7, 7)])
def test_from_thursday_on_a_week_has_seven_nights_and_the_weekend_is_paid_on_wednesday(market, days, nights):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    trading.buy(1.0)
    trading.ticks((1.1, 1.1001), at_ns=trading.now_ns + round(days * DAY_NS))
    assert trading.positions[0].swap == round(-6.5 * nights, 2)


def test_a_symbol_that_never_closes_pays_every_night(market):
    config = InstrumentConfig(digits=2, contract_size=1.0, margin_currency="BTC", session="always",
                              swap_long_points=-100.0)
    trading = market(("BTCUSD",), configs={"BTCUSD": config})
    trading.ticks((450.0, 451.0))
    trading.buy(1.0)
    trading.ticks((450.0, 451.0), at_ns=trading.now_ns + 3 * DAY_NS)
    assert trading.positions[0].swap == -3.0


def test_swap_of_a_yen_position_is_converted_at_its_price(market):
    config = InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY", swap_short_points=-5.0)
    trading = market(("USDJPY",), configs={"USDJPY": config})
    trading.ticks((100.0, 100.01))
    trading.sell(1.0)
    trading.ticks((100.0, 100.0), at_ns=trading.now_ns + DAY_NS)
    assert trading.positions[0].swap == -5.0  # 5 * 0.001 * 100,000 JPY = 500 JPY at 100.01


def test_stop_out_closes_the_largest_loser_first_and_stops_when_the_level_is_back(market):
    # 100 : 1; margin 1,100 for each whole lot; equity 50 % of 2,200 is 1,100.
    trading = market(configs={"EURUSD": FREE}, balance_ccy=3_000.0)
    trading.ticks((1.1000, 1.1000))
    better = trading.buy(1.0).order
    trading.ticks((1.1010, 1.1010))
    worse = trading.buy(1.0, magic=8).order
    # At 1.0910 the losses are 900 and 1,000: equity 1,100, margin 2,201.
    assert all(e.deal.reason != mt5.DEAL_REASON_SO for e in trading.ticks((1.0911, 1.0911)))
    told = trading.ticks((1.0910, 1.0910), (1.0909, 1.0909))
    [deal] = [e.deal for e in told]
    assert (deal.position_id, deal.reason, deal.profit, deal.magic) == (worse, mt5.DEAL_REASON_SO, -1_000.0, 8)
    assert deal.comment == "[so 49.98%]"
    assert [p.ticket for p in trading.positions] == [better]


def test_stop_out_is_seen_when_only_a_cross_rate_moves(market):
    """A loss in pounds grows with the pound although EURGBP itself stands still."""
    configs = {name: InstrumentConfig(margin_currency=base, profit_currency=profit, commission_per_lot_ccy=0.0)
               for name, base, profit in [("EURGBP", "EUR", "GBP"), ("EURUSD", "EUR", "USD"), ("GBPUSD", "GBP", "USD")]}
    trading = market(("EURGBP", "EURUSD", "GBPUSD"), configs=configs, balance_ccy=2_300.0)
    trading.ticks((1.3, 1.3), symbol="EURUSD")
    trading.ticks((1.6, 1.6), symbol="GBPUSD")
    trading.ticks((0.8, 0.8))
    trading.buy(1.0)  # margin 1,300
    trading.ticks((0.79, 0.79))  # -1,000 GBP = -1,600 USD; equity 700, line 650
    assert trading.terminal.equity() == 700.0
    told = trading.ticks((1.6, 1.6), (1.649, 1.649), (1.65, 1.65), (1.7, 1.7), symbol="GBPUSD")
    assert [(e.deal.reason, e.deal.profit) for e in told] == [(mt5.DEAL_REASON_SO, -1_650.0)]


def test_gains_and_losses_are_converted_at_their_side_of_the_cross(market):
    configs = {"EURGBP": InstrumentConfig(margin_currency="EUR", profit_currency="GBP", commission_per_lot_ccy=0.0)}
    trading = market(("EURGBP", "EURUSD", "GBPUSD"), configs=configs)
    trading.ticks((1.3, 1.31), symbol="EURUSD")
    trading.ticks((1.6, 1.7), symbol="GBPUSD")
    trading.ticks((0.8, 0.8))
    trading.buy(0.1)
    assert trading.terminal.margin_ccy == 131.0  # bought at the ask of EURUSD
    trading.ticks((0.801, 0.801))
    assert trading.terminal.account_info().profit == 16.0
    trading.ticks((0.799, 0.799))
    assert trading.terminal.account_info().profit == -17.0


def test_a_request_meets_the_quote_in_force_when_it_arrives(market):
    trading = market(latency_ms=1_500.0)
    trading.ticks((1.1000, 1.1001))
    sent_ns = trading.now_ns
    assert trading.submit(action=1, symbol="EURUSD", volume=0.1, type=BUY) == ()
    assert trading.ticks((1.1010, 1.1011)) == ()  # 1.0 s later: not there yet
    filled, answered = trading.ticks((1.1020, 1.1021))  # 2.0 s later
    assert (filled.ts_ns, answered.ts_ns) == (sent_ns + 1_500_000_000,) * 2
    assert filled.deal.price == 1.1011
    assert answered.result.retcode == 10009


def test_a_request_due_at_a_tick_is_executed_after_all_ticks_of_that_instant(market):
    trading = market(latency_ms=1_000.0)
    trading.ticks((1.1000, 1.1001))
    trading.submit(action=1, symbol="EURUSD", volume=0.1, type=BUY)
    assert trading.ticks((1.1010, 1.1011)) == ()
    assert trading.ticks((1.1012, 1.1013), at_ns=trading.now_ns) == ()
    assert trading.ticks((1.1020, 1.1021))[0].deal.price == 1.1013


def test_a_request_for_a_silent_symbol_is_not_forgotten(market):
    trading = market(("EURUSD", "GBPUSD"), latency_ms=100.0)
    trading.ticks((1.1000, 1.1001))
    trading.submit(action=1, symbol="EURUSD", volume=0.1, type=BUY)
    later_ns = trading.now_ns + 100_000_000 + 20_000_000_000
    assert trading.ticks((1.6, 1.6001), at_ns=later_ns, symbol="GBPUSD") == ()
    filled, answered = trading.ticks((1.6, 1.6001), symbol="GBPUSD")
    assert (filled.deal.price, answered.ts_ns) == (1.1001, later_ns)


def test_lognormal_latency_has_its_median_and_keeps_the_order_of_requests(market):
    trading = market(latency_ms=80.0, latency_sigma=0.8)
    trading.ticks((1.1000, 1.1001))
    delays = []
    for n in range(300):
        sent_ns = trading.now_ns
        trading.submit(f"{n}", action=mt5.TRADE_ACTION_SLTP, symbol="EURUSD", position=1)
        [answered] = trading.ticks((1.1, 1.1001), at_ns=sent_ns + 60_000_000_000)
        assert answered.request_key == f"{n}"
        delays.append((answered.ts_ns - sent_ns) / 1e6)
    assert 65.0 < sorted(delays)[150] < 98.0
    assert max(delays) > 200.0
    for n in range(50):
        trading.submit(f"{n}", action=mt5.TRADE_ACTION_SLTP, symbol="EURUSD", position=1)
    told = trading.ticks((1.1, 1.1001), at_ns=trading.now_ns + 60_000_000_000)
    assert [e.request_key for e in told] == [f"{n}" for n in range(50)]
    assert [e.ts_ns for e in told] == sorted(e.ts_ns for e in told)


def test_half_normal_slippage_only_hurts_and_has_its_mean(market):
    trading = market(configs={"EURUSD": FREE}, slippage="half_normal", slippage_points=10.0)
    trading.ticks((1.1000, 1.1000))
    slips = []
    for side, sign in [(BUY, 1), (SELL, -1)] * 150:
        answer = trading.deal(side, 0.01)
        slips.append(round(sign * (answer.price - 1.1) * 1e5))
        trading.deal(1 - side, 0.01, position=answer.order)
    assert min(slips) >= 0
    assert 6.5 < sum(slips) / len(slips) < 9.5  # sqrt(2 / pi) * 10 is 7.98


def test_a_stop_loss_slips_and_a_take_profit_does_not(market):
    trading = market(slippage="fixed", slippage_points=3)
    trading.ticks((1.1000, 1.1000))
    trading.buy(0.1, sl=1.09)
    trading.buy(0.1, tp=1.11)
    told = trading.ticks((1.111, 1.111), (1.089, 1.089))
    assert [e.deal.price for e in told if e.deal.entry == mt5.DEAL_ENTRY_OUT] == [1.11, 1.08897]


def test_the_day_and_the_peak_are_kept(market):
    trading = market(configs={"EURUSD": FREE})
    trading.ticks((1.1000, 1.1000))
    trading.buy(1.0)
    trading.ticks((1.1040, 1.1040), (1.1050, 1.1050), (1.1030, 1.1030))
    terminal = trading.terminal
    assert (terminal.peak_equity_ccy, terminal.day_start_equity_ccy) == (10_500.0, 10_000.0)
    trading.ticks((1.1020, 1.1020), at_ns=trading.now_ns + DAY_NS)
    # The day began with the last quote before midnight.
    assert (terminal.peak_equity_ccy, terminal.day_start_equity_ccy) == (10_500.0, 10_300.0)
    assert terminal.equity() == 10_200.0


def test_deals_of_package_calls_are_told_with_the_next_block(market):
    trading = market()
    trading.ticks((1.1000, 1.1001))
    answer = trading.buy()
    told = trading.ticks((1.1, 1.1001))
    assert [(type(e), e.deal.ticket) for e in told] == [(DealAdded, answer.deal)]


def test_an_unknown_symbol_is_refused_with_the_remedy(market):
    with pytest.raises(ValueError, match="add it to section instruments"):
        market().ticks((1.0, 1.1), symbol="XAUUSD")


def test_a_cross_quoted_against_the_account_currency_converts_too_and_can_stop_out(market):
    """EURJPY on a USD account: yen are sold at the ask of USDJPY and bought back at its bid."""
    config = InstrumentConfig(digits=3, margin_currency="EUR", profit_currency="JPY", commission_per_lot_ccy=0.0)
    trading = market(("EURJPY", "EURUSD", "USDJPY"), configs={"EURJPY": config}, balance_ccy=1_700.0)
    trading.ticks((1.3, 1.3), symbol="EURUSD")
    trading.ticks((100.0, 125.0), symbol="USDJPY")
    trading.ticks((130.0, 130.0))
    trading.buy(1.0)  # margin 1,300
    trading.ticks((131.0, 131.0))
    assert trading.terminal.account_info().profit == 800.0
    trading.ticks((129.0, 129.0))
    assert trading.terminal.account_info().profit == -1_000.0
    told = trading.ticks((99.0, 99.0), (95.3, 95.3), (95.2, 95.2), (90.0, 90.0), symbol="USDJPY")
    # The line is 650: 1,700 - 100,000 / 95.2 = 649.58.
    assert [(e.deal.reason, e.deal.profit) for e in told] == [(mt5.DEAL_REASON_SO, -1_050.42)]


def test_reversing_a_netting_position_realises_its_swap(market):
    trading = market(hedging=False)
    trading.ticks((1.1000, 1.1001))
    trading.buy(1.0)
    trading.ticks((1.1, 1.1001), at_ns=trading.now_ns + DAY_NS)
    trading.sell(1.5)
    assert (trading.deals[-1].swap, trading.positions[0].swap) == (-6.5, 0.0)
