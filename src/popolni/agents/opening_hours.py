"""Opening hours, in the part of OpenStreetMap's notation that outlets need.

    24/7
    Mo-Fr 10:00-20:00; Sa 10:00-14:00,15:00-18:00; Su off
    08:00-22:00                  every day
    Fr,Sa 18:00-02:00            to the next morning; 18:00-26:00 is the same

A later rule takes the place of an earlier one on the days that it names. Hours belong to the day
that they begin on: with `Fr 18:00-02:00; Sa off` it is open on Saturday at one in the morning.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from django.utils.translation import gettext as _

from popolni.core.errors import UserError

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
DAY = 24 * 60
"""Minutes."""
TEXT_MAX = 200
"""Most characters; as many as an outlet's column holds."""

_CLOSED = ("off", "closed")
_TIMES = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)
_RULE = re.compile(r"(?P<days>[A-Z][A-Za-z, -]*?)?\s*(?P<hours>off|closed|\d.*)", re.ASCII)


class Hours(NamedTuple):
    """Open from `first` up to, without, `end`: minutes from the day's beginning, up to 2 days."""

    first: int
    end: int


Week = tuple[tuple[Hours, ...], ...]
"""Of each day, Monday first, the hours that begin on it, in order."""


def parse(text: str) -> Week:
    """Reads opening hours. Raises UserError that quotes what can't be read."""
    if len(text) > TEXT_MAX:
        raise UserError(_("opening hours have at most %(most)s characters") % {"most": TEXT_MAX})
    if text.strip() == "24/7":
        return ((Hours(0, DAY),),) * 7
    week: list[tuple[Hours, ...]] = [()] * 7
    for rule in text.strip().removesuffix(";").split(";"):
        days, hours = _rule(rule.strip())
        for day in days:
            week[day] = hours
    return tuple(week)


def validate(text: str) -> None:
    """Raises UserError unless `parse` can read it."""
    parse(text)


def is_open(week: Week, at: datetime) -> bool:
    """Whether it is open at that time, which is the outlet's local time."""
    minute = at.hour * 60 + at.minute
    today, yesterday = at.weekday(), at.weekday() - 1
    return any(hours.first <= minute < hours.end for hours in week[today]) or any(
        minute + DAY < hours.end for hours in week[yesterday]
    )


def _rule(rule: str) -> tuple[Iterator[int], tuple[Hours, ...]]:
    match = _RULE.fullmatch(rule)
    if match is None:
        raise _unreadable(rule)
    days, hours = match["days"], match["hours"].strip()
    return (
        iter(range(7)) if days is None else _days(days),
        () if hours in _CLOSED else _hours(hours),
    )


def _days(text: str) -> Iterator[int]:
    """`Mo-We,Sa`, and over the week's end: `Fr-Mo`."""
    for part in text.split(","):
        names = [name.strip() for name in part.split("-")]
        if len(names) > 2 or not set(names) <= set(DAYS):
            raise _unreadable(part)
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        for step in range((last - first) % 7 + 1):
            yield (first + step) % 7


def _hours(text: str) -> tuple[Hours, ...]:
    hours = tuple(sorted(_span(part.strip()) for part in text.split(",")))
    for earlier, later in pairwise(hours):
        if later.first < earlier.end:
            raise UserError(
                _("opening hours: %(text)s names some time twice") % {"text": repr(text)}
            )
    return hours


def _span(text: str) -> Hours:
    match = _TIMES.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    first_hour, first_minute, end_hour, end_minute = map(int, match.groups())
    first, end = first_hour * 60 + first_minute, end_hour * 60 + end_minute
    if max(first_minute, end_minute) > 59 or first >= DAY or end > 2 * DAY or first == end:
        raise _unreadable(text)
    end += DAY if end < first else 0
    if end - first > DAY:
        raise UserError(_("opening hours: %(text)s is longer than a day") % {"text": repr(text)})
    return Hours(first, end)


def _unreadable(text: str) -> UserError:
    return UserError(
        _("opening hours: can't read %(text)s; such as Mo-Fr 10:00-20:00; Sa off, or 24/7")
        % {"text": repr(text.strip())}
    )
