"""Session clocks, the rollover, the calendar, and bars counted from New York's 17:00."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from libs.common.config import DecideOn
from libs.common.errors import ConfigError, DataError
from libs.common.messages.market import TickBlock
from services.features.adapters.calendar_file import read_calendar
from services.features.calendar import CalendarEvent
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.feature_set import FeatureSet
from services.features.spec import FeatureSpec
from tests.unit.features.feature_markets import FIVE_DIGITS, NS, bars_of, rows_of, run

CALENDARS = Path(__file__).parents[4] / "shared" / "data" / "calendar"
SPREAD = FeatureSpec(name="spread", family="spread")
ZONES = ((0, "Australia/Sydney", 7), (1, "Asia/Tokyo", 9), (2, "Europe/London", 8), (3, "America/New_York", 8))


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def values_at(
    moments_ns: list[int], *features: FeatureSpec, calendar: tuple[CalendarEvent, ...] | None = None
) -> list[list[float]]:
    times = np.array(moments_ns, dtype=np.int64)
    block = TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol="EURUSD", first_tick=1, time_ns=times,
        bid=np.full(len(times), 1.1), ask=np.full(len(times), 1.1),
    )
    config = FeaturesConfig(timeframes_s=(60,), features=features)
    core = FeaturesCore(config, ("EURUSD",), DecideOn(kind="tick", every=1), FIVE_DIGITS, calendar)
    return [row.values.tolist() for row in rows_of(run(core, [block]))]


@pytest.mark.parametrize(("session", "zone", "opens"), ZONES)
def test_a_session_clock_agrees_with_the_time_zone_database(session: int, zone: str, opens: int) -> None:
    # A week away from any change of the clocks, and one hour that no bar ends in.
    moments = [ns("2025-01-14T00:07:30") + k * 1_234 * NS for k in range(600)]
    found = values_at(moments, *(
        FeatureSpec(name=name, family="session_clock", output=name, params={"session": session})
        for name in ("to_open", "to_close", "since_open")
    ))
    for moment, (to_open, to_close, since_open) in zip(moments, found, strict=True):
        local = datetime.fromtimestamp(moment / NS, ZoneInfo(zone)).replace(tzinfo=None)
        start = local.replace(hour=opens, minute=0, second=0, microsecond=0)
        if local.weekday() < 5 and start <= local < start + timedelta(hours=9):
            minutes = (local - start).total_seconds() / 60.0
            assert (to_open, to_close, since_open) == pytest.approx((0.0, 540.0 - minutes, minutes))
            continue
        while start <= local or start.weekday() > 4:
            start += timedelta(days=1)
        assert (to_open, to_close, since_open) == pytest.approx(((start - local).total_seconds() / 60.0, 0.0, 0.0))


def test_minutes_to_the_rollover_and_the_end_of_the_week() -> None:
    moments = [ns("2025-01-15T21:59:00"), ns("2025-01-15T22:01:00"), ns("2025-01-17T21:00:00"), ns("2025-01-18T12:00:00"),
               ns("2025-07-02T20:30:00")]
    found = values_at(moments, *(FeatureSpec(name=n, family="rollover", output=n) for n in ("to", "since", "to_week_close")))
    assert found == [[1, 1439, 2881], [1439, 1, 2879], [60, 1380, 60], [600, 840, 0], [30, 1410, 2910]]


EVENTS = (
    CalendarEvent(ns("2026-03-06T13:30:00"), ns("2026-03-01T00:00:00"), "USD", 3),
    CalendarEvent(ns("2026-03-06T13:00:00"), ns("2026-03-06T12:45:00"), "EUR", 3),
    CalendarEvent(ns("2026-03-06T12:30:00"), ns("2026-03-01T00:00:00"), "USD", 2),
)


@pytest.mark.parametrize(
    ("at", "impact", "of", "wanted"), [
        ("2026-03-06T12:40:00", 3, (), (50, 1440)),  # the one at 13:00 is not known yet
        ("2026-03-06T12:45:00", 3, (), (15, 1440)),
        ("2026-03-06T12:50:00", 3, ("USD",), (40, 1440)),
        ("2026-03-06T12:40:00", 2, (), (50, 10)),
        ("2026-03-06T13:00:00", 3, (), (30, 0)),
        ("2026-03-06T13:45:00", 3, (), (1440, 15)),
        ("2026-02-20T00:00:00", 3, (), (1440, 1440)),
    ],
)
def test_only_events_known_by_then_are_foreseen(at: str, impact: int, of: tuple[str, ...], wanted: tuple[int, int]) -> None:
    features = (
        FeatureSpec(name=name, family="calendar_event", output=name, params={"impact": impact}, of=of)
        for name in ("to_next", "since_last")
    )
    assert values_at([ns(at)], *features, calendar=EVENTS) == [[pytest.approx(w) for w in wanted]]


def test_a_set_that_needs_a_calendar_is_refused_without_one() -> None:
    with pytest.raises(ConfigError, match=r"features\.calendar: news cannot do without a calendar; name its file"):
        values_at([1], FeatureSpec(name="news", family="calendar_event"))


def test_a_calendar_file_is_read_with_the_time_each_event_was_known(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(
        "time_utc,currency,impact,event,first_seen_utc\n1773088500,usd,high,Speech,1773067198\n"
        ",EUR,high,All day,\n2026-03-06T13:30:00Z,USD,medium,Jobs,\n1773088600,USD,holiday,Bank,1\n", encoding="utf-8"
    )
    assert read_calendar(str(file)) == (
        CalendarEvent(ns("2026-03-06T13:30:00"), ns("2026-03-06T13:30:00"), "USD", 2),
        CalendarEvent(1773088500 * NS, 1773067198 * NS, "USD", 3),
    )


@pytest.mark.parametrize(
    ("text", "words"), [
        ("when,currency,impact\n", "line 1: no column time_utc"),
        ("time_utc,currency,impact\n1773088500,USD,high\nsoon,USD,high\n", "line 3: time_utc is 'soon'"),
        ("time_utc,currency,impact,first_seen_utc\n1773088500,USD,high,then\n", "line 2: first_seen_utc is 'then'"),
    ],
)
def test_a_broken_calendar_is_refused_with_line_and_field(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        read_calendar(str(file))
    with pytest.raises(DataError, match="cannot be read"):
        read_calendar(str(tmp_path / "none.csv"))


@pytest.mark.needs_data
@pytest.mark.parametrize(("name", "count"), [("usd_events_2026_point_in_time.csv", 160), ("forexfactory_2022.csv", 3_000)])
def test_recorded_calendars_are_read(name: str, count: int) -> None:
    if not (CALENDARS / name).exists():
        pytest.skip(f"the calendar {name} is not here; put it into {CALENDARS}")
    events = read_calendar(str(CALENDARS / name))
    assert len(events) > count
    if "point" in name:
        assert all(event.first_seen_ns < event.time_ns for event in events)


@pytest.mark.parametrize("week", ["2025-03-05", "2025-07-02", "2025-10-29"])
@pytest.mark.parametrize("hours", [1, 4, 24])
def test_bars_counted_from_new_york_begin_with_the_brokers_day(week: str, hours: int) -> None:
    times = ns(f"{week}T00:00:30") + np.arange(0, 7 * 86_400, 600, dtype=np.int64) * NS
    bid = np.arange(len(times)) + 1.0
    block = TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol="EURUSD", first_tick=1, time_ns=times, bid=bid, ask=bid
    )
    config = FeaturesConfig(timeframes_s=(60, hours * 3_600), bars_anchor="new_york", features=(SPREAD,))
    bars = bars_of(run(FeaturesCore(config, ("EURUSD",), DecideOn(), FIVE_DIGITS), [block]), hours * 3_600)
    zone = ZoneInfo("America/New_York")

    def opening(t: int) -> int:
        local = datetime.fromtimestamp(t // NS, zone)
        day = local.replace(hour=17, minute=0, second=0, microsecond=0)
        midnight = day if local >= day else (local - timedelta(days=1)).replace(hour=17, minute=0, second=0)
        seconds = round(midnight.timestamp())
        return (seconds + (t // NS - seconds) // (hours * 3_600) * hours * 3_600) * NS

    groups: dict[int, list[float]] = {}
    for t, price in zip(times.tolist(), bid.tolist(), strict=True):
        groups.setdefault(opening(t), []).append(price)
    wanted = [(begin, prices[0], prices[-1]) for begin, prices in groups.items()][1:-1]
    assert [(bar.open_ns, bar.open, bar.close) for bar in bars] == wanted


def test_the_anchor_is_part_of_the_schema_and_must_fit() -> None:
    assert FeatureSet((SPREAD,), (60,), "new_york").schema_id != FeatureSet((SPREAD,), (60,)).schema_id
    with pytest.raises(ConfigError, match="25200 s cannot be counted from New York's 17:00"):
        FeatureSet((SPREAD,), (60, 25_200), "new_york")
