"""One symbol's ticks from the terminal: asked page by page, each once, in UTC."""

from collections import deque

import msgspec
import numpy as np

from libs.common.messages.base import Ints
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.convert import OffsetHistory, ServerTicks, joined, no_trades, server_ticks
from libs.common.mt5.paging import TickCursor, cursor_at, take_page
from services.ingest.config import LiveSettings
from services.ingest.raw import RawTicks

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_AHEAD_NS = 30 * NS_PER_S
_TURNED_BACK_MSC = 1_800_000
_FALL_S = 3_600


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What one question brought.

    Parameters
    ----------
    raw : new ticks, ``None`` for none
    more : ask again at once
    newest_msc : stamp of the newest tick the terminal has, server clock, ms; 0 where the answer does not tell
    ahead : the ticks lie in the future: the broker's clock is not what it is taken for; nothing was taken
    """

    raw: RawTicks | None
    more: bool
    newest_msc: int
    ahead: bool = False


class SymbolFeed:
    """Reads one symbol.

    Parameters
    ----------
    symbol : canonical
    broker_name : the broker's
    history : of the broker's clock
    cursor : where to go on
    after_ns : instant of the last tick taken, or where reading begins, ns UTC
    rows : ticks taken so far
    has_trades : the feed was seen to carry traded prices
    """

    def __init__(
        self, symbol: str, broker_name: str, settings: LiveSettings, history: OffsetHistory, cursor: TickCursor,
        after_ns: int, *, rows: int = 0, has_trades: bool = False,
    ) -> None:  # fmt: skip
        self.symbol, self.broker_name = symbol, broker_name
        self.cursor, self.after_ns, self.rows, self.has_trades = cursor, after_ns, rows, has_trades
        self._usual = self._count = settings.page_ticks
        self._poll_s, self._idle_s = settings.poll_ms / 1_000.0, settings.poll_idle_ms / 1_000.0
        self._times = history.times(cursor.second_s * 1_000)
        self._recent: deque[ServerTicks] = deque()
        self._recent_since_s = cursor.second_s
        self.pause_s = self._poll_s
        """How long to wait before the next question."""

    def use(self, history: OffsetHistory) -> None:
        """Go on with what was learned of the broker's clock."""
        self._times.use(history)

    async def take(self, terminal: TerminalCalls, now_ns: int) -> Taken:
        """Ask for the next page.

        Parameters
        ----------
        now_ns : our clock, ns UTC; 0: any time is possible (a terminal that replays the past)

        Raises
        ------
        BrokerError, TimeoutError : when the terminal gives none; asking again is safe
        """
        array = await terminal.copy_ticks_from(self.broker_name, self.cursor.second_s, self._count)
        ticks = server_ticks(array)
        page = take_page(self.cursor, ticks, self._count, self._usual)
        newest_msc = 0 if page.more or not len(ticks) else int(ticks.time_msc[-1])
        if not len(page.fresh):
            self._count = page.count
            self.pause_s = 0.0 if page.more else min(max(self.pause_s, self._poll_s) * 1.3, max(self._idle_s, self._poll_s))
            return Taken(raw=None, more=page.more, newest_msc=newest_msc)
        self._times.resume_at(self.after_ns)
        time_ns = self._times.to_utc_ns(page.fresh.time_msc)
        if now_ns and int(time_ns[-1]) > now_ns + _AHEAD_NS:
            self.pause_s = self._idle_s
            return Taken(raw=None, more=False, newest_msc=newest_msc, ahead=True)
        raw = self._raw(page.fresh, time_ns)
        self._remember(page.fresh)
        self.cursor, self._count = page.cursor, page.count
        self.after_ns = int(time_ns[-1])
        self.rows += len(raw)
        self.pause_s = 0.0 if page.more else self._poll_s
        return Taken(raw=raw, more=page.more, newest_msc=newest_msc)

    async def look_for_turned_clock(self, terminal: TerminalCalls) -> int:
        """Follow the broker's clock where it was turned back; return the stamp of the newest tick, ms.

        The clock falls by an hour, so whatever came since lies no more than an hour before the newest tick taken. Ticks
        are asked for from there, without those taken at the first pass. Where that was not seen whole (reading began
        less than an hour ago), or the clock fell by more, they are asked for from the second of the newest one, and
        what came before it since the turn is not seen.
        """
        tick = await terminal.symbol_info_tick(self.broker_name)
        if 0 < tick.time_msc < self.cursor.second_s * 1_000 - _TURNED_BACK_MSC:
            before_s, second_s = self.cursor.second_s - _FALL_S, tick.time_msc // 1_000
            if self._recent_since_s < before_s <= second_s:
                self.cursor = cursor_at(before_s, joined(self._recent))
                return tick.time_msc
            known = await self._all_from(terminal, second_s)
            last = np.flatnonzero((known.time_msc == tick.time_msc) & (known.bid == tick.bid) & (known.ask == tick.ask))
            rows = np.setdiff1d(np.arange(len(known)), last[-1:])
            self.cursor = cursor_at(second_s, known.part(rows))
        return tick.time_msc

    def _remember(self, fresh: ServerTicks) -> None:
        """Keep what was taken within the last hour."""
        self._recent.append(fresh)
        oldest_msc = int(fresh.time_msc[-1]) - (_FALL_S + 1) * 1_000
        while int(self._recent[0].time_msc[-1]) < oldest_msc:
            self._recent.popleft()

    async def _all_from(self, terminal: TerminalCalls, second_s: int) -> ServerTicks:
        count = self._usual
        while True:
            ticks = server_ticks(await terminal.copy_ticks_from(self.broker_name, second_s, count))
            if len(ticks) < count:
                return ticks
            count *= 4

    def _raw(self, ticks: ServerTicks, time_ns: Ints) -> RawTicks:
        self.has_trades = self.has_trades or ticks.has_trades
        kept = ticks if self.has_trades else no_trades(ticks)
        return RawTicks(
            symbol=self.symbol, file=f"mt5:{self.broker_name}", first_line=self.rows + 1, time_ns=time_ns, bid=kept.bid,
            ask=kept.ask, last=kept.last, volume=kept.volume, flags=kept.flags,
        )  # fmt: skip
