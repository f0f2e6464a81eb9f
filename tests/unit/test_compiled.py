"""The fingerprint that keeps numba from running yesterday's machine code."""

from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from libs.common.trading import decision, sessions
from libs.common.trading.compiled import code_fingerprint
from services.features.kernels import driver, entry, on_bars, on_rows

PROGRAM = """
LIMIT = {limit}
def part(x):
    {words}
    return x * {factor}
def entry(x):
    return part(x) + LIMIT
"""


def entry_of(limit: float = 1.0, factor: float = 2.0, words: str = "pass") -> FunctionType:
    space: dict[str, Any] = {"__name__": "program"}
    exec(PROGRAM.format(limit=limit, factor=factor, words=words), space)
    entry: FunctionType = space["entry"]
    return entry


def test_the_same_code_has_the_same_fingerprint() -> None:
    assert code_fingerprint(entry_of()) == code_fingerprint(entry_of())
    assert 0 < code_fingerprint(entry_of()) < 2**62


@pytest.mark.parametrize("change", [{"limit": 1.5}, {"factor": 3.0}, {"words": "x = -x"}], ids=str)
def test_a_changed_constant_or_part_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert code_fingerprint(entry_of(**change)) != code_fingerprint(entry_of())


@pytest.mark.parametrize(
    ("part", "module", "constant"), [
        (on_bars.log_return, on_bars, "BASIS_POINTS"), (on_rows.session, sessions, "SECONDS_PER_HOUR"),
        (driver.walk_chunk, decision, "NS_PER_DAY"),
    ], ids=["a family", "the session clocks", "the pass"],
)
def test_compiled_code_notices_a_change_in_any_file_it_is_made_of(
    part: Any, module: Any, constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_fingerprint(part)
    monkeypatch.setattr(module, constant, 12345)
    assert code_fingerprint(part) != before


def test_every_family_has_machine_code_of_its_own_under_the_fingerprint_of_its_code() -> None:
    addresses = {entry.address_of(kernel) for kernel in (on_bars.rsi, on_bars.macd, on_rows.spread)}
    assert len(addresses) == 3
    assert all(entry.address_of(on_bars.rsi) == entry.address_of(on_bars.rsi) for _ in range(2))
    compiled = entry._compiled[on_bars.rsi]
    assert f"{code_fingerprint(on_bars.rsi):x}" in compiled._pyfunc.__qualname__
    assert compiled._cache.cache_path


def test_kernels_are_compiled_for_one_signature_and_cached() -> None:
    assert len(driver.walk.signatures) == 1  # type: ignore[attr-defined]
    options = SimpleNamespace(**driver.walk.targetoptions)  # type: ignore[attr-defined]
    assert not getattr(options, "fastmath", False)
    assert not getattr(options, "parallel", False)
    assert driver.walk._cache.cache_path  # type: ignore[attr-defined]
