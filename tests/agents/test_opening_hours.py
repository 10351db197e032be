"""Opening hours are read, or what can't be read is quoted."""

from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.agents.opening_hours import DAYS, is_open, parse, validate
from popolni.core.errors import UserError

MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001  # local time, as a clock on the wall says it


def at(day: str, time: str) -> datetime:
    hour, minute = map(int, time.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


class Case(NamedTuple):
    hours: str
    open: list[str]
    closed: list[str]


SHOP = "Mo-Fr 10:00-20:00; Sa 10:00-18:00; Su off"
CASES = [
    Case("24/7", ["Mo 00:00", "Su 23:59", "We 12:30"], []),
    Case(
        SHOP, ["Mo 10:00", "Fr 19:59", "Sa 17:59"], ["Mo 09:59", "Fr 20:00", "Sa 18:00", "Su 12:00"]
    ),
    Case("08:00-22:00", ["Mo 08:00", "Su 21:59"], ["Su 22:00", "Mo 07:59"]),
    Case("00:00-24:00", ["Mo 00:00", "Su 23:59"], []),
    Case(
        "Fr,Sa 18:00-02:00",
        ["Fr 18:00", "Sa 01:59", "Su 01:59"],
        ["Fr 01:00", "Su 02:00", "Mo 00:00"],
    ),
    Case("Fr 18:00-26:00", ["Sa 01:59"], ["Sa 02:00"]),
    Case("Su 22:00-03:00", ["Su 23:00", "Mo 02:59"], ["Mo 03:00", "Su 21:59", "Su 02:00"]),
    Case("Fr 18:00-02:00; Sa off", ["Sa 01:00"], ["Sa 02:00"]),
    Case("Mo 10:00-13:00,14:00-18:00", ["Mo 12:59", "Mo 14:00"], ["Mo 13:30", "Tu 12:00"]),
    Case("Mo 14:00-18:00, 10:00-13:00", ["Mo 12:59"], ["Mo 13:30"]),
    Case("Sa-Mo 10:00-11:00", ["Sa 10:00", "Su 10:00", "Mo 10:00"], ["Tu 10:00", "Fr 10:00"]),
    Case("Mo-Su 10:00-20:00; We closed", ["Tu 10:00"], ["We 12:00"]),
    Case("Mo-Fr 9:00-18:00 ; ", ["Mo 09:00"], ["Sa 12:00"]),
    Case("Mo - We , Fr 9:00 - 18:00", ["Fr 09:00"], ["Th 12:00"]),
    Case("off", [], ["Mo 12:00"]),
]


@pytest.mark.parametrize("case", CASES, ids=[case.hours for case in CASES])
def test_when_it_is_open(case: Case) -> None:
    week = parse(case.hours)
    moments = [*case.open, *case.closed]
    assert [moment for moment in moments if is_open(week, at(*moment.split()))] == case.open


@pytest.mark.parametrize(
    ("hours", "quoted"),
    [
        ("", "''"),
        (";", "''"),
        ("Mo", "'Mo'"),
        ("mo 10:00-20:00", "'mo 10:00-20:00'"),
        ("Mx 10:00-20:00", "'Mx'"),
        ("Mo-We-Fr 10:00-20:00", "'Mo-We-Fr'"),
        ("Mo- 10:00-20:00", "'Mo-'"),
        (", 10:00-20:00", "', 10:00-20:00'"),
        ("Mo 10-20", "'10-20'"),
        ("Mo 10:00", "'10:00'"),
        ("Mo 10:60-20:00", "'10:60-20:00'"),
        ("Mo 24:00-25:00", "'24:00-25:00'"),
        ("Mo 10:00-48:01", "'10:00-48:01'"),
        ("Mo 10:00-10:00", "'10:00-10:00'"),
        ("Mo 10:00-12:00,", "''"),
        ("Mo 10:00-20:00; PH off", "'PH'"),
        ("Mo 10:00-20:00; ; Tu off", "''"),
        ("Mo 10:00-14:00,13:59-18:00", "names some time twice"),
        ("Mo 10:00-40:00", "longer than a day"),
        ("sunrise-sunset", "'sunrise-sunset'"),
        ("Mo ١٠:٠٠-٢٠:٠٠", "'Mo"),
        ("Mo-Fr 10:00-20:00\nSa off", "'"),
        ("x" * 201, "at most 200"),
    ],
)
def test_what_cannot_be_read_is_quoted(hours: str, quoted: str) -> None:
    with pytest.raises(UserError) as refused:
        validate(hours)
    assert quoted in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(alphabet="MoTuWeThFrSa0123456789:-,; of/\n", max_size=40) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        week = parse(text)
    except UserError:
        return
    assert len(week) == 7
    assert parse(text) == week


@st.composite
def rules(draw: st.DrawFn) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Days and hours, minutes from the day's beginning, in the order in which they are written."""
    written = []
    for _ in range(draw(st.integers(1, 4))):
        days = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True))
        drawn = draw(st.lists(st.integers(0, 24 * 60 - 1), max_size=6, unique=True))
        bounds = sorted(drawn[: len(drawn) // 2 * 2])
        spans = list(zip(bounds[::2], bounds[1::2], strict=True))
        is_late = draw(st.booleans())
        if spans and is_late:  # the last goes over midnight
            spans[-1] = (spans[-1][0], 24 * 60 + draw(st.integers(0, spans[-1][0])))
        written.append((days, spans))
    return written


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@given(rules(), st.integers(0, 7 * 24 * 60 - 1))
def test_as_if_each_minute_of_the_week_were_written_down(
    written: list[tuple[list[int], list[tuple[int, int]]]], minute: int
) -> None:
    hours_of: dict[int, list[tuple[int, int]]] = {}
    for days, spans in written:
        hours_of |= dict.fromkeys(days, spans)
    minutes = {
        (day * 24 * 60 + step) % (7 * 24 * 60)
        for day, spans in hours_of.items()
        for first, end in spans
        for step in range(first, end)
    }
    text = "; ".join(
        ",".join(DAYS[day] for day in days)
        + " "
        + (",".join(f"{clock(first)}-{clock(end)}" for first, end in spans) or "off")
        for days, spans in written
    )
    week = parse(text)
    assert is_open(week, MONDAY + timedelta(minutes=minute)) == (minute in minutes)
