from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.numbering.rules import (
    FAULTS_NAMED_MAX,
    Area,
    Fault,
    Faults,
    GroupChange,
    Range,
    RangeRow,
    Ranges,
    choose_branch,
    compare,
    overlaps,
    parse_number,
    shrinks,
)

BASE = 79000000000
SPAN = 40


@pytest.mark.parametrize(
    "text",
    [
        "79161234567",
        "+79161234567",
        "+7 916 123-45-67",
        "8 (916) 123-45-67",
        "8(916)1234567",
        "9161234567",
        "916 123 45 67",
        "7.916.123.45.67",
        " +7\u00a0916\u00a0123\u00a045\u00a067 ",
    ],
)
def test_a_number_as_people_write_it(text: str) -> None:
    assert parse_number(text) == 79161234567


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "abc",
        "7916123456",
        "77011234567",
        "791612345678",
        "+8 916 123-45-67",
        "+9161234567",
        "+86 138 1234 5678",
        "7916123456x",
        "7916123456\u0667",
        "\u0667" * 11,
        "7" * 5000,
        "++79161234567",
    ],
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (phone|Russian) number") as caught:
        parse_number(text)
    assert len(str(caught.value)) < 130


def ranges_of(*spans: tuple[int, int]) -> Ranges:
    ranges = Ranges()
    ranges.files.append("a.csv")
    for line, (first, last) in enumerate(spans, start=2):
        ranges.add(RangeRow(line, first, last, "МТС", "", "Москва"))
    return ranges


@pytest.mark.parametrize(
    ("spans", "faults"),
    [
        ([], []),
        ([(1, 5)], []),
        ([(6, 9), (1, 5)], []),
        ([(1, 5), (5, 9)], ["a.csv line 3: 5–9 overlaps 1–5 of a.csv line 2"]),
        ([(5, 9), (1, 5)], ["a.csv line 3: 1–5 overlaps 5–9 of a.csv line 2"]),
        ([(1, 5), (1, 5)], ["a.csv line 3: 1–5 overlaps 1–5 of a.csv line 2"]),
        (
            [(1, 9), (2, 3), (5, 6)],
            [
                "a.csv line 3: 2–3 overlaps 1–9 of a.csv line 2",
                "a.csv line 4: 5–6 overlaps 1–9 of a.csv line 2",
            ],
        ),
    ],
)
def test_overlaps_name_both_lines(spans: list[tuple[int, int]], faults: list[str]) -> None:
    ranges = ranges_of(*spans)
    assert list(map(str, overlaps(ranges, ranges.in_order()))) == faults


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8))
def test_overlaps_against_counting(spans: list[tuple[int, int]]) -> None:
    ranges = ranges_of(*((first, first + more) for first, more in spans))
    held = Counter(number for first, more in spans for number in range(first, first + more + 1))
    found = bool(list(overlaps(ranges, ranges.in_order())))
    assert found == any(times > 1 for times in held.values())


@st.composite
def plans(draw: st.DrawFn) -> list[Range]:
    """Ranges in order, without overlaps, that cross no group: in 900… and 300…."""
    cuts = sorted(draw(st.sets(st.integers(0, SPAN))))
    found = []
    for first, end in pairwise(cuts):
        owner = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
        if owner:
            found.append(Range(BASE + first, BASE + end - 1, *owner))
    return found


def by_number(ranges: list[Range]) -> dict[int, tuple[int, int]]:
    return {
        number: (range_.carrier, range_.region)
        for range_ in ranges
        for number in range(range_.first, range_.last + 1)
    }


@given(plans(), plans())
def test_changes_against_counting(before: list[Range], after: list[Range]) -> None:
    old, new = by_number(before), by_number(after)
    both = old.keys() & new.keys()
    change = compare([9], before, after)
    assert change.groups == [
        GroupChange(
            9,
            ranges_before=len(before),
            ranges_after=len(after),
            numbers_before=len(old),
            numbers_after=len(new),
            added=len(new.keys() - old.keys()),
            removed=len(old.keys() - new.keys()),
            carrier_changed=sum(old[n][0] != new[n][0] for n in both),
            region_changed=sum(old[n][1] != new[n][1] for n in both),
        )
    ]
    assert change.moves == Counter((old[n][0], new[n][0]) for n in both if old[n][0] != new[n][0])


def test_each_group_by_itself() -> None:
    landline = Range(73010000000, 73010000009, 1, 1)
    mobile = Range(BASE, BASE + 4, 1, 1)
    assert compare([3, 9], [landline], [mobile]).groups == [
        GroupChange(3, ranges_before=1, numbers_before=10, removed=10),
        GroupChange(9, ranges_after=1, numbers_after=5, added=5),
    ]


@pytest.mark.parametrize(
    ("before", "removed", "refused"),
    [(0, 0, False), (100, 0, False), (100, 20, False), (100, 21, True), (1, 1, True)],
)
def test_what_shrinks_too_much(before: int, removed: int, *, refused: bool) -> None:
    assert shrinks(before, removed) == refused


@pytest.mark.parametrize(
    ("areas", "code"),
    [
        ([], None),
        ([Area("a", serves=True, is_anywhere=False)], "a"),
        ([Area("a", serves=False, is_anywhere=False)], None),
        ([Area("a", serves=False, is_anywhere=True)], "a"),
        (
            [
                Area("a", serves=False, is_anywhere=True),
                Area("b", serves=False, is_anywhere=True),
            ],
            None,
        ),
        (
            [
                Area("a", serves=False, is_anywhere=True),
                Area("b", serves=True, is_anywhere=False),
            ],
            "b",
        ),
        (
            [
                Area("b", serves=True, is_anywhere=False),
                Area("a", serves=True, is_anywhere=False),
            ],
            "a",
        ),
    ],
)
def test_which_branch_serves_a_region(areas: list[Area], code: str | None) -> None:
    assert choose_branch(areas) == code


@pytest.mark.parametrize(
    ("count", "lines", "last"),
    [
        (1, 1, "nothing was imported: a.csv line 1: bad"),
        (2, 3, "  a.csv line 2: bad"),
        (FAULTS_NAMED_MAX, FAULTS_NAMED_MAX + 1, "  a.csv line 20: bad"),
        (FAULTS_NAMED_MAX + 7, FAULTS_NAMED_MAX + 2, "  … and 7 more"),
    ],
)
def test_faults_for_people(count: int, lines: int, last: str) -> None:
    faults = Faults()
    for line in range(1, count + 1):
        faults.add(Fault("a.csv", line, "bad"))
    said = str(faults).split("\n")
    assert (len(said), said[-1]) == (lines, last)
