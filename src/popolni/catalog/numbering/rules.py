"""What the numbering plan obeys, and what changed in it. Plain data in, decisions out."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

GROUPS = (3, 4, 8, 9)
"""The first digits of the codes in use: one file of the regulator's holds one of them."""
CODE_SIZE = 10**7
GROUP_SIZE = 10**9
SHRINK_MAX_PERCENT = 20
"""An import that takes away more than this of what was there is a broken file until a person
says otherwise."""
FAULTS_NAMED_MAX = 20
MOVES_NAMED_MAX = 10

_ENDLESS = 10**18


def group_of(number: int) -> int:
    """The first digit of a number's code: 9 of 79161234567."""
    return number // GROUP_SIZE % 10


def parse_number(text: str) -> int:
    """A Russian number as people write it, as an integer: +7 916 123-45-67, 8(916)1234567, 916….

    Raises ValueError with what is wrong.
    """
    plain = text.strip()
    international = plain.startswith("+")
    digits = "".join(mark for mark in plain.removeprefix("+") if mark not in " \u00a0-().")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text[:40]!r} is no phone number: write it as 79161234567")
    if len(digits) == 10 and not international:
        digits = "7" + digits
    if len(digits) == 11 and digits[0] == "8" and not international:
        digits = "7" + digits[1:]
    if len(digits) != 11 or digits[0] != "7" or int(digits[1]) not in GROUPS:
        raise ValueError(
            f"{text[:40]!r} is no Russian number: it has 11 digits, 7 first, as 79161234567"
        )
    return int(digits)


class Fault(NamedTuple):
    """What is wrong with a line of a file."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.what}"


class Faults:
    """Any number of faults, of which the first few are kept."""

    def __init__(self) -> None:
        self.named: list[Fault] = []
        self.count = 0

    def add(self, fault: Fault) -> None:
        """One more."""
        self.count += 1
        if len(self.named) < FAULTS_NAMED_MAX:
            self.named.append(fault)

    def __str__(self) -> str:
        """One line for one fault, otherwise a list and how many more there are."""
        if self.count == 1:
            return f"nothing was imported: {self.named[0]}"
        lines = [f"nothing was imported, {self.count} lines are wrong:", *map(str, self.named)]
        if self.count > len(self.named):
            lines.append(f"… and {self.count - len(self.named)} more")
        return "\n  ".join(lines)


@dataclass(slots=True)
class Names:
    """Each name once, under the number of its first coming."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of a name."""
        return self.numbers.setdefault(name, len(self.numbers))


class RangeRow(NamedTuple):
    """A line of the regulator's file; numbers with their 7 in front, `inn` may be empty."""

    line: int
    first: int
    last: int
    carrier: str
    inn: str
    region: str


class Ranges:
    """Ranges as they were read, in columns: 30 bytes for each."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.carriers, self.regions = Names(), Names()
        self.inns: dict[int, set[str]] = {}
        self.first, self.last = array("q"), array("q")
        self.file, self.line = array("H"), array("I")
        self.carrier, self.region = array("I"), array("I")

    def __len__(self) -> int:
        return len(self.first)

    def add(self, row: RangeRow) -> None:
        """One more, of the file that was appended to `files` last."""
        carrier = self.carriers.number(row.carrier)
        if row.inn:
            self.inns.setdefault(carrier, set()).add(row.inn)
        self.first.append(row.first)
        self.last.append(row.last)
        self.file.append(len(self.files) - 1)
        self.line.append(row.line)
        self.carrier.append(carrier)
        self.region.append(self.regions.number(row.region))

    def groups(self) -> list[int]:
        """The groups that they cover."""
        return sorted({first // GROUP_SIZE % 10 for first in self.first})

    def in_order(self) -> list[int]:
        """Their positions, by first number; of those that begin together, as read."""
        return sorted(range(len(self)), key=self.first.__getitem__)


def overlaps(ranges: Ranges, order: Sequence[int]) -> Iterator[Fault]:
    """A fault for each range that begins inside an earlier one; both lines are named.

    `order` is `ranges.in_order()`.
    """
    widest = None
    for position in order:
        if widest is not None and ranges.first[position] <= ranges.last[widest]:
            yield _overlap(ranges, *sorted((widest, position)))
        if widest is None or ranges.last[position] > ranges.last[widest]:
            widest = position


def _overlap(ranges: Ranges, earlier: int, later: int) -> Fault:
    of = ranges.files[ranges.file[earlier]]
    return Fault(
        ranges.files[ranges.file[later]],
        ranges.line[later],
        f"{ranges.first[later]}–{ranges.last[later]} overlaps"
        f" {ranges.first[earlier]}–{ranges.last[earlier]} of {of} line {ranges.line[earlier]}",
    )


class Range(NamedTuple):
    """Numbers from first to last, both included; carrier and region as their row's key."""

    first: int
    last: int
    carrier: int
    region: int


@dataclass
class GroupChange:
    """What an import changes in one group; all but `ranges_…` count numbers."""

    group: int
    ranges_before: int = 0
    ranges_after: int = 0
    numbers_before: int = 0
    numbers_after: int = 0
    added: int = 0
    removed: int = 0
    carrier_changed: int = 0
    region_changed: int = 0


class Change(NamedTuple):
    """What an import changes: each group, and how many numbers go from which carrier to which."""

    groups: list[GroupChange]
    moves: Counter[tuple[int, int]]


def compare(groups: Sequence[int], before: Iterable[Range], after: Iterable[Range]) -> Change:
    """Number by number, so that a range that was only cut in two is no change.

    Both are in order, free of overlaps and inside these groups.
    """
    changes = {group: GroupChange(group) for group in groups}
    moves: Counter[tuple[int, int]] = Counter()
    old, new = Counter[int](), Counter[int]()
    for first, size, was, becomes in _pieces(_counted(before, old), _counted(after, new)):
        change = changes[group_of(first)]
        if was is None:
            change.added += size
            change.numbers_after += size
            continue
        change.numbers_before += size
        if becomes is None:
            change.removed += size
            continue
        change.numbers_after += size
        if was.carrier != becomes.carrier:
            change.carrier_changed += size
            moves[was.carrier, becomes.carrier] += size
        if was.region != becomes.region:
            change.region_changed += size
    for group, change in changes.items():
        change.ranges_before, change.ranges_after = old[group], new[group]
    return Change(list(changes.values()), moves)


def _counted(ranges: Iterable[Range], counts: Counter[int]) -> Iterator[Range]:
    for range_ in ranges:
        counts[group_of(range_.first)] += 1
        yield range_


def _pieces(
    old: Iterator[Range], new: Iterator[Range]
) -> Iterator[tuple[int, int, Range | None, Range | None]]:
    """Runs of numbers that one range holds before and one after, at least one of both there."""
    end = Range(_ENDLESS, _ENDLESS, 0, 0)
    was, becomes = next(old, end), next(new, end)
    at = min(was.first, becomes.first)
    while at < _ENDLESS:
        there, here = was.first <= at, becomes.first <= at
        until = min(
            was.last if there else was.first - 1, becomes.last if here else becomes.first - 1
        )
        yield at, until - at + 1, was if there else None, becomes if here else None
        if was.last == until:
            was = next(old, end)
        if becomes.last == until:
            becomes = next(new, end)
        at = max(until + 1, min(was.first, becomes.first))


def shrinks(before: int, removed: int) -> bool:
    """Whether so much goes that the file is rather a part of one."""
    return removed * 100 > before * SHRINK_MAX_PERCENT


class Area(NamedTuple):
    """A branch, as one region sees it."""

    code: str
    serves: bool
    """It lists the region."""
    is_anywhere: bool
    """It lists no region at all."""


def choose_branch(areas: Sequence[Area]) -> str | None:
    """The code of the branch, among all of an operator's, that serves a region.

    The one that lists it (the first by code, should there be several); a branch without regions
    serves all of them if the operator has no other.
    """
    serving = [area.code for area in areas if area.serves]
    if serving:
        return min(serving)
    if len(areas) == 1 and areas[0].is_anywhere:
        return areas[0].code
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """Where a number belongs.

    `carrier` is whom the regulator gave the range to, `operator` and `branch` the codes of those
    who serve the number now: None if they are none of ours. A ported number keeps its region.
    """

    number: int
    carrier: str
    operator: str | None
    branch: str | None
    region: str
    ported: bool
