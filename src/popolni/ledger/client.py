"""Runs statements: from Django, in its transaction, or from asyncio, with a pool.

A lost connection is told apart by when it was lost. Before anything was sent, inside a
transaction that had yet to commit, or after the server said that it rolled back: nothing was
written (LedgerUnavailable). Otherwise nobody knows (OutcomeUnknown), and the way to find out is
to ask again with the same identifiers.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

import django.db
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from popolni.ledger.codec import ARRAYS, Array
from popolni.ledger.errors import BookNotFound, InvalidBatch, LedgerUnavailable, OutcomeUnknown
from popolni.ledger.statements import Statement

T = TypeVar("T")

TRIES_MAX = 5
"""How often a statement is sent that the server rolled back for a deadlock."""


def run(statement: Statement[T], using: str = django.db.DEFAULT_DB_ALIAS) -> T:
    """Runs it on Django's connection, inside the transaction that is open there, if any.

    A post inside a transaction is its last statement; wrap it in `atomic()` of this module, so
    that a connection lost during COMMIT is told from a failure.

    Raises BookNotFound, LedgerUnavailable, OutcomeUnknown.
    """
    wrapper = django.db.connections[using]
    try:
        if wrapper.autocommit:  # nothing is open there that this could lose
            wrapper.close_if_unusable_or_obsolete()
        joined = wrapper.in_atomic_block or not wrapper.get_autocommit()  # connects
    except django.db.Error as error:
        raise LedgerUnavailable(_first_line(error)) from error
    try:
        with wrapper.wrap_database_errors:
            connection = wrapper.connection
            register_arrays(connection)
            # Django's own cursor writes the arguments into the text of the statement
            with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
                cursor.execute(statement.sql, statement.arguments)
                rows = cursor.fetchall()
    except django.db.Error as error:
        cause = error.__cause__
        if not isinstance(cause, psycopg.Error):
            raise
        _translate(cause, may_be_committed=statement.writes and not joined)
        raise
    return statement.decode(rows)


@contextmanager
def atomic(using: str = django.db.DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Django's `transaction.atomic()` for what ends in a post.

    A connection lost while the outermost COMMIT is under way raises OutcomeUnknown.
    """
    outermost = not django.db.connections[using].in_atomic_block
    committing = False
    try:
        with django.db.transaction.atomic(using):
            yield
            committing = outermost
    except django.db.Error as error:
        if committing and isinstance(error.__cause__, psycopg.Error):
            _translate(error.__cause__, may_be_committed=True)
        raise


class AsyncLedger:
    """The asynchronous caller: a bounded pool of connections, each statement its own transaction.

    `connections_max` is how many statements run at once, `waiting_max` how many more may wait for
    a connection, `wait_s` for how long; beyond either, LedgerUnavailable at once.
    """

    def __init__(
        self,
        url: str,
        *,
        connections_max: int = 4,
        waiting_max: int = 1_000,
        wait_s: float = 2.0,
    ) -> None:
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections_max,
            max_waiting=waiting_max,
            timeout=wait_s,
            open=False,
            kwargs={"autocommit": True},
            configure=_configure,
        )

    async def __aenter__(self) -> Self:
        """Opens the pool; LedgerUnavailable if the database can't be reached."""
        try:
            await self._pool.open(wait=True, timeout=self._pool.timeout)
        except PoolTimeout as error:
            await self._pool.close()
            raise LedgerUnavailable(_first_line(error)) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the pool; statements under way end first."""
        await self._pool.close()

    async def run(self, statement: Statement[T]) -> T:
        """Runs it in a transaction of its own. Raises as `run` of this module does."""
        for tries in range(1, TRIES_MAX + 1):
            try:
                return await self._run_once(statement)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
                if tries == TRIES_MAX:
                    raise LedgerUnavailable(_first_line(error)) from error
                await asyncio.sleep(random.uniform(0, 0.01 * 2**tries))  # noqa: S311  # jitter
        raise AssertionError("unreachable")

    async def _run_once(self, statement: Statement[T]) -> T:
        try:
            async with self._pool.connection() as connection:
                try:
                    cursor = await connection.execute(
                        statement.sql, statement.arguments, prepare=True
                    )
                    rows = await cursor.fetchall()
                except psycopg.Error as error:
                    _translate(error, may_be_committed=statement.writes)
                    raise
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise LedgerUnavailable(_first_line(error)) from error
        return statement.decode(rows)


def _translate(error: psycopg.Error, *, may_be_committed: bool) -> None:
    """Raises our error for the database's. Returns for a fault of ours, and for a deadlock.

    Class 57 is the operator's: a shutdown or a cancellation may come after the commit.
    """
    state = error.sqlstate
    if state == "P0002":
        raise BookNotFound(_first_line(error)) from error
    if state == "54000":
        raise InvalidBatch(_first_line(error)) from error
    lost = state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if lost or (state or "").startswith(("08", "57")):
        if may_be_committed:
            raise OutcomeUnknown(_first_line(error)) from error
        raise LedgerUnavailable(_first_line(error)) from error
    if (state or "").startswith("53") or state == "25006":  # out of disk or memory; a standby
        raise LedgerUnavailable(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


class _ArrayDumper(Dumper):
    """An array is in PostgreSQL's form already."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        """As it is."""
        return obj


_DUMPERS = {
    kind: type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.array_oid})
    for kind in ARRAYS
}
_registered: WeakSet[psycopg.BaseConnection[Any]] = WeakSet()


def register_arrays(connection: psycopg.BaseConnection[Any]) -> None:
    """Teaches a connection, once, to send the codec's arrays as they are."""
    if connection not in _registered:
        for kind, dumper in _DUMPERS.items():
            connection.adapters.register_dumper(kind, dumper)
        _registered.add(connection)


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    register_arrays(connection)
