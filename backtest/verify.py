"""Whether a recorded session decides the same again: every row, prediction, order and fill, message by message."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from backtest.engine import Engine
from backtest.exchange import Performer
from backtest.record import Record
from backtest.wiring import Cores, Sections
from libs.common.codec import encode
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import Bar, TickBlock
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRefused,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    PositionClosed,
    StopsMoved,
)
from libs.common.routing import subject_of

Cause = Literal["data", "feature", "model", "risk", "fill", "cost", "account"]
_CAUSES: Mapping[type[Message], Cause] = {
    Bar: "feature",
    FeatureBlock: "feature",
    Prediction: "model",
    OrderApproved: "risk",
    OrderRefused: "risk",
    OrderSent: "fill",
    OrderFilled: "fill",
    OrderPartiallyFilled: "fill",
    OrderRejected: "fill",
    OrderUnknown: "fill",
    OrderResolved: "fill",
    PositionClosed: "fill",
    StopsMoved: "fill",
    AccountSnapshot: "account",
}
COMPARED = tuple(_CAUSES)
"""The kinds of messages that are compared."""
_ORDER_OF_CAUSES: tuple[Cause, ...] = ("data", "feature", "model", "risk", "fill", "cost", "account")
_COSTS = frozenset({"commission_ccy", "swap_ccy", "profit_ccy", "slippage_points"})
_NOT_COMPARED = frozenset({"ts_init_ns", "seq", "step", "key_id", "signature"})
"""When a message was built, its number, and who signed: they say nothing of what was decided."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first place at which the replay says something else than the session did.

    Parameters
    ----------
    cause : where it begins: the ticks, a feature, the model, risk, the fill, its cost, or the account's figures
    step, ts_event_ns : in which step, and when
    subject, number : which message
    field : of the message; empty when one of the two says nothing at all
    recorded, replayed : what each says
    """

    cause: Cause
    step: int
    ts_event_ns: int
    subject: str
    number: int
    field: str
    recorded: str
    replayed: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found.

    Parameters
    ----------
    ticks, steps : replayed
    compared : messages compared, by kind
    difference : the first one; ``None`` when everything is the same
    """

    ticks: int
    steps: int
    compared: dict[str, int]
    difference: Difference | None

    @property
    def identical(self) -> bool:
        return self.difference is None


def verify(
    sections: Sections,
    cores: Cores,
    blocks: Sequence[TickBlock],
    events: Mapping[int, Sequence[Message]],
    recorded: Iterable[Message],
    load_bundle: Performer,
) -> Verdict:
    """Replay a session and compare.

    Parameters
    ----------
    blocks : its tick blocks in order of their steps
    events : step -> what inference was told of models
    recorded : what its services said, in order per subject
    load_bundle : performs inference's effects
    """
    hole = _hole(blocks)
    if hole is not None:
        return Verdict(ticks=0, steps=0, compared={}, difference=hole)
    said = Record(keep_everything=True)
    Engine(sections, cores, said, careful=True, performers={"inference": load_bundle}).replay(blocks, events)
    theirs, ours = _by_subject(recorded), _by_subject(said.stepped())
    found = [
        difference
        for subject in sorted(theirs.keys() | ours.keys())
        if (difference := _first_difference(subject, theirs.get(subject, []), ours.get(subject, []))) is not None
    ]
    compared: dict[str, int] = {}
    for messages in ours.values():
        for message in messages:
            compared[type(message).__name__] = compared.get(type(message).__name__, 0) + 1
    first = min(found, key=lambda d: (d.step, _ORDER_OF_CAUSES.index(d.cause), d.subject), default=None)
    return Verdict(ticks=said.ticks, steps=len(blocks), compared=compared, difference=first)


def _hole(blocks: Sequence[TickBlock]) -> Difference | None:
    """Return where ticks or steps are missing: what follows could not be the same."""
    next_tick: dict[str, int] = {}
    for place, block in enumerate(blocks):
        wanted = next_tick.get(block.symbol, 1)
        if block.first_tick != wanted or block.step != place + 1:
            return Difference(
                cause="data", step=block.step, ts_event_ns=block.ts_event_ns, subject=subject_of(block),
                number=block.seq, field="first_tick" if block.first_tick != wanted else "step",
                recorded=str(block.first_tick if block.first_tick != wanted else block.step),
                replayed=str(wanted if block.first_tick != wanted else place + 1),
            )
        next_tick[block.symbol] = block.first_tick + len(block)
    return None


def _by_subject(messages: Iterable[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for message in messages:
        if type(message) in _CAUSES:
            found.setdefault(subject_of(message), []).append(message)
    return found


def _first_difference(subject: str, theirs: list[Message], ours: list[Message]) -> Difference | None:
    for number, (recorded, replayed) in enumerate(zip(theirs, ours, strict=False), start=1):
        if type(recorded) is not type(replayed):
            return _difference(
                subject, number, recorded, replayed, "type", type(recorded).__name__, type(replayed).__name__
            )
        one, other = _plain(recorded), _plain(replayed)
        if one != other:
            name, mine, yours = _first_field(one, other)
            return _difference(subject, number, recorded, replayed, name, _short(mine), _short(yours))
    if len(theirs) == len(ours):
        return None
    number = min(len(theirs), len(ours)) + 1
    if len(theirs) > len(ours):
        left = theirs[number - 1]
        return _difference(subject, number, left, left, "", type(left).__name__, "nothing")
    left = ours[number - 1]
    return _difference(subject, number, left, left, "", "nothing", type(left).__name__)


def _difference(
    subject: str, number: int, recorded: Message, replayed: Message, name: str, one: str, other: str
) -> Difference:
    cause = _CAUSES[type(recorded)]
    earlier = recorded if recorded.step <= replayed.step else replayed
    return Difference(
        cause="cost" if cause == "fill" and name in _COSTS else cause, step=earlier.step,
        ts_event_ns=earlier.ts_event_ns, subject=subject, number=number, field=name, recorded=one, replayed=other,
    )


def _plain(message: Message) -> dict[str, Any]:
    """Return what is compared of a message: exactly what would go over the wire."""
    whole: dict[str, Any] = msgspec.json.decode(encode(message))
    return {name: value for name, value in whole.items() if name not in _NOT_COMPARED}


def _first_field(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, Any, Any]:
    """Return the first field that differs; of a row's values, the feature."""
    name = next(key for key in one if one[key] != other.get(key))
    mine, yours = one[name], other.get(name)
    if yours is not None and name == "values" and one.get("names") == other.get("names"):
        at = next(k for k, (a, b) in enumerate(zip(mine, yours, strict=True)) if a != b)
        return f"values of {one['names'][at]}", mine[at], yours[at]
    return name, mine, yours


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}..."
