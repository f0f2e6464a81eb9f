"""The order journal: durable, idempotent, and clear about what is wrong."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from libs.common.errors import StorageError
from libs.common.storage.journal import Intent, Known, OrderJournal, Outcome

REPOSITORY = Path(__file__).resolve().parents[3]


def intent(order_id: str = "aa11", **changes: object) -> Intent:
    first = Intent(order_id=order_id, magic=7, account="paper", symbol="EURUSD", request='{"volume":0.1}', ts_ns=5)
    return msgspec.structs.replace(first, **changes)


def outcome(state: str, order_id: str = "aa11", detail: str = "") -> Outcome:
    return Outcome(order_id=order_id, state=state, detail=detail, ts_ns=6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.sqlite"


async def test_the_database_itself_says_that_it_is_durable(path: Path) -> None:
    journal = await OrderJournal.open(path)
    assert await journal.pragma("journal_mode") == "wal"
    assert await journal.pragma("synchronous") == 2  # FULL
    await journal.close()


async def test_an_intent_is_new_once_and_known_for_ever(path: Path) -> None:
    journal = await OrderJournal.open(path)
    assert await journal.record_intent(intent()) == Known(new=True, state="recorded")
    assert await journal.record_intent(intent()) == Known(new=False, state="recorded")
    await journal.close()
    journal = await OrderJournal.open(path)
    assert await journal.record_intent(intent(ts_ns=99)) == Known(new=False, state="recorded")
    assert await journal.intents() == (intent(),), "the first writing stays"
    await journal.close()


async def test_the_last_outcome_is_known(path: Path) -> None:
    journal = await OrderJournal.open(path)
    await journal.record_intent(intent())
    await journal.record_outcomes([outcome("sent"), outcome("unknown", detail="no answer")])
    assert await journal.record_intent(intent()) == Known(new=False, state="unknown")
    await journal.record_outcomes([outcome("unknown", detail="another"), outcome("resolved_executed")])
    assert [(row.state, row.detail) for row in await journal.history("aa11")] == [
        ("sent", ""), ("unknown", "no answer"), ("resolved_executed", ""),
    ]
    await journal.close()


async def test_an_order_that_was_refused_before_it_was_recorded_is_not_new(path: Path) -> None:
    journal = await OrderJournal.open(path)
    await journal.record_outcomes([outcome("rejected", detail="expired")])
    assert await journal.record_intent(intent()) == Known(new=False, state="rejected")
    await journal.close()


async def test_only_the_first_may_send(path: Path) -> None:
    journal = await OrderJournal.open(path)
    await journal.record_intent(intent())
    firsts = await asyncio.gather(*(journal.begin_sending("aa11", 6) for _ in range(8)))
    assert sorted(firsts) == [False] * 7 + [True]
    await journal.close()
    journal = await OrderJournal.open(path)
    assert not await journal.begin_sending("aa11", 6)
    await journal.close()


async def test_two_processes_on_one_journal_cannot_both_send(path: Path) -> None:
    one, two = await OrderJournal.open(path), await OrderJournal.open(path)
    assert (await one.record_intent(intent())).new
    assert not (await two.record_intent(intent())).new
    assert await two.begin_sending("aa11", 6)
    assert not await one.begin_sending("aa11", 6)
    await one.close()
    await two.close()


async def test_nothing_without_an_intent_can_begin_sending(path: Path) -> None:
    journal = await OrderJournal.open(path)
    with pytest.raises(StorageError, match="has no intent"):
        await journal.begin_sending("aa11", 6)
    assert (await journal.record_intent(intent())).new, "and the journal goes on"
    await journal.close()


async def test_writes_that_come_at_once_do_not_mix(path: Path) -> None:
    journal = await OrderJournal.open(path)
    known = await asyncio.gather(*(journal.record_intent(intent(f"{n % 10:04x}")) for n in range(50)))
    assert sum(entry.new for entry in known) == 10
    await journal.close()


async def test_numbers_of_63_bits_come_back_whole(path: Path) -> None:
    journal = await OrderJournal.open(path)
    await journal.record_intent(intent(magic=2**63 - 1, symbol="#US30.cash €"))
    (kept,) = await journal.intents()
    assert (kept.magic, kept.symbol) == (2**63 - 1, "#US30.cash €")
    await journal.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from libs.common.storage.journal import Intent, OrderJournal, Outcome

async def main():
    journal = await OrderJournal.open(Path(sys.argv[1]))
    for number in range(10_000_000):
        order_id = f"{number:06x}"
        await journal.record_intent(Intent(
            order_id=order_id, magic=number, account="paper", symbol="EURUSD", request="{}", ts_ns=number,
        ))
        await journal.record_outcomes([Outcome(order_id=order_id, state="sent", detail="", ts_ns=number)])
        print(order_id, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    acknowledged = []
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline().strip() for _ in range(25)]
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.read().split()
        assert writer.returncode == -signal.SIGKILL
        acknowledged += [line for line in lines if len(line) == 6]
    journal = await OrderJournal.open(path)
    for order_id in acknowledged:
        assert await journal.record_intent(intent(order_id)) == Known(new=False, state="sent")
    assert len(acknowledged) >= 50
    await journal.close()


FILLER = """
import asyncio, resource, sys
from pathlib import Path
from libs.common.errors import StorageError
from libs.common.storage.journal import Intent, Known, OrderJournal

def intent(number):
    return Intent(
        order_id=f"{number:06x}", magic=number, account="paper", symbol="EURUSD", request="x" * 4000, ts_ns=number,
    )

async def main():
    journal = await OrderJournal.open(Path(sys.argv[1]))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    number = 0
    try:
        while True:
            await journal.record_intent(intent(number))
            number += 1
    except StorageError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert number > 5
    assert await journal.record_intent(intent(number)) == Known(new=True, state="recorded"), "it was half-written"
    assert len(await journal.intents()) == number + 1
    await journal.close()

asyncio.run(main())
"""


async def test_a_disk_without_room_is_told_with_the_remedy_and_nothing_is_half_written(path: Path) -> None:
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this test's loop
        [sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "nothing was half-written and no order was sent" in done.stdout


async def test_a_damaged_journal_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says" * 100)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="damaged"):
        await OrderJournal.open(path)
    assert path.read_bytes() == before


async def test_a_flipped_page_is_found_when_the_journal_is_opened(path: Path) -> None:
    journal = await OrderJournal.open(path)
    for number in range(50):
        await journal.record_intent(intent(f"{number:04x}", request="x" * 2000))
    await journal.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = bytes(value ^ 0xFF for value in content[middle : middle + 4096])
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        await OrderJournal.open(path)


async def test_a_journal_of_another_version_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="another version"):
        await OrderJournal.open(path)


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder exist"):
        await OrderJournal.open(tmp_path / "nowhere" / "orders.sqlite")


DYING = """
import asyncio, sys
from pathlib import Path
from libs.common.storage.journal import OrderJournal

async def main():
    await OrderJournal.open(Path(sys.argv[1]))
    raise RuntimeError("something else went wrong")

asyncio.run(main())
"""


def test_a_process_that_dies_of_something_else_is_not_held_up_by_an_open_journal(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(path)], capture_output=True, text=True, cwd=REPOSITORY, check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert "something else went wrong" in done.stderr
