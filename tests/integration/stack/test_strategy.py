"""A rule strategy of the user's own decides live what it decides in the backtest: the same orders, the same fills.

And models that a walk-forward run trains on its way are those that the running trainer would have trained.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from backtest.engine import Engine
from backtest.feed import blocks_of
from backtest.record import Record
from backtest.wiring import build_cores
from libs.common.codec import encode
from libs.common.messages.orders import OrderFilled, OrderPartiallyFilled, PositionClosed
from services.inference.adapters.strategy_file import strategies_of
from services.ingest.adapters.sources import open_sources
from tests.integration.stack.running_stack import ROOT, RunningStack
from tests.integration.stack.test_lockstep import SYMBOLS, config
from tickwire.backtest_run import Plan, prepare_run
from tickwire.recorded_session import sections_of
from tickwire.sections import read_all
from tickwire.walk_forward_models import run_models

FILLS = (OrderFilled, OrderPartiallyFilled, PositionClosed)


async def live_fills(folder: Path, plain: dict, symbols: list[str]) -> list[bytes]:
    """Run the whole stack in lockstep and return its fills, in order per symbol."""
    stack = RunningStack(folder, plain)
    await stack.start()
    try:
        await stack.finished(symbols, 240)
        return fills(await stack.messages("executions.>"))
    finally:
        await stack.stop()


def fills(messages) -> list[bytes]:
    """Return what was filled, without when it was written down, in order per symbol."""
    found = [m for m in messages if isinstance(m, FILLS)]
    found.sort(key=lambda m: m.symbol)
    return [encode(msgspec.structs.replace(m, ts_init_ns=0, seq=0, step=0)) for m in found]


@pytest.mark.timeout(300)
async def test_a_strategy_of_ones_own_trades_live_as_it_does_in_the_backtest(tmp_path):
    plain = config(8.0)
    plain["system"]["symbols"], plain["instruments"] = ["EURUSD"], {"EURUSD": {}}
    plain["risk"].pop("max_spread_points_by_symbol")
    plain["inference"]["strategy"] = {
        "name": "pullback", "file": str(ROOT / "examples" / "strategy_example.py"), "params": {"depth": 0.5},
    }
    live = await live_fills(tmp_path, plain, ["EURUSD"])
    sections = sections_of(tmp_path / "config.yaml")
    cores = build_cores(sections, strategies=strategies_of(sections.inference.strategy))
    record = Record()
    sources = open_sources(sections.ingest, sections.system, sections.instruments)
    Engine(sections, cores, record).run(blocks_of(sections, sources))
    assert len(live) >= 10
    assert fills(message for _, message in record.messages) == live


@pytest.mark.timeout(300)
def test_a_walk_trains_and_trades_as_the_running_trainer_does(tmp_path):
    plain = config(5.0)
    plain["trainer"] |= {"min_rows": 60, "retrain_every_rows": 60}
    live = asyncio.run(live_fills(tmp_path, plain, SYMBOLS))
    file = tmp_path / "config.yaml"
    prepared = prepare_run(Plan(config=file, strategy="stay_out", max_gap_h=0.0))
    result, trainings, served = run_models(prepared, read_all(file)["trainer"])
    assert trainings
    assert served
    assert len(live) >= 10
    assert fills(message for _, message in result.record.messages) == live
