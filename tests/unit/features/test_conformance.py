"""The conformance suite holds for the whole library, and catches what it is there to catch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from libs.common.trading.compiled import kernel_part
from services.features.conformance.checks import check_family
from services.features.family import Clock, Family, Parameter, WarmUp
from services.features.kernels.layout import CLOSE
from services.features.registry import FAMILIES, LIBRARY

Kernel = Callable[..., None]


@pytest.mark.parametrize("name", LIBRARY)
def test_a_family_of_the_library_holds(name: str) -> None:
    found = check_family(LIBRARY[name], seed=3)
    assert {check: problem for check, problem in found.items() if problem} == {}
    assert len(found) == 9


@kernel_part
def looks_ahead(f: Any, i: Any, p: Any, bars: Any, n: int, out: Any) -> None:
    """The mean of three bars, centred: the last one of a block has not happened yet."""
    for b in range(n):
        i[0] += 1
        out[0, b] = (bars[CLOSE, max(0, b - 1)] + bars[CLOSE, b] + bars[CLOSE, min(n - 1, b + 1)]) / 3.0


@kernel_part
def forgets(
    f: Any, i: Any, p: Any, point: float, time_ns: Any, bid: Any, ask: Any, last: Any, volume: Any, out: Any
) -> None:
    """Move since the block began."""
    i[0] += 1
    for k in range(len(bid)):
        out[0, k] = bid[k] - bid[0]


@kernel_part
def never_forgets(f: Any, i: Any, p: Any, bars: Any, n: int, out: Any) -> None:
    """Move of the close since the very first bar."""
    for b in range(n):
        if i[0] == 0:
            f[0] = bars[CLOSE, b]
        i[0] += 1
        out[0, b] = bars[CLOSE, b] - f[0]


@kernel_part
def is_hasty(f: Any, i: Any, p: Any, bars: Any, n: int, out: Any) -> None:
    """Move over ten bars, which it does not have at first."""
    for b in range(n):
        out[0, b] = bars[CLOSE, b] - f[i[0] % 10] if i[0] >= 10 else math.nan
        f[i[0] % 10] = bars[CLOSE, b]
        i[0] += 1


@kernel_part
def divides_by_nothing(f: Any, i: Any, p: Any, bars: Any, n: int, out: Any) -> None:
    """Close relative to the move since the bar before."""
    for b in range(n):
        move = bars[CLOSE, b] - f[0]
        out[0, b] = bars[CLOSE, b] / move if i[0] > 0 else 0.0
        f[0] = bars[CLOSE, b]
        i[0] += 1


@kernel_part
def keeps_it_in_the_parameters(f: Any, i: Any, p: Any, bars: Any, n: int, out: Any) -> None:
    """Number of bars so far, counted where no snapshot looks."""
    for b in range(n):
        p[0] += 1.0
        i[0] += 1
        out[0, b] = p[0]


@kernel_part
def invents_volume(
    f: Any, i: Any, p: Any, point: float, time_ns: Any, bid: Any, ask: Any, last: Any, volume: Any, out: Any
) -> None:
    """Volume, or nothing where there is none, though it declares that it needs it."""
    i[0] += 1
    for k in range(len(bid)):
        out[0, k] = volume[k] if len(volume) > 0 else 0.0


@kernel_part
def wants_the_moon(f: Any, i: Any, moon: Any) -> None:
    """Arguments no clock has."""


@pytest.mark.parametrize(
    ("kernel", "clock", "check", "words"), [
        (looks_ahead, Clock.BARS, "no look-ahead", "changes what it said before"),
        (looks_ahead, Clock.BARS, "block cuts", "says something else"),
        (forgets, Clock.TICKS, "block cuts", "says something else"),
        (never_forgets, Clock.BARS, "honest warm-up", "still knows when the stream began"),
        (is_hasty, Clock.BARS, "honest warm-up", "not finite"),
        (divides_by_nothing, Clock.BARS, "constant prices", "not finite"),
        (keeps_it_in_the_parameters, Clock.BARS, "restart", "something else"),
        (wants_the_moon, Clock.BARS, "description", "takes (f, i, moon)"),
    ],
)
def test_a_faulty_family_is_caught(
    kernel: Kernel, clock: Clock, check: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Family(
        kernel.__name__, clock, kernel, 1, {"value": "what it says"}, {"period": Parameter(3)},
        warm_up=lambda p: WarmUp(bars=1 if clock is Clock.BARS else 0), floats=lambda p: 10, ints=1,
    )
    monkeypatch.setitem(FAMILIES, faulty.name, faulty)
    with np.errstate(all="ignore"):
        found = check_family(faulty, seed=3) if check != "constant prices" else _rests(faulty)
    assert words in found[check]


def _rests(family: Family) -> dict[str, str]:
    from services.features.conformance.checks import Candidate, rests_finite

    return {"constant prices": rests_finite(Candidate(family), 3)}


def test_a_feed_that_lacks_what_a_family_needs_must_not_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(
        "invents_volume", Clock.TICKS, invents_volume, 1, {"value": "volume"},
        inputs=frozenset({"quotes", "volume"}), ints=1,
    )
    monkeypatch.setitem(FAMILIES, family.name, family)
    assert check_family(family)["missing inputs"] == ""
    # With the refusal taken away the check has something to say.
    monkeypatch.setattr("services.features.core.FeaturesCore._refuse_if_blind", lambda *_: None)
    assert "still makes rows" in check_family(family)["missing inputs"]
