"""Killed between any two steps, with every fault a terminal has: no order twice, none lost, none left in doubt."""

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.executor.adapters.mt5 import Mt5Broker
from tests.unit.executor.mt5_chaos import Life, acquitted, judged
from tests.unit.executor.mt5_world import READS, SENDS

SEEDS = int(os.environ.get("TICKWIRE_CHAOS_SEEDS", "10000"))


async def test_seeded_lives_are_acquitted(tmp_path: Path) -> None:
    kills = 0
    for seed in range(200):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        kills += (await judged(folder, random.Random(seed), hedging=seed % 3 != 0)).kills
    assert kills > 1_000


@pytest.mark.parametrize("fate", sorted(set(SENDS)))
async def test_every_fate_of_an_order_is_survived(tmp_path: Path, fate: str) -> None:
    for seed in range(2):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        life = await judged(folder, random.Random(seed), 0.0, sends=(fate,), reads=("answered",))
        assert set(life.host.fates) <= {fate}
        assert life.host.fates, "something was sent"


@pytest.mark.parametrize("fate", sorted(set(READS)))
async def test_every_fate_of_a_question_is_survived(tmp_path: Path, fate: str) -> None:
    await judged(tmp_path, random.Random(5), 0.0, reads=("answered", "answered", fate))


@given(
    seed=st.integers(0, 3), hedging=st.booleans(),
    sends=st.lists(st.sampled_from(sorted(set(SENDS))), min_size=1, max_size=5),
    reads=st.lists(st.sampled_from(sorted(set(READS))), max_size=60),
    deaths=st.frozensets(st.integers(1, 150), max_size=4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_schedule_of_faults_and_kills_makes_two_of_one_or_none_of_one(
    tmp_path_factory: pytest.TempPathFactory, seed: int, hedging: bool, sends: list[str], reads: list[str],
    deaths: frozenset[int],
) -> None:
    life = Life(tmp_path_factory.mktemp("life"), random.Random(seed), 0.0, hedging=hedging)
    life.host.script = {SENDS: sends, READS: reads}
    life.deaths = deaths
    await acquitted(life)


async def test_the_auditor_sees_a_process_that_sends_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the test bites: without the mark and without the first look, orders are executed twice."""

    async def always(*arguments: object) -> bool:
        return True

    monkeypatch.setattr("tests.unit.executor.mt5_chaos.MortalJournal.begin_sending", always)
    monkeypatch.setattr(Mt5Broker, "_check_may_trade", Mt5Broker._check_connected)
    duplicates = strangers = 0
    for seed in range(12):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        life = Life(folder, random.Random(seed), 0.08, sends=("fill",), reads=("answered",))
        await life.live()
        await life.effects.close()
        verdict = await life.verdict()
        duplicates, strangers = duplicates + len(verdict.duplicates), strangers + len(verdict.strangers)
    assert duplicates
    assert strangers


@pytest.mark.chaos
@pytest.mark.timeout(7_200)
async def test_ten_thousand_seeds_are_acquitted(tmp_path: Path) -> None:
    began = time.monotonic()
    kills = sends = 0
    first = int(os.environ.get("TICKWIRE_CHAOS_FIRST", "0"))
    for seed in range(first, first + SEEDS):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        try:
            life = await judged(folder, random.Random(seed), hedging=seed % 3 != 0)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        kills += life.kills
        sends += len(life.host.fates)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    seconds = time.monotonic() - began
    print(f"\nseeds {first}..{first + SEEDS - 1}: {sends} orders sent, {kills} kills, 0 duplicates, 0 lost, "
          f"0 unresolved, {seconds:.0f} s")
