"""The clocks trading lives by: New York's week, the broker's day, the four sessions. Arithmetic only.

No time-zone database is consulted: the daylight-saving rules of New York, London and Sydney are written down as
rules, checked against the database by the tests, and hold for the years 1990 to 2100 unless a government changes
them. Every function is plain Python on integers; ``kernel_sessions`` lets compiled code call them too.
"""

NS_PER_S = 1_000_000_000
SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400
FX_EDGE_S = 17 * SECONDS_PER_HOUR
"""The FX week and the FX day begin and end at 17:00 in New York."""
SERVER_LEAD_S = 7 * SECONDS_PER_HOUR
"""A broker server on "NY+7" runs seven hours before New York, so its midnight is New York's 17:00."""
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_LEAP_DAYS_BEFORE_1970 = 477
MARCH, APRIL, AUGUST, OCTOBER, NOVEMBER = 3, 4, 8, 10, 11


def _first_day_of_year(year: int) -> int:
    leap_days = (year - 1) // 4 - (year - 1) // 100 + (year - 1) // 400
    return 365 * (year - 1970) + leap_days - _LEAP_DAYS_BEFORE_1970


def _year_of(day: int) -> int:
    # 146,097 days are exactly 400 years; the estimate is at most one year too late or too early.
    year = 1970 + day * 400 // 146_097
    if day < _first_day_of_year(year):
        return year - 1
    if day >= _first_day_of_year(year + 1):
        return year + 1
    return year


def _day_of_date(year: int, month: int, day_of_month: int) -> int:
    leap = 1 if month > 2 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)) else 0
    return _first_day_of_year(year) + _DAYS_BEFORE_MONTH[month - 1] + leap + day_of_month - 1


def week_day(day: int) -> int:
    """Return the day of the week of a day number (days since 1970-01-01), Monday = 0."""
    return (day + 3) % 7


def _sunday_from(year: int, month: int, day_of_month: int) -> int:
    day = _day_of_date(year, month, day_of_month)
    return day + (SUNDAY - week_day(day)) % 7


def ny_offset_s(ts_ns: int) -> int:
    """Return what to add to UTC to get New York's wall clock, seconds (-18,000 or -14,400).

    Since 2007 daylight saving runs from the second Sunday of March to the first of November; before that from the
    first Sunday of April to the last of October. The clock changes at 2:00 local time.
    """
    second = ts_ns // NS_PER_S
    year = _year_of(second // SECONDS_PER_DAY)
    if year >= 2007:
        begin, end = _sunday_from(year, MARCH, 8), _sunday_from(year, NOVEMBER, 1)
    else:
        begin, end = _sunday_from(year, APRIL, 1), _sunday_from(year, OCTOBER, 25)
    summer = (
        begin * SECONDS_PER_DAY + 7 * SECONDS_PER_HOUR <= second < end * SECONDS_PER_DAY + 6 * SECONDS_PER_HOUR
    )
    return -4 * SECONDS_PER_HOUR if summer else -5 * SECONDS_PER_HOUR


def london_offset_s(ts_ns: int) -> int:
    """Return what to add to UTC to get London's wall clock, seconds (0 or 3,600).

    From the last Sunday of March to the last of October, 1:00 UTC (until 1995 to the Sunday after the fourth
    Saturday of October).
    """
    second = ts_ns // NS_PER_S
    year = _year_of(second // SECONDS_PER_DAY)
    begin = _sunday_from(year, MARCH, 25)
    end = _sunday_from(year, OCTOBER, 25 if year >= 1996 else 22)
    change_s = SECONDS_PER_HOUR
    summer = begin * SECONDS_PER_DAY + change_s <= second < end * SECONDS_PER_DAY + change_s
    return SECONDS_PER_HOUR if summer else 0


def sydney_offset_s(ts_ns: int) -> int:
    """Return what to add to UTC to get Sydney's wall clock, seconds (36,000 or 39,600).

    Since 2008 winter time runs from the first Sunday of April to the first of October; the exceptions before are
    those of New South Wales. The clock changes at 2:00 standard time, 16:00 UTC of the day before.
    """
    second = ts_ns // NS_PER_S
    year = _year_of((second + 10 * SECONDS_PER_HOUR) // SECONDS_PER_DAY)
    begin, end = _sydney_winter(year)
    change_s = -8 * SECONDS_PER_HOUR
    winter = begin * SECONDS_PER_DAY + change_s <= second < end * SECONDS_PER_DAY + change_s
    return 10 * SECONDS_PER_HOUR if winter else 11 * SECONDS_PER_HOUR


def _sydney_winter(year: int) -> tuple[int, int]:
    if year >= 2008:
        return _sunday_from(year, APRIL, 1), _sunday_from(year, OCTOBER, 1)
    if year < 1996:
        begin = _sunday_from(year, MARCH, 1)
    elif year == 2006:
        begin = _sunday_from(year, APRIL, 1)
    else:
        begin = _sunday_from(year, MARCH, 25)
    if year == 2000:
        # The Olympic games began summer time two months early.
        return begin, _sunday_from(year, AUGUST, 25)
    return begin, _sunday_from(year, OCTOBER, 25)


def fx_market_open(ts_ns: int) -> bool:
    """Tell whether the FX week is open: Sunday 17:00 to Friday 17:00 in New York.

    Examples
    --------
    >>> fx_market_open(1_398_981_600_000_000_000)  # Thursday 2014-05-01 22:00 UTC
    True
    >>> fx_market_open(1_399_075_200_000_000_000)  # Saturday 2014-05-03 00:00 UTC
    False
    """
    local_s = ts_ns // NS_PER_S + ny_offset_s(ts_ns)
    day = week_day(local_s // SECONDS_PER_DAY)
    time_of_day_s = local_s % SECONDS_PER_DAY
    if day == FRIDAY:
        return time_of_day_s < FX_EDGE_S
    if day == SUNDAY:
        return time_of_day_s >= FX_EDGE_S
    return day != SATURDAY


def server_day(ts_ns: int) -> int:
    """Return the day number at the broker's clock, New York + 7 h (days since 1970-01-01).

    It changes at 17:00 in New York, which is the broker's midnight.
    """
    return (ts_ns // NS_PER_S + ny_offset_s(ts_ns) + SERVER_LEAD_S) // SECONDS_PER_DAY


def server_midnight_ns(ts_ns: int) -> int:
    """Return when the broker's current day (New York + 7 h) began, ns UTC."""
    wall_s = server_day(ts_ns) * SECONDS_PER_DAY
    # New York's clock changes nine hours after that midnight, so the offset just there may differ from today's.
    guess_s = wall_s - SERVER_LEAD_S - ny_offset_s(ts_ns)
    return (wall_s - SERVER_LEAD_S - ny_offset_s(guess_s * NS_PER_S)) * NS_PER_S


def fixed_offset_day(ts_ns: int, offset_s: int) -> int:
    """Return the day number on a clock that always runs ``offset_s`` seconds before UTC."""
    return (ts_ns // NS_PER_S + offset_s) // SECONDS_PER_DAY


def fixed_offset_midnight_ns(ts_ns: int, offset_s: int) -> int:
    """Return when the current day began on a clock that always runs ``offset_s`` seconds before UTC, ns UTC."""
    return (fixed_offset_day(ts_ns, offset_s) * SECONDS_PER_DAY - offset_s) * NS_PER_S


def _at_work(ts_ns: int, offset_s: int, from_hour: int, to_hour: int) -> bool:
    local_s = ts_ns // NS_PER_S + offset_s
    time_of_day_s = local_s % SECONDS_PER_DAY
    return (
        week_day(local_s // SECONDS_PER_DAY) <= FRIDAY
        and from_hour * SECONDS_PER_HOUR <= time_of_day_s < to_hour * SECONDS_PER_HOUR
    )


def in_sydney(ts_ns: int) -> bool:
    """Tell whether Sydney trades: Monday to Friday, 7:00 to 16:00 local time."""
    return _at_work(ts_ns, sydney_offset_s(ts_ns), 7, 16)


def in_tokyo(ts_ns: int) -> bool:
    """Tell whether Tokyo trades: Monday to Friday, 9:00 to 18:00 local time (no daylight saving)."""
    return _at_work(ts_ns, 9 * SECONDS_PER_HOUR, 9, 18)


def in_london(ts_ns: int) -> bool:
    """Tell whether London trades: Monday to Friday, 8:00 to 17:00 local time."""
    return _at_work(ts_ns, london_offset_s(ts_ns), 8, 17)


def in_new_york(ts_ns: int) -> bool:
    """Tell whether New York trades: Monday to Friday, 8:00 to 17:00 local time."""
    return _at_work(ts_ns, ny_offset_s(ts_ns), 8, 17)
