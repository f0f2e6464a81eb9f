"""What goes to disk goes there beside the loop, and a disk that refuses stops nothing else."""

import asyncio
import errno
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from libs.common.errors import StorageError
from libs.common.messages.market import TickBlock
from libs.common.storage.ticks import TickStore
from services.ingest.adapters.quarantine import QuarantineFiles
from services.ingest.adapters.recorder import Quarantine, Recorder
from services.ingest.core import QuarantinedTick

S = 1_000_000_000
MONDAY = 1_704_672_000 * S


def block(first: int, count: int = 10) -> TickBlock:
    times = MONDAY + np.arange(first, first + count, dtype=np.int64) * S
    prices = 1.1 + 0.00001 * np.arange(count)
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol="EURUSD", first_tick=first + 1, time_ns=times, bid=prices,
        ask=prices,
    )


def bad(second: int, symbol: str = "EURUSD", **changes: object) -> QuarantinedTick:
    tick = QuarantinedTick(
        symbol=symbol, rule="crossed", source="a.csv:7", time_ns=MONDAY + second * S, bid=1.2, ask=1.1
    )
    return msgspec.structs.replace(tick, **changes)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_recorded_blocks_are_in_the_store_after_close(tmp_path: Path) -> None:
    store = TickStore(tmp_path)
    recorder = Recorder(store, pytest.fail, limit=2)
    recorder.start()
    for first in range(0, 100, 10):
        await recorder.record(block(first))
    await recorder.close()
    assert sum(len(part) for part in store.read("EURUSD", 0, 2**62)) == 100
    assert (recorder.stored, recorder.known, recorder.failure) == (100, 0, "")


async def test_a_replay_of_what_is_stored_is_recognised(tmp_path: Path) -> None:
    for expected in ((20, 0), (10, 20)):
        recorder = Recorder(TickStore(tmp_path), pytest.fail)
        recorder.start()
        for first in range(0, sum(expected), 10):
            await recorder.record(block(first))
        await recorder.close()
        assert (recorder.stored, recorder.known) == expected


async def test_a_disk_that_refuses_is_reported_once_and_recording_goes_on_doing_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    told = asyncio.Event()

    def tell(problem: str) -> None:
        failures.append(problem)
        told.set()

    recorder = Recorder(TickStore(tmp_path, flush_ticks=10), tell)
    recorder.start()
    await recorder.record(block(0))
    monkeypatch.setattr("libs.common.storage.ticks.os.fsync", full_disk)
    for first in range(10, 60, 10):
        await recorder.record(block(first))
    await asyncio.wait_for(told.wait(), 10)
    for first in range(60, 90, 10):
        await recorder.record(block(first))
    await recorder.close()
    assert len(failures) == 1
    assert "No space left" in failures[0]
    assert "system.data_dir" in failures[0]
    assert recorder.failure == failures[0]
    assert not list(tmp_path.rglob("*.tmp"))


async def test_a_writer_that_was_never_started_closes_quietly(tmp_path: Path) -> None:
    await Recorder(TickStore(tmp_path), pytest.fail).close()


async def test_bad_ticks_are_lines_of_json_by_symbol_and_day(tmp_path: Path) -> None:
    files = QuarantineFiles(tmp_path / "quarantine")
    quarantine = Quarantine(files, pytest.fail)
    quarantine.start()
    await quarantine.keep((bad(0), bad(1, bid=float("nan"), flags=6), bad(86_400)))
    await quarantine.keep(())
    await quarantine.keep((bad(2), bad(3, "US30.cash")))
    await quarantine.close()
    lines = files.path_for("EURUSD", MONDAY).read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    assert [row["time_ns"] - MONDAY for row in rows] == [0, S, 2 * S]
    assert rows[0] == {
        "symbol": "EURUSD", "rule": "crossed", "source": "a.csv:7", "time_ns": MONDAY, "bid": 1.2, "ask": 1.1,
    }
    assert rows[1]["bid"] == "nan"
    assert rows[1]["flags"] == 6
    assert sorted(path.name for path in (tmp_path / "quarantine").iterdir()) == [
        "EURUSD-2024-01-08.jsonl", "EURUSD-2024-01-09.jsonl", "US30%2Ecash-2024-01-08.jsonl",
    ]


def test_a_disk_that_refuses_leaves_whole_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = QuarantineFiles(tmp_path)
    files.write((bad(0),))
    before = files.path_for("EURUSD", MONDAY).read_bytes()
    monkeypatch.setattr("services.ingest.adapters.quarantine.os.fsync", full_disk)
    with pytest.raises(StorageError, match="still counted"):
        files.write((bad(1),))
    assert files.path_for("EURUSD", MONDAY).read_bytes() == before
