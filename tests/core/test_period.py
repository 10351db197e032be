"""Ends of periods: the calendar's edges by hand, chains of them by properties."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.core.period import end_of_period

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")  # no 02:00 to 03:00 on 2026-03-29, two on 2026-10-25
APIA = ZoneInfo("Pacific/Apia")  # had no 30 December 2011
ZONES = [
    *map(ZoneInfo, ("Asia/Kamchatka", "America/St_Johns", "Africa/Casablanca")),
    MOSCOW,
    BERLIN,
]

Unit = Literal["day", "month"]


def local(zone: ZoneInfo, text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("zone", "starts_at", "unit", "count", "anchor_day", "ends_at"),
    [
        # days
        (MOSCOW, "2026-01-31T12:30:15.000007", "day", 1, None, "2026-02-01T12:30:15.000007"),
        (MOSCOW, "2026-02-27T00:00", "day", 2, None, "2026-03-01T00:00"),
        (MOSCOW, "2024-02-28T00:00", "day", 1, None, "2024-02-29T00:00"),
        (MOSCOW, "2026-12-31T23:59:59", "day", 30, None, "2027-01-30T23:59:59"),
        # an anchor is nothing to days
        (MOSCOW, "2026-03-05T10:00", "day", 30, 31, "2026-04-04T10:00"),
        # months
        (MOSCOW, "2026-01-15T12:00", "month", 1, None, "2026-02-15T12:00"),
        (MOSCOW, "2026-01-31T12:00", "month", 1, None, "2026-02-28T12:00"),
        (MOSCOW, "2024-01-31T12:00", "month", 1, None, "2024-02-29T12:00"),
        (MOSCOW, "2026-02-28T12:00", "month", 1, 31, "2026-03-31T12:00"),
        (MOSCOW, "2026-02-28T12:00", "month", 1, 30, "2026-03-30T12:00"),
        (MOSCOW, "2026-02-28T12:00", "month", 1, None, "2026-03-28T12:00"),
        (MOSCOW, "2026-03-31T12:00", "month", 1, 31, "2026-04-30T12:00"),
        (MOSCOW, "2024-02-29T12:00", "month", 12, None, "2025-02-28T12:00"),
        (MOSCOW, "2025-02-28T12:00", "month", 36, 29, "2028-02-29T12:00"),
        (MOSCOW, "2026-12-15T12:00", "month", 1, None, "2027-01-15T12:00"),
        (MOSCOW, "2026-11-30T12:00", "month", 1, None, "2026-12-30T12:00"),
        (MOSCOW, "2026-11-30T12:00", "month", 13, 31, "2027-12-31T12:00"),
        # the same time of day, whatever the clocks did in between
        (BERLIN, "2026-03-28T12:00", "day", 1, None, "2026-03-29T12:00"),
        (BERLIN, "2026-10-24T12:00", "day", 1, None, "2026-10-25T12:00"),
        (BERLIN, "2026-03-15T12:00", "month", 1, None, "2026-04-15T12:00"),
        # a local time that is skipped is moved on by the hour that the clocks are
        (BERLIN, "2026-03-28T02:30", "day", 1, None, "2026-03-29T03:30"),
        (BERLIN, "2026-02-28T02:00", "month", 1, 29, "2026-03-29T03:00"),
        (BERLIN, "2026-03-28T01:59", "day", 1, None, "2026-03-29T01:59"),
        (BERLIN, "2026-03-28T03:00", "day", 1, None, "2026-03-29T03:00"),
        # from the first start, one that comes later knows nothing of that
        (BERLIN, "2026-03-28T02:30", "day", 2, None, "2026-03-30T02:30"),
        # of one that comes twice it is the first
        (BERLIN, "2026-10-24T02:30", "day", 1, None, "2026-10-25T02:30"),
        (APIA, "2011-12-29T10:00", "day", 1, None, "2011-12-31T10:00"),
    ],
)
def test_ends(  # noqa: PLR0917  # the columns of the table
    zone: ZoneInfo, starts_at: str, unit: Unit, count: int, anchor_day: int | None, ends_at: str
) -> None:
    end = end_of_period(local(zone, starts_at), unit, count, zone, anchor_day)
    assert end == local(zone, ends_at).astimezone(UTC)
    assert end.tzinfo is UTC


@pytest.mark.parametrize(
    ("starts_at", "hours"),
    [
        (local(BERLIN, "2026-03-28T12:00"), 23),
        (local(BERLIN, "2026-10-24T12:00"), 25),
        (local(BERLIN, "2026-10-24T02:30"), 24),  # the first 02:30 of the next day
        (local(BERLIN, "2026-10-25T02:30"), 25),
        (local(BERLIN, "2026-10-25T02:30", fold=1), 24),  # the second one
        (local(BERLIN, "2026-06-01T12:00"), 24),
    ],
)
def test_how_long_a_day_is(starts_at: datetime, hours: int) -> None:
    moment = starts_at.astimezone(UTC)
    assert end_of_period(moment, "day", 1, BERLIN) - moment == timedelta(hours=hours)


def test_the_zone_decides_on_the_day_not_how_the_moment_is_written() -> None:
    """23:00 UTC on 30 January is the 31st in Moscow."""
    start = datetime(2026, 1, 30, 23, tzinfo=UTC)
    expected = datetime(2026, 2, 27, 23, tzinfo=UTC)  # 28 February, 02:00
    assert end_of_period(start, "month", 1, MOSCOW) == expected
    elsewhere = start.astimezone(timezone(timedelta(hours=-9)))
    assert end_of_period(elsewhere, "month", 1, MOSCOW) == expected


def test_a_year_of_months_from_the_31st() -> None:
    day, days = local(MOSCOW, "2026-01-31T00:00"), []
    for _ in range(14):
        day = end_of_period(day, "month", 1, MOSCOW, anchor_day=31).astimezone(MOSCOW)
        days.append((day.month, day.day))
    assert days == [
        *((2, 28), (3, 31), (4, 30), (5, 31), (6, 30), (7, 31), (8, 31), (9, 30)),
        *((10, 31), (11, 30), (12, 31), (1, 31), (2, 28), (3, 31)),
    ]


@pytest.mark.parametrize(
    ("starts_at", "count", "anchor_day", "message"),
    [
        (datetime(2026, 1, 1), 1, None, "a period starts at a moment: a time with its zone"),  # noqa: DTZ001  # that is it
        (datetime(2026, 1, 1, tzinfo=UTC), 0, None, "a period has at least one month, not 0"),
        (datetime(2026, 1, 1, tzinfo=UTC), -1, None, "a period has at least one month, not -1"),
        (datetime(2026, 1, 1, tzinfo=UTC), 1, 0, "a day of a month is 1 to 31, not 0"),
        (datetime(2026, 1, 1, tzinfo=UTC), 1, 32, "a day of a month is 1 to 31, not 32"),
    ],
)
def test_what_is_no_period(
    starts_at: datetime, count: int, anchor_day: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        end_of_period(starts_at, "month", count, MOSCOW, anchor_day)


starts = st.datetimes(
    datetime(1995, 1, 1),  # noqa: DTZ001  # local; the strategy adds the zone
    datetime(2060, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([*ZONES, APIA]),
    allow_imaginary=False,
)


@given(starts, st.sampled_from(["day", "month"]), st.integers(1, 400), st.integers(1, 31))
def test_a_period_ends_after_it_starts(
    start: datetime, unit: Unit, count: int, anchor_day: int
) -> None:
    zone = start.tzinfo
    assert isinstance(zone, ZoneInfo)
    end = end_of_period(start, unit, count, zone, anchor_day)
    assert end > start.astimezone(UTC)
    assert end_of_period(start, unit, count + 1, zone, anchor_day) > end or zone is APIA


@given(
    st.datetimes(datetime(1995, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001  # local
    st.sampled_from(ZONES),
    st.sampled_from(["day", "month"]),
    st.integers(1, 40),
    st.integers(1, 30),
)
def test_a_chain_goes_where_one_long_period_does(
    naive: datetime, zone: ZoneInfo, unit: Unit, count: int, links: int
) -> None:
    """At noon, which no clock skips: a chain neither loses a day nor an hour."""
    start = naive.replace(hour=12, tzinfo=zone)
    end = start
    for _ in range(links):
        end = end_of_period(end, unit, count, zone, start.day)
    assert end == end_of_period(start, unit, count * links, zone, start.day)
    assert end.astimezone(zone).time() == start.time()


@given(starts, st.integers(1, 60))
def test_a_chain_at_any_time_of_day_keeps_its_day(start: datetime, links: int) -> None:
    zone = start.tzinfo
    assert isinstance(zone, ZoneInfo)
    end = start
    for link in range(1, links + 1):
        end = end_of_period(end, "month", 1, zone, start.day)
        straight = end_of_period(start, "month", link, zone, start.day)
        # a skipped time may have moved it, by no more than the clocks were
        assert timedelta() <= end - straight <= timedelta(hours=links)
