"""What streams there are, how each subject is delivered, who may write and who may read: all of it as data."""

from enum import StrEnum
from functools import lru_cache

import msgspec

from libs.common import subjects

MODEL_BUCKET = "models"
"""Object store bucket of the model bundles."""


class Delivery(StrEnum):
    """How messages of a subject reach a reader.

    SEQUENCED: one writer per subject numbers its messages; readers hear them at core speed and fill holes from the
    stream. COMMANDED: many writers, awaited by the stream; readers take the stream's own order. EPHEMERAL: at most
    once; the next one says it again.
    """

    SEQUENCED = "sequenced"
    COMMANDED = "commanded"
    EPHEMERAL = "ephemeral"


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One JetStream stream.

    Parameters
    ----------
    subjects : what it captures
    fsync : True: every message is on disk before it is acknowledged; False: high rate, ``persist_mode: async``
    max_age_s : how long messages are kept, 0 for ever
    max_share : largest share of ``bus.max_stream_bytes`` the stream may take
    """

    name: str
    subjects: tuple[str, ...]
    fsync: bool
    max_age_s: int
    max_share: float


_DAY_S = 86_400
STREAMS = (
    StreamSpec(name="TICKS", subjects=("ticks.*", "feed.*"), fsync=False, max_age_s=14 * _DAY_S, max_share=1.0),
    StreamSpec(name="BARS", subjects=("bars.*.*",), fsync=False, max_age_s=90 * _DAY_S, max_share=0.25),
    StreamSpec(name="FEATURES", subjects=("features.*",), fsync=False, max_age_s=14 * _DAY_S, max_share=1.0),
    StreamSpec(
        name="PREDICTIONS", subjects=("predictions.*", "shadows.*"), fsync=False, max_age_s=14 * _DAY_S, max_share=0.5
    ),
    StreamSpec(
        name="ORDERS", subjects=("orders.approved.*.*", "orders.refused.*.*"), fsync=True, max_age_s=0, max_share=0.5
    ),
    StreamSpec(name="EXECUTIONS", subjects=("executions.*.*",), fsync=True, max_age_s=0, max_share=0.5),
    StreamSpec(name="ACCOUNT", subjects=("account.*",), fsync=False, max_age_s=30 * _DAY_S, max_share=0.25),
    StreamSpec(name="MODELS", subjects=("models.*.*",), fsync=True, max_age_s=0, max_share=0.1),
    StreamSpec(name="CONTROL", subjects=("control.*", "risk.*"), fsync=True, max_age_s=0, max_share=0.1),
    StreamSpec(
        name="EVENTS",
        subjects=("drift.*", "alerts.*", "deadletter.*"),
        fsync=False,
        max_age_s=30 * _DAY_S,
        max_share=0.1,
    ),
)

_EPHEMERAL_ROOTS = frozenset({"health", "alerts", "deadletter", "ea"})
_COMMANDED_ROOTS = frozenset({"control"})


@lru_cache(maxsize=4_096)
@lru_cache(maxsize=4_096)
def delivery_of(subject: str) -> Delivery:
    """Return how a subject (or a pattern below one root) is delivered.

    >>> delivery_of("ticks.EURUSD").value, delivery_of("control.halt").value, delivery_of("health.risk").value
    ('sequenced', 'commanded', 'ephemeral')
    """
    root = subject.split(".", 1)[0]
    if root in _EPHEMERAL_ROOTS:
        return Delivery.EPHEMERAL
    if root in _COMMANDED_ROOTS:
        return Delivery.COMMANDED
    return Delivery.SEQUENCED


COMMANDS = "control.*"
"""All commands: whoever hears some of them reads all, because their order matters (a halt, then a resume)."""
COMMANDS_SEEN = "@control"
"""Under which key a reader counts commands: the stream's number, one for all of them."""


@lru_cache(maxsize=4_096)
def seen_key(subject: str) -> str:
    """Return the key under which the last number handled is kept: the subject, or one key for all commands.

    >>> seen_key("ticks.EURUSD"), seen_key("control.halt")
    ('ticks.EURUSD', '@control')
    """
    return COMMANDS_SEEN if delivery_of(subject) is Delivery.COMMANDED else subject


def stream_of(subject: str) -> StreamSpec | None:
    """Return the stream that captures a subject (or a pattern of subjects), ``None`` when none does."""
    for spec in STREAMS:
        for captured in spec.subjects:
            if subjects.matches(captured, subject) or (captured.split(".", 1)[0] == subject.split(".", 1)[0] and (
                ">" in subject or "*" in subject
            )):
                return spec
    return None


WRITES: dict[str, tuple[str, ...]] = {
    "ingest": ("ticks.*", "feed.*", "ea.*.history", "ea.*.books.ingest"),
    "features": ("features.*", "bars.*.*"),
    "inference": ("predictions.*", "shadows.*", "drift.*", "models.*.loaded", "models.*.rejected"),
    "risk": ("orders.approved.*.*", "orders.refused.*.*", "risk.*"),
    "executor": ("executions.*.*", "account.*", "ea.*.orders", "ea.*.books.executor"),
    "trainer": (
        "models.*.published", "models.*.shadowed", "models.*.promoted", "models.*.refused", "models.*.retired",
    ),
    "operator": ("control.*",),
    "observer": (),
    "ea": (
        "ea.*.hello", "ea.*.heartbeat", "ea.*.ticks.*", "ea.*.bars.*", "ea.*.specification.*", "ea.*.calendar",
        "ea.*.account", "ea.*.transactions", "ea.*.decide.*", "ea.*.predictions.*", "ea.*.models.*",
    ),
}
"""Who may publish what, beside its own health, alerts, dead letters and ``control.halt`` (stopping is everyone's right).
No subject has two writers but ``control``."""

READS: dict[str, tuple[str, ...]] = {
    "ingest": (
        "ticks.*", "feed.*", "ea.*.hello", "ea.*.heartbeat", "ea.*.ticks.*", "ea.*.bars.*", "ea.*.specification.*",
        "ea.*.calendar",
    ),
    "features": ("ticks.*", "features.*", "bars.*.*"),
    "inference": ("features.*", "models.*.*", "predictions.*", "shadows.*", "drift.*"),
    "risk": ("ticks.*", "account.*", "executions.>", "predictions.*", "control.*", "risk.*", "orders.>"),
    "executor": (
        "ticks.*", "orders.approved.>", "control.*", "executions.>", "account.*", "ea.*.hello", "ea.*.heartbeat",
        "ea.*.account", "ea.*.transactions", "ea.*.specification.*",
    ),
    "trainer": ("ticks.*", "features.*", "drift.*", "control.*", "models.*.*"),
    "operator": (">",),
    "observer": (">",),
    "ea": (
        "ea.*.orders", "ea.*.books.*", "ea.*.history", "health.risk", "features.*", "models.*.promoted",
        "models.*.retired",
    ),
}
"""Who may subscribe to what, own subjects included (a publisher asks its stream what it holds)."""

SERVICES = ("ingest", "features", "inference", "risk", "executor", "trainer")
"""Every service, in the order the flow runs."""
USERS = (*SERVICES, "operator", "observer", "ea", "admin", "system")
"""Every user of the server. ``ea`` is for Expert Advisors, ``admin`` creates streams, ``system`` asks the server about
itself."""
