"""The harness itself: language, terminal, faults and lint are what MQL5's are."""

import hashlib
import importlib.util
import re
import shutil

import pytest

from tests.mql.harness.answers import Answerer, Unanswered
from tests.mql.harness.build import INCLUDE, SOURCES, BuildError, build, missing_compiler, translated
from tests.mql.harness.expert import MqlCritical, MqlError
from tests.mql.harness.onnx import OnnxAnswers
from tests.mql.harness.prepass import translate


@pytest.fixture
def probe(ea):
    def start(**options):
        program = ea("HarnessProbe.mq5", **options)
        assert program.init() == 0
        return program

    return start


def do(program, what, number=0):
    program.prints.clear()
    program.chart_event(1, lparam=number, sparam=what)
    return program.prints


def test_inputs_have_their_defaults_and_can_be_set(ea):
    plain, other = (
        ea("HarnessProbe.mq5"),
        ea("HarnessProbe.mq5", inputs={"InpNumber": -1, "InpText": "é", "InpReal": 2.5, "InpFlag": True}),
    )
    assert plain.init() == 0
    assert plain.prints == ["hello 14 plain 0.5 false 2024.01.02 03:04:00 197121"]
    assert other.init() == 2
    assert other.prints == ["hello -2 é 2.5 true 2024.01.02 03:04:00 197121"]


def test_the_language_reads_as_in_mql5(probe):
    program = probe()
    first, second, third = do(program, "language")
    assert first == "123 childbase3x childbase3x base8 39 PROBE_THIRD 6 PERIOD_H4 2.5 2 9"
    assert second == "4 empty ü 1 65 252"
    assert third == "18446744073709551615| 1.00|ab  |0007|ff|%|2024.03.01 1.0 5.0 12 0.38 1.2346 2.5"
    assert program.deinit() == 0
    assert program.leaks == 0
    assert program.prints[-1] == "bye 1 true"


def test_a_series_is_read_backwards_and_copied_as_it_lies(probe):
    assert do(probe(), "series") == ["31 23 2 0 true"]


def test_an_index_out_of_range_stops_the_program(probe):
    with pytest.raises(MqlCritical, match="array out of range: index 2 of 2"):
        do(probe(), "bounds")


def test_a_second_delete_stops_the_program_and_a_forgotten_one_is_counted(probe):
    with pytest.raises(MqlCritical, match="delete of an object"):
        do(probe(), "twice")
    program = probe()
    assert do(program, "leak") == ["true"]
    program.deinit()
    assert program.leaks == 1


def test_a_format_that_does_not_fit_its_argument_stops_the_program(probe):
    with pytest.raises(MqlCritical, match="StringFormat"):
        do(probe(), "format")


def test_what_an_array_grows_by_may_be_rubbish(probe):
    assert do(probe(), "stale") == ["0"]
    assert do(probe(faults={"stale_arrays": True}), "stale") == ["165"]


def test_files_stay_in_their_sandbox_and_fail_on_demand(probe):
    program = probe()
    assert do(program, "files") == ["8 line ü 8 true", "-1 5002 true true"]
    assert (program.common / "moved.txt").read_text() == "line ü\n"
    program.fault(files_fail=1)
    assert do(program, "files") == ["open failed 5004"]
    program.fault(writes_fail=1)
    assert do(program, "files")[0].startswith("0 ")


def test_a_frozen_clock_moves_by_sleep_and_by_the_test_only(probe):
    program = probe(clock_ms=1_704_067_200_000)
    assert do(program, "clock") == ["2024.01.01 00:00:01 1500"]
    program.clock(1_704_067_260_000)
    assert do(program, "clock") == ["2024.01.01 00:01:01 1500"]


def test_a_question_nobody_answers_is_named(probe):
    with pytest.raises(AssertionError, match=r"calls SymbolInfoDouble\('EURUSD', 'SYMBOL_BID'\)"):
        do(probe(answers=Answerer()), "unknown")


def test_an_answer_may_be_an_error_code(ea):
    class Failing(Unanswered):
        def SymbolInfoDouble(self, symbol, name):
            raise MqlError(4301, 0.0)

    program = ea("HarnessProbe.mq5", answers=Failing())
    program.init()
    assert do(program, "unknown") == ["0.0"]
    assert program.calls["SymbolInfoDouble"] == 1


def test_hashes_and_base64_are_the_real_ones(probe):
    digest = hashlib.sha256(b"abc").hexdigest()
    assert do(probe(), "hash") == [f"{digest} ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="]


def test_global_variables_may_be_shared_between_programs(ea):
    shared = {}
    one, two = ea("HarnessProbe.mq5", globals_=shared), ea("HarnessProbe.mq5", globals_=shared)
    one.init()
    two.init()
    assert do(one, "globals") == ["1.5 false false 4501"]
    assert shared == {"a": 1.5}


@pytest.mark.skipif(
    not (importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx")),
    reason="onnxruntime is missing: pip install onnxruntime onnx",
)
def test_a_model_runs_with_the_shapes_and_sizes_the_terminal_asks_for(ea):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    class Answers(OnnxAnswers, Unanswered):
        pass

    program = ea("HarnessProbe.mq5", answers=Answers())
    program.init()
    assert do(program, "onnx", 3) == ["no model 5004"]
    (program.files / "model.onnx").write_bytes(b"not a model")
    assert do(program, "onnx", 3) == ["no model 5802"]
    (program.files / "model.onnx").write_bytes(model.SerializeToString())
    assert do(program, "onnx", 3) == ["true true 0 1.0/0.0/0.5 x"]
    program.answers.onnx_broken = True
    assert do(program, "onnx", 3) == ["true false 5803  x"]


_REFUSED = {
    "void OnTick() { auto x = 1; }": "'auto' is C\\+\\+",
    "void OnTick() { CThing *p = nullptr; }": "'nullptr' is C\\+\\+",
    "struct S { int a; };\nvoid F(S &s) { s->a = 1; }": "MQL5 writes '.'",
    "void OnTick() { int a = 1; int &r = a; }": "reference variable 'r'",
    "struct S { int a = 1; };": "member initialiser of 'a'",
    "class C { private: string m_a; double m_b = 2.0; };": "member initialiser of 'm_b'",
    "struct S { int a; };\nvoid F(S s) {}": "'s': objects are passed by reference only",
    "class C { };\nvoid F(const int n, C c) {}": "'c': objects are passed by reference only",
    "void F(int a[]) {}": "'a': arrays are passed by reference only",
    "void F(const string &s) {}": "'s': a literal cannot be given",
    'string S = "\\u00e9";': "escape \\\\u",
    "struct S;\nvoid F() {}": "forward declaration of structure 'S'",
    "unsigned int x;": "'unsigned' is C\\+\\+",
    "void F() { try { } catch(...) { } }": "'try' is C\\+\\+",
    "ulong X = 5UL;": "number suffixes",
    "#pragma once\nvoid F() {}": "no #pragma",
    "void F() { int x = (int)std::max(1, 2); }": "'std' is C\\+\\+",
}


@pytest.mark.parametrize("text", _REFUSED, ids=[text[:30].replace("\n", " ") for text in _REFUSED])
def test_what_metaeditor_refuses_and_gcc_takes_is_found(text, tmp_path):
    source = tmp_path / "Bad.mq5"
    source.write_text(text + "\n")
    problems = translate(source, ()).problems
    assert problems
    assert any(re.search(_REFUSED[text], problem) for problem in problems), problems
    assert all(problem.startswith("Bad.mq5:") for problem in problems)


def test_a_program_with_something_to_complain_about_is_not_built(tmp_path):
    if missing_compiler():
        pytest.skip(missing_compiler())
    source = tmp_path / "Bad.mq5"
    source.write_text("void OnTick() { int unused = 1; }\n")
    with pytest.raises(BuildError, match="unused"):
        build(source)
    source.write_text("struct S { int a = 1; };\nvoid OnTick() {}\n")
    with pytest.raises(BuildError, match="MetaEditor would refuse"):
        build(source)


def _sources():
    return sorted(path for folder in SOURCES for path in folder.glob("*.mq5"))


@pytest.mark.parametrize("path", _sources(), ids=lambda path: path.name)
def test_our_programs_are_clean_for_metaeditor_and_say_their_version(path):
    program = translated(path)
    assert program.problems == []
    assert program.properties.get("version", "").count(".") == 1


def test_our_sources_are_utf8_without_mark_and_name_each_other_as_they_are_spelled():
    found = [*_sources(), *INCLUDE.rglob("*.mqh")]
    assert found
    for path in found:
        raw = path.read_bytes()
        assert not raw.startswith(b"\xef\xbb\xbf"), path
        assert b"\r" not in raw, path
        raw.decode("utf-8")
        assert path.stem.isalnum(), path
        assert max(map(len, raw.decode().splitlines())) <= 140, path


def test_a_built_program_is_kept_and_a_changed_one_is_built_anew(tmp_path):
    if missing_compiler():
        pytest.skip(missing_compiler())
    source = tmp_path / "Small.mq5"
    source.write_text(f'int OnInit() {{ Print("{tmp_path}"); return(0); }}\n')
    first = build(source)
    made = first.stat().st_ino
    assert build(source).stat().st_ino == made
    source.write_text(f'int OnInit() {{ Print("{tmp_path}"); return(1); }}\n')
    second = build(source)
    assert second != first
    first.unlink()
    second.unlink()


def test_without_a_compiler_the_tests_say_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert missing_compiler() == "g++ is missing: apt-get install g++"
