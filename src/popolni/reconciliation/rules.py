"""Two lists of payments, each in the order of its identifiers, become what differs. Pure.

A payment is one identifier. Which day it is of, the agent's own date says, where it is believable.
Each side has its clock, and a payment near midnight may be in the registry of either day: it is not
said to be missing before the other day's registry is there too.

Moments are seconds of a clock on the wall (`registry_layout.seconds_of`), in one zone for both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum, auto
from typing import NamedTuple

from popolni.protocols.registry_layout import moment_of, seconds_of

DAY_S = 86_400
LATE = timedelta(days=2)
"""A terminal without a line sends what it took so much later; beyond that its clock is wrong."""
DAYS_MAX = 31
"""Most days of one run."""
FIRST_DAY = date(2000, 1, 1)
"""No registry is of an earlier day."""


class Kind(StrEnum):
    """What differs; of several the first."""

    ONLY_OURS = auto()
    ONLY_THEIRS = auto()
    NUMBER_DIFFERS = auto()
    SUM_DIFFERS = auto()
    DATE_DIFFERS = auto()


class State(StrEnum):
    """What a top-up is, of which our log knows."""

    CREDITED = auto()
    REVERSED = auto()
    REFUSED = auto()
    PENDING = auto()


class Theirs(NamedTuple):
    """A line of their file. `at`: its moment, or its day's midnight; None if it has none."""

    reference: str
    line: int
    number: int | None
    amount_minor: int
    at: int | None


class Ours(NamedTuple):
    """A top-up of our log. `other_at` is another moment that it may be of, if there is one."""

    reference: str
    number: int
    amount_minor: int
    at: int
    book: int
    seq: int
    state: State = State.CREDITED
    other_at: int | None = None


class Days(NamedTuple):
    """The days that a file is of, and how it tells them.

    `edge_s`: so near to midnight a payment may be of either day. `has_times`: whether its dates
    say when in the day.
    """

    first: date
    last: date
    edge_s: int = 1_800
    has_times: bool = True

    @property
    def begin(self) -> int:
        """Their first moment."""
        return seconds_of(datetime.combine(self.first, datetime.min.time()))

    @property
    def end(self) -> int:
        """The first moment after them."""
        return seconds_of(datetime.combine(self.last, datetime.min.time())) + DAY_S


class Finding(NamedTuple):
    """A difference. `why`, of what only they have: what we know of it; `twice`: the file has two.

    `edge_day`, of what only we have: the day in whose registry it may be as well.
    """

    kind: Kind
    theirs: Theirs | None
    ours: Ours | None
    why: str = ""
    edge_day: date | None = None


class Unknown(NamedTuple):
    """A line whose identifier is to be looked up in all the log."""

    theirs: Theirs
    ours: Ours | None = None
    """The top-up of that identifier that is reversed: what corrects it is to be looked up."""


class Away(NamedTuple):
    """A top-up of ours that is in the file, though it is of another day."""

    ours: Ours


Event = Finding | Unknown | Away


@dataclass
class Tally:
    """Both sides' sums; of ours those of the days."""

    theirs: int = 0
    theirs_minor: int = 0
    ours: int = 0
    ours_minor: int = 0
    matched: int = 0


def believable(reference_at: datetime | None, created_at: datetime) -> datetime:
    """The moment that a top-up is of: the agent's own, unless its clock must have been wrong."""
    if reference_at is None or abs(reference_at - created_at) > LATE:
        return created_at
    return reference_at


def compare(
    theirs: Iterable[Theirs], ours: Iterable[Ours], days: Days, tally: Tally
) -> Iterator[Event]:
    """What differs, both being in the order of their references (by code points).

    `ours` are the top-ups of the days and those near their edges, of other days. What is matched
    is only counted.
    """
    lines, entries = iter(theirs), _grouped(ours)
    begin, end = days.begin, days.end
    line, entry = next(lines, None), next(entries, None)
    last = None
    while line is not None or entry is not None:
        if line is not None and (entry is None or line.reference <= entry.reference):
            tally.theirs += 1
            tally.theirs_minor += line.amount_minor
            if line.reference == last:
                yield Finding(Kind.ONLY_THEIRS, line, None, "twice")
                line = next(lines, None)
                continue
            last = line.reference
            if entry is None or entry.reference != last:
                yield Unknown(line)
            else:
                if begin <= entry.at < end and entry.state is State.CREDITED:
                    tally.ours += 1
                    tally.ours_minor += entry.amount_minor
                if (
                    line.number == entry.number
                    and line.amount_minor == entry.amount_minor
                    and line.at == entry.at
                    and entry.state is State.CREDITED
                    and begin <= entry.at < end
                ):
                    tally.matched += 1  # nearly all are: the short way
                else:
                    yield from judge(line, entry, days, tally)
                entry = next(entries, None)
            line = next(lines, None)
        elif entry is not None:
            if entry.state is State.CREDITED and begin <= entry.at < end:
                tally.ours += 1
                tally.ours_minor += entry.amount_minor
                yield Finding(Kind.ONLY_OURS, None, entry, edge_day=edge_day(entry.at, days))
            entry = next(entries, None)


def judge(line: Theirs, entry: Ours, days: Days, tally: Tally) -> Iterator[Event]:
    """What differs between a line and the top-up of its identifier."""
    if entry.state is State.REVERSED:
        yield Unknown(line, entry)
        return
    if entry.state is not State.CREDITED:
        yield Finding(Kind.ONLY_THEIRS, line, entry, entry.state.value)
        return
    if not days.begin <= entry.at < days.end:
        yield Away(entry)
    kind = difference(line, entry, days)
    if kind is None:
        tally.matched += 1
    else:
        yield Finding(kind, line, entry)


def difference(line: Theirs, entry: Ours, days: Days) -> Kind | None:
    """The first thing in which they differ; None: in nothing."""
    if line.number is not None and line.number != entry.number:
        return Kind.NUMBER_DIFFERS
    if line.amount_minor != entry.amount_minor:
        return Kind.SUM_DIFFERS
    moments = [entry.at] if entry.other_at is None else [entry.at, entry.other_at]
    if not any(is_same_day(line.at, moment, days) for moment in moments):
        return Kind.DATE_DIFFERS
    return None


def is_same_day(theirs: int | None, ours: int, days: Days) -> bool:
    """Whether two dates of a payment are of one day, or near enough on both sides of a midnight."""
    if theirs is None or theirs // DAY_S == ours // DAY_S:
        return True
    if days.has_times:
        return abs(theirs - ours) <= days.edge_s
    return theirs - days.edge_s <= ours < theirs + DAY_S + days.edge_s


def edge_day(at: int, days: Days) -> date | None:
    """The day outside these whose registry may have a payment of that moment."""
    if at < days.begin + days.edge_s:
        return days.first - timedelta(days=1)
    if at >= days.end - days.edge_s:
        return days.last + timedelta(days=1)
    return None


def _grouped(ours: Iterable[Ours]) -> Iterator[Ours]:
    """One for each reference: what is credited, else the last of what was."""
    held: Ours | None = None
    for entry in ours:
        if held is None or held.reference != entry.reference:
            if held is not None:
                yield held
            held = entry
        elif held.state is not State.CREDITED:
            held = entry
    if held is not None:
        yield held


def day_of(lines_of_days: Mapping[int, int]) -> date | None:
    """The day of a file, by how many lines are of which day (days since 1970); None: several.

    A few lines may be of other days: near a midnight, or wrong.
    """
    most = max(lines_of_days, key=lines_of_days.__getitem__)
    if 10 * lines_of_days[most] < 9 * sum(lines_of_days.values()):
        return None
    return moment_of(most * DAY_S).date()
