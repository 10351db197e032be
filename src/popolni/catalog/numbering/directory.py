"""The whole plan in memory, for look-ups by the thousand."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from popolni.catalog.numbering.rules import Area, Found, Range, choose_branch

_Answer = tuple[str, str | None, str | None, str, bool]


@dataclass(frozen=True)
class Catalogue:
    """Who is who, by the keys of their rows; operators and branches by their codes."""

    carriers: Mapping[int, tuple[str, str | None]]
    """A carrier's name, and its operator."""
    regions: Mapping[int, str]
    operators: Mapping[str, str]
    """By network code."""
    branches: Mapping[str, Mapping[str, frozenset[int]]]
    """Of each operator, the regions of each branch."""

    def answer(self, carrier: int, region: int, mnc: str | None) -> _Answer:
        """All that is found but the number; `mnc` is that of a ported one."""
        name, operator = self.carriers[carrier]
        if mnc is not None:
            operator = self.operators.get(mnc)
        areas = [
            Area(code, region in regions, not regions)
            for code, regions in self.branches.get(operator or "", {}).items()
        ]
        return name, operator, choose_branch(areas), self.regions[region], mnc is not None


class Directory:
    """The plan as it was when it was loaded. Many threads may ask at once.

    It takes some 20 bytes for a range and 10 for a ported number.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ranges: Iterable[Range],
        ported: Iterable[tuple[int, str]],
    ) -> None:
        """`ranges` in order of their first number, `ported` (number, MNC) in order too."""
        self._catalogue = catalogue
        self._first, self._last, self._place = array("q"), array("q"), array("I")
        self._ported, self._mnc = array("q"), array("H")
        places: dict[tuple[int, int], int] = {}
        for first, last, carrier, region in ranges:
            self._first.append(first)
            self._last.append(last)
            self._place.append(places.setdefault((carrier, region), len(places)))
        mncs: dict[str, int] = {}
        for number, mnc in ported:
            self._ported.append(number)
            self._mnc.append(mncs.setdefault(mnc, len(mncs)))
        self._places, self._mncs = list(places), list(mncs)
        self._answers: dict[tuple[int, str | None], _Answer] = {}

    def lookup(self, number: int) -> Found | None:
        """Where a number belongs; None if it is in no range, whoever it was ported to."""
        position = bisect_right(self._first, number) - 1
        if position < 0 or self._last[position] < number:
            return None
        key = self._place[position], self._ported_to(number)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._catalogue.answer(*self._places[key[0]], key[1])
            self._answers[key] = answer
        return Found(number, *answer)

    def _ported_to(self, number: int) -> str | None:
        position = bisect_left(self._ported, number)
        if position < len(self._ported) and self._ported[position] == number:
            return self._mncs[self._mnc[position]]
        return None
