"""What people tell the system, and what the system says of itself."""

from enum import StrEnum

from libs.common.messages.base import Message


class Halt(Message, frozen=True, kw_only=True):
    """Stop opening risk. Latched: only ``Resume`` ends it."""

    command_id: str
    issued_by: str
    reason: str


class Resume(Message, frozen=True, kw_only=True):
    """Trade again after a halt; issued by a person."""

    command_id: str
    issued_by: str
    reason: str


class Flatten(Message, frozen=True, kw_only=True):
    """Halt, and close every position of ours; ``symbol`` limits it to one."""

    command_id: str
    issued_by: str
    reason: str
    symbol: str = ""


class RetrainModel(Message, frozen=True, kw_only=True):
    """Train a challenger now."""

    command_id: str
    issued_by: str
    symbol: str


class PromoteModel(Message, frozen=True, kw_only=True):
    """Make a stored version the champion, by a person's decision (also how a rollback is asked for)."""

    command_id: str
    issued_by: str
    name: str
    version: int
    rollback: bool = False


class AdoptModel(Message, frozen=True, kw_only=True):
    """Take a signed bundle out of the model store as one more version of its model; it shadows until it is promoted."""

    command_id: str
    issued_by: str
    name: str
    version: int
    bundle_sha256: str


class TradingHalted(Message, frozen=True, kw_only=True):
    """Risk has halted, on a command or because a limit tripped."""

    account: str
    reason: str
    detail: str = ""


class TradingResumed(Message, frozen=True, kw_only=True):
    """Risk trades again."""

    account: str
    issued_by: str


class Severity(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Message, frozen=True, kw_only=True):
    """Something a person should know."""

    severity: Severity
    service: str
    name: str
    detail: str


class Heartbeat(Message, frozen=True, kw_only=True):
    """A service is alive; sent every second on ``health.<service>``.

    Parameters
    ----------
    instance : unique per process start
    ready : all inputs joined, nothing replaying
    lag_ms : worst event-loop delay since the last heartbeat, milliseconds
    seen : last sequence number handled, by subject
    sent : last sequence number published, by subject
    details : service-specific figures for ``tickwire status`` (numbers and short texts)
    """

    service: str
    instance: str
    version: str
    ready: bool
    lag_ms: float
    seen: dict[str, int]
    sent: dict[str, int]
    details: dict[str, float | str] = {}


class Watermark(Message, frozen=True, kw_only=True):
    """A service has fully handled every tick block up to ``step`` and published what followed from them.

    Parameters
    ----------
    service : who
    stage : ``market`` (executor only: ticks handled, orders not yet) or ``settled``
    sent : last sequence number published, by subject, when the mark was made
    """

    service: str
    stage: str
    sent: dict[str, int]


class DeadLetter(Message, frozen=True, kw_only=True):
    """A message nobody could decode or that a service could not survive; published on ``deadletter.<service>``.

    Parameters
    ----------
    subject : where it came from
    error : what was wrong, with the field's path
    payload : the first 4,096 bytes, as text with escapes
    size : its whole size, bytes
    """

    service: str
    subject: str
    error: str
    payload: str
    size: int


