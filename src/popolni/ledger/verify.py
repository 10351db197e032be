"""The ledger's independent auditor: finds out from the log alone what every account must hold.

It shares no logic with what it checks: it reads the tables and calls none of the functions that
write them. All of it sees one snapshot, so writers go on meanwhile, and nothing is written, not
even a temporary table, so that a hot standby can be asked. The database does the comparing and
answers with faults only; what it needs beyond a few megabytes it puts on disk.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX, Kind, describe

PAGE = 500_000
"""Transfers of a book's log that one query compares."""

FAULTS_READ = 1_000
"""Faults that are fetched at once."""

_QUERIES = dict(
    re.findall(
        r"^-- name: (\w+)\n(.*?);$",
        files("popolni.ledger").joinpath("verify.sql").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)

# The memory is for each sort or hash of a query; one process and no compilation beside it, so
# that an audit stays one modest reader. Cursors are read to their end, never just their start.
_SETTINGS = {
    "work_mem": "16MB",
    "hash_mem_multiplier": "2",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "cursor_tuple_fraction": "1",
    "statement_timeout": "0",
    "timezone": "UTC",
}

_CHART = {
    "codes": [kind.value.code for kind in Kind],
    "units": [int(kind.value.unit) for kind in Kind],
    "flags": [int(kind.value.flags) for kind in Kind],
    "subjects": SUBJECT_MAX + 1,
}


class Fault(NamedTuple):
    """One thing that does not add up: an account, a transfer (by its seq), or a whole book."""

    book: int
    account: int | None
    seq: int | None
    what: str

    def __str__(self) -> str:
        """One line for a person."""
        place = f"book {self.book}"
        if self.account is not None:
            place += f", {describe(self.account)}"
        elif self.seq is not None:
            place += f", transfer {self.seq}"
        return f"{place}: {self.what}"


class Progress(NamedTuple):
    """How far an audit is; `done` and `total` count each transfer once for each pass."""

    done: int
    total: int
    doing: str


class Report(NamedTuple):
    """What an audit looked at, and how many faults it found."""

    books: int
    transfers: int
    accounts: int
    faults: int


def verify(
    url: str,
    *,
    book: int | None = None,
    since: datetime | None = None,
    on_fault: Callable[[Fault], None],
    on_progress: Callable[[Progress], None],
) -> Report:
    """Checks all books, or one, and reports each fault as it is found.

    With `since` (with time zone): the log from the first transfer since then, and the accounts
    that it touched, each from its first transfer on.

    Raises UserError if there is no such ledger or book, or if it can't be read to the end.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a time zone")
    with _snapshot(url) as connection:
        return _Audit(connection, book, since, on_fault, on_progress).run()


@contextmanager
def _snapshot(url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    try:
        with psycopg.connect(url, prepare_threshold=None) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            for name, value in _SETTINGS.items():
                connection.execute("select set_config(%s, %s, true)", (name, value))
            if connection.execute("select to_regclass('ledger.transfer')").fetchone() == (None,):
                raise UserError(
                    f"database {connection.info.dbname} holds no ledger yet;"
                    " `popolni serve` or `popolni demo` makes one"
                )
            yield connection
    except psycopg.OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"the ledger can't be read: {reason}") from error


class _Book(NamedTuple):
    book: int
    last_at: datetime | None
    is_open: bool
    transfers: int
    accounts: int


class _Audit:
    """One run. Each book in four passes over its transfers, the identifiers of all at the end."""

    def __init__(
        self,
        connection: psycopg.Connection[TupleRow],
        book: int | None,
        since: datetime | None,
        on_fault: Callable[[Fault], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._connection = connection
        self._book = book
        self._since = since
        self._on_fault = on_fault
        self._on_progress = on_progress
        self._faults = self._transfers = self._accounts = 0
        self._done = self._total = 0

    def run(self) -> Report:
        self._begin(0, "counting")
        books = [_Book(*row) for row in self._rows("books")]
        in_all = sum(book.transfers for book in books)
        if self._book is not None:
            books = [book for book in books if book.book == self._book]
            if not books:
                raise UserError(f"there is no book {self._book}")
        self._total = 3 * sum(book.transfers for book in books) + in_all
        for book in books:
            self._check_book(book)
        self._check_ids()
        self._done = self._total
        self._begin(0, "done")
        return Report(len(books), self._transfers, self._accounts, self._faults)
