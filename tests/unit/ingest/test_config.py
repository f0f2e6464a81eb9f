"""Section ``ingest``: sensible by default, clear when wrong."""

import math

import msgspec
import pytest

from libs.common.config import read_config
from libs.common.errors import ConfigError
from services.ingest.config import IngestConfig


def test_the_defaults_are_the_synthetic_market_at_full_speed():
    config = IngestConfig()
    assert config.adapter == "synthetic"
    assert config.speed_factor == math.inf
    assert config.synthetic.start_ns == 1_704_672_000_000_000_000


@pytest.mark.parametrize(("speed", "factor"), [("max", math.inf), (1, 1.0), (2.5, 2.5)])
def test_speed_is_max_or_a_multiple_of_real_time(speed, factor):
    assert msgspec.convert({"speed": speed}, IngestConfig).speed_factor == factor


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{speed: 0}", "speed"),
        ("{speed: fast}", "speed"),
        ("{adapter: replay}", "files"),
        ("{adapter: replay, files: [{path: a.csv}]}", "symbol"),
        ("{max_block: 100000}", "max_block"),
        ("{quality: {spike_facter: 3}}", "spike_factor'"),
        ("{synthetic: {start: yesterday}}", "isoformat"),
        ("{synthetic: {start: '9999-12-31'}}", "before 2090"),
        ("{synthetic: {instruments: {EURUSD: {price: -1, digits: 5}}}}", "price"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, section, said):
    path = tmp_path / "config.yaml"
    path.write_text(f"ingest: {section}\n")
    with pytest.raises(ConfigError, match=said):
        read_config(path, {"ingest": IngestConfig}, {})


def test_a_start_may_carry_its_own_offset():
    config = msgspec.convert({"synthetic": {"start": "2024-01-08T02:00:00+02:00"}}, IngestConfig)
    assert config.synthetic.start_ns == IngestConfig().synthetic.start_ns
