"""All sections of ``config.yaml``: reading them at once, printing them without secrets, explaining every key."""

import importlib
import inspect
import os
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

import msgspec
import yaml

from libs.common.bus.streams import SERVICES
from libs.common.config import COMMON_SECTIONS, ENV_PREFIX, SHARED_SECTIONS, read_config

MASK = "********"
_SECRET_KEY = re.compile(r"(password|secret|token|api_key)$")


def service_sections() -> dict[str, Any]:
    """Return service -> the type of its section."""
    return {
        name: getattr(importlib.import_module(f"services.{name}.config"), f"{name.capitalize()}Config")
        for name in SERVICES
    }


def read_all(path: Path | None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read and check every section of every service.

    Raises
    ------
    ConfigError : naming file, key, problem and remedy
    """
    return read_config(path, service_sections(), with_placeholder_password(os.environ if environ is None else environ))


def with_placeholder_password(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the secrets the supervisor sets for each service in its turn."""
    given = "set-by-the-supervisor"
    return {"TICKWIRE_NATS_PASSWORD": given, "TICKWIRE_TERMINAL_TOKEN": given, **environ}


class _MaskedEnvironment(dict[str, str]):
    """Every secret is there and reads as asterisks; overrides of keys stay what they are."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return MASK


def masked_config(path: Path | None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the resolved config as plain values, with everything secret replaced by asterisks."""
    source = os.environ if environ is None else environ
    overrides = {name: text for name, text in source.items() if name.startswith(ENV_PREFIX) and "__" in name}
    sections = read_config(path, service_sections(), _MaskedEnvironment(overrides))
    plain: dict[str, Any] = _mask(msgspec.to_builtins(sections))
    return plain


def _mask(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {inner: _mask(held, inner) for inner, held in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(held) for held in value]
    return MASK if value and isinstance(value, str) and _SECRET_KEY.search(key) else value


@dataclass(frozen=True)
class Key:
    """One key of the config file.

    Parameters
    ----------
    path : dotted, ``risk.max_spread_points``; ``*`` stands for a name of the user's choice, or an entry of a list
    kind : its type in words
    default : as YAML, empty when it holds keys of its own
    text : what it means, from the section's docstring
    depth : 1 for a section's own keys
    active : False below a ``*`` or below a section that is null by default: there is nothing to write until a name
        is chosen
    entries : of a list of sections that is not empty by default, each as YAML on one line
    """

    path: str
    kind: str
    default: str
    text: str
    depth: int
    active: bool = True
    entries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1]


def config_keys() -> Iterator[Key]:
    """Yield every section and key there is, parents before children, in the order they are declared."""
    shared = {name: kind for name, (kind, _) in SHARED_SECTIONS.items()}
    for section, kind in {**COMMON_SECTIONS, **shared, **service_sections()}.items():
        struct = _struct_in(kind)
        if struct is None:
            raise TypeError(f"section {section} is no struct")
        yield Key(section, "section", "", _summary(struct), 0)
        if kind is struct:
            yield from _keys_of(struct, section, 1, active=True)
        else:
            yield Key(f"{section}.*", "section per name", "", _summary(struct), 1, active=False)
            yield from _keys_of(struct, f"{section}.*", 2, active=False)


def _keys_of(struct: type[msgspec.Struct], prefix: str, depth: int, *, active: bool) -> Iterator[Key]:
    texts = parameter_texts(struct)
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        path, kind, inner = f"{prefix}.{field.encode_name}", _kind_text(hint), _struct_in(hint)
        text = texts.get(field.name) or (_summary(inner) if inner else _mentioned(field.name, texts))
        entries = _default_entries(field) if kind == "list of section" else ()
        default = "" if kind == "section" else f"{len(entries)} entries" if entries else _default_text(field)
        yield Key(path, kind, default, text, depth, active, entries)
        if inner is None:
            continue
        if kind.startswith("section") and not kind.startswith("section per"):
            yield from _keys_of(inner, path, depth + 1, active=active and kind == "section")
        else:
            per = "section per name" if typing.get_origin(hint) is dict else "section per entry"
            yield Key(f"{path}.*", per, "", _summary(inner), depth + 1, active=False)
            yield from _keys_of(inner, f"{path}.*", depth + 2, active=False)


_PARAMETER = re.compile(r"^(?P<names>\w+(?:, \w+)*) : (?P<text>.*)$")


def parameter_texts(kind: type) -> dict[str, str]:
    """Return field -> text from the ``Parameters`` part of a docstring."""
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    if "Parameters" not in lines:
        return {}
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in lines[lines.index("Parameters") + 2 :]:
        match = _PARAMETER.match(line)
        if match:
            names = match["names"].split(", ")
            texts |= dict.fromkeys(names, match["text"].strip())
        elif line.startswith(" "):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
        elif line.strip():
            names = []
    return texts


def _mentioned(name: str, texts: Mapping[str, str]) -> str:
    return next((text for text in texts.values() if f"``{name}``" in text), "")


def _summary(struct: type | None) -> str:
    return inspect.cleandoc((struct.__doc__ if struct else "") or "").split("\n\n")[0].replace("\n", " ")


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the struct an annotation is, or holds as a dict's or tuple's or optional's value."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    for inner in typing.get_args(annotation):
        found = _struct_in(inner)
        if found is not None:
            return found
    return None


_PLAIN_KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}


def _kind_text(annotation: Any) -> str:
    """Return a type in words, bounds included.

    >>> _kind_text(Annotated[int, msgspec.Meta(gt=0, le=9)]), _kind_text(tuple[str, ...])
    ('integer > 0, <= 9', 'list of text')
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _PLAIN_KINDS:
        return _PLAIN_KINDS[annotation]
    if origin is Annotated:
        bounds = ", ".join(filter(None, (_bounds(meta) for meta in arguments[1:])))
        return f"{_kind_text(arguments[0])} {bounds}".strip()
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind_text(inner) for inner in arguments)
    if origin is dict:
        return f"{_kind_text(arguments[1])} per name"
    if origin in (tuple, list):
        return f"list of {_kind_text(arguments[0])}"
    return "section" if _struct_in(annotation) else getattr(annotation, "__name__", str(annotation))


def _bounds(meta: Any) -> str:
    if not isinstance(meta, msgspec.Meta):
        return ""
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("min_length", "length >="), ("pattern", "matching"))
    return ", ".join(
        f"{sign} {_plain(value)}"
        for name, sign in signs
        if (value := getattr(meta, name)) is not None
    )


def _plain(bound: Any) -> str:
    """Return a bound as text; 20 and 20.0 read the same, for Python may hand out either of two equal annotations."""
    if isinstance(bound, float) and bound.is_integer():
        bound = int(bound)
    return f"{bound:,}" if isinstance(bound, int) else str(bound)


def _default_text(field: Any) -> str:
    if field.required:
        return "(required)"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return inline_yaml(msgspec.to_builtins(value))


def _default_entries(field: Any) -> tuple[str, ...]:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return tuple(inline_yaml(_without_defaults(entry)) for entry in value)


def _without_defaults(struct: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.fields(type(struct))
    return {
        field.encode_name: msgspec.to_builtins(getattr(struct, field.name))
        for field in fields
        if field.required or getattr(struct, field.name) != field.default
    }


def inline_yaml(value: Any) -> str:
    """Return a plain value as YAML on one line.

    >>> inline_yaml(""), inline_yaml(["EURUSD"]), inline_yaml(0.5), inline_yaml(True)
    ('""', '[EURUSD]', '0.5', 'true')
    """
    if value == "":
        return '""'
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()
