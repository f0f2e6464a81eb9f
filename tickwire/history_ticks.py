"""Tick history from a terminal to the tick store: whole UTC days, each tick once, whatever is interrupted."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from libs.common.errors import BrokerError, DataError, StorageError
from libs.common.messages.base import Ints
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.convert import OffsetHistory, ServerTicks, no_trades, server_ticks
from libs.common.mt5.paging import Page, TickCursor, take_page
from libs.common.storage.ticks import NS_PER_DAY, TickColumns, TickStore, day_files
from libs.common.storage.whole_file import write_whole
from libs.common.subjects import encode_token

NS_PER_S = 1_000_000_000
STATE_NAME = "download.json"
PAGE_TICKS = 50_000
_KEEP_TICKS = 200_000
_CONFIRM_PAUSES_S = (0.2, 0.5)
_RETRY_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_SETTLED_NS = 60 * NS_PER_S


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of days being loaded.

    Parameters
    ----------
    first, last : days since 1970, both included
    cursor : up to where ticks are in the store
    after_ns : instant of the last of them, ns UTC; the start of ``first`` where there is none
    """

    first: int
    last: int
    cursor: TickCursor
    after_ns: int


class DownloadState(msgspec.Struct, kw_only=True):
    """What of a symbol's history is in the store.

    Parameters
    ----------
    server, broker_name : where it came from
    days : (first, last) stretches that are complete, in order
    run : the one that is not
    ticks : loaded in all
    unusable : ticks left out: without a positive bid and ask
    disordered : ticks that came before an earlier one; put where they belong within their page
    """

    server: str
    broker_name: str
    days: list[tuple[int, int]] = []
    run: Run | None = None
    ticks: int = 0
    unusable: int = 0
    disordered: int = 0


class TickDownload:
    """Loads one symbol.

    Parameters
    ----------
    root : folder of the tick store
    history : of the broker's clock
    page_ticks : ticks asked for at once
    told : called after every page with (day reached as a fraction, ticks so far)
    """

    def __init__(
        self, terminal: TerminalCalls, root: Path, symbol: str, broker_name: str, history: OffsetHistory, *,
        page_ticks: int = PAGE_TICKS, told: Callable[[float, int], None] = lambda _day, _ticks: None,
        pauses_s: tuple[float, ...] = _RETRY_PAUSES_S, confirm_s: tuple[float, ...] = _CONFIRM_PAUSES_S,
    ) -> None:  # fmt: skip
        self._terminal, self._symbol, self._broker_name, self._history = terminal, symbol, broker_name, history
        self._page_ticks, self._told, self._pauses_s, self._confirm_s = page_ticks, told, pauses_s, confirm_s
        self._folder = root / encode_token(symbol)
        self._store = TickStore(root, flush_ticks=_KEEP_TICKS)
        self.state = self._read_state()

    async def load(self, first_day: int, last_day: int, now_ns: int) -> None:
        """Load every day of a stretch that the store lacks.

        Parameters
        ----------
        first_day, last_day : days since 1970, both included
        now_ns : our clock, ns UTC; a day that is not over stays open, and a later call goes on in it

        Raises
        ------
        BrokerError, TimeoutError : when the terminal gives up for good; what was loaded is kept
        DataError : when the store holds ticks of a day that did not come from a download
        StorageError : when the disk refuses
        """
        missing = missing_days(self.state.days, first_day, last_day)
        if missing:
            # From here on what lies in the folder is a download's, also if it is killed before its first tick.
            await asyncio.to_thread(self._write_state)
        for first, last in missing:
            await self._load_run(self._run(first, last), now_ns)
        await asyncio.to_thread(self._store.close)

    def _run(self, first: int, last: int) -> Run:
        """Return where a stretch begins: after what an interrupted download of it is known to have stored.

        What it stored beyond that, or of another stretch, is recognised by the store: a day is always loaded from its
        start.
        """
        run = self.state.run
        if run is not None and run.first <= first <= run.after_ns // NS_PER_DAY:
            return msgspec.structs.replace(run, last=last)
        start_ns = first * NS_PER_DAY
        # A second before: readings of the server's clock are whole seconds, its offset may be no whole minute.
        cursor = TickCursor(max(1, self._history.server_s(start_ns) - 1))
        return Run(first=first, last=last, cursor=cursor, after_ns=start_ns)

    async def _load_run(self, run: Run, now_ns: int) -> None:
        end_ns = (run.last + 1) * NS_PER_DAY
        times = self._history.times(run.cursor.second_s * 1_000)
        count, unkept = self._page_ticks, 0
        while True:
            try:
                page = await self._page(run.cursor, count)
            except (BrokerError, TimeoutError, asyncio.CancelledError):
                self._write(run, False, now_ns)
                raise
            times.resume_at(run.after_ns)
            time_ns = times.to_utc_ns(page.fresh.time_msc)
            over = bool((time_ns >= end_ns).any())
            stored = await asyncio.to_thread(self._keep, page.fresh, time_ns, run.first * NS_PER_DAY, end_ns)
            unkept += stored
            count = page.count
            run = msgspec.structs.replace(
                run, cursor=page.cursor, after_ns=min(max(run.after_ns, int(time_ns.max(initial=0))), end_ns - 1)
            )
            self._told(run.after_ns / NS_PER_DAY, self.state.ticks)
            is_over = over or not page.more
            if is_over or unkept >= _KEEP_TICKS:
                await asyncio.to_thread(self._write, run, is_over, now_ns)
                unkept = 0
            if is_over:
                return

    async def _page(self, cursor: TickCursor, count: int) -> Page:
        """Ask for a page; one that is not full is asked for again until it stays the same: history may be on its way."""
        page = await self._asked(cursor, count)
        for pause_s in self._confirm_s:
            if page.more:
                return page
            before = len(page.fresh)
            await asyncio.sleep(pause_s)
            page = await self._asked(cursor, count)
            if len(page.fresh) == before:
                return page
        return page

    async def _asked(self, cursor: TickCursor, count: int) -> Page:
        for pause_s in (*self._pauses_s, None):
            try:
                array = await self._terminal.copy_ticks_from(self._broker_name, cursor.second_s, count)
                return take_page(cursor, server_ticks(array), count, self._page_ticks)
            except (BrokerError, TimeoutError):
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    def _keep(self, ticks: ServerTicks, time_ns: Ints, start_ns: int, end_ns: int) -> int:
        """Hand the usable ticks of a page to the store; return how many."""
        inside = (time_ns >= start_ns) & (time_ns < end_ns)
        usable = inside & (ticks.bid > 0.0) & (ticks.ask > 0.0) & np.isfinite(ticks.bid) & np.isfinite(ticks.ask)
        self.state.unusable += int(inside.sum() - usable.sum())
        rows = np.flatnonzero(usable)
        fell = int((np.diff(time_ns[rows]) < 0).sum())
        if fell:
            self.state.disordered += fell
            rows = rows[np.argsort(time_ns[rows], kind="stable")]
        if not len(rows):
            return 0
        part = ticks.part(rows)
        kept = part if part.has_trades else no_trades(part)
        columns = TickColumns(
            time_ns=time_ns[rows], bid=kept.bid, ask=kept.ask, last=kept.last, volume=kept.volume, flags=kept.flags
        )
        self.state.ticks += self._store.append(self._symbol, columns)
        return len(rows)

    def _write(self, run: Run, is_over: bool, now_ns: int) -> None:
        """Put ticks on disk first, then how far they reach: what is written twice is recognised by the store."""
        self._store.flush()
        if is_over:
            self._close_days(run, now_ns)
        else:
            self.state.run = run
            full = run.after_ns // NS_PER_DAY - 1
            if full >= run.first:
                self.state.days = with_days(self.state.days, run.first, full)
        self._write_state()

    def _close_days(self, run: Run, now_ns: int) -> None:
        # A day is over once it lies a minute back: later ticks of it cannot come any more.
        last = min(run.last, (now_ns - _SETTLED_NS) // NS_PER_DAY - 1)
        if last >= run.first:
            self.state.days = with_days(self.state.days, run.first, last)
        self.state.run = None if last >= run.last else run

    # ---- state on disk

    def _read_state(self) -> DownloadState:
        path = self._folder / STATE_NAME
        server = self._history.server
        try:
            state = msgspec.json.decode(path.read_bytes(), type=DownloadState)
        except FileNotFoundError:
            if day_files(self._folder):
                raise DataError(
                    str(self._folder), "holds ticks that no download wrote, which may lack some of their day",
                    remedy="Choose another --out",
                ) from None  # fmt: skip
            return DownloadState(server=server, broker_name=self._broker_name)
        except (OSError, msgspec.MsgspecError) as error:
            raise StorageError(f"{path}: cannot be read ({error}). Choose another --out, or remove the folder.") from error
        if state.server != server:
            raise DataError(
                str(self._folder), f"holds history of {state.server}, the terminal is logged in to {server}",
                remedy="Choose another --out",
            )  # fmt: skip
        state.broker_name = self._broker_name
        return state

    def _write_state(self) -> None:
        try:
            write_whole(self._folder / STATE_NAME, msgspec.json.encode(self.state))
        except OSError as error:
            raise StorageError(f"{self._folder / STATE_NAME}: cannot be written ({error.strerror})") from error


def missing_days(days: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Return the stretches of ``first`` .. ``last`` that are in none of ``days`` (in order, apart).

    >>> missing_days([(3, 4), (8, 8)], 1, 9)
    [(1, 2), (5, 7), (9, 9)]
    """
    found, begin = [], first
    for known_first, known_last in days:
        if known_last < begin or known_first > last:
            continue
        if known_first > begin:
            found.append((begin, known_first - 1))
        begin = max(begin, known_last + 1)
    if begin <= last:
        found.append((begin, last))
    return found


def with_days(days: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Return stretches with one more, in order and joined where they touch.

    >>> with_days([(1, 2), (6, 7)], 3, 4)
    [(1, 4), (6, 7)]
    """
    joined: list[tuple[int, int]] = []
    for begin, end in sorted([*days, (first, last)]):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
