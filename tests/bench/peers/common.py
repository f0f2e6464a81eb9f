"""What every peer script shares: the quotes, when to trade, and the answer. Runs in the peer's own environment."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Fills = list[tuple[int, float, int]]
"""(time in ns, price, position afterwards: +1, -1 or 0) of every fill, in order."""


class Job:
    """What is to be done, from the two files named on the command line.

    ``folder/quotes.npy`` holds time_ns, bid and ask; ``folder/job.json`` the rest:

    workload : ``order-heavy`` or ``sparse`` or ``no orders``
    first_row : offset of the tick on which the first feature row is made; nothing is decided before
    units : volume of a position, units of the base currency
    stop, target : of the sparse workload, price units
    """

    def __init__(self, folder: str) -> None:
        quotes = np.load(f"{folder}/quotes.npy")
        self.time_ns = np.ascontiguousarray(quotes["time_ns"])
        self.bid, self.ask = np.ascontiguousarray(quotes["bid"]), np.ascontiguousarray(quotes["ask"])
        with open(f"{folder}/job.json", encoding="utf-8") as file:
            self.__dict__.update(json.load(file))

    workload: str
    first_row: int
    units: float
    digits: int
    stop: float
    target: float


def answer(run: Callable[[Job], tuple[float, Fills]]) -> None:
    """Run a peer on the job named on the command line; print its seconds and save its fills."""
    folder = sys.argv[1]
    seconds, fills = run(Job(folder))
    columns = [("time_ns", "i8"), ("price", "f8"), ("after", "i8")]
    np.save(f"{folder}/fills.npy", np.array([tuple(fill) for fill in fills], dtype=columns))
    print(json.dumps({"seconds": seconds, "fills": len(fills)}))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something took, seconds, and what came of it."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result
