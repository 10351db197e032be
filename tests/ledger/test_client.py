"""The two callers: what joins Django's transaction, what asyncio gets, and what a lost connection
is called."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import django.db
import psycopg
import pytest
from django.db import connection, connections
from django.db.transaction import TransactionManagementError
from django.db.transaction import atomic as django_atomic

from popolni.core.outcome import Outcome
from popolni.ledger import statements
from popolni.ledger.client import AsyncLedger, Steps, atomic, run, run_steps
from popolni.ledger.errors import BookNotFound, LedgerError, LedgerUnavailable, OutcomeUnknown
from popolni.ledger.model import Transfer
from tests.ledger.proxy import Cut, Proxy, proxy
from tests.ledger.support import NO_OVERDRAFT, NONE, Ledger, tid

CREATED, EXISTS = Outcome.CREATED, Outcome.EXISTS


def transfers(book: int, *names: int | str) -> list[Transfer]:
    return [Transfer(tid(book, name), 1, 2, 10, 1) for name in names]


@pytest.fixture
def book(ledger: Ledger) -> int:
    return ledger.new_book(NONE, NONE, NO_OVERDRAFT)


@pytest.fixture
def wire(database_url: str, short_folder: Path) -> Iterator[Proxy]:
    with proxy(database_url, short_folder) as wire:
        yield wire


@pytest.fixture
def wired(wire: Proxy) -> Iterator[str]:
    """A Django connection through the wire."""
    host, port = psycopg.conninfo.conninfo_to_dict(wire.url)["host"], 5432
    settings = {**connections.settings["default"], "HOST": host, "PORT": port}
    connections.settings["wired"] = settings
    yield "wired"
    connections["wired"].close()
    del connections["wired"]
    del connections.settings["wired"]


def outcomes(answers: list[Any]) -> list[Outcome]:
    return [answer.outcome for answer in answers]


def test_a_post_of_its_own(book: int, ledger: Ledger) -> None:
    answers = run(statements.post(book, transfers(book, 1, 2, 1)))
    assert answers == [(CREATED, 1), (CREATED, 2), (EXISTS, 1)]
    assert ledger.account(book, 2).credits_posted == 20


def test_a_post_joins_djangos_transaction(book: int, ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), atomic():
        assert outcomes(run(statements.post(book, transfers(book, 1)))) == [CREATED]
        assert len(run(statements.read_log(book, 0, 10))) == 1
        assert ledger.log(book) == []  # nobody else sees it yet
        raise ZeroDivisionError
    assert ledger.log(book) == []
    with atomic():
        with connection.cursor() as cursor:
            cursor.execute("create temporary table beside (n int) on commit drop")
        assert outcomes(run(statements.post(book, transfers(book, 1)))) == [CREATED]
    assert len(ledger.log(book)) == 1


def test_the_turn_of_a_book_is_kept_until_commit(book: int, database_url: str) -> None:
    with atomic():
        assert run(statements.lock_book(book)) is True
        with connection.cursor() as cursor:  # who is silent doesn't keep it
            cursor.execute("show idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("5s",)
        with psycopg.connect(database_url) as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("select from ledger.book where book = %s for update nowait", (book,))
        run(statements.post(book, transfers(book, 1)))
    with psycopg.connect(database_url) as other:
        other.execute("select from ledger.book where book = %s for update nowait", (book,))
    assert run(statements.lock_book(999_999)) is False


def test_what_can_be_read(book: int) -> None:
    first, second = transfers(book, 1, 2)
    run(statements.post(book, [first._replace(reference="7"), second]))
    log = run(statements.read_log(book, 0, 10))
    assert [entry.id for entry in log] == [first.id, second.id]
    assert log[0].reference == "7"
    found = run(statements.read_transfers([second.id, tid("nobody's"), first.id]))
    assert found == {second.id: (book, log[1]), first.id: (book, log[0])}
    accounts = run(statements.read_accounts(book, [1, 2, 99]))
    assert set(accounts) == {1, 2}
    of_books = run(statements.read_accounts_of_books([(book, 2), (book, 99), (book + 1, 1)]))
    assert of_books == {(book, 2): accounts[2]}
    assert run(statements.read_accounts_of_books([])) == {}


def copy_of_the_first(book: int) -> Steps[str]:
    """Reads, and then writes what it has read, which is not the same for everybody."""
    (first,) = yield statements.read_log(book, 0, 1)
    copy = transfers(book, "copy")[0]._replace(amount=first.amount)
    (posted,) = yield statements.post(book, [copy])
    return f"{posted.outcome} {posted.seq}"


def test_steps_are_the_same_for_both_callers(book: int, database_url: str) -> None:
    run(statements.post(book, [transfers(book, 1)[0]._replace(amount=77)]))

    async def asynchronously() -> str:
        async with AsyncLedger(database_url) as async_ledger:
            return await async_ledger.run_steps(copy_of_the_first(book))

    assert run_steps(copy_of_the_first(book)) == "created 2"
    assert asyncio.run(asynchronously()) == "exists 2"
    assert [entry.amount for entry in run(statements.read_log(book, 0, 10))] == [77, 77]


def test_what_fails_in_the_middle_of_steps(database_url: str) -> None:
    """Is raised where they are run, and they are not gone on with."""
    done: list[str] = []

    def steps() -> Steps[None]:
        done.append("first")
        yield statements.post(999_999_999, transfers(1, 1))
        done.append("second")

    async def asynchronously() -> None:
        async with AsyncLedger(database_url) as async_ledger:
            await async_ledger.run_steps(steps())

    with pytest.raises(BookNotFound):
        run_steps(steps())
    with pytest.raises(BookNotFound):
        asyncio.run(asynchronously())
    assert done == ["first", "first"]


def nothing_to_ask() -> Steps[int]:
    yield from ()
    return 7


def test_steps_that_ask_nothing(database_url: str) -> None:
    async def asynchronously() -> int:
        async with AsyncLedger(database_url) as async_ledger:
            return await async_ledger.run_steps(nothing_to_ask())

    assert run_steps(nothing_to_ask()) == asyncio.run(asynchronously()) == 7


def test_a_pool_that_is_opened_before_the_database_is_there(
    book: int, database_url: str, short_folder: Path
) -> None:
    """It says that the database is away, and takes it when it comes."""
    with proxy(database_url, short_folder) as wire:
        url = wire.url
    (short_folder / ".s.PGSQL.5432").unlink()

    async def scenario() -> list[Any]:
        pool = AsyncLedger(url, connections_max=2, wait_s=0.2)
        await pool.open_soon()
        try:
            with pytest.raises(LedgerUnavailable):
                await pool.run(statements.post(book, transfers(book, 1)))
            with proxy(database_url, short_folder):
                while True:
                    with suppress(LedgerUnavailable):
                        return await pool.run(statements.post(book, transfers(book, 1)))
        finally:
            await pool.__aexit__(None, None, None)

    assert asyncio.run(scenario()) == [(CREATED, 1)]


def test_a_book_that_does_not_exist() -> None:
    with pytest.raises(BookNotFound, match="book 999999999 does not exist"):
        run(statements.post(999_999_999, transfers(1, 1)))


@pytest.mark.parametrize(
    ("cut", "written"),
    [(Cut.BEFORE_THE_SERVER_HEARS, False), (Cut.AFTER_THE_SERVER_ANSWERED, True)],
)
class TestAConnectionLost:
    """Whether it was written differs, and nobody on this side can tell: it is *unknown*."""

    def check(self, ledger: Ledger, book: int, again: list[Any], *, written: bool) -> None:
        assert again == [(EXISTS if written else CREATED, 1)]
        assert len(ledger.log(book)) == 1

    def test_in_a_post_of_its_own(
        self, ledger: Ledger, book: int, wire: Proxy, wired: str, cut: Cut, *, written: bool
    ) -> None:
        connections[wired].ensure_connection()
        wire.cut_at(tid(book, 1), cut)
        with pytest.raises(OutcomeUnknown):
            run(statements.post(book, transfers(book, 1)), wired)
        assert len(ledger.log(book)) == written
        again = run(statements.post(book, transfers(book, 1)), wired)
        self.check(ledger, book, again, written=written)

    def test_in_commit(
        self, ledger: Ledger, book: int, wire: Proxy, wired: str, cut: Cut, *, written: bool
    ) -> None:
        connections[wired].ensure_connection()
        with pytest.raises(OutcomeUnknown), atomic(wired):
            run(statements.post(book, transfers(book, 1)), wired)
            wire.cut_at(b"COMMIT", cut)
        assert len(ledger.log(book)) == written
        again = run(statements.post(book, transfers(book, 1)), wired)
        self.check(ledger, book, again, written=written)

    def test_asynchronously(
        self, ledger: Ledger, book: int, wire: Proxy, cut: Cut, *, written: bool
    ) -> None:
        async def scenario() -> list[Any]:
            async with AsyncLedger(wire.url, connections_max=1) as async_ledger:
                wire.cut_at(tid(book, 1), cut)
                with pytest.raises(OutcomeUnknown):
                    await async_ledger.run(statements.post(book, transfers(book, 1)))
                return await async_ledger.run(statements.post(book, transfers(book, 1)))

        self.check(ledger, book, asyncio.run(scenario()), written=written)


def test_lost_inside_a_transaction_is_a_certain_no(
    ledger: Ledger, book: int, wire: Proxy, wired: str
) -> None:
    with pytest.raises(LedgerUnavailable), atomic(wired):
        wire.cut_at(tid(book, 1), Cut.AFTER_THE_SERVER_ANSWERED)
        run(statements.post(book, transfers(book, 1)), wired)
    assert ledger.log(book) == []


def test_lost_in_a_savepoint_is_not_taken_for_the_commit(
    ledger: Ledger, book: int, wire: Proxy, wired: str
) -> None:
    with pytest.raises(LedgerUnavailable), atomic(wired):
        wire.cut_at(b"RELEASE", Cut.AFTER_THE_SERVER_ANSWERED)
        with atomic(wired):
            run(statements.post(book, transfers(book, 1)), wired)
    assert ledger.log(book) == []


def test_no_database_at_all(short_folder: Path, wired: str, wire: Proxy, book: int) -> None:
    wire.close()
    (Path(connections.settings[wired]["HOST"]) / ".s.PGSQL.5432").unlink()
    with pytest.raises(LedgerUnavailable):
        run(statements.post(book, transfers(book, 1)), wired)

    async def scenario() -> None:
        async with AsyncLedger(f"host={short_folder}/nothing", wait_s=0.3):
            raise AssertionError("it must not open")

    with pytest.raises(LedgerUnavailable):
        asyncio.run(scenario())


def test_many_at_once_through_a_small_pool(book: int, database_url: str, ledger: Ledger) -> None:
    async def scenario() -> list[list[Any]]:
        async with AsyncLedger(database_url, connections_max=2) as async_ledger:
            posts = [statements.post(book, transfers(book, n % 40, n)) for n in range(80)]
            return await asyncio.gather(*map(async_ledger.run, posts))

    answers = asyncio.run(scenario())
    created = sum(outcomes(answer).count(CREATED) for answer in answers)
    assert created == 80 == len(ledger.log(book)) == ledger.account(book, 2).credits_posted // 10


def test_a_full_pool_says_so_at_once(book: int, database_url: str) -> None:
    async def scenario() -> list[Any]:
        pool = AsyncLedger(database_url, connections_max=1, waiting_max=3, wait_s=30)
        async with pool as async_ledger:
            posts = [statements.post(book, transfers(book, n)) for n in range(50)]
            return await asyncio.gather(*map(async_ledger.run, posts), return_exceptions=True)

    answers = asyncio.run(scenario())
    refused = [answer for answer in answers if isinstance(answer, LedgerError)]
    assert refused
    assert all(isinstance(answer, LedgerUnavailable) for answer in refused)
    assert len(answers) - len(refused) >= 3


def test_a_deadlock_with_somebody_else_is_retried(
    book: int, ledger: Ledger, database_url: str
) -> None:
    """Two books whose one-by-one posts bring the same identifiers in opposite orders."""
    other = ledger.new_book(NONE, NONE)
    forth = [row._replace(flags=2) for row in transfers(book, *range(60))]
    back = forth[::-1]

    async def scenario() -> list[list[Any]]:
        async with AsyncLedger(database_url, connections_max=2) as async_ledger:
            both = statements.post(book, forth), statements.post(other, back)
            return await asyncio.gather(*map(async_ledger.run, both))

    here, there = asyncio.run(scenario())
    for one, two in zip(here, there[::-1], strict=True):
        assert {one.outcome, two.outcome} == {CREATED, Outcome.EXISTS_WITH_DIFFERENT_BOOK}
    assert len(ledger.log(book)) + len(ledger.log(other)) == 60


def test_a_transaction_that_is_opened_by_hand_is_not_lost(book: int, ledger: Ledger) -> None:
    """Without autocommit Django opens transactions by itself; a statement must not end them."""
    connection.set_autocommit(autocommit=False)
    try:
        run(statements.post(book, transfers(book, 1)))
        run(statements.post(book, transfers(book, 2)))
        assert ledger.log(book) == []
        connection.commit()
    finally:
        connection.rollback()
        connection.set_autocommit(autocommit=True)
    assert len(ledger.log(book)) == 2


def swallow_an_inner_error() -> None:
    with suppress(ZeroDivisionError), django_atomic(savepoint=False):
        raise ZeroDivisionError


def refused_book() -> None:
    run(statements.post(999_999_999, transfers(1, 1)))


def swallow_a_refused_book() -> None:
    with suppress(BookNotFound):
        refused_book()


def swallow_a_lost_connection() -> None:
    connection.close()


@pytest.mark.parametrize(
    "swallow", [swallow_an_inner_error, swallow_a_refused_book, swallow_a_lost_connection]
)
def test_a_rollback_is_not_taken_for_success(
    book: int, ledger: Ledger, swallow: Callable[[], None]
) -> None:
    """COMMIT of a transaction that is broken says ROLLBACK, and Django does not look."""
    with pytest.raises(LedgerUnavailable), atomic():
        assert outcomes(run(statements.post(book, transfers(book, 1)))) == [CREATED]
        swallow()
    assert ledger.log(book) == []


def test_no_post_in_a_transaction_that_is_to_be_rolled_back(book: int, ledger: Ledger) -> None:
    with pytest.raises(TransactionManagementError), atomic():
        swallow_an_inner_error()
        run(statements.post(book, transfers(book, 1)))
    assert ledger.log(book) == []


def test_trouble_after_the_commit_is_no_failure(book: int, ledger: Ledger) -> None:
    with pytest.raises(OutcomeUnknown, match="committed, but then"), atomic():
        django.db.transaction.on_commit(refused_book)
        run(statements.post(book, transfers(book, 1)))
    assert len(ledger.log(book)) == 1


def test_a_client_that_stops_before_its_commit_does_not_keep_the_book(
    book: int, ledger: Ledger, database_url: str
) -> None:
    with psycopg.connect(database_url) as other:
        Ledger(other).post(book, *transfers(book, 1))
        waited = ledger.post(book, *transfers(book, 2))  # until the server ends the other session
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            other.execute("select 1")
        other.close()
    assert outcomes(waited) == [CREATED]
    assert len(ledger.log(book)) == 1


def test_a_lock_that_is_not_had_in_time_is_a_certain_no(book: int, database_url: str) -> None:
    with psycopg.connect(database_url) as other, connection.cursor() as cursor:
        Ledger(other).post(book, *transfers(book, 1))
        cursor.execute("set lock_timeout = '50ms'")
        with pytest.raises(LedgerUnavailable):
            run(statements.post(book, transfers(book, 2)))
        cursor.execute("reset lock_timeout")
        other.rollback()


def test_what_the_server_would_not_sync_is_synced(book: int, database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("set synchronous_commit = off")
        Ledger(other).post(book, *transfers(book, 1))
        assert other.execute("show synchronous_commit").fetchone() == ("on",)


def test_two_books_race_for_the_same_identifiers(
    book: int, ledger: Ledger, database_url: str
) -> None:
    """One set-wise, the other in small posts that commit meanwhile: each id has one winner."""
    other = ledger.new_book(NONE, NONE)
    rows = transfers(book, *range(600))

    async def scenario() -> tuple[list[Any], list[list[Any]]]:
        async with AsyncLedger(database_url, connections_max=2) as async_ledger:
            small = [statements.post(other, rows[n : n + 3]) for n in range(0, 600, 3)]

            async def one_after_the_other() -> list[list[Any]]:
                return [await async_ledger.run(statement) for statement in small]

            large = async_ledger.run(statements.post(book, rows))
            both = await asyncio.gather(large, one_after_the_other())
            return both[0], both[1]

    here, there = asyncio.run(scenario())
    flat = [answer for answers in there for answer in answers]
    for one, two in zip(here, flat, strict=True):
        assert {one.outcome, two.outcome} == {CREATED, Outcome.EXISTS_WITH_DIFFERENT_BOOK}
    assert len(ledger.log(book)) + len(ledger.log(other)) == 600


def test_djangos_own_atomic_works_too(book: int, ledger: Ledger) -> None:
    with django_atomic():
        run(statements.post(book, transfers(book, 1)))
    assert len(ledger.log(book)) == 1
