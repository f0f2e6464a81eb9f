"""The codec: every message comes back as it was, and nothing but MalformedMessage comes of anything else."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.codec import MAX_MESSAGE_BYTES, MESSAGE_TYPES, Codec, encode
from libs.common.errors import MalformedMessage
from libs.common.messages.control import Halt, Heartbeat
from libs.common.messages.market import Bar, TickBlock
from libs.common.messages.orders import OrderApproved
from tests.property.bus.message_strategies import any_message, of_kind

codec = Codec()


def same(one, other):
    """Compare two messages, columns too."""
    if type(one) is not type(other):
        return False
    for name in one.__struct_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, np.ndarray):
            if left.dtype != right.dtype or left.tolist() != right.tolist():
                return False
        elif left != right:
            return False
    return True


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_comes_back_as_it_was(kind):
    @settings(max_examples=6, deadline=None)
    @given(of_kind(kind))
    def check(message):
        payload = encode(message)
        assert same(codec.decode(payload), message)
        assert b"\n" not in payload
        assert msgspec.json.decode(payload)["type"] == kind.__name__

    check()


@settings(max_examples=50, deadline=None)
@given(any_message)
def test_fields_nobody_knows_yet_are_tolerated(message):
    later = msgspec.json.decode(encode(message)) | {"a_new_field": {"deep": [1, None]}}
    assert same(codec.decode(msgspec.json.encode(later)), message)


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_a_field_with_a_default_may_be_missing_and_one_without_may_not(kind):
    @settings(max_examples=2, deadline=None)
    @given(of_kind(kind))
    def check(message):
        whole = msgspec.json.decode(encode(message))
        for field in msgspec.structs.fields(kind):
            less = msgspec.json.encode({name: value for name, value in whole.items() if name != field.encode_name})
            if field.required:
                with pytest.raises(MalformedMessage, match=field.encode_name):
                    codec.decode(less, "a.subject")
            else:
                assert isinstance(codec.decode(less), kind)

    check()


TICKS = TickBlock(
    ts_event_ns=2, ts_init_ns=3, seq=1, step=1, symbol="EURUSD", first_tick=1, time_ns=np.array([1, 2]),
    bid=np.array([1.0, 1.1]), ask=np.array([1.0, 1.2]),
)
BAR = Bar(
    ts_event_ns=1, ts_init_ns=1, seq=1, symbol="EURUSD", timeframe_s=60, open_ns=0, open=1.0, high=1.0, low=1.0,
    close=1.0, spread_mean=0.1, tick_count=3,
)
HALT = Halt(ts_event_ns=1, ts_init_ns=1, command_id="c", issued_by="i", reason="r")
BEAT = Heartbeat(
    ts_event_ns=1, ts_init_ns=1, service="s", instance="i", version="1", ready=True, lag_ms=0.5, seen={"a": 1}, sent={},
)


def changed(message, **fields):
    return msgspec.json.encode(msgspec.json.decode(encode(message)) | fields)


BEYOND = 2**63
REFUSED = {
    "null for a price": changed(BAR, open=None),
    "text for a price": changed(BAR, open="1.0"),
    "text for a number": changed(BAR, tick_count="3"),
    "a fraction for a count": changed(BAR, tick_count=3.5),
    "true for a count": changed(BAR, tick_count=True),
    "a list for a text": changed(HALT, reason=["r"]),
    "NaN": encode(BAR).replace(b'"open":1.0', b'"open":NaN'),
    "Infinity": encode(BAR).replace(b'"open":1.0', b'"open":Infinity'),
    "a float beyond all floats": encode(BAR).replace(b'"open":1.0', b'"open":1e999'),
    "an integer beyond 64 bits": changed(BAR, tick_count=BEYOND),
    "a number no computer holds": encode(BAR).replace(b'"tick_count":3', b'"tick_count":1' + b"0" * 5_000),
    "a sequence number beyond 64 bits": encode(HALT).replace(b'"seq":0', b'"seq":1' + b"0" * 30),
    "a step beyond 64 bits": changed(BAR, step=BEYOND),
    "a time beyond 64 bits": changed(BAR, ts_event_ns=BEYOND),
    "a time before all times": changed(BAR, ts_event_ns=-BEYOND - 1),
    "a negative sequence number": changed(BAR, seq=-1),
    "a negative step": changed(BAR, step=-1),
    "a count beyond 64 bits in a table": changed(BEAT, seen={"a": BEYOND}),
    "null in a column": changed(TICKS, bid=[1.0, None]),
    "text in a column": changed(TICKS, bid=[1.0, "1.1"]),
    "a fraction in a column of integers": changed(TICKS, time_ns=[1, 2.5]),
    "an integer beyond 64 bits in a column": changed(TICKS, time_ns=[1, BEYOND]),
    "a column within a column": changed(TICKS, bid=[[1.0, 1.1]]),
    "a ragged column": changed(TICKS, bid=[1.0, [1.1]]),
    "a number for a column": changed(TICKS, bid=1.0),
    "an object for a column": changed(TICKS, bid={"0": 1.0}),
    "columns of different lengths": changed(TICKS, bid=[1.0]),
    "no tick at all": changed(TICKS, time_ns=[], bid=[], ask=[]),
    "a negative price": changed(TICKS, bid=[-1.0, 1.1]),
    "crossed prices": changed(TICKS, ask=[0.9, 1.2]),
    "falling times": changed(TICKS, time_ns=[2, 1]),
    "nothing": b"",
    "white space": b"   ",
    "null": b"null",
    "a list": b"[]",
    "half a message": encode(TICKS)[:-20],
    "two messages": encode(HALT) * 2,
    "no type": b'{"ts_event_ns":1,"ts_init_ns":1}',
    "a type nobody knows": changed(HALT, type="Nothing"),
    "a type that is no text": changed(HALT, type=3),
    "not UTF-8": encode(HALT).replace(b'"r"', b'"\xff\xfe"'),
    "half a surrogate pair": encode(HALT).replace(b'"r"', b'"\\ud800"'),
    "deep nesting": b"[" * 100_000,
    "deep nesting in a field nobody knows": encode(HALT)[:-1] + b',"x":' + b"[" * 100_000,
    "zero bytes": bytes(1_000),
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_a_payload_that_is_no_message_is_refused_and_says_where(payload):
    with pytest.raises(MalformedMessage) as caught:
        codec.decode(payload, "a.subject")
    assert caught.value.subject == "a.subject"
    assert caught.value.problem


def test_a_huge_integer_within_a_nested_struct_is_refused():
    @settings(max_examples=20, deadline=None)
    @given(of_kind(next(kind for kind in MESSAGE_TYPES if kind.__name__ == "AccountSnapshot")))
    def check(message):
        plain = msgspec.json.decode(encode(message))
        for position in plain["positions"]:
            with pytest.raises(MalformedMessage, match="64"):
                codec.decode(msgspec.json.encode(plain | {"positions": [position | {"magic": 2**63}]}))

    check()


def test_a_payload_larger_than_the_server_allows_is_refused_before_it_is_parsed():
    with pytest.raises(MalformedMessage, match="at most 1000000"):
        codec.decode(b" " * (MAX_MESSAGE_BYTES + 1))


def test_a_codec_of_some_types_refuses_all_others():
    only_bars = Codec((Bar,))
    assert only_bars.decode(encode(BAR)) == BAR
    with pytest.raises(MalformedMessage):
        only_bars.decode(encode(HALT))


def test_what_has_no_place_in_a_message_cannot_be_encoded():
    odd = Halt(ts_event_ns=1, ts_init_ns=1, command_id="c", issued_by="i", reason=_Odd())  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="_Odd"):
        encode(odd)


class _Odd:
    pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_malformed_message(payload):
    decode_or_refuse(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(any_message, st.data())
def test_a_valid_message_with_one_field_replaced_raises_nothing_but_malformed_message(message, data):
    plain = msgspec.json.decode(encode(message))
    name = data.draw(st.sampled_from(sorted(plain)))
    plain[name] = data.draw(json_values)
    try:
        payload = msgspec.json.encode(plain)
    except (OverflowError, UnicodeEncodeError):
        return  # no JSON writer of ours can say it
    decode_or_refuse(payload)


@settings(max_examples=150, deadline=None)
@given(any_message, st.data())
def test_a_valid_message_with_bytes_changed_or_cut_raises_nothing_but_malformed_message(message, data):
    payload = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    decode_or_refuse(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    decode_or_refuse(bytes(payload))


def decode_or_refuse(payload):
    try:
        message = codec.decode(payload, "fuzzed")
    except MalformedMessage:
        return
    # What passes must be fit for the journal and for another snapshot.
    assert isinstance(message, MESSAGE_TYPES)
    assert all(-(2**63) <= number < 2**63 for number in (message.ts_event_ns, message.ts_init_ns))
    assert 0 <= message.seq < 2**63
    assert 0 <= message.step < 2**63
    msgspec.msgpack.encode(msgspec.to_builtins(msgspec.json.decode(encode(message))))


def test_an_order_reads_the_same_in_every_process():
    """Signatures cover the encoded bytes: the order of fields is part of the wire format."""
    order = OrderApproved(
        ts_event_ns=1, ts_init_ns=2, order_id="0" * 24, account="paper", symbol="EURUSD", side="buy",  # type: ignore[arg-type]
        volume_lots=0.1, price=1.1, sl=1.0, tp=1.2, purpose="open", position_id=0, max_slippage_points=10,  # type: ignore[arg-type]
        horizon_s=60, expires_ns=9, model="m", version=1,
    )
    assert encode(codec.decode(encode(order))) == encode(order)
