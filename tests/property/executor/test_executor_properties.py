"""Random lives of the executor on the simulated terminal: replay is exact, and the order truths hold throughout."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.core import Effect, dispatch
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderFilled,
    OrderPartiallyFilled,
    OrderPurpose,
    OrderRejected,
    OrderResolved,
    OrderSent,
    PositionClosed,
)
from libs.common.mt5.sim.settings import TerminalSettings
from services.executor.config import ExecutorConfig
from services.executor.effects import IntentRecorded, RecordIntent
from services.executor.stops import BreakEven, Trailing
from tests.unit.executor.executor_world import (
    RESULTS,
    S,
    World,
    approval,
    bytes_of,
    flatten,
    fresh_copy,
    halt,
    resume,
    ticks,
)

PRICE = {"EURUSD": (1.10000, 0.00010, 0.00020), "USDJPY": (102.000, 0.010, 0.020)}
CONFIG = ExecutorConfig(
    break_even=BreakEven(after=0.5), trailing=Trailing(distance=40, after=20, unit="points"), answer_timeout_s=4.0,
    quiet_period_s=6.0, close_retry_s=2.0,
)
BROKERS = (
    TerminalSettings(),
    TerminalSettings(hedging=False, slippage="half_normal", slippage_points=3.0),
    TerminalSettings(latency_ms=800.0, latency_sigma=1.0),
    TerminalSettings(balance_ccy=400.0, execution="instant", latency_ms=1_500.0),
)

symbols = st.sampled_from(sorted(PRICE))
steps = st.lists(st.integers(-12, 12), min_size=1, max_size=6)
market = st.tuples(st.just("ticks"), symbols, steps, st.sampled_from([S // 5, S, 3 * S]))
orders = st.tuples(
    st.just("open"), symbols, st.sampled_from(list(Side)), st.integers(1, 30), st.integers(0, 3),
    st.sampled_from([0, 0, 5, 20]), st.sampled_from([-1, 0, 2, 20, 20, 20]),
)
rest = st.one_of(
    st.tuples(st.just("reduce"), st.integers(0, 5), st.integers(1, 30)),
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("disk"), st.sampled_from(["slow", "fast", "fast"])),
    st.tuples(st.just("command"), st.sampled_from(["halt", "flatten", "flatten EURUSD", *["resume"] * 9])),
)
# Shrinks to ticks alone.
lives = st.lists(st.one_of(market, orders, market, orders, rest), min_size=12, max_size=40)


class Life:
    """Plays actions on a world and keeps what is needed to make the next one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.points = {"EURUSD": 0, "USDJPY": 0}
        self.approved: list[Any] = []
        self.blocks = 0

    def quote(self, symbol: str) -> tuple[float, float]:
        start, step, spread = PRICE[symbol]
        bid = round(start + self.points[symbol] * step, 5)
        return bid, round(bid + spread, 5)

    def play(self, action: tuple[Any, ...]) -> None:
        getattr(self, action[0])(*action[1:])

    def ticks(self, symbol: str, moves: list[int], step_ns: int) -> None:
        quotes = []
        for move in moves:
            self.points[symbol] += move
            quotes.append(self.quote(symbol))
        self.blocks += 1
        self.world.hear(ticks(symbol, self.world.now_ns + step_ns, *quotes, step_ns=step_ns))

    def open(
        self, symbol: str, side: Side, steps: int, stops: int, horizon_s: int, expires_s: int
    ) -> None:
        bid, ask = self.quote(symbol)
        price = ask if side is Side.BUY else bid
        unit = PRICE[symbol][1]
        sl = round(price - side.sign * 5 * unit * stops, 5) if stops else 0.0
        tp = round(price + side.sign * 6 * unit * stops, 5) if stops else 0.0
        self._approve(
            symbol=symbol, side=side, volume_lots=steps / 100, price=price, sl=sl, tp=tp, horizon_s=horizon_s,
            expires_ns=self.world.now_ns + expires_s * S,
        )

    def reduce(self, which: int, steps: int) -> None:
        held = self.world.desk.positions()
        if held:
            position = held[which % len(held)]
            self._approve(
                symbol=position.symbol, side=position.side.opposite, volume_lots=min(steps / 100, position.volume_lots),
                price=position.price_open, purpose=OrderPurpose.REDUCE, position_id=position.position_id,
                expires_ns=self.world.now_ns + 10 * S,
            )

    def again(self, which: int) -> None:
        if self.approved:
            self.world.hear(self.approved[which % len(self.approved)])

    def command(self, verb: str) -> None:
        now_ns = self.world.now_ns
        name, _, symbol = verb.partition(" ")
        message = {
            "halt": halt, "resume": resume,
            "flatten": lambda now_ns: flatten(now_ns, f"f{len(self.world.inputs)}", symbol),
        }[name](now_ns)
        self.world.hear(message)

    def disk(self, speed: str) -> None:
        if speed == "slow":
            self.world.holding = True
        else:
            self.world.release()

    def _approve(self, **fields: Any) -> None:
        order = approval(f"{len(self.approved)}", **fields)
        self.approved.append(order)
        self.world.hear(order)


def lived(broker: TerminalSettings, life: list[tuple[Any, ...]]) -> Life:
    player = Life(World(CONFIG, terminal=broker))
    for symbol in sorted(PRICE):
        player.ticks(symbol, [0], S)
    for action in life:
        player.play(action)
    player.world.release()
    for _ in range(6):
        for symbol in sorted(PRICE):
            player.ticks(symbol, [0, 0, 0, 0, 0], S)
    return player


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(broker=st.sampled_from(BROKERS), life=lives)
def test_a_restart_at_any_input_changes_nothing(broker: TerminalSettings, life: list[tuple[Any, ...]]) -> None:
    world = lived(broker, life).world
    twin = fresh_copy(world)
    states, said = [twin.snapshot()], []
    for message, now_ns in world.inputs:
        said.append(dispatch(twin, message, now_ns))
        states.append(twin.snapshot())
    assert bytes_of(m for turn in said for m in turn) == bytes_of(world.said), "a replay says the same"
    assert states[-1] == world.core.snapshot()
    # Killed after each input in turn: one step on from every snapshot leads to the next one, hence to the end.
    for cut, (message, now_ns) in enumerate(world.inputs):
        reborn = fresh_copy(world, states[cut])
        assert reborn.snapshot() == states[cut]
        assert bytes_of(dispatch(reborn, message, now_ns)) == bytes_of(said[cut])
        assert reborn.snapshot() == states[cut + 1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(broker=st.sampled_from(BROKERS), life=lives)
def test_the_truths_about_orders_hold_in_every_life(broker: TerminalSettings, life: list[tuple[Any, ...]]) -> None:
    player = lived(broker, life)
    world = player.world
    sent = [m.order_id for m in world.of(OrderSent)]
    assert len(sent) == len(set(sent)), "no order is sent twice"
    # No approved intent disappears.
    ends = (OrderFilled, OrderPartiallyFilled, OrderRejected, OrderResolved)
    settled = {m.order_id for m in world.said if isinstance(m, ends)}
    assert {order.order_id for order in player.approved} <= settled
    # Nothing is sent before its intent is on the disk.
    on_disk: set[str] = set()
    turn = iter(world.inputs)
    for said in world.said:
        if isinstance(said, OrderSent):
            while said.order_id not in on_disk:
                message, _ = next(turn)
                if isinstance(message, IntentRecorded):
                    on_disk.add(message.order_id)
    # Every deal with our key traces to exactly one intent.
    magics = {intent.magic: intent.order_id for intent in world.of(RecordIntent)}
    deals = [deal for deal in world.terminal.history_deals_get(0, 2**31 - 1) if deal.symbol]
    assert {deal.magic for deal in deals} <= set(magics)
    by_our_orders = [deal.magic for deal in deals if deal.reason == 3]
    assert len(by_our_orders) == len(set(by_our_orders)), "one deal per intent: this broker fills whole"
    assert {magics[magic] for magic in by_our_orders} <= set(sent)
    # What we hold to be ours is what the broker has.
    believed = {
        own.position_id: own.side.sign * own.lots for own in world.core._state.positions.values()
    }
    real = {p.position_id: p.side.sign * p.volume_lots for p in world.desk.positions()}
    assert set(believed) == set(real)
    for position_id, lots in real.items():
        assert abs(believed[position_id] - lots) < 1e-8
    # The closed positions' money is the account's.
    booked = sum(m.profit_ccy + m.swap_ccy + m.commission_ccy for m in world.of(PositionClosed))
    still_open = sum(own.commission_ccy for own in world.core._state.positions.values())
    assert abs(broker.balance_ccy + booked + still_open - world.terminal.balance_ccy) < 1e-6


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(broker=st.sampled_from(BROKERS), life=lives)
def test_after_a_halt_only_reductions_are_sent(broker: TerminalSettings, life: list[tuple[Any, ...]]) -> None:
    world = lived(broker, life).world
    purposes = {intent.order_id: "position" in intent.request for intent in world.of(RecordIntent)}
    halted = False
    core = fresh_copy(world)
    for message, now_ns in world.inputs:
        halted = {"Halt": True, "Flatten": True, "Resume": False}.get(type(message).__name__, halted)
        for said in dispatch(core, message, now_ns):
            if isinstance(said, OrderSent) and halted:
                assert purposes[said.order_id]


def test_results_of_effects_survive_the_input_journal() -> None:
    world = lived(BROKERS[0], [("open", "EURUSD", Side.BUY, 10, 1, 5, 30)])
    results = [m for m, _ in world.world.inputs if type(m).__name__.endswith("Recorded")]
    assert results
    for result in results:
        assert RESULTS.decode(bytes_of([result])) == result
    assert not any(isinstance(m, Effect) for m, _ in world.world.inputs)
