"""Garbage on every subject and a server that dies: the stack trades on as if nothing had happened."""

import asyncio

import msgspec
import numpy as np
import pytest

from libs.common import subjects
from libs.common.bus.streams import SERVICES
from libs.common.codec import Codec, encode
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.control import DeadLetter, Halt, PromoteModel, Resume, RetrainModel, Watermark
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.models import ModelPromoted
from libs.common.messages.orders import OrderApproved, OrderFilled, OrderPurpose
from libs.common.routing import subject_of
from libs.common.signing import Signer, sign_approval
from services.executor.core import ExecutorCore
from services.features.core import FeaturesCore
from services.inference.core import InferenceCore
from services.risk.core import RiskCore
from services.trainer.core import TrainerCore
from tests.integration.faults.market import SYMBOLS, config, event_hours, figures_of, named, outcome, read, user
from tests.integration.stack.running_stack import RunningStack

CORES = {
    "features": FeaturesCore, "inference": InferenceCore, "risk": RiskCore, "executor": ExecutorCore,
    "trainer": TrainerCore,
}
TIMES = {"ts_event_ns": 1, "ts_init_ns": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Run the market once without any fault; what it did is what every other run must do."""

    async def run():
        stack = RunningStack(tmp_path_factory.mktemp("undisturbed"), config())
        await stack.start()
        try:
            await stack.finished(SYMBOLS, 120)
            return await outcome(stack)
        finally:
            await stack.stop()

    found = asyncio.run(run())
    assert len(named(found["executions"], "OrderFilled")) >= 10
    return found


# ---- garbage

OWN = {
    "ingest": ("ticks.EURUSD", "ticks.GHOST", "feed.EURUSD", "health.watermark.ingest"),
    "features": ("features.EURUSD", "features.GHOST", "health.watermark.features"),
    "inference": ("predictions.EURUSD", "predictions.GHOST", "drift.EURUSD", "health.watermark.inference"),
    "risk": ("orders.approved.paper.EURUSD", "orders.refused.paper.EURUSD", "health.watermark.risk", "control.halt"),
    "executor": ("executions.paper.EURUSD", "account.paper", "health.watermark.executor"),
    "trainer": ("models.direction-EURUSD.promoted", "models.direction-EURUSD.retired", "health.watermark.trainer"),
    "operator": ("control.halt", "control.resume", "control.flatten", "control.retrain", "control.promote"),
}  # fmt: skip
"""Subjects each user is permitted to write, one or more of every family."""

TICKS = TickBlock(
    **TIMES, seq=7, symbol="EURUSD", first_tick=7, time_ns=np.array([1, 2]), bid=np.array([1.0, 1.0]),
    ask=np.array([1.1, 1.1]),
)
APPROVED = OrderApproved(
    **TIMES, seq=1, order_id="ab" * 12, account="paper", symbol="FORGED", side=Side.BUY, volume_lots=1.0, price=1.0, sl=0.0,
    tp=0.0, purpose=OrderPurpose.OPEN, position_id=0, max_slippage_points=1_000, horizon_s=0, expires_ns=2**62, model="m",
    version=1,
)
FILLED = OrderFilled(
    **TIMES, seq=1, order_id="cd" * 12, account="paper", symbol="GHOST", side=Side.BUY, volume_lots=50.0, price=1.0, deal=1,
    position_id=1, slippage_points=0.0, commission_ccy=0.0,
)
PREDICTION = Prediction(
    **TIMES, seq=1, symbol="GHOST", p_down=0.0, p_flat=0.0, p_up=1.0, expected_return_pct=1.0, confidence=1.0,
    side=Side.BUY, stop_distance=0.1, target_distance=0.1, volatility=0.1, horizon_s=60, model="m", version=1, bid=1.0,
    ask=1.1,
)
ACCOUNT = AccountSnapshot(
    **TIMES, seq=1, account="ghost", currency="USD", hedging=True, leverage=100.0, balance_ccy=1e9, equity_ccy=1e9,
    margin_ccy=0.0, margin_free_ccy=1e9, positions=(), unknown_lots={}, day_start_equity_ccy=1e9, peak_equity_ccy=1e9,
)


def changed(message, **fields):
    return msgspec.json.encode(msgspec.json.decode(encode(message)) | fields)


def garbage(mark: int) -> list[bytes]:
    """Return payloads no subject may accept, each its own by the mark."""
    tail = b" " * mark
    return [
        tail,
        b"\xff\xfe\x00" + b"%d" % mark,
        b"{" + tail,
        b"null" + tail,
        b"[[[[" * 2_000 + tail,
        b'{"type":"Nothing"}' + tail,
        b'{"type":"TickBlock"}' + tail,
        encode(TICKS)[:-9] + tail,
        changed(TICKS, bid=[None, 1.0]) + tail,
        changed(TICKS, bid=["NaN", 1.0]) + tail,
        changed(TICKS, bid=[-1.0, -1.0]) + tail,
        changed(TICKS, bid=[1.0]) + tail,
        changed(TICKS, time_ns=[1, 2**64]) + tail,
        changed(TICKS, symbol="GBPUSD") + tail,
        changed(TICKS, symbol="") + tail,
        changed(TICKS, seq=10**30) + tail,
        changed(TICKS, seq=-1) + tail,
        changed(TICKS, step=-1) + tail,
        changed(FILLED, symbol="USDJPY", price=None) + tail,
        changed(FILLED, symbol="USDJPY", side="up") + tail,
        encode(FILLED).replace(b'"price":1.0', b'"price":NaN') + tail,
        encode(Halt(**TIMES, command_id="", issued_by="", reason="x" * 900_000)).replace(b"Halt", b"Hilt") + tail,
        b'{"type":"TickBlock","x":"' + b"y" * 990_000 + tail,
    ]


def true_but_useless(signer: Signer) -> list[tuple[str, object]]:
    """Return messages that are well formed and must lead to nothing: (who says it, what)."""
    ghost_ticks = msgspec.structs.replace(TICKS, symbol="GHOST", seq=1, first_tick=1)
    row = FeatureBlock(
        **TIMES, seq=1, symbol="GHOST", schema_id="none", names=("a",), values=np.array([1.0]), tick=1, bid=1.0, ask=1.1
    )
    promoted = ModelPromoted(**TIMES, seq=1, name="direction-GHOST", version=1, symbol="GHOST", bundle_sha256="0" * 64)
    forged = sign_approval(msgspec.structs.replace(APPROVED, seq=2, order_id="ef" * 12), signer)
    return [
        ("ingest", ghost_ticks),
        ("features", row),
        ("inference", PREDICTION),
        ("inference", msgspec.structs.replace(PREDICTION, seq=2, p_up=-5.0, confidence=1e300, stop_distance=-1.0)),
        ("risk", APPROVED),
        ("risk", forged),
        ("risk", msgspec.structs.replace(forged, seq=3, order_id="../../etc")),
        ("executor", FILLED),
        ("executor", ACCOUNT),
        ("trainer", promoted),
        ("operator", RetrainModel(**TIMES, command_id="r", issued_by="t", symbol="GHOST")),
        ("operator", PromoteModel(**TIMES, command_id="p", issued_by="t", name="direction-GHOST", version=9)),
        ("operator", PromoteModel(**TIMES, command_id="q", issued_by="t", name="nothing at all", version=-1)),
        ("operator", PromoteModel(**TIMES, command_id="s", issued_by="t", name="direction-EURUSD", version=10**9)),
    ]


MISPLACED = [
    # A service may say these somewhere, but not there: its own watermark subject, and the halt everyone may call.
    ("features", "health.watermark.features", FILLED),
    ("features", "health.watermark.features", APPROVED),
    ("ingest", "health.watermark.ingest", Watermark(**TIMES, service="executor", stage="settled", step=10**6, sent={})),
    ("risk", "control.halt", Resume(**TIMES, command_id="x", issued_by="risk", reason="not mine to say")),
    ("executor", "account.paper", ACCOUNT),
]


def hearers(subject):
    """Return the services that hear a subject, watermarks included."""
    return {
        name for name, core in CORES.items()
        if any(subjects.matches(route.pattern, subject) for route in core.HEARS)
        or subjects.matches("health.watermark.*", subject)
    }


class Attack:
    """Publishes garbage and keeps book of the dead letters it must lead to."""

    def __init__(self, stack):
        self.stack = stack
        self.buses = {}
        self.wanted = set()
        self.letters = set()

    async def prepare(self):
        codec = Codec((DeadLetter,))

        def note(_, payload):
            letter = codec.decode(payload)
            self.letters.add((letter.service, letter.subject, letter.payload, letter.size))

        await self.stack.watching.on_message("deadletter.*", note)
        for name in OWN:
            self.buses[name] = await user(self.stack, name)

    async def publish(self, name, subject, payload):
        """Publish as a user what nobody may accept."""
        await self.buses[name]._client.publish(subject, payload)
        text = payload[:4_096].decode("utf-8", "backslashreplace")
        self.wanted |= {(service, subject, text, len(payload)) for service in hearers(subject)}

    async def wave(self, number):
        """Publish every kind of garbage on every subject."""
        for name, own in OWN.items():
            for subject in own:
                for payload in garbage(number):
                    await self.publish(name, subject, payload)
            await self.buses[name].settle()
        if number == 0:
            for name, message in true_but_useless(Signer(bytes(32))):
                await self.buses[name]._client.publish(subject_of(message), encode(message))
        if number == 1:
            for name, subject, message in MISPLACED:
                await self.publish(name, subject, encode(message))
        for bus in self.buses.values():
            await bus.settle()

    async def was_noticed(self):
        """Wait until every dead letter has come."""
        try:
            async with asyncio.timeout(10):
                while not self.wanted <= self.letters:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            missing = sorted((who, subject, text[:60]) for who, subject, text, _ in self.wanted - self.letters)
            raise AssertionError(f"{len(missing)} dead letters missing: {missing[:10]}") from None

    async def close(self):
        for bus in self.buses.values():
            await bus.close()


async def test_garbage_on_every_subject_is_counted_and_changes_nothing(undisturbed, tmp_path):
    stack = RunningStack(tmp_path, config())
    await stack.start()
    attack = Attack(stack)
    try:
        await attack.prepare()
        for number, hours in enumerate((0.1, 2.0)):
            await reached(stack, hours)
            await attack.wave(number)
        first = await first_order_hours(stack)
        for number, hours in ((2, first), (3, first + 1.0)):
            await reached(stack, hours)
            await attack.wave(number)
        await stack.finished(SYMBOLS, 120)
        assert stack.dead() == []
        found = await outcome(stack)
        assert found["sha256"] == undisturbed["sha256"]
        # Nothing is sent that would not have been; the forged approvals were turned down.
        executions = await read(stack, "executions.paper.*")
        sent = {message.order_id for message in named(executions, "OrderSent")}
        assert sent == {message.order_id for message in named(undisturbed["executions"], "OrderSent")}
        reasons = [message.reason for message in named(executions, "OrderRejected") if message.symbol == "FORGED"]
        assert reasons == ["bad_signature"] * 3
        rejected = named(await read(stack, "models.*.rejected"), "ModelRejected")
        assert {message.name for message in rejected} == {"direction-GHOST"}
        assert named(await read(stack, "control.*"), "Halt") == []
        await attack.was_noticed()
        counts = await figures(stack, "dead_letters")
        for name in CORES:
            assert counts[name] >= sum(service == name for service, *_ in attack.wanted)
    finally:
        await attack.close()
        await stack.stop()


async def reached(stack, hours):
    """Wait until the market is so far."""
    async with asyncio.timeout(60):
        while await event_hours(stack) < hours:
            await asyncio.sleep(0.005)


async def first_order_hours(stack):
    """Wait for the first approved order; return how far the market is then."""
    async with asyncio.timeout(60):
        while not any(message.symbol in SYMBOLS for message in await read(stack, "orders.approved.>")):
            await asyncio.sleep(0.02)
    return await event_hours(stack)


async def figures(stack, detail):
    """Return a figure of every service."""
    return {name: (await figures_of(stack, name))[detail] for name in CORES}


# ---- the server dies


@pytest.mark.parametrize("lockstep", [True, False], ids=["lockstep", "free"])
async def test_a_server_killed_while_orders_flow_loses_and_repeats_no_order(undisturbed, tmp_path, lockstep):
    stack = RunningStack(tmp_path, config(lockstep))
    await stack.start()
    try:
        first = await first_order_hours(stack)
        for hours in (first, first + 0.7, first + 1.4):
            await reached(stack, hours)
            stack.server.process.kill()
            await asyncio.to_thread(stack.server.process.wait)
            await asyncio.sleep(0.1)
            stack.server.launch()
        await stack.finished(SYMBOLS, 120)
        assert stack.dead() == []
        found = await outcome(stack)
        if lockstep:
            assert found["sha256"] == undisturbed["sha256"]
        assert_every_order_ended_once(found)
        # Every tick, row and order is in its stream once and without a hole.
        for pattern in ("ticks.*", "features.*", "predictions.*", "orders.approved.>", "executions.>", "account.*"):
            numbers = {}
            for message in await read(stack, pattern):
                numbers.setdefault(subject_of(message), []).append(message.seq)
            assert numbers
            for subject, seqs in numbers.items():
                assert sorted(seqs) == list(range(1, len(seqs) + 1)), subject
        assert set((await figures(stack, "messages_lost")).values()) == {0.0}
    finally:
        await stack.stop()


def assert_every_order_ended_once(found):
    """Check that each approval was answered once: sent and filled (or refused by the broker), or turned down."""
    sent = [message.order_id for message in named(found["executions"], "OrderSent")]
    assert len(sent) == len(set(sent))
    ends = [
        message.order_id for message in named(
            found["executions"], "OrderFilled", "OrderPartiallyFilled", "OrderRejected", "OrderResolved"
        )
    ]
    assert len(ends) == len(set(ends))
    assert set(sent) <= set(ends)
    assert {message.order_id for message in found["approved"]} <= set(ends)
    assert named(found["executions"], "OrderUnknown") == []


def test_every_family_of_subjects_is_attacked():
    from libs.common.bus.streams import STREAMS

    attacked = {subject.split(".")[0] for own in OWN.values() for subject in own}
    families = {captured.split(".")[0] for spec in STREAMS for captured in spec.subjects}
    # Bars and risk's state are heard by no service; dead letters and alerts by people only.
    assert families - attacked == {"bars", "shadows", "risk", "alerts", "deadletter"}
    assert {name for name in OWN if name in SERVICES} == set(SERVICES)
