"""The tick store: whole files only, every tick once."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from libs.common.errors import StorageError
from libs.common.storage.ticks import TickColumns, TickStore, day_files

REPOSITORY = Path(__file__).resolve().parents[3]
S = 1_000_000_000
DAY = 86_400 * S
MONDAY = 1_704_672_000 * S
ALWAYS = (0, 2**62)


def ticks(seconds: list[float], start_ns: int = MONDAY, **columns: object) -> TickColumns:
    times = start_ns + (np.array(seconds) * S).astype(np.int64)
    bid = 1.1 + 0.0001 * np.arange(len(times))
    return TickColumns(**{"time_ns": times, "bid": bid, "ask": bid + 0.001} | columns)


def stored(store: TickStore, symbol: str = "EURUSD", span: tuple[int, int] = ALWAYS) -> list[int]:
    return [(t - MONDAY) // S for part in store.read(symbol, *span) for t in part.time_ns.tolist()]


def names(root: Path, symbol: str = "EURUSD") -> list[str]:
    return sorted(path.name for path in (root / symbol).iterdir())


def test_what_was_appended_is_read_back_with_its_columns(tmp_path):
    store = TickStore(tmp_path)
    given = ticks(
        [1, 2, 2], last=np.array([1.0, 2.0, 3.0]), volume=np.array([0.5, 0.0, 1.0]), flags=np.array([2, 4, 6])
    )
    assert store.append("EURUSD", given) == 3
    store.flush()
    (found,) = store.read("EURUSD", *ALWAYS)
    for name in ("time_ns", "bid", "ask", "last", "volume", "flags"):
        assert getattr(found, name).tolist() == getattr(given, name).tolist()


def test_absent_columns_stay_absent(tmp_path):
    store = TickStore(tmp_path)
    store.append("EURUSD", ticks([1]))
    store.close()
    (found,) = store.read("EURUSD", *ALWAYS)
    assert len(found.last) == len(found.volume) == len(found.flags) == 0


def test_symbols_keep_their_names_in_folders_any_system_accepts(tmp_path):
    store = TickStore(tmp_path)
    for symbol in ("US30.cash", "#AAPL", "EUR/USD"):
        store.append(symbol, ticks([1]))
    store.flush()
    assert store.symbols() == ("#AAPL", "EUR/USD", "US30.cash")
    assert (tmp_path / "EUR%2FUSD").is_dir()


def test_a_day_is_written_in_parts_and_becomes_one_file_when_it_is_over(tmp_path):
    store = TickStore(tmp_path, flush_ticks=2)
    store.append("EURUSD", ticks([1, 2]))
    store.append("EURUSD", ticks([3, 4, 5]))
    assert names(tmp_path) == ["2024-01-08.000001.parquet", "2024-01-08.000002.parquet"]
    store.append("EURUSD", ticks([86_401]))
    assert names(tmp_path) == ["2024-01-08.parquet"]
    store.flush()
    assert names(tmp_path) == ["2024-01-08.parquet", "2024-01-09.000001.parquet"]
    store.close()
    assert names(tmp_path) == ["2024-01-08.parquet", "2024-01-09.parquet"]
    assert stored(store) == [1, 2, 3, 4, 5, 86_401]


def test_a_block_that_spans_midnight_is_split(tmp_path):
    store = TickStore(tmp_path)
    store.append("EURUSD", ticks([86_399, 86_400, 3 * 86_400]))
    store.close()
    assert names(tmp_path) == ["2024-01-08.parquet", "2024-01-09.parquet", "2024-01-11.parquet"]


def test_reading_is_from_inclusive_to_exclusive(tmp_path):
    store = TickStore(tmp_path, flush_ticks=3)
    store.append("EURUSD", ticks([1, 2, 3, 4, 86_400, 86_401]))
    store.flush()
    assert stored(store, span=(MONDAY + 2 * S, MONDAY + 86_401 * S)) == [2, 3, 4, 86_400]
    assert stored(store, span=(MONDAY + 5 * DAY, MONDAY + 6 * DAY)) == []
    assert stored(store, "XAUUSD") == []


@pytest.mark.parametrize("cut", range(7))
def test_ticks_the_store_holds_already_are_not_stored_twice(tmp_path, cut):
    whole = ticks([1, 2, 2, 2, 3, 3])
    first = TickStore(tmp_path, flush_ticks=2)
    first.append("EURUSD", TickColumns(**{n: getattr(whole, n)[:cut] for n in ("time_ns", "bid", "ask")}))
    first.flush()
    again = TickStore(tmp_path)
    assert again.append("EURUSD", whole) == 6 - cut
    assert again.append("EURUSD", ticks([3, 4])) == 2
    again.close()
    found = [bid for part in again.read("EURUSD", *ALWAYS) for bid in part.bid.tolist()]
    assert found == [*whole.bid.tolist(), *ticks([3, 4]).bid.tolist()]


def test_ticks_of_an_older_day_are_new_where_that_day_is_not_stored(tmp_path):
    store = TickStore(tmp_path)
    store.append("EURUSD", ticks([1]))
    assert store.append("EURUSD", ticks([1], MONDAY - 7 * DAY)) == 1
    store.close()
    assert stored(store) == [1 - 7 * 86_400, 1]


def test_a_day_that_was_closed_can_be_continued(tmp_path):
    first = TickStore(tmp_path)
    first.append("EURUSD", ticks([1, 2]))
    first.close()
    second = TickStore(tmp_path)
    second.append("EURUSD", ticks([3]))
    second.flush()
    assert names(tmp_path) == ["2024-01-08.000002.parquet", "2024-01-08.parquet"]
    assert stored(second) == [1, 2, 3]
    second.close()
    assert names(tmp_path) == ["2024-01-08.parquet"]
    assert stored(second) == [1, 2, 3]


def test_parts_left_by_a_crash_after_they_became_one_file_are_ignored_and_removed(tmp_path):
    store = TickStore(tmp_path, flush_ticks=1)
    store.append("EURUSD", ticks([1]))
    store.append("EURUSD", ticks([2]))
    parts = {path: path.read_bytes() for path in (tmp_path / "EURUSD").iterdir()}
    store.close()
    for path, content in parts.items():
        path.write_bytes(content)
    (tmp_path / "EURUSD" / "2024-01-08.000003.parquet.tmp").write_bytes(b"half")
    assert stored(store) == [1, 2]
    after = TickStore(tmp_path)
    after.append("EURUSD", ticks([2, 3], bid=np.array([1.1, 9.0]), ask=np.array([1.101, 9.1])))
    after.close()
    assert names(tmp_path) == ["2024-01-08.parquet"]
    assert stored(after) == [1, 2, 3]


def test_ticks_out_of_order_are_a_bug_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="order of time"):
        TickStore(tmp_path).append("EURUSD", ticks([2, 1]))


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_nothing_half_written_and_the_buffer_can_be_written_later(tmp_path, monkeypatch, call):
    store = TickStore(tmp_path, flush_ticks=2)
    store.append("EURUSD", ticks([1, 2]))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr("libs.common.storage.ticks.os.fsync", refuse)
        else:
            patch.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(StorageError, match="No space left") as caught:
            store.append("EURUSD", ticks([3, 4]))
    assert "Free some space" in str(caught.value)
    assert names(tmp_path) == ["2024-01-08.000001.parquet"]
    assert stored(store) == [1, 2]
    store.flush()
    assert stored(store) == [1, 2, 3, 4]


def test_a_disk_that_really_refuses_is_survived(tmp_path):
    """The kernel itself refuses the write: a file size limit stands in for a full disk."""
    script = f"""
import resource, signal
import numpy as np
from pathlib import Path
from libs.common.errors import StorageError
from libs.common.storage.ticks import TickColumns, TickStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = TickStore(Path({str(tmp_path)!r}), flush_ticks=10)
noise = np.random.default_rng(1).random(200_000)
def columns(first, n):
    times = np.arange(first, first + n, dtype=np.int64)
    return TickColumns(time_ns=times, bid=noise[:n] + 1, ask=noise[:n] + 2)
store.append("EURUSD", columns(0, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.append("EURUSD", columns(10, 200_000))
except StorageError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.stdout.startswith("refused:"), done.stderr
    assert names(tmp_path) == ["1970-01-01.000001.parquet"]
    assert sum(len(part) for part in TickStore(tmp_path).read("EURUSD", *ALWAYS)) == 10


@pytest.mark.parametrize("kill_after", [1, 3, 6])
def test_a_killed_writer_leaves_whole_files_and_a_restart_completes_them(tmp_path, kill_after):
    script = f"""
import os, signal
from pathlib import Path
import numpy as np
from libs.common.storage import ticks
real, left = os.fsync, {kill_after}
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
ticks.os.fsync = fsync
store = ticks.TickStore(Path({str(tmp_path)!r}), flush_ticks=5)
for first in range(0, 40, 5):
    times = {MONDAY} + 7_200 * 10**9 * np.arange(first, first + 5, dtype=np.int64)
    store.append("EURUSD", ticks.TickColumns(time_ns=times, bid=times * 1.0, ask=times * 1.0))
store.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == -9, done.stderr
    expected = [7_200 * k for k in range(40)]
    before = stored(TickStore(tmp_path))
    assert before == expected[: len(before)]
    store = TickStore(tmp_path, flush_ticks=5)
    times = MONDAY + 7_200 * S * np.arange(40, dtype=np.int64)
    assert store.append("EURUSD", TickColumns(time_ns=times, bid=times * 1.0, ask=times * 1.0)) == 40 - len(before)
    store.close()
    assert stored(store) == expected
    assert all("." not in path.stem for path in day_files(tmp_path / "EURUSD"))


def test_a_torn_file_is_named_with_the_remedy(tmp_path):
    store = TickStore(tmp_path)
    store.append("EURUSD", ticks([1]))
    store.close()
    path = tmp_path / "EURUSD" / "2024-01-08.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"2024-01-08\.parquet: cannot be read"):
        list(store.read("EURUSD", *ALWAYS))


def test_a_store_that_does_not_exist_holds_nothing(tmp_path):
    store = TickStore(tmp_path / "nowhere")
    assert store.symbols() == ()
    assert stored(store) == []
    store.flush()
    assert not (tmp_path / "nowhere").exists()
