"""A branch, its book and the book's accounts come to be together, or not at all."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.db.models import ProtectedError

from popolni.catalog.numbering.models import Region
from popolni.catalog.operators import service
from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.chart import BOOK_ACCOUNTS
from popolni.ledger.client import run
from popolni.ledger.errors import BookNotFound
from popolni.ledger.statements import open_accounts, open_book, read_accounts
from tests.agents.support import new_branch, new_operator, next_book

pytestmark = pytest.mark.usefixtures("database_url")


def accounts_of(book: int) -> set[int]:
    accounts = run(read_accounts(book, [account.id for account in BOOK_ACCOUNTS]))
    return set(accounts)


def has_book(book: int) -> bool:
    try:
        run(open_accounts(book, []))
    except BookNotFound:
        return False
    return True


def test_a_branch_has_a_book_with_all_its_accounts() -> None:
    region = Region.objects.create(name="South, of the test of branches")
    branch = new_branch(regions=[region], approval_from_minor=5, time_zone="Asia/Omsk")
    again = Branch.objects.get(pk=branch.pk)
    assert accounts_of(again.book) == {account.id for account in BOOK_ACCOUNTS}
    assert list(again.regions.all()) == [region]
    assert (again.approval_from_minor, again.time_zone, again.currency) == (5, "Asia/Omsk", "RUB")
    with connection.cursor() as cursor:
        cursor.execute("select currency from ledger.book where book = %s", [again.book])
        assert cursor.fetchone() == ("RUB",)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"code": "with space"}, "code"),
        ({"code": ""}, "code"),
        ({"book": 0}, "book"),
        ({"book": 2**31}, "book"),
        ({"currency": "rub"}, "currency"),
        ({"time_zone": "Moscow"}, "there is no time zone 'Moscow'"),
        ({"time_zone": "Europe"}, "there is no time zone 'Europe'"),
        ({"time_zone": "../etc/passwd"}, "there is no time zone"),
        ({"time_zone": ""}, "there is no time zone"),
        ({"name_zh": ""}, "name_zh"),
        ({"approval_from_minor": -1}, "approval_from_minor"),
        ({"low_balance_minor": -1}, "low_balance_minor"),
    ],
)
def test_what_cannot_be_is_one_line(wrong: dict[str, Any], says: str) -> None:
    before, book = Branch.objects.count(), next_book()
    with pytest.raises(UserError, match=says) as refused:
        new_branch(**{"book": book, "code": f"wrong-{book}", **wrong})
    assert "\n" not in str(refused.value)
    assert (Branch.objects.count(), has_book(book)) == (before, False)


def test_a_repeat_is_refused() -> None:
    branch = new_branch()
    for wrong in ({"code": branch.code}, {"book": branch.book}):
        with pytest.raises(UserError, match="already exists"):
            new_branch(**wrong)


def test_a_book_that_is_there_is_not_taken_over() -> None:
    book = next_book()
    run(open_book(book, "RUB"))
    with pytest.raises(UserError, match=f"book {book} is in the ledger already"):
        new_branch(book=book, code="takes-over")
    assert not Branch.objects.filter(code="takes-over").exists()


def test_trouble_in_the_ledger_leaves_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    book = next_book()
    monkeypatch.setattr(service, "BOOK_ACCOUNTS", [(1, 1, 1, 64)])
    with pytest.raises(ValueError, match="flags"):
        new_branch(book=book, code="half")
    assert not Branch.objects.filter(code="half").exists()
    assert not has_book(book)


def test_of_two_at_once_one_is_refused() -> None:
    new_operator()
    book, answers = next_book(), list[str]()
    barrier = threading.Barrier(2)

    def open_it() -> None:
        barrier.wait()
        try:
            answers.append(str(new_branch(book=book, code=f"both-{book}").code))
        except UserError:
            answers.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [f"both-{book}", "refused"]
    assert len(accounts_of(book)) == len(BOOK_ACCOUNTS)


def test_an_operator_with_branches_stays() -> None:
    with pytest.raises(ProtectedError):
        new_branch().operator.delete()
