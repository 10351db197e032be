"""The merge, against a plain comparison by dictionary; and which day something is of."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.protocols.registry_layout import seconds_of
from popolni.reconciliation.rules import (
    DAY_S,
    LATE,
    Away,
    Days,
    Event,
    Finding,
    Kind,
    Ours,
    State,
    Tally,
    Theirs,
    Unknown,
    believable,
    compare,
    day_of,
    edge_day,
    is_same_day,
)

FIRST = date(2026, 11, 20)
DAYS = Days(FIRST, FIRST + timedelta(days=1), edge_s=600)
BEGIN = DAYS.begin
NOON = BEGIN + DAY_S // 2


def test_its_days_begin_and_end_at_midnight() -> None:
    assert seconds_of(datetime(2026, 11, 20, tzinfo=UTC)) == DAYS.begin
    assert seconds_of(datetime(2026, 11, 22, tzinfo=UTC)) == DAYS.end


@pytest.mark.parametrize(
    ("theirs", "ours", "has_times", "same"),
    [
        (None, NOON, True, True),
        (NOON, NOON + 7_200, True, True),  # the time of day is no matter
        (BEGIN + 300, BEGIN - 300, True, True),
        (BEGIN + 300, BEGIN - 301, True, False),
        (BEGIN - 300, BEGIN + 300, True, True),
        (NOON, NOON + DAY_S, True, False),
        (BEGIN, BEGIN + DAY_S - 1, False, True),
        (BEGIN, BEGIN + DAY_S + 599, False, True),
        (BEGIN, BEGIN + DAY_S + 600, False, False),
        (BEGIN, BEGIN - 600, False, True),
        (BEGIN, BEGIN - 601, False, False),
    ],
)
def test_the_same_day(theirs: int | None, ours: int, has_times: bool, same: bool) -> None:  # noqa: FBT001
    assert is_same_day(theirs, ours, DAYS._replace(has_times=has_times)) is same


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (BEGIN, FIRST - timedelta(days=1)),
        (BEGIN + 599, FIRST - timedelta(days=1)),
        (BEGIN + 600, None),
        (BEGIN + DAY_S, None),  # within a file of two days there is no edge
        (DAYS.end - 601, None),
        (DAYS.end - 600, FIRST + timedelta(days=2)),
    ],
)
def test_the_day_in_whose_file_it_may_be(at: int, day: date | None) -> None:
    assert edge_day(at, DAYS) == day


def test_a_clock_that_is_far_off_is_not_believed() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert believable(None, now) == now
    for said, moment in ((now - LATE, now - LATE), (now + LATE, now + LATE)):
        assert believable(said, now) == moment
    second = timedelta(seconds=1)
    assert believable(now - LATE - second, now) == believable(now + LATE + second, now) == now


@pytest.mark.parametrize(
    ("counts", "day"),
    [
        ({20_777: 1}, date(2026, 11, 20)),
        ({20_777: 9, 20_778: 1}, date(2026, 11, 20)),
        ({20_777: 89, 20_778: 11}, None),
        ({20_777: 1, 20_778: 1}, None),
    ],
)
def test_the_day_of_a_file(counts: dict[int, int], day: date | None) -> None:
    assert day_of(counts) == day


references = st.sampled_from(["1", "10", "2", "B", "a", "é", "я", "🙂"])
moments = st.sampled_from([NOON, BEGIN, BEGIN - 1, BEGIN - 599, DAYS.end - 1, DAYS.end + 9, 0])
lines = st.builds(
    Theirs,
    references,
    st.integers(1, 9),
    st.sampled_from([None, 1, 2]),
    st.integers(1, 2),
    st.none() | moments,
)
entries = st.builds(
    Ours,
    references,
    st.sampled_from([1, 2]),
    st.integers(1, 2),
    moments,
    st.just(1),
    st.integers(1, 10**6),
    st.sampled_from([State.CREDITED, State.REVERSED, State.PENDING]),
)


def differs(line: Theirs, entry: Ours) -> Kind | None:
    checks = {
        Kind.NUMBER_DIFFERS: line.number not in (None, entry.number),
        Kind.SUM_DIFFERS: line.amount_minor != entry.amount_minor,
        Kind.DATE_DIFFERS: not any(
            is_same_day(line.at, moment, DAYS)
            for moment in (entry.at, entry.other_at)
            if moment is not None
        ),
    }
    return next((kind for kind, differ in checks.items() if differ), None)


def plainly(theirs: list[Theirs], ours: list[Ours]) -> tuple[list[Event], Tally]:
    """The same without a merge."""
    tally, events = Tally(), list[Event]()
    by_name: defaultdict[str, list[Ours]] = defaultdict(list)
    for entry in ours:
        by_name[entry.reference].append(entry)
    best = {}
    for name, several in by_name.items():
        credited = [one for one in several if one.state is State.CREDITED]
        best[name] = credited[0] if credited else several[-1]
    own = [e for e in best.values() if e.state is State.CREDITED and BEGIN <= e.at < DAYS.end]
    tally.ours, tally.ours_minor = len(own), sum(entry.amount_minor for entry in own)
    tally.theirs, tally.theirs_minor = len(theirs), sum(line.amount_minor for line in theirs)
    seen = set()
    for line in theirs:
        found = best.get(line.reference)
        if line.reference in seen:
            events.append(Finding(Kind.ONLY_THEIRS, line, None, "twice"))
        elif found is None:
            events.append(Unknown(line))
        elif found.state is State.REVERSED:
            events.append(Unknown(line, found))
        elif found.state is State.PENDING:
            events.append(Finding(Kind.ONLY_THEIRS, line, found, "pending"))
        else:
            events += [Away(found)] * (found not in own)
            kind = differs(line, found)
            events += [Finding(kind, line, found)] if kind else []
            tally.matched += kind is None
        seen.add(line.reference)
    events += [
        Finding(Kind.ONLY_OURS, None, entry, "", edge_day(entry.at, DAYS))
        for entry in own
        if entry.reference not in seen
    ]
    return events, tally


@given(st.lists(lines, max_size=8), st.lists(entries, max_size=8))
def test_the_merge_finds_what_a_plain_comparison_does(
    theirs: list[Theirs], ours: list[Ours]
) -> None:
    theirs = sorted(theirs, key=lambda line: (line.reference, line.line))
    ours = sorted(ours, key=lambda entry: (entry.reference, entry.seq))
    tally = Tally()
    events = list(compare(theirs, ours, DAYS, tally))
    wanted, wanted_tally = plainly(theirs, ours)
    assert sorted(map(repr, events)) == sorted(map(repr, wanted))
    assert tally == wanted_tally
