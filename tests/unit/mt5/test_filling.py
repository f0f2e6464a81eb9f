"""How much of an order is filled, at what price, and what becomes of the rest."""

import pytest

from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import Treatment

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
FOK, IOC, RETURN, BOC = (mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC, mt5.ORDER_FILLING_RETURN, mt5.ORDER_FILLING_BOC)
DONE, PARTIAL, PLACED, BAD_FILL = 10009, 10010, 10008, 10030
BID, ASK = 1.1, 1.1002


@pytest.mark.parametrize(("execution", "flags", "taken"), [
    ("request", 0, {FOK, IOC, RETURN}), ("instant", 0, {FOK, IOC, RETURN}), ("instant", 3, {FOK, IOC, RETURN}),
    ("market", 0, set()), ("market", 1, {FOK}), ("market", 2, {IOC}), ("market", 3, {FOK, IOC}), ("market", 7, {FOK, IOC}),
    ("exchange", 0, {RETURN}), ("exchange", 1, {FOK, RETURN}), ("exchange", 2, {IOC, RETURN}),
    ("exchange", 3, {FOK, IOC, RETURN}),
])
def test_filling_modes_go_by_execution_mode_and_the_symbols_flags(market, execution, flags, taken):
    trading = market(terms={"EURUSD": {"execution": execution, "filling_mode": flags}}, execution="market")
    trading.ticks((BID, ASK))
    for filling in (FOK, IOC, RETURN, BOC, 4):
        answer = trading.buy(0.01, price=ASK, type_filling=filling)
        assert (filling, answer.retcode) == (filling, DONE if filling in taken else BAD_FILL)


@pytest.mark.parametrize(("execution", "price", "deviation", "code"), [
    ("request", 1.1001, 9, mt5.TRADE_RETCODE_REQUOTE), ("request", 1.1001, 10, DONE), ("instant", 1.1005, 0, DONE),
    ("instant", 0.0, 0, mt5.TRADE_RETCODE_INVALID_PRICE), ("market", 0.0, 0, DONE), ("market", 1.0, 0, DONE),
    ("exchange", 1.0, 0, DONE),
])
def test_a_price_binds_the_broker_in_request_and_instant_execution_only(market, execution, price, deviation, code):
    trading = market(execution=execution)
    trading.ticks((BID, ASK))
    answer = trading.buy(0.1, price=price, deviation=deviation)
    assert (answer.retcode, answer.price) == (code, ASK if code == DONE else 0.0)
    assert (answer.bid, answer.ask) == ((BID, ASK) if code != mt5.TRADE_RETCODE_INVALID_PRICE else (0.0, 0.0))


DEEP = {"EURUSD": {"execution": "exchange", "depth_lots": (0.3, 0.5), "depth_step_points": 2}}


@pytest.mark.parametrize(("filling", "volume", "code", "deals", "rest"), [
    (FOK, 0.8, DONE, [(0.3, 1.1002), (0.5, 1.10022)], None),
    (FOK, 0.9, mt5.TRADE_RETCODE_REJECT, [], None),
    (IOC, 0.2, DONE, [(0.2, 1.1002)], None),
    (IOC, 1.0, PARTIAL, [(0.3, 1.1002), (0.5, 1.10022)], None),
    (RETURN, 1.0, PARTIAL, [(0.3, 1.1002), (0.5, 1.10022)], 0.2),
])
def test_an_order_takes_the_book_level_by_level(market, filling, volume, code, deals, rest):
    trading = market(terms=DEEP)
    trading.ticks((BID, ASK))
    answer = trading.buy(volume, type_filling=filling)
    assert answer.retcode == code
    assert [(d.volume, d.price) for d in trading.deals] == deals
    assert answer.volume == pytest.approx(sum(lots for lots, _ in deals))
    held = [p.volume for p in trading.positions]
    assert held == ([pytest.approx(sum(lots for lots, _ in deals))] if deals else [])
    waiting = trading.terminal.orders_get()
    assert [o.volume_current for o in waiting] == ([] if rest is None else [rest])
    if code == PARTIAL and rest is None:
        [order] = trading.terminal.history_orders_get(ticket=answer.order)
        assert (order.state, order.volume_initial, order.volume_current) == (mt5.ORDER_STATE_CANCELED, 1.0, 0.2)
    if rest is not None:
        assert waiting[0].state == mt5.ORDER_STATE_PARTIAL


def test_what_was_taken_from_the_book_comes_back_with_the_next_quote(market):
    trading = market(terms=DEEP)
    trading.ticks((BID, ASK))
    assert trading.buy(0.8, type_filling=IOC).retcode == DONE
    assert trading.buy(0.1, type_filling=IOC).retcode == mt5.TRADE_RETCODE_REJECT
    assert trading.sell(0.1, type_filling=IOC).retcode == DONE  # the other side is still full
    trading.ticks((BID, ASK))
    assert trading.buy(0.1, type_filling=IOC).retcode == DONE


def test_the_rest_of_a_return_order_is_filled_by_the_quotes_that_follow_into_one_position(market):
    trading = market(terms=DEEP)
    trading.ticks((BID, ASK))
    ticket = trading.buy(1.7, type_filling=RETURN, magic=6).order
    trading.ticks((1.1001, 1.1003))
    assert [o.volume_current for o in trading.terminal.orders_get()] == [0.1]
    trading.ticks((1.1002, 1.1004), (1.1003, 1.1005))
    assert trading.terminal.orders_total() == 0
    [position] = trading.positions
    assert (position.ticket, position.volume, position.magic) == (ticket, 1.7, 6)
    assert [(d.volume, d.price) for d in trading.deals] == [
        (0.3, 1.1002), (0.5, 1.10022), (0.3, 1.1003), (0.5, 1.10032), (0.1, 1.1004)]
    assert {d.order for d in trading.deals} == {d.position_id for d in trading.deals} == {ticket}
    [order] = trading.terminal.history_orders_get(ticket=ticket)
    assert (order.state, order.volume_initial, order.volume_current) == (mt5.ORDER_STATE_FILLED, 1.7, 0.0)


def test_the_rest_of_a_closing_order_blocks_a_second_one_and_dies_with_the_position(market):
    trading = market(terms=DEEP)
    trading.ticks((BID, ASK), (BID, ASK))
    position = trading.buy(0.8, type_filling=RETURN).order
    trading.sell(0.6, type_filling=IOC, position=position)
    left = trading.sell(0.2, type_filling=RETURN, position=position)
    assert left.retcode == DONE
    trading.ticks((BID, ASK))
    position = trading.buy(0.8, type_filling=RETURN, sl=1.09).order
    trading.sell(0.7, type_filling=IOC)
    order = trading.sell(0.8, type_filling=RETURN, position=position)
    assert order.retcode == PARTIAL
    assert trading.sell(0.1, type_filling=IOC, position=position).retcode == mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST
    trading.ticks((1.08, 1.0802))
    assert trading.terminal.orders_total() == 0
    assert [p.ticket for p in trading.positions if p.ticket == position] == []
    [gone] = trading.terminal.history_orders_get(ticket=order.order)
    assert gone.state == mt5.ORDER_STATE_CANCELED


def test_a_limit_order_is_filled_within_its_level_and_keeps_waiting_for_the_rest(market):
    trading = market(terms=DEEP, limit_fill="better")
    trading.ticks((BID, ASK))
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0999, volume=0.6, type_filling=RETURN).order
    trading.ticks((1.0997, 1.0999))  # the second level, two points above, is beyond the limit
    assert [(o.volume_current, o.state) for o in trading.terminal.orders_get()] == [(0.3, mt5.ORDER_STATE_PARTIAL)]
    trading.ticks((1.1, 1.1002))
    assert trading.terminal.orders_total() == 1
    trading.ticks((1.0990, 1.0992))
    assert trading.terminal.orders_total() == 0
    assert [(d.volume, d.price) for d in trading.deals] == [(0.3, 1.0999), (0.3, 1.0992)]
    assert [p.ticket for p in trading.positions] == [ticket]


@pytest.mark.parametrize(("fill", "limit_price", "tp_price"), [("level", 1.0990, 1.1100), ("better", 1.0981, 1.1120)])
def test_a_price_that_jumps_over_a_limit_fills_at_the_level_or_better(market, fill, limit_price, tp_price):
    trading = market(limit_fill=fill)
    trading.ticks((BID, ASK))
    trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, tp=1.1100)
    trading.ticks((1.0980, 1.0981))
    assert trading.deals[-1].price == limit_price
    trading.ticks((1.1120, 1.1121))
    assert trading.deals[-1].price == tp_price


@pytest.mark.parametrize(("order_type", "price", "stoplimit", "before", "trigger", "fill"), [
    (mt5.ORDER_TYPE_BUY_STOP_LIMIT, 1.1010, 1.1005, (1.1006, 1.1008), (1.1009, 1.1010), (1.1003, 1.1005)),
    (mt5.ORDER_TYPE_SELL_STOP_LIMIT, 1.0990, 1.0995, (1.0992, 1.0994), (1.0990, 1.0991), (1.0995, 1.0996)),
])
def test_a_stop_limit_order_becomes_a_limit_order_at_its_stop(market, order_type, price, stoplimit, before, trigger, fill):
    trading = market()
    trading.ticks((BID, ASK))
    ticket = trading.pending(order_type, price, stoplimit=stoplimit, magic=3).order
    trading.ticks(before)
    assert trading.terminal.orders_get(ticket=ticket)[0].type == order_type
    trading.ticks(trigger)
    [order] = trading.terminal.orders_get(ticket=ticket)
    assert order.type == order_type - 4
    assert (order.price_open, order.price_stoplimit) == (stoplimit, stoplimit)
    assert trading.deals == ()
    trading.ticks(fill)
    assert [(d.price, d.order, d.magic) for d in trading.deals] == [(stoplimit, ticket, 3)]


def test_book_or_cancel_is_for_limit_orders_of_symbols_that_allow_it(market):
    trading = market(filling_mode=7)
    trading.ticks((BID, ASK))
    assert trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, type_filling=BOC).retcode == DONE
    assert trading.pending(mt5.ORDER_TYPE_BUY_STOP, 1.1010, type_filling=BOC).retcode == BAD_FILL
    plain = market(filling_mode=3)
    plain.ticks((BID, ASK))
    assert plain.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, type_filling=BOC).retcode == BAD_FILL
    # Set off at the very price of its limit it would be filled at once: cancelled.
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_STOP_LIMIT, 1.1010, stoplimit=1.1010, type_filling=BOC).order
    trading.ticks((1.1008, 1.1010))
    assert trading.terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_CANCELED


def test_pending_orders_can_be_bound_to_the_return_mode(market):
    trading = market(pending_filling="return")
    trading.ticks((BID, ASK))
    assert trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990).retcode == BAD_FILL
    assert trading.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.0990, type_filling=RETURN).retcode == DONE


def test_orders_and_stops_can_wait_for_the_last_trades_price(market):
    trading = market(terms={"EURUSD": {"trigger": "last"}})

    def tick(bid, ask, last):
        block = trading.block((bid, ask), last=last)
        return trading.terminal.advance(block)

    tick(BID, ASK, 1.1001)
    trading.buy(0.1, sl=1.0990)
    ticket = trading.pending(mt5.ORDER_TYPE_BUY_STOP, 1.1010).order
    tick(1.0980, 1.0982, 1.1001)  # the quote is through the SL, nobody has traded there
    assert len(trading.positions) == 1
    tick(1.0985, 1.0987, 0.0)  # no trade: the last price stands
    assert len(trading.positions) == 1
    tick(1.0989, 1.0991, 1.0990)
    assert trading.positions == ()
    assert trading.deals[-1].price == 1.0989
    tick(1.1005, 1.1007, 1.1010)
    assert trading.deals[-1].order == ticket
    assert trading.deals[-1].price == 1.1007


@pytest.mark.parametrize(("treatment", "code", "deals", "state"), [
    (Treatment(refuse_with=10004), 10004, [], None),
    (Treatment(fill_lots=0.3), 10006, [], None),  # fill or kill
    (Treatment(fill_lots=0.3, rest="cancel"), PARTIAL, [0.3], mt5.ORDER_STATE_CANCELED),
    (Treatment(fill_lots=0.3, rest="reject"), 10006, [0.3], mt5.ORDER_STATE_REJECTED),
    (Treatment(answer_with=10012), 10012, [1.0], mt5.ORDER_STATE_FILLED),
    (Treatment(answer_with=10008), PLACED, [1.0], mt5.ORDER_STATE_FILLED),
])
def test_a_request_can_be_treated_against_the_rules(market, treatment, code, deals, state):
    trading = market()
    trading.ticks((BID, ASK))
    told = trading.terminal.submit(
        {"action": 1, "symbol": "EURUSD", "volume": 1.0, "type": BUY, "magic": 5}, "k", trading.now_ns, treatment)
    assert told[-1].result.retcode == code
    assert [d.volume for d in trading.deals] == deals
    assert [o.state for o in trading.terminal.history_orders_get(0, 2**31 - 1)] == ([] if state is None else [state])
    assert (told[-1].result.order > 0) == (code in (DONE, PARTIAL, PLACED))
    # It was about one request.
    assert trading.buy(0.1).retcode == DONE


def test_a_treatment_rewrites_ids_comment_magic_reason_and_repeats_notices(market):
    trading = market()
    trading.ticks((BID, ASK))
    treatment = Treatment(comment="cut", magic=0, skip_tickets=5, reason=mt5.ORDER_REASON_CLIENT, notices=2,
                          slippage_points=4)
    told = trading.terminal.submit(
        {"action": 1, "symbol": "EURUSD", "volume": 1.0, "type": BUY, "magic": 5, "comment": "tw:1"}, "k",
        trading.now_ns, treatment)
    [position] = trading.positions
    assert (position.comment, position.magic, position.ticket, position.price_open) == ("cut", 0, 1_000_006, 1.10024)
    first, second, answered = told
    assert first == second
    assert (first.deal.reason, first.deal.ticket) == (mt5.DEAL_REASON_CLIENT, 5_000_006)
    assert (answered.result.request.comment, answered.result.request.magic) == ("tw:1", 5)


def test_a_late_request_survives_a_restart_with_its_treatment(market):
    trading, other = market(), market()
    trading.ticks((BID, ASK))
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY}
    assert trading.terminal.submit(request, "late", trading.now_ns, Treatment(latency_ns=2_500_000_000, comment="x")) == ()
    overtaking = trading.terminal.submit(request, "quick", trading.now_ns, Treatment(latency_ns=0, overtakes=True))
    assert overtaking[-1].request_key == "quick"
    other.terminal.restore(trading.terminal.snapshot())
    other.now_ns = trading.now_ns
    assert other.ticks((1.1001, 1.1003), (1.1002, 1.1004)) == ()
    filled, answered = other.ticks((1.1003, 1.1005))
    assert (filled.deal.price, filled.deal.comment, answered.request_key) == (1.1004, "x", "late")
