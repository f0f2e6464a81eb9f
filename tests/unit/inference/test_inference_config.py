"""Settings of inference: what makes no sense is refused at the start."""

import pytest

from libs.common.config import read_config
from libs.common.errors import ConfigError
from services.inference.config import InferenceConfig


def read(tmp_path, text: str) -> InferenceConfig:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return read_config(file, {"inference": InferenceConfig}, {})["inference"]


def test_nested_settings_are_read(tmp_path):
    found = read(tmp_path, "inference: {signals: {confirmation: {enabled: false}}, drift: {window_rows: 100}}")
    assert not found.signals.confirmation.enabled
    assert found.drift.window_rows == 100


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inference: {signals: {min_confidense: 0.1}}", "min_confidence"),
        ("inference: {signals: {min_confidence: 1.5}}", "min_confidence"),
        ("inference: {signals: {confirmation: {rsi_buy_min: 60, rsi_buy_max: 40}}}", "lower bound of the RSI"),
        ("inference: {drift: {clear: 1.2}}", "clear"),
        ("inference: {drift: {window_rows: 20, panes: 50}}", "panes"),
    ],
)
def test_senseless_settings_are_named(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        read(tmp_path, text)
