"""What the ledger's tests share: running statements on a plain connection, books of their own."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

import psycopg

from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.client import register_arrays
from popolni.ledger.model import Account, AccountFlags, LogEntry, Posted, Transfer, Unit
from popolni.ledger.statements import Statement

T = TypeVar("T")
NONE = AccountFlags.NONE
NO_OVERDRAFT = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
NO_OVERPAY = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS

_books = count(1_000)


def tid(*parts: str | int) -> bytes:
    """A transfer's identifier."""
    return transfer_id("test", *parts)


class Ledger:
    """The ledger behind one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        register_arrays(connection)
        self.connection = connection

    def run(self, statement: Statement[T]) -> T:
        cursor = self.connection.execute(statement.sql, statement.arguments)
        return statement.decode(cursor.fetchall())

    def new_book(self, *accounts: AccountFlags, unit: Unit = Unit.MONEY) -> int:
        """A book that no other test has, with accounts 1, 2, … of these flags."""
        book = next(_books)
        assert self.run(statements.open_book(book, "RUB"))
        rows = [(number, unit, 1, flags) for number, flags in enumerate(accounts, start=1)]
        self.run(statements.open_accounts(book, rows))
        return book

    def post(self, book: int, *transfers: Transfer, at: datetime | None = None) -> list[Posted]:
        return self.run(post_at(book, transfers, at))

    def account(self, book: int, account: int) -> Account:
        return self.run(statements.read_accounts(book, [account]))[account]

    def log(self, book: int) -> list[LogEntry]:
        return self.run(statements.read_log(book, 0, 100_000))


def post_at(
    book: int, transfers: Sequence[Transfer], at: datetime | None
) -> Statement[list[Posted]]:
    """A post at a given time by the ledger's clock."""
    return statements.post(book, transfers, at=at)
