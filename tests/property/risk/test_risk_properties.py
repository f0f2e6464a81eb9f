"""What must hold for every history: fail closed, bounded exposure, restart is replay, never more than asked."""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.codec import encode
from libs.common.config import InstrumentConfig
from libs.common.ids import magic_of
from libs.common.messages.base import Message
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPurpose,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
)
from libs.common.trading.instrument import Instrument
from services.risk.config import RiskConfig
from services.risk.sizing import loss_at_stop_ccy_per_lot, order_size, place_stops
from tests.unit.risk.scenarios import (
    MS,
    SATURDAY_NOON,
    SECOND,
    WEDNESDAY_NOON,
    World,
    account,
    approved,
    changed,
    config,
    flatten,
    halt,
    position,
    prediction,
    resume,
    ticks,
)

NOON = WEDNESDAY_NOON
few = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sides = st.sampled_from(list(Side))
not_numbers = st.sampled_from([float("nan"), float("inf"), float("-inf")])
figures = st.one_of(not_numbers, st.floats(allow_nan=True, allow_infinity=True))

ACCOUNT_FIGURES = ("balance_ccy", "equity_ccy", "margin_ccy", "margin_free_ccy", "day_start_equity_ccy")
PREDICTION_FIGURES = (
    "p_down", "p_flat", "p_up", "expected_return_pct", "confidence", "stop_distance", "target_distance", "volatility",
    "bid", "ask",
)  # fmt: skip
FAULTS = (
    "no account", "no tick", "account figure", "prediction figure", "account stale", "tick stale", "prediction stale",
    "saturday", "zero equity", "tick not a number", "position not a number", "unknown lots", "no stop", "halted",
    "foreign symbol",
)  # fmt: skip


@st.composite
def broken_worlds(draw: st.DrawFn) -> tuple[tuple[str, ...], list[Message]]:
    """Draw what risk hears when at least one of its inputs is missing, stale, not finite or forbids trading."""
    faults = draw(st.sets(st.sampled_from(FAULTS), min_size=1, max_size=4))
    # The newest message is always the time itself; the stale ones lie an age in the past.
    base = SATURDAY_NOON if "saturday" in faults else NOON
    age = draw(st.integers(10_001, 10**8)) * MS
    heard: list[Message] = [ticks("GBPUSD", base)]
    if "no tick" not in faults:
        tick = ticks(ts_ns=base - age if "tick stale" in faults else base)
        if "tick not a number" in faults:
            tick.ask[-1] = draw(st.sampled_from([float("nan"), float("inf")]))
        heard.append(tick)
    if "no account" not in faults:
        heard.append(_broken_account(draw, faults, base - age if "account stale" in faults else base))
    if "halted" in faults:
        heard.append(halt(base))
    changes: dict[str, Any] = {}
    if "prediction figure" in faults:
        changes[draw(st.sampled_from(PREDICTION_FIGURES))] = draw(not_numbers)
    if "no stop" in faults:
        changes["stop_distance"] = 0.0
    symbol = "COFFEE" if "foreign symbol" in faults else "EURUSD"
    stale = "prediction stale" in faults
    heard.append(prediction(symbol, draw(sides), base - age if stale else base, **changes))
    return tuple(sorted(faults)), heard


def _broken_account(draw: st.DrawFn, faults: set[str], ts_ns: int) -> Message:
    changes: dict[str, Any] = {}
    if "account figure" in faults:
        changes[draw(st.sampled_from(ACCOUNT_FIGURES))] = draw(not_numbers)
    if "zero equity" in faults:
        changes["equity_ccy"] = draw(st.sampled_from([0.0, -0.0, -1.0]))
    if "position not a number" in faults:
        changes["positions"] = (position("GBPUSD", lots=float("nan")),)
    if "unknown lots" in faults:
        changes["unknown_lots"] = {"EURUSD": draw(st.sampled_from([0.01, -0.5, float("nan")]))}
    return account(ts_ns, **changes)


@few
@given(broken_worlds())
def test_missing_stale_or_non_finite_state_never_yields_an_approval(
    case: tuple[tuple[str, ...], list[Message]],
) -> None:
    faults, heard = case
    world = World()
    world.hear(*heard, wire=False)
    assert approved(tuple(world.said)) == [], faults


@few
@given(st.data())
def test_no_number_however_wild_raises_or_opens_more_than_the_limits_allow(data: st.DataObject) -> None:
    draw = data.draw
    world = World()
    wild_account = {name: draw(figures) for name in draw(st.sets(st.sampled_from(ACCOUNT_FIGURES)))}
    wild_prediction = {name: draw(figures) for name in draw(st.sets(st.sampled_from(PREDICTION_FIGURES)))}
    tick = ticks()
    if draw(st.booleans()):
        tick.bid[-1], tick.ask[-1] = draw(figures), draw(figures)
    held = (position("GBPUSD", lots=draw(figures), price_open=draw(figures)),) if draw(st.booleans()) else ()
    world.hear(tick, ticks("GBPUSD"), account(positions=held, leverage=draw(figures), **wild_account), wire=False)
    for order in approved(world.hear(prediction(**wild_prediction), wire=False)):
        equity = wild_account.get("equity_ccy", 10_000.0)
        assert order.volume_lots * order.price * 100_000.0 <= 2.0 * equity * (1 + 1e-9)
        assert 0.0 < order.sl < order.price or order.side is Side.SELL


@few
@given(
    st.lists(st.tuples(sides, st.sampled_from(["EURUSD", "GBPUSD"]), st.integers(1, 900)), min_size=1, max_size=25)
)
def test_whichever_approvals_are_filled_the_exposure_limits_hold(signals: list[tuple[Side, str, int]]) -> None:
    limits = config(
        max_positions_per_symbol=99, max_open_positions=99, repeat_window_ms=0, max_symbol_exposure_x=5.0,
        max_total_exposure_x=8.0, min_free_margin_pct=0.0,
    )  # fmt: skip
    world = World(limits).ready()
    for n, (side, symbol, stop_points) in enumerate(signals):
        world.hear(prediction(symbol, side, NOON + n, stop_distance=stop_points * 1e-5))
    orders = [order for order in world.said if isinstance(order, OrderApproved)]
    worst_total = 0.0
    for symbol in ("EURUSD", "GBPUSD"):
        mine = [order for order in orders if order.symbol == symbol]
        # Every subset of the orders may turn out to be filled; the worst one holds all of one side.
        worst = max(
            abs(sum(order.side.sign * order.volume_lots * order.price * 100_000.0 for order in filled))
            for filled in (
                *itertools.islice(itertools.chain.from_iterable(
                    itertools.combinations(mine, size) for size in range(len(mine) + 1)), 2_000),
                [order for order in mine if order.side is Side.BUY],
                [order for order in mine if order.side is Side.SELL],
            )
        ) / 10_000.0  # fmt: skip
        assert worst <= 5.0 + 0.01
        worst_total += worst
    assert worst_total <= 8.0 + 0.01


HistoryStep = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["tick", "account", "predict", "sent", "filled", "rejected", "unknown", "resolved", "poor",
                         "halt", "resume", "flatten"]),
        st.integers(0, 3),
        st.integers(0, 4_000),
    ),
    min_size=10,
    max_size=80,
)  # fmt: skip
MOVING = config(
    max_positions_per_symbol=3, repeat_window_ms=500, on_opposite="reverse", flatten_on_halt=True,
    report_no_direction=True,
)  # fmt: skip


def messages_of(history: list[HistoryStep]) -> list[Message]:
    """Turn drawn steps into messages; executions follow what a core of the same limits approves."""
    world = World(MOVING)
    now, heard = NOON, []

    def hear(message: Message) -> None:
        heard.append(message)
        world.hear(message)

    for symbol in ("EURUSD", "GBPUSD"):
        hear(ticks(symbol, now))
    hear(account(now))
    for kind, pick, wait_ms in history:
        now += wait_ms * MS
        orders = [order for order in world.said if isinstance(order, OrderApproved)][-4:]
        message = _message(kind, pick, now, orders, len(heard))
        if message is not None:
            hear(message)
    return heard


def _message(kind: str, pick: int, now: int, orders: list[OrderApproved], n: int) -> Message | None:
    symbol = ("EURUSD", "GBPUSD")[pick % 2]
    side = (Side.BUY, Side.SELL, None, Side.BUY)[pick]
    if kind == "tick":
        return ticks(symbol, now, mid=1.3 + pick * 0.01)
    if kind in ("account", "poor"):
        held = tuple(
            position(order.symbol, order.side, order.volume_lots, position_id=k, magic=magic_of(order.order_id, 1))
            for k, order in enumerate(orders[:pick])
            if order.purpose is OrderPurpose.OPEN
        )
        return account(now, positions=held, equity_ccy=9_000.0 if kind == "poor" else 10_000.0)
    if kind == "predict":
        return prediction(symbol, side, now)
    if kind in ("halt", "resume", "flatten"):
        return {"halt": halt, "resume": resume, "flatten": flatten}[kind](now, f"{kind}{n}")
    return _execution(kind, now, orders[pick % len(orders)], pick) if orders else None


def _execution(kind: str, now: int, order: OrderApproved, pick: int) -> Message:
    about: dict[str, Any] = {
        "order_id": order.order_id, "account": order.account, "symbol": order.symbol, "ts_event_ns": now,
        "ts_init_ns": now,
    }
    traded: dict[str, Any] = {"side": order.side, "volume_lots": order.volume_lots}
    if kind == "sent":
        return OrderSent(**about, **traded, magic=magic_of(order.order_id, 1))
    if kind == "filled":
        return OrderFilled(
            **about, **traded, price=order.price, deal=1, position_id=pick, slippage_points=0.0, commission_ccy=0.0
        )
    if kind == "rejected":
        return OrderRejected(**about, retcode=10019, reason="no money")
    if kind == "unknown":
        return OrderUnknown(**about, **traded, reason="timeout")
    return OrderResolved(**about, executed=pick > 1, volume_lots=order.volume_lots, evidence="deals")


@few
@given(steps, st.integers(0, 60))
def test_a_restart_anywhere_equals_never_restarting(history: list[HistoryStep], cut: int) -> None:
    heard = messages_of(history)
    whole = World(MOVING)
    whole.hear(*heard)
    first = World(MOVING)
    first.hear(*heard[:cut])
    second = first.restarted(MOVING)
    second.hear(*heard[cut:])
    assert first.said + second.said == whole.said
    assert second.core.snapshot() == whole.core.snapshot()


@few
@given(steps)
def test_the_same_inputs_give_the_same_bytes(history: list[HistoryStep]) -> None:
    heard = messages_of(history)
    runs = []
    for _ in range(2):
        world = World(MOVING)
        world.hear(*heard)
        runs.append(([encode(message) for message in world.said], world.core.snapshot()))
    assert runs[0] == runs[1]


@few
@given(steps)
def test_nothing_is_opened_between_a_halt_and_a_resume(history: list[HistoryStep]) -> None:
    world = World(MOVING)
    for message in messages_of(history):
        was_halted = world.core.is_halted
        outputs = world.hear(message)
        if was_halted:
            assert all(order.purpose is OrderPurpose.REDUCE for order in approved(outputs))
            assert world.core.is_halted or type(message).__name__ == "Resume"


@few
@given(steps)
def test_no_order_id_is_ever_approved_twice(history: list[HistoryStep]) -> None:
    world = World(MOVING)
    for message in messages_of(history):
        world.hear(message)
        world.hear(changed(message, seq=message.seq + 1))
    ids = [order.order_id for order in world.said if isinstance(order, OrderApproved)]
    assert len(ids) == len(set(ids))


@settings(max_examples=150, deadline=None)
@given(
    equity=st.floats(1.0, 1e7),
    risk_pct=st.floats(0.01, 2.0),
    stop_points=st.integers(1, 5_000),
    spread_points=st.integers(0, 50),
    step=st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    stops_level=st.sampled_from([0, 30, 200]),
    commission=st.floats(0.0, 20.0),
    side=sides,
    sizing=st.sampled_from(["fixed_fraction", "volatility_target"]),
)
def test_the_loss_at_the_stop_never_exceeds_the_asked_risk(
    equity: float, risk_pct: float, stop_points: int, spread_points: int, step: float, stops_level: int,
    commission: float, side: Side, sizing: Any,
) -> None:  # fmt: skip
    spec = InstrumentConfig(
        volume_step=step, volume_min=step, stops_level_points=stops_level, commission_per_lot_ccy=commission
    )
    instrument = Instrument("EURUSD", spec)
    limits = RiskConfig(risk_per_trade_pct=risk_pct, max_trade_exposure_x=50.0, max_order_lots=1e9, sizing=sizing)
    bid = 1.1
    ask = instrument.shift(bid, spread_points)
    stops = place_stops(instrument, side, bid, ask, stop_points * instrument.point, 0.0)
    entry = ask if side is Side.BUY else bid
    size = order_size(instrument, prediction(), side, entry, stops.sl, equity, "USD", {}, limits)
    worst_entry = entry + side.sign * limits.max_slippage_points * instrument.point
    loss = loss_at_stop_ccy_per_lot(instrument, side, worst_entry, stops.sl, "USD", {})
    assert loss is not None
    # A hundred-millionth of a lot is the broker's own tolerance in rounding.
    assert size.volume_lots * loss <= equity * risk_pct / 100.0 + 2e-8 * loss
    assert size.volume_lots == 0.0 or instrument.is_valid_volume(size.volume_lots)
    assert size.volume_lots <= size.wished_lots + 2e-8
    assert instrument.is_stop_allowed(side.sign, stops.sl, 0.0, bid, ask)


@few
@given(st.integers(0, 5_000), st.integers(1, 20))
def test_at_most_so_many_orders_in_any_minute(gap_ms: int, most: int) -> None:
    limits = config(
        max_orders_per_minute=most, max_positions_per_symbol=999, max_open_positions=999, repeat_window_ms=0,
        max_symbol_exposure_x=100.0, max_total_exposure_x=100.0, min_free_margin_pct=0.0, max_trade_exposure_x=0.2,
    )  # fmt: skip
    world = World(limits).ready()
    times = []
    for n in range(60):
        now = NOON + n * gap_ms * MS + n
        world.hear(ticks(ts_ns=now), account(now))
        times += [now for _ in approved(world.hear(prediction(ts_ns=now)))]
    assert all(sum(0 <= t - start < 60 * SECOND for t in times) <= most for start in times)
