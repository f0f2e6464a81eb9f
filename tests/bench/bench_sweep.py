"""How a sweep of a hundred parameter sets over a million ticks scales with the cores: the command as a person types it.

With one worker all trials run in one process; with two, in two processes beside the one that proposes. Starting those
and reading the ticks in each of them is part of the time.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
import backtest_work as work

ROOT = Path(__file__).parents[2]
TICKS = int(float(os.environ.get("BENCH_SWEEP_TICKS", "1e6")))
AXES = ("protection.stop=0.001:0.0055:0.0005", "protection.target=0.001:0.0055:0.0005")
"""A grid of ten by ten."""
TRIALS = 100
APART_MS = 1_500_000_000 // TICKS
"""Seventeen days, however many ticks: a sweep judges by days."""


def measure(folder: Path, file: Path, workers: int) -> float:
    """Return the seconds of a sweep with so many workers."""
    command = [
        sys.executable, "-m", "tickwire", "sweep", "--ticks", str(file), "--symbol", "EURUSD", "--strategy", "ma_crossover",
        "--sampler", "grid", "-n", str(TRIALS), "--workers", str(workers), "--name", f"bench-{workers}",
        *(part for axis in AXES for part in ("--param", axis)),
    ]  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the sweep ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - began


def rows() -> list[dict[str, Any]]:
    """Measure and return the row of the benchmark table."""
    quotes = work.synthetic_quotes(TICKS)
    with tempfile.TemporaryDirectory(prefix="tickwire-bench-") as name:
        folder = Path(name)
        file = folder / "quotes.parquet"
        time_msc = quotes.time_ns[0] // 1_000_000 + APART_MS * np.arange(TICKS)
        pl.DataFrame({"time_msc": time_msc, "bid": quotes.bid, "ask": quotes.ask}).write_parquet(file)
        one, two = measure(folder, file, 1), measure(folder, file, 2)
    return [{
        "name": f"sweep of {TRIALS} parameter sets over {TICKS:,} ticks, 2 workers", "unit": "s", "value": two,
        "against": "1 worker", "against_value": one, "ratio": two / one, "n": TRIALS, "min": two, "max": two,
    }]


if __name__ == "__main__":
    for line in rows():
        print(line)
