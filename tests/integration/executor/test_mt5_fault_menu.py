"""Every entry of the fault menu, alone and in schedules, against the ``mt5`` broker: the broker's records acquit us."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.mt5.sim import faults as menu
from libs.common.mt5.sim.faults import FaultPlan, Rule
from libs.common.mt5.sim.settings import TerminalSettings
from tests.unit.executor.executor_world import NOON, S
from tests.unit.executor.mt5_chaos import Life, acquitted
from tests.unit.executor.mt5_world import MenuHost

QUESTIONS = ("terminal_info", "account_info", "symbol_info", "positions_get", "orders_get", "history_*")
SENDS: tuple[Any, ...] = (
    menu.Hang(), menu.Hang(executed=True), menu.BrokenPipe(), menu.BrokenPipe(executed=True), menu.NoneAnswer(),
    *(menu.Retcode(retcode=code) for code in (10004, 10006, 10007, 10008, 10011, 10012, 10019, 10024, 10028, 10031)),
    *(menu.LostAnswer(answer=how) for how in ("hang", "broken_pipe", "timeout", "none")),
    *(menu.LateExecution(delay_s=after, answer=how) for after in (3.0, 8.0) for how in ("hang", "timeout")),
    menu.DuplicateNotices(times=3), menu.PartialFill(), menu.PartialFill(rest="cancel"),
    menu.CommentChanged(text="by the broker"), menu.CommentChanged(keep=3),
)
"""What befalls one ``order_send``."""
ANSWERS: tuple[Any, ...] = (menu.Hang(), menu.BrokenPipe(), menu.NoneAnswer())
"""What befalls one question."""
CONDITIONS: tuple[Any, ...] = (
    menu.NotFound(), menu.HistoryLate(by_s=6.0), menu.HistoryShuffled(), menu.FrozenFeed(), menu.BuildMismatch(),
    menu.TradingDisabled(), menu.ClockJump(by_s=3_600), menu.ClockJump(by_s=-3_600),
    menu.SymbolRenamed(symbol="EURUSD", to="EURUSD.r"),
)
ACTS: tuple[Any, ...] = (
    menu.ManualTrade(symbol="EURUSD"), menu.ManualTrade(symbol="EURUSD", side="sell"), menu.ManualClose(symbol="EURUSD"),
    menu.VolumeStepChanged(symbol="EURUSD", step=0.1), menu.TerminalRestart(attempts=2),
)


def name(fault: Any) -> str:
    return str(fault).replace(" ", "")


def rules_of(fault: Any) -> tuple[Rule, ...]:
    """Return how a fault strikes more than once, and early enough to matter."""
    if isinstance(fault, menu.CONDITIONS):
        return (Rule(fault=fault, from_ns=NOON + 3 * S, lasts_s=9.0),)
    if isinstance(fault, menu.ACTS):
        return tuple(Rule(fault=fault, from_ns=NOON + after * S) for after in (3, 6))
    if isinstance(fault, menu.LoginTimeout):
        return (Rule(fault=menu.BrokenPipe(), calls="positions_get", nth=4), Rule(fault=fault, nth=2, times=3))
    return (Rule(fault=fault, times=2),)


async def lived(folder: Path, rules: tuple[Rule, ...], *, hedging: bool = True, seed: int = 1,
                deaths: frozenset[int] = frozenset()) -> Life:  # fmt: skip
    host = MenuHost(FaultPlan(rules=rules), TerminalSettings(hedging=hedging))
    life = Life(folder, random.Random(seed), 0.0, host=host)
    life.deaths = deaths
    return await acquitted(life)


@pytest.mark.parametrize("hedging", [True, False], ids=["hedging", "netting"])
@pytest.mark.parametrize("fault", [*SENDS, *CONDITIONS, *ACTS, menu.LoginTimeout()], ids=name)
async def test_every_fault_is_survived(tmp_path: Path, fault: Any, hedging: bool) -> None:
    await lived(tmp_path, rules_of(fault), hedging=hedging)


@pytest.mark.parametrize("on", QUESTIONS)
@pytest.mark.parametrize("fault", ANSWERS, ids=name)
async def test_every_fault_of_every_question_is_survived(tmp_path: Path, fault: Any, on: str) -> None:
    await lived(tmp_path, (Rule(fault=fault, calls=on, nth=3, times=3),))


def test_the_tests_name_every_fault_of_the_menu() -> None:
    named = {type(fault) for fault in (*SENDS, *ANSWERS, *CONDITIONS, *ACTS, menu.LoginTimeout())}
    assert named == {*menu.CALL_FAULTS, *menu.CONDITIONS, *menu.ACTS}


send_rules = st.builds(Rule, fault=st.sampled_from(SENDS), nth=st.integers(1, 4), times=st.integers(1, 3))
ask_rules = st.builds(
    Rule, fault=st.sampled_from(ANSWERS), calls=st.sampled_from(QUESTIONS), nth=st.integers(1, 30), times=st.integers(1, 3)
)
timed_rules = st.builds(
    lambda fault, after_s, lasts_s: Rule(
        fault=fault, from_ns=NOON + after_s * S, lasts_s=lasts_s if isinstance(fault, menu.CONDITIONS) else 0.0
    ),
    st.sampled_from([*CONDITIONS, *ACTS]), st.integers(1, 20), st.floats(1.0, 12.0),
)


@given(
    rules=st.lists(st.one_of(send_rules, send_rules, ask_rules, timed_rules), min_size=1, max_size=6),
    hedging=st.booleans(), seed=st.integers(0, 5), deaths=st.frozensets(st.integers(1, 150), max_size=3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_schedule_of_faults_and_kills_is_the_end_of_the_truth(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Rule], hedging: bool, seed: int, deaths: frozenset[int]
) -> None:
    await lived(tmp_path_factory.mktemp("life"), tuple(rules), hedging=hedging, seed=seed, deaths=deaths)
