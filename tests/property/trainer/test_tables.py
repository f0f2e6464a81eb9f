"""A table is a list of which only the newest rows are kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.tables import Table

STEPS = st.lists(st.one_of(
    st.tuples(st.just("append"), st.integers(0, 12)), st.tuples(st.just("drop"), st.integers(0, 6)),
))


@settings(max_examples=150, deadline=None)
@given(capacity=st.integers(1, 8), steps=STEPS)
def test_a_table_holds_what_a_bounded_list_holds(capacity, steps):
    table, kept, number = Table(capacity, 1, 2), [], 0
    for verb, count in steps:
        if verb == "append":
            new = list(range(number, number + count))
            number += count
            table.append(np.array(new, dtype=np.int64).reshape(-1, 1), np.array([(x, -x) for x in new]).reshape(-1, 2))
            kept = (kept + new)[-capacity:]
        else:
            table.drop(count)
            kept = kept[count:]
        assert table.ints[:, 0].tolist() == kept
        assert table.floats[:, 1].tolist() == [-x for x in kept]
        assert len(table) == len(kept)
        assert table.full == (len(kept) == capacity)
    twin = Table(capacity, 1, 2)
    twin.load(table.state())
    assert twin.state() == table.state()
