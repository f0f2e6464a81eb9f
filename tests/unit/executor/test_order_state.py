"""The transition table, every cell of it."""

import itertools

import pytest

from services.executor.order_state import SETTLED, TRANSITIONS, Happening, IllegalTransition, OrderState, next_state

EXPECTED = """
approved               record    recorded
approved               refuse    rejected
approved               doubt     unknown
recorded               refuse    rejected
recorded               send      sent
sent                   fill      filled
sent                   partial   partially_filled
sent                   reject    rejected
sent                   doubt     unknown
unknown                find      resolved_executed
unknown                rule_out  resolved_not_executed
rejected               find      resolved_executed
partially_filled       find      resolved_executed
resolved_not_executed  find      resolved_executed
"""
LEGAL = {(line.split()[0], line.split()[1]): line.split()[2] for line in EXPECTED.strip().splitlines()}


@pytest.mark.parametrize(("state", "happening"), list(itertools.product(OrderState, Happening)))
def test_every_cell_of_the_table_is_as_written_here_or_a_bug(state: OrderState, happening: Happening) -> None:
    if (state, happening) in LEGAL:
        assert next_state(state, happening) == LEGAL[state, happening]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} cannot {happening}"):
            next_state(state, happening)


def reachable_from(state: OrderState) -> set[OrderState]:
    found: set[OrderState] = set()
    waiting = [state]
    while waiting:
        here = waiting.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is here and after not in found:
                found.add(after)
                waiting.append(after)
    return found


def test_no_order_that_was_sent_can_be_sent_again() -> None:
    for state in {OrderState.SENT, *reachable_from(OrderState.SENT)}:
        assert OrderState.SENT not in reachable_from(state)


def test_nothing_is_sent_before_its_intent_is_recorded() -> None:
    ways_in = {before for (before, _), after in TRANSITIONS.items() if after is OrderState.SENT}
    assert ways_in == {OrderState.RECORDED}


def test_an_unknown_order_ends_only_by_the_brokers_records() -> None:
    ways_out = {happening for (before, happening) in TRANSITIONS if before is OrderState.UNKNOWN}
    assert ways_out == {Happening.FIND, Happening.RULE_OUT}


def test_every_order_can_reach_an_end_and_every_end_is_one() -> None:
    for state in OrderState:
        assert state in SETTLED or reachable_from(state) & SETTLED
