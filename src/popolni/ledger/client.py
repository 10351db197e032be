"""Runs statements: from Django, in its transaction, or from asyncio, with a pool.

A lost connection is told apart by when it was lost. Before anything was sent, inside a
transaction that had yet to commit, or after the server said that it rolled back: nothing was
written (LedgerUnavailable). Otherwise nobody knows (OutcomeUnknown), and the way to find out is
to ask again with the same identifiers.
"""

import asyncio
import random
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

import django.db
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from popolni.ledger.codec import ARRAYS, Array
from popolni.ledger.errors import (
    BookNotFound,
    InvalidBatch,
    LedgerError,
    LedgerUnavailable,
    OutcomeUnknown,
)
from popolni.ledger.statements import Statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

Steps = Generator[Statement[Any], Any, T]
"""What asks the ledger more than once: it yields statements, is sent their answers, returns T.

Written so it is the same for both callers: `run_steps` and `AsyncLedger.run_steps`.
"""

TRIES_MAX = 5
"""How often a statement is sent that the server rolled back for a deadlock."""


def run(statement: Statement[T], using: str = django.db.DEFAULT_DB_ALIAS) -> T:
    """Runs it on Django's connection, inside the transaction that is open there, if any.

    A post inside a transaction is its last statement; wrap it in `atomic()` of this module, so
    that a connection lost during COMMIT, or an error that was swallowed, is not taken for success.

    Raises BookNotFound, LedgerUnavailable, OutcomeUnknown.
    """
    wrapper = django.db.connections[using]
    try:
        if wrapper.autocommit:  # nothing is open there that this could lose
            wrapper.close_if_unusable_or_obsolete()
        joined = wrapper.in_atomic_block or not wrapper.get_autocommit()  # connects
    except django.db.Error as error:
        raise LedgerUnavailable(_first_line(error)) from error
    if wrapper.in_atomic_block:
        wrapper.validate_no_broken_transaction()
    for tries in range(1, TRIES_MAX + 1):
        try:
            return _run_once(statement, wrapper)
        except django.db.Error as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.Error):
                raise
            if joined or tries == TRIES_MAX or not isinstance(cause, _ROLLED_BACK_BY_CHANCE):
                _translate(cause, may_be_committed=statement.writes and not joined)
                raise
            time.sleep(_pause_s(tries))
    raise AssertionError("unreachable")


def run_steps(steps: Steps[T], using: str = django.db.DEFAULT_DB_ALIAS) -> T:
    """Runs every statement that the steps yield, as `run` does; what they return."""
    answer: Any = None
    while True:
        try:
            statement = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = run(statement, using)


def _run_once(statement: Statement[T], wrapper: "BaseDatabaseWrapper") -> T:
    with wrapper.wrap_database_errors:
        connection = wrapper.connection
        register_arrays(connection)
        # Django's own cursor writes the arguments into the text of the statement
        with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
            cursor.execute(statement.sql, statement.arguments)
            rows = cursor.fetchall()
    return statement.decode(rows)


@contextmanager
def atomic(using: str = django.db.DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Django's `transaction.atomic()` for what ends in a post.

    Leaving the block without an error means that the transaction is committed (or, inside another
    block, that nothing stands against it). Otherwise it raises: LedgerUnavailable if it was rolled
    back, also where the block swallowed the error that did it; OutcomeUnknown if the connection
    was lost during the outermost COMMIT, or if one of Django's on_commit hooks met trouble in the
    ledger after it.
    """
    wrapper = django.db.connections[using]
    outermost = wrapper.autocommit and not wrapper.in_atomic_block
    committing = False
    try:
        with django.db.transaction.atomic(using):
            yield
            if _is_broken(wrapper):
                raise LedgerUnavailable("an error inside the transaction had it rolled back")
            committing = outermost
    except django.db.Error as error:
        if isinstance(error.__cause__, psycopg.Error):
            _translate(error.__cause__, may_be_committed=committing)
        raise
    except LedgerError as error:
        if committing:  # from a hook, and so about a statement of its own
            raise OutcomeUnknown(f"committed, but then: {error}") from error
        raise


def _is_broken(wrapper: "BaseDatabaseWrapper") -> bool:
    """Whether COMMIT would silently be a ROLLBACK."""
    if wrapper.needs_rollback or wrapper.closed_in_transaction or wrapper.connection is None:
        return True
    status: TransactionStatus = wrapper.connection.info.transaction_status
    return status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE)


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
            reconnect_timeout=wait_s,  # then the next statement tries: no pause grows meanwhile
            open=False,
            kwargs={"autocommit": True, "connect_timeout": 2, "tcp_user_timeout": 10_000},
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

    async def open_soon(self) -> None:
        """Opens the pool without waiting for the database, which may be away yet."""
        await self._pool.open(wait=False)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the pool; statements under way end first."""
        await self._pool.close()

    async def run(self, statement: Statement[T]) -> T:
        """Runs it in a transaction of its own. Raises as `run` of this module does.

        A task that is cancelled or timed out while it waits knows no more than after
        OutcomeUnknown.
        """
        for tries in range(1, TRIES_MAX + 1):
            try:
                return await self._run_once(statement)
            except psycopg.Error as error:
                if tries == TRIES_MAX or not isinstance(error, _ROLLED_BACK_BY_CHANCE):
                    _translate(error, may_be_committed=statement.writes)
                    raise
                await asyncio.sleep(_pause_s(tries))
        raise AssertionError("unreachable")

    async def run_steps(self, steps: Steps[T]) -> T:
        """Runs every statement that the steps yield, each in a transaction of its own."""
        answer: Any = None
        while True:
            try:
                statement = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self.run(statement)

    async def _run_once(self, statement: Statement[T]) -> T:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement.sql, statement.arguments, prepare=True)
                rows = await cursor.fetchall()
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise LedgerUnavailable(_first_line(error)) from error
        return statement.decode(rows)


_ROLLED_BACK_BY_CHANCE = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
# Of these the server says that it rolled back: deadlocks and their like (40), resources (53), a
# lock not had in time, a session that idled inside its transaction (25P03, 25P04), a standby, an
# identifier that came in two books at once.
_ROLLED_BACK = ("40", "53", "55P03", "25P03", "25P04", "25006", "23505")
# The connection is gone (08), or the operator's (57): a shutdown, a cancellation may come after
# the commit.
_LOST = ("08", "57")


def _translate(error: psycopg.Error, *, may_be_committed: bool) -> None:
    """Raises our error for the database's. Returns for what only a fault of ours can cause."""
    state = error.sqlstate or ""
    if state == "P0002":
        raise BookNotFound(_first_line(error)) from error
    if state == "54000":
        raise InvalidBatch(_first_line(error)) from error
    if state.startswith(_ROLLED_BACK):
        raise LedgerUnavailable(_first_line(error)) from error
    unsaid = not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if unsaid or state.startswith(_LOST):
        if may_be_committed:
            raise OutcomeUnknown(_first_line(error)) from error
        raise LedgerUnavailable(_first_line(error)) from error


def _pause_s(tries: int) -> float:
    return random.uniform(0, 0.01 * 2**tries)  # noqa: S311  # jitter


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
    """What a session takes from its environment would change how values are read and written."""
    register_arrays(connection)
    await connection.execute(
        "select set_config('client_encoding', 'UTF8', false),"
        " set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false)"
    )
