"""The folder a run leaves behind: figures, trades, equity, orders, config and report, whole or not at all."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from backtest.record import EVENT_KINDS
from backtest.report import RunFacts, page_of
from backtest.result import Result
from backtest.trades import Trade
from libs.common.codec import encode
from libs.common.errors import DataError, StorageError
from libs.common.runtime.main import code_version
from libs.common.storage.tables import read_table, write_table
from tickwire.report.page import report_html

ROOT = Path(__file__).parents[1]
HOUSES = ("libs", "services", "backtest", "tickwire")
METRICS, TRADES, EQUITY, CONFIG, ORDERS, REPORT = (
    "metrics.json", "trades.parquet", "equity.parquet", "config.yaml", "orders.jsonl", "report.html",
)
FORMAT = 1
"""Of ``metrics.json``; another one is not read."""


@dataclass(frozen=True)
class SavedRun:
    """A run as its folder tells it.

    Parameters
    ----------
    metrics : content of ``metrics.json``
    trades, equity : columns by name
    """

    folder: Path
    metrics: dict[str, Any]
    trades: dict[str, list[Any]]
    equity: dict[str, list[Any]]


@dataclass
class NewFolder:
    """A folder in the making.

    Parameters
    ----------
    path : where to write
    target : where it stands once it is whole
    """

    path: Path
    target: Path


@contextlib.contextmanager
def whole_folder(parent: Path, name: str = "") -> Iterator[NewFolder]:
    """Make a folder that appears under its name only when the block ends well.

    Parameters
    ----------
    name : of the folder; empty: the time, and a number where that is taken

    Raises
    ------
    StorageError : when it cannot be made
    """
    stamp = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    hidden = parent / f".{stamp}.{os.getpid()}.part"
    try:
        hidden.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{parent}: cannot be written to ({error.strerror}). Choose another --out.") from error
    try:
        made = NewFolder(hidden, parent / stamp)
        yield made
        for attempt in itertools.count(2):
            if not made.target.exists():
                hidden.rename(made.target)
                break
            made.target = parent / f"{stamp}-{attempt}"
    except OSError as error:
        raise StorageError(f"{parent}: cannot be written to ({error.strerror}). Make room, then run again.") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_run(folder: Path, result: Result, facts: RunFacts) -> None:
    """Write everything a run leaves into a folder that is there."""
    (folder / CONFIG).write_text(facts.config, encoding="utf-8")
    (folder / METRICS).write_text(json.dumps(metrics_of(result, facts), indent=2) + "\n", encoding="utf-8")
    write_table(folder / TRADES, trade_table(result.trades))
    equity = result.equity
    write_table(
        folder / EQUITY, {"time_ns": equity.time_ns, "equity_ccy": equity.equity, "balance_ccy": equity.balance}
    )
    with (folder / ORDERS).open("wb") as file:
        for message in result.record.stepped():
            if isinstance(message, EVENT_KINDS):
                file.write(encode(message) + b"\n")
    (folder / REPORT).write_text(report_html(page_of(result, facts)), encoding="utf-8")


def metrics_of(result: Result, facts: RunFacts) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    open_net = [held.net_ccy for held in result.still_open]
    return {
        "format": FORMAT,
        "title": facts.title,
        "made_at": facts.made_at,
        "source": facts.source,
        "code_version": facts.code_version,
        "source_sha256": facts.source_sha256,
        "config_sha256": hashlib.sha256(facts.config.encode()).hexdigest(),
        "data_sha256": result.data_sha256,
        "symbols": list(result.tape.symbols),
        "currency": result.currency,
        "ticks": result.ticks,
        "rows": result.rows,
        "start_ccy": result.start_ccy,
        "final_ccy": float(result.equity.equity[-1]),
        "summary": msgspec.to_builtins(result.summary),
        "costs": msgspec.to_builtins(result.costs),
        "open": {"positions": len(open_net), "net_ccy": sum(open_net)},
        "refusals": msgspec.to_builtins(result.refusals),
        "halts": [list(halt) for halt in result.halts],
        "groups": msgspec.to_builtins(result.groups),
        "feeds": msgspec.to_builtins(result.feeds),
        "kept_back": result.kept_back,
        "messages": result.counts,
        "notes": list(facts.notes),
    }


def trade_table(trades: tuple[Trade, ...]) -> dict[str, Any]:
    """Return trades as columns, numbers as numbers also where there is no trade."""
    names = Trade.__struct_fields__
    table: dict[str, Any] = {}
    for name in names:
        values = [getattr(trade, name) for trade in trades]
        if name.endswith("_ns") or name == "position_id":
            table[name] = np.array(values, dtype=np.int64)
        elif name in ("mae_points", "mfe_points"):
            table[name] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        elif name in ("symbol", "side", "reason", "model", "session", "regime", "order_id"):
            table[name] = np.array([str(value) for value in values], dtype=np.str_)
        else:
            table[name] = np.array(values, dtype=np.float64)
    return table | {"net_ccy": np.array([trade.net_ccy for trade in trades], dtype=np.float64)}


def read_run(folder: Path) -> SavedRun:
    """Read a finished run.

    Raises
    ------
    DataError : when the folder holds none, or one of another format
    """
    file = folder / METRICS
    try:
        metrics = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(str(folder), "holds no finished run (metrics.json)", remedy="Name a folder under runs/") from None
    except (OSError, ValueError) as error:
        raise DataError(str(file), f"cannot be read ({error})") from error
    if not isinstance(metrics, dict) or metrics.get("format") != FORMAT:
        raise DataError(str(file), "is of another format", remedy="Run the backtest again with this version of Tickwire")
    return SavedRun(folder, metrics, read_table(folder / TRADES), read_table(folder / EQUITY))


def facts_of(title: str, source: str, config: str, notes: tuple[str, ...] = ()) -> RunFacts:
    """Return a run's facts as of now."""
    return RunFacts(
        title=title, made_at=datetime.now(UTC).isoformat(timespec="seconds"), source=source,
        code_version=code_version(), source_sha256=source_sha256(), config=config, notes=notes,
    )


def source_sha256() -> str:
    """Return the hash of all Python files that decide what a run does: the very code, whatever its version is called."""
    whole = hashlib.sha256()
    for path in sorted(path for house in HOUSES for path in (ROOT / house).rglob("*.py")):
        whole.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
