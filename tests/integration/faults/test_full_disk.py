"""A disk that fills up under the tick store: one alarm, ticks flow on, nothing is left half-written."""

import os
import subprocess

import polars as pl
import pytest

from libs.common.codec import Codec
from libs.common.messages.control import Alert
from tests.integration.faults.market import config, event_hours, figures_of, read
from tests.integration.stack.running_stack import RunningStack

SYMBOLS = ["EURUSD", "XAUUSD"]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 128 KiB where ticks are stored."""
    folder = tmp_path / "state" / "ticks"
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], check=False, capture_output=True
    ).returncode == 0
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_raises_an_alarm_and_ticks_flow_on(small_disk, tmp_path):
    if small_disk is None:
        # Who may not mount makes the folder unusable: the first write fails as on a full disk.
        (tmp_path / "state" / "ticks").rmdir()
        (tmp_path / "state" / "ticks").write_text("a file where the folder should be")
    # Several days, so that day files are written while ticks flow.
    stack = RunningStack(tmp_path, config(False, hours=30.0, speed="max"))
    alerts, codec = [], Codec((Alert,))
    try:
        await stack.start()
        await stack.watching.on_message("alerts.*", lambda _, payload: alerts.append(codec.decode(payload)))
        await stack.finished(SYMBOLS, 120)
        assert stack.dead() == []
        assert await event_hours(stack) > 29.0
        assert len(await read(stack, "ticks.*")) > 50
        told = [alert for alert in alerts if alert.name == "tick_store_not_written"]
        assert len(told) == 1
        assert told[0].severity == "critical"
        assert str(tmp_path / "state" / "ticks") in told[0].detail
        assert (await figures_of(stack, "ingest"))["finished"] == 1.0
    finally:
        await stack.stop()
    if small_disk is not None:
        whole = [file for file in small_disk.rglob("*") if file.is_file()]
        assert all(file.suffix == ".parquet" for file in whole), whole
        for file in whole:
            assert pl.read_parquet(file).height > 0
    assert stack.processes["ingest"].returncode == 0
