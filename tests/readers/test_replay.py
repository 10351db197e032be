"""Every reader, read again from zero, leaves all tables as they were."""

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from django.db import connection

from popolni.catalog.operators.models import ComplianceProfile, Operator
from popolni.ledger.model import LogEntry
from popolni.readers import frame, set_aside
from popolni.readers.frame import Reader, Turns, read_all
from popolni.readers.lag import lags
from popolni.readers.models import SetAside
from popolni.readers.replay import replay, set_back
from popolni.readers.worker import READERS
from tests.ledger.support import Ledger
from tests.readers.test_statistics import fill, new_book
from tests.readers.webhooks.support import Shop

Tables = dict[str, list[str]]

_TABLES = """
    select quote_ident(table_schema) || '.' || quote_ident(table_name)
    from information_schema.tables
    where table_type = 'BASE TABLE'
        and (table_schema, table_name) <> ('ledger', 'position')
        and (table_schema = 'ledger' or table_name like 'popolni%%')
    order by 1
"""


@pytest.fixture(scope="module")
def ledger(url: str) -> Iterator[Ledger]:
    with psycopg.connect(url, autocommit=True) as own:
        yield Ledger(own)


@pytest.fixture(scope="module")
def books(ledger: Ledger) -> list[int]:
    """Branches' books with top-ups of every kind, and a webhook; all read to the end."""
    profile = ComplianceProfile.objects.create(name="R", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        code="r", mnc="238", colour="#000000", balance_ussd="*1#", profile=profile,
        name_ru="Р", name_en="R", name_zh="R",
    )  # fmt: skip
    shop = Shop(ledger, "https://example.com/popolni")
    for _ in range(5):
        shop.reverse(shop.top_up())
    made = [shop.book, new_book(ledger), new_book(ledger)]
    for book in made:
        operator.branches.create(code=f"r{book}", book=book, name_ru="Р", name_en="R", name_zh="R")
    for book in made[1:]:
        fill(ledger, book, seed=book, transfers=120)
    for reader in READERS:
        for book in made:
            read_all(reader, book)
    return made


def tables() -> Tables:
    """All rows of all tables, but for their keys and the readers' positions."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        found: Tables = {}
        for (name,) in cursor.fetchall():
            cursor.execute(f"select (to_jsonb(t) - 'id')::text as row from {name} as t order by 1")  # noqa: S608  # the catalogue's names
            found[name] = [row for (row,) in cursor.fetchall()]
    return found


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_on_a_copy_it_changes_nothing(reader: Reader, books: list[int]) -> None:
    before = tables()
    assert before["public.popolni_topuphour"]
    assert len(before["public.popolni_delivery"]) == 5
    asked: list[tuple[int, int]] = []
    entries = sum(lag.last_seq for lag in lags([reader.name]))
    assert replay(reader, lambda done, total: asked.append((done, total))) == entries > 0
    assert tables() == before
    assert (asked[0], asked[-1]) == ((0, entries), (entries, entries))
    assert {lag.book: lag.entries for lag in lags([reader.name])} == dict.fromkeys(books, 0)


def test_what_is_set_back_is_read_by_whoever_comes(books: list[int]) -> None:
    before, (statistics,) = tables(), [each for each in READERS if each.name == "statistics"]
    set_back(statistics, books[1])
    assert tables() != before
    assert Turns().take(statistics, books[1]) > 0
    assert tables() == before


def test_what_was_set_aside_stays_so(books: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "PAUSE_FIRST_S", 0.0)
    book, handled, bad = books[0], list[int](), {2, 4, 6}

    def handle(of: int, entries: Sequence[LogEntry]) -> None:
        if of == book and bad & {entry.seq for entry in entries}:
            raise ValueError
        handled.extend(entry.seq for entry in entries if of == book)

    reader = Reader("aside", handle, forget=lambda of: handled.clear() if of == book else None)
    replay(reader)
    again, dismissed, open_ = SetAside.objects.filter(reader="aside").order_by("seq")
    bad.clear()
    set_aside.try_again(again, reader)
    set_aside.dismiss(dismissed, "never")
    before = sorted(handled)
    replay(reader)
    assert handled == before == [seq for seq in range(1, 12) if seq not in (4, 6)]
    open_.refresh_from_db()
    assert open_.is_open


def test_one_that_went_well_and_fails_now_is_set_aside_anew(
    books: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "PAUSE_FIRST_S", 0.0)
    book, bad = books[0], {3}

    def handle(of: int, entries: Sequence[LogEntry]) -> None:
        if of == book and bad & {entry.seq for entry in entries}:
            raise ValueError

    reader = Reader("anew", handle)
    replay(reader)
    row = SetAside.objects.get(reader="anew")
    bad.clear()
    set_aside.try_again(row, reader)
    bad.add(3)
    replay(reader)
    row.refresh_from_db()
    assert (row.is_open, row.how) == (True, "")
