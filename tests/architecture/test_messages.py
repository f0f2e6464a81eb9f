"""Messages, routes, permissions, cores, metrics and documents agree with each other."""

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.common import routing
from libs.common.bus.streams import READS, SERVICES, WRITES, delivery_of, stream_of
from libs.common.codec import MESSAGE_TYPES, Codec, encode
from libs.common.core import handler_name
from libs.common.messages.base import Message
from libs.common.runtime.metrics import CATALOGUE
from libs.common.subjects import matches
from tickwire.docs_messages import example_of, render, subjects_of

ROOT = Path(__file__).parents[2]
PUBLISHED = [kind for kind in MESSAGE_TYPES if not kind.__subclasses__()]


def core_of(service: str) -> Any:
    """Return a service's core: the class of its ``core.py`` that says what it hears; ``None`` for a mere source."""
    module = importlib.import_module(f"services.{service}.core")
    found = [
        value for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "HEARS")
    ]  # fmt: skip
    assert len(found) <= 1, f"services/{service}/core.py has {len(found)} classes with HEARS"
    return found[0] if found else None


LISTENERS = [service for service in SERVICES if service != "ingest"]
"""Every service but the source hears something."""


def test_messages_md_is_what_the_message_types_say() -> None:
    committed = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    assert committed == render(), "run `make docs`"


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_type_has_a_route_or_is_a_base(kind: type[Message]) -> None:
    if kind.__subclasses__():
        with pytest.raises(KeyError):
            routing.subject_of(example_of(kind))
    else:
        assert subjects_of(kind)


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_every_published_message_has_a_writer_and_survives_the_wire(kind: type[Message]) -> None:
    message = example_of(kind)
    assert encode(Codec().decode(encode(message))) == encode(message)
    subject = routing.subject_of(message)
    always = subject.startswith(("health.", "alerts.", "deadletter."))
    writers = [user for user, patterns in WRITES.items() if any(matches(p, subject) for p in patterns)]
    assert always or len(writers) == 1, f"{subject} is written by {writers}"
    assert delivery_of(subject).value == "ephemeral" or stream_of(subject) is not None


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_messages_are_frozen_tagged_and_their_fields_have_one_unit(kind: type[Message]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.tag == kind.__name__
    assert not kind.__struct_config__.forbid_unknown_fields, "an older reader must tolerate a newer writer"
    for field in msgspec.structs.fields(kind):
        assert not re.search(r"_(sec|secs|msec|usd|pips|lot)$", field.name), f"{field.name}: see the list of units"


@pytest.mark.parametrize("service", LISTENERS)
def test_a_core_may_read_what_it_hears_and_has_a_handler_for_it(service: str) -> None:
    core = core_of(service)
    assert core is not None
    for route in core.HEARS:
        subject = route.pattern.replace("*", "x").replace(">", "x.x")
        assert any(matches(allowed, subject) for allowed in READS[service]), f"{service} may not read {route.pattern}"
        for kind in route.kinds:
            assert hasattr(core, handler_name(kind)), f"{core.__name__} lacks {handler_name(kind)}"
    for kind in core.RESULTS:
        assert hasattr(core, handler_name(kind)), f"{core.__name__} lacks {handler_name(kind)}"


def test_marks_that_cores_wait_for_are_stages_that_some_core_declares() -> None:
    cores = {service: core_of(service) for service in LISTENERS}
    declared = {"ticks"} | {f"{s}.{stage.name}" for s, core in cores.items() for stage in core.STAGES}
    awaited = {
        mark
        for core in cores.values()
        for waits in (*core.HEARS, *core.STAGES)
        for mark in waits.after
        if mark.split(".")[0] in cores or mark == "ticks"
    }
    assert awaited <= declared


def test_metrics_used_are_metrics_declared() -> None:
    declared = {metric.name for metric in CATALOGUE}
    used = {
        (name, str(path.relative_to(ROOT)))
        for house in ("libs", "services")
        for path in (ROOT / house).rglob("*.py")
        for name in re.findall(r"""(?:counter|gauge|histogram)\(\s*["'](tickwire_\w+)["']""", path.read_text())
    }
    assert used, "some service counts something"
    assert not {(name, path) for name, path in used if name not in declared}
