"""The ledger's independent auditor: finds out from the log alone what every account must hold.

It shares no logic with what it checks: it reads the tables and calls none of the functions that
write them. All of it sees one snapshot, so writers go on meanwhile, and nothing is written, not
even a temporary table, so that a hot standby can be asked. The database does the comparing and
answers with faults only; what it needs beyond a few megabytes it puts on disk.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from typing import Any, NamedTuple, TextIO

import psycopg
from psycopg.rows import kwargs_row

from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX, Kind, describe

PAGE = 1_000_000
"""Transfers of a book's log that one query compares."""

FAULTS_FETCHED = 1_000
"""Faults that come from the server at once."""

FAULTS_PRINTED_MAX = 1_000
"""Faults that are printed; the rest are only counted."""

_BEGINNING = -(2**63)
_BAR = 30

_QUERIES = dict(
    re.findall(
        r"^-- name: (\w+)\n(.*?);$",
        files("popolni.ledger").joinpath("verify.sql").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)

# The memory is for each sort or hash of a query; one process and no compilation beside it, so
# that an audit stays one modest reader. Cursors are read to their end, never just their start.
_MODEST = {
    "work_mem": "16MB",
    "hash_mem_multiplier": "2",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "cursor_tuple_fraction": "1",
    "statement_timeout": "0",
    "timezone": "UTC",
}
_NO_INDEX = {
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
}

_CHART = {
    "codes": [kind.value.code for kind in Kind],
    "units": [int(kind.value.unit) for kind in Kind],
    "flags": [int(kind.value.flags) for kind in Kind],
    "subjects": SUBJECT_MAX + 1,
}


class Fault(NamedTuple):
    """What does not add up about one account, one transfer (by its seq) or a whole book."""

    book: int
    what: str
    account: int | None = None
    seq: int | None = None

    def __str__(self) -> str:
        """One line for a person."""
        place = f"book {self.book}"
        if self.account is not None:
            place += f", {describe(self.account)}"
        elif self.seq is not None:
            place += f", transfer {self.seq}"
        what = re.sub(r"\baccount (\d+)", lambda found: describe(int(found[1])), self.what)
        return f"{place}: {what}"


class Progress(NamedTuple):
    """How far an audit is, in transfers: each counts once for each time that it is read."""

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
    on_fault: Callable[[Fault], object],
    on_progress: Callable[[Progress], object] = lambda _: None,
) -> Report:
    """Checks all books, or one, and reports each fault as it is found.

    With `since` (with time zone): the log from the first transfer since then, and the accounts
    that it touched, each of them from its first transfer on.

    Raises UserError if there is no ledger or no such book, or if it can't be read to the end.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a time zone")
    with _snapshot(url) as connection:
        return _Audit(connection, book, since, on_fault, on_progress).run()


@contextmanager
def _snapshot(url: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(url, prepare_threshold=None) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            _set(connection, _MODEST)
            if connection.execute("select to_regclass('ledger.transfer')").fetchone() == (None,):
                raise UserError(
                    f"database {connection.info.dbname} holds no ledger yet:"
                    " `popolni demo` makes one"
                )
            yield connection
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"the ledger can't be read: {reason}") from error


def _set(connection: psycopg.Connection, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        connection.execute("select set_config(%s, %s, true)", (name, value))


class _Book(NamedTuple):
    book: int
    last_at: str | None  # as the database writes it: Python has no time for "infinity"
    transfers: int
    accounts: int


class _Audit:
    """One run: the transfers of each book are read three times, then all for their ids."""

    def __init__(
        self,
        connection: psycopg.Connection,
        book: int | None,
        since: datetime | None,
        on_fault: Callable[[Fault], object],
        on_progress: Callable[[Progress], object],
    ) -> None:
        self._connection = connection
        self._book = book
        self._since = since
        self._on_fault = on_fault
        self._on_progress = on_progress
        self._transfers = self._accounts = self._faults = self._done = self._total = 0

    def run(self) -> Report:
        self._progress("counting")
        every = [_Book(*row) for row in self._connection.execute(_QUERIES["books"])]
        books = [book for book in every if self._book in (None, book.book)]
        if self._book is not None and not books:
            raise UserError(f"there is no book {self._book}")
        ids = sum(book.transfers for book in every)
        self._total = 3 * sum(book.transfers for book in books) + ids
        for book in books:
            self._check_book(book)
        self._progress("identifiers")
        _set(self._connection, _NO_INDEX)
        self._check("ids", {"book": self._book, "since": self._since})
        self._progress("done", ids)
        return Report(len(books), self._transfers, self._accounts, self._faults)

    def _check_book(self, book: _Book) -> None:
        if book.last_at is None:
            holds = f"{book.transfers} transfers and {book.accounts} accounts"
            self._fault(Fault(book.book, f"there is no such book, but {holds} are in it"))
            self._done += 3 * book.transfers
            return
        after = _BEGINNING
        if self._since is not None:
            after = self._number("start", {"book": book.book, "since": self._since})
        scope = {"book": book.book, "after": after}
        self._check_log(book, after)
        self._progress(f"book {book.book}: pending transfers")
        for query in ("book", "positions", "resolutions", "overdue"):
            self._check(query, scope)
        self._progress(f"book {book.book}: accounts", book.transfers)
        self._check("accounts", scope | _CHART)
        self._check("units", scope)
        self._done += book.transfers
        self._accounts += book.accounts if self._since is None else self._number("touched", scope)

    def _check_log(self, book: _Book, after: int) -> None:
        end = self._done + book.transfers
        while True:
            self._progress(f"book {book.book}: log")
            page = {"book": book.book, "after": after, "page": PAGE, "last_at": book.last_at}
            ((upto, transfers),) = self._connection.execute(_QUERIES["page"], page)
            if upto is None:
                break
            self._check("log", page | {"upto": upto})
            self._transfers += transfers
            self._done += transfers
            after = upto
        self._done = end

    def _check(self, query: str, arguments: dict[str, Any]) -> None:
        """Reports the faults that a query finds; they may be as many as there are transfers."""
        with self._connection.cursor("faults", row_factory=kwargs_row(Fault)) as cursor:
            cursor.itersize = FAULTS_FETCHED
            for fault in cursor.execute(_QUERIES[query], arguments):
                self._fault(fault)

    def _number(self, query: str, arguments: dict[str, Any]) -> int:
        ((number,),) = self._connection.execute(_QUERIES[query], arguments)
        return int(number)

    def _fault(self, fault: Fault) -> None:
        self._faults += 1
        self._on_fault(fault)

    def _progress(self, doing: str, done: int = 0) -> None:
        self._done += done
        self._on_progress(Progress(self._done, self._total, doing))


def main(url: str, *, book: int | None = None, since: datetime | None = None) -> int:
    """The command: prints each fault as it is found, and the sum; exit status 1 if there is any."""
    lines = _Lines(sys.stdout, sys.stderr)
    try:
        report = verify(
            url, book=book, since=since, on_fault=lines.fault, on_progress=lines.progress
        )
    finally:
        lines.clear_bar()
    if report.faults > FAULTS_PRINTED_MAX:
        print(f"… and {report.faults - FAULTS_PRINTED_MAX} more faults")
    print(covered(book, since))
    print(f"{report.transfers} transfers, {report.accounts} accounts, {report.faults} faults")
    return 1 if report.faults else 0


def covered(book: int | None, since: datetime | None) -> str:
    """One line on what the audit looked at."""
    books = "every book" if book is None else f"book {book}"
    if since is None:
        return f"checked {books} from the first transfer on, and every account"
    return (
        f"checked the transfers of {books} since {since.isoformat(' ')}, and the accounts"
        " that they touched, each from its first transfer on"
    )


class _Lines:
    """Faults go to `out`; a bar is drawn on `err` if that is a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err if err.isatty() else None
        self._printed = 0

    def fault(self, fault: Fault) -> None:
        if self._printed < FAULTS_PRINTED_MAX:
            self._printed += 1
            self.clear_bar()
            print(fault, file=self._out, flush=True)

    def progress(self, progress: Progress) -> None:
        if self._err:
            part = progress.done / progress.total if progress.total else 0.0
            bar = "#" * int(part * _BAR)
            self.clear_bar()
            print(f"[{bar:.<{_BAR}}] {part:4.0%} {progress.doing}", end="", file=self._err)
            self._err.flush()

    def clear_bar(self) -> None:
        if self._err:
            print("\r\x1b[K", end="", file=self._err, flush=True)
