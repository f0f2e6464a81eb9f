"""Messages to JSON and back."""

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from libs.common.errors import MalformedMessage
from libs.common.messages import account, control, ea, features, market, models, orders
from libs.common.messages.base import Message, column_from_json, column_to_json

MAX_MESSAGE_BYTES = 1_000_000
"""The server's ``max_payload``; anything larger is refused before it is parsed."""


def _message_types() -> tuple[type[Message], ...]:
    found = []
    for module in (market, features, orders, account, models, control, ea):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__:
                found.append(value)
    return tuple(sorted(set(found), key=lambda kind: kind.__name__))


MESSAGE_TYPES = _message_types()
"""Every message type there is, by name."""
AnyMessage = Union[MESSAGE_TYPES]  # type: ignore[valid-type]  # noqa: UP007 - built at run time

_encoder = msgspec.json.Encoder(enc_hook=column_to_json)
_any_decoder = msgspec.json.Decoder(AnyMessage, dec_hook=column_from_json)


def encode(message: Message) -> bytes:
    """Return the message as one line of JSON."""
    return _encoder.encode(message)


class Codec:
    """Decode messages of the given types; anything else is malformed.

    Raises
    ------
    MalformedMessage : with the field's path and what was wrong
    """

    def __init__(self, kinds: tuple[type[Message], ...] | None = None) -> None:
        self._decoder = (
            _any_decoder if kinds is None
            else msgspec.json.Decoder(Union[kinds], dec_hook=column_from_json)  # noqa: UP007
        )

    def decode(self, payload: bytes, subject: str = "") -> Any:
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MalformedMessage(subject, f"{len(payload)} bytes, at most {MAX_MESSAGE_BYTES} are allowed")
        try:
            message = self._decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedMessage(subject, str(error)) from error
        if message.seq < 0 or message.step < 0:
            raise MalformedMessage(subject, "seq and step must not be negative")
        misfit = _misfit(message)
        if misfit:
            raise MalformedMessage(subject, f"{misfit} does not fit into 64 bits")
        return message


_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def _misfit(struct: msgspec.Struct) -> str:
    """Return the field whose integer is beyond 64 bits, empty when all fit: JSON has no limit, journals do."""
    plain, all_plain, tables, nested = _integer_fields(type(struct))
    values = all_plain(struct)
    if min(values) < _INT64_MIN or max(values) > _INT64_MAX:
        return next(name for name in plain if not _INT64_MIN <= getattr(struct, name) <= _INT64_MAX)
    for name in tables:
        if any(not _INT64_MIN <= value <= _INT64_MAX for value in getattr(struct, name).values()):
            return name
    for name in nested:
        for inner in getattr(struct, name):
            misfit = _misfit(inner)
            if misfit:
                return f"{name}.{misfit}"
    return ""


class _IntegerFields(NamedTuple):
    """The fields of a type that are integers, tables of integers, and tuples of structs."""

    plain: tuple[str, ...]
    all_plain: Callable[[Any], Sequence[int]]
    tables: tuple[str, ...]
    nested: tuple[str, ...]


@functools.cache
def _integer_fields(kind: type[msgspec.Struct]) -> _IntegerFields:
    hints = get_type_hints(kind)
    plain = tuple(name for name, hint in hints.items() if hint is int)
    tables = [name for name, hint in hints.items() if get_origin(hint) is dict and get_args(hint)[1] is int]
    nested = [
        name for name, hint in hints.items()
        if get_origin(hint) is tuple and get_args(hint)[0] not in (str, float, int)
    ]
    # One name alone would be given back without a tuple around it.
    getter = attrgetter(*plain, plain[0]) if plain else (lambda _: (0,))
    return _IntegerFields(plain, getter, tuple(tables), tuple(nested))
