"""The broker's clock: to UTC and back, across daylight time, with what was measured and what was only assumed."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import ConfigError, DataError
from libs.common.mt5.convert import (
    RATE_DTYPE,
    TICK_DTYPE,
    OffsetHistory,
    closed_bars,
    no_trades,
    server_bars,
    server_ticks,
)
from libs.common.mt5.server_zone import parse_zone

S = 1_000_000_000
H = 3_600
DAY = 86_400 * S


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def wall(text: str) -> int:
    """A reading of the server's clock, ms."""
    return at(text) // 1_000_000


def measured(*seen: tuple[str, int], zone: str = "NY+7") -> OffsetHistory:
    history = OffsetHistory(server="Broker", zone=zone)
    for text, hours in seen:
        history = history.observed(at(text), hours * H)
    return history


# ---- named clocks


@pytest.mark.parametrize(("name", "iana", "lead_h"), [("NY+7", "America/New_York", 7), ("EET", "Europe/Athens", 0),
                                                      ("EU+1", "Europe/Paris", 0), ("UTC", "UTC", 0)])
def test_a_named_clock_agrees_with_the_time_zone_database(name, iana, lead_h):
    zone, known = parse_zone(name), ZoneInfo(iana)
    for hour in range(0, 4 * 365 * 24, 7):
        moment = datetime(2023, 1, 1, tzinfo=UTC).timestamp() + hour * H
        offset = datetime.fromtimestamp(moment, known).utcoffset()
        assert offset is not None
        assert zone.offset_s(int(moment) * S) == offset.total_seconds() + lead_h * H


def test_the_changes_of_a_clock_are_found_to_the_second():
    found = parse_zone("NY+7").changes(at("2024-01-01"), at("2025-01-01"))
    assert [datetime.fromtimestamp(t // S, UTC).isoformat()[:19] for t in found] == [
        "2024-03-10T07:00:00", "2024-11-03T06:00:00"
    ]  # fmt: skip
    assert parse_zone("+03:00").changes(at("2024-01-01"), at("2025-01-01")) == ()


@pytest.mark.parametrize("name", ["", "CET", "NY", "+15:00", "+3:60", "EU+20", "UTC+2"])
def test_an_unknown_clock_is_refused_with_the_remedy(name):
    with pytest.raises(ConfigError, match=r"NY\+7"):
        parse_zone(name)


def test_fixed_offsets_are_read_with_and_without_minutes():
    assert [parse_zone(name).offset_s(0) for name in ("+03:00", "-5", "+0530", "+5:30")] == [10_800, -18_000, 19_800, 19_800]


# ---- readings to UTC


@pytest.mark.parametrize("zone", ["NY+7", "EET", "UTC", "+05:30"])
@settings(max_examples=60, deadline=None)
@given(start=st.integers(at("2023-01-01") // S, at("2027-01-01") // S), steps=st.lists(st.integers(0, 5_000), max_size=60))
def test_a_stream_of_readings_comes_back_as_the_instants_it_was_taken_at(zone, start, steps):
    history = OffsetHistory(zone=zone)
    instants = start * S + np.cumsum([0, *steps]).astype(np.int64) * S
    readings = np.array([history.server_msc(t) for t in instants.tolist()], dtype=np.int64)
    times = history.times(int(readings[0]))
    times.resume_at(int(instants[0]))
    assert times.to_utc_ns(readings).tolist() == instants.tolist()


@pytest.mark.parametrize("zone", ["NY+7", "EET"])
def test_the_repeated_hour_is_told_apart_by_the_order_of_readings_however_they_are_cut(zone):
    history = OffsetHistory(zone=zone)
    change = parse_zone(zone).changes(at("2024-09-01"), at("2024-12-01"))[0]
    instants = np.arange(change - 7_200 * S, change + 7_200 * S, 60 * S)
    readings = np.array([history.server_msc(t) for t in instants.tolist()])
    assert (np.diff(readings) < 0).sum() == 1
    for size in (1, 7, 1_000):
        times = history.times()
        found = [times.to_utc_ns(readings[k : k + size]) for k in range(0, len(readings), size)]
        assert np.concatenate(found).tolist() == instants.tolist()


def test_a_restart_inside_the_second_pass_goes_on_in_it():
    history = OffsetHistory(zone="NY+7")
    change = parse_zone("NY+7").changes(at("2024-09-01"), at("2024-12-01"))[0]
    half_past = change + 1_800 * S
    times = history.times()
    times.resume_at(half_past)
    assert times.to_utc_ns(np.array([history.server_msc(half_past + 60 * S)])).tolist() == [half_past + 60 * S]
    # Without knowing where it was, the first pass is meant.
    assert history.utc_ns(history.server_msc(half_past)) == half_past - H * S


def test_the_hour_that_does_not_exist_is_read_on_the_old_clock():
    history = OffsetHistory(zone="NY+7")
    change = parse_zone("NY+7").changes(at("2024-02-01"), at("2024-05-01"))[0]
    inside = change // 1_000_000 + 2 * H * 1_000 + 1_800_000
    assert history.utc_ns(inside) == change + 1_800 * S


def test_no_readings_are_no_instants():
    assert len(OffsetHistory().times().to_utc_ns(np.empty(0, dtype=np.int64))) == 0


# ---- the history of measurements


def test_without_a_measurement_the_named_clock_holds():
    history = OffsetHistory(zone="EET")
    assert history.offset_s(at("2024-07-01")) == 3 * H
    assert history.offset_s(at("2024-01-01")) == 2 * H
    assert not history.is_measured(at("2024-07-01"))


def test_a_change_to_daylight_time_is_right_before_it_is_measured():
    # Friday before and Monday after New York's change of 2024-03-10.
    history = measured(("2024-03-08T20:00", 2), ("2024-03-11T09:00", 3))
    assert history.offset_s(at("2024-03-10T06:59:59")) == 2 * H
    assert history.offset_s(at("2024-03-10T07:00:00")) == 3 * H
    assert history.contradiction() == ""


def test_between_two_measurements_half_a_year_apart_the_named_clock_holds():
    history = measured(("2024-07-01", 3), ("2025-07-01", 3))
    assert history.offset_s(at("2025-01-01")) == 2 * H
    assert len(history.measured) == 2


def test_a_measurement_beats_the_named_clock():
    # Between the American and the European change New York's clock says three hours; this broker follows Europe.
    history = measured(("2024-03-08", 2), ("2024-03-20", 2), ("2024-03-21", 2), ("2024-04-03", 3))
    assert history.offset_s(at("2024-03-15")) == 2 * H
    assert history.offset_s(at("2024-03-20T12:00")) == 2 * H
    assert "EET agrees" in history.contradiction()


def test_without_an_agreeing_clock_the_change_falls_on_the_last_sunday_between():
    history = measured(("2024-05-08", 5), ("2024-05-21", 6))
    assert history.offset_s(at("2024-05-18T23:59:59")) == 5 * H
    assert history.offset_s(at("2024-05-19T00:00:00")) == 6 * H
    assert history.offset_s(at("2023-05-19")) == 5 * H
    assert history.offset_s(at("2030-01-01")) == 6 * H


def test_a_wrong_clock_means_the_first_measured_offset_before_it():
    history = measured(("2024-05-08", 8))
    assert history.offset_s(at("2023-01-01")) == 8 * H
    assert "UTC+08:00" in history.contradiction()


def test_repeated_measurements_are_one_stretch():
    history = measured(*((f"2024-05-{day:02d}", 3) for day in range(1, 29)))
    assert len(history.measured) == 1
    assert history.is_measured(at("2024-05-10"))
    assert not history.is_measured(at("2024-05-29"))


def test_a_measurement_from_the_past_changes_nothing():
    history = measured(("2024-05-08", 3))
    assert history.observed(at("2024-05-07"), 2 * H) is history


def test_the_history_round_trips_as_json():
    history = measured(("2024-03-08T20:00", 2), ("2024-03-11T09:00", 3))
    assert msgspec.json.decode(msgspec.json.encode(history), type=OffsetHistory) == history


@settings(max_examples=60, deadline=None)
@given(
    looks=st.lists(st.tuples(st.integers(0, 900), st.sampled_from([2, 3])), max_size=6),
    zone=st.sampled_from(["NY+7", "EET", "UTC"]),
)
def test_the_table_says_what_the_history_says(looks, zone):
    begin = at("2023-06-01")
    history = OffsetHistory(zone=zone)
    for day, hours in sorted(looks):
        history = history.observed(begin + day * DAY, hours * H)
    table = history.table(begin - 100 * DAY, begin + 1_000 * DAY)
    for hour in range(-100 * 24, 1_000 * 24, 31):
        moment = begin + hour * H * S
        assert table.offset_ns(moment) == history.offset_s(moment) * S
    assert all(a < b for a, b in pairwise(table.starts_ns.tolist()))


def test_a_history_that_has_learned_goes_into_a_running_conversion():
    times = OffsetHistory(zone="UTC").times(wall("2024-05-08"))
    assert times.to_utc_ns(np.array([wall("2024-05-08T12:00")]))[0] == at("2024-05-08T12:00")
    times.use(OffsetHistory(zone="UTC").observed(at("2024-05-08T12:00"), 3 * H))
    assert times.to_utc_ns(np.array([wall("2024-05-08T15:01")]))[0] == at("2024-05-08T12:01")


# ---- the package's arrays


def test_the_dtypes_are_the_packages():
    assert TICK_DTYPE.itemsize == RATE_DTYPE.itemsize == 60


def test_ticks_keep_every_column_and_take_the_real_volume_where_there_is_one():
    array = np.array([(1, 1.1, 1.2, 0.0, 0, 1_500, 6, 0.0), (2, 1.1, 1.2, 1.15, 3, 2_500, 24, 2.5)], dtype=TICK_DTYPE)
    ticks = server_ticks(array)
    assert ticks.time_msc.tolist() == [1_500, 2_500]
    assert ticks.volume.tolist() == [0.0, 2.5]
    assert ticks.flags.tolist() == [6, 24]
    assert ticks.has_trades
    assert not ticks.part(slice(0, 1)).has_trades
    assert len(no_trades(ticks).last) == len(no_trades(ticks).volume) == 0


def test_bars_close_when_their_time_is_over():
    array = np.array([(0, 1.0, 2.0, 0.5, 1.5, 7, 12, 0), (60, 1.5, 2.5, 1.0, 2.0, 9, 10, 4)], dtype=RATE_DTYPE)
    bars = server_bars(array)
    closed = closed_bars("EURUSD", 60, bars, bars.time_s * S, 0.00001, now_ns=119 * S)
    assert [bar.open_ns for bar in closed] == [0]
    assert (closed[0].tick_count, closed[0].ts_event_ns, round(closed[0].spread_mean, 6)) == (7, 60 * S, 0.00012)


def test_an_array_of_something_else_is_refused():
    with pytest.raises(DataError, match="time_msc"):
        server_ticks(np.zeros(1, dtype=RATE_DTYPE))
    with pytest.raises(DataError, match="open"):
        server_bars(np.zeros(1, dtype=TICK_DTYPE))
