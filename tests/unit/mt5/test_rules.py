"""What a broker forbids, with the code that says so: modes, limits, levels, sessions, lifetimes, permissions."""

import pytest

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SymbolTerms, Treatment
from libs.common.mt5.sim.checks import DEAL_CHECKS, ordered
from libs.common.mt5.sim.clock import weekly_windows

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
BUY_LIMIT, SELL_LIMIT = mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_LIMIT
BUY_STOP, SELL_STOP = mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP
BUY_STOP_LIMIT = mt5.ORDER_TYPE_BUY_STOP_LIMIT
OK = mt5.TRADE_RETCODE_DONE
BID, ASK = 1.1, 1.1002
EUR = "EURUSD"
DAY_S = 86_400


def opened(market, **settings):
    trading = market(**settings)
    trading.ticks((BID, ASK))
    return trading


@pytest.mark.parametrize(("mode", "buy", "sell", "buy_limit", "close"), [
    ("full", OK, OK, OK, OK), ("disabled", 10017, 10017, 10017, 10017), ("long_only", OK, 10042, OK, OK),
    ("short_only", 10043, OK, 10043, OK), ("close_only", 10044, 10044, 10044, OK),
])
def test_the_trade_mode_decides_who_may_open(market, mode, buy, sell, buy_limit, close):
    trading = opened(market)
    held = trading.buy(0.1).order
    trading.terminal.change_symbol(EUR, InstrumentConfig(), SymbolTerms(trade_mode=mode))
    assert trading.buy(0.1).retcode == buy
    assert trading.sell(0.1).retcode == sell
    assert trading.pending(BUY_LIMIT, 1.09).retcode == buy_limit
    assert trading.sell(0.1, position=held).retcode == close


def test_on_a_netting_account_long_only_lets_one_sell_what_one_has_and_no_more(market):
    trading = opened(market, hedging=False, terms={EUR: {"trade_mode": "long_only"}})
    assert trading.buy(0.3).retcode == OK
    assert trading.sell(0.4).retcode == mt5.TRADE_RETCODE_LONG_ONLY
    assert trading.sell(0.3).retcode == OK


@pytest.mark.parametrize(("flags", "request_", "code"), [
    (126, {"type": BUY}, 10035), (125, {"type": BUY_LIMIT, "price": 1.09}, 10035),
    (123, {"type": BUY_STOP, "price": 1.12}, 10035),
    (119, {"type": BUY_STOP_LIMIT, "price": 1.12, "stoplimit": 1.11}, 10035),
    (111, {"type": BUY, "sl": 1.09}, 10016), (95, {"type": BUY, "tp": 1.12}, 10016), (15, {"type": BUY}, OK),
])
def test_order_types_that_a_symbol_does_not_take_are_invalid(market, flags, request_, code):
    trading = opened(market, terms={EUR: {"order_mode": flags}})
    action = 1 if request_["type"] == BUY else 5
    assert trading.send(action=action, symbol=EUR, volume=0.1, **request_).retcode == code


def test_a_stop_limit_needs_its_limit_on_the_near_side_of_its_stop(market):
    trading = opened(market)
    assert trading.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.12).retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert trading.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.109995).retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert trading.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.105, sl=1.106).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert trading.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.105, sl=1.104, tp=1.108).retcode == OK


@pytest.mark.parametrize(("kind", "near", "far"), [
    (BUY_LIMIT, 1.0998, 1.0997), (SELL_LIMIT, 1.1004, 1.1005), (BUY_STOP, 1.1006, 1.1007), (SELL_STOP, 1.0996, 1.0995),
])
def test_pending_orders_keep_the_stops_level_from_their_side_of_the_quote(market, kind, near, far):
    trading = opened(market, configs={EUR: InstrumentConfig(stops_level_points=50)})
    assert trading.pending(kind, near).retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert trading.pending(kind, far).retcode == OK
    sign = 1 if kind in (BUY_LIMIT, BUY_STOP) else -1
    assert trading.pending(kind, far, sl=round(far - sign * 0.00049, 5)).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert trading.pending(kind, far, sl=round(far - sign * 0.0005, 5), tp=round(far + sign * 0.0005, 5)).retcode == OK


def test_prices_lie_on_the_grid_of_ticks(market):
    config = InstrumentConfig(digits=2, contract_size=50.0, margin_currency="USD", tick_size=0.25, tick_value=12.5,
                              calc_mode="futures")
    trading = market(("ES",), configs={"ES": config}, terms={"ES": {"margin_initial_ccy": 500.0}})
    trading.ticks((5_000.0, 5_000.25))
    assert trading.buy(1.0, sl=4_990.1).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert trading.buy(1.0, sl=4_990.25).retcode == OK
    assert trading.pending(BUY_LIMIT, 4_990.3, volume=1.0).retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert trading.pending(BUY_LIMIT, 4_990.75, volume=1.0).retcode == OK


def test_inside_the_freeze_level_nothing_is_changed_closed_or_removed(market):
    trading = opened(market, terms={EUR: {"freeze_level_points": 20}})
    held = trading.buy(0.1, sl=1.0980).order
    waiting = trading.pending(BUY_LIMIT, 1.0990).order
    trading.ticks((1.0990, 1.0992))
    for answer in (
        trading.send(action=mt5.TRADE_ACTION_REMOVE, order=waiting),
        trading.send(action=mt5.TRADE_ACTION_MODIFY, order=waiting, price=1.0985),
    ):
        assert answer.retcode == mt5.TRADE_RETCODE_FROZEN
    trading.ticks((1.0982, 1.0984))
    trading.send(action=mt5.TRADE_ACTION_REMOVE, order=waiting)
    for answer in (trading.sell(0.1, position=held), trading.terminal.modify_stops(held, 1.0970, 0.0)):
        assert answer.retcode == mt5.TRADE_RETCODE_FROZEN
    trading.ticks((1.09821, 1.0984))
    assert trading.sell(0.1, position=held).retcode == OK


def test_volume_in_one_direction_is_limited_waiting_orders_included(market):
    trading = opened(market, terms={EUR: {"volume_limit_lots": 1.0}})
    assert trading.buy(0.4).retcode == OK
    assert trading.pending(BUY_LIMIT, 1.09, volume=0.5).retcode == OK
    assert trading.buy(0.2).retcode == mt5.TRADE_RETCODE_LIMIT_VOLUME
    assert trading.pending(BUY_STOP, 1.12, volume=0.2).retcode == mt5.TRADE_RETCODE_LIMIT_VOLUME
    assert trading.sell(1.0).retcode == OK
    assert trading.buy(0.1).retcode == OK


def test_the_number_of_orders_and_of_positions_is_limited(market):
    trading = opened(market, limit_orders=1, limit_positions=2)
    assert trading.pending(BUY_LIMIT, 1.09).retcode == OK
    assert trading.pending(BUY_LIMIT, 1.08).retcode == mt5.TRADE_RETCODE_LIMIT_ORDERS
    held = trading.buy(0.1).order
    assert trading.buy(0.1).retcode == OK
    assert trading.buy(0.1).retcode == mt5.TRADE_RETCODE_LIMIT_POSITIONS
    assert trading.sell(0.1, position=held).retcode == OK


def test_first_in_first_out_closes_the_oldest_of_the_symbol_first(market):
    trading = opened(market, fifo_close=True)
    old, young = trading.buy(0.1).order, trading.buy(0.1).order
    assert trading.sell(0.1, position=young).retcode == mt5.TRADE_RETCODE_FIFO_CLOSE
    assert trading.sell(0.1, position=old).retcode == OK
    assert trading.sell(0.1, position=young).retcode == OK


def test_hedging_can_be_prohibited(market):
    trading = opened(market, hedge_prohibited=True)
    held = trading.buy(0.1).order
    assert trading.sell(0.1).retcode == mt5.TRADE_RETCODE_HEDGE_PROHIBITED
    assert trading.buy(0.1).retcode == OK
    assert trading.sell(0.1, position=held).retcode == OK


@pytest.mark.parametrize(("settings", "by_program", "by_hand"), [
    ({}, OK, OK), ({"algo_trading": False}, 10027, OK), ({"experts_allowed": False}, 10026, OK),
    ({"trade_allowed": False}, 10017, 10017),
])
def test_terminal_and_server_permit_trading_or_not(market, settings, by_program, by_hand):
    trading = opened(market, **settings)
    request = {"action": 1, "symbol": EUR, "volume": 0.1, "type": BUY}
    treatment = Treatment(reason=mt5.ORDER_REASON_CLIENT)
    assert trading.send(**request).retcode == by_program
    assert trading.terminal.submit(request, "hand", trading.now_ns, treatment)[-1].result.retcode == by_hand


def test_too_many_requests_within_a_second_are_refused(market):
    trading = opened(market, requests_per_s=2)
    assert [trading.buy(0.01).retcode for _ in range(3)] == [OK, OK, mt5.TRADE_RETCODE_TOO_MANY_REQUESTS]
    trading.ticks((BID, ASK))
    assert trading.buy(0.01).retcode == OK


@pytest.mark.parametrize(("type_time", "expiration", "flags", "code"), [
    (mt5.ORDER_TIME_GTC, 0, 15, OK), (mt5.ORDER_TIME_GTC, 0, 14, 10022), (mt5.ORDER_TIME_DAY, 0, 13, 10022),
    (mt5.ORDER_TIME_SPECIFIED, 60, 15, OK), (mt5.ORDER_TIME_SPECIFIED, 0, 15, 10022),
    (mt5.ORDER_TIME_SPECIFIED, 60, 11, 10022), (mt5.ORDER_TIME_SPECIFIED_DAY, 0, 15, OK),
    (mt5.ORDER_TIME_SPECIFIED_DAY, -DAY_S, 15, 10022), (mt5.ORDER_TIME_SPECIFIED_DAY, 0, 7, 10022), (4, 60, 15, 10022),
])
def test_lifetimes_are_those_the_symbol_takes_and_not_over(market, type_time, expiration, flags, code):
    trading = opened(market, terms={EUR: {"expiration_mode": flags}})
    now_s = trading.terminal.symbol_info_tick(EUR).time
    answer = trading.pending(BUY_LIMIT, 1.09, type_time=type_time, expiration=now_s + expiration)
    assert answer.retcode == code


def test_an_order_until_a_day_lives_to_the_end_of_it(market):
    trading = opened(market)
    server_s = trading.terminal.symbol_info_tick(EUR).time
    ticket = trading.pending(BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_SPECIFIED_DAY, expiration=server_s + DAY_S).order
    end_s = (server_s // DAY_S + 2) * DAY_S
    trading.ticks((BID, ASK), at_ns=trading.now_ns + (end_s - server_s - 1) * 10**9)
    assert trading.terminal.orders_total() == 1
    trading.ticks((BID, ASK), at_ns=trading.now_ns + 10**9)
    assert trading.terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_EXPIRED


@pytest.mark.parametrize(("gtc_mode", "orders", "sl"), [("gtc", 1, 1.05), ("daily_keep_stops", 0, 1.05), ("daily", 0, 0.0)])
def test_the_end_of_the_day_leaves_what_the_symbol_keeps(market, gtc_mode, orders, sl):
    trading = opened(market, terms={EUR: {"gtc_mode": gtc_mode}})
    trading.buy(0.1, sl=1.05)
    trading.pending(BUY_LIMIT, 1.06)
    trading.ticks((BID, ASK), at_ns=trading.now_ns + DAY_S * 10**9)
    assert (trading.terminal.orders_total(), trading.positions[0].sl) == (orders, sl)


def test_trading_hours_are_the_symbols_own_on_the_servers_clock(market):
    # Thursday 13:00 on the broker's clock.
    trading = opened(market, terms={EUR: {"sessions": ("mon-wed 00:00-24:00", "thu 01:00-13:00:05")}})
    assert trading.buy(0.1).retcode == OK
    held = trading.positions[0].ticket
    trading.ticks((BID, ASK), at_ns=trading.now_ns + 5 * 10**9)
    closed = mt5.TRADE_RETCODE_MARKET_CLOSED
    assert trading.buy(0.1).retcode == closed
    assert trading.pending(BUY_LIMIT, 1.09).retcode == closed
    assert trading.terminal.modify_stops(held, 1.09, 0.0).retcode == closed
    assert weekly_windows(["sun 22:00-24:00"]) == ((6 * DAY_S + 79_200, 7 * DAY_S),)


@pytest.mark.parametrize("text", [
    "friday 01:00-02:00", "fri-mon 01:00-02:00", "fri 02:00-01:00", "fri 1-2", "xyz 01:00-02:00",
])
def test_unreadable_trading_hours_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"trading hours"):
        weekly_windows([text])


@pytest.mark.parametrize(("acts", "left"), [(True, 0), (False, 1)])
def test_quotes_outside_the_session_set_off_stops_or_do_not(market, acts, left):
    trading = opened(market, terms={EUR: {"sessions": ("thu 01:00-13:00:01",)}}, closed_market_triggers=acts)
    trading.buy(0.1, sl=1.09)
    trading.ticks((BID, ASK), (1.08, 1.0802))
    assert len(trading.positions) == left


def test_the_order_of_checks_is_a_setting(market):
    both_wrong = {"action": 1, "symbol": EUR, "volume": 0.001, "type": BUY, "type_filling": mt5.ORDER_FILLING_RETURN}
    assert opened(market).send(**both_wrong).retcode == mt5.TRADE_RETCODE_INVALID_FILL
    turned = opened(market, deal_checks=("symbol_is_known", "volume_is_tradable"))
    assert turned.send(**both_wrong).retcode == mt5.TRADE_RETCODE_INVALID_VOLUME
    assert set(ordered(("volume_is_tradable",), DEAL_CHECKS)) == set(DEAL_CHECKS)
    with pytest.raises(ValueError, match="no such check: volume_is_nice; known: symbol_is_known"):
        market(deal_checks=("volume_is_nice",))


def test_a_position_is_closed_by_an_opposite_one(market):
    free = InstrumentConfig(commission_per_lot_ccy=0.0)
    trading = opened(market, configs={EUR: free})
    long, short = trading.buy(0.5, magic=1).order, trading.sell(0.2, magic=2).order
    other = trading.buy(0.1).order
    close_by = {"action": mt5.TRADE_ACTION_CLOSE_BY}
    assert trading.send(**close_by, position=long).retcode == mt5.TRADE_RETCODE_INVALID
    assert trading.send(**close_by, position=long, position_by=other).retcode == mt5.TRADE_RETCODE_INVALID
    assert trading.send(**close_by, position=long, position_by=9).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED
    before = trading.terminal.balance_ccy
    answer = trading.send(**close_by, position=long, position_by=short, magic=7)
    assert (answer.retcode, answer.volume, answer.price) == (OK, 0.2, BID)
    first, second = trading.deals[-2:]
    assert (first.entry, first.position_id, first.volume, first.profit, first.type) == (3, long, 0.2, -4.0, 1)
    assert (second.entry, second.position_id, second.volume, second.profit, second.type) == (3, short, 0.2, 0.0, 0)
    assert {first.order, second.order} == {answer.order}
    assert trading.terminal.balance_ccy == before - 4.0
    assert [(p.ticket, p.volume) for p in trading.positions] == [(long, 0.3), (other, 0.1)]
    [order] = trading.terminal.history_orders_get(ticket=answer.order)
    assert (order.type, order.position_id, order.position_by_id) == (mt5.ORDER_TYPE_CLOSE_BY, long, short)


def test_close_by_needs_a_hedging_account_and_a_symbol_that_takes_it(market):
    trading = opened(market, terms={EUR: {"order_mode": 63}})
    long, short = trading.buy(0.1).order, trading.sell(0.1).order
    close_by = {"action": mt5.TRADE_ACTION_CLOSE_BY, "position": long, "position_by": short}
    assert trading.send(**close_by).retcode == mt5.TRADE_RETCODE_INVALID_ORDER


def test_a_loss_beyond_the_margin_still_lets_a_position_be_closed(market):
    """Closing needs no money, however little there is left."""
    trading = opened(market, balance_ccy=1_200.0, stop_out_pct=0.0)
    held = trading.buy(1.0).order
    trading.ticks((1.0920, 1.0922))
    assert trading.terminal.margin_free_ccy < 0.0
    assert trading.sell(1.0, position=held).retcode == OK
