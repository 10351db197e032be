"""``popolni numbering`` and ``popolni number``, as a person meets them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from popolni.catalog.numbering.models import Carrier, PortedNumber
from popolni.catalog.numbering.service import Move, Report
from popolni.commands.common import Parser
from popolni.commands.numbering import (
    add_number,
    add_numbering,
    describe_ranges,
)
from popolni.core.errors import UserError
from tests.catalog.numbering.support import (
    branch,
    clear,
    dump,
    operator,
    own_database,
    row,
    write,
)


@pytest.fixture(scope="module")
def own_url(server_url: str) -> Iterator[str]:
    with own_database(server_url) as url:
        yield url


@pytest.fixture(autouse=True)
def plan(own_url: str) -> str:
    clear()
    return own_url


def run(*words: str | Path) -> int:
    parser = Parser(prog="popolni")
    subparsers = parser.add_subparsers()
    add_numbering(subparsers)
    add_number(subparsers)
    args = parser.parse_args([str(word) for word in words])
    status: int = args.run(args)
    return status


def test_an_import_tells_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "DEF-9xx.csv", row(900, 0, 9_999), row(901, 0, 0, "Т2", "Тула"))
    assert run("numbering", "import", path) == 0
    assert capsys.readouterr() == (
        (
            f"{path}: 2 ranges\n"
            "9xx: 10,001 numbers in 2 ranges (before: 0 in 0); 10,001 added, 0 removed,"
            " 0 with another carrier, 0 in another region\n"
            "2 new carriers: the back office says which operator each belongs to\n"
            "2 new regions: the back office says which branch serves each\n"
        ),
        "",
    )
    write(path, row(900, 0, 9_999, "Т2"), row(901, 0, 0, "Т2", "Тула"))
    assert run("numbering", "import", path, "--allow-shrink") == 0
    assert capsys.readouterr().out == (
        f"{path}: 2 ranges\n"
        "9xx: 10,001 numbers in 2 ranges (before: 10,001 in 2); 0 added, 0 removed,"
        " 10,000 with another carrier, 0 in another region\n"
        "from МТС to Т2: 10,000 numbers\n"
    )


def test_ported_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ported.csv"
    path.write_text("Number,MNC\n9000000001,20\n")
    assert run("numbering", "ported", path) == 0
    assert capsys.readouterr() == (
        f"{path}: 1 ported number (before: 0); 1 added, 0 removed, 0 changed\n",
        "",
    )


def test_many_moves() -> None:
    report = Report([], [], 1, 0, [Move("А", "Б", 1)], 1_234)
    assert describe_ranges(report) == [
        "from А to Б: 1 number",
        "… and 1,234 smaller moves between carriers",
        "1 new carrier: the back office says which operator each belongs to",
    ]


def test_a_shrunk_file_needs_its_word(tmp_path: Path) -> None:
    run("numbering", "import", write(tmp_path / "a.csv", row(900, 0, 99)))
    small = write(tmp_path / "b.csv", row(900, 0, 9))
    before = dump()
    with pytest.raises(UserError, match="90 of 100 numbers of the codes 9xx would go"):
        run("numbering", "import", small)
    assert dump() == before
    assert run("numbering", "import", "--allow-shrink", small) == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    run("numbering", "import", write(tmp_path / "a.csv", row(900, 0, 99)))
    drawn = terminal.getvalue()
    assert "reading: 100%" in drawn
    assert "writing: 100%" in drawn
    monkeypatch.setattr("sys.stderr", file := io.StringIO())
    run("numbering", "import", write(tmp_path / "a.csv", row(900, 0, 99)))
    assert file.getvalue() == ""


NUMBER = 79161234567
FORMS = [
    ["79161234567"],
    ["+7 916 123-45-67"],
    ["+7", "916", "123-45-67"],
    ["8(916)123-45-67"],
    ["9161234567"],
]


@pytest.fixture
def found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mts = operator("mts", "01")
    branch(mts, "mts-moscow", 1, "Москва")
    Carrier.objects.create(name="МТС", operator=mts)
    run("numbering", "import", write(tmp_path / "a.csv", row(916, 1234000, 1234999)))
    capsys.readouterr()


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("form", FORMS)
def test_a_number(form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("number", *form) == 0
    assert capsys.readouterr() == (
        (
            "number    79161234567\n"
            "operator  mts\n"
            "branch    mts-moscow\n"
            "region    Москва\n"
            "carrier   МТС\n"
            "ported    no\n"
        ),
        "",
    )


@pytest.mark.usefixtures("found")
def test_a_ported_number(capsys: pytest.CaptureFixture[str]) -> None:
    PortedNumber.objects.create(number=NUMBER, mnc="77")
    assert run("number", str(NUMBER)) == 0
    assert capsys.readouterr().out == (
        "number    79161234567\n"
        "operator  none of ours\n"
        "branch    none of ours\n"
        "region    Москва\n"
        "carrier   МТС, before it was ported\n"
        "ported    yes\n"
    )


@pytest.mark.usefixtures("found")
def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("number", str(NUMBER), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "number": NUMBER,
        "carrier": "МТС",
        "operator": "mts",
        "branch": "mts-moscow",
        "region": "Москва",
        "ported": False,
    }


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(
    ("text", "said", "status"),
    [
        ("79161235000", "79161235000 is in no range of the numbering plan", 1),
        ("79000000000", "79000000000 is in no range of the numbering plan", 1),
        ("abc", "'abc' is no phone number: write it as 79161234567", 2),
        ("", "'' is no phone number: write it as 79161234567", 2),
        ("123", "'123' is no Russian number: it has 11 digits, 7 first, as 79161234567", 2),
    ],
)
def test_what_is_not_found(text: str, said: str, status: int) -> None:
    with pytest.raises(UserError) as caught:
        run("number", text)
    assert (str(caught.value), caught.value.exit_status) == (said, status)


def test_without_a_plan() -> None:
    with pytest.raises(UserError) as caught:
        run("number", str(NUMBER))
    assert str(caught.value) == (
        "there is no numbering plan yet: popolni numbering import FILE brings it"
    )


@pytest.mark.parametrize(
    "words", [["numbering"], ["numbering", "import"], ["numbering", "ported", "a", "b"], ["number"]]
)
def test_words_that_are_missing_or_too_many(words: list[str]) -> None:
    with pytest.raises(UserError, match="--help"):
        run(*words)
