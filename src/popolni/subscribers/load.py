"""Loading numbers with their subscribers and opening balances from a CSV file.

The whole file is read and checked into a temporary table before anything is written: a malformed
line, and nothing is loaded. Then it goes in by parts of at most 8,000 numbers of one branch, each
a transaction with its rows, its accounts and, last, its opening balances; so no book is locked
for longer than a part takes. A number that is there is left as it is, and it is there only
together with its balance: a load that was stopped is simply repeated, and once it is through,
loading the file again changes nothing.
"""

import csv
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from django.db import Error, connection
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import BATCH_MAX, Posted, Transfer
from popolni.ledger.statements import close_accounts, open_accounts, post
from popolni.subscribers.rules import HEADER, NUMBER_KINDS, STATUS, LoadRow, read_load_row

if TYPE_CHECKING:
    from _csv import Reader  # what csv.reader() returns

FILE_MAX_BYTES = 2 * 10**9
PROBLEMS_MAX = 20
"""Malformed lines that are named; reading ends with the last of them."""

_LINE_MAX = 10_000
_PROGRESS_EVERY = 10_000

_CREATE = """
    create temp table subscribers_to_load (
        line integer not null,
        number bigint not null,
        branch_id bigint not null,
        name text not null,
        language text not null,
        balance_minor bigint not null,
        status text not null
    )"""
_COPY = """
    copy subscribers_to_load (number, branch_id, name, language, balance_minor, status, line)
    from stdin"""
_INDEX = """
    create index on subscribers_to_load (branch_id, line);
    create index on subscribers_to_load (number, line);
    analyze subscribers_to_load"""
_DROP = "drop table if exists subscribers_to_load"
_TWICE = """
    select line, number, first
    from (
        select line, number, first_value(line) over (partition by number order by line) as first
        from subscribers_to_load
    ) as numbered
    where line <> first
    order by line
    limit %s"""
_ELSEWHERE = """
    select load.line, load.number, branch.code
    from subscribers_to_load as load
    inner join popolni_number as number using (number)
    inner join popolni_branch as branch on branch.id = number.branch_id
    where number.branch_id <> load.branch_id
    order by load.line
    limit %s"""
# Whose a number is, as `catalog.numbering.service.lookup` answers; one sort of the numbers and the
# plan, as a million look-ups of single numbers would take longer. A carrier that is nobody's of
# ours is another operator's only where somebody has said which carriers are the branch's own.
_OTHERS = """
    with marked as (
        select number, branch_id, line, null::bigint as first from subscribers_to_load
        union all
        select first, null, null, first from popolni_numberingrange
        where first <= (select max(number) from subscribers_to_load)
    ),

    placed as (
        select
            number, branch_id, line,
            max(first) over (order by number, line nulls first rows unbounded preceding) as first
        from marked
    )

    select count(*), min(placed.line)
    from placed
    inner join popolni_numberingrange as place
        on place.first = placed.first and place.last >= placed.number
    inner join popolni_carrier as carrier on carrier.id = place.carrier_id
    inner join popolni_branch as branch on branch.id = placed.branch_id
    inner join popolni_operator as operator on operator.id = branch.operator_id
    left join popolni_portednumber as ported on ported.number = placed.number
    where
        case
            when ported.mnc is not null then ported.mnc <> operator.mnc
            when carrier.operator_id is not null then carrier.operator_id <> operator.id
            else operator.id in (select c.operator_id from popolni_carrier as c)
        end"""
_PARTS = """
    select branch.id, branch.book, max(load.line), count(*)
    from (
        select
            branch_id, line,
            (row_number() over (partition by branch_id order by line) - 1) / %s as part
        from subscribers_to_load
    ) as load
    inner join popolni_branch as branch on branch.id = load.branch_id
    group by branch.id, branch.book, load.part
    order by branch.id, load.part"""
# Who comes first with a number has it; a subscriber is made for no other. The keys between these
# tables are checked at the commit.
_OPEN = """
    with part as materialized (
        select load.*, nextval(pg_get_serial_sequence('popolni_subscriber', 'id')) as subscriber_id
        from subscribers_to_load as load
        where
            load.branch_id = %(branch)s and load.line > %(after)s and load.line <= %(upto)s
            and not exists (select from popolni_number as n where n.number = load.number)
    ),

    opened as (
        insert into popolni_number (
            number, branch_id, subscriber_id, status, opened_at, status_since
        )
        select number, branch_id, subscriber_id, status, %(at)s, %(at)s from part
        on conflict do nothing
        returning number
    ),

    people as (
        insert into popolni_subscriber (id, name, language, created_at)
        select part.subscriber_id, part.name, part.language, %(at)s
        from part inner join opened using (number)
    )

    select part.number, part.balance_minor, part.status
    from part inner join opened using (number)
    order by part.number"""


class BadFile(UserError):
    """The file can't be loaded; nothing was. `problems` names each malformed line."""

    def __init__(self, message: str, problems: list[str]) -> None:
        super().__init__(message)
        self.problems = problems


class Loaded(NamedTuple):
    """What a load did: numbers opened now, numbers that were there, opening balances in all.

    `others`: how many of all these are another operator's by the numbering plan or the list of
    ported numbers, and the line of the first. They are loaded: the plan may be older.
    """

    opened: int
    there: int
    balances_minor: int
    others: int = 0
    others_line: int | None = None


class Progress(NamedTuple):
    """How far a load is: `doing` is `checking` (in bytes) or `loading` (in numbers)."""

    doing: str
    done: int
    total: int


OnProgress = Callable[[Progress], object]


class _Opened(NamedTuple):
    number: int
    balance_minor: int
    status: str


class _Part(NamedTuple):
    branch_id: int
    book: int
    upto: int
    numbers: int


def load(path: Path, on_progress: OnProgress = lambda _: None) -> Loaded:
    """Loads a CSV file: UTF-8, `number,branch,name,language,balance_minor` and perhaps `status`.

    A balance is in minor units of the branch's currency, a branch given by its code.

    Raises BadFile, with nothing changed, if there is anything wrong with the file.
    """
    with _temporary_table():
        _Reader(path, on_progress).run()
        ((others, others_line),) = _fetch(_OTHERS, [])
        parts = [_Part(*row) for row in _fetch(_PARTS, [BATCH_MAX])]
        total = sum(part.numbers for part in parts)
        opened = done = balances = after = 0
        branch_id = None
        for part in parts:
            after = after if part.branch_id == branch_id else 0
            rows = _load_part(part, after)
            branch_id, after = part.branch_id, part.upto
            opened += len(rows)
            balances += sum(row.balance_minor for row in rows)
            done += part.numbers
            on_progress(Progress("loading", done, total))
    return Loaded(opened, done - opened, balances, others, others_line)


def _load_part(part: _Part, after: int) -> list[_Opened]:
    """Opens the numbers of one part; those that were there are left out of the answer."""
    with atomic():
        arguments: dict[str, int | datetime] = {
            "branch": part.branch_id,
            "after": after,
            "upto": part.upto,
            "at": timezone.now(),
        }
        rows = [_Opened(*row) for row in _fetch(_OPEN, arguments)]
        for kind in NUMBER_KINDS:
            run(open_accounts(part.book, [kind.account(row.number) for row in rows]))
        if closed := [row.number for row in rows if row.status == "closed"]:
            ids = [kind.account_id(number) for kind in NUMBER_KINDS for number in closed]
            run(close_accounts(part.book, ids))
        if transfers := [_opening_balance(row) for row in rows if row.balance_minor]:
            _check(run(post(part.book, transfers)))
    return rows


def _opening_balance(row: _Opened) -> Transfer:
    return Transfer(
        transfer_id("load", row.number),
        Kind.OPENING_BALANCES.account_id(),
        Kind.SUBSCRIBER_MONEY.account_id(row.number),
        row.balance_minor,
        Code.OPENING_BALANCE,
    )


def _check(answers: list[Posted]) -> None:
    refused = [answer.outcome for answer in answers if not answer.outcome.done]
    if refused:
        raise UserError(f"the ledger refuses {len(refused)} opening balances: {refused[0]}")


class _Reader:
    """Reads and checks one file into the temporary table."""

    def __init__(self, path: Path, on_progress: OnProgress) -> None:
        self._path = path
        self._on_progress = on_progress
        self._branches = dict(Branch.objects.values_list("code", "id"))
        self._problems: list[str] = []
        self._bytes = self._size = 0

    def run(self) -> None:
        """Fills the table; BadFile if a line can't be loaded."""
        try:
            with _open_file(self._path) as file:
                self._size = os.fstat(file.fileno()).st_size
                self._copy(file)
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror}") from error
        self._raise_problems()
        with connection.cursor() as cursor:
            cursor.execute(_INDEX)
        for line, number, first in _fetch(_TWICE, [PROBLEMS_MAX]):
            self._problem(line, f"{number} is on line {first} already")
        for line, number, branch in _fetch(_ELSEWHERE, [PROBLEMS_MAX]):
            self._problem(line, f"{number} is open already, in branch {branch}")
        self._raise_problems()

    def _copy(self, file: BinaryIO) -> None:
        rows = csv.reader(self._lines(file), strict=True)
        # Whatever this raises takes the COPY back.
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            width = self._read_header(rows)
            for line, row in self._rows(rows, width):
                copy.write_row((*row, line))
                if line % _PROGRESS_EVERY == 0:
                    self._on_progress(Progress("checking", self._bytes, self._size))
            self._raise_problems()
        self._on_progress(Progress("checking", self._size, self._size))

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        """The file's lines; raises BadFile where it is no text or not whole."""
        line = 0
        while raw := file.readline(_LINE_MAX + 1):
            line += 1
            self._bytes += len(raw)
            if len(raw) > _LINE_MAX:
                raise self._bad(line, f"is longer than {_LINE_MAX} bytes")
            if not raw.endswith(b"\n"):
                raise self._bad(line, "has no line break at its end: the file seems cut off")
            try:
                yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError:
                raise self._bad(line, "is not UTF-8") from None

    def _read_header(self, rows: "Reader") -> int:
        try:
            header = tuple(next(rows, ()))
        except csv.Error as error:
            raise self._bad(1, _csv_fault(error)) from None
        if header not in (HEADER, (*HEADER, STATUS)):
            raise self._bad(1, f"the first line is {','.join(HEADER)} and perhaps ,{STATUS}")
        return len(header)

    def _rows(self, rows: "Reader", width: int) -> Iterator[tuple[int, LoadRow]]:
        """Good rows with their lines; of bad ones, it makes problems."""
        line = 2
        while len(self._problems) < PROBLEMS_MAX:
            try:
                fields = next(rows)
                if any(field.strip() for field in fields) or len(fields) > 1:  # not a blank line
                    yield line, read_load_row(fields, width, self._branches)
            except StopIteration:
                break
            except csv.Error as error:  # from here on nobody knows where a line ends
                raise self._bad(line, _csv_fault(error)) from None
            except ValueError as error:
                self._problem(line, str(error))
            line = rows.line_num + 1

    def _problem(self, line: int, what: str) -> None:
        self._problems.append(f"{self._path} line {line}: {what}")

    def _bad(self, line: int, what: str) -> BadFile:
        self._problem(line, what)
        return self._bad_file()

    def _raise_problems(self) -> None:
        if self._problems:
            raise self._bad_file()

    def _bad_file(self) -> BadFile:
        first, *others = self._problems
        lines = "line" if len(others) == 1 else "lines"
        more = f" (and {len(others)} more such {lines})" if others else ""
        return BadFile(f"{first}{more}; nothing was loaded", self._problems)


def _csv_fault(error: csv.Error) -> str:
    """What is wrong, in words for who wrote the file."""
    if "new-line" in str(error):
        return "a carriage return stands inside the line"
    return "a quote is opened and not closed, or goes on after its end"


@contextmanager
def _open_file(path: Path) -> Iterator[BinaryIO]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a file")
    if status.st_size > FILE_MAX_BYTES:
        raise UserError(
            f"{path} has {status.st_size / 1e9:.1f} GB; at most {FILE_MAX_BYTES / 1e9:g} GB go in"
            " one file: split it"
        )
    with path.open("rb") as file:
        yield file


@contextmanager
def _temporary_table() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(_DROP)
        cursor.execute(_CREATE)
    try:
        yield
    finally:
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute(_DROP)


def _fetch(sql: str, arguments: list[int] | dict[str, int | datetime]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
