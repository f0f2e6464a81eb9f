"""Where reading begins: from what is written down, from what the stream holds, or from now."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError, StorageError
from libs.common.messages.market import TickBlock
from libs.common.mt5.convert import OffsetHistory, ServerTicks
from libs.common.mt5.paging import TickCursor, cursor_at
from libs.common.mt5.results import SymbolInfo
from libs.common.mt5.specification import Weight, differences
from libs.common.storage.whole_file import write_whole
from services.ingest.adapters.mt5_feed import SymbolFeed
from services.ingest.config import LiveSettings
from services.ingest.core import IngestCore
from services.ingest.resume import LivePoint, Overlap

NS_PER_S = 1_000_000_000


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the streams hold of one symbol.

    Parameters
    ----------
    block : the newest tick block, ``None`` for none
    ticks_seq, feed_seq : last numbers on ``ticks.<symbol>`` and ``feed.<symbol>``
    """

    block: TickBlock | None
    ticks_seq: int
    feed_seq: int

    @property
    def ticks(self) -> int:
        """Number of the newest good tick."""
        return 0 if self.block is None else self.block.first_tick + len(self.block) - 1


async def held_of(bus: NatsBus, symbol: str) -> Held:
    """Ask the streams what they hold of a symbol."""
    ticks_seq, feed_seq = await bus.held(subjects.ticks(symbol)), await bus.held(subjects.feed(symbol))
    block = await bus.last(subjects.ticks(symbol)) if ticks_seq else None
    return Held(block=block if isinstance(block, TickBlock) else None, ticks_seq=ticks_seq, feed_seq=feed_seq)


def read_point(path: Path) -> LivePoint | None:
    """Return the moment written down, ``None`` for a first start.

    Raises
    ------
    StorageError : when the file is damaged
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=LivePoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"{path}: cannot be read ({error}). Remove it to go on after what the stream holds; the quality rules then "
            "begin afresh."
        ) from error


def write_point(path: Path, point: LivePoint) -> None:
    """Write a moment down.

    Raises
    ------
    StorageError : when the disk refuses
    """
    try:
        write_whole(path, msgspec.json.encode(point))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


class Start(msgspec.Struct, kw_only=True):
    """How one symbol begins.

    Parameters
    ----------
    feed : set to where it goes on
    overlap : what of it the stream holds already
    ticks_seq, feed_seq : last numbers used on its subjects
    remarks : (name, detail) for a person
    """

    feed: SymbolFeed
    overlap: Overlap
    ticks_seq: int
    feed_seq: int
    remarks: list[tuple[str, str]]


def start_of(
    symbol: str, broker_name: str, settings: LiveSettings, history: OffsetHistory, core: IngestCore,
    point: LivePoint | None, held: Held, now_ns: int,
) -> Start:  # fmt: skip
    """Return where a symbol goes on; the core has been restored from ``point`` already.

    Parameters
    ----------
    now_ns : our clock, ns UTC; 0 where the terminal replays the past: then from its first tick on
    """
    known = None if point is None else point.symbols.get(symbol)
    if known is None and held.block is None:
        first_ns = max(now_ns - int(settings.backfill_s * NS_PER_S), 0)
        cursor = TickCursor(history.server_s(first_ns) if now_ns else 1)
        feed = SymbolFeed(symbol, broker_name, settings, history, cursor, first_ns)
        return Start(feed=feed, overlap=Overlap(None), ticks_seq=held.ticks_seq, feed_seq=held.feed_seq, remarks=[])
    if known is None:
        return _after_stream(symbol, broker_name, settings, history, core, held)
    remarks = []
    if held.ticks < known.ticks:
        remarks.append((
            "stream_lost_ticks",
            f"{symbol}: the stream ends at tick {held.ticks}, {known.ticks} had been stored. Numbers go on after "
            f"{known.ticks}; the ticks between are in the tick store only.",
        ))  # fmt: skip
    overlap = Overlap(held.block if held.ticks > known.ticks else None)
    after_ns = core.last_tick_ns(symbol)
    start = Start(
        feed=SymbolFeed(
            symbol, broker_name, settings, history, known.cursor, after_ns, rows=known.rows, has_trades=known.has_trades
        ),
        overlap=overlap, ticks_seq=max(held.ticks_seq, known.ticks_seq), feed_seq=max(held.feed_seq, known.feed_seq),
        remarks=remarks,
    )  # fmt: skip
    oldest_ns = now_ns - int(settings.catch_up_s * NS_PER_S)
    if now_ns and after_ns < oldest_ns:
        start.remarks.append((
            "ticks_left_out",
            f"{symbol}: nothing was read for longer than ingest.live.catch_up_s; the ticks before the last "
            f"{settings.catch_up_s:.0f} s are left out",
        ))  # fmt: skip
        if held.block is not None and held.ticks > known.ticks:
            core.adopt(held.block)
            start.overlap = Overlap(None)
        start.feed.cursor, start.feed.after_ns = TickCursor(history.server_s(oldest_ns)), oldest_ns
    return start


def _after_stream(
    symbol: str, broker_name: str, settings: LiveSettings, history: OffsetHistory, core: IngestCore, held: Held
) -> Start:
    assert held.block is not None
    feed = SymbolFeed(symbol, broker_name, settings, history, TickCursor(0), 0)
    go_on_after(feed, core, held.block, history)
    return Start(feed=feed, overlap=Overlap(None), ticks_seq=held.ticks_seq, feed_seq=held.feed_seq, remarks=[])


def go_on_after(feed: SymbolFeed, core: IngestCore, block: TickBlock, history: OffsetHistory) -> None:
    """Set a feed and the core to the end of a block the stream holds, forgetting everything else."""
    core.adopt(block)
    zeros = np.zeros(len(block))
    taken = ServerTicks(
        time_msc=np.array([history.server_msc(t) for t in block.time_ns.tolist()], dtype=np.int64),
        bid=block.bid, ask=block.ask, last=block.last if len(block.last) else zeros,
        volume=block.volume if len(block.volume) else zeros, flags=np.zeros(len(block), dtype=np.int64),
    )  # fmt: skip
    feed.cursor, feed.after_ns = cursor_at(int(taken.time_msc[-1]) // 1_000, taken), block.ts_event_ns
    feed.has_trades = bool(len(block.last))


def check_specification(
    instruments: Mapping[str, InstrumentConfig], symbol: str, info: SymbolInfo, *, refuses: bool
) -> str:
    """Return what of our configuration of a symbol is not the broker's, "" when it is all the same.

    Raises
    ------
    ConfigError : when prices, sizes or profits would be wrong, and ``refuses``
    """
    found = differences(instruments.get(symbol, InstrumentConfig()), info)
    if not found:
        return ""
    wrong = [one for one in found if one.weight is Weight.WRONG]
    text = f"instruments.{symbol} is not what the broker says of {info.name}: {'; '.join(map(str, wrong or found))}."
    if wrong and refuses:
        keys = ", ".join(f"{one.key}: {one.broker}" for one in found if one.key != "tick size")
        raise ConfigError(
            f"{text} Write instruments.{symbol}: {{{keys}}}, or set ingest.live.specification: alert to go on all the same."
        )
    return text
