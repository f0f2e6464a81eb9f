"""Bar history from a terminal to Parquet: span by span, each bar once, whatever is interrupted."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from libs.common.errors import BrokerError, ConfigError
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.convert import OffsetHistory, server_bars
from libs.common.storage.bars import BarColumns, BarFile

NS_PER_S = 1_000_000_000
TIMEFRAMES: dict[str, tuple[int, int]] = {
    **{f"M{n}": (getattr(mt5, f"TIMEFRAME_M{n}"), 60 * n) for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{f"H{n}": (getattr(mt5, f"TIMEFRAME_H{n}"), 3_600 * n) for n in (1, 2, 3, 4, 6, 8, 12)},
    "D1": (mt5.TIMEFRAME_D1, 86_400), "W1": (mt5.TIMEFRAME_W1, 604_800), "MN1": (mt5.TIMEFRAME_MN1, 2_678_400),
}  # fmt: skip
"""Name -> the package's number and the (longest) length in seconds."""
SPAN_BARS = 10_000
_OPEN = 1
"""Added to the key of a span that was not over when it was loaded: it is loaded again."""
_RETRY_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)


def timeframe_of(name: str) -> tuple[int, int]:
    """Return the package's number and the length in seconds of a timeframe.

    Raises
    ------
    ConfigError : for a name nobody knows
    """
    found = TIMEFRAMES.get(name.upper())
    if found is None:
        raise ConfigError(f"unknown timeframe '{name}'; known: {', '.join(TIMEFRAMES)}")
    return found


class BarDownload:
    """Loads the bars of one symbol and timeframe.

    Parameters
    ----------
    root : folder of the bar files
    timeframe : its name, ``M1``
    history : of the broker's clock
    told : called after every span with (spans done, spans in all)
    """

    def __init__(
        self, terminal: TerminalCalls, root: Path, symbol: str, broker_name: str, timeframe: str,
        history: OffsetHistory, *, told: Callable[[int, int], None] = lambda _done, _all: None,
        pauses_s: tuple[float, ...] = _RETRY_PAUSES_S,
    ) -> None:  # fmt: skip
        self._terminal, self._broker_name, self._history = terminal, broker_name, history
        self._number, self._length_s = timeframe_of(timeframe)
        self._told, self._pauses_s = told, pauses_s
        self.file = BarFile(root, symbol, timeframe.upper())

    async def load(self, from_ns: int, to_ns: int, now_ns: int) -> int:
        """Load the bars that open in ``from <= t < to`` and return how many the file then holds.

        Only bars that have closed are kept; a span that is not over is loaded again by the next call.

        Raises
        ------
        BrokerError, TimeoutError : when the terminal gives up for good; what was loaded is kept
        StorageError : when the disk refuses
        """
        span_s = SPAN_BARS * self._length_s
        # Spans lie on a grid of the broker's clock, so that every download asks for the same ones.
        spans = range(self._history.server_s(from_ns) // span_s, (self._history.server_s(to_ns) - 1) // span_s + 1)
        for done, span in enumerate(spans, start=1):
            first_s = span * span_s
            if not self.file.has_part(first_s):
                bars = await self._span(first_s, first_s + span_s - 1, now_ns)
                is_over = self._history.server_s(now_ns) >= first_s + span_s
                await asyncio.to_thread(self._keep, first_s, bars, is_over)
            self._told(done, len(spans))
        return await asyncio.to_thread(self.file.join)

    def _keep(self, first_s: int, bars: BarColumns, is_over: bool) -> None:
        if is_over:
            self.file.write_part(first_s, bars)
            self.file.drop_part(first_s + _OPEN)
        elif len(bars):
            self.file.write_part(first_s + _OPEN, bars)

    async def _span(self, first_s: int, last_s: int, now_ns: int) -> BarColumns:
        for pause_s in (*self._pauses_s, None):
            try:
                array = await self._terminal.copy_rates_range(self._broker_name, self._number, first_s, last_s)
                break
            except (BrokerError, TimeoutError):
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        bars = server_bars(array)
        open_ns = self._history.times(first_s * 1_000).to_utc_ns(bars.time_s * 1_000)
        rows = open_ns + self._length_s * NS_PER_S <= now_ns
        return BarColumns(
            time=open_ns[rows], open=bars.open[rows], high=bars.high[rows], low=bars.low[rows], close=bars.close[rows],
            tick_volume=bars.tick_volume[rows], spread=bars.spread_points[rows], real_volume=bars.real_volume[rows],
        )  # fmt: skip
