"""Files of subscribers: good ones, each way to be bad, stopped ones and repeated ones."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar
from unittest import mock

import pytest

from popolni.catalog.numbering.models import Carrier, NumberingRange, PortedNumber, Region
from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import AccountFlags
from popolni.ledger.statements import Statement, read_accounts
from popolni.subscribers import load as loading
from popolni.subscribers.load import BadFile, Loaded, Progress, load
from popolni.subscribers.models import Number, Subscriber
from popolni.subscribers.service import balance, block
from tests.subscribers.support import (
    at_once,
    faults_of,
    log,
    new_branch,
    new_number,
    new_operator,
    next_number,
)

HEADER = "number,branch,name,language,balance_minor"
T = TypeVar("T")
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str, header: str = HEADER, name: str = "file.csv") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
        return path

    return write


def line(number: int, branch: Branch, balance_minor: int = 100, name: str = "Анна") -> str:
    return f'{number},{branch.code},"{name}",ru,{balance_minor}'


def numbers_of(branch: Branch) -> list[int]:
    return list(Number.objects.filter(branch=branch).order_by("pk").values_list("pk", flat=True))


def lines_for(branch: Branch, count: int) -> list[str]:
    return [line(next_number(), branch, 100 + index) for index in range(count)]


def test_a_file_is_loaded(branch: Branch, write: Write) -> None:
    active, blocked, closed, poor = (next_number() for _ in range(4))
    path = write(
        f'{active},{branch.code},"Иванова, Анна",ru,12345,',
        f"{blocked},{branch.code},李娜,zh,1,blocked",
        f"{closed},{branch.code},,en,0,closed",
        f"{poor},{branch.code},=SUM(A1),en,0,active",
        header=f"{HEADER},status",
    )
    heard: list[Progress] = []
    assert load(path, heard.append) == Loaded(4, 0, 12346)
    size = path.stat().st_size
    assert heard == [Progress("checking", size, size), Progress("loading", 4, 4)]
    rows = Number.objects.filter(branch=branch).select_related("subscriber").order_by("pk")
    assert [(r.number, r.status, r.subscriber.name, r.subscriber.language) for r in rows] == [
        (active, "active", "Иванова, Анна", "ru"),
        (blocked, "blocked", "李娜", "zh"),
        (closed, "closed", "", "en"),
        (poor, "active", "=SUM(A1)", "en"),
    ]
    assert [balance(row.number).money_minor for row in rows] == [12345, 1, 0, 0]
    assert [(entry.code, entry.amount) for entry in log(branch)] == [
        (Code.OPENING_BALANCE, 12345), (Code.OPENING_BALANCE, 1)
    ]  # fmt: skip
    for number in (active, closed):
        kinds = (Kind.SUBSCRIBER_MONEY, Kind.PLAN_BYTES, Kind.PLAN_SECONDS, Kind.PLAN_MESSAGES)
        accounts = run(read_accounts(branch.book, [kind.account_id(number) for kind in kinds]))
        is_closed = AccountFlags.CLOSED if number == closed else AccountFlags.NONE
        limits = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
        assert [account.flags for account in accounts.values()] == [limits | is_closed] * 4


def test_a_byte_order_mark_and_windows_lines_do_no_harm(branch: Branch, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(f"{HEADER}\r\n{line(next_number(), branch)}\r\n".encode("utf-8-sig"))
    assert load(path) == Loaded(1, 0, 100)


def test_a_header_alone_loads_nothing(branch: Branch, write: Write) -> None:
    assert load(write()) == Loaded(0, 0, 0)
    assert numbers_of(branch) == []


def test_blank_lines_are_left_out(branch: Branch, write: Write) -> None:
    first, second = lines_for(branch, 2)
    assert load(write("", first, " \t", "", second, "")) == Loaded(2, 0, 201)


def test_a_second_load_changes_nothing(branch: Branch, write: Write) -> None:
    lines = lines_for(branch, 3)
    path = write(*lines)
    assert load(path) == Loaded(3, 0, 303)
    entries, people = log(branch), Subscriber.objects.count()
    number = numbers_of(branch)[0]
    block(number)
    Subscriber.objects.filter(numbers=number).update(name="Мария")
    assert load(path) == Loaded(0, 3, 0)
    assert (log(branch), Subscriber.objects.count()) == (entries, people)
    row = Number.objects.select_related("subscriber").get(pk=number)
    assert (row.status, row.subscriber.name) == ("blocked", "Мария")


def test_a_number_that_was_opened_otherwise_gets_no_opening_balance(
    branch: Branch, write: Write
) -> None:
    number = new_number(branch, 7)
    assert load(write(line(number.number, branch, 500))) == Loaded(0, 1, 0)
    assert balance(number.number).money_minor == 7


def test_several_branches_go_in_by_parts(
    branch: Branch, write: Write, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_MAX", 2)
    other = new_branch()
    lines = [line(next_number(), each, 10) for each in [branch, other] * 3 + [other]]
    heard: list[Progress] = []
    assert load(write(*lines), heard.append) == Loaded(7, 0, 70)
    assert (len(numbers_of(branch)), len(numbers_of(other))) == (3, 4)
    assert [progress.done for progress in heard[1:]] == [2, 3, 5, 7]
    assert faults_of(database_url, other.book) == []


def test_a_load_that_was_killed_is_repeated(
    branch: Branch, write: Write, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between posting the second part and its commit: of the first all is there."""
    monkeypatch.setattr(loading, "BATCH_MAX", 2)
    path = write(*lines_for(branch, 5))
    posts = count(1)

    def killed(statement: Statement[T]) -> T:
        answer = run(statement)
        if "ledger.post" in statement.sql and next(posts) == 2:
            raise KeyboardInterrupt
        return answer

    with mock.patch.object(loading, "run", killed), pytest.raises(KeyboardInterrupt):
        load(path)
    assert len(numbers_of(branch)) == len(log(branch)) == 2
    assert faults_of(database_url, branch.book) == []
    assert load(path) == Loaded(3, 2, 102 + 103 + 104)
    assert [entry.amount for entry in log(branch)] == [100, 101, 102, 103, 104]


def test_two_loads_of_one_file_at_once(branch: Branch, write: Write) -> None:
    path = write(*lines_for(branch, 500))
    results = at_once(*[lambda: load(path)] * 2)
    assert all(isinstance(result, Loaded) for result in results), results
    loaded = [result for result in results if isinstance(result, Loaded)]
    assert sum(each.opened for each in loaded) == 500
    assert sum(each.there for each in loaded) == 500
    assert len(log(branch)) == len(numbers_of(branch)) == 500


@pytest.fixture
def plan(branch: Branch) -> Iterator[dict[str, int]]:
    """A numbering plan of a thousand numbers each: the branch's, another's, a stranger's, unknown.

    The branch's operator is linked to its carrier, and so is the other one.
    """
    other = new_operator("rival", "931")
    region = Region.objects.create(name="of loads")
    first = next_number() // 10_000 * 10_000 + 10_000
    firsts = {}
    for place, (name, operator) in enumerate(
        {"own": branch.operator, "other": other, "stranger": None}.items()
    ):
        firsts[name] = first + 1_000 * place
        carrier = Carrier.objects.create(name=f"loads, {name}", operator=operator)
        NumberingRange.objects.create(
            first=firsts[name], last=firsts[name] + 999, carrier=carrier, region=region
        )
    yield firsts | {"unknown": first + 5_000}
    NumberingRange.objects.filter(region=region).delete()
    Carrier.objects.filter(name__startswith="loads, ").delete()
    PortedNumber.objects.all().delete()
    region.delete()


def test_numbers_of_another_operator_are_loaded_and_counted(
    branch: Branch, write: Write, plan: dict[str, int]
) -> None:
    numbers = [plan["own"], plan["own"] + 999, plan["other"], plan["other"] + 999]
    numbers += [plan["stranger"], plan["unknown"]]
    path = write(*(line(number, branch, 1) for number in numbers))
    assert load(path) == Loaded(6, 0, 6, 3, 4)
    assert load(path) == Loaded(0, 6, 0, 3, 4)


def test_ported_numbers_are_where_they_went(
    branch: Branch, write: Write, plan: dict[str, int]
) -> None:
    away, here, nowhere = plan["own"] + 5, plan["other"] + 5, plan["unknown"] + 5
    PortedNumber.objects.create(number=away, mnc="99")
    PortedNumber.objects.create(number=here, mnc=branch.operator.mnc)
    PortedNumber.objects.create(number=nowhere, mnc="99")  # in no range
    path = write(*(line(number, branch, 1) for number in (here, away, nowhere)))
    assert load(path) == Loaded(3, 0, 3, 1, 3)


def test_a_stranger_s_carrier_may_be_one_that_nobody_has_linked_yet(
    write: Write, plan: dict[str, int]
) -> None:
    unlinked = new_branch(new_operator("unlinked", "932"))
    path = write(line(plan["own"] + 7, unlinked, 1), line(plan["stranger"] + 7, unlinked, 1))
    assert load(path) == Loaded(2, 0, 2, 1, 2)


# Bad files: a clear error, and nothing changes.


def refusal(path: Path) -> str:
    people = Subscriber.objects.count()
    with pytest.raises(UserError) as caught:
        load(path)
    assert Subscriber.objects.count() == people
    return str(caught.value).replace(str(path), "FILE")


def test_malformed_lines_are_named_and_nothing_is_loaded(branch: Branch, write: Write) -> None:
    good = lines_for(branch, 3)
    path = write(good[0], "x,y", good[1], line(next_number(), branch).replace(",ru,", ",xx,"))
    first = "FILE line 3: it has 2 fields, not 5"
    assert refusal(path) == f"{first} (and 1 more such line); nothing was loaded"
    with pytest.raises(BadFile) as caught:
        load(path)
    assert caught.value.problems == [
        f"{path} line 3: it has 2 fields, not 5",
        f"{path} line 5: the language is ru, en, zh, not 'xx'",
    ]
    assert numbers_of(branch) == []


@pytest.mark.usefixtures("database_url")
def test_reading_ends_with_the_twentieth_malformed_line(write: Write) -> None:
    assert "(and 19 more such lines)" in refusal(write(*["x"] * 30))


def test_a_number_twice_in_a_file(branch: Branch, write: Write) -> None:
    number = next_number()
    path = write(line(number, branch), *lines_for(branch, 1), line(number, branch, 7))
    assert refusal(path) == f"FILE line 4: {number} is on line 2 already; nothing was loaded"
    assert numbers_of(branch) == []


def test_a_number_of_another_branch(branch: Branch, write: Write) -> None:
    number = new_number(new_branch())
    path = write(*lines_for(branch, 1), line(number.number, branch))
    assert refusal(path) == (
        f"FILE line 3: {number.number} is open already, in branch {number.branch.code};"
        " nothing was loaded"
    )
    assert numbers_of(branch) == []


GOOD = "79250000000,x,Anna,ru,1\n"
WANTED = f"the first line is {HEADER} and perhaps ,status"
QUOTE = "a quote is opened and not closed, or goes on after its end"
RETURN = "a carriage return stands inside the line"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"line 1: {WANTED}"),
        (b"number;branch;name;language;balance_minor\n", f"line 1: {WANTED}"),
        (GOOD.encode(), f"line 1: {WANTED}"),
        (f"{HEADER}\n".encode("utf-16"), "line 1: is not UTF-8"),
        (f"{HEADER}\n7925,x,Анна,ru,1\n".encode("cp1251"), "line 2: is not UTF-8"),
        (HEADER.encode(), "line 1: has no line break at its end: the file seems cut off"),
        (
            f'{HEADER}\n"79250000000,x'.encode(),
            "line 2: has no line break at its end: the file seems cut off",
        ),
        (f'{HEADER}\n"79250000000,x\n{GOOD}'.encode(), f"line 2: {QUOTE}"),
        (f'{HEADER}\n"7"9,x,Anna,ru,1\n'.encode(), f"line 2: {QUOTE}"),
        pytest.param(f'{HEADER}\n"{GOOD * 9_000}'.encode(), f"line 2: {QUOTE}", id="long"),
        (f"{HEADER}\n{GOOD[:-1]}\r{GOOD}".encode(), f"line 2: {RETURN}"),
        (f'"{HEADER}\n'.encode(), f"line 1: {QUOTE}"),
        (f"{HEADER}\n,\n".encode(), "line 2: it has 2 fields, not 5"),
        (f"{HEADER}\n\n \nx\n".encode(), "line 4: it has 1 field, not 5"),
        (b"x" * 20_000, "line 1: is longer than 10000 bytes"),
        (b"a1b2c3d4" + b"\xff\n", "line 1: is not UTF-8"),
    ],
)
@pytest.mark.usefixtures("database_url")
def test_files_that_are_no_such_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert refusal(path) == f"FILE {message}; nothing was loaded"


def test_a_line_that_cannot_be_read_comes_after_those_that_can(
    branch: Branch, tmp_path: Path
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(f"{HEADER}\n{line(next_number(), branch)}\nx\n".encode() + b"\xff\n")
    message = "FILE line 3: it has 1 field, not 5 (and 1 more such line); nothing was loaded"
    assert refusal(path) == message


@pytest.mark.usefixtures("database_url")
def test_a_file_of_10_gb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    with path.open("wb") as file:
        file.truncate(10 * 10**9)  # takes no room
    assert refusal(path) == "FILE has 10.0 GB; at most 2 GB go in one file: split it"


@pytest.mark.usefixtures("database_url")
def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "FILE is not a file"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refusal(fifo) == "FILE is not a file"
    assert refusal(tmp_path / "none") == "FILE cannot be read: No such file or directory"
