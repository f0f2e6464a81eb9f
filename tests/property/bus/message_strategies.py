"""Any instance of any message type, made from the type's own annotations."""

import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from hypothesis import strategies as st

from libs.common.codec import MESSAGE_TYPES
from libs.common.messages import ea
from libs.common.messages.base import Floats, Message
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def of_annotation(annotation: Any) -> st.SearchStrategy:
    """Return a strategy for whatever a field may hold."""
    plain = {int: integers, float: numbers, str: names, bool: st.booleans(), type(None): st.none()}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_annotation(argument) for argument in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(of_annotation(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(texts, of_annotation(arguments[1]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(list(annotation))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return of_struct(annotation)
    raise AssertionError(f"no strategy for {annotation}")


def of_struct(kind: type[msgspec.Struct]) -> st.SearchStrategy:
    """Return a strategy for a struct, message or not."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: of_annotation(hints[name]) for name in kind.__struct_fields__}
    if issubclass(kind, Message):
        fields |= {"seq": counts, "step": counts}
    return st.builds(kind, **fields)


@st.composite
def tick_blocks(draw: st.DrawFn) -> TickBlock:
    count = draw(st.integers(1, 4))
    bid = np.array(draw(st.lists(st.floats(1e-6, 1e6), min_size=count, max_size=count)))
    spread = np.array(draw(st.lists(st.floats(0.0, 10.0), min_size=count, max_size=count)))
    times = sorted(draw(st.lists(integers, min_size=count, max_size=count)))
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["last"] = np.array(draw(st.lists(numbers, min_size=count, max_size=count)))
        more["flags"] = np.array(draw(st.lists(integers, min_size=count, max_size=count)), dtype=np.int64)
    return TickBlock(
        ts_event_ns=times[-1], ts_init_ns=draw(integers), seq=draw(counts), step=draw(counts), symbol=draw(names),
        first_tick=draw(integers), time_ns=np.array(times, dtype=np.int64), bid=bid, ask=bid + spread, **more,
    )


@st.composite
def feature_blocks(draw: st.DrawFn) -> FeatureBlock:
    values = draw(st.lists(numbers, max_size=4))
    return FeatureBlock(
        ts_event_ns=draw(integers), ts_init_ns=draw(integers), seq=draw(counts), step=draw(counts), symbol=draw(names),
        schema_id=draw(texts), names=tuple(f"f{index}" for index in range(len(values))),
        values=np.array(values, dtype=np.float64), tick=draw(integers), bid=draw(numbers), ask=draw(numbers),
    )


@st.composite
def of_columns(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Draw a message whose columns are all of one length."""
    count = draw(st.integers(0, 3))
    hints = get_type_hints(kind, include_extras=True)
    columns = {
        name: np.array(draw(st.lists(numbers, min_size=count, max_size=count)), dtype=np.float64)
        if hint == Floats
        else np.array(draw(st.lists(integers, min_size=count, max_size=count)), dtype=np.int64)
        for name, hint in hints.items() if get_origin(hint) is np.ndarray
    }
    rest = {
        name: draw(of_annotation(hints[name]))
        for name in kind.__struct_fields__ if name not in columns and name not in ("seq", "step")
    }
    return kind(seq=draw(counts), step=draw(counts), **rest, **columns)


def of_kind(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Return a strategy for any instance of one message type."""
    if kind is TickBlock:
        return tick_blocks()
    if kind is FeatureBlock:
        return feature_blocks()
    if kind in (ea.EaTicks, ea.EaBars, ea.EaBarRequest):
        return of_columns(kind)
    return of_struct(kind)


any_message = st.sampled_from(MESSAGE_TYPES).flatmap(of_kind)
