"""Settings that cannot be wrong quietly."""

import msgspec
import pytest

from services.trainer.config import TrainerConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_rows": 10}, {"target_sigma": 0.0}, {"horizon_s": 0}, {"fit": {"folds": 1}}, {"retrain": 5},
        {"gate": {"first_model": "luck"}}, {"min_rows": 5_000, "max_rows": 1_000}, {"sigma_unit": "pips"},
    ],
)
def test_settings_out_of_bounds_or_unknown_are_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, TrainerConfig)


def test_an_empty_section_is_whole():
    assert msgspec.convert({}, TrainerConfig) == TrainerConfig()


def test_the_barriers_scale_with_the_root_of_time():
    assert TrainerConfig(horizon_s=900, sigma_horizon_s=3_600).sigma_scale == 0.5
