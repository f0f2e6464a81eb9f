"""Reconciliation reaches the broker's truth and then rests, whatever was missed."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.messages.market import Side
from libs.common.messages.orders import OrderPurpose
from libs.common.trading.instrument import Instrument
from services.executor.broker import (
    LOTS_TOLERANCE,
    BrokerDeal,
    BrokerOrder,
    BrokerPosition,
    BrokerReport,
    OrderPlace,
    is_ours,
    signed_lots,
)
from services.executor.ledger import Ledger
from services.executor.order_state import OrderState
from services.executor.reconcile import lots_after, reconcile
from services.executor.state import ActiveOrder, ExecutorState
from services.executor.turn import Turn
from tests.unit.executor.executor_world import (
    INSTRUMENTS,
    NOON,
    S,
    broker_account,
    deal,
    magic,
    order_id,
    position,
)

NAMES = ("a", "b", "c", "d")
QUIET = 45 * S


@st.composite
def broker_lives(draw: Any) -> tuple[list[BrokerDeal], dict[int, float]]:
    """Draw what happened at the broker: deals in order of time, and the positions they left."""
    deals: list[BrokerDeal] = []
    lots: dict[int, float] = {}
    for ticket in range(1, draw(st.integers(0, 8)) + 1):
        kind = draw(st.sampled_from(["open", "open", "close", "sl", "manual", "reverse", "foreign"]))
        held = [position_id for position_id, open_lots in lots.items() if open_lots and position_id < 900]
        side = draw(st.sampled_from(list(Side)))
        volume = draw(st.sampled_from([0.1, 0.2, 0.3]))
        position_id = 500 + ticket
        fields: dict[str, Any] = {"ts_ns": NOON + ticket * S, "side": side, "volume_lots": volume}
        if kind == "foreign":
            position_id = 900 + ticket
            fields["magic"] = 0
        elif kind == "open" or not held:
            fields["magic"] = magic(draw(st.sampled_from(NAMES)))
        else:
            position_id = draw(st.sampled_from(held))
            open_lots = lots[position_id]
            side = Side.SELL if open_lots > 0 else Side.BUY
            volume = min(volume, round(abs(open_lots), 2)) if kind != "reverse" else round(abs(open_lots) + volume, 2)
            fields |= {
                "side": side, "volume_lots": volume, "entry": 2 if kind == "reverse" else 1,
                "magic": 0 if kind == "manual" else magic(draw(st.sampled_from(NAMES))),
                "reason": {"sl": 4, "manual": 0}.get(kind, 3),
            }
        done = deal(ticket, position_id=position_id, **fields)
        deals.append(done)
        lots[position_id] = round(lots_after(lots.get(position_id, 0.0), done), 8)
    return deals, {position_id: open_lots for position_id, open_lots in lots.items() if open_lots}


def positions_of(deals: list[BrokerDeal], lots: dict[int, float]) -> tuple[BrokerPosition, ...]:
    opened = {d.position_id: d for d in reversed(deals)}
    turned = {d.position_id: d for d in deals if d.entry in (0, 2)}
    return tuple(
        position(
            position_id, side=Side.BUY if open_lots > 0 else Side.SELL, volume_lots=abs(open_lots),
            magic=turned.get(position_id, opened[position_id]).magic,
        )
        for position_id, open_lots in lots.items()
    )


def ledger_with(names: list[str]) -> tuple[Ledger, ExecutorState]:
    """Return a ledger in which the orders of these names are in doubt since noon."""
    state = ExecutorState()
    ledger = Ledger(state, "paper", 1, dict[str, Instrument](INSTRUMENTS), 5 * S)
    for name in names:
        order = ActiveOrder(
            order_id=order_id(name), magic=magic(name), symbol="EURUSD", side=Side.BUY, lots=0.3, price=1.1, sl=0.0,
            tp=0.0, purpose=OrderPurpose.OPEN, position_id=0, deviation_points=0, horizon_s=0, expires_ns=0,
        )
        ledger.enter(order)
        ledger.recorded(order)
        ledger.sent(order, Turn(NOON))
        ledger.doubt(order, "test", Turn(NOON))
    return ledger, state


book_orders = st.lists(
    st.builds(
        lambda name, place, lots: BrokerOrder(
            ticket=9, symbol="EURUSD", magic=magic(name), place=place, executed_lots=lots
        ),
        st.sampled_from(NAMES), st.sampled_from(list(OrderPlace)), st.sampled_from([0.0, 0.1]),
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    life=broker_lives(), doubtful=st.lists(st.sampled_from(NAMES), unique=True), orders=book_orders, data=st.data()
)
def test_reconcile_reaches_the_brokers_truth_and_then_rests(
    life: tuple[list[BrokerDeal], dict[int, float]], doubtful: list[str], orders: list[BrokerOrder], data: Any
) -> None:
    deals, lots = life
    ledger, state = ledger_with(doubtful)
    heard = data.draw(st.lists(st.sampled_from(deals), unique=True)) if deals else []
    shown = data.draw(st.lists(st.sampled_from(deals), unique=True)) if deals else []
    for told in heard:  # in any order, some never
        ledger.on_deal(told, Turn(NOON + 10 * S))
    asked_ns = NOON + data.draw(st.sampled_from([20, 44, 45, 100])) * S
    report = BrokerReport(
        asked_ns=asked_ns, account=broker_account(asked_ns), orders=tuple(orders),
        positions=positions_of(deals, lots), deals=tuple(shown),
    )
    ledger.on_report(report, QUIET, Turn(asked_ns))

    truth = {
        p.position_id: signed_lots(p) for p in report.positions
        if is_ours(p.magic, 1) or p.position_id in ledger.belief().positions
    }
    believed = {position_id: held.lots for position_id, held in ledger.belief().positions.items() if held.lots}
    assert set(believed) == set(truth)
    assert all(abs(believed[position_id] - truth[position_id]) <= LOTS_TOLERANCE for position_id in truth)
    again = reconcile(ledger.belief(), report.orders, report.positions, report.deals, asked_ns, QUIET)
    assert again == (), "a second pass finds nothing to do"
    # In doubt is only what the broker still works on, or what has not been quiet for long enough.
    working = {o.magic for o in orders if o.place in (OrderPlace.STARTED, OrderPlace.PLACED, OrderPlace.PARTIAL)}
    for order in state.active.values():
        assert order.state is OrderState.UNKNOWN
        assert order.magic in working or asked_ns - NOON < QUIET


@settings(max_examples=150, deadline=None)
@given(life=broker_lives(), data=st.data())
def test_deals_that_show_late_lead_to_the_same_truth(
    life: tuple[list[BrokerDeal], dict[int, float]], data: Any
) -> None:
    deals, lots = life
    ledger, _ = ledger_with(list(NAMES))
    shown: list[BrokerDeal] = []
    for look in range(1, 4):
        late = [d for d in deals if d not in shown]
        shown += late if look == 3 else data.draw(st.lists(st.sampled_from(late), unique=True)) if late else []
        asked_ns = NOON + 100 * look * S
        report = BrokerReport(
            asked_ns=asked_ns, account=broker_account(asked_ns), orders=(), positions=positions_of(deals, lots),
            deals=tuple(shown),
        )
        ledger.on_report(report, QUIET, Turn(asked_ns))
        believed = {position_id: held.lots for position_id, held in ledger.belief().positions.items() if held.lots}
        truth = {
            p.position_id: signed_lots(p) for p in report.positions
            if is_ours(p.magic, 1) or p.position_id in ledger.belief().positions
        }
        assert set(believed) == set(truth)
        assert all(abs(believed[position_id] - truth[position_id]) <= LOTS_TOLERANCE for position_id in truth)
