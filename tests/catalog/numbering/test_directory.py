"""The directory and the database answer as a brute-force model does, whatever the plan."""

import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popolni.catalog.numbering.directory import Catalogue, Directory
from popolni.catalog.numbering.models import Carrier, NumberingRange, PortedNumber
from popolni.catalog.numbering.rules import Found, Range
from popolni.catalog.numbering.service import (
    import_ported,
    import_ranges,
    load_directory,
    lookup,
)
from tests.catalog.numbering.support import branch, clear, operator, row, write

BASE = 79000000000
SPAN = 30
CARRIERS = {1: ("МТС", "mts"), 2: ("Т2", "t2"), 3: ("Никто", None), 4: ("МТС Юг", "mts")}
REGIONS = {1: "Москва", 2: "Тула", 3: "г. Шуя * |Ивановская обл."}
OPERATORS = {"01": "mts", "20": "t2"}
MNCS = ["01", "20", "77"]


@dataclass
class World:
    """A plan, whatever it is."""

    ranges: list[Range]
    ported: dict[int, str]
    branches: dict[str, dict[str, frozenset[int]]] = field(default_factory=dict)

    def expected(self, number: int) -> Found | None:
        """Looks at everything there is, one by one."""
        for range_ in self.ranges:
            if number in range(range_.first, range_.last + 1):
                carrier, code = CARRIERS[range_.carrier]
                if number in self.ported:
                    code = OPERATORS.get(self.ported[number])
                chosen = self.chosen(code, range_.region)
                region = REGIONS[range_.region]
                return Found(number, carrier, code, chosen, region, number in self.ported)
        return None

    def chosen(self, code: str | None, region: int) -> str | None:
        branches = self.branches.get(code, {}) if code else {}
        for name in sorted(branches):
            if region in branches[name]:
                return name
        if [set(regions) for regions in branches.values()] == [set()]:
            return next(iter(branches))
        return None


@st.composite
def worlds(draw: st.DrawFn) -> World:
    cuts = sorted(draw(st.sets(st.integers(0, SPAN))))
    ranges = []
    for first, end in pairwise(cuts):
        owner = draw(
            st.none() | st.tuples(st.sampled_from([*CARRIERS]), st.sampled_from([*REGIONS]))
        )
        if owner:
            ranges.append(Range(BASE + first, BASE + end - 1, *owner))
    numbers = st.integers(BASE - 2, BASE + SPAN + 2)
    ported = draw(st.dictionaries(numbers, st.sampled_from(MNCS), max_size=10))
    regions = st.frozensets(st.sampled_from([*REGIONS]))
    branches = {
        code: draw(st.dictionaries(st.sampled_from([f"{code}-1", f"{code}-2"]), regions))
        for code in OPERATORS.values()
    }
    return World(ranges, ported, branches)


PROBES = [0, 1, BASE - 3, *range(BASE - 2, BASE + SPAN + 3), 79999999999, 10**15]


@given(worlds())
def test_the_directory_against_brute_force(world: World) -> None:
    catalogue = Catalogue(CARRIERS, REGIONS, OPERATORS, world.branches)
    directory = Directory(catalogue, world.ranges, sorted(world.ported.items()))
    for _ in range(2):  # the second time from what it remembers
        for number in PROBES:
            assert directory.lookup(number) == world.expected(number)


@settings(
    max_examples=50,  # each rebuilds a database
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(world=worlds())
def test_imports_directory_and_database_against_brute_force(
    world: World, plan: str, tmp_path: Path
) -> None:
    del plan
    clear()
    operators = {code: operator(code, mnc) for mnc, code in OPERATORS.items()}
    for name, code in CARRIERS.values():
        Carrier.objects.create(name=name, operator=operators[code] if code else None)
    book = 1
    for code, branches in world.branches.items():
        for name, regions in branches.items():
            branch(operators[code], name, book, *(REGIONS[region] for region in regions))
            book += 1
    lines = [
        row(900, first - BASE, last - BASE, CARRIERS[carrier][0], REGIONS[region])
        for first, last, carrier, region in world.ranges
    ]
    if lines:
        import_ranges([write(tmp_path / "a.csv", *reversed(lines))])
    if world.ported:
        ported = tmp_path / "p.csv"
        rows = [f"{number},{mnc}\n" for number, mnc in world.ported.items()]
        ported.write_text("Number,MNC\n" + "".join(rows))
        import_ported(ported)
    directory = load_directory()
    for number in PROBES:
        expected = world.expected(number)
        assert directory.lookup(number) == expected
        assert lookup(number) == expected


def test_a_lookup_asks_a_fixed_number_of_questions(plan: str, django_queries: "Queries") -> None:
    del plan
    mts = operator("mts", "01")
    branch(mts, "mts-1", 1, "Москва")
    carrier = Carrier.objects.create(name="МТС", operator=mts)
    region = mts.branches.get().regions.get()
    for count in (1, 3):
        NumberingRange.objects.create(
            first=BASE + count * 10, last=BASE + count * 10 + 9, carrier=carrier, region=region
        )
        with django_queries as queries:
            assert lookup(BASE + count * 10) == Found(
                BASE + count * 10, "МТС", "mts", "mts-1", "Москва", ported=False
            )
        assert len(queries) == 3
    PortedNumber.objects.create(number=BASE + 10, mnc="01")
    with django_queries as queries:
        found = lookup(BASE + 10)
    assert found is not None
    assert (found.ported, len(queries)) == (True, 4)


class Queries:
    """What Django asks the database inside a block."""

    def __enter__(self) -> list[str]:
        self._asked: list[str] = []

        def note(execute, sql, params, many, context):  # type: ignore[no-untyped-def]  # Django's
            self._asked.append(sql)
            return execute(sql, params, many, context)

        self._wrapper = connection.execute_wrapper(note)
        self._wrapper.__enter__()
        return self._asked

    def __exit__(self, *_: object) -> None:
        self._wrapper.__exit__(None, None, None)


@pytest.fixture
def django_queries() -> Queries:
    return Queries()


def test_a_million_lookups_a_minute() -> None:
    ranges = [
        Range(BASE + n * 100, BASE + n * 100 + 98, 1 + n % 4, 1 + n % 3) for n in range(9_000)
    ]
    ported = [(BASE + n * 50, MNCS[n % 3]) for n in range(9_000)]
    branches = {"mts": {"mts-1": frozenset({1, 2}), "mts-2": frozenset({3})}}
    directory = Directory(Catalogue(CARRIERS, REGIONS, OPERATORS, branches), ranges, ported)
    began = time.perf_counter()
    for number in range(BASE, BASE + 900_000, 9):
        directory.lookup(number)
    assert time.perf_counter() - began < 6  # of 100,000, on a busy machine
