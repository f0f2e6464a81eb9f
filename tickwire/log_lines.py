"""Service log lines as people like them."""

import json
from typing import Any

from rich.text import Text

SERVICE_COLOURS = {
    "nats": "white",
    "ingest": "cyan",
    "features": "blue",
    "inference": "magenta",
    "risk": "yellow",
    "executor": "green",
    "trainer": "bright_blue",
    "tickwire": "bold",
}
_LEVEL_COLOURS = {"debug": "dim", "warning": "yellow", "error": "bold red", "critical": "bold red reverse"}
_NAME_WIDTH = max(map(len, SERVICE_COLOURS))
_SHOWN_ELSEWHERE = {"event", "level", "timestamp", "ts", "time", "service", "logger", "name", "exception"}


def format_log_line(name: str, line: str) -> Text:
    """Return one line of a service as coloured text.

    Parameters
    ----------
    name : who wrote it
    line : a JSON object with ``event``, ``level`` and any fields, or any other text (kept as it is)
    """
    text = Text(f"{name:<{_NAME_WIDTH}} ", style=SERVICE_COLOURS.get(name, "white"))
    record = _record(line)
    if record is None:
        return text.append(line, style="default")
    level = str(record.get("level", "info"))
    stamp = str(record.get("timestamp") or record.get("ts") or record.get("time") or "")
    text.append(_clock(stamp), style="dim")
    text.append(f"{level:<8}", style=_LEVEL_COLOURS.get(level, "default"))
    text.append(str(record.get("event", "")), style=_LEVEL_COLOURS.get(level, "default"))
    for key, value in record.items():
        if key not in _SHOWN_ELSEWHERE:
            text.append(f" {key}=", style="dim")
            text.append(value if isinstance(value, str) else json.dumps(value), style="default")
    if "exception" in record:
        text.append(f"\n{record['exception']}", style="red")
    return text


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _clock(stamp: str) -> str:
    """Return the time of day of an ISO stamp, to the millisecond."""
    _, separator, time_of_day = stamp.partition("T")
    return f"{time_of_day.rstrip('Z')[:12]:<12} " if separator else ""
