"""Readers: nothing missed, nothing twice, position and effects together."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from popolni.ledger import statements
from popolni.ledger.client import run
from popolni.ledger.log import follow
from popolni.ledger.model import LogEntry, Transfer
from tests.ledger.support import NONE, Ledger, tid


def fill(ledger: Ledger, count: int) -> int:
    book = ledger.new_book(NONE, NONE)
    ledger.post(book, *(Transfer(tid(book, n), 1, 2, 10, 1) for n in range(count)))
    return book


def seqs(entries: list[LogEntry]) -> list[int]:
    return [entry.seq for entry in entries]


@pytest.fixture(autouse=True)
def _django(database_url: str) -> None:
    """The readers run on Django's connection."""


@pytest.mark.parametrize("count", [1, 3])
def test_a_reader_comes_to_the_end(ledger: Ledger, count: int) -> None:
    book = fill(ledger, count)
    with follow("bonus", book, limit=2) as entries:
        assert seqs(entries) == [1, 2][:count]
    with follow("bonus", book, limit=2) as entries:
        assert seqs(entries) == [3][: max(count - 2, 0)]
    with follow("bonus", book, limit=2) as entries:
        assert entries == []
    with follow("sms", book, limit=100) as entries:  # each at its own pace
        assert len(entries) == count


def test_what_fails_is_read_again(ledger: Ledger) -> None:
    book = fill(ledger, 3)
    with pytest.raises(ZeroDivisionError), follow("bonus", book, limit=10):
        raise ZeroDivisionError
    with follow("bonus", book, limit=10) as entries:
        assert seqs(entries) == [1, 2, 3]


def test_effects_and_position_commit_together(ledger: Ledger) -> None:
    """A reader whose effect is a post: killed before COMMIT, it leaves neither."""
    book = fill(ledger, 2)
    target = ledger.new_book(NONE, NONE)

    def step() -> None:
        with follow("bonus", book, limit=10) as entries:
            bonus = [Transfer(tid(book, "bonus", e.seq), 1, 2, 1, 1) for e in entries]
            run(statements.post(target, bonus))
            if crash:
                with connection.cursor() as cursor:
                    cursor.execute("select pg_backend_pid()")
                    (pid,) = cursor.fetchone()
                ledger.connection.execute("select pg_terminate_backend(%s, 5000)", (pid,))

    crash = True
    with pytest.raises(Exception, match=r"terminat|closed|lost|unexpected"):
        step()
    assert ledger.log(target) == []
    connection.close()
    crash = False
    step()
    step()
    assert seqs(ledger.log(target)) == [1, 2]


def test_only_one_worker_has_a_readers_turn(ledger: Ledger) -> None:
    book = fill(ledger, 3)
    with follow("bonus", book, limit=1):
        pass
    with follow("bonus", book, limit=10) as entries:
        assert seqs(entries) == [2, 3]

        def other() -> list[int]:
            try:
                with follow("bonus", book, limit=10) as entries:
                    return seqs(entries)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(other).result() == []
    with follow("bonus", book, limit=10) as entries:
        assert entries == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_an_accounts_own_log_is_paged_from_the_newest(ledger: Ledger, limit: int) -> None:
    book = ledger.new_book(NONE, NONE, NONE)
    sides = [(1, 2), (2, 3), (3, 2), (1, 3), (2, 1), (3, 1)]
    ledger.post(book, *(Transfer(tid(book, n), *side, 5, 1) for n, side in enumerate(sides)))
    read: list[LogEntry] = []
    while page := ledger.run(
        statements.read_account_log(book, 2, read[-1].seq if read else None, limit)
    ):
        assert len(page) <= limit
        read += page
    assert [(e.debit_account, e.credit_account) for e in read] == [(2, 1), (3, 2), (2, 3), (1, 2)]
    assert read == [entry for entry in reversed(ledger.log(book)) if 2 in entry[2:4]]


def test_the_log_of_several_accounts_has_each_entry_once(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE, NONE, NONE)
    sides = [(1, 2), (3, 4), (2, 3), (4, 1), (1, 3)]
    ledger.post(book, *(Transfer(tid(book, n), *side, 5, 1) for n, side in enumerate(sides)))
    log = ledger.run(statements.read_log_of_accounts(book, [1, 2], None, 3))
    assert seqs(log) == [5, 4, 3]
    assert seqs(ledger.run(statements.read_log_of_accounts(book, [1, 2], 3, 3))) == [1]
