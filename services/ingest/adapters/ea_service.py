"""Ingest from a terminal's Expert Advisor: ticks come as they happen, what was missed is asked for."""

import asyncio
import contextlib

from libs.common.messages.ea import EaAsker, EaSession
from libs.common.mt5.adapters.driver import Mt5Driver
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from services.ingest.adapters.mt5_service import Mt5IngestService
from services.ingest.market_hours import server_week


class EaIngestService(Mt5IngestService):
    """Reads like ``Mt5IngestService``; its questions are answered by the ticks an Expert Advisor has pushed, and by the
    Expert Advisor itself where those have a hole or reach back too little."""

    def _make_terminal(self) -> Mt5Driver | EaTerminal:
        self._hours_of: dict[str, tuple[EaSession, ...]] = {}
        self._ea = EaTerminal(
            self._bus, self._system.account, asker=EaAsker.INGEST, ticks=True, read_s=10.0, log=self._log
        )
        return self._ea

    def _learn_hours(self, name: str, broker_name: str) -> None:
        """Take over the quote sessions the terminal names; where it names none, the configuration holds."""
        specification = self._ea.specifications.get(broker_name)
        told = () if specification is None else specification.quote_sessions
        if self._clock is None or self._hours_of.get(name, ()) == told:
            return
        week = server_week([(one.day, one.from_s, one.to_s) for one in told], self._clock.offset_s)
        if week is not None:
            self._hours_of[name] = told
            self._sessions[name] = week
            self._core.use_hours(name, week)
            self._log.info("quote_sessions", symbol=name, sessions=len(told))

    async def _check(self) -> None:
        for name, one in self._symbols.items():
            self._learn_hours(name, one.feed.broker_name)
        await super()._check()

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
