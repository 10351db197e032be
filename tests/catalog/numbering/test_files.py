"""Both readers as tables of cases: what a file holds, and what is said of it."""

import io
import os
import tracemalloc
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.numbering import files
from popolni.catalog.numbering.files import (
    Lines,
    PortedRow,
    file_bytes,
    open_lines,
    read_ported,
    read_ranges,
)
from popolni.catalog.numbering.rules import Fault, RangeRow
from popolni.core.errors import UserError
from tests.catalog.numbering.support import HEADER, csv

NEW = f"{HEADER};Территория ГАР;ИНН"
MTS = 'ПАО "Мобильные ТелеСистемы"'


def lines_of(content: bytes) -> Lines:
    return Lines(io.BytesIO(content), "f.csv", 1_500_000)


def ranges(content: bytes) -> list[RangeRow | Fault]:
    return list(read_ranges(lines_of(content)))


def ported(content: str) -> list[PortedRow | Fault]:
    return list(read_ported(lines_of(content.encode())))


def one(carrier: str = "МТС", inn: str = "", region: str = "Москва") -> list[RangeRow]:
    return [RangeRow(2, 79000000000, 79000009999, carrier, inn, region)]


GOOD = [
    ("old header", csv("900;0000000;0009999;10000;МТС;Москва"), one()),
    ("no BOM", csv("900;0000000;0009999;10000;МТС;Москва").removeprefix(b"\xef\xbb\xbf"), one()),
    ("LF", csv("900;0000000;0009999;10000;МТС;Москва", end="\n"), one()),
    (
        "new header",
        csv("900;0000000;0009999;10000;МТС;Москва;Город Москва;7740000076", header=NEW),
        one(inn="7740000076"),
    ),
    (
        "12 digits for a person",
        csv("900;0000000;0009999;10000;МТС;Москва;;774000007601", header=NEW),
        one(inn="774000007601"),
    ),
    (
        "no region but a territory",
        csv("900;0000000;0009999;10000;МТС;-;Город Москва;7740000076", header=NEW),
        one(inn="7740000076", region="Город Москва"),
    ),
    (
        "another order",
        csv(
            "7740000076;Москва;МТС;10000;0009999;0000000;900",
            header="ИНН;Регион;Оператор;Емкость;До;От;АВС/ DEF",
        ),
        one(inn="7740000076"),
    ),
    (
        "latin letters, other spaces and cases, Ё",
        csv(
            "900;0000000;0009999;10000;МТС;Москва",
            header="ABC / def ;OT; дO;ЁМКОСТЬ;оператор;PEГИOH".replace("PEГИOH", "PEГиOH"),
        ),
        one(),
    ),
    ("tabs", csv("900\t;\t0000000\t;\t0009999\t;\t10000\t;\tМТС;\tМосква"), one()),
    (
        "| and * in a region",
        csv("900;0000000;0009999;10000;МТС;г.  Шуя * |р-н\u00a0Шуйский | Ивановская обл."),
        one(region="г. Шуя * |р-н Шуйский | Ивановская обл."),
    ),
    ("quotes inside", csv(f"900;0000000;0009999;10000;{MTS};Москва"), one(MTS)),
    (
        "quotes around",
        csv('900;0000000;0009999;10000;"ПАО ""Мобильные ТелеСистемы""";Москва'),
        one(MTS),
    ),
    ("separator in quotes", csv('900;0000000;0009999;10000;"МТС; МГТС";Москва'), one("МТС; МГТС")),
    (
        "a formula is text",
        csv("900;0000000;0009999;10000;=cmd|' /C calc'!A0;+1+1"),
        one("=cmd|' /C calc'!A0", region="+1+1"),
    ),
    ("composed letters", csv("900;0000000;0009999;10000;МТС;Алтаи\u0306"), one(region="Алтай")),
    ("blank lines", csv("900;0000000;0009999;10000;МТС;Москва", "", ""), one()),
    (
        "an unknown column, an empty title",
        csv("900;0000000;0009999;10000;МТС;Москва;x;", header=f"{HEADER};Что-то;"),
        one(),
    ),
    (
        "the regulator's own end: a last line without a line end, but with an ИНН",
        csv("900;0000000;0009999;10000;МТС;Москва;;7740000076", header=NEW)[:-2],
        one(inn="7740000076"),
    ),
]


@pytest.mark.parametrize(("content", "rows"), [case[1:] for case in GOOD], ids=[c[0] for c in GOOD])
def test_good_ranges(content: bytes, rows: list[RangeRow]) -> None:
    assert ranges(content) == rows


def test_without_a_last_line_end_a_text_must_have_come_before() -> None:
    content = csv("900;0000000;0009999;10000;МТС;Москва", "900;0010000;0019999;10000;МТС;Москва")
    assert ranges(content[:-2]) == ranges(content)
    (fault,) = [row for row in ranges(content[:-4]) if isinstance(row, Fault)]
    assert str(fault) == (
        "f.csv line 3: the file ends in the middle of a line (if it is whole, add a line end):"
        " Регион 'Москв' may go on"
    )


@pytest.mark.parametrize("cut", range(1, 60))
def test_however_a_last_line_is_cut_it_is_noticed(cut: int) -> None:
    """But where only an ИНН is one of twelve digits that became ten, which nothing rests on."""
    whole = csv(
        "900;0000000;0009999;10000;МТС;Москва;Город Москва;7740000076",
        "900;0010000;0019999;10000;МТС;Тула;Тульская область;7740000076",
        header=NEW,
    )[:-2]
    rest = whole[:-cut]
    last_line_begins = whole.rindex(b"\n") + 1
    if len(rest) <= last_line_begins:
        pytest.skip("the line is gone altogether")
    try:
        rows = ranges(rest)
    except UserError as error:  # in the middle of a letter
        assert "not UTF-8" in str(error)  # noqa: PT017  # either of two is right
    else:
        assert isinstance(rows[-1], Fault)


BAD_ROWS = [
    ("90;0000000;0000009;10;МТС;Москва", "the code is '90', not 3 digits"),
    ("9OO;0000000;0000009;10;МТС;Москва", "the code is '9OO', not 3 digits"),
    ("٩٠٠;0000000;0000009;10;МТС;Москва", "the code is '٩٠٠', not 3 digits"),
    (
        "700;0000000;0000009;10;МТС;Москва",
        "the code 700 is not in the plan: codes begin with 3, 4, 8 or 9",
    ),
    ("900;0;0000009;10;МТС;Москва", "От is '0', not 7 digits"),
    ("900;-000001;0000009;10;МТС;Москва", "От is '-000001', not 7 digits"),
    ("900;0000000;00000009;10;МТС;Москва", "До is '00000009', not 7 digits"),
    ("900;0000009;0000000;10;МТС;Москва", "До 0000000 is before От 0000009"),
    ("900;0000000;0000009;11;МТС;Москва", "Емкость is '11', От and До make 10"),
    ("900;0000000;0000009;;МТС;Москва", "Емкость is '', От and До make 10"),
    ("900;0000000;0000009;1 0;МТС;Москва", "Емкость is '1 0', От and До make 10"),
    ("900;0000000;0000009;10;;Москва", "Оператор is missing"),
    ("900;0000000;0000009;10;МТС; ", "Регион is missing"),
    ("900;0000000;0000009;10;МТС;-", "Регион is missing"),
    ("900;0000000;0000009;10;МТС", "5 fields, the header has 6"),
    ("900;0000000;0000009;10;МТС;Москва;", "7 fields, the header has 6"),
    (
        '900;0000000;0000009;10;"МТС;Москва',
        "a quote is opened and not closed, or goes on after its end",
    ),
    (
        '900;0000000;0000009;10;"Т2" ООО;Москва',
        "a quote is opened and not closed, or goes on after its end",
    ),
    (
        "900;0000000;0000009;10;МТС\x1b[2J;Москва",
        "Оператор holds a control character: 'МТС\\x1b[2J'",
    ),
    (
        f"900;0000000;0000009;10;МТС;{'М' * 301}",
        f"Регион is longer than 300 characters: '{'М' * 39}…'",
    ),
]


@pytest.mark.parametrize(("line", "what"), BAD_ROWS)
def test_a_malformed_line_is_named(line: str, what: str) -> None:
    good = "900;0000000;0000009;10;МТС;Москва"
    assert ranges(csv(good, line, good))[1] == Fault("f.csv", 3, what)


@pytest.mark.parametrize("inn", ["774000007", "77400000760", "77400000AB", "7740000076013"])
def test_a_malformed_inn_is_named(inn: str) -> None:
    content = csv(f"900;0000000;0000009;10;МТС;Москва;;{inn}", header=NEW)
    assert ranges(content) == [Fault("f.csv", 2, f"ИНН is '{inn}', not 10 or 12 digits")]


LINE = "900;0000000;0000009;10;МТС;Москва"
BAD_FILES = [
    (
        csv(LINE).decode("utf-8-sig").encode("cp1251"),
        "line 1: not UTF-8 (byte 1 of the line is C0)",
    ),
    (csv(LINE).decode("utf-8-sig").encode("utf-16"), "f.csv is UTF-16: save the file as UTF-8"),
    (csv(LINE).decode("utf-8-sig").encode("utf-16-le"), "line 1: a NUL byte"),
    (csv() + "900;0000000;0000009;10;МТС;Москва\n".encode("cp1251"), "line 2: not UTF-8 (byte 24"),
    (csv(*[LINE] * 9_000, "\0"), "line 9002: a NUL byte"),
    (csv(*[LINE] * 9_000) + b"90\xff", "line 9002: not UTF-8 (byte 3 of the line is FF)"),
    (csv(*[LINE] * 9_000, "я" * 66_000), "line 9002: longer than 65,536 characters"),
    (csv(*[LINE] * 9_000) + b"x" * 400_000, "line 9002: longer than 65,536 characters"),
    (csv(LINE) + b"\0\n", "line 3: a NUL byte: this is no CSV file in UTF-8"),
    (b"PK\x03\x04\x14\x00\x06\x00", "line 1: a NUL byte"),
    (b"\x1f\x8b\x08\x08 gz", "line 1: not UTF-8"),
    (
        b"<!DOCTYPE html>\n<p>\n",
        "line 1: the column АВС/ DEF is missing: this is not the header of",
    ),
    (b"", "f.csv is empty"),
    (b"\n", "line 1: the column АВС/ DEF is missing"),
    (csv(LINE, header="АВС/ DEF;От;До;Емкость;Оператор"), "line 1: the column Регион is missing"),
    (csv(LINE, header="АВС/ DEF,От,До,Емкость,Оператор,Регион"), "the column АВС/ DEF is missing"),
    (csv(LINE, header=f"{HEADER};От"), "line 1: the column От comes twice"),
    (csv(), "f.csv holds a header and nothing else"),
    (csv("", ""), "f.csv holds a header and nothing else"),
    (csv(LINE + "x" * 70_000), "line 2: longer than 65,536 characters: this is no list of numbers"),
    (csv(LINE).replace(b"\r\n", b"\r"), "line 1: the column Регион is missing"),
    (csv(*[LINE] * 40_000), "f.csv is larger than 1 MB"),
]


@pytest.mark.parametrize(("content", "said"), BAD_FILES)
def test_what_is_no_file_of_the_regulators(content: bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ranges(content)
    assert said in str(caught.value)
    assert str(caught.value).startswith("f.csv")
    assert "\n" not in str(caught.value)


PORTED = [
    ("Number,MNC\n9161234567,20\n", [PortedRow(2, 79161234567, "20", None)]),
    ("\ufeffmsisdn;mnc\r\n79161234567;01\r\n", [PortedRow(2, 79161234567, "01", None)]),
    ("Number,OwnerId\n9161234567,02\n", [PortedRow(2, 79161234567, "02", None)]),
    # the last line lacks its end, but its last field cannot go on
    (
        "Number,OwnerId\n9161234567,02\n9161234568,02",
        [PortedRow(2, 79161234567, "02", None), PortedRow(3, 79161234568, "02", None)],
    ),
    ("Number,MNC\n9161234567,250", [PortedRow(2, 79161234567, "250", None)]),
    ("MNC,Number\n02,9161234567", [PortedRow(2, 79161234567, "02", None)]),
    ("MNC,Number\n02,79161234567", [PortedRow(2, 79161234567, "02", None)]),
    (
        "Number,MNC,Date\n9161234567,02,07.09.2016",
        [PortedRow(2, 79161234567, "02", date(2016, 9, 7))],
    ),
    (
        "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\n"
        "9000000000,mMEGAFON,02,D2502,25,2016-09-07T12:00:17+03:00,2\n"
        "9000000001,mMEGAFON,02,D2502,25,,\n",
        [
            PortedRow(2, 79000000000, "02", date(2016, 9, 7)),
            PortedRow(3, 79000000001, "02", None),
        ],
    ),
    (
        "Number,MNC,RowCount\n9000000000,02,\n9000000001,02,2\n",
        [PortedRow(2, 79000000000, "02", None), PortedRow(3, 79000000001, "02", None)],
    ),
    (
        "Number,MNC,RowCount\n9000000000,02,02\n9000000001,02,2\n",
        [PortedRow(2, 79000000000, "02", None), PortedRow(3, 79000000001, "02", None)],
    ),
    (
        "PortDate;MNC;Number\n07.09.2016;250;9000000000\n2016-09-07;99;9000000001\n",
        [
            PortedRow(2, 79000000000, "250", date(2016, 9, 7)),
            PortedRow(3, 79000000001, "99", date(2016, 9, 7)),
        ],
    ),
]


@pytest.mark.parametrize(("content", "rows"), PORTED)
def test_good_ported_numbers(content: str, rows: list[PortedRow]) -> None:
    assert ported(content) == rows


NUMBER_WRONG = "not 10 digits that begin with 3, 4, 8 or 9, with or without a 7 before them"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("916123456,20,", f"the number is '916123456', {NUMBER_WRONG}"),
        ("7916123456,20,", f"the number is '7916123456', {NUMBER_WRONG}"),
        ("89161234567,20,", f"the number is '89161234567', {NUMBER_WRONG}"),
        ("9161234567x,20,", f"the number is '9161234567x', {NUMBER_WRONG}"),
        ("9.161E+09,20,", f"the number is '9.161E+09', {NUMBER_WRONG}"),
        ("9161234567,2,", "the MNC is '2', not two digits such as 01"),
        ("9161234567,mMTS,", "the MNC is 'mMTS', not two digits such as 01"),
        ("9161234567,,", "the MNC is '', not two digits such as 01"),
        ("9161234567,20,2016-13-01", "PortDate is '2016-13-01', not a date such as 2016-09-07"),
        ("9161234567,20,31.02.2016", "PortDate is '31.02.2016', not a date such as 2016-09-07"),
        ("9161234567,20,=1+1", "PortDate is '=1+1', not a date such as 2016-09-07"),
        ("9161234567,20", "2 fields, the header has 3"),
    ],
)
def test_a_malformed_ported_number_is_named(line: str, what: str) -> None:
    assert ported(f"Number,MNC,PortDate\n{line}\n") == [Fault("f.csv", 2, what)]


@pytest.mark.parametrize(
    "content",
    [
        "Number,MNC\n9161234567,02\n9161234568,25",
        "Number,MNC,RowCount\n9161234566,02,\n9161234567,02,2",
        "Number,MNC,RowCount\n9161234566,02,2\n9161234567,02,",
        "Number,MNC,PortDate\n9161234566,02,\n9161234567,02,2016-09-07",
        "Number,MNC,PortDate\n9161234566,02,\n9161234567,02,2016-09-07T12:00:17+03",
        "Number,MNC,PortDate\n9161234566,02,\n9161234567,02,",
        "Number,MNC,Route\n9161234566,02,D2502\n9161234567,02,D25",
    ],
)
def test_a_list_that_is_cut_inside_its_last_field_is_told(content: str) -> None:
    whole = f"{content}\n"
    assert not any(isinstance(row, Fault) for row in ported(whole))
    what = "the file ends in the middle of a line (if it is whole, add a line end)"
    assert ported(content)[1] == Fault("f.csv", 3, what)


@pytest.mark.parametrize(
    ("row_count", "what"),
    [
        ("9" * 5_000, f"RowCount is '{'9' * 39}…', not a number of rows"),
        ("٣", "RowCount is '٣', not a number of rows"),
        ("-1", "RowCount is '-1', not a number of rows"),
        ("1.0", "RowCount is '1.0', not a number of rows"),
        ("3", "RowCount is 3, and 2 in an earlier line"),
    ],
)
def test_a_malformed_count_of_rows_is_named(row_count: str, what: str) -> None:
    rows = f"9161234567,20,2\n9161234568,20,{row_count}\n"
    assert ported(f"Number,MNC,RowCount\n{rows}")[1] == Fault("f.csv", 3, what)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Number;PortDate\n", "f.csv line 1: the column MNC is missing: this is not the header of"),
        (
            "MNC\n20\n",
            "f.csv line 1: the column Number is missing: this is not the header of a list",
        ),
        ("Number,MNC\n", "f.csv holds a header and nothing else"),
        (
            "Number,MNC,RowCount\n9161234567,20,3\n9161234568,20,\n",
            "f.csv is cut short: its RowCount is 3, but it has 2 rows",
        ),
        (
            "Number,MNC,RowCount\n9161234567,20,\n9161234568,20,3\n",
            "f.csv is cut short: its RowCount is 3, but it has 2 rows",
        ),
        (
            "Number,MNC,RowCount\n9161234567,20,1\n9161234568,20,\n",
            "f.csv has too many rows: its RowCount is 1, but it has 2 rows",
        ),
        (
            "Number,MNC,RowCount\n9161234567,20,0\n",
            "f.csv has too many rows: its RowCount is 0, but it has 1 row",
        ),
    ],
)
def test_what_is_no_list_of_ported_numbers(content: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ported(content)
    assert said in str(caught.value)


@given(st.binary() | st.binary().map(lambda more: csv(LINE) + more))
def test_any_bytes_are_rows_or_faults_or_refused(content: bytes) -> None:
    for reader in (read_ranges, read_ported):
        try:
            rows = list(reader(lines_of(content)))
        except UserError:
            continue
        assert all(isinstance(row, RangeRow | PortedRow | Fault) for row in rows)


def test_ten_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(UserError, match=r"has 10,240 MB; more than 256 MB is no list of numbers"):
        file_bytes(path, files.RANGES_BYTES_MAX)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "pipe", "loop"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UserError, match=r"x\.csv (can't be read: |is not a file|is empty)"):
        open_lines(path, 1).__enter__()


def test_a_long_line_and_a_long_file_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(csv(LINE) + b"x" * 50_000_000)
    many = tmp_path / "y.csv"
    many.write_bytes(csv(*[LINE] * 100_000))
    tracemalloc.start()
    try:
        with open_lines(path, 10**9) as lines, pytest.raises(UserError, match="longer than"):
            list(read_ranges(lines))
        with open_lines(many, 10**9) as lines:
            assert sum(1 for _ in read_ranges(lines)) == 100_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
