"""What makes no sense is turned down with the reason, and what does is let in."""

import msgspec
import numpy as np
import pytest

from libs.common.bus.protocol import opened
from libs.common.codec import Codec, encode
from libs.common.messages.control import Halt
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import OrderFilled, OrderRejected
from libs.common.messages.sense import END_NS
from libs.common.routing import subject_of

TICKS = TickBlock(
    ts_event_ns=2, ts_init_ns=0, seq=1, symbol="EURUSD", first_tick=1, time_ns=np.array([1, 2]), bid=np.array([1.0, 1.0]),
    ask=np.array([1.1, 1.1]),
)
ONE = msgspec.structs.replace(TICKS, time_ns=np.array([2]), bid=np.array([1.0]), ask=np.array([1.1]))
FILLED = OrderFilled(
    ts_event_ns=1, ts_init_ns=0, seq=1, order_id="ab" * 12, account="paper", symbol="EURUSD", side=Side.BUY,
    volume_lots=1.0, price=1.0, deal=1, position_id=1, slippage_points=0.0, commission_ccy=0.0,
)
HALT = Halt(ts_event_ns=1, ts_init_ns=0, command_id="c", issued_by="me", reason="why")


def error_of(message, **changes):
    changed = msgspec.structs.replace(message, **changes)
    return opened(Codec(), subject_of(changed), encode(changed)).error


@pytest.mark.parametrize("message", [TICKS, ONE, FILLED, HALT], ids=lambda message: type(message).__name__)
def test_what_makes_sense_is_let_in(message):
    assert error_of(message) == ""


@pytest.mark.parametrize(
    ("message", "changes", "said"),
    [
        (HALT, {"ts_event_ns": -1}, "ts_event_ns -1"),
        (HALT, {"ts_event_ns": END_NS}, "ts_event_ns"),
        (FILLED, {"ts_event_ns": 2**62}, "ts_event_ns"),
        (TICKS, {"ts_event_ns": 3}, "not the time of the last tick"),
        (TICKS, {"time_ns": np.array([-5, 2])}, "time_ns -5"),
        (TICKS, {"first_tick": 0}, "first_tick 0"),
        (TICKS, {"first_tick": 2**63 - 1}, "first_tick"),
        (TICKS, {"ask": np.array([1.1, 1e300])}, "above 1e+12"),
        (ONE, {"ask": np.array([1e300])}, "above 1e+12"),
        (FILLED, {"order_id": "../../etc"}, "order_id"),
        (FILLED, {"order_id": ""}, "order_id"),
    ],
)
def test_what_makes_none_is_turned_down_with_the_reason(message, changes, said):
    assert said in error_of(message, **changes)


def test_an_order_that_was_turned_down_may_have_been_called_anything():
    rejected = OrderRejected(
        ts_event_ns=1, ts_init_ns=0, seq=1, order_id="../../etc", account="paper", symbol="EURUSD", retcode=0, reason="x"
    )
    assert error_of(rejected) == ""
