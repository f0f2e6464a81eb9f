"""Reads a point-in-time calendar: events with the time since when each was known."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from libs.common.errors import DataError
from services.features.calendar import IMPACTS, NS_PER_S, CalendarEvent

REQUIRED = ("time_utc", "currency", "impact")
SEEN = "first_seen_utc"


def read_calendar(file: str) -> tuple[CalendarEvent, ...]:
    """Read a CSV file of economic events.

    Parameters
    ----------
    file : with the columns time_utc, currency, impact (low, medium, high; others are left out) and first_seen_utc;
        times in seconds since 1970 or as 2026-03-06T13:30:00Z. Without the last column an event counts only once
        it has happened. Rows without a time are left out.

    Returns
    -------
    Events by time.

    Raises
    ------
    DataError : naming file, line, field and remedy
    """
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(file, f"cannot be read ({error})", remedy="Name a CSV file in features.calendar") from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            file, f"no column {', '.join(missing)}", 1, f"The first line names the columns {', '.join((*REQUIRED, SEEN))}"
        )
    events = []
    for row in reader:
        line = reader.line_num
        impact = IMPACTS.get((row["impact"] or "").strip().lower())
        if not (row["time_utc"] or "").strip() or impact is None:
            continue
        time_ns = _time_ns(row["time_utc"], file, line, "time_utc")
        seen = row.get(SEEN) or ""
        seen_ns = _time_ns(seen, file, line, SEEN) if seen.strip() else time_ns
        events.append(CalendarEvent(time_ns, seen_ns, (row["currency"] or "").strip().upper(), impact))
    return tuple(sorted(events, key=lambda event: (event.time_ns, event.first_seen_ns)))


def _time_ns(text: str, file: str, line: int, column: str) -> int:
    text = text.strip()
    try:
        if text.replace(".", "", 1).isdigit():
            return int(float(text)) * NS_PER_S
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return int(moment.timestamp()) * NS_PER_S
    except (ValueError, OverflowError):
        raise DataError(
            file, f"{column} is '{text}'", line, "Write seconds since 1970 or 2026-03-06T13:30:00Z"
        ) from None
