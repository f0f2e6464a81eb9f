"""The order journal: every intent on the disk before anything is sent, every outcome after.

SQLite in WAL mode with ``synchronous=FULL``: a write that was acknowledged survives ``kill -9`` and a power cut.
It is the durable record of what this installation ever wanted to send; an order it knows is never new again.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from libs.common.errors import StorageError

VERSION = 1
"""Version of the tables, in ``PRAGMA user_version``."""
RECORDED = "recorded"
"""State of an order whose intent is here and of which nothing else is known."""
SENDING = "sending"
"""State of an order that is being handed to an external broker."""

_TABLES = """
CREATE TABLE IF NOT EXISTS intents (
    order_id TEXT PRIMARY KEY,
    magic    INTEGER NOT NULL,
    account  TEXT NOT NULL,
    symbol   TEXT NOT NULL,
    request  TEXT NOT NULL,
    ts_ns    INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS intents_by_magic ON intents (magic);
CREATE TABLE IF NOT EXISTS outcomes (
    number   INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    state    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    ts_ns    INTEGER NOT NULL,
    UNIQUE (order_id, state)
) STRICT;
"""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be sent.

    Parameters
    ----------
    magic : the number that carries the order id in the broker's records, 63 bits
    request : what the broker will be handed, JSON
    ts_ns : when it was decided, ns UTC
    """

    order_id: str
    magic: int
    account: str
    symbol: str
    request: str
    ts_ns: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A state an order has reached, and why."""

    order_id: str
    state: str
    detail: str
    ts_ns: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds of an order.

    Parameters
    ----------
    new : True when it held nothing before
    state : the last state, ``recorded`` where only the intent is known
    """

    new: bool
    state: str


class OrderJournal:
    """Reads and writes one journal file; ``open`` makes one.

    Raises
    ------
    StorageError : when the disk or the file refuses; what was being written is not half-written
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> "OrderJournal":
        """Open the journal, create it where there is none, and prove that it is durable.

        Raises
        ------
        StorageError : when the file is damaged, of another version, on a full disk, or the file system cannot keep
            what SQLite needs for durability
        """
        connecting = aiosqlite.connect(path, isolation_level=None)
        # A process that dies of something else must not wait for the connection's thread: what was acknowledged is
        # on the disk already.
        worker: Any = getattr(connecting, "_thread", connecting)
        worker.daemon = True
        with _clear_errors(path):
            try:
                connection = await connecting
            except sqlite3.Error:
                # The thread still speaks to this loop once more; let it, before the loop may end.
                await asyncio.to_thread(worker.join, 5.0)
                raise
        try:
            with _clear_errors(path):
                await _prepare(connection, path)
        except BaseException:
            await connection.close()
            raise
        return cls(path, connection)

    async def close(self) -> None:
        await self._connection.close()

    async def record_intent(self, intent: Intent) -> Known:
        """Write an intent and let it reach the disk; known orders are left as they are.

        Returns
        -------
        Whether it was new, and the last state the journal holds of the order.
        """
        async with self._transaction():
            state = await self._last_state(intent.order_id)
            cursor = await self._connection.execute(
                "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING",
                (intent.order_id, intent.magic, intent.account, intent.symbol, intent.request, intent.ts_ns),
            )
        return Known(new=cursor.rowcount == 1 and state == "", state=state or RECORDED)

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Write states orders have reached, all or none; one that is known already is left as it is."""
        async with self._transaction():
            await self._connection.executemany(
                "INSERT INTO outcomes (order_id, state, detail, ts_ns) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (order_id, state) DO NOTHING",
                [(outcome.order_id, outcome.state, outcome.detail, outcome.ts_ns) for outcome in outcomes],
            )

    async def begin_sending(self, order_id: str, ts_ns: int, request: str = "") -> bool:
        """Note that an order is about to leave us; True the first time, for ever False after.

        ``request`` is what the broker is handed, JSON, where that is not the intent's request to the letter.

        Only the caller that is told True may send. A crash between this and the broker's answer leaves the order in
        doubt, never unsent and unmarked.

        Raises
        ------
        StorageError : also when the order has no intent; nothing is sent without one
        """
        async with self._transaction():
            cursor = await self._connection.execute("SELECT 1 FROM intents WHERE order_id = ?", (order_id,))
            if await cursor.fetchone() is None:
                raise StorageError(f"{self._path}: order {order_id} has no intent, so it must not be sent")
            cursor = await self._connection.execute(
                "INSERT INTO outcomes (order_id, state, detail, ts_ns) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (order_id, state) DO NOTHING",
                (order_id, SENDING, request, ts_ns),
            )
        return cursor.rowcount == 1

    async def history(self, order_id: str) -> tuple[Outcome, ...]:
        """Return the states an order has been through, in the order they were written."""
        with _clear_errors(self._path):
            cursor = await self._connection.execute(
                "SELECT order_id, state, detail, ts_ns FROM outcomes WHERE order_id = ? ORDER BY number", (order_id,)
            )
            rows = await cursor.fetchall()
        return tuple(Outcome(order_id=row[0], state=row[1], detail=row[2], ts_ns=row[3]) for row in rows)

    async def intents(self) -> tuple[Intent, ...]:
        """Return all intents, oldest first."""
        with _clear_errors(self._path):
            cursor = await self._connection.execute(
                "SELECT order_id, magic, account, symbol, request, ts_ns FROM intents ORDER BY rowid"
            )
            rows = await cursor.fetchall()
        names = Intent.__struct_fields__
        return tuple(msgspec.convert(dict(zip(names, row, strict=True)), Intent) for row in rows)

    async def pragma(self, name: str) -> str | int:
        """Return a setting as the database itself reports it."""
        return await _pragma(self._connection, name)

    async def _last_state(self, order_id: str) -> str:
        cursor = await self._connection.execute(
            "SELECT state FROM outcomes WHERE order_id = ? ORDER BY number DESC LIMIT 1", (order_id,)
        )
        row = await cursor.fetchone()
        return "" if row is None else str(row[0])

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """Hold the only write transaction; on leaving it is on the disk, or nothing of it is."""
        async with self._turn:
            with _clear_errors(self._path):
                await self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    await self._connection.execute("COMMIT")
                except BaseException:
                    # SQLite may have rolled back by itself already.
                    with contextlib.suppress(sqlite3.Error):
                        await self._connection.execute("ROLLBACK")
                    raise


async def _prepare(connection: aiosqlite.Connection, path: Path) -> None:
    await connection.execute("PRAGMA busy_timeout = 5000")
    mode = await _pragma(connection, "journal_mode = WAL")
    await connection.execute("PRAGMA synchronous = FULL")
    if mode != "wal" or await _pragma(connection, "synchronous") != 2:
        raise StorageError(f"{path}: this file system does not let SQLite keep orders durably (journal mode {mode}). "
                           "Put the data folder on a local disk.")
    verdict = await _pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise StorageError(_DAMAGED.format(path=path, problem=verdict))
    version = await _pragma(connection, "user_version")
    if version not in (0, VERSION):
        raise StorageError(f"{path}: written by another version of Tickwire (tables {version}, we know {VERSION}). "
                           "Start the version that wrote it.")
    await connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


async def _pragma(connection: aiosqlite.Connection, name: str) -> str | int:
    cursor = await connection.execute(f"PRAGMA {name}")
    row = await cursor.fetchone()
    value: str | int = "" if row is None else row[0]
    return value


_DAMAGED = (
    "{path}: the order journal is damaged ({problem}). Stop trading, keep the file, restore it from a backup or move "
    "it away; without it check the broker's open positions by hand before trading again."
)


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StorageError(_explain(path, error)) from error


def _explain(path: Path, error: sqlite3.DatabaseError) -> str:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _DAMAGED.format(path=path, problem=error)
    remedy = {
        sqlite3.SQLITE_FULL: "Make room on the disk; nothing was half-written and no order was sent.",
        sqlite3.SQLITE_IOERR: "The disk refuses, perhaps it is full; nothing was half-written and no order was sent.",
        sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
        sqlite3.SQLITE_CANTOPEN: "Does its folder exist, and may we write there?",
        sqlite3.SQLITE_BUSY: "Another process holds it; two executors must not share a data folder.",
    }.get(code, "")
    return f"{path}: the order journal cannot be used ({error}). {remedy}".rstrip()
