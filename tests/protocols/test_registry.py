"""Registry files: one case table for the reader and the writer, and whatever bytes may come."""

from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.protocols.registry import (
    LINE_BYTES_MAX,
    Fault,
    FaultKind,
    Item,
    Reader,
    Row,
    Writer,
)
from popolni.protocols.registry_layout import (
    SEPARATORS,
    Clock,
    Column,
    Encoding,
    Layout,
    SumUnit,
    TotalColumn,
    moment_of,
    seconds_of,
)
from popolni.reconciliation.models import LAYOUT_FAULTS

C, T = Column, TotalColumn
AT = seconds_of(datetime(2026, 11, 26, 23, 59, 30))  # noqa: DTZ001  # a clock on the wall
DAY = seconds_of(datetime(2026, 11, 26))  # noqa: DTZ001
ROW = Row(1, "1234567", 100_00, 79_160_000_001, AT, "100000000123")
TOTALS = (T.MARK, T.COUNT, T.SUM)
TAB = Layout((C.SUM, C.REFERENCE), "\t", sum_unit=SumUnit.KOPECKS)
GERMAN = Layout(
    (C.DATE, C.TIME, C.OTHER, C.REFERENCE, C.NUMBER, C.SUM),
    encoding=Encoding.CP1251,
    date_format="DD.MM.YYYY",
    decimal_mark=",",
    header_lines=2,
    total_columns=TOTALS,
    total_mark="ИТОГО",
)
DAYS = Layout((C.REFERENCE, C.DATE, C.SUM), ",", date_format="YYYY-MM-DD")


class Case(NamedTuple):
    """A file as we write it, and what is read from it again."""

    layout: Layout
    text: str
    rows: list[Row]


CASES = [
    Case(Layout(), "1234567;20261126235930;79160000001;100.00;100000000123\r\n", [ROW]),
    Case(Layout(), "", []),
    Case(
        GERMAN,
        ";\r\n".replace(";", "")
        + "date;time;other;reference;number;sum\r\n"
        + "26.11.2026;23:59:30;;a-1;79160000001;100,00\r\n"
        + "26.11.2026;23:59:30;;a-2;79160000001;0,05\r\n"
        + "ИТОГО;2;100,05\r\n",
        [
            ROW._replace(line=3, reference="a-1", receipt=""),
            ROW._replace(line=4, reference="a-2", receipt="", amount_minor=5),
        ],
    ),
    Case(
        TAB, "10000\t1\r\n5\t007\r\n", [Row(1, "1", 10000), Row(2, "007", 5)]
    ),
    Case(
        DAYS,
        '"a,""b""",2026-11-26,12.30\r\nü,2026-11-26,1.00\r\n',
        [Row(1, 'a,"b"', 12_30, None, DAY), Row(2, "ü", 1_00, None, DAY)],
    ),
    Case(
        Layout((C.REFERENCE, C.DATE, C.SUM), "|", Encoding.CP866, "DD/MM/YY hh:mm"),
        "платёж|26/11/26 23:59|7.01\r\n",
        [Row(1, "платёж", 7_01, None, AT - 30)],
    ),
    Case(
        Layout((C.REFERENCE, C.SUM), total_columns=(T.SUM, T.OTHER, T.COUNT)),
        "1;3.00\r\n3.00;;1\r\n",
        [Row(1, "1", 3_00)],
    ),
]  # fmt: skip


def read(layout: Layout, *pieces: bytes) -> list[Item]:
    reader = Reader(layout)
    items = [item for piece in pieces for item in reader.feed(piece)]
    return items + reader.end()


def written(layout: Layout, rows: list[Row], title: str = "") -> bytes:
    writer = Writer(layout)
    return writer.begin(title) + writer.write(rows) + writer.end()


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_read_again(case: Case) -> None:
    data = written(case.layout, case.rows)
    assert data.decode(case.layout.encoding.value) == case.text
    assert read(case.layout, data) == case.rows


@pytest.mark.parametrize(
    ("layout", "text", "rows"),
    [
        (Layout(), "1234567; 20261126235930 ;+7 (916) 000-00-01;0100;\n", [
            ROW._replace(receipt="")]),
        (Layout(), "\ufeff\n\n1;20261126235930;89160000001;1.5;x;;\r\n;;\n", [
            Row(3, "1", 1_50, 79_160_000_001, AT, "x")]),
        (Layout((C.REFERENCE, C.SUM)), "1;1\n1;2", [Row(1, "1", 1_00), Row(2, "1", 2_00)]),
        (Layout((C.REFERENCE, C.SUM), header_lines=1), "what;ever\n1;2\n", [Row(2, "1", 2_00)]),
        (DAYS, '" 1 ",2026-11-26,"1.00"\n', [Row(1, "1", 1_00, None, DAY)]),
    ],
)  # fmt: skip
def test_odd_but_plain(layout: Layout, text: str, rows: list[Row]) -> None:
    assert read(layout, text.encode()) == rows


ONE = "1;20261126235930;79160000001;100.00;"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("1;20261126235930;79160000001;100.00", FaultKind.COLUMNS),
        (ONE + ";x", FaultKind.COLUMNS),
        ("one word", FaultKind.COLUMNS),
        (ONE.replace("1", "", 1), FaultKind.REFERENCE),
        (ONE.replace("1;", "a\x00b;", 1), FaultKind.REFERENCE),
        (ONE.replace("1;", f"{'a' * 201};", 1), FaultKind.REFERENCE),
        (ONE.replace("26235930", "31235930"), FaultKind.DATE),
        (ONE.replace("20261126235930", "26.11.2026"), FaultKind.DATE),
        (ONE.replace("2026", "1926", 1), FaultKind.DATE),
        (ONE.replace("20261126", "２０２６1126"), FaultKind.DATE),
        (ONE.replace("79160000001", "9160"), FaultKind.NUMBER),
        (ONE.replace("79160000001", ""), FaultKind.NUMBER),
        (ONE.replace("100.00", "100,00"), FaultKind.SUM),
        (ONE.replace("100.00", "-1.00"), FaultKind.SUM),
        (ONE.replace("100.00", "0.00"), FaultKind.SUM),
        (ONE.replace("100.00", "1.005"), FaultKind.SUM),
        (ONE.replace("100.00", "1e3"), FaultKind.SUM),
        (ONE.replace("100.00", "1 000.00"), FaultKind.SUM),
        (ONE.replace("1;", '"1;', 1), FaultKind.QUOTES),
        (ONE.replace("1;", '"1"x;', 1), FaultKind.QUOTES),
    ],
)
def test_a_line_that_is_wrong_is_told_and_the_others_are_read(line: str, kind: FaultKind) -> None:
    text = f"{ONE}\n{line}\n{ONE}\n"
    first, fault, last = read(Layout(), text.encode())
    assert isinstance(fault, Fault)
    assert (fault.line, fault.kind) == (2, kind)
    assert [first, last] == [
        ROW._replace(line=number, reference="1", receipt="") for number in (1, 3)
    ]


def test_bytes_of_another_encoding() -> None:
    layout = Layout((C.REFERENCE, C.SUM))
    assert read(layout, "платёж;1\nя;2\n".encode("cp1251") + b"3;3\n") == [
        Fault(1, FaultKind.ENCODING, "\ufffd" * 5 + ";1"),
        Fault(2, FaultKind.ENCODING, "\ufffd;2"),
        Row(3, "3", 3_00),
    ]


@pytest.mark.parametrize(
    ("total", "kind"),
    [
        ("ИТОГО;2;3,00", FaultKind.TOTAL_COUNT),
        ("ИТОГО;1;3,01", FaultKind.TOTAL_SUM),
        ("ВСЕГО;1;3,00", FaultKind.TOTAL),
        ("ИТОГО;1", FaultKind.TOTAL),
        ("ИТОГО;one;3,00", FaultKind.TOTAL),
        ("ИТОГО;1;three", FaultKind.TOTAL),
        ("ИТОГО;1;3,00;4", FaultKind.TOTAL),
    ],
)
def test_a_total_that_does_not_add_up(total: str, kind: FaultKind) -> None:
    text = f"\n\n26.11.2026;23:59:30;;1;79160000001;3,00\n{total}\n\n"
    *rows, fault = read(GERMAN, text.encode("cp1251"))
    assert rows == [Row(3, "1", 3_00, 79_160_000_001, AT)]
    assert fault == Fault(4, kind, total)


def test_a_file_that_was_cut_off_has_no_total() -> None:
    (fault,) = read(GERMAN, b"")
    assert fault == Fault(0, FaultKind.TOTAL, "")
    *_rows, fault = read(GERMAN, "\n\n26.11.2026;23:59:30;;1;79160000001;3,00\n".encode("cp1251"))
    assert (fault.line, fault.kind) == (3, FaultKind.TOTAL)  # type: ignore[union-attr]  # a fault


def test_a_line_without_end_is_not_held() -> None:
    reader = Reader(Layout((C.REFERENCE, C.SUM)))
    for _ in range(100):
        assert reader.feed(b"x" * 1000) == []
        assert len(reader._rest) <= LINE_BYTES_MAX + 1000
    assert reader.feed(b"\n1;1\n") == [Fault(1, FaultKind.TOO_LONG, ""), Row(2, "1", 1_00)]
    assert reader.end() == []


@pytest.mark.parametrize(
    "options",
    [
        {"columns": (C.REFERENCE,)},
        {"columns": (C.SUM,)},
        {"columns": (C.SUM, C.REFERENCE, C.SUM)},
        {"columns": (C.REFERENCE, C.SUM, C.TIME)},
        {"columns": (C.REFERENCE, C.SUM, C.DATE, C.TIME)},
        {"separator": "x"},
        {"decimal_mark": "-"},
        {"header_lines": -1},
        {"header_lines": 101},
        {"date_format": "DD.MM"},
        {"date_format": "hh:mm"},
        {"date_format": "YYYYMMDDmm"},
        {"date_format": "YYYYMMDDD"},
        {"date_format": "YYYYMMDD YY"},
        {"date_format": "YYYYMMDDhhss"},
        {"date_format": ""},
        {"date_format": " YYYYMMDD"},
        {"total_mark": "a\nb"},
        {"total_columns": (T.MARK, T.OTHER)},
        {
            "columns": (C.REFERENCE, C.SUM, C.DATE, C.TIME),
            "date_format": "YYMMDD",
            "time_format": "x",
        },
        {
            "columns": (C.REFERENCE, C.SUM, C.DATE, C.TIME),
            "date_format": "YYMMDD",
            "time_format": "YYMMDD",
        },
    ],
)  # fmt: skip
def test_a_layout_that_no_file_can_have(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Layout(**options)
    assert str(caught.value) in LAYOUT_FAULTS


def test_what_a_layout_tells_of_dates() -> None:
    told = [(one.has_dates, one.has_times) for one in (Layout(), GERMAN, TAB, DAYS)]
    assert told == [(True, True), (True, True), (False, False), (True, False)]


FORMATS = ["YYYYMMDDhhmmss", "DD.MM.YYYY hh:mm:ss", "YYYY-MM-DDThh:mm:ss", "MM/DD/YY hhmmss"]
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(  # noqa: DTZ001
    lambda moment: seconds_of(moment.replace(microsecond=0))
)


@given(moments, st.sampled_from(FORMATS))
def test_a_moment_written_is_read_again(at: int, form: str) -> None:
    clock = Clock(form)
    assert clock.read(clock.write(at)) == at
    assert seconds_of(moment_of(at)) == at


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    has_clock = draw(st.booleans())
    others = [C.NUMBER, C.RECEIPT, C.OTHER, *([C.DATE, C.TIME] if has_clock else [])]
    chosen = draw(st.lists(st.sampled_from(others), unique=True))
    if C.TIME in chosen and C.DATE not in chosen:
        chosen.append(C.DATE)
    separator = draw(st.sampled_from(SEPARATORS))
    return Layout(
        tuple(draw(st.permutations([C.REFERENCE, C.SUM, *chosen]))),
        separator,
        draw(st.sampled_from(Encoding)),
        "DD.MM.YYYY" if C.TIME in chosen else draw(st.sampled_from(FORMATS)),
        "hh:mm:ss",
        draw(st.sampled_from(SumUnit)),
        draw(st.sampled_from([".", ","])),
        draw(st.integers(0, 3)),
        draw(st.sampled_from([(), TOTALS, (T.COUNT,), (T.OTHER, T.SUM), (T.SUM, T.OTHER, T.MARK)])),
        draw(st.sampled_from(["", "TOTAL", 'a;b "c"'])),
    )


texts = st.text(
    st.one_of(st.sampled_from(";,|\"' \\07"), st.characters(exclude_categories=("C", "Z"))),
    min_size=1,
    max_size=20,
).map(str.strip)


@st.composite
def files(draw: st.DrawFn) -> tuple[Layout, list[Row]]:
    layout = draw(layouts())
    encoding = layout.encoding.value

    def in_it(text: str) -> bool:
        return text.encode(encoding, "ignore").decode(encoding) == text != ""

    row = st.builds(
        Row,
        st.just(0),
        texts.filter(in_it),
        st.integers(1, 10**13),
        st.integers(70_000_000_000, 79_999_999_999) if C.NUMBER in layout.columns else st.none(),
        moments if C.DATE in layout.columns else st.none(),
        texts.filter(in_it) if C.RECEIPT in layout.columns else st.just(""),
    )
    return layout, draw(st.lists(row, max_size=8))


@given(files(), st.lists(st.integers(0, 2_000), max_size=6), st.text(max_size=20))
def test_any_file_is_read_as_it_was_written_however_it_is_cut(
    file: tuple[Layout, list[Row]], cuts: list[int], title: str
) -> None:
    layout, rows = file
    data = written(layout, rows, title)
    places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    found = read(layout, *(data[a:b] for a, b in pairwise(places)))
    assert [item._replace(line=0) for item in found] == rows


@given(layouts(), st.binary(max_size=300), st.integers(0, 300))
def test_whatever_bytes_come_they_are_rows_or_faults(layout: Layout, data: bytes, cut: int) -> None:
    found = read(layout, data)
    assert all(isinstance(item, Row | Fault) for item in found)
    assert read(layout, data[:cut], data[cut:]) == found
    rows = [item for item in found if isinstance(item, Row)]
    assert all(row.amount_minor > 0 and row.reference for row in rows)


@given(st.lists(st.sampled_from([b"1;1\n", b"x" * 9_000, b"\n", b'"', b"2;2", b"\r\n"])))
def test_long_lines_in_any_pieces(pieces: list[bytes]) -> None:
    layout = Layout((C.REFERENCE, C.SUM))
    assert read(layout, *pieces) == read(layout, b"".join(pieces))
