"""Writes ``docs/messages.md`` from the message types: ``python -m tickwire.docs_messages > docs/messages.md``.

Subjects come from the routing table, writers and readers from the server's permissions, explanations from the
docstrings, so the page cannot say anything else than the code does.
"""

import inspect
import re
import sys
from enum import Enum
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np

from libs.common.bus.streams import READS, SERVICES, WRITES, delivery_of, stream_of
from libs.common.codec import MESSAGE_TYPES
from libs.common.messages import account, control, ea, features, market, models, orders
from libs.common.messages.base import Floats, Ints, Message
from libs.common.routing import subject_of
from libs.common.subjects import matches

FAMILIES: tuple[ModuleType, ...] = (market, features, orders, account, models, control, ea)
"""The modules of messages, in the order the flow runs."""

_HEADER = """# Messages

*Generated from the message types by `make docs`; do not edit by hand.*

Every message is one JSON object, tagged with its class name in `type`. Readers ignore fields they do not know; new
fields have defaults; the type of a field never changes. Times are integers, nanoseconds UTC; prices are doubles;
enumerations are the strings listed. In subjects everything outside `[A-Za-z0-9_-]` is percent-encoded:
`US30.cash` becomes `US30%2Ecash`.

Every message also carries:

"""
_COMMON_FIELDS = {
    "symbol": "canonical symbol", "account": "account key", "side": "which way", "order_id": "the order it is about",
    "command_id": "unique per command; a repetition does nothing", "issued_by": "who commanded", "reason": "why",
    "model": "name of the model", "version": "1, 2, 3, ... within the name", "service": "who says it",
}  # fmt: skip
"""What fields mean everywhere where a docstring does not say more."""
_WIRE_NAMES = {"str": "text", "int": "integer", "float": "number", "bool": "true/false"}


def render() -> str:
    """Return the whole page as Markdown."""
    parts = [_HEADER + _field_table(Message, own_only=False)]
    for module in FAMILIES:
        own = [kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__]
        kinds = [kind for kind in own if kind in MESSAGE_TYPES]
        parts.append(f"## {_first_line(module)}\n")
        parts += [_section(kind) for kind in kinds if not kind.__subclasses__()]
        parts += _enumerations(module)
        parts += _structs(module)
    return "\n".join(parts).rstrip() + "\n"


def _section(kind: type[Message]) -> str:
    lines = [f"### {kind.__name__}\n"]
    lines.append(_paragraphs(kind) + "\n")
    for subject in subjects_of(kind):
        spec = stream_of(_as_pattern(subject))
        place = f"stream {spec.name}" if spec is not None else "no stream"
        lines.append(f"`{subject}` · {place}, {delivery_of(subject).value} · {_flow(subject)}\n")
    lines.append(_field_table(kind, own_only=True))
    return "\n".join(lines)


def subjects_of(kind: type[Message]) -> tuple[str, ...]:
    """Return the subjects a message type is published on, with field names in angle brackets.

    >>> from libs.common.messages.features import Prediction
    >>> subjects_of(Prediction)
    ('predictions.<symbol>', 'shadows.<symbol>')
    """
    example = example_of(kind)
    variants = [example]
    for field in msgspec.structs.fields(kind):
        choices = (False, True) if field.type is bool else tuple(field.type) if _is_enum(field.type) else ()
        variants += [msgspec.structs.replace(example, **{field.name: choice}) for choice in choices]
    return tuple(dict.fromkeys(unquote(subject_of(variant)) for variant in variants))


def example_of(kind: type[Message]) -> Message:
    """Return a message whose texts are their fields' names in angle brackets and whose figures are small."""
    needed = {
        field.name: _example_value(field.name, field.type)
        for field in msgspec.structs.fields(kind)
        if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
    }
    return kind(**needed)


def _example_value(name: str, kind: Any) -> Any:
    if kind in (Floats, Ints):
        return np.ones(1, dtype=np.float64 if kind == Floats else np.int64)
    if _is_enum(kind):
        return next(iter(kind))
    plain: dict[Any, Any] = {str: f"<{name}>", int: 60, float: 1.0, bool: False}
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{field.name: _example_value(field.name, field.type) for field in msgspec.structs.fields(kind)})
    text = str(kind)
    if text.startswith("tuple[str"):
        return (f"<{name}>",)
    return {} if text.startswith("dict") else () if text.startswith("tuple") else None


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _as_pattern(subject: str) -> str:
    """Return a subject of the pattern's shape: every field replaced by a plain word."""
    return re.sub(r"<\w+>", "x", subject)


def _flow(subject: str) -> str:
    example = _as_pattern(subject)
    health = example.startswith(("health.", "alerts.", "deadletter."))
    writers = ["every service"] if health else _who(WRITES, example)
    readers = [name for name in _who(READS, example) if name not in writers and name in SERVICES]
    return f"{', '.join(writers)} → {', '.join(readers) or 'whoever listens'}"


def _who(permissions: dict[str, tuple[str, ...]], subject: str) -> list[str]:
    return [user for user, patterns in permissions.items() if any(matches(pattern, subject) for pattern in patterns)]


def _field_table(kind: type[msgspec.Struct], *, own_only: bool) -> str:
    inherited = set(Message.__struct_fields__) if own_only else set()
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in inherited]
    if not fields:
        return "No fields of its own.\n"
    told = dict(_COMMON_FIELDS)
    for base in reversed(kind.__mro__):
        told |= parameters_of(base)
    rows = [
        f"| `{field.name}` | {_type_text(field.type)} | {_default_text(field)} | {told.get(field.name, '')} |"
        for field in fields
    ]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _type_text(kind: Any) -> str:
    if kind == Floats:
        return "array of numbers"
    if kind == Ints:
        return "array of integers"
    text = str(kind) if not isinstance(kind, type) or getattr(kind, "__args__", None) else kind.__name__
    text = re.sub(r"(?:\w+\.)+(\w+)", r"\1", text).replace(", ...", "").replace("NoneType", "null")
    text = re.sub(r"\b(\w+)\b", lambda word: _WIRE_NAMES.get(word[1], word[1]), text).replace("None", "null")
    text = re.sub(r"tuple\[(.*)\]", r"array of \1", text)
    text = re.sub(r"dict\[text, (.*)\]", r"object of \1", text)
    return text.replace("|", "or")


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    return ""


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or module.__name__).strip().splitlines()[0].rstrip(".")


def _paragraphs(kind: type) -> str:
    """Return a docstring up to its first section, as one paragraph per paragraph."""
    text = re.split(r"\n\w+\n-{3,}\n", inspect.cleandoc(kind.__doc__ or ""))[0]
    return _as_markdown("\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).strip())


def _as_markdown(text: str) -> str:
    return text.replace("``", "`")


def parameters_of(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of each field, as one line of Markdown.

    >>> parameters_of(market.TickBlock)["bid"]
    '(n,) prices, finite, > 0, bid <= ask'
    """
    sections = re.split(r"\n(\w+)\n-{3,}\n", "\n" + inspect.cleandoc(vars(kind).get("__doc__") or ""))
    told: dict[str, str] = {}
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        if title == "Parameters":
            entries = re.split(r"\n(?=\S)", body.strip())
            for entry in entries:
                names, _, meaning = " ".join(entry.split()).partition(" : ")
                for name in names.split(","):
                    told[name.strip()] = _as_markdown(meaning).replace("|", "\\|")
    return told


def _enumerations(module: ModuleType) -> list[str]:
    return [
        f"### {kind.__name__}\n\n{_paragraphs(kind)} Values: {', '.join(f'`{member.value}`' for member in kind)}.\n"
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Enum) and kind.__module__ == module.__name__
    ]


def _structs(module: ModuleType) -> list[str]:
    return [
        f"### {kind.__name__}\n\n{_paragraphs(kind)}\n\n{_field_table(kind, own_only=False)}"
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and not issubclass(kind, Message)
        and kind.__module__ == module.__name__
    ]


if __name__ == "__main__":
    sys.stdout.write(render())
