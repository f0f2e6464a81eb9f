"""The broker's clock while the service runs: measured from the ticks it reads, written down, used at once."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from libs.common.errors import BrokerError, StorageError
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.adapters.clock_file import read_clock, write_clock
from libs.common.mt5.convert import OffsetHistory
from libs.common.mt5.offset_meter import MeterSettings, OffsetMeter

NS_PER_S = 1_000_000_000
_WRITE_EVERY_NS = 600 * NS_PER_S
_FRESH_NS = 3_600 * NS_PER_S
_ODD_NS = 60 * NS_PER_S


class ServerClockKeeper:
    """Knows what the server's clock is ahead of UTC, and learns.

    Parameters
    ----------
    path : where the history is kept
    server : trade server
    zone : named clock that holds where nothing was measured
    measures : False takes the named clock as it is and learns nothing
    alert : told (name, detail) of what a person should know
    """

    def __init__(
        self, path: Path, server: str, zone: str, alert: Callable[[str, str], None], *, measures: bool = True,
        meter: MeterSettings | None = None,
    ) -> None:  # fmt: skip
        self._path, self._alert, self._measures = path, alert, measures
        self.history = read_clock(path, server, zone) if measures else OffsetHistory(server=server, zone=zone)
        self._meter = OffsetMeter(meter)
        self._written_ns = 0
        self._odd_since_ns = 0
        self._told: set[str] = set()
        self._tell_contradiction()

    def offset_s(self, now_ns: int) -> int:
        """Return what the server's clock is ahead of UTC now, seconds."""
        return self.history.offset_s(now_ns)

    def is_measured(self, now_ns: int) -> bool:
        """Tell whether the offset was measured within the last hour (or is not to be measured at all)."""
        measured = self.history.measured
        return not self._measures or (bool(measured) and 0 <= now_ns - measured[-1].confirmed_ns < _FRESH_NS)

    async def measure(
        self, terminal: TerminalCalls, names: Mapping[str, str], wait_s: float, every_s: float
    ) -> bool:
        """Look at the newest ticks until they have told the offset; False when they do not in time.

        Parameters
        ----------
        names : canonical symbol -> the broker's name
        wait_s, every_s : how long to try, and how often to look, seconds
        """
        deadline_s = time.monotonic() + wait_s
        while not self.is_measured(time.time_ns()):
            if time.monotonic() >= deadline_s:
                return False
            for symbol, broker_name in names.items():
                with contextlib.suppress(BrokerError, TimeoutError):
                    tick = await terminal.symbol_info_tick(broker_name)
                    await self.look(symbol, tick.time_msc, time.time_ns())
            await asyncio.sleep(every_s)
        return True

    async def look(self, symbol: str, newest_msc: int, now_ns: int) -> bool:
        """Take in the stamp of a symbol's newest tick; return whether the offset has become another one."""
        if not self._measures or newest_msc <= 0:
            return False
        expected_s = self.history.offset_s(now_ns)
        found = self._meter.look(symbol, newest_msc, now_ns, expected_s)
        self._watch_our_clock(now_ns)
        if found is None:
            return False
        before = len(self.history.measured)
        self.history = self.history.observed(found.at_ns, found.offset_s)
        changed = found.offset_s != expected_s
        if changed:
            self._alert(
                "server_clock_differs",
                f"the broker's clock was measured at {found.offset_s / 3_600:+g} h, {expected_s / 3_600:+g} h was expected",
            )
            self._tell_contradiction()
        if changed or len(self.history.measured) != before or now_ns - self._written_ns >= _WRITE_EVERY_NS:
            await self._write(now_ns)
        return changed

    async def _write(self, now_ns: int) -> None:
        self._written_ns = now_ns
        try:
            await asyncio.to_thread(write_clock, self._path, self.history)
        except StorageError as error:
            self._tell_once("clock_not_written", str(error))

    def _watch_our_clock(self, now_ns: int) -> None:
        """Tell of fresh ticks that lie on no whole offset for a minute: our clock is wrong, or the feed is delayed."""
        error_s = self._meter.odd_error_s
        if error_s is None:
            self._odd_since_ns = 0
        elif not self._odd_since_ns:
            self._odd_since_ns = now_ns
        elif now_ns - self._odd_since_ns > _ODD_NS:
            self._tell_once(
                "clock_cannot_be_measured",
                f"live ticks are {error_s:+.0f} s away from any whole offset. Set this computer's clock (NTP), or the feed "
                "is a delayed one; times are taken by the named clock meanwhile.",
            )

    def _tell_contradiction(self) -> None:
        text = self.history.contradiction()
        if text:
            self._tell_once("server_zone_differs", f"{text} Set mt5.server_zone.")

    def _tell_once(self, name: str, detail: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self._alert(name, detail)
