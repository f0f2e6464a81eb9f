"""What a run came to: ``summary.json`` computed from the messages its streams hold."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from libs.common.codec import encode
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.control import Heartbeat
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import TickBlock
from libs.common.messages.models import ModelEvent
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRefused,
    OrderSent,
    OrderUnknown,
    PositionClosed,
)
from libs.common.routing import subject_of
from tickwire.flow import number

HISTORY = ("ticks.*", "features.*", "predictions.*", "orders.>", "executions.*.*", "account.*", "models.*.*")
"""What is read back from the streams at the end of a run."""

_NS_PER_US = 1_000
_HASHED = (OrderApproved, OrderFilled, OrderPartiallyFilled, PositionClosed)


class Summary(msgspec.Struct, kw_only=True):
    """The stable keys of ``summary.json``."""

    ticks_published: int
    ticks_seen_by_features: int
    gaps_detected: int
    gaps_filled: int
    decisions: int
    predictions: int
    orders_approved: int
    orders_refused: dict[str, int]
    orders_sent: int
    orders_filled: int
    orders_unknown: int
    duplicate_orders: int
    trades: int
    final_equity: float
    max_drawdown_pct: float
    models: list[dict[str, Any]]
    latency_us: dict[str, dict[str, float | None]]
    orders_sha256: str


class Tally:
    """Folds messages into a summary. Each subject's messages must come in their order; repetitions are ignored."""

    def __init__(self) -> None:
        self._last_seq: dict[str, int] = {}
        self._ticks: dict[str, int] = {}
        self.tick_holes = 0
        self._block_built_ns: dict[int, int] = {}
        self._decisions = self._predictions = self._trades = 0
        self._refused: Counter[str] = Counter()
        self._approved: list[OrderApproved] = []
        self._sends: Counter[str] = Counter()
        self._deals: defaultdict[str, set[int]] = defaultdict(set)
        self._unknown: set[str] = set()
        self._equity = self._drawdown_pct = 0.0
        self._peaks: dict[str, float] = {}
        self._models: list[ModelEvent] = []
        self._hashed: defaultdict[str, list[bytes]] = defaultdict(list)

    def hear(self, message: Message) -> None:
        """Take the next message."""
        subject = subject_of(message)
        if message.seq <= self._last_seq.get(subject, 0):
            return
        self._last_seq[subject] = message.seq
        if isinstance(message, TickBlock):
            self._hear_ticks(message)
        elif isinstance(message, AccountSnapshot):
            self._hear_account(message)
        elif isinstance(message, ModelEvent):
            self._models.append(message)
        elif isinstance(message, FeatureBlock):
            self._decisions += 1
        elif isinstance(message, Prediction):
            self._predictions += 1
        else:
            self._hear_order(message)
        if isinstance(message, _HASHED):
            self._hashed[subject].append(_without_wall_clock(message))

    def _hear_ticks(self, block: TickBlock) -> None:
        held = self._ticks.get(block.symbol)
        if held is not None and block.first_tick != held + 1:
            self.tick_holes += 1
        # Ticks are numbered from 1 without holes, so the last number is how many were published, even where the
        # stream has dropped its oldest blocks.
        self._ticks[block.symbol] = block.first_tick + len(block) - 1
        if block.step:
            self._block_built_ns[block.step] = block.ts_init_ns

    def _hear_account(self, account: AccountSnapshot) -> None:
        self._equity = account.equity_ccy
        peak = max(self._peaks.get(account.account, account.equity_ccy), account.equity_ccy)
        self._peaks[account.account] = peak
        if peak > 0.0:
            self._drawdown_pct = max(self._drawdown_pct, 100.0 * (peak - account.equity_ccy) / peak)

    def _hear_order(self, message: Message) -> None:
        if isinstance(message, OrderApproved):
            self._approved.append(message)
        elif isinstance(message, OrderRefused):
            self._refused[message.reason.value] += 1
        elif isinstance(message, OrderSent):
            self._sends[message.order_id] += 1
        elif isinstance(message, OrderFilled | OrderPartiallyFilled):
            self._deals[message.order_id].add(message.deal)
        elif isinstance(message, OrderUnknown):
            self._unknown.add(message.order_id)
        elif isinstance(message, PositionClosed):
            self._trades += 1

    def duplicates(self) -> list[str]:
        """Return the ids of orders that were sent more than once or executed by more than one deal."""
        sent_twice = {order_id for order_id, count in self._sends.items() if count > 1}
        dealt_twice = {order_id for order_id, deals in self._deals.items() if len(deals) > 1}
        return sorted(sent_twice | dealt_twice)

    def latencies_us(self) -> list[float]:
        """Return, per approved order, the time from building its tick block to building the approval, µs."""
        return [
            (order.ts_init_ns - self._block_built_ns[order.step]) / _NS_PER_US
            for order in self._approved
            if order.step in self._block_built_ns
        ]

    def summary(self, beats: Mapping[str, Heartbeat], gaps: tuple[int, int]) -> Summary:
        """Return the summary.

        Parameters
        ----------
        beats : the last heartbeat of each service
        gaps : holes in sequences found and filled, over all services and their restarts
        """
        features = beats.get("features")
        latencies = sorted(self.latencies_us())
        return Summary(
            ticks_published=sum(self._ticks.values()),
            ticks_seen_by_features=0 if features is None else int(number(features.details.get("ticks_seen"))),
            gaps_detected=gaps[0],
            gaps_filled=gaps[1],
            decisions=self._decisions,
            predictions=self._predictions,
            orders_approved=len(self._approved),
            orders_refused=dict(sorted(self._refused.items())),
            orders_sent=len(self._sends),
            orders_filled=len(self._deals),
            orders_unknown=len(self._unknown),
            duplicate_orders=len(self.duplicates()),
            trades=self._trades,
            final_equity=self._equity,
            max_drawdown_pct=self._drawdown_pct,
            models=[_model(event) for event in sorted(self._models, key=_model_order)],
            latency_us={"tick_to_order": {"p50": percentile(latencies, 50.0), "p99": percentile(latencies, 99.0)}},
            orders_sha256=self.orders_sha256(),
        )

    def orders_sha256(self) -> str:
        """Return the hash over approved orders and fills, by subject and then in their order, without wall time."""
        digest = hashlib.sha256()
        for subject in sorted(self._hashed):
            for line in self._hashed[subject]:
                digest.update(subject.encode() + b" " + line + b"\n")
        return digest.hexdigest()


def _without_wall_clock(message: Message) -> bytes:
    """Return a message's JSON without what differs between two equal runs: wall time, numbering, whose key signed."""
    changes: dict[str, Any] = {"ts_init_ns": 0, "seq": 0}
    if isinstance(message, OrderApproved):
        changes |= {"key_id": "", "signature": ""}
    return encode(msgspec.structs.replace(message, **changes))


def _model(event: ModelEvent) -> dict[str, Any]:
    word = type(event).__name__.removeprefix("Model").lower()
    return {"name": event.name, "version": event.version, "event": word, "metrics": dict(event.metrics)}


def _model_order(event: ModelEvent) -> tuple[int, str, int, str]:
    return (event.ts_init_ns, event.name, event.version, type(event).__name__)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of ascending values, rounded to 0.1; ``None`` when there are none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50.0), percentile([], 50.0)
    (2.0, None)
    """
    if not ordered:
        return None
    rank = max(-(-len(ordered) * percent // 100), 1)
    return round(ordered[int(rank) - 1], 1)


class GapCount:
    """Adds up the holes that services report in heartbeats; a restarted service begins again at 0."""

    def __init__(self) -> None:
        self._by_instance: dict[tuple[str, str], tuple[int, int]] = {}

    def hear(self, beat: Heartbeat) -> None:
        """Take the next heartbeat."""
        self._by_instance[(beat.service, beat.instance)] = (
            int(number(beat.details.get("gaps_detected"))),
            int(number(beat.details.get("gaps_filled"))),
        )

    def total(self) -> tuple[int, int]:
        """Return holes found and holes filled."""
        found = self._by_instance.values()
        return sum(pair[0] for pair in found), sum(pair[1] for pair in found)


def broken_promises(summary: Summary, tally: Tally) -> list[str]:
    """Return what must never happen and did, one sentence each."""
    problems = []
    if summary.duplicate_orders:
        ids = ", ".join(tally.duplicates()[:3])
        problems.append(f"{summary.duplicate_orders} orders were sent or executed more than once ({ids})")
    if summary.ticks_published != summary.ticks_seen_by_features:
        problems.append(
            f"features saw {summary.ticks_seen_by_features:,} of {summary.ticks_published:,} published ticks"
        )
    if tally.tick_holes:
        problems.append(f"the tick stream has {tally.tick_holes} holes")
    return problems
