"""The broker's truth on disk: what was received and done survives whatever happens to the process."""

import msgspec
import numpy as np
import pytest

from libs.common.errors import ConfigError, StorageError
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.simulated_broker import BrokerOptions, SimulatedBroker
from libs.common.mt5.adapters.truth import all_records, record_files
from libs.common.mt5.sim.faults import FaultPlan, Rule
from libs.common.mt5.sim.faulty_terminal import Silent
from libs.common.mt5.sim.settings import TerminalSettings

START_NS = 1_398_938_400_000_000_000
BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "magic": 7}


def block(first, *quotes):
    time_ns = START_NS + (first - 1 + np.arange(len(quotes), dtype=np.int64)) * 1_000_000_000
    return TickBlock(
        symbol="EURUSD", first_tick=first, time_ns=time_ns, bid=np.array([q[0] for q in quotes]),
        ask=np.array([q[1] for q in quotes]), ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
    )


def opened(folder, rules=(), **options):
    plan = FaultPlan(rules=tuple(msgspec.convert(rule, Rule) for rule in rules))
    return SimulatedBroker(BrokerOptions(faults=plan, **options), folder, sync=False)


def killed(broker):
    """Let go of the folder as a dead process does: nothing is written."""
    broker.log.close()


def send(broker, **more):
    return broker.handle("package-1", "order_send", ({**BUY, **more},), {})


def essence(folder):
    """Return the records without what differs from run to run."""
    return [
        {key: value for key, value in record.items() if key not in ("wall_ns", "pid")}
        for record in all_records(folder) if record["kind"] != "start"
    ]  # fmt: skip


def test_a_request_is_written_down_before_its_deal_and_its_answer(tmp_path):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    result = send(broker, magic=2**63 - 1).result
    kinds = [(record["n"], record["kind"]) for record in all_records(tmp_path)]
    assert kinds == [(0, "start"), (1, "advance"), (2, "request"), (2, "deal"), (2, "answer")]
    _, _, request, deal, answer = all_records(tmp_path)
    assert (request["magic"], request["client"], request["request"]["volume"]) == (2**63 - 1, "package-1", 0.1)
    assert (deal["deal"]["magic"], deal["deal"]["order"]) == (2**63 - 1, result.order)
    assert (answer["result"]["retcode"], answer["last_error"]) == (10009, [1, "Success"])


def test_deals_of_the_market_are_written_down_once(tmp_path):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker, sl=1.09)
    told = broker.advance(block(2, (1.1, 1.1001), (1.08, 1.0801)))
    assert [event.deal.entry for event in told.deals] == [0, 1]
    deals = [record["deal"]["entry"] for record in all_records(tmp_path) if record["kind"] == "deal"]
    assert deals == [0, 1]


@pytest.mark.parametrize("snapshot_first", [False, True])
def test_a_killed_broker_is_what_it_was(tmp_path, snapshot_first):
    rules = ({"fault": {"kind": "retcode"}, "nth": 3, "times": 3}, {"fault": {"kind": "late_execution"}, "nth": 2})
    broker = opened(tmp_path, rules)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker, magic=1)
    send(broker, magic=2)
    if snapshot_first:
        broker.log.keep(broker._snapshot())
    send(broker, magic=3)
    broker.advance(block(2, *[(1.1, 1.1001)] * 10))
    broker.submit({**BUY, "magic": 9}, "key", START_NS + 12_000_000_000)
    before, recorded = broker.faulty.snapshot(), essence(tmp_path)
    killed(broker)
    again = opened(tmp_path, rules)
    assert again.faulty.snapshot() == before
    assert essence(tmp_path) == recorded
    assert len(again.handle("p", "copy_ticks_from", ("EURUSD", 1, 99, -1), {}).result) == 11
    assert send(again, magic=4).result.retcode == 10004
    assert send(again, magic=5).result.retcode == 10009


def test_a_block_or_a_key_that_comes_again_changes_nothing_and_tells_the_same(tmp_path):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker)
    first = broker.advance(block(2, (1.1, 1.1001)))
    key = broker.submit(BUY, "key", START_NS)
    before = broker.faulty.snapshot()
    assert broker.advance(block(2, (1.1, 1.1001))) == first
    assert broker.submit(BUY, "key", START_NS) == key
    assert broker.faulty.snapshot() == before
    killed(broker)
    again = opened(tmp_path)
    assert again.advance(block(2, (1.1, 1.1001))) == first
    assert again.submit(BUY, "key", START_NS) == key
    assert again.faulty.snapshot() == before
    assert len([r for r in all_records(tmp_path) if r["kind"] in ("advance", "submit")]) == 3


@pytest.mark.parametrize("first", [3, 5, 6])
def test_ticks_that_come_again_in_another_block_are_refused(tmp_path, first):
    broker = opened(tmp_path)
    broker.advance(block(4, *[(1.1, 1.1001)] * 3))
    with pytest.raises(ValueError, match="too late"):
        broker.advance(block(first, (1.1, 1.1001)))
    broker.advance(block(7, (1.1, 1.1001)))


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_kill_while_a_line_is_written_loses_nothing_but_the_line(tmp_path, cut):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker)
    state, recorded = broker.faulty.snapshot(), essence(tmp_path)
    killed(broker)
    # The file as the kernel might have it at any earlier moment.
    path = record_files(tmp_path)[0]
    content = path.read_bytes()
    request_at = content.index(b'"kind":"request"')
    path.write_bytes(content[: request_at + (len(content) - request_at) * cut // 12])
    again = opened(tmp_path)
    is_recorded = any(record["kind"] == "request" for record in all_records(tmp_path))
    assert len(again.terminal.positions_get()) == is_recorded
    if is_recorded:
        assert again.faulty.snapshot() == state
        assert [r for r in essence(tmp_path) if r["kind"] != "start"] == recorded


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker)
    killed(broker)
    path = record_files(tmp_path)[0]
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1][: len(lines[1]) // 2]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StorageError, match="line 2"):
        opened(tmp_path)


def test_a_folder_is_used_by_one_process_at_a_time(tmp_path):
    broker = opened(tmp_path)
    with pytest.raises(StorageError, match="in use"):
        opened(tmp_path)
    killed(broker)
    opened(tmp_path)


def test_a_folder_of_another_broker_is_refused(tmp_path):
    killed(opened(tmp_path))
    with pytest.raises(ConfigError, match="other settings"):
        opened(tmp_path, terminal=TerminalSettings(leverage=30.0))


def test_another_fault_plan_goes_on_with_the_same_truth(tmp_path):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker)
    killed(broker)
    again = opened(tmp_path, [{"fault": {"kind": "hang", "executed": True}}])
    assert send(again) == Silent("hang")
    assert len(again.terminal.positions_get()) == 2
    before = again.faulty.snapshot()
    killed(again)
    assert opened(tmp_path, [{"fault": {"kind": "hang", "executed": True}}]).faulty.snapshot() == before


def test_strikes_at_questions_are_remembered_over_a_kill(tmp_path):
    rules = ({"fault": {"kind": "none"}, "calls": "positions_get", "times": 2},
             {"fault": {"kind": "terminal_restart", "attempts": 3}, "calls": "account_info"})  # fmt: skip
    broker = opened(tmp_path, rules)
    assert broker.handle("p", "positions_get", (), {}).result is None
    assert broker.handle("p", "account_info", (), {}) == Silent("broken_pipe")
    before = broker.faulty.snapshot()
    killed(broker)
    again = opened(tmp_path, rules)
    assert again.faulty.snapshot() == before
    assert again.handle("p", "positions_get", (), {}).result is None
    assert again.handle("p", "positions_get", (), {}).result == ()


def test_snapshots_come_by_themselves_and_keep_all_records(tmp_path, monkeypatch):
    monkeypatch.setattr("libs.common.mt5.adapters.simulated_broker.SNAPSHOT_EVERY", 3)
    broker = opened(tmp_path)
    for k in range(10):
        broker.advance(block(k + 1, (1.1, 1.1001)))
    assert len(list(tmp_path.glob("snapshot-*.bin"))) == 2
    assert [r["n"] for r in all_records(tmp_path) if r["kind"] == "advance"] == list(range(1, 11))
    before = broker.faulty.snapshot()
    killed(broker)
    assert opened(tmp_path).faulty.snapshot() == before


def test_a_damaged_snapshot_is_left_aside_for_the_one_before_it(tmp_path):
    broker = opened(tmp_path)
    for k in range(3):
        broker.advance(block(k + 1, (1.1, 1.1001)))
        broker.log.keep(broker._snapshot())
    before = broker.faulty.snapshot()
    killed(broker)
    newest = sorted(tmp_path.glob("snapshot-*.bin"))[-1]
    newest.write_bytes(newest.read_bytes()[:-5])
    assert opened(tmp_path).faulty.snapshot() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_json_does_not_know_are_replayed_as_they_were(tmp_path, value):
    broker = opened(tmp_path)
    broker.advance(block(1, (1.1, 1.1001)))
    send(broker, sl=value)
    before = broker.faulty.snapshot()
    killed(broker)
    assert opened(tmp_path).faulty.snapshot() == before


@pytest.mark.parametrize("die_at", ["executed", "somewhere:1", "executed:x"])
def test_a_place_to_die_that_is_none_is_refused(tmp_path, die_at):
    with pytest.raises(ConfigError, match="no place to die"):
        SimulatedBroker(BrokerOptions(), tmp_path, die_at=die_at)
