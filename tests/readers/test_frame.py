"""The frame: a batch and its position together, a poisoned entry set aside, the rest goes on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import psycopg
import pytest
from django.db import connection

from popolni.core.errors import UserError
from popolni.core.reason import reason_of
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, Transfer
from popolni.ledger.statements import post
from popolni.readers import frame, set_aside
from popolni.readers.frame import TRIES_MAX, Failed, Reader, Turns, pause_s, read_all, step
from popolni.readers.models import SetAside
from tests.ledger.support import NONE, Ledger, tid


class Poison(Exception):
    """What an entry that can't be handled raises."""


class Keeper:
    """A reader that posts each entry's double, and can't handle some."""

    def __init__(self, ledger: Ledger, *poisoned: int) -> None:
        self.ledger, self.poisoned = ledger, set(poisoned)
        self.target = ledger.new_book(NONE, NONE)
        self.batches: list[list[int]] = []
        self.woken = 0
        self.raises: Callable[[], BaseException] = lambda: Poison("of 79160000001")
        self.reader = Reader("keeper", self.handle, after=self.wake, batch=16)

    def handle(self, book: int, entries: Sequence[LogEntry]) -> None:
        self.batches.append([entry.seq for entry in entries])
        doubles = [
            Transfer(tid(book, "double", entry.seq), 1, 2, entry.amount, 1) for entry in entries
        ]
        run(post(self.target, doubles))
        if self.poisoned & {entry.seq for entry in entries}:
            raise self.raises()

    def wake(self) -> None:
        self.woken += 1

    def posted(self) -> list[int]:
        """The amounts, which are the places in the log, in the order in which they were posted."""
        return [entry.amount for entry in self.ledger.log(self.target)]


@pytest.fixture
def ledger(session_connection: psycopg.Connection) -> Ledger:
    return Ledger(session_connection)


@pytest.fixture(autouse=True)
def _clean(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    del database_url
    monkeypatch.setattr(frame, "PAUSE_FIRST_S", 0.0)
    yield
    SetAside.objects.all().delete()


def fill(ledger: Ledger, count: int) -> int:
    """A book whose entries are 1, 2, …, of amounts 1, 2, …."""
    book = ledger.new_book(NONE, NONE)
    ledger.post(book, *(Transfer(tid(book, n), 1, 2, n, 1) for n in range(1, count + 1)))
    return book


def position(book: int, reader: str = "keeper") -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "select seq from ledger.position where book = %s and reader = %s", (book, reader)
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def rows(book: int) -> list[tuple[int, str, int]]:
    found = SetAside.objects.filter(book=book).order_by("seq")
    return list(found.values_list("seq", "how", "tries"))


def work_off(turns: Turns, reader: Reader, book: int, end: int) -> None:
    """As the worker does. At most so often as the bounds allow."""
    for _ in range(50 * TRIES_MAX):
        turns.take(reader, book)
        if position(book) == end:
            return
    raise AssertionError(f"it stands at {position(book)}")


@pytest.mark.parametrize("count", [1, 3, 40])
def test_everything_is_handled_once_and_the_hook_comes_after_each_batch(
    ledger: Ledger, count: int
) -> None:
    book, keeper = fill(ledger, count), Keeper(ledger)
    assert read_all(keeper.reader, book) == count
    assert keeper.posted() == list(range(1, count + 1))
    assert keeper.woken == len(keeper.batches) == -(-count // 16)
    assert step(keeper.reader, book) == 0
    assert keeper.woken == len(keeper.batches)


def test_a_hook_that_fails_undoes_nothing(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    book, keeper = fill(ledger, 3), Keeper(ledger)

    def fail() -> None:
        raise Poison

    assert step(replace(keeper.reader, after=fail), book) == 3
    assert position(book) == 3
    assert "Poison" in capsys.readouterr().err


def test_a_failure_leaves_nothing_and_says_what_was_before_the_reader(ledger: Ledger) -> None:
    book, keeper = fill(ledger, 3), Keeper(ledger, 2)
    with pytest.raises(Failed) as caught:
        step(keeper.reader, book)
    assert [entry.seq for entry in caught.value.entries] == [1, 2, 3]
    assert isinstance(caught.value.cause, Poison)
    assert (keeper.posted(), position(book), keeper.woken) == ([], 0, 0)


@pytest.mark.parametrize(
    "poisoned", [{1}, {16}, {17}, {40}, {7, 8}, {1, 2, 3}, {5, 20, 39, 40}, set(range(1, 41))]
)
def test_what_fails_is_set_aside_and_the_rest_is_handled(
    ledger: Ledger, poisoned: set[int]
) -> None:
    book, keeper = fill(ledger, 40), Keeper(ledger, *poisoned)
    work_off(Turns(), keeper.reader, book, 40)
    assert keeper.posted() == [seq for seq in range(1, 41) if seq not in poisoned]
    assert rows(book) == [(seq, "", TRIES_MAX) for seq in sorted(poisoned)]
    alone = [batch[0] for batch in keeper.batches if len(batch) == 1]
    assert {seq: alone.count(seq) for seq in poisoned} == dict.fromkeys(poisoned, TRIES_MAX)


def test_after_it_the_batches_are_whole_again(ledger: Ledger) -> None:
    book, keeper = fill(ledger, 60), Keeper(ledger, 5)
    work_off(Turns(), keeper.reader, book, 60)
    assert [(batch[0], len(batch)) for batch in keeper.batches[-5:]] == [
        (6, 1), (7, 16), (23, 16), (39, 16), (55, 6),
    ]  # fmt: skip


def test_one_that_fails_some_times_and_then_no_more_is_handled(ledger: Ledger) -> None:
    book, keeper, turns = fill(ledger, 5), Keeper(ledger, 3), Turns()
    while not any(keeper.batches.count([3]) == TRIES_MAX - 1 for _ in keeper.batches):
        turns.take(keeper.reader, book)
    keeper.poisoned.clear()
    work_off(turns, keeper.reader, book, 5)
    assert keeper.posted() == [1, 2, 3, 4, 5]
    assert rows(book) == []


def test_it_waits_between_the_tries_and_holds_up_nobody_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "PAUSE_FIRST_S", 3_600.0)
    monkeypatch.setattr(frame, "PAUSE_MAX_S", 3_600.0)
    book, other, keeper, turns = fill(ledger, 1), fill(ledger, 2), Keeper(ledger, 1), Turns()
    assert turns.take(keeper.reader, book) == 0
    assert turns.take(keeper.reader, book) == 0
    assert keeper.batches == [[1]]
    fine = Keeper(ledger)
    assert turns.take(replace(fine.reader, name="fine"), book) == 1
    keeper.poisoned.clear()
    assert turns.take(keeper.reader, other) == 2
    assert turns.take(keeper.reader, book) == 0
    assert Turns().take(keeper.reader, book) == 1  # another worker has no reason to wait


@pytest.mark.parametrize(("times", "longest"), [(1, 0.2), (2, 0.4), (5, 3.2), (9, 30), (10**6, 30)])
def test_pauses_grow_up_to_a_bound_and_are_never_quite_the_same(
    times: int, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "PAUSE_FIRST_S", 0.2)
    assert pause_s(times, 0.0) == pytest.approx(longest)
    assert pause_s(times, 1.0) == pytest.approx(longest / 2)


def test_the_reason_is_one_line_with_no_whole_number(ledger: Ledger) -> None:
    book, keeper = fill(ledger, 1), Keeper(ledger, 1)
    keeper.raises = lambda: Poison("no plan\tfor 79160000001\nand a second line")
    work_off(Turns(), keeper.reader, book, 1)
    assert SetAside.objects.get(book=book).reason.startswith("Poison: no plan for 7916***0001 (")
    assert len(reason_of(Poison("x" * 1_000))) <= 300


def test_too_many_and_the_reader_waits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_aside, "OPEN_MAX", 3)
    book, keeper, turns = fill(ledger, 8), Keeper(ledger, *range(1, 9)), Turns()
    for _ in range(20 * TRIES_MAX):
        turns.take(keeper.reader, book)
    assert [seq for seq, _how, _tries in rows(book)] == [1, 2, 3]
    assert position(book) == 3
    keeper.poisoned.clear()
    work_off(Turns(), keeper.reader, book, 8)
    assert keeper.posted() == [4, 5, 6, 7, 8]


def test_chance_is_waited_for_and_never_set_aside(ledger: Ledger) -> None:
    book, keeper, turns = fill(ledger, 4), Keeper(ledger, 2), Turns()

    def lock_not_had() -> BaseException:
        with connection.cursor() as cursor:
            cursor.execute("do $$ begin raise sqlstate '55P03'; end $$")
        raise AssertionError

    keeper.raises = lock_not_had
    for _ in range(3 * TRIES_MAX):
        assert turns.take(keeper.reader, book) == 0
    assert (rows(book), position(book)) == ([], 0)
    assert {len(batch) for batch in keeper.batches} == {4}
    keeper.poisoned.clear()
    work_off(turns, keeper.reader, book, 4)
    assert keeper.posted() == [1, 2, 3, 4]


def test_an_error_that_was_swallowed_is_the_entry_s(ledger: Ledger) -> None:
    """The transaction is broken then, but the database is not away."""
    book = fill(ledger, 2)

    def handle(_book: int, entries: Sequence[LogEntry]) -> None:
        if entries[0].seq == 1:
            with connection.cursor() as cursor:
                try:
                    cursor.execute("select 1 / 0")
                except Exception:  # noqa: BLE001  # that is what is wrong with it
                    return

    reader = Reader("keeper", handle)
    work_off(Turns(), reader, book, 2)
    assert [seq for seq, _how, _tries in rows(book)] == [1]


def test_a_lost_database_is_raised_and_counts_as_nothing(ledger: Ledger) -> None:
    book, keeper, turns = fill(ledger, 3), Keeper(ledger, 2), Turns()

    def lose() -> BaseException:
        pid = connection.connection.info.backend_pid
        ledger.connection.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        raise AssertionError

    keeper.raises = lose
    for _ in range(TRIES_MAX + 1):
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            turns.take(keeper.reader, book)
        connection.close()
    assert {len(batch) for batch in keeper.batches} == {3}
    assert (rows(book), position(book), keeper.posted()) == ([], 0, [])
    keeper.poisoned.clear()
    work_off(turns, keeper.reader, book, 3)
    assert keeper.posted() == [1, 2, 3]


def one_aside(ledger: Ledger) -> tuple[int, Keeper, SetAside]:
    book, keeper = fill(ledger, 3), Keeper(ledger, 2)
    work_off(Turns(), keeper.reader, book, 3)
    return book, keeper, SetAside.objects.get(book=book)


def test_tried_again_it_is_handled_once(ledger: Ledger) -> None:
    book, keeper, row = one_aside(ledger)
    keeper.poisoned.clear()
    woken = keeper.woken
    set_aside.try_again(row, keeper.reader)
    assert keeper.posted() == [1, 3, 2]
    assert (keeper.woken, rows(book), position(book)) == (woken + 1, [(2, "again", 5)], 3)
    with pytest.raises(UserError, match="resolved already"):
        set_aside.try_again(row, keeper.reader)
    with pytest.raises(UserError, match="resolved already"):
        set_aside.dismiss(row, "for ever")
    assert keeper.posted() == [1, 3, 2]


def test_tried_again_in_vain_it_stays(ledger: Ledger) -> None:
    book, keeper, row = one_aside(ledger)
    keeper.raises = lambda: KeyError("another reason")
    with pytest.raises(UserError, match="it fails again: KeyError: 'another reason'"):
        set_aside.try_again(row, keeper.reader)
    row.refresh_from_db()
    assert (row.tries, row.how, row.resolved_at) == (TRIES_MAX + 1, "", None)
    assert row.reason.startswith("KeyError")
    assert keeper.posted() == [1, 3]
    assert position(book) == 3


def test_dismissed_it_is_never_handled(ledger: Ledger) -> None:
    book, keeper, row = one_aside(ledger)
    with pytest.raises(UserError, match="a note"):
        set_aside.dismiss(row, "  ")
    set_aside.dismiss(row, " a test's own ")
    row.refresh_from_db()
    assert (row.how, row.note, row.is_open) == ("dismissed", "a test's own", False)
    with pytest.raises(UserError, match="resolved already"):
        set_aside.try_again(row, keeper.reader)
    assert keeper.posted() == [1, 3]
    assert rows(book) == [(2, "dismissed", TRIES_MAX)]
