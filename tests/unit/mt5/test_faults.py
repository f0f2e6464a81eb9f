"""The fault menu in one process: every entry does what its name says, and nothing else."""

import msgspec
import numpy as np
import pytest

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5.sim import DealAdded, RequestAnswered, SimulatedTerminal, TerminalSettings
from libs.common.mt5.sim.faults import FaultEngine, FaultPlan, Rule
from libs.common.mt5.sim.faulty_port import FaultyPort, TerminalHangs
from libs.common.mt5.sim.faulty_terminal import Answered, FaultyTerminal, Silent
from libs.common.mt5.sim.package import Package
from libs.common.mt5.sim.tick_history import TickHistory
from libs.common.trading.instrument import Instrument

START_NS = 1_398_938_400_000_000_000  # 2014-05-01 10:00 UTC, 13:00 on the broker's clock
SECOND_NS = 1_000_000_000
BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "magic": 7}
SELL = {**BUY, "type": 1, "magic": 8}


def plan(*rules, seed=0):
    return FaultPlan(rules=tuple(msgspec.convert(rule, Rule) for rule in rules), seed=seed)


class World:
    """A faulty terminal under the package's face, and its market."""

    def __init__(self, *rules, seed=0):
        configs = {"EURUSD": InstrumentConfig(), "GBPUSD": InstrumentConfig(margin_currency="GBP")}
        instruments = {symbol: Instrument(symbol, config) for symbol, config in configs.items()}
        self.truth = SimulatedTerminal(TerminalSettings(), instruments, 1, TickHistory())
        self.faulty = FaultyTerminal(self.truth, plan(*rules, seed=seed))
        self.package = Package(FaultyPort(self.faulty))
        self.ticks_given = 0
        self.ticks((1.1000, 1.1001))

    def ticks(self, *quotes):
        first = self.ticks_given
        self.ticks_given += len(quotes)
        time_ns = START_NS + (first + np.arange(len(quotes), dtype=np.int64)) * SECOND_NS
        return self.faulty.advance(TickBlock(
            symbol="EURUSD", first_tick=first + 1, time_ns=time_ns, bid=np.array([q[0] for q in quotes]),
            ask=np.array([q[1] for q in quotes]), ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
        ))  # fmt: skip

    def seconds(self, n):
        return self.ticks(*[(1.1000, 1.1001)] * n)

    def connected(self):
        assert self.package.initialize()
        return self

    @property
    def positions(self):
        return self.truth.positions_get()


def test_without_rules_it_is_the_terminal_itself():
    world = World().connected()
    assert world.package.order_send(BUY).retcode == 10009
    assert world.package.last_error() == (1, "Success")
    assert len(world.package.positions_get()) == len(world.positions) == 1
    assert [e.deal.magic for e in world.seconds(1)] == [7]


@pytest.mark.parametrize("executed", [False, True])
def test_a_hang_never_answers(executed):
    world = World({"fault": {"kind": "hang", "executed": executed}}).connected()
    with pytest.raises(TerminalHangs):
        world.package.order_send(BUY)
    assert len(world.positions) == executed


@pytest.mark.parametrize("executed", [False, True])
def test_a_broken_pipe_is_10002_and_then_10004_until_initialize(executed):
    world = World({"fault": {"kind": "broken_pipe", "executed": executed}}).connected()
    assert world.package.order_send(BUY) is None
    assert world.package.last_error() == (-10002, "IPC recv failed")
    assert world.package.positions_get() is None
    assert world.package.last_error() == (-10004, "No IPC connection")
    assert world.package.initialize()
    assert len(world.package.positions_get()) == executed


def test_a_login_times_out():
    world = World({"fault": {"kind": "login_timeout"}})
    assert world.package.initialize() is False
    assert world.package.last_error() == (-10005, "IPC timeout")
    assert world.package.initialize() is True


def test_none_executes_nothing_and_says_its_error():
    world = World({"fault": {"kind": "none", "code": -1, "text": "Terminal: Call failed"}}).connected()
    assert world.package.order_send(BUY) is None
    assert world.package.last_error() == (-1, "Terminal: Call failed")
    assert world.positions == ()


def test_a_return_code_refuses():
    world = World({"fault": {"kind": "retcode", "retcode": 10019}}).connected()
    assert world.package.order_send(BUY).retcode == 10019
    assert world.positions == ()
    assert world.package.order_send(BUY).retcode == 10009


def test_a_requote_storm_offers_prices_until_it_is_over():
    world = World({"fault": {"kind": "retcode"}, "times": 3}).connected()
    answers = [world.package.order_send(BUY) for _ in range(4)]
    assert [answer.retcode for answer in answers] == [10004, 10004, 10004, 10009]
    assert (answers[0].bid, answers[0].ask) == (1.1, 1.1001)
    assert len(world.positions) == 1


@pytest.mark.parametrize(("answer", "expected"), [
    ("timeout", 10012), ("none", (-1, "Terminal: Call failed")), ("broken_pipe", (-10002, "IPC recv failed")),
    ("hang", TerminalHangs),
])  # fmt: skip
def test_an_accepted_order_whose_answer_is_lost_was_executed(answer, expected):
    world = World({"fault": {"kind": "lost_answer", "answer": answer}}).connected()
    if expected is TerminalHangs:
        with pytest.raises(TerminalHangs):
            world.package.order_send(BUY)
    else:
        result = world.package.order_send(BUY)
        assert (world.package.last_error() if result is None else result.retcode) == expected
    assert len(world.positions) == 1


def test_a_late_execution_happens_seconds_after_the_timeout_and_answers_nobody():
    world = World({"fault": {"kind": "late_execution", "delay_s": 3.0}}).connected()
    assert world.package.order_send(BUY).retcode == 10012
    assert world.seconds(3) == ()
    assert world.positions == ()
    told = world.seconds(3)
    assert [type(event) for event in told] == [DealAdded]
    assert len(world.positions) == 1


def test_a_late_execution_holds_nobody_else_up():
    world = World({"fault": {"kind": "late_execution", "delay_s": 60.0}, "magic": 7}).connected()
    world.package.order_send(BUY)
    told = world.faulty.submit(SELL, "key", world.truth.clock_ns)
    assert [type(event) for event in told] == [DealAdded, RequestAnswered]


def test_duplicate_notices_tell_one_deal_twice():
    world = World({"fault": {"kind": "duplicate_notices"}}).connected()
    world.package.order_send(BUY)
    told = world.seconds(1)
    assert len(told) == 2
    assert told[0].deal == told[1].deal
    assert len(world.package.history_deals_get(ticket=told[0].deal.order)) == 1


@pytest.mark.parametrize(("rest", "retcode"), [("reject", 10006), ("cancel", 10010)])
def test_a_part_is_filled_and_the_rest_is_not(rest, retcode):
    world = World({"fault": {"kind": "partial_fill", "share": 0.55, "rest": rest}}).connected()
    answer = world.package.order_send({**BUY, "type_filling": 1})
    assert answer.retcode == retcode
    assert [position.volume for position in world.positions] == [0.05]


def test_an_order_too_small_to_be_split_is_filled_whole():
    world = World({"fault": {"kind": "partial_fill"}}).connected()
    assert world.package.order_send({**BUY, "volume": 0.01}).retcode == 10009


@pytest.mark.parametrize(("fault", "comment"), [({"text": "by broker"}, "by broker"), ({"keep": 3}, "tw:")])
def test_the_broker_rewrites_or_cuts_the_comment(fault, comment):
    world = World({"fault": {"kind": "comment", **fault}}).connected()
    result = world.package.order_send({**BUY, "comment": "tw:1234"})
    assert result.request.comment == "tw:1234"
    assert {p.comment for p in world.package.positions_get()} == {comment}
    assert {d.comment for d in world.package.history_deals_get(ticket=result.order)} == {comment}


def test_a_living_order_is_not_found_for_a_while():
    world = World({"fault": {"kind": "not_found", "magic": 7}, "calls": "order_send", "lasts_s": 2.0}).connected()
    result = world.package.order_send(BUY)
    world.package.order_send(SELL)
    assert [p.magic for p in world.package.positions_get()] == [8]
    assert world.package.positions_total() == 1
    assert world.package.positions_get(ticket=result.order) == ()
    assert world.package.history_deals_get(ticket=result.order) == ()
    world.seconds(3)
    assert [p.magic for p in world.package.positions_get()] == [7, 8]


def test_history_becomes_visible_late():
    world = World({"fault": {"kind": "history_late", "by_s": 5.0}}).connected()
    result = world.package.order_send(BUY)
    assert len(world.package.positions_get()) == 1
    assert world.package.history_orders_get(ticket=result.order) == ()
    assert world.package.history_deals_total(1, 2**31 - 1) == 0
    world.seconds(6)
    assert len(world.package.history_orders_get(ticket=result.order)) == 1
    assert world.package.history_deals_total(1, 2**31 - 1) == 1


def test_history_comes_out_of_order():
    world = World({"fault": {"kind": "history_shuffled"}}).connected()
    tickets = [world.package.order_send(BUY).deal for _ in range(3)]
    assert [deal.ticket for deal in world.package.history_deals_get(1, 2**31 - 1)] == tickets[::-1]


def test_the_feed_freezes_while_the_connection_and_the_market_live():
    frozen = {"fault": {"kind": "frozen_feed"}, "from_ns": START_NS + 2 * SECOND_NS, "lasts_s": 3.0}
    world = World(frozen).connected()
    world.ticks((1.1002, 1.1003), (1.2, 1.2001), (1.3, 1.3001))
    assert world.package.terminal_info().connected
    assert world.package.symbol_info_tick("EURUSD").bid == 1.1002
    assert world.package.symbol_info("EURUSD").ask == 1.1003
    assert {info.name: info.bid for info in world.package.symbols_get()} == {"EURUSD": 1.1002, "GBPUSD": 0.0}
    assert world.package.copy_ticks_from("EURUSD", 1, 99, -1)["bid"].tolist() == [1.1, 1.1002]
    # Orders meet the market as it is.
    assert world.package.order_send(BUY).price == 1.3001
    world.ticks((1.4, 1.4001), (1.5, 1.5001))
    assert world.package.symbol_info_tick("EURUSD").bid == 1.5


def test_the_server_clock_jumps_in_everything_it_writes():
    world, straight = World({"fault": {"kind": "clock_jump", "by_s": 3_600}}).connected(), World().connected()
    for one in (world, straight):
        one.ticks((1.1, 1.1001))
        one.package.order_send(BUY)
    a, b = world.package, straight.package
    assert a.symbol_info_tick("EURUSD").time_msc == b.symbol_info_tick("EURUSD").time_msc + 3_600_000
    assert a.positions_get()[0].time == b.positions_get()[0].time + 3_600
    ticks_a, ticks_b = (p.copy_ticks_from("EURUSD", 1, 9, -1) for p in (a, b))
    assert (ticks_a["time"] == ticks_b["time"] + 3_600).all()
    assert (ticks_a["time_msc"] == ticks_b["time_msc"] + 3_600_000).all()
    deal = a.history_deals_get(1, 2**31 - 1)[0]
    assert len(a.history_deals_get(deal.time, deal.time)) == 1
    assert len(a.copy_ticks_range("EURUSD", int(ticks_a["time"][0]), int(ticks_a["time"][0]), -1)) == 1


def test_a_symbol_has_another_name_over_night():
    renamed = {"fault": {"kind": "symbol_renamed", "symbol": "EURUSD", "to": "EURUSD.x"}}
    world = World({**renamed, "from_ns": START_NS + SECOND_NS}).connected()
    world.package.order_send(BUY)
    world.seconds(1)
    package = world.package
    assert package.symbol_info("EURUSD") is None
    assert package.last_error() == (-4, "Terminal: Not found")
    assert package.symbol_info("EURUSD.x").name == "EURUSD.x"
    assert {info.name for info in package.symbols_get()} == {"EURUSD.x", "GBPUSD"}
    assert package.positions_get()[0].symbol == "EURUSD.x"
    assert len(package.positions_get(symbol="EURUSD.x")) == 1
    assert package.symbol_info_tick("EURUSD.x").bid == 1.1
    assert package.order_send(BUY).retcode == 10013
    result = package.order_send({**SELL, "symbol": "EURUSD.x"})
    assert (result.retcode, result.request.symbol) == (10009, "EURUSD.x")
    assert package.order_check({**SELL, "symbol": "EURUSD.x"}).retcode == 0


def test_the_volume_step_changes_over_night():
    step = {"fault": {"kind": "volume_step", "symbol": "EURUSD", "step": 0.25}, "from_ns": START_NS + SECOND_NS}
    world = World(step).connected()
    assert world.package.order_send(BUY).retcode == 10009
    world.seconds(1)
    assert world.package.symbol_info("EURUSD").volume_step == 0.25
    assert world.package.order_send(BUY).retcode == 10014
    assert world.package.order_send({**BUY, "volume": 0.25}).retcode == 10009


def test_a_human_trades_at_the_same_account():
    trade = {"fault": {"kind": "manual_trade", "symbol": "EURUSD", "side": "sell", "lots": 0.3}}
    world = World({**trade, "from_ns": START_NS + 2 * SECOND_NS}).connected()
    told = world.seconds(4)
    assert [(e.deal.magic, e.deal.reason, e.deal.volume, e.ts_ns) for e in told] == [
        (0, 0, 0.3, START_NS + SECOND_NS)
    ]
    assert [(p.magic, p.reason) for p in world.positions] == [(0, 0)]


def test_a_human_closes_what_we_opened():
    close = {"fault": {"kind": "manual_close", "symbol": "EURUSD"}, "calls": "positions_get", "nth": 2}
    world = World(close).connected()
    world.package.order_send(BUY)
    assert len(world.package.positions_get()) == 1
    assert world.package.positions_get() == ()
    assert [d.reason for d in world.truth.history_deals_get(1, 2**31 - 1)] == [3, 0]


def test_a_terminal_that_restarts_breaks_its_pipes_and_is_not_found_for_a_while():
    world = World({"fault": {"kind": "terminal_restart", "attempts": 2}, "from_ns": START_NS + SECOND_NS}).connected()
    world.package.order_send(BUY)
    world.seconds(1)
    assert world.package.account_info() is None
    assert world.package.last_error() == (-10002, "IPC recv failed")
    assert [world.package.initialize() for _ in range(3)] == [False, False, True]
    assert len(world.package.positions_get()) == 1


def test_a_build_mismatch_fails_everything():
    world = World({"fault": {"kind": "build_mismatch"}, "from_ns": START_NS + SECOND_NS}).connected()
    assert world.package.account_info() is not None
    world.seconds(1)
    for ask in (world.package.account_info, lambda: world.package.order_send(BUY)):
        assert ask() is None
        assert world.package.last_error()[0] == -5
    assert world.package.initialize() is False
    assert world.package.last_error()[1].startswith("Terminal: Incompatible versions")
    assert world.positions == ()


def test_trading_is_switched_off_for_programs():
    world = World({"fault": {"kind": "trading_disabled"}, "calls": "order_send", "nth": 2}).connected()
    assert world.package.order_send(BUY).retcode == 10009
    assert world.package.order_send(BUY) is None
    assert world.package.last_error()[0] == -8


# When rules strike.


def test_rules_count_only_the_calls_they_match():
    world = World({"fault": {"kind": "retcode", "retcode": 10018}, "magic": 8, "symbol": "EUR*", "nth": 2}).connected()
    sends = [BUY, SELL, {**SELL, "symbol": "GBPUSD"}, BUY, SELL, SELL]
    assert [world.package.order_send(send).retcode for send in sends] == [10009, 10009, 10021, 10009, 10018, 10009]


def test_rules_strike_within_their_time_only():
    within = {"from_ns": START_NS + 2 * SECOND_NS, "until_ns": START_NS + 4 * SECOND_NS, "times": 0}
    world = World({"fault": {"kind": "retcode"}, **within}).connected()
    struck = []
    for _ in range(5):
        struck.append(world.package.order_send(BUY).retcode == 10004)
        world.seconds(1)
    assert struck == [False, False, True, True, False]


def test_a_rate_is_kept_and_belongs_to_the_seed():
    def strikes(seed):
        engine = FaultEngine(plan({"fault": {"kind": "none"}, "calls": "*", "rate": 0.3, "times": 0}, seed=seed))
        return [engine.on_call("account_info", "", 0, 0).fault is not None for _ in range(2_000)]

    assert 500 < sum(strikes(1)) < 700
    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)


def test_the_first_rule_that_strikes_wins_and_the_others_wait():
    world = World({"fault": {"kind": "retcode", "retcode": 10018}}, {"fault": {"kind": "retcode", "retcode": 10019}})
    world.connected()
    assert [world.package.order_send(BUY).retcode for _ in range(3)] == [10018, 10019, 10009]


def test_faults_strike_requests_in_event_time_too():
    world = World(
        {"fault": {"kind": "retcode", "retcode": 10018}}, {"fault": {"kind": "hang", "executed": True}},
        {"fault": {"kind": "hang"}},
    )  # fmt: skip
    tells = [world.faulty.submit({**BUY, "magic": k}, f"k{k}", world.truth.clock_ns) for k in range(4)]
    assert [[type(e).__name__ for e in told] for told in tells] == [
        ["RequestAnswered"], ["DealAdded"], [], ["DealAdded", "RequestAnswered"]
    ]  # fmt: skip


def test_cutting_the_blocks_otherwise_changes_nothing():
    rules = (
        {"fault": {"kind": "manual_trade", "symbol": "EURUSD"}, "from_ns": START_NS + 3 * SECOND_NS},
        {"fault": {"kind": "frozen_feed"}, "from_ns": START_NS + 5 * SECOND_NS},
        {"fault": {"kind": "volume_step", "symbol": "EURUSD", "step": 0.5}, "from_ns": START_NS + 7 * SECOND_NS},
    )
    quotes = [(1.1 + k * 1e-4, 1.1001 + k * 1e-4) for k in range(12)]
    whole, single = World(*rules), World(*rules)
    told = whole.ticks(*quotes)
    told_single = tuple(event for quote in quotes for event in single.ticks(quote))
    assert told == told_single
    assert whole.faulty.snapshot() == single.faulty.snapshot()


def test_a_restart_from_a_snapshot_does_not_show():
    rules = ({"fault": {"kind": "retcode"}, "nth": 3}, {"fault": {"kind": "late_execution"}, "nth": 2},
             {"fault": {"kind": "frozen_feed"}, "calls": "order_send"})  # fmt: skip
    world, restarted = World(*rules).connected(), World(*rules).connected()
    for one in (world, restarted):
        one.package.order_send(BUY)
    restarted.faulty.restore(restarted.faulty.snapshot())
    for one in (world, restarted):
        one.package.order_send(BUY)
        one.package.order_send(BUY)
        one.seconds(10)
    assert world.faulty.snapshot() == restarted.faulty.snapshot()
    assert world.package.symbol_info_tick("EURUSD") == restarted.package.symbol_info_tick("EURUSD")


@pytest.mark.parametrize("rule", [
    {"fault": {"kind": "gremlin"}}, {"fault": {"kind": "hang", "loudly": True}}, {"fault": {"kind": "hang"}, "nth": 0},
    {"fault": {"kind": "hang"}, "rate": 1.5}, {"fault": {"kind": "hang"}, "whenever": 1},
])  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(rule):
    with pytest.raises(msgspec.ValidationError):
        plan(rule)


def test_a_plan_reads_from_yaml():
    text = b"seed: 7\nrules:\n - {fault: {kind: broken_pipe, executed: true}, calls: 'positions_*', rate: 0.01, times: 0}\n"
    read = msgspec.yaml.decode(text, type=FaultPlan)
    fault = {"kind": "broken_pipe", "executed": True}
    assert read == plan({"fault": fault, "calls": "positions_*", "rate": 0.01, "times": 0}, seed=7)
    assert msgspec.convert(msgspec.to_builtins(read), FaultPlan) == read


def test_questions_are_struck_like_orders():
    world = World(
        {"fault": {"kind": "hang"}, "calls": "account_info"}, {"fault": {"kind": "none"}, "calls": "positions_get"},
        {"fault": {"kind": "retcode"}, "calls": "orders_get"},
    ).connected()  # fmt: skip
    with pytest.raises(TerminalHangs):
        world.package.account_info()
    assert world.package.positions_get() is None
    assert world.faulty.handle("orders_get", (), {}) == Silent("broken_pipe")
    assert world.faulty.handle("orders_get", (), {}) == Answered(())
