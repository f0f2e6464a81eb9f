"""Runs every benchmark beside this file, prints a table and writes it to ``runs/bench/<time>.json``.

A benchmark is a file ``bench_<name>.py`` with a function ``rows()`` that returns rows of the keys of ``KEYS``. What a
row is compared ``against`` (a floor, a peer, an older way) is measured in the same run, so ``ratio`` means something
on any machine.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEYS = ("name", "unit", "value", "against", "against_value", "ratio", "n", "min", "max")
Row = dict[str, Any]


def find(patterns: list[str]) -> list[Path]:
    """Return the benchmark files whose name holds one of the patterns, all of them for none."""
    files = sorted(HERE.glob("bench_*.py"))
    return [file for file in files if not patterns or any(pattern in file.stem for pattern in patterns)]


def rows_of(file: Path) -> list[Row]:
    """Run one benchmark and return its rows, checked.

    Raises
    ------
    ValueError : when a row lacks a key
    """
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    found = [dict(row) for row in module.rows()]
    for row in found:
        missing = [key for key in KEYS if key not in row]
        if missing:
            raise ValueError(f"{file.name}: row {row.get('name', '?')} lacks {', '.join(missing)}")
    return found


def as_table(rows: list[Row]) -> Table:
    """Return the rows for people: value beside what it is compared against."""
    table = Table(title="Benchmarks", title_justify="left")
    for header in ("what", "value", "unit", "against", "there", "ratio", "n", "min … max"):
        table.add_column(header, justify="left" if header in ("what", "unit", "against") else "right")
    for row in rows:
        table.add_row(
            str(row["name"]), figure(row["value"]), str(row["unit"]), str(row["against"] or ""),
            figure(row["against_value"]), figure(row["ratio"]), figure(row["n"]),
            f"{figure(row['min'])} … {figure(row['max'])}",
        )  # fmt: skip
    return table


def figure(value: Any) -> str:
    """Return a number with four significant digits and thousands separated."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def _console() -> Console:
    """Return where the table goes: a file has room for whole rows."""
    return Console() if sys.stdout.isatty() else Console(width=220)


def machine() -> dict[str, Any]:
    """Return what one must know to compare two runs."""
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "machine": platform.machine()}


def main() -> int:
    """Run and report; 1 when a benchmark failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("patterns", nargs="*", help="only benchmarks whose file name holds one of these words")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench", help="folder of the result file")
    arguments = parser.parse_args()
    console, files = _console(), find(arguments.patterns)
    if arguments.list:
        for file in files:
            console.print(file.stem)
        return 0
    if not files:
        console.print(f"no benchmark matches {arguments.patterns}; see --list", style="red")
        return 1
    rows: list[Row] = []
    failed = []
    for file in files:
        console.print(f"[dim]{file.stem} ...[/dim]")
        began = time.perf_counter()
        try:
            rows += rows_of(file)
        except Exception:  # one broken benchmark must not hide the others' figures; the exit code tells
            console.print(traceback.format_exc(), style="red", markup=False)
            failed.append(file.stem)
        console.print(f"[dim]{file.stem}: {time.perf_counter() - began:.1f} s[/dim]")
    console.print(as_table(rows))
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    result = arguments.out / f"{started}.json"
    result.write_text(json.dumps({"machine": machine(), "rows": rows, "failed": failed}, indent=1) + "\n")
    console.print(f"written to {result}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
