"""The simulated package answers what the real one answered: 246 recorded questions, its types, names and values."""

import copy
import json
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libs.common.mt5.sim.drop_in import as_module
from libs.common.mt5.sim.package import FUNCTIONS, Package
from libs.common.mt5.sim.package_types import TYPES
from libs.common.mt5.sim.port import NoTerminal
from tests.unit.mt5.package_probes import probes

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "metatrader5_package.json").read_text(encoding="utf-8"))


def unconnected() -> ModuleType:
    return as_module(Package(NoTerminal()))


def asked(call: Any) -> tuple[str | None, str | None]:
    """Return what a call gave as text, or what it raised and from what."""
    try:
        return repr(call()), None
    except Exception as error:
        cause = error.__cause__
        chain = f" <- {type(cause).__name__}: {cause}" if cause else ""
        return None, f"{type(error).__name__}: {error}{chain}"


def test_every_recorded_question_gets_the_recorded_answer() -> None:
    mt5 = unconnected()
    put = list(probes(mt5))
    assert len(put) == len(GOLDEN["probes"]) == 246
    wrong = []
    for (label, call), (recorded, result, raised, error) in zip(put, GOLDEN["probes"], strict=True):
        assert recorded == label or recorded.startswith(f"{label}="), "questions and answers have the same order"
        found = [*asked(call), list(mt5.last_error())]
        if found != [result, raised, error]:
            wrong.append((recorded, found, [result, raised, error]))
    assert not wrong


def test_before_the_first_call_there_is_no_error() -> None:
    assert unconnected().last_error() == (0, "")


@pytest.mark.parametrize("name", sorted(GOLDEN["types"]))
def test_an_answer_type_is_the_recorded_struct_sequence(name: str) -> None:
    made, recorded = TYPES[name], GOLDEN["types"][name]
    assert [made.n_fields, made.n_sequence_fields, made.n_unnamed_fields, made.__module__, list(made.__match_args__)] == [
        recorded[key] for key in ("n_fields", "n_sequence_fields", "n_unnamed_fields", "module", "fields")
    ]
    assert repr(made) == f"<class '{name}'>"
    record = made(range(made.n_fields))
    assert isinstance(record, tuple)
    assert record == tuple(range(made.n_fields))
    assert record._asdict() == dict(zip(recorded["fields"], range(made.n_fields), strict=True))
    assert not {"_fields", "_replace", "_make"} & set(dir(record))
    with pytest.raises(TypeError):
        made(**record._asdict())
    with pytest.raises(TypeError, match="sequence"):
        made(range(made.n_fields - 1))
    with pytest.raises(AttributeError):
        setattr(record, recorded["fields"][0], 5)
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(record)
    assert copy.copy(record) == record


def test_a_record_prints_as_the_real_one() -> None:
    printed, as_dictionary = GOLDEN["records"]["TradeRequest(range(17))"]
    record = TYPES["TradeRequest"](range(17))
    assert repr(record) == printed
    assert repr(record._asdict()).startswith(as_dictionary)


def test_the_module_has_the_recorded_names_and_no_other() -> None:
    mt5 = unconnected()
    assert sorted(name for name in dir(mt5) if not name.startswith("__")) == sorted(GOLDEN["names"])
    assert set(FUNCTIONS) < set(GOLDEN["names"])


def test_all_223_constants_have_the_recorded_values() -> None:
    mt5 = unconnected()
    assert len(GOLDEN["constants"]) == 223
    assert {name: getattr(mt5, name) for name in GOLDEN["constants"]} == GOLDEN["constants"]
