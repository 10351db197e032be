"""What can be asked of the ledger, as data: the SQL, its arguments, how its rows are read.

A statement knows no connection. `client` runs it, in Django's transaction or from asyncio, and
the two differ only in the line that executes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from popolni.core.outcome import AccountOutcome
from popolni.ledger.codec import (
    Int2Array,
    Int8Array,
    decode_answer,
    encode_batch,
    encode_ids,
    encode_integers,
)
from popolni.ledger.errors import InvalidBatch
from popolni.ledger.model import Account, AccountFlags, LogEntry, Posted, Transfer, Unit

T = TypeVar("T")
Rows = list[tuple[Any, ...]]

_LIMITS = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS

LOG_LIMIT_MAX = 100_000
"""Most entries of the log that one statement reads."""

SEQ_END = 2**63 - 1
"""Before it is the whole log."""


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """One request to the ledger."""

    sql: str
    arguments: tuple[object, ...] | dict[str, object]
    decode: Callable[[Rows], T]
    writes: bool = False


_POST = """
    select outcomes::text, seqs
    from ledger.post(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_LOCK_BOOK = """
    select set_config('idle_in_transaction_session_timeout', '5s', true)
    from ledger.book
    where book = %s
    for update"""
_READ_ACCOUNTS = """
    select
        book, id, unit, kind, flags,
        debits_posted, credits_posted, debits_pending, credits_pending
    from unnest(%s) as wanted (id)
    join lateral (
        select * from ledger.account as a where a.book = %s and a.id = wanted.id offset 0
    ) as account using (id)"""
_READ_ACCOUNTS_OF_BOOKS = """
    select
        book, id, unit, kind, flags,
        debits_posted, credits_posted, debits_pending, credits_pending
    from unnest(%s, %s) as wanted (book, id)
    join lateral (
        select * from ledger.account as a
        where a.book = wanted.book and a.id = wanted.id offset 0
    ) as account using (book, id)"""
_ENTRY = """
    select
        book, seq, uuid_send(id), debit_account, credit_account, amount, created_at, code, flags,
        uuid_send(pending_id), expires_at, reference, reference_at, reference_id"""
_READ_LOG = f"""{_ENTRY}
    from ledger.transfer
    where book = %s and seq > %s
    order by seq
    limit %s"""
_READ_PLACES = f"""{_ENTRY}
    from ledger.transfer
    where book = %s and seq = any(%s)
    order by seq"""
# Each side of each account has its index; a page is the newest of all of them.
_READ_ACCOUNTS_LOG = f"""{_ENTRY}
    from (
        select distinct on (found.seq) found.*
        from unnest(%(accounts)s) as wanted (id)
        cross join lateral (
            (
                select * from ledger.transfer as t
                where t.book = %(book)s and t.debit_account = wanted.id and t.seq < %(before)s
                order by t.seq desc
                limit %(limit)s
            )
            union all
            (
                select * from ledger.transfer as t
                where t.book = %(book)s and t.credit_account = wanted.id and t.seq < %(before)s
                order by t.seq desc
                limit %(limit)s
            )
        ) as found
        order by found.seq desc
        limit %(limit)s
    ) as entry
    order by seq desc"""  # noqa: S608  # constants only
_READ_TRANSFERS = f"""{_ENTRY}
    from unnest(%s) as wanted (id)
    join lateral (
        select * from ledger.transfer as t where t.id = wanted.id offset 0
    ) as transfer using (id)"""  # noqa: S608  # constants only


def post(
    book: int, transfers: Sequence[Transfer], *, at: datetime | None = None
) -> Statement[list[Posted]]:
    """Posts a batch, at most 8,000 transfers, to one book: one answer each, in order.

    The result is what posting them one by one would give. Must be the last statement of its
    transaction: it holds the book's lock until COMMIT.

    `at` is for tests and replays: the moment that it happens at (None: now), though never before
    what the book holds already.

    Raises InvalidBatch and InvalidTransfer now, before anything is sent.
    """
    return Statement(_POST, (book, *encode_batch(transfers), at), _posted, writes=True)


def _posted(rows: Rows) -> list[Posted]:
    ((outcomes, seqs),) = rows
    return decode_answer(outcomes, seqs)


def open_book(book: int, currency: str) -> Statement[bool]:
    """Opens a book (a positive number) with its one currency (ISO 4217); False if it is there."""
    return Statement(
        "insert into ledger.book (book, currency) values (%s, %s)"
        " on conflict do nothing returning true",
        (book, currency),
        bool,
        writes=True,
    )


def lock_book(book: int) -> Statement[bool]:
    """Waits for the book's turn and keeps it until COMMIT; False if there is no such book.

    For who decides by what the book holds now: what is read behind it, in the same transaction,
    still holds when that transaction posts. Nothing slow may stand between the two: who is silent
    for 5 seconds loses the transaction, as behind a post, so that it can't keep the book.
    """
    return Statement(_LOCK_BOOK, (book,), bool)


def open_accounts(
    book: int, accounts: Sequence[tuple[int, Unit, int, AccountFlags]]
) -> Statement[list[AccountOutcome]]:
    """Opens accounts, each (id, unit, kind, flags); `chart.Kind` makes these.

    The flags are the two limits; an account is closed by `close_accounts`.
    """
    ids, units, kinds, flags = zip(*accounts, strict=True) if accounts else ((), (), (), ())
    if any(flag & ~int(_LIMITS) for flag in flags):
        raise InvalidBatch("an account is opened with no other flags than its limits")
    return Statement(
        "select unnest(ledger.open_accounts(%s, %s, %s, %s, %s))::text",
        (
            book,
            encode_integers(Int8Array, ids),
            encode_integers(Int2Array, units),
            encode_integers(Int2Array, kinds),
            encode_integers(Int2Array, flags),
        ),
        lambda rows: [AccountOutcome(name) for (name,) in rows],
        writes=True,
    )


def close_accounts(book: int, ids: Sequence[int]) -> Statement[int]:
    """Closes accounts: they refuse all but voids. Answers how many of them there are."""
    return Statement(
        "select ledger.close_accounts(%s, %s)",
        (book, encode_integers(Int8Array, ids)),
        _scalar,
        writes=True,
    )


def reopen_accounts(book: int, ids: Sequence[int]) -> Statement[int]:
    """Opens closed accounts again. Answers how many of them there are."""
    return Statement(
        "select ledger.reopen_accounts(%s, %s)",
        (book, encode_integers(Int8Array, ids)),
        _scalar,
        writes=True,
    )


def _scalar(rows: Rows) -> int:
    ((value,),) = rows
    return int(value)


def read_accounts(book: int, ids: Sequence[int]) -> Statement[dict[int, Account]]:
    """Accounts by their id; those that aren't there are left out."""
    return Statement(
        _READ_ACCOUNTS,
        (encode_integers(Int8Array, ids), book),
        lambda rows: {row[1]: _account(row) for row in rows},
    )


def read_accounts_of_books(
    accounts: Sequence[tuple[int, int]],
) -> Statement[dict[tuple[int, int], Account]]:
    """Accounts of any books, asked for and answered by (book, id); those not there left out."""
    books, ids = zip(*accounts, strict=True) if accounts else ((), ())
    return Statement(
        _READ_ACCOUNTS_OF_BOOKS,
        (encode_integers(Int8Array, books), encode_integers(Int8Array, ids)),
        lambda rows: {(row[0], row[1]): _account(row) for row in rows},
    )


def _account(row: tuple[Any, ...]) -> Account:
    book, id_, unit, kind, flags, *totals = row
    return Account(book, id_, Unit(unit), kind, AccountFlags(flags), *totals)


def read_log(book: int, after_seq: int, limit: int) -> Statement[list[LogEntry]]:
    """The book's log after `after_seq`, in order and without gaps, at most `limit` entries."""
    if not 0 < limit <= LOG_LIMIT_MAX:
        raise InvalidBatch(f"a log is read in steps of 1 to {LOG_LIMIT_MAX}, not {limit}")
    return Statement(
        _READ_LOG,
        (book, after_seq, limit),
        lambda rows: [LogEntry(*row[1:]) for row in rows],
    )


def read_places(book: int, seqs: Sequence[int]) -> Statement[list[LogEntry]]:
    """What is at these places of the book's log, in its order; where nothing is, is left out."""
    return Statement(
        _READ_PLACES,
        (book, encode_integers(Int8Array, seqs)),
        lambda rows: [LogEntry(*row[1:]) for row in rows],
    )


def read_account_log(
    book: int, account: int, before_seq: int | None, limit: int
) -> Statement[list[LogEntry]]:
    """An account's own part of the log, newest first: at most `limit` entries before `before_seq`.

    None: from the newest on. The next page is before the last entry's `seq`.
    """
    return read_log_of_accounts(book, [account], before_seq, limit)


def read_log_of_accounts(
    book: int, accounts: Sequence[int], before_seq: int | None, limit: int
) -> Statement[list[LogEntry]]:
    """The part of a book's log that is about any of these accounts, as `read_account_log`."""
    if not 0 < limit <= LOG_LIMIT_MAX:
        raise InvalidBatch(f"a log is read in steps of 1 to {LOG_LIMIT_MAX}, not {limit}")
    return Statement(
        _READ_ACCOUNTS_LOG,
        {
            "book": book,
            "accounts": encode_integers(Int8Array, accounts),
            "before": SEQ_END if before_seq is None else before_seq,
            "limit": limit,
        },
        lambda rows: [LogEntry(*row[1:]) for row in rows],
    )


def read_transfers(ids: Sequence[bytes]) -> Statement[dict[bytes, tuple[int, LogEntry]]]:
    """Transfers by their identifier, each with its book; those not in any log are left out."""
    return Statement(
        _READ_TRANSFERS,
        (encode_ids(ids),),
        lambda rows: {row[2]: (row[0], LogEntry(*row[1:])) for row in rows},
    )
