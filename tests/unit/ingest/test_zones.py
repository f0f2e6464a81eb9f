"""A file's clock to UTC, checked against the time-zone database."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from libs.common.errors import ConfigError
from services.ingest.adapters.zones import WallClock

S = 1_000_000_000
HOUR = 3_600 * S


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def utc(zone: str, *texts: str) -> list[str]:
    local = np.array([ns(text) for text in texts], dtype=np.int64)
    return [datetime.fromtimestamp(t // S, UTC).strftime("%m-%d %H:%M") for t in WallClock(zone).to_utc(local).tolist()]


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        ("UTC", "2026-01-13 15:30", "01-13 15:30"),
        ("NY+7", "2026-01-13 15:30", "01-13 13:30"),  # consumer prices, 8:30 in New York
        ("NY+7", "2026-03-10 15:30", "03-10 12:30"),  # New York changes on the 8th ...
        ("EET", "2026-03-10 14:30", "03-10 12:30"),  # ... Europe only on the 29th
        ("EET", "2026-04-10 15:30", "04-10 12:30"),
        ("NY", "2020-01-01 17:00", "01-01 22:00"),
        ("+03:00", "2026-01-01 03:00", "01-01 00:00"),
        ("-5", "2026-01-01 03:00", "01-01 08:00"),
        ("+0530", "2026-01-01 05:30", "01-01 00:00"),
        ("Europe/London", "2026-07-01 01:00", "07-01 00:00"),
    ],
)
def test_zones_people_name(zone, local, expected):
    assert utc(zone, local) == [expected]


ZONES = ["America/New_York", "Europe/Athens", "Australia/Sydney", "Asia/Tokyo", "Europe/London"]


@pytest.mark.parametrize("year", [1998, 2024])
@pytest.mark.parametrize("zone", ZONES)
def test_every_instant_comes_back_from_its_local_time(zone, year):
    start = datetime(year, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(minutes=m) for m in range(0, 400 * 24 * 60, 20)]
    local = [int(m.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC).timestamp()) * S for m in moments]
    expected = [int(m.timestamp()) * S for m in moments]
    clock = WallClock(zone)
    found = np.concatenate([clock.to_utc(np.array(part, dtype=np.int64)) for part in np.array_split(local, 17)])
    assert found.tolist() == expected


def test_the_hour_that_comes_twice_is_told_apart_by_the_clock_falling():
    day = "2024-11-03"
    found = utc("NY", f"{day} 01:10", f"{day} 01:50", f"{day} 01:05", f"{day} 01:55", f"{day} 02:00")
    assert found == ["11-03 05:10", "11-03 05:50", "11-03 06:05", "11-03 06:55", "11-03 07:00"]


def test_the_second_pass_is_remembered_from_chunk_to_chunk():
    clock = WallClock("NY")
    found = [
        int(clock.to_utc(np.array([ns(text)], dtype=np.int64))[0]) - ns("2024-11-03 00:00")
        for text in ("2024-11-03 01:50", "2024-11-03 01:05", "2024-11-03 01:30")
    ]
    assert [t // 60 // S for t in found] == [5 * 60 + 50, 6 * 60 + 5, 6 * 60 + 30]


def test_ticks_a_little_out_of_order_do_not_begin_the_second_pass():
    assert utc("NY", "2024-11-03 01:50", "2024-11-03 01:49", "2024-11-03 01:51") == [
        "11-03 05:50", "11-03 05:49", "11-03 05:51",
    ]


def test_a_doubtful_hour_shown_once_is_the_first_pass():
    assert utc("NY", "2024-11-03 01:30", "2024-11-03 02:30") == ["11-03 05:30", "11-03 07:30"]


def test_an_hour_that_does_not_exist_is_read_on_the_old_clock():
    assert utc("NY", "2024-03-10 01:59", "2024-03-10 02:30", "2024-03-10 03:00") == [
        "03-10 06:59", "03-10 07:30", "03-10 07:00",
    ]


@pytest.mark.parametrize("zone", ["Europe/Lodnon", "NY+7h", "+25:00", "", "../etc/passwd"])
def test_an_unknown_zone_is_refused_with_examples(zone):
    with pytest.raises(ConfigError, match=r"NY\+7"):
        WallClock(zone)


def test_the_nearest_zone_is_suggested():
    with pytest.raises(ConfigError, match="Europe/London"):
        WallClock("Europe/Lodnon")


def test_nothing_in_nothing_out():
    assert len(WallClock("EET").to_utc(np.empty(0, dtype=np.int64))) == 0


@pytest.mark.parametrize("zone", ["NY+15", "NY+99", "NY-20", "+1:75", "+02:60"])
def test_no_clock_is_so_far_from_another(zone):
    with pytest.raises(ConfigError, match="unknown zone"):
        WallClock(zone)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("utc", "UTC"), ("Z", "UTC"), ("eet", "EET"), ("ny+7", "NY+7"), ("UTC+3", "+3"), ("gmt+03:00", "+03:00"),
        ("europe/london", "Europe/London"), ("LONDON", "Europe/London"),
    ],
)  # fmt: skip
def test_the_nearest_zone_is_offered(zone, meant):
    with pytest.raises(ConfigError, match=f"Did you mean '{re.escape(meant)}'"):
        WallClock(zone)
