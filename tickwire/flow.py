"""Who hears what, and whether everything sent has been handled."""

from collections.abc import Mapping, Sequence

from libs.common import subjects
from libs.common.messages.control import Heartbeat

HEARS: dict[str, tuple[str, ...]] = {
    "features": ("ticks.*",),
    "inference": ("features.*", "models.*.promoted", "models.*.shadowed", "models.*.retired"),
    "risk": ("ticks.*", "account.*", "executions.*.*", "predictions.*"),
    "executor": ("ticks.*", "orders.approved.*.*"),
    "trainer": ("ticks.*", "features.*", "drift.*", "models.*.rejected"),
}
"""Service -> the sequenced patterns its core hears (kept equal to the cores' own ``HEARS`` by a test)."""


def sent_by_all(beats: Mapping[str, Heartbeat]) -> dict[str, int]:
    """Return the last sequence number published, by subject, over all services."""
    sent: dict[str, int] = {}
    for beat in beats.values():
        for subject, seq in beat.sent.items():
            sent[subject] = max(seq, sent.get(subject, 0))
    return sent


def sequence_lags(
    beats: Mapping[str, Heartbeat], stored: Mapping[str, int] | None = None
) -> dict[str, dict[str, int]]:
    """Return service -> subject -> messages sent but not yet handled (only subjects it hears).

    Two heartbeats of different services are up to a second apart, so a small lag under load is normal.
    """
    sent = sent_by_all(beats)
    for subject, seq in (stored or {}).items():
        sent[subject] = max(seq, sent.get(subject, 0))
    lags: dict[str, dict[str, int]] = {}
    for service, beat in beats.items():
        heard = HEARS.get(service, ())
        lags[service] = {
            subject: max(seq - beat.seen.get(subject, 0), 0)
            for subject, seq in sorted(sent.items())
            if any(subjects.matches(pattern, subject) for pattern in heard)
        }
    return lags


def has_settled(
    beats: Mapping[str, Heartbeat], services: Sequence[str], stored: Mapping[str, int] | None = None
) -> bool:
    """Tell whether services have handled everything sent to them and wait for nothing (no training, no broker).

    Parameters
    ----------
    beats : newest heartbeat by service, of services that ended too
    services : the ones asked
    stored : last sequence number a stream is known to hold, by subject, where it is newer than any heartbeat
    """
    for service in services:
        beat = beats.get(service)
        if beat is None or not beat.ready:
            return False
        if number(beat.details.get("effects_pending")) or number(beat.details.get("inbox")):
            return False
    lags = sequence_lags(beats, stored)
    return not any(lag for service in services for lag in lags.get(service, {}).values())


def number(value: float | str | None) -> float:
    """Return a heartbeat figure as a number; 0 for none or a text that is none.

    >>> number(3), number("2.5"), number("idle"), number(None)
    (3.0, 2.5, 0.0, 0.0)
    """
    try:
        return float(value or 0.0)
    except ValueError:
        return 0.0
