"""Imports on a real database: exact figures, all or nothing, one at a time."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import django.db
import psycopg
import pytest
from django.db import connection

from popolni.catalog.numbering import imports
from popolni.catalog.numbering.imports import FileRead
from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.catalog.numbering.rules import GroupChange
from popolni.catalog.numbering.service import (
    Move,
    PortedReport,
    Report,
    import_ported,
    import_ranges,
    lookup,
)
from popolni.core.errors import UserError
from tests.catalog.numbering.support import HEADER, branch, csv, dump, operator, row, write

pytestmark = pytest.mark.usefixtures("plan")


def read(path: Path, rows: int) -> FileRead:
    content = path.read_bytes()
    return FileRead(str(path), len(content), sha256(content).hexdigest(), rows)


def stored() -> list[tuple[int, int, str, str]]:
    return list(
        NumberingRange.objects.order_by("first").values_list(
            "first", "last", "carrier__name", "region__name"
        )
    )


def test_the_first_import(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", row(901, 0, 99, "Т2", "Тула"), row(900, 0, 999))
    report = import_ranges([path])
    group = GroupChange(9, ranges_after=2, numbers_after=1_100, added=1_100)
    assert report == Report([read(path, 2)], [group], 2, 2, [], 0)
    assert stored() == [
        (79000000000, 79000000999, "МТС", "Москва"),
        (79010000000, 79010000099, "Т2", "Тула"),
    ]
    (kept,) = NumberingImport.objects.all()
    assert kept.kind == NumberingImport.Kind.RANGES
    assert kept.files == [
        {
            "name": str(path),
            "bytes": path.stat().st_size,
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "rows": 2,
        }
    ]
    assert kept.report == {
        "groups": [
            {
                "group": 9,
                "ranges_before": 0,
                "ranges_after": 2,
                "numbers_before": 0,
                "numbers_after": 1_100,
                "added": 1_100,
                "removed": 0,
                "carrier_changed": 0,
                "region_changed": 0,
            }
        ],
        "carriers_new": 2,
        "regions_new": 2,
        "moves": [],
        "moves_unnamed": 0,
    }


def test_the_next_import_tells_what_changed(tmp_path: Path) -> None:
    import_ranges([write(tmp_path / "a.csv", row(900, 0, 999), row(901, 0, 99, "Т2", "Тула"))])
    path = write(
        tmp_path / "b.csv",
        row(900, 0, 499),  # cut in two
        row(900, 500, 949, region="Тверь"),  # and 50 are gone
        row(901, 0, 9, "Т2", "Тула"),
        row(901, 10, 99, "МТС", "Тула"),
        row(902, 0, 9, "Йота", "Тула"),
    )
    group = GroupChange(
        9,
        ranges_before=2,
        ranges_after=5,
        numbers_before=1_100,
        numbers_after=1_060,
        added=10,
        removed=50,
        carrier_changed=90,
        region_changed=450,
    )
    assert import_ranges([path]) == Report(
        [read(path, 5)], [group], 1, 1, [Move("Т2", "МТС", 90)], 0
    )
    again = replace(
        group,
        ranges_before=5,
        numbers_before=1_060,
        added=0,
        removed=0,
        carrier_changed=0,
        region_changed=0,
    )
    before = stored()
    assert import_ranges([path]) == Report([read(path, 5)], [again], 0, 0, [], 0)
    assert stored() == before
    assert NumberingImport.objects.count() == 3


def test_only_the_largest_moves_are_named(tmp_path: Path) -> None:
    lines = [row(900, n * 100, n * 100 + n, f"К{n}") for n in range(1, 13)]
    import_ranges([write(tmp_path / "a.csv", *lines)])
    after = [line.replace(";К", ";Новый К") for line in lines]
    report = import_ranges([write(tmp_path / "b.csv", *after)])
    assert report.moves == [Move(f"К{n}", f"Новый К{n}", n + 1) for n in range(12, 2, -1)]
    assert report.moves_unnamed == 2


def test_a_file_replaces_its_own_groups_only(tmp_path: Path) -> None:
    landline = write(tmp_path / "3.csv", row(301, 0, 9, "РТК", "Улан-Удэ"))
    import_ranges([landline, write(tmp_path / "9.csv", row(900, 0, 9))])
    report = import_ranges([write(tmp_path / "9a.csv", row(900, 10, 19))], allow_shrink=True)
    assert [group.group for group in report.groups] == [9]
    assert stored() == [
        (73010000000, 73010000009, "РТК", "Улан-Удэ"),
        (79000000010, 79000000019, "МТС", "Москва"),
    ]


def test_what_staff_linked_stays_linked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", row(900, 0, 9), row(901, 0, 9, "Т2", "Тула"))
    import_ranges([path])
    mts = operator("mts", "01")
    branch(mts, "mts-tula", 1, "Тула")
    Carrier.objects.filter(name="Т2").update(operator=mts)
    import_ranges([write(tmp_path / "b.csv", row(900, 0, 9))], allow_shrink=True)
    assert set(Carrier.objects.values_list("name", flat=True)) == {"МТС", "Т2"}
    assert set(Region.objects.values_list("name", flat=True)) == {"Москва", "Тула"}
    import_ranges([path])
    found = lookup(79010000005)
    assert found is not None
    assert (found.operator, found.branch) == ("mts", "mts-tula")


def test_inns(tmp_path: Path) -> None:
    def lines(*inns: str) -> list[str]:
        return [
            f"{row(900, n, n, 'Связь' if inn[0] == '1' else 'Т2')};{inn}"
            for n, inn in enumerate(inns)
        ]

    header = f"{HEADER};ИНН"
    for inns, kept in [
        (["1111111111", "2222222222"], {"Связь": "1111111111", "Т2": "2222222222"}),
        # two companies under one name, and one that has another ИНН now
        (["1111111112", "1111111113", "2222222223"], {"Связь": "1111111111", "Т2": "2222222223"}),
    ]:
        import_ranges([write(tmp_path / "a.csv", *lines(*inns), header=header)])
        assert dict(Carrier.objects.values_list("name", "inn")) == kept
    import_ranges([write(tmp_path / "a.csv", row(900, 0, 9, "Связь"), row(901, 0, 9, "Т2"))])
    assert Carrier.objects.get(name="Т2").inn == "2222222223"  # the old header says nothing of it


LINE = row(900, 0, 99)
BAD = {
    "cp1251": csv(LINE).decode("utf-8-sig").encode("cp1251"),
    "utf-16": csv(LINE).decode("utf-8-sig").encode("utf-16"),
    "nul": csv(LINE) + b"\0",
    "no csv": b"<html>\n",
    "empty": b"",
    "header only": csv(),
    "cut": csv(LINE, row(901, 0, 99))[:-8],
    "long line": csv(LINE, "x" * 100_000),
    "open quote": csv(LINE, row(901, 0, 9, '"Т2')),
    "malformed": csv(LINE, row(901, 0, 9).replace(";10;", ";11;")),
    "overlap": csv(LINE, row(900, 99, 100)),
    "twice": csv(LINE, LINE),
    "shrunk": csv(row(900, 0, 78)),
    "nothing of it left": csv(row(909, 0, 1_000)),
}


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    import_ranges([write(tmp_path / "good.csv", LINE)])
    before = dump()
    for name, content in BAD.items():
        path = tmp_path / f"{name}.csv"
        path.write_bytes(content)
        good = write(tmp_path / "other.csv", row(301, 0, 9, "РТК", "Чита"))
        with pytest.raises(UserError) as caught:
            import_ranges([good, path])
        assert "\n" not in str(caught.value), name
        assert dump() == before, name


def test_a_sparse_file_of_10_gb(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    before = dump()
    for run in (lambda: import_ranges([path]), lambda: import_ported(path)):
        with pytest.raises(UserError, match="has 10,240 MB"):
            run()
    assert dump() == before


def test_faults_of_all_files_are_named_together(tmp_path: Path) -> None:
    bad = write(tmp_path / "a.csv", LINE, LINE.replace("900", "9", 1), row(900, 50, 60))
    worse = write(tmp_path / "b.csv", row(900, 10, 20), *["x"] * 30)
    with pytest.raises(UserError) as caught:
        import_ranges([bad, worse])
    said = str(caught.value).split("\n")
    assert said[0] == "nothing was imported, 33 lines are wrong:"
    assert said[1] == f"  {bad} line 3: the code is '9', not 3 digits"
    assert said[2] == f"  {worse} line 3: 1 fields, the header has 6"
    assert (len(said), said[-1]) == (22, "  … and 13 more")
    worse.write_bytes(csv(row(900, 10, 20)))
    bad.write_bytes(csv(LINE))
    with pytest.raises(UserError) as caught:
        import_ranges([bad, worse])
    assert str(caught.value) == (
        f"nothing was imported: {worse} line 2: 79000000010–79000000020 overlaps"
        f" 79000000000–79000000099 of {bad} line 2"
    )


def test_a_file_given_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", LINE)
    (link := tmp_path / "b.csv").symlink_to(path)
    with pytest.raises(UserError, match=r"b\.csv is given twice"):
        import_ranges([path, link])


def test_more_ranges_than_there_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popolni.catalog.numbering.service.RANGES_MAX", 1)
    with pytest.raises(UserError, match="more than 1 ranges: this is no numbering plan"):
        import_ranges([write(tmp_path / "a.csv", LINE, row(901, 0, 9))])


def test_a_shrunk_file_needs_a_word(tmp_path: Path) -> None:
    import_ranges([write(tmp_path / "a.csv", LINE)])
    import_ranges([write(tmp_path / "b.csv", row(900, 0, 79))])
    small = write(tmp_path / "c.csv", row(900, 0, 62))
    with pytest.raises(UserError) as caught:
        import_ranges([small])
    assert str(caught.value) == (
        "nothing was imported: 17 of 80 numbers of the codes 9xx would go, over 20 %;"
        " is the file whole? If it is right: --allow-shrink"
    )
    assert import_ranges([small], allow_shrink=True).groups[0].removed == 17


def ported_file(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in ("Number,MNC,PortDate", *lines)))
    return path


def ported_numbers() -> list[tuple[int, str, str]]:
    rows = PortedNumber.objects.order_by("number").values_list("number", "mnc", "ported_on")
    return [(number, mnc, str(since)) for number, mnc, since in rows]


def test_ported_numbers(tmp_path: Path) -> None:
    lines = ["9000000003,20,2020-01-02", "9000000001,01,", "9000000002,77,03.01.2020"]
    lines += [f"90000001{n:02},20," for n in range(10)]
    path = ported_file(tmp_path / "a.csv", *lines)
    assert import_ported(path) == PortedReport([read(path, 13)], 0, 13, 13, 0, 0)
    assert ported_numbers()[:3] == [
        (79000000001, "01", "None"),
        (79000000002, "77", "2020-01-03"),
        (79000000003, "20", "2020-01-02"),
    ]
    lines[:3] = ["9000000001,02,", "9000000003,20,2020-01-03", "9000000004,20,"]
    path = ported_file(tmp_path / "b.csv", *lines)
    report = PortedReport([read(path, 13)], 13, 13, 1, 1, 2)
    assert import_ported(path) == report
    assert ported_numbers()[:3] == [
        (79000000001, "02", "None"),
        (79000000003, "20", "2020-01-03"),
        (79000000004, "20", "None"),
    ]
    kept = NumberingImport.objects.latest("pk")
    assert kept.kind == NumberingImport.Kind.PORTED
    assert kept.report == {
        "numbers_before": 13,
        "numbers_after": 13,
        "added": 1,
        "removed": 1,
        "moved": 2,
    }
    assert kept.files[0]["rows"] == 13


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["9000000001,20,", "9000000002,20,", "79000000001,01,"],
            "nothing was imported: {} line 4: the number 79000000001 is in line 2 already",
        ),
        (["9000000001,2,"], "nothing was imported: {} line 2: the MNC is '2', not two digits"),
        (
            [f"90000000{n:02},20," for n in range(7)],
            "nothing was imported: 3 of 10 numbers of the list of ported numbers would go",
        ),
        ([], "{} holds a header and nothing else"),
    ],
)
def test_a_bad_list_changes_nothing(lines: list[str], said: str, tmp_path: Path) -> None:
    import_ported(ported_file(tmp_path / "a.csv", *(f"90000000{n:02},20," for n in range(10))))
    before = dump()
    path = ported_file(tmp_path / "b.csv", *lines)
    with pytest.raises(UserError) as caught:
        import_ported(path)
    assert str(caught.value).startswith(said.format(path))
    assert dump() == before
    if "would go" in said:
        assert import_ported(path, allow_shrink=True).removed == 3


def test_repeats_are_counted_beyond_those_that_are_named(tmp_path: Path) -> None:
    path = ported_file(tmp_path / "a.csv", *["9000000001,20,"] * 31)
    with pytest.raises(UserError, match="nothing was imported, 30 lines are wrong") as caught:
        import_ported(path)
    assert str(caught.value).endswith("\n  … and 10 more")


def in_thread(run: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except UserError as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread, raised


def test_two_imports_go_one_after_the_other(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", *(row(900, n * 10, n * 10 + 9) for n in range(3_000)))
    two = write(tmp_path / "2.csv", *(row(900, n * 6, n * 6 + 5, "Т2") for n in range(5_000)))
    for _ in range(3):
        workers = [in_thread(partial(import_ranges, [path])) for path in (one, two)]
        for thread, _raised in workers:
            thread.join()
        assert [raised for _, raised in workers] == [[], []]
    reports = NumberingImport.objects.order_by("pk").values_list("report", flat=True)
    for earlier, later in itertools.pairwise(report["groups"][0] for report in reports):
        assert later["ranges_before"] == earlier["ranges_after"]
    assert len(stored()) == reports[5]["groups"][0]["ranges_after"]
    assert len({carrier for _, _, carrier, _ in stored()}) == 1


def test_an_import_waits_no_longer_than_it_says(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "WAIT_S", 1)
    before = dump()
    with psycopg.connect(plan) as other:
        other.execute("lock table popolni_numberingimport in share row exclusive mode")
        with pytest.raises(UserError, match="another import has been going on for 1 s: try again"):
            import_ranges([write(tmp_path / "a.csv", LINE)])
    assert dump() == before


@pytest.mark.parametrize("stage", ["comparing", "writing"])
def test_a_connection_lost_in_the_middle_leaves_nothing(
    plan: str, stage: str, tmp_path: Path
) -> None:
    import_ranges([write(tmp_path / "a.csv", LINE)])
    before = dump()

    def kill(doing: str, done: int, total: int) -> None:
        del done, total
        if doing == stage:
            with psycopg.connect(plan, autocommit=True) as other:
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )

    path = write(tmp_path / "b.csv", *(row(900, n, n, "Т2", "Тула") for n in range(30_000)))
    with pytest.raises(django.db.Error):
        import_ranges([path], progress=kill)
    assert dump() == before
    assert import_ranges([path]).groups[0].carrier_changed == 100


def test_readers_see_the_old_plan_until_the_new_one_is_there(tmp_path: Path) -> None:
    import_ranges([write(tmp_path / "a.csv", LINE)])
    seen = []

    def look(doing: str, done: int, total: int) -> None:
        if (doing, done) == ("writing", total):
            thread, _ = in_thread(lambda: seen.append(stored()))
            thread.join()

    import_ranges([write(tmp_path / "b.csv", row(900, 0, 99, "Т2"))], progress=look)
    assert seen == [[(79000000000, 79000000099, "МТС", "Москва")]]
    assert stored() == [(79000000000, 79000000099, "Т2", "Москва")]


def test_progress_goes_on_to_the_end(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    path = write(tmp_path / "a.csv", *(row(900, n, n) for n in range(25_000)))
    import_ranges([path], progress=lambda *step: steps.append(step))
    size = path.stat().st_size
    assert [doing for doing, _ in itertools.groupby(steps, key=lambda step: step[0])] == [
        "reading",
        "comparing",
        "writing",
    ]
    assert steps[2] == ("reading", size, size)
    assert steps[-1] == ("writing", 25_000, 25_000)
    assert all(0 <= done <= total for _, done, total in steps)
