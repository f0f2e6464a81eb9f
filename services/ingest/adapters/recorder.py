"""Good ticks to the tick store, bad ones to the quarantine, both off the loop."""

import asyncio
from collections.abc import Callable, Mapping

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.messages.market import TickBlock
from libs.common.storage.ticks import TickStore
from services.ingest.adapters.background import BackgroundWriter
from services.ingest.adapters.quarantine import QuarantineFiles
from services.ingest.core import QuarantinedTick

_MEND_S = 30.0


class Recorder:
    """Records tick blocks. A disk that refuses ends the recording, once and loudly, and nothing else.

    Parameters
    ----------
    store : where ticks go
    on_failure : called once in the loop's thread with the reason and remedy
    """

    def __init__(self, store: TickStore, on_failure: Callable[[str], None], *, limit: int = 256) -> None:
        self._store = store
        self._writer = BackgroundWriter[TickBlock](
            "tick-recorder", self._append, store.flush, on_failure, limit=limit
        )
        self.stored = 0
        """Ticks taken into the store."""
        self.known = 0
        """Ticks the store held already."""

    def start(self) -> None:
        """Begin; call in the running loop."""
        self._writer.start()

    async def record(self, block: TickBlock) -> None:
        """Hand over a block of good ticks; waits only while the disk is far behind."""
        await self._writer.put(block)

    async def mend(self, bus: NatsBus, held: Mapping[str, int]) -> list[str]:
        """Record again what the stream holds of the last minutes, which a killed process had not written yet.

        Parameters
        ----------
        held : symbol -> last number the stream holds on ``ticks.<symbol>``

        Returns
        -------
        The subjects the stream did not give in time.
        """
        waiting = {subjects.ticks(symbol): seq for symbol, seq in held.items() if seq}
        if not waiting:
            return []
        since_ns = min(self._store.last_ns(symbol) for symbol in held)
        reader = await bus.reader(list(waiting), since_ns=since_ns)
        try:
            async with asyncio.timeout(_MEND_S):
                while waiting:
                    for delivered in await reader.batch():
                        if isinstance(delivered.message, TickBlock):
                            await self.record(delivered.message)
                        if delivered.seq >= waiting.get(delivered.subject, 0):
                            waiting.pop(delivered.subject, None)
        except TimeoutError:
            return sorted(waiting)
        finally:
            await reader.close()
        return []

    async def close(self) -> None:
        """Write what is buffered."""
        await self._writer.close()

    @property
    def failure(self) -> str:
        """Why nothing is recorded any more, "" while all is well."""
        return self._writer.failure

    def _append(self, block: TickBlock) -> None:
        new = self._store.append(block.symbol, block)
        self.stored += new
        self.known += len(block) - new


class Quarantine:
    """Keeps bad ticks in files. A disk that refuses ends that, once and loudly, and nothing else."""

    def __init__(self, files: QuarantineFiles, on_failure: Callable[[str], None], *, limit: int = 256) -> None:
        self._writer = BackgroundWriter[tuple[QuarantinedTick, ...]](
            "quarantine", files.write, lambda: None, on_failure, limit=limit
        )

    def start(self) -> None:
        """Begin; call in the running loop."""
        self._writer.start()

    async def keep(self, ticks: tuple[QuarantinedTick, ...]) -> None:
        """Hand over bad ticks, in order."""
        if ticks:
            await self._writer.put(ticks)

    async def close(self) -> None:
        """Write what waits."""
        await self._writer.close()

    @property
    def failure(self) -> str:
        """Why nothing is kept any more, "" while all is well."""
        return self._writer.failure
