"""A backtest with the live cores beside what users could pick instead, on the same quotes and the same trades.

Each peer lives in an environment of its own below ``runs/bench-peers`` (made on first use) and is driven by a script
of ours in ``peers/``. A peer that cannot be installed or fails is named in its row.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from backtest.record import Record
from backtest.wiring import build_cores
from libs.common.messages.orders import PositionClosed

sys.path.insert(0, str(Path(__file__).parent))
import backtest_work as work

ROOT = Path(__file__).parents[2]
PEERS = {  # name -> (package, environment, script)
    "NautilusTrader": ("nautilus_trader", "nautilus", "nautilus_peer.py"),
    "hftbacktest": ("hftbacktest", "hft", "hftbacktest_peer.py"),
    "vectorbt": ("vectorbt", "vec", "vectorbt_peer.py"),
    "backtesting.py": ("backtesting", "bt", "backtesting_peer.py"),
}
GOLD = ROOT.parent / "shared" / "data" / "ticks" / "xauusd_oanda_2014-05.parquet"
REPEATS = int(os.environ.get("BENCH_BACKTEST_REPEATS", "3"))
SIZES = tuple(int(float(n)) for n in os.environ.get("BENCH_BACKTEST_TICKS", "1e6,5e6").split(","))
NAUTILUS_MOST, BACKTESTING_MOST = 1_000_000, 200_000
"""More ticks would only show that their cost per order rises, minute after minute."""
PEER_LIMIT_S = 900
NO_ORDERS = "no orders"
Row = dict[str, Any]


class Outcome(NamedTuple):
    """What a run took and traded.

    Parameters
    ----------
    trades : (n, 4) closing trades: when opened (ns), +1 or -1, price in, price out
    orders : filled
    """

    seconds: float
    trades: np.ndarray
    orders: int


def environment(name: str) -> Path | str:
    """Return the Python of a peer's environment, made when it is not there; or why there is none."""
    package, folder, _ = PEERS[name]
    home = ROOT / "runs" / "bench-peers" / folder
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = home / f".{package}"
    if done.exists() or _has(python, package):
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "-q", package],
    ):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            return f"not installed: {(made.stderr.strip() or 'pip failed').splitlines()[-1]}"
    done.touch()
    return python


def _has(python: Path, package: str) -> bool:
    if not python.exists():
        return False
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([str(python), "-c", asked], check=False).returncode == 0


def gold() -> work.Quotes | None:
    """Return the real quotes without crossed and repeated ones; ``None`` where the file is absent."""
    if not GOLD.exists():
        return None
    import polars as pl

    table = pl.read_parquet(GOLD)
    time_ns = table["time_msc"].to_numpy().astype(np.int64) * 1_000_000
    bid, ask = (np.round(table[name].to_numpy(), 3) for name in ("bid", "ask"))
    # Peers that walk by time see only the last of several quotes in one millisecond; so shall we.
    good = np.append(np.diff(time_ns) > 0, True) & (bid < ask)
    return work.Quotes("XAUUSD", 3, 100.0, time_ns[good], bid[good], ask[good])


def ours(quotes: work.Quotes, workload: str) -> Outcome:
    """Run the live cores over the quotes."""
    began = time.perf_counter()
    _, record = work.run(quotes, workload)
    return Outcome(time.perf_counter() - began, _our_trades(record), record.counts["OrderFilled"])


def _our_trades(record: Record) -> np.ndarray:
    closed = [message for message in record.of(PositionClosed) if isinstance(message, PositionClosed)]
    return np.array([(m.opened_ns, m.side.sign, m.price_open, m.price_close) for m in closed]).reshape(-1, 4)


def peer(name: str, quotes: work.Quotes, workload: str) -> Outcome | str:
    """Run a peer over the quotes; or return why it did not."""
    python = environment(name)
    if isinstance(python, str):
        return python
    with tempfile.TemporaryDirectory() as folder:
        columns = [("time_ns", "i8"), ("bid", "f8"), ("ask", "f8")]
        table = np.zeros(len(quotes.time_ns), dtype=columns)
        table["time_ns"], table["bid"], table["ask"] = quotes.time_ns, quotes.bid, quotes.ask
        np.save(Path(folder) / "quotes.npy", table)
        (Path(folder) / "job.json").write_text(json.dumps(_job(quotes, workload)))
        script = Path(__file__).parent / "peers" / PEERS[name][2]
        try:
            done = subprocess.run(
                [str(python), str(script), folder], capture_output=True, text=True, check=False, timeout=PEER_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return f"gave up after {PEER_LIMIT_S} s"
        if done.returncode:
            return (done.stderr.strip() or "failed").splitlines()[-1][:80]
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return Outcome(said["seconds"], _their_trades(np.load(Path(folder) / "fills.npy")), said["fills"])


def _job(quotes: work.Quotes, workload: str) -> dict[str, object]:
    point = 10.0**-quotes.digits
    configuration = work.sections(quotes, workload if workload != NO_ORDERS else work.SPARSE)
    features = build_cores(configuration, strategies=work.STRATEGIES).features
    block = next(work.blocks(quotes))
    table, _ = features.table_of(block, block.ts_event_ns)
    return {
        "workload": workload, "first_row": int(table.offsets[0]), "units": work.LOTS * quotes.contract_size,
        "digits": quotes.digits, "stop": work.stop_points(quotes) * point, "target": work.stop_points(quotes) * point,
    }


def _their_trades(fills: np.ndarray) -> np.ndarray:
    """Return closed trades from fills that each say which way the position is afterwards."""
    before, after = fills[:-1], fills[1:]
    held = before["after"] != 0
    columns = (before["time_ns"], before["after"], before["price"], after["price"])
    return np.column_stack([column[held].astype(float) for column in columns]).reshape(-1, 4)


def agreement(mine: Outcome, theirs: Outcome, quotes: work.Quotes) -> str:
    """Say whether the trades and their profit are the same."""
    a, b = mine.trades, theirs.trades
    n = min(len(a), len(b))
    units = work.LOTS * quotes.contract_size
    same = (np.abs(a[:n] - b[:n]) < [0.5e6, 0.5, 1e-9, 1e-9]).all(axis=1)
    money = [float(np.sum(np.round(t[:, 1] * (t[:, 3] - t[:, 2]) * units, 2))) for t in (a, b)]
    if len(a) == len(b) and same.all():
        return f"all {n} trades and P/L {money[0]:.2f} agree"
    first = int(np.argmin(same)) if not same.all() else n
    counts = f"{len(a)} and {len(b)} trades, {int(same.sum())} agree (first differs: {first})"
    return f"{counts}, P/L {money[0]:.2f} and {money[1]:.2f}"


def row(name: str, unit: str, value: float | None, against: str, there: float | None, n: int) -> Row:
    return {
        "name": name, "unit": unit, "value": value, "against": against, "against_value": there,
        "ratio": value / there if value and there else None, "n": n, "min": value, "max": value,
    }


def workload_rows(quotes: work.Quotes, workload: str) -> list[Row]:
    """Return a row per peer: ticks per second beside theirs, and whether the trades agree."""
    n, table = len(quotes.time_ns), []
    label = f"backtest {workload}, {n:,} {'real' if quotes.symbol == 'XAUUSD' else 'synthetic'} {quotes.symbol}"
    runs = [ours(quotes, workload) for _ in range(REPEATS)]
    mine, rate = runs[-1], median(n / run.seconds for run in runs)
    for name in PEERS:
        most = {"NautilusTrader": NAUTILUS_MOST, "backtesting.py": BACKTESTING_MOST}.get(name, n)
        part = quotes if n <= most else work.first(quotes, most)
        theirs = peer(name, part, workload)
        if isinstance(theirs, str):
            table.append(row(f"{label}", "ticks/s", rate, f"{name}: {theirs}", None, n))
            continue
        compared = mine if part is quotes else ours(part, workload)
        told = agreement(compared, theirs, part)
        where = "" if part is quotes else f" on the first {most:,}"
        table.append(row(label, "ticks/s", rate, f"{name}{where}: {told}", len(part.time_ns) / theirs.seconds, n))
    if mine.orders:
        each = [run.seconds / run.orders * 1e6 for run in runs]
        table.append(row(f"{label}: all its seconds per filled order", "us", median(each), "", None, mine.orders))
    return table


def order_cost_rows() -> list[Row]:
    """Return what an order costs in a short and in a long run: flat when the ratio is 1."""
    few, many = work.synthetic_quotes(100_000), work.synthetic_quotes(1_000_000)
    pairs = []
    for _ in range(REPEATS):
        short, long = ours(few, work.HEAVY), ours(many, work.HEAVY)
        pairs.append((long.seconds / long.orders * 1e6, short.seconds / short.orders * 1e6))
    there = median(pair[1] for pair in pairs)
    return [row(
        f"order's whole life, run of {long.orders:,} orders", "us", median(pair[0] for pair in pairs),
        f"run of {short.orders:,} orders", there, long.orders,
    )]


def memory_rows() -> list[Row]:
    """Return the memory a run holds at its highest, for many ticks beside few: flat when the ratio is 1."""
    found = []
    for n in (1_000_000, 4_000_000):
        quotes = work.synthetic_quotes(n)
        tracemalloc.start()
        with contextlib.redirect_stdout(io.StringIO()):
            work.run(quotes, work.QUIET)
        found.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return [row("memory of a run without orders, 4 M ticks", "MB", found[1], "1 M ticks", found[0], 4_000_000)]


def rows() -> list[Row]:
    """Measure and return the rows of the benchmark table."""
    table: list[Row] = []
    sets = [work.synthetic_quotes(n) for n in SIZES]
    real = gold()
    if real is not None:
        sets.append(real)
    else:
        print(f"{GOLD.name} is not there: no rows on real quotes")
    ours(work.synthetic_quotes(work.CHUNK), work.HEAVY)
    for quotes in sets:
        for workload in (work.HEAVY, work.SPARSE):
            table += workload_rows(quotes, workload)
    quotes = sets[0]
    runs = [ours(quotes, work.SPARSE) for _ in range(REPEATS)]
    rate = median(len(quotes.time_ns) / run.seconds for run in runs)
    without = peer("NautilusTrader", quotes, NO_ORDERS)
    there = None if isinstance(without, str) else len(quotes.time_ns) / without.seconds
    told = f": {without}" if isinstance(without, str) else ""
    table.append(row("backtest sparse", "ticks/s", rate, f"NautilusTrader without any order{told}", there, runs[0].orders))
    return table + order_cost_rows() + memory_rows()


if __name__ == "__main__":
    for line in rows():
        print(line)
