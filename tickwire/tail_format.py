"""Bus messages as lines for people, and the filters of ``tickwire tail``."""

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.text import Text

from libs.common.errors import ConfigError

_NS_PER_S = 1_000_000_000
_SHOWN_ELSEWHERE = {"type", "ts_event_ns", "ts_init_ns"}
_QUIET_WHEN_ZERO = {"seq", "step"}
_LONG_LIST = 6
_SIGNATURE_SHOWN = 8
_COLOURS = {
    "ticks": "cyan", "feed": "cyan", "bars": "cyan",
    "features": "blue",
    "predictions": "magenta", "shadows": "magenta",
    "orders": "yellow",
    "executions": "green", "account": "green",
    "models": "bright_blue",
    "control": "bold red", "risk": "bold red", "alerts": "bold red", "deadletter": "bold red", "drift": "red",
    "health": "dim",
}
_LOUD_TYPES = {
    "OrderRefused": "red", "OrderRejected": "bold red", "OrderUnknown": "bold red", "OrderFilled": "bold green",
    "ModelPromoted": "bold green", "ModelRefused": "red", "ModelRejected": "bold red",
}


def format_message(subject: str, payload: bytes) -> Text:
    """Return one message as a coloured line: time, subject, type, then ``key=value``.

    A payload that is no JSON object is shown as text with a mark.
    """
    colour = _COLOURS.get(subject.split(".", 1)[0], "default")
    record = decode_record(payload)
    if record is None:
        text = Text(f"{'':<15}{subject}  ", style=colour)
        return text.append(f"(not a JSON object) {payload[:200]!r}", style="bold red")
    text = Text(f"{clock(record.get('ts_event_ns'))}  ", style="dim")
    text.append(f"{subject}  ", style=colour)
    kind = str(record.get("type", "?"))
    text.append(kind, style=_LOUD_TYPES.get(kind, f"bold {colour}" if colour != "dim" else "dim"))
    for key, value in record.items():
        if key in _SHOWN_ELSEWHERE or (key in _QUIET_WHEN_ZERO and not value):
            continue
        text.append(f" {key}=", style="dim")
        text.append(format_value(key, value), style="default")
    return text


def decode_record(payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a payload, ``None`` when it is none."""
    try:
        record = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def format_value(key: str, value: Any) -> str:
    """Return a field's value for a line: long columns as their length and ends, times as clock times.

    >>> format_value("bid", [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7])
    '[7: 1.1 .. 1.7]'
    >>> format_value("profit_ccy", -12.340000001), format_value("side", "buy")
    ('-12.34', 'buy')
    """
    if key.endswith("_ns") and isinstance(value, int) and value > _NS_PER_S:
        return clock(value)
    if key == "signature" and isinstance(value, str):
        return value[:_SIGNATURE_SHOWN] + "..." if value else "none"
    if isinstance(value, list):
        return _list(key, value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inner}: {format_value(inner, held)}" for inner, held in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.8g}"
    if value is None:
        return "none"
    return str(value)


def _list(key: str, values: list[Any]) -> str:
    if len(values) > _LONG_LIST:
        return f"[{len(values)}: {format_value(key, values[0])} .. {format_value(key, values[-1])}]"
    return "[" + ", ".join(format_value(key, value) for value in values) + "]"


def clock(ts_ns: Any) -> str:
    """Return a time of day in UTC to the millisecond, with the date when it is not today's.

    >>> clock(1_400_000_000_123_000_000)
    '2014-05-13 16:53:20.123'
    """
    if not isinstance(ts_ns, int) or ts_ns <= 0:
        return "-"
    try:
        moment = datetime.fromtimestamp(ts_ns // _NS_PER_S, UTC)
    except (OverflowError, ValueError, OSError):
        return str(ts_ns)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ts_ns % _NS_PER_S // 1_000_000:03d}"


_FILTER = re.compile(r"^\s*\.?(?P<path>[\w.%-]+?)\s*(?P<operator>==|!=|>=|<=|=|>|<|~)\s*(?P<value>.*?)\s*$")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}


class Filter:
    """One condition on a message's fields: ``side=buy``, ``volume_lots>=0.1``, ``reason!=halted``, ``detail~stop``.

    A path may go down: ``metrics.log_loss<0.69``, ``positions.0.symbol=EURUSD``. A message without the field does
    not pass, except for ``!=``.
    """

    def __init__(self, text: str) -> None:
        """Read the condition.

        Raises
        ------
        ConfigError : when it has no operator or compares by order with something that is no number
        """
        match = _FILTER.match(text)
        if match is None:
            raise ConfigError(f"filter '{text}': expected field=value; also !=, >, >=, <, <=, ~ (contains)")
        self._path = match["path"].split(".")
        self._operator, self._wanted = match["operator"], match["value"].strip("\"'")
        if self._operator in _ORDER and _as_number(self._wanted) is None:
            raise ConfigError(f"filter '{text}': {self._operator} needs a number, '{self._wanted}' is none")

    def passes(self, record: dict[str, Any]) -> bool:
        """Tell whether a decoded message meets the condition."""
        found, value = _at(record, self._path)
        if self._operator == "!=":
            return not found or not _equal(value, self._wanted)
        if not found:
            return False
        if self._operator == "~":
            return self._wanted.lower() in str(value).lower()
        if self._operator in _ORDER:
            number = _as_number(value)
            return number is not None and _ORDER[self._operator](number, _as_number(self._wanted))
        return _equal(value, self._wanted)


def _at(value: Any, path: list[str]) -> tuple[bool, Any]:
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False, None
    return True, value


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value] == wanted.lower().replace("none", "null")
    number, wanted_number = _as_number(value), _as_number(wanted)
    if number is not None and wanted_number is not None:
        return number == wanted_number
    return str(value) == wanted


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
