"""A lockstep replay ends the same way in every run, whoever is killed on the way."""

import asyncio
import json
import random
import time

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from libs.common.signing import Verifier
from tests.integration.stack.running_stack import RunningStack
from tickwire.commands.verify import Certificate
from tickwire.main import app

SYMBOLS = ["EURUSD", "XAUUSD"]
KILLED = ("features", "inference", "risk", "executor")


def config(hours: float) -> dict:
    """Return a small market with a first model early on, so that orders flow in most of the run."""
    return {
        "system": {"symbols": SYMBOLS, "lockstep": True, "decide_on": {"kind": "bar", "every": 60}},
        "instruments": {
            "EURUSD": {}, "XAUUSD": {"digits": 2, "contract_size": 100.0, "margin_currency": "USD"},
        },
        "ingest": {
            "adapter": "synthetic", "speed": "max",
            "synthetic": {"start": "2024-01-10T06:00:00", "duration_s": hours * 3_600, "signal_strength": 2.0},
        },
        "inference": {"signals": {"min_confidence": 0.0, "confirmation": {"enabled": False}}},
        "risk": {
            "max_spread_points_by_symbol": {"XAUUSD": 200.0}, "max_positions_per_symbol": 3,
            "max_daily_loss_pct": 50.0, "max_drawdown_pct": 50.0, "max_total_exposure_x": 30.0,
            "max_symbol_exposure_x": 15.0,
        },
        "executor": {"terminal": {"slippage": "half_normal", "slippage_points": 1.0}},
        "trainer": {
            "min_rows": 120, "retrain_every_rows": 80, "horizon_s": 300,
            "fit": {"rounds": 10, "num_leaves": 3, "min_leaf_rows": 15, "folds": 2, "resamples": 100, "min_confidence": 0.0},
            "gate": {"first_model": "any", "skill_p_max": 1.0, "edge_p_max": 1.0, "min_rows": 10, "min_trades": 1},
        },
    }


async def replay(folder, hours, kills=()):
    """Run a replay, killing services at the given fractions of it; return its hash and what it did."""
    stack = RunningStack(folder, config(hours))
    await stack.start()
    try:
        killing = asyncio.create_task(_kill(stack, hours, kills))
        await stack.finished(SYMBOLS, 240)
        assert killing.done(), "the replay was over before everything was killed"
        killing.result()
        approved = await stack.messages("orders.approved.>")
        executions = await stack.messages("executions.>")
        sent = [message.order_id for message in executions if type(message).__name__ == "OrderSent"]
        promoted = await stack.messages("models.*.promoted")
        return await stack.decisions_sha256(), len(approved), sent, len(promoted)
    finally:
        await stack.stop()


async def _kill(stack, hours, kills):
    for share, name in sorted(kills):
        target = share * hours * 3_600
        while await _event_s(stack) < target:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(stack.kill, name)


async def _event_s(stack):
    newest = await stack.watching.last("ticks.EURUSD")
    return 0.0 if newest is None else (newest.ts_event_ns - 1_704_866_400_000_000_000) / 1e9


def kills_of(seed):
    """Return who dies when in a seeded run: everyone once, anywhere after the start."""
    draw = random.Random(seed)
    return [(draw.uniform(0.05, 0.9), name) for name in KILLED]


@pytest.mark.timeout(300)
async def test_killed_services_leave_the_same_orders_as_an_uninterrupted_run(tmp_path):
    wanted, approved, sent, promoted = await replay(tmp_path / "whole", 9.0)
    assert approved >= 20
    assert promoted >= 1
    assert len(sent) == len(set(sent))
    again, *_ = await replay(tmp_path / "again", 9.0)
    assert again == wanted
    kills = [*kills_of(time.time_ns() % 1_000_000), (0.5, "trainer"), (0.55, "ingest")]
    killed, approved_killed, sent_killed, _ = await replay(tmp_path / "killed", 9.0, kills)
    assert killed == wanted, f"kills {kills}"
    assert approved_killed == approved
    assert sorted(sent_killed) == sorted(sent)
    await asyncio.to_thread(_verify, tmp_path / "killed")


def _verify(folder):
    """What the killed run said is what the backtest says; with another setting, the first difference is named."""
    same = CliRunner().invoke(app, ["verify", str(folder)])
    assert same.exit_code == 0, same.output
    certificate = json.loads((folder / "certificate.json").read_text())
    assert certificate["identical"]
    assert certificate["verdict"]["compared"]["OrderApproved"] >= 20
    signed = Verifier(bytes.fromhex(certificate["public_key"]))
    unsigned = msgspec.convert(certificate, Certificate)
    unsigned.signature = ""
    assert signed.verify(msgspec.json.encode(unsigned), certificate["signature"])
    changed = yaml.safe_load((folder / "config.yaml").read_text())
    changed["executor"]["terminal"]["slippage_points"] = 1.5
    (folder / "changed.yaml").write_text(yaml.safe_dump(changed))
    other = CliRunner().invoke(app, ["verify", str(folder), "--config", str(folder / "changed.yaml")])
    assert other.exit_code == 1
    found = json.loads((folder / "certificate.json").read_text())["verdict"]["difference"]
    assert (found["cause"], found["field"]) == ("fill", "price")


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
async def test_twenty_seeds_of_kills_leave_the_same_orders(tmp_path):
    wanted, _, sent, _ = await replay(tmp_path / "whole", 9.0)
    for seed in range(20):
        killed, _, sent_killed, _ = await replay(tmp_path / f"seed-{seed}", 9.0, kills_of(seed))
        assert killed == wanted, f"seed {seed}"
        assert sorted(sent_killed) == sorted(sent), f"seed {seed}"
