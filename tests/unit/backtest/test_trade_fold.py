"""Messages become trades: volumes, costs, stops, and what is still open."""

import pytest

from backtest.tape import Tape
from backtest.trades import NO_SESSION, TradeFold, fold_trades, session_at
from libs.common.messages.market import Side
from libs.common.messages.orders import StopsMoved
from services.executor.broker import BrokerPosition
from tests.unit.backtest.backtest_world import (
    DAY,
    EURUSD,
    HOUR,
    INSTRUMENTS,
    MIN,
    NOON,
    S,
    approved,
    block,
    closed,
    filled,
)


def fold(*messages, tape: Tape | None = None) -> TradeFold:
    return fold_trades(messages, INSTRUMENTS, "USD", tape)


def test_a_position_opened_and_closed_is_one_trade_with_its_order_and_costs():
    trade, = fold(
        approved(NOON, "one", sl=1.095, tp=1.11), filled(NOON, "one", 7, commission=-3.5),
        closed(NOON + HOUR, 7, profit=100.0, swap=-1.0, commission=-7.0),
    ).trades
    assert (trade.model, trade.sl, trade.tp, trade.reason) == ("strategy-test", 1.095, 1.11, "order")
    assert trade.net_ccy == 92.0
    assert trade.traded_ccy == pytest.approx(100_000 * 2.201)


def test_a_position_closed_in_parts_is_a_trade_for_each_and_the_rest_keeps_its_share_of_the_commission():
    found = fold(
        approved(NOON, "one"), filled(NOON, "one", 7, commission=-8.0),
        closed(NOON + MIN, 7, lots=0.25, commission=-4.0), closed(NOON + HOUR, 7, lots=0.5, commission=-8.0),
    )
    assert [trade.volume_lots for trade in found.trades] == [0.25, 0.5]
    left, = found.still_open([held(7, 0.25)])
    assert left.commission_ccy == pytest.approx(-2.0)


def held(position: int, lots: float) -> BrokerPosition:
    return BrokerPosition(
        position_id=position, ticket=position, symbol="EURUSD", side=Side.BUY, volume_lots=lots, price_open=1.1, sl=0.0,
        tp=0.0, magic=1, opened_ns=NOON, profit_ccy=5.0, swap_ccy=-0.5,
    )


def test_what_is_still_open_counts_with_profit_swap_and_the_commission_that_was_paid():
    left, = fold(approved(NOON, "one"), filled(NOON, "one", 7, commission=-3.5)).still_open([held(7, 1.0)])
    assert left.net_ccy == 1.0
    # A position nobody of ours opened is shown too, without a commission of ours.
    foreign, = fold().still_open([held(8, 1.0)])
    assert foreign.commission_ccy == 0.0


@pytest.mark.parametrize(("side", "level", "price"), [(Side.BUY, 1.095, 1.0948), (Side.SELL, 1.105, 1.1052)])
def test_a_stop_filled_beyond_its_level_is_slippage_and_costs_money(side, level, price):
    trade, = fold(
        approved(NOON, "one", sl=level, side=side), filled(NOON, "one", 7, side=side, slippage=3.0),
        closed(NOON + HOUR, 7, side=side, at=(1.1, price), profit=-520.0, reason="sl"),
    ).trades
    assert trade.slippage_points == pytest.approx(23.0)
    assert trade.slippage_ccy == pytest.approx(-23.0)


def test_slippage_of_a_stop_is_measured_from_where_it_was_moved_to():
    moved = StopsMoved(
        ts_event_ns=NOON + MIN, ts_init_ns=NOON + MIN, account="paper", symbol="EURUSD", position_id=7, sl=1.1001, tp=0.0,
        rule="break_even",
    )
    trade, = fold(
        approved(NOON, "one", sl=1.095), filled(NOON, "one", 7), moved, closed(NOON + HOUR, 7, at=(1.1, 1.1), reason="sl")
    ).trades
    assert (trade.sl, trade.slippage_points) == (1.1001, 10.0)


def test_an_order_that_closes_brings_its_own_slippage_once():
    first, second = fold(
        approved(NOON, "one"), filled(NOON, "one", 7), filled(NOON + MIN, "two", 7, side=Side.SELL, lots=0.5, slippage=4.0),
        closed(NOON + MIN, 7, lots=0.5), closed(NOON + HOUR, 7, lots=0.5, reason="tp"),
    ).trades
    assert (first.slippage_points, second.slippage_points) == (4.0, 0.0)


def test_a_netting_position_that_turns_round_is_closed_and_opened_anew():
    found = fold(
        approved(NOON, "one"), filled(NOON, "one", 7, commission=-4.0), approved(NOON + MIN, "two", sl=1.12, side=Side.SELL),
        filled(NOON + MIN, "two", 7, side=Side.SELL, lots=3.0, commission=-12.0),
        closed(NOON + MIN, 7, commission=-8.0),
        closed(
            NOON + HOUR, 7, order="two", side=Side.SELL, lots=1.5, opened=NOON + MIN, at=(1.1, 1.12), profit=-3_000.0,
            reason="sl",
        ),
    )
    assert [(trade.side, trade.volume_lots) for trade in found.trades] == [(Side.BUY, 1.0), (Side.SELL, 1.5)]
    assert found.trades[1].sl == 1.12
    left, = found.still_open([held(7, 0.5)])
    assert left.commission_ccy == pytest.approx(-2.0)


def test_half_the_spread_at_either_end_is_what_the_spread_cost():
    tape = Tape({"EURUSD": EURUSD})
    messages = [approved(NOON, "one"), filled(NOON, "one", 7), closed(NOON + 2 * S, 7)]
    one = block([NOON - S, NOON, NOON + S, NOON + 2 * S], [1.1, 1.1, 1.1, 1.1], spread=0.0002)
    tape.see(one)
    tape.note(one, messages, ())
    trade, = fold(*messages, tape=tape).trades
    assert trade.spread_ccy == pytest.approx(-20.0)


@pytest.mark.parametrize(
    ("side", "against", "wanted"), [(Side.BUY, 40.0, 60.0), (Side.SELL, 70.0, 30.0)]
)
def test_how_far_prices_went_is_counted_on_the_side_that_would_close_and_only_while_it_was_open(side, against, wanted):
    tape = Tape({"EURUSD": EURUSD})
    first = block([NOON - S, NOON, NOON + S], [1.5, 1.1, 1.0996], spread=0.0001)
    second = block([NOON + 2 * S, NOON + 3 * S, NOON + 4 * S], [1.1006, 1.1, 0.9], spread=0.0001, first=4)
    messages = [approved(NOON, "one", side=side), filled(NOON, "one", 7, side=side)]
    end = closed(NOON + 3 * S, 7, side=side, at=(1.1, 1.1))
    tape.see(first)
    tape.note(first, messages, [held_as(side)])
    tape.see(second)
    tape.note(second, [end], ())
    trade, = fold(*messages, end, tape=tape).trades
    assert (trade.mae_points, trade.mfe_points) == (against, wanted)


def held_as(side: Side) -> BrokerPosition:
    return BrokerPosition(
        position_id=7, ticket=7, symbol="EURUSD", side=side, volume_lots=1.0, price_open=1.1, sl=0.0, tp=0.0, magic=1,
        opened_ns=NOON, profit_ccy=0.0, swap_ccy=0.0,
    )


def test_without_a_tape_what_hangs_on_quotes_is_unknown_and_nothing_breaks():
    trade, = fold(closed(NOON + HOUR, 7)).trades
    assert (trade.mae_points, trade.mfe_points, trade.spread_ccy, trade.regime, trade.model) == (None, None, 0.0, "", "")


def test_the_session_is_that_of_the_trading_centres_at_work():
    assert session_at(NOON) == "London"
    assert session_at(NOON + 3 * HOUR) == "London + New York"
    assert session_at(NOON + 5 * DAY) == NO_SESSION
