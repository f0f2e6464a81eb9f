"""Subjects: any broker symbol is one harmless token, patterns match as the server matches, every message has a place."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common import subjects
from libs.common.bus.streams import STREAMS, Delivery, delivery_of, stream_of
from libs.common.codec import MESSAGE_TYPES
from libs.common.core import Effect
from libs.common.ids import derived_id, magic_of
from libs.common.messages.ea import EaMessage
from libs.common.messages.models import ModelEvent
from libs.common.routing import subject_of
from tests.property.bus.message_strategies import any_message, names, of_kind

BROKER_SYMBOLS = ["EURUSD", "US30.cash", "EURUSD.m", "#AAPL", "EUR USD", "a*b", "a>b", "BRK.B", "~x", "100%", "é", "."]


@pytest.mark.parametrize("symbol", BROKER_SYMBOLS)
def test_a_broker_symbol_survives_the_way_through_a_subject(symbol):
    assert subjects.decode_token(subjects.encode_token(symbol)) == symbol


@given(names)
def test_any_name_becomes_one_token_of_harmless_characters_and_comes_back(name):
    token = subjects.encode_token(name)
    assert re.fullmatch(r"[A-Za-z0-9_%-]+", token)
    assert subjects.decode_token(token) == name


@given(names, names)
def test_two_names_never_share_a_token(one, other):
    assert (subjects.encode_token(one) == subjects.encode_token(other)) == (one == other)


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="empty"):
        subjects.encode_token("")


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("ticks.*", "ticks.EURUSD", True),
        ("ticks.*", "ticks", False),
        ("ticks.*", "ticks.a.b", False),
        ("ticks.*", "bars.a", False),
        (">", "a", True),
        (">", "a.b.c", True),
        ("orders.>", "orders", False),
        ("orders.>", "orders.a", True),
        ("orders.>", "orders.a.b", True),
        ("orders.*.paper.*", "orders.approved.paper.EURUSD", True),
        ("orders.*.paper.*", "orders.approved.other.EURUSD", False),
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("*.*", "a.b", True),
    ],
)
def test_patterns_match_as_the_server_matches(pattern, subject, expected):
    assert subjects.matches(pattern, subject) is expected


@given(
    st.lists(st.sampled_from(["a", "b", "*", ">"]), min_size=1, max_size=4),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4),
)
def test_matching_agrees_with_a_regular_expression(pattern, subject):
    tokens = ["[^.]+" if token == "*" else ".+" if token == ">" else token for token in pattern]
    if ">" in pattern[:-1]:
        return  # not a pattern NATS knows
    expected = re.fullmatch(r"\.".join(tokens), ".".join(subject)) is not None
    assert subjects.matches(".".join(pattern), ".".join(subject)) is expected


@pytest.mark.parametrize(
    "kind", [kind for kind in MESSAGE_TYPES if kind not in (ModelEvent, EaMessage)], ids=lambda kind: kind.__name__
)
def test_every_message_type_has_a_subject_some_stream_holds_unless_it_is_ephemeral(kind):
    @settings(max_examples=5, deadline=None)
    @given(of_kind(kind))
    def check(message):
        subject = subject_of(message)
        if delivery_of(subject) is not Delivery.EPHEMERAL:
            spec = stream_of(subject)
            assert spec is not None
            assert all(subjects.encode_token(subjects.decode_token(token)) == token for token in subject.split("."))
            assert any(subjects.matches(pattern, subject) for pattern in spec.subjects)

    check()


def test_no_subject_is_captured_by_two_streams():
    @settings(max_examples=80, deadline=None)
    @given(any_message.filter(lambda message: type(message) not in (ModelEvent, EaMessage)))
    def check(message):
        subject = subject_of(message)
        holders = [spec.name for spec in STREAMS if any(subjects.matches(pattern, subject) for pattern in spec.subjects)]
        assert len(holders) <= 1

    check()


def test_an_effect_has_no_subject():
    with pytest.raises(KeyError):
        subject_of(Effect(ts_event_ns=1, ts_init_ns=1, effect_id="x"))


@given(st.lists(st.one_of(names, st.integers(), st.floats(allow_nan=False)), min_size=1, max_size=4))
def test_an_id_is_the_same_for_the_same_cause_and_24_hex_digits(cause):
    assert derived_id(*cause) == derived_id(*cause)
    assert re.fullmatch(r"[0-9a-f]{24}", derived_id(*cause))


def test_causes_that_only_look_alike_have_different_ids():
    causes = [("a", "b"), ("ab",), ("a\x1fb",), ("a", 1), ("a", "1"), ("a", 1.0), (1, "a"), ("'a'",), ("a",)]
    assert len({derived_id(*cause) for cause in causes}) == len(causes)


@given(names, st.integers(0, 2**20))
def test_a_magic_number_fits_the_broker_and_carries_namespace_and_id(cause, namespace):
    order_id = derived_id(cause)
    magic = magic_of(order_id, namespace)
    assert 0 <= magic < 2**63
    assert magic >> 48 == namespace & 0x7FFF
    assert magic & (2**48 - 1) == int(order_id[:12], 16)
