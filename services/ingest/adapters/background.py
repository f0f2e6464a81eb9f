"""A thread that writes to disk while the loop goes on."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from libs.common.errors import StorageError

Item = TypeVar("Item")


class BackgroundWriter(Generic[Item]):
    """Hands items to a writing function in another thread, in order.

    When the disk refuses, the writer says so once and takes nothing more; whoever feeds it goes on undisturbed.

    Parameters
    ----------
    name : of the thread
    write : writes one item; may raise ``StorageError``
    flush : makes what was written last; called now and then and at the end; may raise ``StorageError``
    on_failure : called once, in the loop's thread, with the text of the first error
    limit : items that may wait
    flush_every_s : longest time between two flushes while items come, seconds
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Item], None],
        flush: Callable[[], None],
        on_failure: Callable[[str], None],
        *,
        limit: int = 256,
        flush_every_s: float = 300.0,
    ) -> None:
        self._write, self._flush, self._on_failure = write, flush, on_failure
        self._flush_every_s = flush_every_s
        self._items: queue.Queue[Item | None] = queue.Queue(maxsize=limit)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure = ""
        """Why nothing is written any more; "" while all is well."""
        self.lost = 0
        """Items taken but not written since the failure."""

    def start(self) -> None:
        """Begin; call in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def put(self, item: Item) -> None:
        """Hand over an item; waits while ``limit`` of them are waiting to be written."""
        if self.failure:
            self.lost += 1
            return
        try:
            self._items.put_nowait(item)
        except queue.Full:
            await asyncio.to_thread(self._items.put, item)

    async def close(self) -> None:
        """Write what waits, flush, and end the thread."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._items.put, None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        flushed_s = time.monotonic()
        while True:
            item = self._next(flushed_s + self._flush_every_s)
            if item is None or time.monotonic() >= flushed_s + self._flush_every_s:
                self._guarded(self._flush)
                flushed_s = time.monotonic()
            if item is None:
                return
            if item is not _NOTHING:
                self._take(item)  # type: ignore[arg-type]

    def _next(self, until_s: float) -> object:
        try:
            return self._items.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            return _NOTHING

    def _take(self, item: Item) -> None:
        if not self._guarded(lambda: self._write(item)):
            self.lost += 1

    def _guarded(self, action: Callable[[], None]) -> bool:
        if self.failure:
            return False
        try:
            action()
        except StorageError as error:
            self.failure = str(error)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._on_failure, self.failure)
            return False
        return True


_NOTHING = object()
