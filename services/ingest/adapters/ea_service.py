"""Ingest from a terminal's Expert Advisor: ticks come as they happen, what was missed is asked for."""

import asyncio
import contextlib

from libs.common.messages.ea import EaAsker
from libs.common.mt5.adapters.driver import Mt5Driver
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from services.ingest.adapters.mt5_service import Mt5IngestService


class EaIngestService(Mt5IngestService):
    """Reads like ``Mt5IngestService``; its questions are answered by the ticks an Expert Advisor has pushed, and by the
    Expert Advisor itself where those have a hole or reach back too little."""

    def _make_terminal(self) -> Mt5Driver | EaTerminal:
        self._ea = EaTerminal(
            self._bus, self._system.account, asker=EaAsker.INGEST, ticks=True, read_s=10.0, log=self._log
        )
        return self._ea

    async def _rest(self, wait_s: float) -> None:
        """Wait for the next question's turn, or for ticks."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ea.arrived.wait()
        self._ea.arrived.clear()
        names = self._ea.take_arrived()
        for one in self._symbols.values():
            if one.feed.broker_name in names:
                one.due_s = 0.0
