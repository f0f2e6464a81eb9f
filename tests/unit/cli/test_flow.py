"""Who hears what, and when a flow has settled."""

import importlib
from typing import Any

import msgspec
import pytest

from libs.common.bus.streams import SERVICES, Delivery, delivery_of
from libs.common.messages.control import Heartbeat
from tickwire.flow import HEARS, has_settled, sequence_lags


def heartbeat(
    service: str, seen: dict[str, int] | None = None, sent: dict[str, int] | None = None, ready: bool = True,
    details: dict[str, float | str] | None = None,
) -> Heartbeat:
    return Heartbeat(
        ts_event_ns=1, ts_init_ns=1, service=service, instance="i", version="0", ready=ready, lag_ms=0.0,
        seen=seen or {}, sent=sent or {}, details=details or {},
    )


def beats(*found: Heartbeat) -> dict[str, Heartbeat]:
    return {beat.service: beat for beat in found}


@pytest.mark.parametrize("service", HEARS)
def test_the_table_says_what_the_cores_say(service: str) -> None:
    module = importlib.import_module(f"services.{service}.core")
    core: Any = getattr(module, f"{service.capitalize()}Core")
    heard = {route.pattern for route in core.HEARS if delivery_of(route.pattern) is Delivery.SEQUENCED}
    # Patterns are compared by the subjects they take, spelt without ">".
    assert {pattern.replace(".>", ".*.*") for pattern in heard} == set(HEARS[service])


def test_every_service_but_ingest_is_in_the_table() -> None:
    assert set(HEARS) | {"ingest"} == set(SERVICES)


def test_the_lag_is_what_was_sent_and_not_yet_handled_by_those_who_hear_it() -> None:
    found = beats(
        heartbeat("ingest", sent={"ticks.EURUSD": 10, "feed.EURUSD": 3}),
        heartbeat("features", seen={"ticks.EURUSD": 8}, sent={"features.EURUSD": 2, "bars.EURUSD.60s": 5}),
        heartbeat("inference"),
        heartbeat("risk", seen={"ticks.EURUSD": 11}),
    )
    lags = sequence_lags(found)
    assert lags["features"] == {"ticks.EURUSD": 2}
    assert lags["inference"] == {"features.EURUSD": 2}
    assert lags["risk"] == {"ticks.EURUSD": 0}
    assert lags["ingest"] == {}


def test_a_flow_has_settled_when_all_is_handled_and_nothing_is_waited_for() -> None:
    settled = beats(
        heartbeat("ingest", sent={"ticks.EURUSD": 10}), heartbeat("features", seen={"ticks.EURUSD": 10}),
        heartbeat("trainer", seen={"ticks.EURUSD": 10}),
    )
    services = ("features", "trainer")
    assert has_settled(settled, services)
    for change in (
        {"ready": False}, {"seen": {"ticks.EURUSD": 9}}, {"details": {"effects_pending": 1}}, {"details": {"inbox": 2}},
    ):
        changed = {**settled, "trainer": msgspec.structs.replace(settled["trainer"], **change)}
        assert not has_settled(changed, services), change
    assert not has_settled(settled, (*services, "risk"))
    # A stream may hold more than the last heartbeat of an ingest that has ended told of.
    assert not has_settled(settled, services, {"ticks.EURUSD": 11})
