"""Json.mqh, compiled: what Python's json says is what it says."""

import json
import math
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Ask the compiled JsonProbe.mq5: one process for all tests of the module."""
    from tests.mql.harness.build import missing_compiler
    from tests.mql.harness.expert import Expert

    if missing_compiler():
        pytest.skip(missing_compiler())
    program = Expert.start("JsonProbe.mq5", folder=tmp_path_factory.mktemp("json"), sanitized=True)
    program.init()

    def ask(verb: str, text: str) -> str:
        program.prints.clear()
        program.chart_event(1, sparam=verb + "\n" + text)
        return program.prints[-1]

    yield ask
    program.deinit()


_MODEST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_text, inner, max_size=5),
    max_leaves=25,
)


@_MODEST
@given(_values, st.booleans())
def test_what_is_read_and_written_again_is_the_same(probe, value, ascii_only):
    assert json.loads(probe("echo", json.dumps(value, ensure_ascii=ascii_only))) == value


@_MODEST
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_reads_to_its_last_bit_and_is_written_with_few_digits(probe, value):
    back = probe("double", repr(value))
    assert struct.pack("d", float(back)) == struct.pack("d", value)
    # At a power of two one digit more than the shortest may be needed by a rounded form.
    assert len(_digits(back)) <= max(15, len(_digits(repr(value))) + 1)


def _digits(number):
    return "".join(c for c in number.lower().split("e")[0] if c.isdigit()).strip("0")


@_MODEST
@given(st.integers(0, 2**64 - 1), st.integers(-400, 330), st.integers(0, 40))
def test_any_decimal_is_rounded_to_the_nearest_double(probe, digits, exponent, zeros):
    text = f"{digits}.{'0' * zeros}{digits % 97}e{exponent}"
    assert float(probe("double", text).replace("null", "inf")) == float(text)


@pytest.mark.parametrize(
    "text",
    [
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "9007199254740993",
        "9007199254740992.5",
        "9007199254740993.0000000000000000000000000000000001",
        "0.1",
        "9007199254740993." + "0" * 900 + "1",
        "1e22",
        "1e23",
        "123456789012345678901234567890",
        "5e-324",
        "0." + "0" * 400 + "1",
        "1" + "0" * 400,
        "8.5" + "3" * 900,
        "-0.0",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
    ],
)
def test_the_hard_cases_of_reading_doubles(probe, text):
    back = probe("double", text)
    expected = float(text)
    assert back == "null" if math.isinf(expected) else struct.pack("d", float(back)) == struct.pack("d", expected)


@pytest.mark.parametrize(
    ("text", "as_long", "as_ulong"),
    [
        ("9223372036854775807", 9223372036854775807, 9223372036854775807),
        ("-9223372036854775808", -9223372036854775808, 7),
        ("18446744073709551615", -7, 18446744073709551615),
        ("18446744073709551616", -7, 7),
        ("-9223372036854775809", -7, 7),
        ("1.0", 1, 1),
        ("1.5", -7, 7),
        ("-1", -1, 7),
        ("1e3", 1000, 1000),
        ('"1"', -7, 7),
        ("-0", 0, 0),
    ],
)
def test_whole_numbers_are_exact_or_the_default(probe, text, as_long, as_ulong):
    assert probe("whole", text) == f"{as_long} {as_ulong}"


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("", 1, 1, "a value is missing"),
        ("{", 1, 2, "expected a key"),
        ('{"a" 1}', 1, 6, "expected :"),
        ('{"a":1,}', 1, 8, "expected a key"),
        ("[1,]", 1, 4, "no value begins"),
        ("[1 2]", 1, 4, "expected , or ]"),
        ("01", 1, 3, "must not begin with 0"),
        ("1.", 1, 3, "digits after the point"),
        ("1e", 1, 3, "digits in the exponent"),
        ("-", 1, 2, "without digits"),
        ("tru", 1, 1, "expected true"),
        ('"a', 1, 3, "not closed"),
        ('"\\x"', 1, 2, "no such escape"),
        ('"\\u12G4"', 1, 2, "four hex digits"),
        ('"a\nb"', 1, 3, "control character"),
        ("1 2", 1, 3, "after the document"),
        ('{\n "a": [1,\n  nope]}', 3, 3, "expected null"),
        ("[" * 65, 1, 65, "deeper than 64"),
        ("{,}", 1, 2, "expected a key"),
        ("[,1]", 1, 2, "no value"),
        ("NaN", 1, 1, "no value"),
        ("'a'", 1, 1, "no value"),
        ("]", 1, 1, "no value"),
        ("+1", 1, 1, "no value"),
        (".5", 1, 1, "no value"),
        ("[1}", 1, 3, "expected , or ]"),
    ],
)
def test_an_error_names_its_place_and_what_was_expected(probe, text, line, column, what):
    said = probe("error", text)
    assert said.startswith(f"JSON line {line}, column {column} "), said
    assert what in said


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text('{}[]",:\\u0123eE+-.tfn al\n', max_size=30))
def test_it_accepts_exactly_what_python_accepts(probe, text):
    def refuse(word):
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
        valid = True
    except ValueError:
        valid = False
    assert (probe("error", text) == "") == valid


def test_members_are_found_and_the_last_of_a_key_counts(probe):
    assert probe("find", json.dumps({"a": 1, "b": {"é": [1, 2, 3]}, 'q"\n': "x"})) == '1|3|2|x|-1|a b q"\n'
    assert probe("find", '{"a":1,"a":5,"b":{"\\u00e9":[9,8]}}').startswith("5|2|8|")


def test_lone_surrogates_survive_and_a_zero_reads_as_the_replacement_character(probe):
    assert probe("echo", '["\\ud800","\\udc00x","\\ud83d\\ude00","a\\u0000b"]') == '["\\ud800","\\udc00x","😀","a�b"]'


def test_misuse_of_the_writer_is_known_and_never_silent(probe):
    assert probe("misuse", "") == "0 0 0 0 0 1"


def test_a_document_over_the_size_limit_is_refused_unread(probe):
    assert "at most 100 are read" in probe("limit", "[" + "1," * 60 + "1]")
    assert probe("limit", "[1]") == ""
