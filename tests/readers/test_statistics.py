"""Top-ups by hour: exactly those of the log, through crashes and with many workers."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest
from django.db import connection

from popolni.core.channel import Channel
from popolni.ledger import statements
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from popolni.readers import statistics
from popolni.readers.frame import read_all, step
from popolni.readers.models import TopUpHour
from popolni.readers.statistics import READER, by_hour
from tests.ledger.support import Ledger, tid

_books = count(23_000)
NUMBER = 79_240_000_000
FLOATS = [Kind.AGENT_FLOAT.account(agent) for agent in (1, 2)]
CLEARING = Kind.PAYMENT_CLEARING.account(1)
MONEY = Kind.SUBSCRIBER_MONEY.account(NUMBER)
PENDING, POST, VOID = (
    TransferFlags.PENDING,
    TransferFlags.POST_PENDING,
    TransferFlags.VOID_PENDING,
)
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(session_connection: psycopg.Connection) -> Ledger:
    return Ledger(session_connection)


def new_book(ledger: Ledger) -> int:
    book = next(_books)
    ledger.run(statements.open_book(book, "RUB"))
    ledger.run(statements.open_accounts(book, [*FLOATS, CLEARING, MONEY]))
    funding = [
        Transfer(tid(book, "funding", to.id), CLEARING.id, to.id, 10**12, Code.FLOAT_FUNDING)
        for to in FLOATS
    ]
    ledger.post(book, *funding, at=NOON)
    return book


def rows(book: int) -> set[tuple[object, ...]]:
    found = TopUpHour.objects.filter(book=book)
    listed = list(found.values_list("hour", "channel", "payer", "top_ups", "amount_minor"))
    assert len(set(listed)) == len(listed)
    return set(listed)


def work_off(book: int, limit: int) -> int:
    return read_all(READER, book, limit)


def fill(ledger: Ledger, book: int, seed: int, transfers: int = 200) -> None:
    """Top-ups of every kind over some hours: plain, pending, posted in part, voided, let be."""
    choose = random.Random(seed)  # noqa: S311  # a test's, to be repeated
    at = NOON
    pending: list[bytes] = []
    codes = [code for code in Code if code >= 11]
    for n in range(transfers):
        at += timedelta(seconds=choose.randrange(600))
        payer = choose.choice(FLOATS).id
        amount = choose.randrange(100, 1000)
        if pending and choose.random() < 0.3:
            which = pending.pop(choose.randrange(len(pending)))
            done = choose.choice([POST, POST, VOID])
            some = choose.randrange(0, 50) if done is POST else 0
            ledger.post(book, Transfer(tid(book, n), 0, 0, some, 0, done, 0, which), at=at)
        elif choose.random() < 0.3:
            code = choose.choice(codes)
            ledger.post(book, Transfer(tid(book, n), payer, MONEY.id, amount, code, PENDING), at=at)
            pending.append(tid(book, n))
        else:
            code = choose.choice(codes)
            ledger.post(book, Transfer(tid(book, n), payer, MONEY.id, amount, code), at=at)


def expected(ledger: Ledger, book: int) -> set[tuple[object, ...]]:
    """Summed entry by entry, by the names that the codes have."""
    top_ups: Counter[tuple[object, ...]] = Counter()
    sums: Counter[tuple[object, ...]] = Counter()
    for entry in ledger.log(book):
        if 11 <= entry.code <= 16 and entry.flags in (0, 1, 4):
            channel = Code(entry.code).name.removeprefix("TOP_UP_").lower()
            text = entry.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:00:00+00:00")
            key = (datetime.fromisoformat(text), channel, entry.debit_account)
            top_ups[key] += 1
            sums[key] += entry.amount
    return {(*key, top_ups[key], sums[key]) for key in top_ups}


def entry(code: int, flags: int = 0, at: datetime = NOON, amount: int = 5) -> LogEntry:
    return LogEntry(1, b"", 201, 101, amount, at, code, flags, None, None, None, None, None)


@pytest.mark.parametrize(
    ("code", "channel"),
    [
        (11, Channel.COUNTER),
        (12, Channel.WEB),
        (13, Channel.TILL),
        (14, Channel.KIOSK),
        (15, Channel.OSMP),
        (16, Channel.API),
    ],
)
def test_a_top_ups_code_is_its_channel(code: int, channel: Channel) -> None:
    assert by_hour([entry(code)]) == {(NOON, channel, 201): (1, 5)}


@pytest.mark.parametrize("code", [0, 2, 3, 4, 6, 10, 17, 21, 22, 25])
def test_nothing_else_counts(code: int) -> None:
    assert by_hour([entry(code)]) == {}


@pytest.mark.parametrize(
    ("flags", "counts"), [(0, 1), (1, 1), (2, 0), (3, 0), (4, 1), (5, 1), (8, 0), (9, 0)]
)
def test_a_pending_one_counts_when_it_is_posted(flags: int, counts: int) -> None:
    assert len(by_hour([entry(15, flags)])) == counts


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        ("2026-03-01T12:00:00+00:00", 12),
        ("2026-03-01T12:59:59.999999+00:00", 12),
        ("2026-03-01T13:00:00+00:00", 13),
        ("2026-03-01T15:30:00+03:00", 12),
        ("2026-03-01T18:00:00+05:45", 12),
    ],
)
def test_hours_are_those_of_utc(at: str, hour: int) -> None:
    moment = datetime.fromisoformat(at)
    assert by_hour([entry(15, at=moment)]) == {(NOON.replace(hour=hour), Channel.OSMP, 201): (1, 5)}


@pytest.mark.parametrize("limit", [1, 7, 1_000])
def test_the_hours_are_the_logs(ledger: Ledger, limit: int) -> None:
    book = new_book(ledger)
    assert work_off(book, limit) == 2
    assert rows(book) == set()
    fill(ledger, book, seed=limit)
    assert work_off(book, limit) == len(ledger.log(book)) - 2
    assert rows(book) == expected(ledger, book) != set()
    assert step(READER, book, limit) == 0


def test_a_crash_counts_nothing_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    book = new_book(ledger)
    fill(ledger, book, seed=1, transfers=60)
    add = statistics._add

    def add_and_die(book: int, hours: statistics.Hours) -> None:
        add(book, hours)
        pid = connection.connection.info.backend_pid
        ledger.connection.execute("select pg_terminate_backend(%s, 5000)", (pid,))

    step(READER, book, 20)
    before = rows(book)
    with monkeypatch.context() as patch, pytest.raises(Exception, match=r"terminat|closed|lost"):
        patch.setattr(statistics, "_add", add_and_die)
        step(READER, book, 20)
    connection.close()
    assert rows(book) == before
    work_off(book, 20)
    assert rows(book) == expected(ledger, book)


def test_workers_at_once_count_each_entry_once(ledger: Ledger) -> None:
    book = new_book(ledger)
    fill(ledger, book, seed=2)
    entries = len(ledger.log(book))

    def work() -> int:
        try:
            read = 0
            while TopUpHour.objects.filter(book=book).count() < 1 or _position(book) < entries:
                read += step(READER, book, 3)
            return read
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        reads = list(pool.map(lambda _: work(), range(3)))
    assert sum(reads) == entries
    assert rows(book) == expected(ledger, book)


def _position(book: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("select seq from ledger.position where book = %s", (book,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0
