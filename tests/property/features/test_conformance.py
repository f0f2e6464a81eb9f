"""Every family, with the cuts, the restart and the moment the future changes chosen by Hypothesis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.features.conformance.checks import TICKS, Candidate, sees_no_future, survives_cuts, survives_restart
from services.features.registry import LIBRARY

EVERY = pytest.mark.parametrize("name", LIBRARY)
SEEDS = st.integers(0, 3)
CUTS = st.lists(st.integers(1, TICKS - 1), max_size=12, unique=True)


@EVERY
@settings(max_examples=2, deadline=None)
@given(SEEDS, CUTS, CUTS)
def test_cuts_change_no_bit(name: str, seed: int, own: list[int], other: list[int]) -> None:
    # Some cuts stay, so that no symbol of several runs further ahead than rows wait.
    fixed = list(range(200, TICKS, 200)) if len(Candidate(LIBRARY[name]).symbols) > 1 else []
    assert survives_cuts(Candidate(LIBRARY[name]), seed, [own + fixed, other + fixed]) == ""


@EVERY
@settings(max_examples=2, deadline=None)
@given(SEEDS, st.integers(1, TICKS - 1))
def test_a_restart_at_any_tick_is_invisible(name: str, seed: int, killed_at: int) -> None:
    assert survives_restart(Candidate(LIBRARY[name]), seed, killed_at) == ""


@EVERY
@settings(max_examples=2, deadline=None)
@given(SEEDS, st.integers(TICKS // 4, TICKS - 1))
def test_the_future_is_in_no_row(name: str, seed: int, known: int) -> None:
    assert sees_no_future(Candidate(LIBRARY[name]), seed, known) == ""
