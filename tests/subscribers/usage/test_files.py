"""Files of events as networks write them, good lines and bad ones."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.chart import Kind
from popolni.ledger.model import Unit
from popolni.subscribers.usage import files
from popolni.subscribers.usage.files import Charged, charge_file, read_lines
from popolni.subscribers.usage.rules import Event, Reason
from tests.subscribers.conftest import branch
from tests.subscribers.support import log, next_number
from tests.subscribers.usage.support import left_on, new_plan, on_plan

if TYPE_CHECKING:
    from popolni.subscribers.usage.answers import Answer

__all__ = ["branch"]  # the fixture

HEAD = "identifier,number,unit,amount,started_at"
AT = datetime(2026, 2, 10, 9, tzinfo=UTC)
GOOD = "a-1,79250000001,second,61,2026-02-10T12:00:00+03:00"
EVENT = Event("a-1", 79_250_000_001, Unit.SECOND, 61, AT)


def lines(data: bytes) -> list[tuple[int, Event | str]]:
    return [(n, event or problem) for n, event, problem in read_lines(io.BytesIO(data))]


@pytest.mark.parametrize(
    "data",
    [
        f"{HEAD}\n{GOOD}\n".encode(),
        f"\ufeff{HEAD}\r\n{GOOD}\r\n".encode(),
        f"{HEAD}\n{GOOD}".encode(),  # a stream that just ends
        f"{HEAD}\n\n{GOOD}\n\n".encode(),
        f'{HEAD}\n"a-1","79250000001",second,"61",2026-02-10T09:00:00Z\n'.encode(),
        f"{HEAD}\n a-1 , +79250000001,second, 61,2026-02-10T09:00:00Z \n".encode(),
        b"started_at,amount,unit,number,identifier\n2026-02-10 09:00Z,61,second,79250000001,a-1\n",
    ],
)
def test_a_good_file(data: bytes) -> None:
    assert [event for _line, event in lines(data)] == [EVENT]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("a-1,79250000001,second,61", "it has 4 fields, not 5"),
        ("a-1", "it has 1 field, not 5"),
        (",,,,", "'' is not a number of 7 to 15 digits"),
        ("a-1,7925,second,61,2026-02-10T09:00Z", "'7925' is not a number of 7 to 15 digits"),
        ("a-1,79250000001,minute,61,2026-02-10T09:00Z", "a unit is byte, second, message, not"),
        ("a-1,79250000001,second,-1,2026-02-10T09:00Z", "digits alone, not '-1'"),
        ("a-1,79250000001,second,٣,2026-02-10T09:00Z", "digits alone, not '٣'"),
        ("a-1,79250000001,second,0,2026-02-10T09:00Z", "an amount (second) is 1 to 10000000"),
        ("a-1,79250000001,message,10001,2026-02-10T09:00Z", "an amount (message) is 1 to 10000"),
        ("a-1,79250000001,second,61,yesterday", "'yesterday' is not a moment such as"),
        ("a-1,79250000001,second,61,2026-02-10T09:00", "a time with its offset from UTC"),
        ("a-1,79250000001,second,61,1999-02-10T09:00Z", "in the years 2000 to 2199"),
        (",79250000001,second,61,2026-02-10T09:00Z", "an identifier has 1 to 128 characters"),
        (f"{'a' * 129},79250000001,second,61,2026-02-10T09:00Z", "1 to 128 characters"),
        ("a\0,79250000001,second,61,2026-02-10T09:00Z", "1 to 128 characters"),
        ('"a-1,79250000001,second,61,2026-02-10T09:00Z', "a quote is opened and not closed"),
        ("x" * 30_000, "it is longer than 10000 bytes"),
    ],
)
def test_a_bad_line_is_one_problem_and_the_rest_goes_on(bad: str, what: str) -> None:
    first, second, third = lines(f"{HEAD}\n{GOOD}\n{bad}\n{GOOD}\n".encode())
    assert (first, third) == ((2, EVENT), (4, EVENT))
    assert second[0] == 3
    assert isinstance(second[1], str)
    assert what in second[1]
    assert "\n" not in second[1]
    assert len(second[1]) < 200


def test_a_line_that_is_no_utf_8() -> None:
    data = f"{HEAD}\n{GOOD}\n".encode() + b"\xff,79250000001,second,61,2026-02-10T09:00Z\n"
    assert lines(data) == [(2, EVENT), (3, "it is not UTF-8")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty: its first line is identifier,number,unit,amount,started_at"),
        (f"{GOOD}\n".encode(), "line 1: the first line of the file names its columns"),
        (f"{HEAD},price\n{GOOD},1\n".encode(), "line 1: the first line of the file names"),
        ("\ufeff".encode("utf-16") + HEAD.encode("utf-16"), "line 1: it is not UTF-8"),
    ],
)
def test_a_file_of_something_else(data: bytes, what: str) -> None:
    with pytest.raises(UserError) as raised:
        list(read_lines(io.BytesIO(data)))
    assert what in str(raised.value)


class Seen:
    """What a file was answered with."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self.answers: list[tuple[int, Answer]] = []

    def charge(self, data: str | io.BytesIO) -> Charged:
        file = io.BytesIO(data.encode()) if isinstance(data, str) else data
        return charge_file(
            file,
            on_problem=lambda line, why: self.problems.append((line, why)),
            on_answer=lambda line, answer: self.answers.append((line, answer)),
            warn=lambda _warnings: None,
        )


def a_file(branch: Branch) -> tuple[str, list[int]]:
    """A file with some of everything, and two numbers of it."""
    branch.low_balance_minor = 5_00
    branch.save()
    row = on_plan(branch, new_plan(allowances={Unit.SECOND: 100}), money_minor=7_00)
    row.allowances.update(ends_at=datetime(2100, 1, 1, tzinfo=UTC))  # a file is charged now
    number = row.number
    poor = on_plan(branch, new_plan(allowances={})).number
    name, at = f"f{number}", "2026-02-10T12:00:00+03:00"
    rows = [
        HEAD,
        f"{name}-1,{number},second,90,{at}",
        f"{name}-2,{number},second,30,{at}",
        "what?",
        f"{name}-3,{number},second,1000,{at}",
        f"{name}-1,{number},second,91,{at}",
        f"{name}-4,{poor},message,1,{at}",
        f"{name}-1,{number},second,90,{at}",
        f"{name}-5,{next_number()},message,1,{at}",
        "",
    ]
    return "\n".join(rows), [number, poor]


@pytest.mark.parametrize("window", [1, 3, 1_000])
def test_a_file_is_charged_once(
    branch: Branch, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WINDOW", window)
    text, (number, _poor) = a_file(branch)
    seen = Seen()
    done = seen.charge(text)
    assert (done.charged, done.cut, done.refused) == (2, 1, {"money_too_low": 1})
    assert (done.repeated, done.rejected) == (1, 3)
    assert (done.used, done.money_minor) == ({"second": 90 + 30 + 120}, {"RUB": 6_00})
    assert done.warnings == {"allowance_nearly_used": 1, "low_balance": 1}
    assert [line for line, _why in seen.problems] == [4, 6, 9]
    assert [why for _line, why in seen.problems] == [
        "it has 1 field, not 5",
        f"the identifier f{number}-1 is another event's; nothing is changed",
        f"the number {number + 2} is not known",
    ]
    assert [(line, answer.covered) for line, answer in seen.answers] == [
        *((2, 90), (3, 30), (5, 120), (7, 0), (8, 90)),
    ]

    before = log(branch)
    again = Seen()
    repeated = again.charge(text)
    assert repeated == Charged(repeated=5, rejected=3)
    assert again.problems == seen.problems
    assert [answer.covered for _line, answer in again.answers] == [90, 30, 120, 0, 90]
    assert log(branch) == before
    assert left_on(branch, Kind.SUBSCRIBER_MONEY.account_id(number)) == [1_00]


class Broken(io.BytesIO):
    """A stream that ends with an error."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line:
            raise ConnectionResetError
        return line


def test_a_file_that_breaks_off_is_charged_again(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WINDOW", 2)
    text, (number, _poor) = a_file(branch)
    half = "\n".join(text.splitlines()[:4]) + "\n"
    with pytest.raises(ConnectionResetError):
        Seen().charge(Broken(half.encode()))
    assert left_on(branch, Kind.PLAN_SECONDS.account_id(number)) == [0]
    done = Seen().charge(text)
    assert (done.charged, done.cut, done.repeated) == (0, 1, 3)


class Endless(io.BytesIO):
    """A line of three million bytes, of which only so many as are asked for are ever there."""

    size = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0
        if not self.size:
            self.size = 1
            return f"{HEAD}\n".encode()
        self.size += size
        return b"x" * size if self.size < 3_000_000 else b""


def test_a_line_without_an_end_is_not_kept() -> None:
    file = Endless()
    (only,) = read_lines(file)
    assert only.problem == "it is longer than 10000 bytes"
    assert file.size > 2_000_000


def test_the_example_of_the_page() -> None:
    page = Path(__file__).parents[3] / "docs" / "usage.md"
    (example,) = re.findall(r"^```csv\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    events = [event for _line, event in lines(example.encode())]
    assert len(events) == example.count("\n") - 1
    assert all(isinstance(event, Event) for event in events)
    for reason in Reason:
        assert f"`{reason.value}`" in page.read_text()
