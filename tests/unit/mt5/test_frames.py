"""Frames: what goes over the pipes between driver, worker and simulated terminal."""

import itertools

import msgspec
import numpy as np
import pytest

from libs.common.mt5.adapters.arrays import ArrayFilling
from libs.common.mt5.adapters.frames import (
    MAX_FRAME_BYTES,
    Answer,
    Call,
    Columns,
    FrameBuffer,
    FrameError,
    Part,
    answer_frames,
    decode_reply,
    encode_frame,
    plain,
    read_frame,
)
from libs.common.mt5.adapters.records import Gathering, RawArray, to_record
from libs.common.mt5.results import OrderSendResult, SymbolInfo, Tick, TradePosition, TradeRequest
from libs.common.mt5.sim.tick_history import TICKS


def through_the_wire(result, record=None, array=ArrayFilling):
    """Return what arrives of a result."""
    gathering = Gathering(record, array)
    for frame in answer_frames(7, result, (1, "Success")):
        assert len(frame) <= MAX_FRAME_BYTES
        reply = decode_reply(frame[4:])
        if isinstance(reply, Answer):
            return gathering.finish(reply)
        gathering.add(reply)
    raise AssertionError("no end")


@pytest.mark.parametrize("sizes", [(1,), (3, 1), (4096,)])
def test_frames_come_out_whole_however_the_bytes_come_in(sizes):
    frames = [encode_frame(Call(id=k, call="x" * k)) for k in range(20)]
    stream, buffer, out, cuts = b"".join(frames), FrameBuffer(), [], itertools.cycle(sizes)
    while stream:
        n = next(cuts)
        out += buffer.feed(stream[:n])
        stream = stream[n:]
    assert [msgspec.json.decode(payload, type=Call).id for payload in out] == list(range(20))


@pytest.mark.parametrize("header", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"Trac"])
def test_a_length_no_frame_has_is_refused_before_anything_is_kept(header):
    with pytest.raises(FrameError):
        list(FrameBuffer().feed(header))


def test_a_frame_that_is_no_json_of_ours_is_refused():
    for payload in (b"[]", b"\xff\xff", b'{"frame":"gossip"}', b"[" * 5000):
        with pytest.raises(FrameError):
            decode_reply(payload)


def test_a_call_that_json_cannot_carry_is_refused_before_it_is_sent():
    for value in (object(), b"x" * MAX_FRAME_BYTES, 2**70 * 1j):
        with pytest.raises(FrameError):
            encode_frame(Call(id=1, call="order_send", args=[value]))


def test_the_end_of_the_stream_in_the_middle_of_a_frame_is_an_end():
    frame = encode_frame(Call(id=1, call="version"))
    for cut in (0, 2, 4, len(frame) - 1):
        rest = [frame[:cut]]
        assert read_frame(lambda n, rest=rest: rest.pop()[:n] if rest and rest[0] else b"") is None


def test_integers_and_floats_of_a_request_stay_what_they_are():
    call = Call(id=1, call="order_send", args=[{"volume": 1.0, "magic": 2**63 + 5, "type": 0}])
    request = msgspec.json.decode(encode_frame(call)[4:], type=Call).args[0]
    assert [type(value) for value in request.values()] == [float, int, int]
    assert request["magic"] == 2**63 + 5


def test_records_arrive_as_they_left_with_their_inner_request():
    sent = OrderSendResult(retcode=10009, price=1.25, request=TradeRequest(magic=2**62, comment="ä"))
    assert through_the_wire(sent, OrderSendResult) == sent
    many = tuple(TradePosition(ticket=k, volume=0.1 * k) for k in range(1_000))
    assert through_the_wire(many, TradePosition) == many
    assert through_the_wire((), TradePosition) == ()
    assert through_the_wire((500, 5000, "01 Jan 2025")) == (500, 5000, "01 Jan 2025")
    assert through_the_wire(None, Tick) is None
    assert through_the_wire(False) is False


def test_numbers_json_does_not_know_arrive_too():
    tick = through_the_wire(Tick(bid=float("nan"), ask=float("inf")), Tick)
    assert np.isnan(tick.bid)
    assert tick.ask == float("inf")
    assert through_the_wire(float("-inf")) == float("-inf")


def test_half_characters_of_a_wrong_code_page_do_not_break_the_frame():
    assert through_the_wire(Tick()._replace(), Tick) == Tick()
    assert plain("caf\ud800") == "caf?"


@pytest.mark.parametrize("rows", [0, 1, 3_277, 100_000])
def test_arrays_arrive_bit_for_bit_in_small_frames(rows):
    sent = np.zeros(rows, dtype=TICKS)
    sent["bid"] = np.random.default_rng(1).normal(size=rows)
    sent["time_msc"] = np.arange(rows)
    got = through_the_wire(sent)
    assert got.dtype == TICKS
    assert got.tobytes() == sent.tobytes()
    assert through_the_wire(through_the_wire(sent, array=RawArray)).tobytes() == sent.tobytes()


@pytest.mark.parametrize("columns", [
    Columns(columns=[("x", "|O")], rows=1), Columns(columns=[("x", "<i8")], rows=-1),
    Columns(columns=[("x", "<i8")], rows=10**12), Columns(columns=[("x", "|V8")], rows=1),
])  # fmt: skip
def test_arrays_of_objects_or_of_absurd_length_are_refused(columns):
    for make in (ArrayFilling, RawArray):
        with pytest.raises(FrameError):
            make(columns)


@pytest.mark.parametrize("data", [b"1234567", b"123456789"])
def test_an_array_with_too_few_or_too_many_bytes_is_refused(data):
    columns = Columns(columns=[("x", "<i8")], rows=1)
    gathering = Gathering(None, ArrayFilling)

    def gather():
        gathering.add(Part(id=1, array=columns, data=data))
        gathering.finish(Answer(id=1, array=columns))

    with pytest.raises(FrameError):
        gather()


def test_a_newer_package_may_have_more_fields_and_an_older_one_fewer():
    assert to_record(Tick, {"bid": 1.5, "colour": "red"}) == Tick(bid=1.5)
    assert to_record(Tick, {"bid": 1}) == Tick(bid=1.0)


@pytest.mark.parametrize("fields", [{"bid": "cheap"}, {"time": "noon"}, {"bid": None}])
def test_a_field_of_another_kind_is_refused_by_name(fields):
    with pytest.raises(FrameError, match="Tick"):
        to_record(Tick, fields)


def test_a_part_of_many_wide_records_is_small():
    frames = list(answer_frames(1, tuple(SymbolInfo(name=f"S{k}") for k in range(2_000)), (1, "")))
    assert max(map(len, frames)) < 100_000
