"""What ingest decides: which ticks are good, what their numbers are, where blocks end, how the feed is doing.

Reading, pacing and publishing are the shell's. The core is told of chunks, of the time, and of the end.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.config import DecideOn
from libs.common.messages.base import Ints, Message
from libs.common.messages.market import FeedStatus, TickBlock
from services.ingest.config import IngestConfig
from services.ingest.cutting import cut_offsets, grid_for
from services.ingest.market_hours import Hours, open_ns_between
from services.ingest.quality import RULES, QualityState, Verdicts
from services.ingest.raw import RawTicks

NS_PER_S = 1_000_000_000


class QuarantinedTick(msgspec.Struct, frozen=True, kw_only=True):
    """A tick that was kept back, and why.

    Parameters
    ----------
    rule : one of ``quality.RULES``
    source : where it stands, ``file:line``
    time_ns, bid, ask, last, volume, flags : as recorded; ``None`` where the source has no such column
    """

    symbol: str
    rule: str
    source: str
    time_ns: int
    bid: float
    ask: float
    last: float | None = None
    volume: float | None = None
    flags: int | None = None


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a chunk.

    Parameters
    ----------
    messages : tick blocks in order, each followed by the feed status it caused, if any
    quarantined : the ticks kept back, in order
    gaps : silences of an open market that ended in this chunk
    """

    messages: tuple[Message, ...]
    quarantined: tuple[QuarantinedTick, ...]
    gaps: int


class _FeedState(msgspec.Struct):
    """One symbol's counters; plain values only, so that a snapshot is one call."""

    consumed: int = 0
    ticks: int = 0
    last_tick_ns: int = 0
    gaps: int = 0
    quarantined: list[int] = msgspec.field(default_factory=lambda: [0] * len(RULES))
    interval_ns: int = 0
    stale: bool = False
    reason: str = ""
    finished: bool = False
    status_ns: int = 0
    status_gaps: int = 0
    status_stale: bool = False


class _Snapshot(msgspec.Struct):
    feeds: dict[str, _FeedState]
    quality: dict[str, tuple[list[float], list[int]]]


class IngestCore:
    """The pure part of ingest.

    Times: messages carry ``ts_init_ns = max(now_ns, ts_event_ns)``; in event time pass ``now_ns=0``.

    Parameters
    ----------
    config : section ``ingest``
    symbols : whose ticks will come
    decide_on : cut blocks after the ticks decisions are taken on (lockstep); ``None`` to cut by size only
    sessions : symbol -> ``fx`` or ``always``; ``fx`` where not named
    """

    def __init__(
        self,
        config: IngestConfig,
        symbols: tuple[str, ...],
        decide_on: DecideOn | None = None,
        sessions: Mapping[str, str] | None = None,
    ) -> None:
        self._max_block = config.max_block
        self._decide_on = decide_on
        self._grid_ns = grid_for(decide_on, len(symbols), config.max_skew_s)
        self._status_every_ns = int(config.status_every_s * NS_PER_S)
        self._sessions: dict[str, Hours] = {symbol: (sessions or {}).get(symbol, "fx") for symbol in symbols}
        self._feeds = {symbol: _FeedState() for symbol in symbols}
        self._quality_settings = config.quality
        self._quality = {symbol: QualityState(config.quality) for symbol in symbols}

    def use_hours(self, symbol: str, hours: Hours) -> None:
        """From now on judge silences of a symbol by other hours than those named at the start."""
        self._sessions[symbol] = hours

    def on_raw_ticks(self, raw: RawTicks, now_ns: int) -> Ingested:
        """Judge a chunk, number its good ticks and cut them into blocks.

        Raises
        ------
        KeyError : for a symbol the core was not made for
        """
        feed, quality = self._feeds[raw.symbol], self._quality[raw.symbol]
        feed.interval_ns = raw.interval_ns
        verdicts = quality.judge(raw)
        feed.consumed += len(raw)
        quarantined = _quarantined(raw, verdicts)
        good = np.flatnonzero(verdicts == 0)
        if good.size == 0:
            _count(feed, verdicts)
            return Ingested(messages=(), quarantined=quarantined, gaps=0)
        messages, gaps = self._blocks(feed, quality, raw, verdicts, good, now_ns)
        return Ingested(messages=tuple(messages), quarantined=quarantined, gaps=gaps)

    def on_time(self, now_ns: int) -> tuple[FeedStatus, ...]:
        """Tell which feeds have fallen silent, given that it is ``now_ns`` (event time in a replay)."""
        found = []
        for symbol, feed in self._feeds.items():
            if feed.ticks == 0 or feed.stale or feed.finished or now_ns <= feed.last_tick_ns:
                continue
            silence_ns = open_ns_between(feed.last_tick_ns, now_ns, self._sessions[symbol])
            if silence_ns > self._quality[symbol].silent_ns(feed.interval_ns):
                feed.stale, feed.reason = True, "silent"
                found.append(self._status(symbol, feed, now_ns, now_ns))
        return tuple(found)

    def on_feed_lost(self, symbol: str, reason: str, now_ns: int) -> tuple[FeedStatus, ...]:
        """Say that the symbol's feed is down, and why (see ``FeedStatus.reason``): it is stale from now on."""
        feed = self._feeds[symbol]
        if feed.stale and feed.reason == reason:
            return ()
        feed.stale, feed.reason = True, reason
        return (self._status(symbol, feed, now_ns, now_ns),)

    def on_feed_back(self, symbol: str, now_ns: int) -> tuple[FeedStatus, ...]:
        """Say that the symbol's feed is up again; whether it is stale is then for its silence to tell."""
        feed = self._feeds[symbol]
        if not feed.stale or feed.reason == "silent":
            return ()
        feed.stale, feed.reason = False, ""
        return self.on_time(now_ns) or (self._status(symbol, feed, now_ns, now_ns),)

    def adopt(self, block: TickBlock) -> None:
        """Go on after a block that was published before, when nothing else is known of the time before it."""
        symbol = block.symbol
        self._feeds[symbol] = _FeedState(ticks=block.first_tick - 1)
        self._quality[symbol] = QualityState(self._quality_settings)
        columns = {name: getattr(block, name) for name in ("time_ns", "bid", "ask", "last", "volume", "flags")}
        self.on_raw_ticks(RawTicks(symbol=symbol, file="stream", first_line=1, **columns), block.ts_event_ns)
        feed = self._feeds[symbol]
        # The block was good when it was published; a rule that has learned less must not judge it otherwise.
        feed.ticks, feed.last_tick_ns = block.first_tick + len(block) - 1, block.ts_event_ns

    def on_finished(self, symbol: str, now_ns: int) -> tuple[FeedStatus, ...]:
        """Say that the symbol's source has given its last tick."""
        feed = self._feeds[symbol]
        feed.finished = True
        return (self._status(symbol, feed, feed.last_tick_ns, now_ns),)

    def consumed(self, symbol: str) -> int:
        """Return how many raw ticks of the symbol were taken: where a restarted source has to go on."""
        return self._feeds[symbol].consumed

    def ticks(self, symbol: str) -> int:
        """Return the number of the symbol's last good tick."""
        return self._feeds[symbol].ticks

    def last_tick_ns(self, symbol: str) -> int:
        """Return when the symbol's last good tick happened, ns UTC; 0 before the first."""
        return self._feeds[symbol].last_tick_ns

    def snapshot(self) -> bytes:
        """Return the whole state."""
        quality = {symbol: state.dump() for symbol, state in self._quality.items()}
        return msgspec.json.encode(_Snapshot(feeds=self._feeds, quality=quality))

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described; symbols it does not know start afresh."""
        snapshot = msgspec.json.decode(state, type=_Snapshot)
        for symbol, feed in snapshot.feeds.items():
            if symbol in self._feeds:
                self._feeds[symbol] = feed
                if len(feed.quarantined) == len(RULES):
                    self._quality[symbol].load(snapshot.quality[symbol])
                else:
                    # An earlier version with other rules: its counts cannot be told apart, its memory is of no use.
                    feed.quarantined = [0] * len(RULES)

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``."""
        found: dict[str, float | str] = {}
        for symbol, feed in self._feeds.items():
            found[f"{symbol} ticks"] = float(feed.ticks)
            found[f"{symbol} quarantined"] = float(sum(feed.quarantined))
            found[f"{symbol} locked"] = float(self._quality[symbol].locked_kept)
            found[f"{symbol} gaps"] = float(feed.gaps)
            found[f"{symbol} feed"] = "finished" if feed.finished else "stale" if feed.stale else "live"
        return found

    def _blocks(
        self,
        feed: _FeedState,
        quality: QualityState,
        raw: RawTicks,
        verdicts: Verdicts,
        good: NDArray[np.intp],
        now_ns: int,
    ) -> tuple[list[Message], int]:
        columns = {
            name: getattr(raw, name)[good] if len(getattr(raw, name)) else getattr(raw, name)
            for name in ("time_ns", "bid", "ask", "last", "volume", "flags")
        }
        times = columns["time_ns"]
        previous_ns = feed.last_tick_ns if feed.ticks else None
        gap_ends = self._gap_ends(raw.symbol, times, previous_ns, quality.silent_ns(raw.interval_ns))
        ends = cut_offsets(
            times, feed.ticks + 1, previous_ns,
            max_block=self._max_block, decide_on=self._decide_on, grid_ns=self._grid_ns,
        )  # fmt: skip
        messages: list[Message] = []
        start = judged = 0
        for end in ends.tolist():
            part = {name: column[start:end] if len(column) else column for name, column in columns.items()}
            event_ns = int(times[end - 1])
            messages.append(
                TickBlock(
                    ts_event_ns=event_ns, ts_init_ns=max(now_ns, event_ns),
                    symbol=raw.symbol, first_tick=feed.ticks + 1, **part,
                )
            )  # fmt: skip
            feed.ticks += end - start
            feed.last_tick_ns = event_ns
            feed.stale, feed.reason = False, ""
            feed.gaps += sum(start <= offset < end for offset in gap_ends)
            # What lies between this block's last tick and the next good one is counted with the next block.
            upto = int(good[end - 1]) + 1
            _count(feed, verdicts[judged:upto])
            judged, start = upto, end
            if self._status_due(feed, event_ns):
                messages.append(self._status(raw.symbol, feed, event_ns, now_ns))
        _count(feed, verdicts[judged:])
        return messages, len(gap_ends)

    def _gap_ends(
        self, symbol: str, times: Ints, previous_ns: int | None, limit_ns: int
    ) -> list[int]:
        """Return the offsets of good ticks that ended too long a silence of an open market."""
        first = int(times[0]) if previous_ns is None else previous_ns
        silences = np.diff(times, prepend=first)
        session = self._sessions[symbol]
        return [
            offset
            for offset in np.flatnonzero(silences > limit_ns).tolist()
            if open_ns_between(int(times[offset] - silences[offset]), int(times[offset]), session) > limit_ns
        ]

    def _status_due(self, feed: _FeedState, event_ns: int) -> bool:
        return (
            feed.status_ns == 0
            or event_ns // self._status_every_ns > feed.status_ns // self._status_every_ns
            or feed.gaps != feed.status_gaps
            or feed.stale != feed.status_stale
        )

    def _status(self, symbol: str, feed: _FeedState, event_ns: int, now_ns: int) -> FeedStatus:
        feed.status_ns, feed.status_gaps, feed.status_stale = event_ns, feed.gaps, feed.stale
        return FeedStatus(
            ts_event_ns=event_ns,
            ts_init_ns=max(now_ns, event_ns),
            symbol=symbol,
            last_tick_ns=feed.last_tick_ns,
            ticks=feed.ticks,
            quarantined=dict(zip(RULES, feed.quarantined, strict=True)),
            gaps=feed.gaps,
            stale=feed.stale,
            finished=feed.finished,
            reason=feed.reason,
        )


def _count(feed: _FeedState, verdicts: Verdicts) -> None:
    found = np.bincount(verdicts, minlength=len(RULES) + 1)
    for rule in range(len(RULES)):
        feed.quarantined[rule] += int(found[rule + 1])


def _quarantined(raw: RawTicks, verdicts: Verdicts) -> tuple[QuarantinedTick, ...]:
    rows = np.flatnonzero(verdicts).tolist()
    return tuple(
        QuarantinedTick(
            symbol=raw.symbol,
            rule=RULES[verdicts[row] - 1],
            source=raw.place(row),
            time_ns=int(raw.time_ns[row]),
            bid=float(raw.bid[row]),
            ask=float(raw.ask[row]),
            last=float(raw.last[row]) if len(raw.last) else None,
            volume=float(raw.volume[row]) if len(raw.volume) else None,
            flags=int(raw.flags[row]) if len(raw.flags) else None,
        )
        for row in rows
    )
