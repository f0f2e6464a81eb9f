"""What may be asked for, and the id that names it."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from libs.common.config import read_config
from libs.common.errors import ConfigError
from services.features import feature_set as module
from services.features.config import FeaturesConfig
from services.features.feature_set import FeatureSet
from services.features.registry import FAMILIES
from services.features.spec import DEFAULT_FEATURES, FeatureSpec

TIMEFRAMES = (60, 300)
RSI = FeatureSpec(name="rsi_14", family="rsi", timeframe_s=60, params={"period": 14})
SPREAD = FeatureSpec(name="spread", family="spread")


def test_the_default_set_is_the_recorded_one() -> None:
    """Models in the field carry this id: when it changes on purpose, record the new one and retrain."""
    known = FeatureSet(DEFAULT_FEATURES, FeaturesConfig().timeframes_s)
    assert known.schema_id == "23952978d7bfcb4f"
    assert (known.warm_up_bars(60), known.warm_up_bars(3600), known.warm_up_ticks) == (94, 2, 2304)


def test_the_id_depends_on_order_names_parameters_output_and_timeframe() -> None:
    variants = [
        (RSI, SPREAD), (SPREAD, RSI), (RSI,),
        (msgspec.structs.replace(RSI, name="rsi"), SPREAD),
        (msgspec.structs.replace(RSI, params={"period": 15}), SPREAD),
        (msgspec.structs.replace(RSI, timeframe_s=300), SPREAD),
        (RSI, msgspec.structs.replace(SPREAD, output="basis_points")),
    ]
    assert len({FeatureSet(variant, TIMEFRAMES).schema_id for variant in variants}) == len(variants)


def test_the_id_is_the_same_whether_a_default_is_written_out_or_not() -> None:
    assert FeatureSet((RSI,), TIMEFRAMES).schema_id == FeatureSet(
        (msgspec.structs.replace(RSI, params={}),), (60,)
    ).schema_id


def test_the_id_changes_with_the_version_of_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureSet((RSI,), TIMEFRAMES).schema_id
    newer = dataclasses.replace(FAMILIES["rsi"], version=FAMILIES["rsi"].version + 1)
    monkeypatch.setattr(module, "FAMILIES", {**FAMILIES, "rsi": newer})
    assert FeatureSet((RSI,), TIMEFRAMES).schema_id != before


@pytest.mark.parametrize(
    ("wrong", "message"), [
        ({"family": "rsii"}, "'rsi_14': there is no family 'rsii'; did you mean 'rsi'"),
        ({"output": "line"}, "family 'rsi' yields no 'line'; known: rsi"),
        ({"timeframe_s": 0}, "no bars of 0 s are built; choose timeframe_s from"),
        ({"timeframe_s": 120}, "no bars of 120 s are built"),
        ({"params": {"perod": 14}}, "no parameter 'perod'; did you mean 'period'"),
        ({"params": {"period": 1}}, "period = 1, expected a whole number from 2"),
        ({"params": {"period": 2.5}}, "period = 2.5, expected a whole number"),
        ({"params": {"period": float("nan")}}, "period = nan, expected"),
        ({"params": {"period": 1e9}}, "expected a whole number from 2 to 1000000"),
        ({"family": "spread", "params": {}}, "does not look at bars; leave timeframe_s out"),
    ],
)
def test_a_wrong_feature_is_named_with_the_remedy(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FeatureSet((msgspec.structs.replace(RSI, **wrong),), TIMEFRAMES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("timeframes", "message"),
    [((), "rising"), ((300, 60), "rising"), ((60, 60), "rising"), ((60, 90), "90 is not a multiple")],
)
def test_timeframes_that_cannot_be_built_are_refused(timeframes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FeatureSet((SPREAD,), timeframes)


def test_a_set_without_features_or_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        FeatureSet((), TIMEFRAMES)
    with pytest.raises(ConfigError, match="'spread' is used twice"):
        FeatureSet((SPREAD, SPREAD), TIMEFRAMES)


def test_features_can_be_chosen_in_the_config_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "features:\n  timeframes_s: [60]\n  features:\n"
        "    - {name: rsi_9, family: rsi, timeframe_s: 60, params: {period: 9}}\n"
        "    - {name: spread_bp, family: spread, output: basis_points}\n"
    )
    config = read_config(file, {"features": FeaturesConfig}, {})["features"]
    chosen = FeatureSet(config.features, config.timeframes_s)
    assert chosen.names == ("rsi_9", "spread_bp")
    assert chosen.features[0].params == {"period": 9.0}


def test_a_wrong_key_of_a_feature_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("features:\n  features:\n    - {name: rsi_9, famly: rsi}\n")
    with pytest.raises(ConfigError, match=r"famly.*did you mean '.*family'"):
        read_config(file, {"features": FeaturesConfig}, {})
