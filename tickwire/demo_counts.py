"""What the demo shows while it runs: counted from what an observer hears, cheaply and without any guarantee."""

from collections import Counter, deque

import msgspec

from libs.common.codec import Codec
from libs.common.errors import MalformedMessage
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.control import Alert, TradingHalted, TradingResumed
from libs.common.messages.market import FeedStatus
from libs.common.messages.models import ModelEvent, ModelPromoted, ModelRefused, ModelRejected
from tickwire.connect import Heartbeats
from tickwire.flow import number
from tickwire.tally import GapCount

PATTERNS = (
    "health.*", "feed.*", "features.*", "predictions.*", "orders.>", "executions.*.*", "account.*", "models.*.*",
    "risk.*", "alerts.*", "drift.*",
)
"""Everything but the ticks themselves, which would cost more to hear than to trade."""
EVENTS_KEPT = 8
_any = Codec()


class _Head(msgspec.Struct):
    """The part of a message that is counted."""

    type: str = ""
    reason: str = ""
    profit_ccy: float = 0.0


_heads = msgspec.json.Decoder(_Head)
_feeds = Codec((FeedStatus,))
_accounts = Codec((AccountSnapshot,))


class DemoCounts:
    """Counts by what is heard."""

    def __init__(self) -> None:
        self.beats = Heartbeats()
        self.gaps = GapCount()
        self.feeds: dict[str, FeedStatus] = {}
        self.roots: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.executions: Counter[str] = Counter()
        self.profit_ccy = 0.0
        self.halted = ""
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self.new_events: deque[str] = deque()
        self._account: tuple[str, bytes] | None = None

    def hear(self, subject: str, payload: bytes) -> None:
        """Take one message of ``PATTERNS``; what cannot be decoded is not counted."""
        root = subject.split(".", 1)[0]
        try:
            self._count(root, subject, payload)
        except (MalformedMessage, msgspec.MsgspecError):
            self.roots["malformed"] += 1

    def _count(self, root: str, subject: str, payload: bytes) -> None:
        self.roots[root] += 1
        if root == "health":
            self._hear_health(subject, payload)
        elif root == "account":
            self._account = (subject, payload)
        elif root == "feed":
            status = _feeds.decode(payload, subject)
            self.feeds[status.symbol] = status
        elif root in ("orders", "executions"):
            self._hear_order(root, _heads.decode(payload))
        elif root in ("models", "risk", "alerts"):
            self._hear_event(_any.decode(payload, subject))

    def _hear_health(self, subject: str, payload: bytes) -> None:
        self.beats.hear(subject, payload)
        beat = self.beats.latest.get(subject.rpartition(".")[2])
        if beat is not None:
            self.gaps.hear(beat)

    def _hear_order(self, root: str, head: _Head) -> None:
        if root == "executions":
            self.executions[head.type] += 1
            self.profit_ccy += head.profit_ccy
            return
        self.orders[head.type] += 1
        if head.type == "OrderRefused":
            self.refusals[head.reason] += 1

    def _hear_event(self, message: object) -> None:
        text = describe_event(message)
        if isinstance(message, TradingHalted):
            self.halted = message.reason
        elif isinstance(message, TradingResumed):
            self.halted = ""
        self.events.append(text)
        self.new_events.append(text)

    @property
    def account(self) -> AccountSnapshot | None:
        """The newest account; decoded only when somebody looks."""
        if self._account is None:
            return None
        try:
            decoded: AccountSnapshot = _accounts.decode(self._account[1], self._account[0])
        except MalformedMessage:
            return None
        return decoded

    @property
    def ticks_published(self) -> int:
        """Good ticks ingest has passed on."""
        beat = self.beats.latest.get("ingest")
        if beat is None:
            return sum(status.ticks for status in self.feeds.values())
        return int(number(beat.details.get("ticks")))

    @property
    def ticks_seen(self) -> int:
        """Ticks the features service has handled."""
        beat = self.beats.latest.get("features")
        return 0 if beat is None else int(number(beat.details.get("ticks_seen")))

    def feeds_finished(self, symbols: tuple[str, ...]) -> bool:
        """Tell whether ingest has sent the last tick of every symbol."""
        return all(symbol in self.feeds and self.feeds[symbol].finished for symbol in symbols)


def describe_event(message: object) -> str:
    """Return a model event, a halt or an alert as one line."""
    if isinstance(message, ModelEvent):
        word = type(message).__name__.removeprefix("Model").lower()
        shown = sorted(message.metrics.items())[:4] if isinstance(message, ModelPromoted | ModelRefused) else []
        figures = " ".join(f"{name}={value:.4g}" for name, value in shown)
        reason = f": {message.reason}" if isinstance(message, ModelRefused | ModelRejected) else ""
        return f"model {message.name} v{message.version} {word}{reason} {figures}".rstrip()
    if isinstance(message, TradingHalted):
        return f"risk HALTED: {message.reason} {message.detail}".rstrip()
    if isinstance(message, TradingResumed):
        return f"risk resumed by {message.issued_by}"
    if isinstance(message, Alert):
        return f"alert ({message.severity.value}) {message.service} {message.name}: {message.detail}"
    return type(message).__name__
