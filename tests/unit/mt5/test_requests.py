"""The server refuses what a server refuses, with its code."""

import math

import numpy as np
import pytest

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.request import parse_request

BID, ASK = 1.1, 1.1002
SATURDAY_NS = 1_399_075_200_000_000_000


@pytest.fixture
def quoted(market):
    trading = market()
    trading.ticks((BID, ASK))
    return trading


@pytest.mark.parametrize(("change", "code"), [
    ({}, mt5.TRADE_RETCODE_DONE),
    ({"symbol": "NOPE"}, mt5.TRADE_RETCODE_INVALID),
    ({"type": mt5.ORDER_TYPE_BUY_LIMIT}, mt5.TRADE_RETCODE_INVALID),
    ({"action": 0}, mt5.TRADE_RETCODE_INVALID),
    ({"action": mt5.TRADE_ACTION_CLOSE_BY}, mt5.TRADE_RETCODE_INVALID),
    ({"type_filling": mt5.ORDER_FILLING_RETURN}, mt5.TRADE_RETCODE_INVALID_FILL),
    ({"type_filling": mt5.ORDER_FILLING_IOC}, mt5.TRADE_RETCODE_DONE),
    ({"volume": 0.0}, mt5.TRADE_RETCODE_INVALID_VOLUME),
    ({"volume": 0.005}, mt5.TRADE_RETCODE_INVALID_VOLUME),
    ({"volume": 0.015}, mt5.TRADE_RETCODE_INVALID_VOLUME),
    ({"volume": 100.01}, mt5.TRADE_RETCODE_INVALID_VOLUME),
    ({"volume": math.nan}, mt5.TRADE_RETCODE_INVALID_VOLUME),
    ({"volume": 0.07}, mt5.TRADE_RETCODE_DONE),
    ({"sl": 1.1}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"sl": 1.2}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"tp": 1.09}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"sl": 1.099995}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"sl": math.nan}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"sl": 1.09, "tp": 1.11}, mt5.TRADE_RETCODE_DONE),
    ({"type": mt5.ORDER_TYPE_SELL, "sl": 1.11, "tp": 1.09}, mt5.TRADE_RETCODE_DONE),
    ({"type": mt5.ORDER_TYPE_SELL, "sl": 1.1002}, mt5.TRADE_RETCODE_INVALID_STOPS),
    ({"volume": 10.0}, mt5.TRADE_RETCODE_NO_MONEY),
    ({"position": 123}, mt5.TRADE_RETCODE_POSITION_CLOSED),
])
def test_a_market_order_is_answered_with_the_right_code(quoted, change, code):
    request = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": mt5.ORDER_TYPE_BUY}
    answer = quoted.send(**{**request, **change})
    assert answer.retcode == code
    done = code == mt5.TRADE_RETCODE_DONE
    assert (answer.deal > 0, answer.order > 0) == (done, done)
    assert len(quoted.positions) == len(quoted.deals) == int(done)
    assert quoted.terminal.last_error() == (1, "Success")
    checked = quoted.terminal.order_check({**request, **change})
    assert done or checked.retcode == code


def test_stops_level_counts_from_the_side_on_which_the_position_closes(market):
    trading = market(configs={"EURUSD": InstrumentConfig(stops_level_points=50)})
    trading.ticks((BID, ASK))
    assert trading.buy(sl=1.0996).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert trading.buy(sl=1.0995).retcode == mt5.TRADE_RETCODE_DONE
    assert trading.sell(sl=1.1006).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert trading.sell(sl=1.1007).retcode == mt5.TRADE_RETCODE_DONE


def test_nothing_trades_before_the_first_quote_or_outside_the_session(market):
    trading = market()
    [early] = trading.submit(action=1, symbol="EURUSD", volume=0.1, type=0)
    assert early.result.retcode == mt5.TRADE_RETCODE_PRICE_OFF
    trading.ticks((BID, ASK))
    trading.now_ns = SATURDAY_NS
    answer = trading.submit(action=1, symbol="EURUSD", volume=0.1, type=0)[0].result
    assert (answer.retcode, answer.comment) == (mt5.TRADE_RETCODE_MARKET_CLOSED, "Market closed")


def test_a_symbol_that_always_trades_trades_on_saturday(market):
    trading = market(("BTCUSD",), start_ns=SATURDAY_NS)
    trading.ticks((450.0, 451.0))
    assert trading.buy(1.0).retcode == mt5.TRADE_RETCODE_DONE


def test_nothing_is_opened_while_a_rate_it_needs_is_unknown(market):
    trading = market(("EURGBP", "EURUSD", "GBPUSD"))
    trading.ticks((0.8, 0.8001))
    assert trading.buy().retcode == mt5.TRADE_RETCODE_PRICE_OFF
    trading.ticks((1.3, 1.3001), symbol="EURUSD")
    assert trading.buy().retcode == mt5.TRADE_RETCODE_PRICE_OFF
    trading.ticks((1.6, 1.6001), symbol="GBPUSD")
    assert trading.buy().retcode == mt5.TRADE_RETCODE_DONE


def test_closing_needs_the_position_its_symbol_its_other_side_and_no_more_than_its_volume(market):
    trading = market(("EURUSD", "GBPUSD"))
    trading.ticks((BID, ASK))
    trading.ticks((1.6, 1.6001), symbol="GBPUSD")
    ticket = trading.buy(0.2).order
    assert trading.sell(0.3, position=ticket).retcode == mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    assert trading.buy(0.1, position=ticket).retcode == mt5.TRADE_RETCODE_INVALID
    assert trading.sell(0.1, symbol="GBPUSD", position=ticket).retcode == mt5.TRADE_RETCODE_INVALID
    assert trading.sell(0.2, position=ticket).retcode == mt5.TRADE_RETCODE_DONE
    assert trading.sell(0.2, position=ticket).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED


def test_margin_decides_to_the_cent_whether_there_is_money(market):
    # 100 : 1 on 1.25: 12.50 a hundredth lot; 1,000 buys 0.80 lot exactly.
    config = InstrumentConfig(commission_per_lot_ccy=0.0)
    trading = market(configs={"EURUSD": config}, balance_ccy=1_000.0)
    trading.ticks((1.25, 1.25))
    assert trading.buy(0.81).retcode == mt5.TRADE_RETCODE_NO_MONEY
    assert trading.buy(0.80).retcode == mt5.TRADE_RETCODE_DONE
    assert trading.terminal.margin_free_ccy == 0.0
    assert trading.buy(0.01).retcode == mt5.TRADE_RETCODE_NO_MONEY
    assert trading.sell(0.80).retcode == mt5.TRADE_RETCODE_DONE  # the smaller leg of a hedge is free
    assert trading.terminal.margin_ccy == 1_000.0


def test_instant_execution_requotes_beyond_the_deviation(market):
    trading = market(execution="instant")
    trading.ticks((BID, ASK))
    assert trading.buy().retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    answer = trading.buy(price=1.1001, deviation=9)
    assert (answer.retcode, answer.bid, answer.ask) == (mt5.TRADE_RETCODE_REQUOTE, BID, ASK)
    assert trading.buy(price=1.1001, deviation=10).retcode == mt5.TRADE_RETCODE_DONE
    better = trading.sell(price=1.0999, type_filling=mt5.ORDER_FILLING_RETURN)
    assert (better.retcode, better.price) == (mt5.TRADE_RETCODE_DONE, BID)


@pytest.mark.parametrize(("field", "value"), [
    ("volume", 1), ("volume", np.float32(1.0)), ("sl", 0), ("price", "1"), ("magic", 1.0), ("magic", -1),
    ("magic", 2**64), ("type", np.int64(0)), ("action", None), ("comment", "x" * 30), ("comment", b"x"),
    ("comment", "\U0001f600" * 15), ("symbol", 5), ("expiration", 1.5), ("type", 2**32),
])
def test_arguments_of_another_type_never_leave_the_process(quoted, field, value):
    assert parse_request({field: value}) == f'Invalid "{field}" argument'
    assert quoted.send(action=1, **{field: value}) is None if field != "action" else True
    [event] = quoted.submit(**{field: value})
    assert (event.result.retcode, event.result.comment) == (mt5.TRADE_RETCODE_INVALID, f'Invalid "{field}" argument')


@pytest.mark.parametrize(("field", "value"), [
    ("volume", np.float64(0.1)), ("magic", 2**63 - 1), ("comment", "x" * 29), ("type", True), ("unheard_of", 5),
])
def test_arguments_the_package_takes_are_taken_as_plain_values(field, value):
    parsed = parse_request({field: value})
    assert getattr(parsed, field, value) == value
    assert {type(part) for part in parsed} == {int, float, str}


def test_a_refused_argument_is_told_by_last_error(quoted):
    assert quoted.send(volume=1) is None
    assert quoted.terminal.last_error() == (-2, 'Invalid "volume" argument')


@pytest.mark.parametrize(("sl", "tp", "code"), [
    (1.09, 1.12, mt5.TRADE_RETCODE_DONE), (0.0, 0.0, mt5.TRADE_RETCODE_DONE),
    (1.095, 1.11, mt5.TRADE_RETCODE_NO_CHANGES),
    (1.1, 1.11, mt5.TRADE_RETCODE_INVALID_STOPS), (1.095, 1.1, mt5.TRADE_RETCODE_INVALID_STOPS),
])
def test_stops_move_unless_wrong_or_unchanged(quoted, sl, tp, code):
    ticket = quoted.buy(sl=1.095, tp=1.11).order
    assert quoted.terminal.modify_stops(ticket, sl, tp).retcode == code
    [position] = quoted.positions
    assert (position.sl, position.tp) == ((sl, tp) if code == mt5.TRADE_RETCODE_DONE else (1.095, 1.11))


def test_stops_of_a_position_that_is_gone_cannot_move(quoted):
    assert quoted.terminal.modify_stops(99, 1.0, 1.2).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED


@pytest.mark.parametrize(("order_type", "price", "code"), [
    (mt5.ORDER_TYPE_BUY_LIMIT, 1.1001, mt5.TRADE_RETCODE_DONE), (mt5.ORDER_TYPE_BUY_LIMIT, 1.1002, 10015),
    (mt5.ORDER_TYPE_BUY_STOP, 1.1003, mt5.TRADE_RETCODE_DONE), (mt5.ORDER_TYPE_BUY_STOP, 1.1002, 10015),
    (mt5.ORDER_TYPE_SELL_LIMIT, 1.1001, mt5.TRADE_RETCODE_DONE), (mt5.ORDER_TYPE_SELL_LIMIT, 1.1, 10015),
    (mt5.ORDER_TYPE_SELL_STOP, 1.0999, mt5.TRADE_RETCODE_DONE), (mt5.ORDER_TYPE_SELL_STOP, 1.1, 10015),
    (mt5.ORDER_TYPE_BUY_LIMIT, 1.099955, 10015), (mt5.ORDER_TYPE_BUY_LIMIT, math.nan, 10015),
    (mt5.ORDER_TYPE_BUY_STOP_LIMIT, 1.1003, 10015), (mt5.ORDER_TYPE_BUY, 1.1003, 10013),
])
def test_a_pending_order_must_lie_on_its_side_of_the_market(quoted, order_type, price, code):
    assert quoted.pending(order_type, price).retcode == code
    assert quoted.terminal.orders_total() == int(code == mt5.TRADE_RETCODE_DONE)


def test_pending_orders_are_changed_and_removed(quoted):
    ticket = quoted.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09, sl=1.08, magic=5).order
    change = {"action": mt5.TRADE_ACTION_MODIFY, "order": ticket}
    assert quoted.send(**change, price=1.09, sl=1.08).retcode == mt5.TRADE_RETCODE_NO_CHANGES
    assert quoted.send(**change, price=1.12, sl=1.08).retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert quoted.send(**change, price=1.085, sl=1.08).retcode == mt5.TRADE_RETCODE_DONE
    assert quoted.terminal.orders_get(ticket=ticket)[0].price_open == 1.085
    assert quoted.send(action=mt5.TRADE_ACTION_REMOVE, order=ticket).retcode == mt5.TRADE_RETCODE_DONE
    assert quoted.send(action=mt5.TRADE_ACTION_REMOVE, order=ticket).retcode == mt5.TRADE_RETCODE_INVALID
    [gone] = quoted.terminal.history_orders_get(ticket=ticket)
    assert (gone.state, gone.magic) == (mt5.ORDER_STATE_CANCELED, 5)
