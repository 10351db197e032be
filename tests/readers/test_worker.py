"""The worker as a process, on a database of its own: its end, its crashes, a database that goes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.ledger.model import Transfer
from popolni.readers import statistics
from popolni.readers.lag import lags, removed
from popolni.readers.models import SetAside
from popolni.readers.worker import READERS, news
from tests.conftest import SOURCE
from tests.ledger.support import NONE, Ledger, tid
from tests.readers.test_statistics import FLOATS, MONEY, expected, fill, new_book, rows

BOOKS_OF_BRANCHES = 2
END_SECONDS = 45
"""At most, of a worker on a machine that is busy."""


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with psycopg.connect(url, autocommit=True) as own:
        yield Ledger(own)


@pytest.fixture(scope="module")
def operator(url: str) -> Operator:
    del url
    profile = ComplianceProfile.objects.create(name="E", day_max_minor=1, month_max_minor=1)
    return Operator.objects.create(
        code="e", mnc="239", colour="#000000", balance_ussd="*1#", profile=profile,
        name_ru="Е", name_en="E", name_zh="E",
    )  # fmt: skip


@pytest.fixture
def books(ledger: Ledger, operator: Operator) -> list[int]:
    """Two books that are branches', filled."""
    made = []
    for _ in range(BOOKS_OF_BRANCHES):
        book = new_book(ledger)
        operator.branches.create(code=f"e{book}", book=book, name_ru="Е", name_en="E", name_zh="E")
        fill(ledger, book, seed=book, transfers=60)
        made.append(book)
    return made


@contextmanager
def worker(
    url: str, log: Path, *words: str, module: str = "popolni.readers"
) -> Iterator[subprocess.Popen[bytes]]:
    """Ends cleanly on SIGTERM, unless somebody has killed it."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(SOURCE), str(SOURCE.parent))),
        "POPOLNI_DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "popolni.settings",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words], env=environment, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            status = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # or it would work on beside the next test
            raise
    assert status in (0, -signal.SIGKILL)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)


def all_counted(ledger: Ledger, books: list[int]) -> bool:
    return all(rows(book) == expected(ledger, book) for book in books)


def test_it_counts_every_branchs_book_and_ends_when_asked(
    url: str, ledger: Ledger, books: list[int], operator: Operator, tmp_path: Path
) -> None:
    nobodys = new_book(ledger)
    branch = open_branch(operator, code="idle", book=23_900, name_ru="E", name_en="E", name_zh="E")
    assert news([statistics.READER]) == [("statistics", book) for book in books]
    with worker(url, tmp_path / "log"):
        wait_for(lambda: all_counted(ledger, books))
        _more(ledger, books[0])
        wait_for(lambda: all_counted(ledger, books))
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert news([statistics.READER]) == []
    assert (tmp_path / "log").read_text() == ""
    branch.delete()
    assert rows(nobodys) == set()


def test_two_of_which_one_is_killed(
    url: str, ledger: Ledger, books: list[int], tmp_path: Path
) -> None:
    with worker(url, tmp_path / "one") as one, worker(url, tmp_path / "two"):
        wait_for(lambda: any(rows(book) for book in books))
        one.kill()
        wait_for(lambda: all_counted(ledger, books))
    assert [rows(book) for book in books] == [expected(ledger, book) for book in books]


def test_a_database_that_goes_and_comes_back(
    url: str, ledger: Ledger, books: list[int], server_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with worker(url, log) as process, psycopg.connect(server_url, autocommit=True) as other:
        wait_for(lambda: all_counted(ledger, books))
        connection.close()
        other.execute(f'alter database "{name}" allow_connections false'.encode())
        ledger.connection.close()
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
        )
        wait_for(lambda: log.read_text().count("the database is lost") >= 2)
        assert process.poll() is None
        other.execute(f'alter database "{name}" allow_connections true'.encode())
        with psycopg.connect(url, autocommit=True) as again:
            ledger = Ledger(again)
            _more(ledger, books[0])
            wait_for(lambda: all_counted(ledger, books))
            wait_for(lambda: log.read_text().endswith("the database is back\n"))
    assert "Traceback" not in log.read_text()


def _more(ledger: Ledger, book: int) -> None:
    ledger.post(book, Transfer(tid(book, "more"), FLOATS[0].id, MONEY.id, 5, 15))


def test_it_may_be_told_to_end_before_it_works(url: str, tmp_path: Path) -> None:
    with worker(url, tmp_path / "log") as process:
        wait_for(lambda: _catches_sigterm(process.pid))
    assert process.returncode == 0


def _catches_sigterm(pid: int) -> bool:
    """As Linux tells it: the earliest moment at which the worker can be asked to end."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    (mask,) = (line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGTERM - 1))


PROGRAM = "tests.readers.program"


def doubles(ledger: Ledger, target: int) -> list[str]:
    return sorted(str(entry.reference) for entry in ledger.log(target))


def wanted(ledger: Ledger, books: list[int]) -> list[str]:
    """Each entry of these books, but for the unlucky ones."""
    return sorted(
        f"{book}-{entry.seq}"
        for book in books
        for entry in ledger.log(book)
        if entry.amount != 1_313
    )


@pytest.fixture
def only_books(books: list[int]) -> Iterator[list[int]]:
    """No other branch has news meanwhile."""
    others = list(Branch.objects.exclude(book__in=books))
    Branch.objects.exclude(book__in=books).delete()
    yield books
    Branch.objects.bulk_create(others)


@pytest.mark.parametrize("when", ["handling", "committed"])
def test_killed_in_the_middle_it_does_nothing_twice_and_leaves_nothing_out(
    url: str, ledger: Ledger, only_books: list[int], when: str, tmp_path: Path
) -> None:
    target = ledger.new_book(NONE, NONE)
    words = (str(target), str(tmp_path), when)
    with worker(url, tmp_path / "one", *words, module=PROGRAM) as one:
        assert one.wait(30) == -signal.SIGKILL
    before = len(doubles(ledger, target))
    assert before == (0 if when == "handling" else 7)
    with worker(url, tmp_path / "two", *words, module=PROGRAM):
        wait_for(lambda: len(doubles(ledger, target)) >= len(wanted(ledger, only_books)))
    assert doubles(ledger, target) == wanted(ledger, only_books)


def test_two_at_once_one_of_them_killed_and_an_entry_that_nobody_can_handle(
    url: str, ledger: Ledger, only_books: list[int], tmp_path: Path
) -> None:
    target = ledger.new_book(NONE, NONE)
    bad = ledger.post(
        only_books[0], Transfer(tid(only_books[0], "bad"), FLOATS[0].id, MONEY.id, 1_313, 15)
    )[0].seq
    _more(ledger, only_books[0])
    words = (str(target), str(tmp_path), "handling")
    with (
        worker(url, tmp_path / "one", *words, module=PROGRAM),
        worker(url, tmp_path / "two", *words, module=PROGRAM),
    ):
        wait_for(lambda: len(doubles(ledger, target)) >= len(wanted(ledger, only_books)))
        wait_for(lambda: SetAside.objects.filter(reader="doubles", seq=bad).exists())
    assert (tmp_path / "died").exists()
    assert doubles(ledger, target) == wanted(ledger, only_books)
    row = SetAside.objects.get(reader="doubles")
    assert (row.book, row.seq, row.reason.startswith("ValueError")) == (only_books[0], bad, True)
    said = (tmp_path / "one").read_text() + (tmp_path / "two").read_text()
    assert f"doubles, book {row.book}: entry {bad} is set aside: ValueError" in said


def test_a_reader_that_somebody_removed_keeps_its_position_and_disturbs_nobody(
    url: str, ledger: Ledger, books: list[int], tmp_path: Path
) -> None:
    ledger.connection.execute("insert into ledger.position values (%s, 'gone', 1)", (books[0],))
    with worker(url, tmp_path / "log"):
        wait_for(lambda: all_counted(ledger, books))
    assert removed([*(reader.name for reader in READERS), "doubles"]) == ["gone"]
    assert {lag.reader for lag in lags(["statistics"])} == {"statistics"}
