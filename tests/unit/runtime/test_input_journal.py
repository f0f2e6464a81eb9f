"""The input journal: what was handed to the kernel is there after kill -9, torn ends are cut off, damage is refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import StorageError
from libs.common.runtime.input_journal import Input, InputJournal, Snapshot

ROOT = Path(__file__).resolve().parents[3]


def record(number):
    return Input(f"ticks.S{number % 3}", number, 1_000 + number, b'{"n":%d}' % number, number // 2)


def write(journal, numbers):
    for number in numbers:
        entry = record(number)
        journal.append(entry.subject, entry.seq, entry.now_ns, entry.payload, entry.step)
    journal.flush()


def opened(folder):
    journal = InputJournal(folder)
    snapshot = journal.load()
    found = list(journal.inputs())
    journal.open()
    return journal, snapshot, found


def snapshot_of(journal, mark):
    return Snapshot(
        index=journal.rotate(), core=b"state %d" % mark, seen={"ticks.A": mark}, sent={"out.A": mark}, clock_ns=mark,
        step=mark, wall_ns=mark,
    )


def test_an_empty_folder_has_no_past(tmp_path):
    _, snapshot, found = opened(tmp_path / "new")
    assert snapshot is None
    assert found == []


def test_inputs_come_back_as_they_were_in_their_order(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, range(1, 50))
    journal.append("!", 0, -5, b"\x00\xff", 0)
    journal.close()
    _, _, found = opened(tmp_path)
    assert found == [*map(record, range(1, 50)), Input("!", 0, -5, b"\x00\xff", 0)]


def test_a_restart_appends_after_what_is_there(tmp_path):
    for first in (1, 11, 21):
        journal, _, found = opened(tmp_path)
        assert [entry.seq for entry in found] == list(range(1, first))
        write(journal, range(first, first + 10))
        journal.close()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400))
def test_a_torn_last_record_is_cut_off_and_the_rest_kept(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("journal")
    journal, _, _ = opened(folder)
    write(journal, range(1, 8))
    journal.close()
    file = folder / "inputs-0"
    whole = file.read_bytes()
    file.write_bytes(whole[: max(len(whole) - cut, 0)])
    journal, _, found = opened(folder)
    assert found == [record(number) for number in range(1, len(found) + 1)]
    assert len(found) == 7 if cut == 0 else len(found) < 7
    write(journal, [99])
    journal.close()
    _, _, again = opened(folder)
    assert again == [*found, record(99)]


@pytest.mark.parametrize("tail", [bytes(1), bytes(34), bytes(4_096), b"\xff" * 100, os.urandom(333)], ids=len)
def test_rubbish_after_the_last_record_as_a_power_cut_leaves_it_is_cut_off(tmp_path, tail):
    journal, _, _ = opened(tmp_path)
    write(journal, range(1, 4))
    journal.close()
    whole = (tmp_path / "inputs-0").read_bytes()
    (tmp_path / "inputs-0").write_bytes(whole + tail)
    _, _, found = opened(tmp_path)
    assert found == [record(number) for number in (1, 2, 3)]
    assert (tmp_path / "inputs-0").read_bytes() == whole


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_one_flipped_bit_is_never_handed_over_and_never_hides_what_follows(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    journal, _, _ = opened(folder)
    ends = []
    for number in range(1, 6):
        write(journal, [number])
        ends.append((folder / "inputs-0").stat().st_size)
    journal.close()
    file = folder / "inputs-0"
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(content))
    damaged = next(index for index, end in enumerate(ends) if at < end)
    refused, found = "", []
    try:
        found = list(InputJournal(folder).inputs())
    except StorageError as error:
        refused = str(error)
    if refused:
        assert "inputs-0" in refused
        assert "rebuilds its state from the streams" in refused
        assert file.read_bytes() == bytes(content)
        assert damaged < 4
        return
    # Only a damaged length can look like a torn end: the reader cannot know where the next record begins.
    assert found == [record(number) for number in range(1, damaged + 1)]


def test_a_damaged_record_with_whole_ones_behind_it_is_refused_and_left_as_it_is(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, range(1, 6))
    journal.close()
    file = tmp_path / "inputs-0"
    damaged = file.read_bytes().replace(b'{"n":2}', b'{"n":7}')
    file.write_bytes(damaged)
    with pytest.raises(StorageError, match="inputs-0: damaged at byte"):
        list(InputJournal(tmp_path).inputs())
    assert file.read_bytes() == damaged


def test_a_torn_file_that_others_follow_is_refused(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, [1, 2])
    journal.rotate()
    write(journal, [3])
    journal.close()
    file = tmp_path / "inputs-0"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match="whole records follow"):
        list(InputJournal(tmp_path).inputs())


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c[:40] + b"x" + c[41:], lambda c: c[:10], lambda c: b""])
def test_a_damaged_snapshot_is_refused_with_the_remedy(tmp_path, change):
    journal, _, _ = opened(tmp_path)
    journal.save(snapshot_of(journal, 3))
    journal.close()
    file = tmp_path / "snapshot"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(StorageError, match=r"snapshot: damaged .*Move it .*away"):
        InputJournal(tmp_path).load()


def test_a_snapshot_covers_what_came_before_it_and_nothing_after(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, [1, 2])
    taken = snapshot_of(journal, 2)
    write(journal, [3, 4])
    assert journal.save(taken) > 0
    assert [file.name for file in sorted(tmp_path.glob("inputs-*"))] == ["inputs-1"]
    journal.close()
    _, snapshot, found = opened(tmp_path)
    assert snapshot == taken
    assert found == [record(3), record(4)]


def test_until_a_snapshot_is_saved_the_one_before_and_all_inputs_since_are_the_truth(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, [1])
    first = snapshot_of(journal, 1)
    journal.save(first)
    write(journal, [2])
    snapshot_of(journal, 2)  # taken, and the process dies before it is saved
    write(journal, [3])
    journal.close()
    _, snapshot, found = opened(tmp_path)
    assert snapshot == first
    assert found == [record(2), record(3)]


def test_an_older_snapshot_never_replaces_a_newer_one(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, [1])
    older = snapshot_of(journal, 1)
    write(journal, [2])
    newer = snapshot_of(journal, 2)
    write(journal, [3])
    journal.save(newer)
    assert journal.save(older) == 0
    journal.close()
    _, snapshot, found = opened(tmp_path)
    assert snapshot == newer
    assert found == [record(3)]


def test_leftovers_of_a_snapshot_that_was_not_finished_do_no_harm(tmp_path):
    journal, _, _ = opened(tmp_path)
    write(journal, [1])
    (tmp_path / "snapshot.tmp").write_bytes(b"half")
    journal.close()
    journal, snapshot, found = opened(tmp_path)
    assert snapshot is None
    assert found == [record(1)]
    assert journal.save(snapshot_of(journal, 1)) > 0


def test_a_disk_that_refuses_a_snapshot_leaves_the_old_one(tmp_path, monkeypatch):
    journal, _, _ = opened(tmp_path)
    write(journal, [1])
    first = snapshot_of(journal, 1)
    journal.save(first)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        journal.save(snapshot_of(journal, 2))
    monkeypatch.undo()
    journal.close()
    assert InputJournal(tmp_path).load() == first
    assert not (tmp_path / "snapshot.tmp").exists()


def test_a_disk_that_refuses_inputs_says_so(tmp_path, monkeypatch):
    journal, _, _ = opened(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    journal.append("ticks.A", 1, 1, b"{}", 0)
    with pytest.raises(StorageError, match="Make room"):
        journal.flush()


WRITER = """
import sys
from pathlib import Path
from libs.common.runtime.input_journal import InputJournal, Snapshot
journal = InputJournal(Path(sys.argv[1]))
journal.load(); list(journal.inputs()); journal.open()
number = 0
while True:
    number += 1
    journal.append("ticks.A", number, number, b"x" * (number % 500), 0)
    journal.flush()
    if number % 100 == 0:
        journal.save(Snapshot(
            index=journal.rotate(), core=b"%d" % number, seen={}, sent={}, clock_ns=number, step=0, wall_ns=0
        ))
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_after_a_flush_loses_nothing(tmp_path, seed):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    said = 0
    for line in child.stdout:
        said = int(line)
        if said >= 137 + 91 * seed:
            child.send_signal(signal.SIGKILL)
            break
    rest = child.stdout.read().split()
    child.wait()
    # The last line may be torn by the kill.
    said = max([said, *(int(number) for number in rest[:-1])])
    journal = InputJournal(tmp_path)
    snapshot = journal.load()
    found = list(journal.inputs())
    assert snapshot is not None
    numbers = [entry.seq for entry in found]
    assert numbers == list(range(int(snapshot.core) + 1, int(snapshot.core) + 1 + len(numbers)))
    assert int(snapshot.core) + len(numbers) >= said
    assert all(entry.payload == b"x" * (entry.seq % 500) for entry in found)
