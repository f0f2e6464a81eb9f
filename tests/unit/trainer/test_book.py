"""From a row's volatility to its barriers."""

import pytest

from libs.common.config import InstrumentConfig
from services.trainer.book import Book
from tests.unit.trainer.market import START_NS, block, config, row

SECONDS = [START_NS + second * 10**9 for second in (0, 1, 100)]


def outcome(rise, **changes):
    """Label a row at mid 2.0 whose volatility feature is 0.01, after the mid has risen once."""
    book = Book(config(stop_sigma=5.0, **changes), InstrumentConfig())
    mids = [2.0, 2.0 + rise, 2.0]
    book.take_ticks(block(1, SECONDS[:1], mids[:1], mids[:1]))
    book.take_row(row(1, SECONDS[0], 2.0, 2.0, [0.01, 0.0, 0.0]))
    book.take_ticks(block(2, SECONDS[1:], mids[1:], mids[1:]))
    assert len(list(book.harvest())) == 1
    return int(book.dataset().label[0])


@pytest.mark.parametrize(
    ("changes", "barrier"),
    [
        ({}, 0.01),
        ({"target_sigma": 1.5}, 0.015),
        ({"sigma_unit": "relative"}, 0.02),
        ({"sigma_horizon_s": 80}, 0.005),
        ({"sigma_unit": "relative", "sigma_horizon_s": 80}, 0.01),
    ],
    ids=["price", "target", "relative", "scaled", "both"],
)
def test_the_barrier_lies_where_the_volatility_over_the_horizon_says(changes, barrier):
    assert outcome(barrier * 1.01, **changes) == 2
    assert outcome(barrier * 0.99, **changes) == 1
