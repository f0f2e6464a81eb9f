"""The summary of a run, from a list of messages written by hand."""

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.control import Heartbeat
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.models import ModelPromoted, ModelPublished, ModelRefused
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPurpose,
    OrderRefused,
    OrderSent,
    OrderUnknown,
    PositionClosed,
    RefusalReason,
)
from libs.common.routing import subject_of
from tickwire.tally import GapCount, Summary, Tally, broken_promises, percentile

EVENT_NS = 1_400_000_000_000_000_000
ISSUE_KEYS = {
    "ticks_published", "ticks_seen_by_features", "gaps_detected", "gaps_filled", "decisions", "predictions",
    "orders_approved", "orders_refused", "orders_sent", "orders_filled", "orders_unknown", "duplicate_orders",
    "trades", "final_equity", "max_drawdown_pct", "models", "latency_us", "orders_sha256",
}  # fmt: skip


class Stream:
    """Numbers messages per subject, as the publishers do."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self.wall_ns = wall_ns
        self.seqs: dict[str, int] = {}
        self.messages: list[Message] = []

    def add(self, kind: type[Message], step: int = 0, late_us: int = 0, **fields: Any) -> Message:
        message = kind(ts_event_ns=EVENT_NS, ts_init_ns=self.wall_ns + late_us * 1_000, step=step, **fields)
        subject = subject_of(message)
        self.seqs[subject] = self.seqs.get(subject, 0) + 1
        numbered = msgspec.structs.replace(message, seq=self.seqs[subject])
        self.messages.append(numbered)
        return numbered

    def ticks(self, first: int, count: int, step: int = 0, symbol: str = "EURUSD") -> None:
        prices = np.full(count, 1.1)
        self.add(
            TickBlock, step=step, symbol=symbol, first_tick=first, bid=prices, ask=prices + 1e-4,
            time_ns=np.full(count, EVENT_NS, dtype=np.int64),
        )

    def approve(self, order_id: str, step: int, late_us: int, signature: str = "s") -> None:
        self.add(
            OrderApproved, step=step, late_us=late_us, order_id=order_id, account="paper", symbol="EURUSD",
            side=Side.BUY, volume_lots=0.1, price=1.1, sl=1.0, tp=1.2, purpose=OrderPurpose.OPEN, position_id=0,
            max_slippage_points=5, horizon_s=60, expires_ns=EVENT_NS, model="m", version=1, key_id=signature,
            signature=signature,
        )

    def send(self, order_id: str) -> None:
        self.add(
            OrderSent, order_id=order_id, account="paper", symbol="EURUSD", side=Side.BUY, volume_lots=0.1, magic=1
        )

    def fill(self, order_id: str, deal: int, price: float = 1.1) -> None:
        self.add(
            OrderFilled, order_id=order_id, account="paper", symbol="EURUSD", side=Side.BUY, volume_lots=0.1,
            price=price, deal=deal, position_id=deal, slippage_points=0.0, commission_ccy=0.0,
        )

    def equity(self, equity: float) -> None:
        self.add(
            AccountSnapshot, account="paper", currency="USD", hedging=True, leverage=100.0, balance_ccy=equity,
            equity_ccy=equity, margin_ccy=0.0, margin_free_ccy=equity, positions=(), unknown_lots={},
            day_start_equity_ccy=equity, peak_equity_ccy=equity,
        )

    def close(self, order_id: str) -> None:
        self.add(
            PositionClosed, order_id=order_id, account="paper", symbol="EURUSD", position_id=1, side=Side.BUY,
            volume_lots=0.1, price_open=1.1, price_close=1.2, opened_ns=EVENT_NS, profit_ccy=5.0, swap_ccy=0.0,
            commission_ccy=-1.0, reason="tp",
        )


def a_run(wall_ns: int = 1_700_000_000_000_000_000, signature: str = "s") -> Stream:
    stream = Stream(wall_ns)
    stream.ticks(1, 3, step=1)
    stream.ticks(4, 2, step=2)
    stream.ticks(1, 4, step=3, symbol="XAUUSD")
    stream.add(
        FeatureBlock, step=1, symbol="EURUSD", schema_id="x", names=("a",), values=np.array([1.0]), tick=3, bid=1.1,
        ask=1.2,
    )
    stream.add(
        Prediction, step=1, symbol="EURUSD", p_down=0.2, p_flat=0.2, p_up=0.6, expected_return_pct=0.1, confidence=0.4,
        side=Side.BUY, stop_distance=0.1, target_distance=0.1, volatility=0.1, horizon_s=60, model="m", version=1,
        bid=1.1, ask=1.2,
    )
    stream.approve("a", step=1, late_us=400, signature=signature)
    stream.approve("b", step=2, late_us=900, signature=signature)
    for reason in (RefusalReason.HALTED, RefusalReason.MARGIN, RefusalReason.HALTED):
        stream.add(OrderRefused, account="paper", symbol="EURUSD", reason=reason, observed=1.0, limit=0.0)
    for order_id, deal in (("a", 10), ("b", 11)):
        stream.send(order_id)
        stream.fill(order_id, deal)
    stream.close("a")
    for equity in (10_000.0, 10_100.0, 9_595.0, 9_900.0):
        stream.equity(equity)
    common = {"name": "direction-EURUSD", "symbol": "EURUSD", "bundle_sha256": "f"}
    stream.add(ModelPublished, late_us=1, version=1, **common)
    stream.add(ModelPromoted, late_us=2, version=1, metrics={"log_loss": 0.68}, **common)
    stream.add(ModelRefused, late_us=3, version=2, reason="worse", **common)
    return stream


def heartbeat(service: str, instance: str = "i", **details: float | str) -> Heartbeat:
    return Heartbeat(
        ts_event_ns=1, ts_init_ns=1, service=service, instance=instance, version="0", ready=True, lag_ms=0.0,
        seen={}, sent={}, details=details,
    )


def tally_of(messages: Iterable[Message]) -> Tally:
    tally = Tally()
    for message in messages:
        tally.hear(message)
    return tally


def summary_of(messages: Iterable[Message], ticks_seen: int = 9) -> Summary:
    return tally_of(messages).summary({"features": heartbeat("features", ticks_seen=ticks_seen)}, (2, 1))


def test_every_figure_of_the_summary_is_what_was_put_in() -> None:
    summary = summary_of(a_run().messages)
    found = msgspec.to_builtins(summary)
    digest = found.pop("orders_sha256")
    assert len(digest) == 64
    assert found == {
        "ticks_published": 9,
        "ticks_seen_by_features": 9,
        "gaps_detected": 2,
        "gaps_filled": 1,
        "decisions": 1,
        "predictions": 1,
        "orders_approved": 2,
        "orders_refused": {"halted": 2, "margin": 1},
        "orders_sent": 2,
        "orders_filled": 2,
        "orders_unknown": 0,
        "duplicate_orders": 0,
        "trades": 1,
        "final_equity": 9_900.0,
        "max_drawdown_pct": pytest.approx(5.0),
        "models": [
            {"name": "direction-EURUSD", "version": 1, "event": "published", "metrics": {}},
            {"name": "direction-EURUSD", "version": 1, "event": "promoted", "metrics": {"log_loss": 0.68}},
            {"name": "direction-EURUSD", "version": 2, "event": "refused", "metrics": {}},
        ],
        "latency_us": {"tick_to_order": {"p50": 400.0, "p99": 900.0}},
    }


def test_the_keys_are_the_promised_ones() -> None:
    assert set(Summary.__struct_fields__) == ISSUE_KEYS


def test_an_empty_run_has_a_summary_too() -> None:
    summary = tally_of([]).summary({}, (0, 0))
    assert summary.orders_approved == 0
    assert summary.latency_us == {"tick_to_order": {"p50": None, "p99": None}}


def test_repetitions_change_nothing() -> None:
    messages = a_run().messages
    assert summary_of([*messages, *messages]) == summary_of(messages)


def test_the_hash_does_not_depend_on_wall_time_signatures_or_how_subjects_interleave() -> None:
    digest = summary_of(a_run().messages).orders_sha256
    assert summary_of(a_run(wall_ns=1_800_000_000_000_000_000).messages).orders_sha256 == digest
    assert summary_of(a_run(signature="other").messages).orders_sha256 == digest
    random.seed(5)
    by_subject: dict[str, list[Message]] = {}
    for message in a_run().messages:
        by_subject.setdefault(subject_of(message), []).append(message)
    mixed: list[Message] = []
    while by_subject:
        subject = random.choice(sorted(by_subject))
        mixed.append(by_subject[subject].pop(0))
        if not by_subject[subject]:
            del by_subject[subject]
    assert summary_of(mixed).orders_sha256 == digest


def test_the_hash_changes_with_any_order_or_fill() -> None:
    digest = summary_of(a_run().messages).orders_sha256
    one_more, other_price, one_less = a_run(), a_run(), a_run()
    one_more.approve("c", step=3, late_us=1)
    other_price.fill("c", 12, price=1.3)
    one_less.messages = [message for message in one_less.messages if not isinstance(message, PositionClosed)]
    digests = {summary_of(stream.messages).orders_sha256 for stream in (one_more, other_price, one_less)}
    assert len(digests | {digest}) == 4


def test_an_order_sent_twice_or_dealt_twice_is_a_duplicate_and_breaks_a_promise() -> None:
    sent, dealt, unknown = a_run(), a_run(), a_run()
    sent.send("a")
    dealt.fill("b", 99)
    unknown.add(
        OrderUnknown, order_id="a", account="paper", symbol="EURUSD", side=Side.BUY, volume_lots=0.1, reason="timeout"
    )
    for stream in (sent, dealt):
        tally = tally_of(stream.messages)
        summary = tally.summary({"features": heartbeat("features", ticks_seen=9)}, (0, 0))
        assert summary.duplicate_orders == 1
        assert "more than once" in broken_promises(summary, tally)[0]
    assert summary_of(unknown.messages).orders_unknown == 1
    assert summary_of(unknown.messages).duplicate_orders == 0


def test_ticks_that_features_missed_break_a_promise() -> None:
    tally = tally_of(a_run().messages)
    kept = tally.summary({"features": heartbeat("features", ticks_seen=9)}, (0, 0))
    missed = tally.summary({"features": heartbeat("features", ticks_seen=8)}, (0, 0))
    assert broken_promises(kept, tally) == []
    assert broken_promises(missed, tally) == ["features saw 8 of 9 published ticks"]


def test_a_hole_in_the_tick_stream_breaks_a_promise() -> None:
    stream = Stream()
    stream.ticks(1, 3)
    stream.ticks(5, 2)
    tally = tally_of(stream.messages)
    summary = tally.summary({"features": heartbeat("features", ticks_seen=6)}, (0, 0))
    assert broken_promises(summary, tally) == ["the tick stream has 1 holes"]


def test_gaps_add_up_over_services_and_restarts() -> None:
    gaps = GapCount()
    for beat in (
        heartbeat("risk", "first", gaps_detected=1, gaps_filled=0),
        heartbeat("risk", "first", gaps_detected=2, gaps_filled=2),
        heartbeat("risk", "second", gaps_detected=1, gaps_filled=1),
        heartbeat("features", "only", gaps_detected=4, gaps_filled=3),
    ):
        gaps.hear(beat)
    assert gaps.total() == (7, 6)


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 50.0), percentile(values, 99.0), percentile([7.0], 99.0)) == (50.0, 99.0, 7.0)
