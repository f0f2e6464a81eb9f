"""Who may say and hear what: each core hears what it needs, nobody speaks for another, only risk approves orders."""

import asyncio

import msgspec
import pytest

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer
from libs.common.bus.server_config import permissions_of, render_server_config
from libs.common.bus.streams import READS, SERVICES, STREAMS, USERS, WRITES, Delivery, delivery_of, stream_of
from libs.common.codec import MESSAGE_TYPES, encode
from libs.common.messages import account, control, ea, features, market, models, orders
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderPurpose, OrderRejected
from libs.common.routing import subject_of
from services.executor.core import ExecutorCore
from services.features.core import FeaturesCore
from services.inference.core import InferenceCore
from services.risk.core import RiskCore
from services.trainer.core import TrainerCore

CORES = {
    "features": FeaturesCore, "inference": InferenceCore, "risk": RiskCore, "executor": ExecutorCore,
    "trainer": TrainerCore,
}
SAYS = {
    "ingest": (market.TickBlock, market.FeedStatus, ea.EaHistoryRequest),
    "features": (features.FeatureBlock, market.Bar),
    "inference": (features.Prediction, features.DriftDetected, models.ModelLoaded, models.ModelRejected),
    "risk": (orders.OrderApproved, orders.OrderRefused, control.TradingHalted, control.TradingResumed),
    "executor": (
        orders.OrderSent, orders.OrderFilled, orders.OrderPartiallyFilled, orders.OrderRejected, orders.OrderUnknown,
        orders.OrderResolved, orders.PositionClosed, orders.StopsMoved, account.AccountSnapshot,
        ea.EaOrder, ea.EaBooksRequest,
    ),
    "trainer": (
        models.ModelPublished, models.ModelShadowed, models.ModelPromoted, models.ModelRefused, models.ModelRetired,
    ),
    "operator": (
        control.Halt, control.Resume, control.Flatten, control.RetrainModel, control.PromoteModel, control.AdoptModel,
    ),
    "ea": (
        ea.EaHello, ea.EaHeartbeat, ea.EaTicks, ea.EaBars, ea.EaSpecification, ea.EaCalendar, ea.EaAccount,
        ea.EaTransaction, ea.EaBarRequest, ea.EaPrediction, ea.EaModel,
    ),
}
EVERY_SERVICE = (control.Heartbeat, control.Watermark, control.DeadLetter, control.Alert, control.Halt)


def covers(allowed: str, wanted: str) -> bool:
    """Tell whether every subject a pattern matches is matched by another pattern."""
    have, want = allowed.split("."), wanted.split(".")
    for index, token in enumerate(have):
        if token == ">":
            return len(want) > index
        if index >= len(want) or want[index] == ">" or token not in ("*", want[index]):
            return False
    return len(have) == len(want)


def subject_for(kind, service="x"):
    """Return a subject the type goes to; fields that do not matter are left out."""
    fields = {field.name: "x" for field in msgspec.structs.fields(kind)}
    fields |= {"service": service, "timeframe_s": 60, "shadow": False, "severity": "info", "asker": "executor"}
    known = {field.name for field in msgspec.structs.fields(kind)}

    class Stand:
        pass

    stand = Stand()
    for name, value in fields.items():
        if name in known:
            setattr(stand, name, value)
    from libs.common import routing

    return routing._ROUTES[kind](stand)


@pytest.mark.parametrize("service", CORES)
def test_a_service_may_hear_whatever_its_core_hears(service):
    _, hears = permissions_of(service)
    for route in CORES[service].HEARS:
        assert any(covers(allowed, route.pattern) for allowed in READS[service]), route.pattern
        assert any(covers(allowed, route.pattern) for allowed in hears), route.pattern


@pytest.mark.parametrize("service", CORES)
def test_what_a_core_hears_can_arrive_on_the_pattern_it_names(service):
    for route in CORES[service].HEARS:
        for kind in route.kinds:
            assert subjects.matches(route.pattern, subject_for(kind)), (route.pattern, kind.__name__)


@pytest.mark.parametrize("service", CORES)
def test_whatever_a_core_hears_is_kept_by_a_stream(service):
    for route in CORES[service].HEARS:
        spec = stream_of(route.pattern)
        assert spec is not None
        held = [captured for captured in spec.subjects if covers(captured, route.pattern) or covers(route.pattern, captured)]
        assert held, route.pattern


@pytest.mark.parametrize("user", SAYS)
def test_a_user_may_publish_what_it_says(user):
    allowed, _ = permissions_of(user)
    kinds = SAYS[user] + (EVERY_SERVICE if user in SERVICES else ())
    for kind in kinds:
        subject = subject_for(kind, user)
        assert any(subjects.matches(pattern, subject) for pattern in allowed), subject


@pytest.mark.parametrize("user", SAYS)
def test_a_publisher_may_ask_its_stream_what_it_holds(user):
    allowed, _ = permissions_of(user)
    for pattern in WRITES[user]:
        if delivery_of(pattern) is Delivery.SEQUENCED:
            spec = stream_of(pattern)
            assert f"$JS.API.DIRECT.GET.{spec.name}.>" in allowed


def test_every_message_type_has_one_kind_of_speaker():
    said = [kind for kinds in SAYS.values() for kind in kinds] + [kind for kind in EVERY_SERVICE if kind is not control.Halt]
    assert len(said) == len(set(said))
    assert {kind.__name__ for kind in MESSAGE_TYPES} - {kind.__name__ for kind in said} == {"ModelEvent", "EaMessage"}


def test_no_two_users_may_write_the_same_sequenced_subject():
    for spec in STREAMS:
        for captured in spec.subjects:
            if delivery_of(captured) is not Delivery.SEQUENCED:
                continue
            probe = captured.replace("*", "x")
            probes = [probe] if captured != "models.*.*" else [f"models.x.{event}" for event in (
                "published", "shadowed", "promoted", "refused", "retired", "loaded", "rejected")]
            for subject in probes:
                writers = [
                    user for user in USERS if user not in ("admin", "system")
                    and any(subjects.matches(pattern, subject) for pattern in permissions_of(user)[0])
                ]
                assert len(writers) == 1, (subject, writers)


@pytest.mark.parametrize(
    ("subject", "writer"),
    [
        ("orders.approved.paper.EURUSD", "risk"), ("orders.refused.paper.EURUSD", "risk"),
        ("executions.paper.EURUSD", "executor"), ("account.paper", "executor"), ("ticks.EURUSD", "ingest"),
        ("models.direction-EURUSD.promoted", "trainer"), ("control.resume", "operator"), ("control.flatten", "operator"),
        ("control.promote", "operator"), ("risk.paper", "risk"), ("ea.paper.orders", "executor"),
        ("ea.paper.books.executor", "executor"), ("ea.paper.books.ingest", "ingest"), ("ea.paper.history", "ingest"),
        ("ea.paper.ticks.EURUSD", "ea"),
        ("ea.paper.transactions", "ea"),
    ],
)  # fmt: skip
def test_a_subject_that_matters_has_one_writer(subject, writer):
    for user in USERS:
        if user in ("admin", "system"):
            continue
        allowed, _ = permissions_of(user)
        assert any(subjects.matches(pattern, subject) for pattern in allowed) == (user == writer), user


def test_stopping_is_every_services_right():
    for service in SERVICES:
        assert "control.halt" in permissions_of(service)[0]


def test_a_service_speaks_of_its_own_health_only():
    for service in SERVICES:
        allowed, _ = permissions_of(service)
        for other in SERVICES:
            for subject in (subjects.health(other), subjects.watermark(other), subjects.deadletter(other)):
                assert any(subjects.matches(pattern, subject) for pattern in allowed) == (service == other)


def test_nobody_but_the_administrator_may_change_a_stream():
    for user in USERS:
        if user in ("admin", "system"):
            continue
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE"):
            for spec in STREAMS:
                subject = f"$JS.API.STREAM.{verb}.{spec.name}"
                assert not any(subjects.matches(pattern, subject) for pattern in permissions_of(user)[0]), (user, subject)


def test_a_password_cannot_break_out_of_the_configuration():
    passwords = dict.fromkeys(USERS, 'a" } ] , x\\')
    text = render_server_config(listen="127.0.0.1:1", store_dir="/x", passwords=passwords, max_store_bytes=1)
    assert text.count('password: "a\\" } ] , x\\\\"') == len(USERS)
    variables = dict.fromkeys(USERS, "$SECRET")
    text = render_server_config(listen="127.0.0.1:1", store_dir="/x", passwords=variables, max_store_bytes=1)
    assert text.count("password: $SECRET") == len(USERS)


def approved():
    return OrderApproved(
        ts_event_ns=1, ts_init_ns=1, seq=1, order_id="0" * 24, account="paper", symbol="EURUSD", side=Side.BUY,
        volume_lots=0.1, price=1.1, sl=1.0, tp=1.2, purpose=OrderPurpose.OPEN, position_id=0, max_slippage_points=10,
        horizon_s=60, expires_ns=2**62, model="m", version=1,
    )


def rejected():
    return OrderRejected(
        ts_event_ns=1, ts_init_ns=1, seq=1, order_id="0" * 24, account="paper", symbol="EURUSD", retcode=0, reason="x",
    )


async def test_the_server_itself_lets_only_risk_approve_and_only_the_executor_execute(tmp_path):
    server = EmbeddedServer(tmp_path)
    await server.start()
    buses = {}
    try:
        for user in USERS:
            if user not in ("admin", "system"):
                buses[user] = await NatsBus.connect(server.url, user=user, password=server.passwords[user])
        heard = []
        for pattern in ("orders.>", "executions.>"):
            await buses["observer"].on_message(pattern, lambda subject, payload: heard.append((subject, payload)))
        await buses["observer"]._client.flush()
        for user, bus in buses.items():
            for message in (approved(), rejected()):
                await bus._client.publish(subject_of(message), encode(message) + b" " * list(buses).index(user))
            await bus._client.flush()
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.01)
        await buses["observer"]._client.flush()
        by = list(buses)
        found = {(subject, by[len(payload) - len(payload.rstrip(b" "))]) for subject, payload in heard}
        assert found == {("orders.approved.paper.EURUSD", "risk"), ("executions.paper.EURUSD", "executor")}
        assert len(heard) == 2
        for user in set(buses) - {"risk", "executor"}:
            assert "permissions violation" in buses[user].last_error
    finally:
        for bus in buses.values():
            await bus.close()
        await server.stop()
