"""Config: what is wrong is refused by name with the nearest right one; environment over file; secrets from outside."""

from typing import Annotated

import pytest
from msgspec import Meta

from libs.common.config import BusConfig, DecideOn, Settings, SystemConfig, read_config
from libs.common.errors import ConfigError


class Inner(Settings, frozen=True, kw_only=True):
    factor: Annotated[float, Meta(gt=0, le=10)] = 1.0
    key: str = ""


class Risk(Settings, frozen=True, kw_only=True):
    max_spread_points: Annotated[int, Meta(gt=0)] = 20
    inner: Inner = Inner()
    list_of: tuple[Inner, ...] = ()
    by_symbol: dict[str, float] = {}


@pytest.fixture
def read(tmp_path):
    """Read a config text with the section ``risk``."""

    def read_text(text, environ=None):
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return read_config(file, {"risk": Risk}, environ or {})

    return read_text


def test_without_a_file_everything_has_its_default():
    config = read_config(None, {"risk": Risk}, {})
    assert config == {"system": SystemConfig(), "bus": BusConfig(), "instruments": {}, "risk": Risk()}


def test_an_empty_file_and_an_empty_section_give_defaults(read):
    assert read("")["risk"] == Risk()
    assert read("risk:\nsystem:\n")["risk"] == Risk()


def test_the_file_sets_keys_at_any_depth(read):
    config = read(
        "risk: {max_spread_points: 7, inner: {factor: 2}, list_of: [{factor: 3}]}\n"
        "system: {symbols: [A, B], decide_on: {kind: tick, every: 3}}\ninstruments: {'US30.cash': {digits: 2}}\n"
    )
    assert config["risk"] == Risk(max_spread_points=7, inner=Inner(factor=2.0), list_of=(Inner(factor=3.0),))
    assert config["system"].decide_on == DecideOn(kind="tick", every=3)
    assert config["system"].symbols == ("A", "B")
    assert config["instruments"]["US30.cash"].point == pytest.approx(0.01)


def test_other_services_sections_are_left_unread(read):
    assert "ingest" not in read("ingest: {this_is: not_ours}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("riks: {}", ["unknown section 'riks'", "did you mean 'risk'"]),
        ("3: {}", ["unknown section '3'"]),
        ("risk: {max_spread_point: 3}", ["risk", "unknown key 'max_spread_point'", "did you mean 'max_spread_points'"]),
        ("risk: {inner: {facter: 1}}", ["unknown key 'inner.facter'", "did you mean 'inner.factor'"]),
        ("risk: {factor: 1}", ["unknown key 'factor'", "did you mean 'inner.factor'"]),
        ("risk: {list_of: [{factr: 1}]}", ["factr", "did you mean 'list_of.factor'"]),
        ("risk: {zzzzzzz: 1}", ["unknown key 'zzzzzzz'", "known: ", "max_spread_points"]),
        ("risk: {max_spread_points: 0}", ["risk", "max_spread_points", ">= 1"]),
        ("risk: {max_spread_points: twelve}", ["max_spread_points", "Expected `int`, got `str`"]),
        ("risk: {max_spread_points: 1.5}", ["max_spread_points", "int"]),
        ("risk: {inner: {factor: 11}}", ["inner.factor", "<= 10"]),
        ("risk: {inner: {factor: .nan}}", ["inner.factor"]),
        ("risk: {inner: 3}", ["inner", "object"]),
        ("system: {clock: sundial}", ["system", "clock", "sundial"]),
        ("system: {decide_on: {every: -1}}", ["decide_on.every"]),
        ("instruments: {EURUSD: {digitz: 5}}", ["digitz", "digits"]),
        ("risk: 3", ["section 'risk'", "must hold keys", "3"]),
        ("risk: [a]", ["section 'risk'", "must hold keys"]),
        ("risk: false", ["section 'risk'", "must hold keys"]),
        ("- a\n- b", ["expected sections"]),
        ("just text", ["expected sections"]),
        ("[]", ["expected sections"]),
        ("false", ["expected sections"]),
        ("risk: {max_spread_points: 2024-02-30}", ["not valid YAML", "day is out of range"]),
        ("risk: {max_spread_points: !!int x}", ["not valid YAML", "'x'"]),
        ("bus: {password: 'secret://../../etc/hostname'}", ["bus.password", "names no secret"]),
        ('bus: {password: "secret://A\\0B"}', ["bus.password", "names no secret"]),
        ("bus: {password: 'secret://'}", ["bus.password", "names no secret", "secret://NAME"]),
        ("risk: {a: [}", ["not valid YAML"]),
        ("risk: !!python/object:os.system {}", ["not valid YAML"]),
        ("risk:\n\tmax_spread_points: 3", ["not valid YAML"]),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(read, tmp_path, text, parts):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(tmp_path / "config.yaml") in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_file_a_folder_and_a_binary_file_are_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00risk")
    for path, problem in [
        (tmp_path / "nowhere.yaml", "No such file"), (tmp_path, "Is a directory"), (tmp_path / "binary.yaml", "UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            read_config(path, {"risk": Risk}, {})
        assert str(path) in str(caught.value)


def test_the_environment_wins_over_the_file(read):
    text = "risk: {max_spread_points: 7, inner: {factor: 2, key: a}}\nsystem: {symbols: [A]}"
    config = read(text, {
        "TICKWIRE_RISK__MAX_SPREAD_POINTS": "30", "TICKWIRE_RISK__INNER__FACTOR": "2.5",
        "TICKWIRE_SYSTEM__SYMBOLS": "[X, Y]", "TICKWIRE_BUS__URL": "nats://h:1", "HOME": "/root", "TICKWIRE_HTTP_PORT": "1",
    })
    assert config["risk"] == Risk(max_spread_points=30, inner=Inner(factor=2.5, key="a"))
    assert config["system"].symbols == ("X", "Y")
    assert config["bus"].url == "nats://h:1"


def test_the_environment_fills_an_empty_section_and_an_absent_one(read):
    environ = {"TICKWIRE_RISK__INNER__FACTOR": "3"}
    for text in ("", "risk:", "risk: {inner: }"):
        assert read(text, environ)["risk"].inner.factor == 3.0


def test_the_environment_reaches_a_symbol_as_the_file_spells_it(read):
    config = read(
        "instruments: {EURUSD: {digits: 5}}\nrisk: {by_symbol: {XAUUSD: 1.0}}",
        {"TICKWIRE_INSTRUMENTS__EURUSD__DIGITS": "3", "TICKWIRE_RISK__BY_SYMBOL__XAUUSD": "2.0"},
    )
    assert config["instruments"]["EURUSD"].digits == 3
    assert config["risk"].by_symbol == {"XAUUSD": 2.0}
    assert len(config["instruments"]) == 1


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"TICKWIRE_RISC__X": "1"}, ["TICKWIRE_RISC__X", "did you mean 'risk'"]),
        ({"TICKWIRE_RISK__MAX_SPREAD": "1"}, ["max_spread", "did you mean 'max_spread_points'"]),
        ({"TICKWIRE_RISK__MAX_SPREAD_POINTS": "[1"}, ["TICKWIRE_RISK__MAX_SPREAD_POINTS", "not valid YAML"]),
        ({"TICKWIRE_RISK__MAX_SPREAD_POINTS": "2024-02-30"}, ["TICKWIRE_RISK__MAX_SPREAD_POINTS", "not valid YAML"]),
        ({"TICKWIRE_RISK__MAX_SPREAD_POINTS": "-1"}, ["max_spread_points"]),
        ({"TICKWIRE_RISK__MAX_SPREAD_POINTS__X": "1"}, ["TICKWIRE_RISK__MAX_SPREAD_POINTS__X", "holds no keys"]),
    ],
)
def test_a_wrong_environment_variable_is_named(read, environ, parts):
    with pytest.raises(ConfigError) as caught:
        read("risk: {max_spread_points: 7}", environ)
    for part in parts:
        assert part in str(caught.value)


def test_a_secret_comes_from_the_environment_first_and_from_a_file_else(read, tmp_path):
    (tmp_path / "API_KEY").write_text("from the file\n")
    text = "risk: {inner: {key: 'secret://API_KEY'}, list_of: [{key: 'secret://API_KEY'}]}"
    folder = {"TICKWIRE_SECRETS_DIR": str(tmp_path)}
    assert read(text, folder)["risk"].inner.key == "from the file"
    config = read(text, folder | {"API_KEY": "from the environment"})
    assert config["risk"].inner.key == "from the environment"
    assert config["risk"].list_of[0].key == "from the environment"


def test_a_secret_that_looks_like_yaml_stays_text(read):
    assert read("bus: {password: 'secret://P'}", {"P": "12: [3"})["bus"].password == "12: [3"


def test_a_missing_secret_is_named_with_both_places_it_could_be(read, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read("risk: {inner: {key: 'secret://API_KEY'}}", {"TICKWIRE_SECRETS_DIR": str(tmp_path / "secrets")})
    for part in ("risk.inner.key", "secret 'API_KEY' not found", str(tmp_path / "secrets" / "API_KEY"), "environment"):
        assert part in str(caught.value)


def test_an_error_about_a_section_never_tells_its_secret(read):
    with pytest.raises(ConfigError) as caught:
        read("bus: {password: 'secret://P', urll: x}", {"P": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_shared_section_is_read_by_those_who_share_it_and_asks_nobody_else_for_its_secrets(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("mt5: {login: 7, password: secret://NOT_SET_ANYWHERE}\n")
    assert "mt5" not in read_config(file, {"risk": Settings}, {})
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        read_config(file, {"ingest": Settings}, {})
    assert read_config(file, {"ingest": Settings}, {"NOT_SET_ANYWHERE": "x"})["mt5"].password == "x"


def test_a_simulated_terminal_needs_its_address(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("mt5: {backend: sim}\n")
    with pytest.raises(ConfigError, match="needs connect"):
        read_config(file, {"executor": Settings}, {})


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("risk: {max_spread_points: 5}\nrisk: {}\n", 2, "risk"),
        ("risk:\n  max_spread_points: 5\n  max_spread_points: 500\n", 3, "max_spread_points"),
        ("risk:\n  by_symbol: {A: 1.0, B: 2.0, A: 3.0}\n", 2, "A"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_by_line(read, text, line, key):
    with pytest.raises(ConfigError, match=rf"line {line}: .*key '{key}' is there twice"):
        read(text)


def test_a_merged_section_may_say_a_key_again(read):
    text = "risk:\n  list_of:\n    - &first {factor: 2.0, key: a}\n    - {<<: *first, factor: 3.0}\n"
    assert [entry.factor for entry in read(text)["risk"].list_of] == [2.0, 3.0]


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_what_is_no_finite_number_is_refused_wherever_it_stands(read, number):
    with pytest.raises(ConfigError, match=r"risk\.by_symbol\.EURUSD"):
        read(f"risk: {{by_symbol: {{EURUSD: {number}}}}}")
    with pytest.raises(ConfigError, match=r"risk\.inner\.factor"):
        read("", {"TICKWIRE_RISK__INNER__FACTOR": number})


@pytest.mark.parametrize("text", ["risk: &a\n  list_of: *a\n", "risk: " + "[" * 3_000 + "]" * 3_000])
def test_a_file_nested_within_itself_or_without_end_is_refused(read, text):
    with pytest.raises(ConfigError, match="nested"):
        read(text)


@pytest.mark.parametrize(
    ("system", "problem"),
    [
        ("symbols: []", "names none"), ("symbols: [A, B, A]", "'A' twice"), ('symbols: [""]', "no name"),
        ('symbols: ["a\\n"]', "no name"), ('account: " a"', "no name"), ('data_dir: ""', "data_dir is empty"),
        ("seed: 2147483648", "2147483647"), ("symbols: [NO]", "quotes"), ('seed: "5"', "without quotes"),
    ],
)  # fmt: skip
def test_what_no_system_can_be_is_refused(read, system, problem):
    with pytest.raises(ConfigError, match=problem):
        read(f"system:\n  {system}\n")


def test_symbols_as_brokers_spell_them(read):
    names = ("US30.cash", "#AAPL", "EURUSD.m", "EUR USD", "日本")
    assert read("system: {symbols: ['US30.cash', '#AAPL', EURUSD.m, EUR USD, 日本]}")["system"].symbols == names


def test_an_instrument_that_is_wrong_is_named(read):
    with pytest.raises(ConfigError, match=r"instruments\.US30\.cash: Expected `int`"):
        read("instruments: {EURUSD: {}, US30.cash: {digits: 1.5}}")
    with pytest.raises(ConfigError, match=r"instruments\.A: volume_min 5 is above volume_max 1"):
        read("instruments: {A: {volume_min: 5, volume_max: 1}}")


def test_an_empty_secret_and_one_that_is_no_text_are_named_and_line_ends_are_left_out(read, tmp_path):
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "EMPTY").write_text("\n")
    text = "bus: {{password: 'secret://{}'}}"
    for name in ("BINARY", "EMPTY"):
        with pytest.raises(ConfigError, match=f"bus.password: secret '{name}'"):
            read(text.format(name), {"TICKWIRE_SECRETS_DIR": str(tmp_path)})
    assert read(text.format("LINE"), {"LINE": "word\n"})["bus"].password == "word"


@pytest.mark.parametrize("address", ["x", "127.0.0.1", "127.0.0.1:", ":5", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:²"])
def test_an_address_that_is_none_is_refused_before_anybody_waits_for_it(tmp_path, address):
    file = tmp_path / "config.yaml"
    file.write_text(f"mt5: {{backend: sim, connect: '{address}'}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no address of a simulated terminal"):
        read_config(file, {"executor": Settings}, {})
