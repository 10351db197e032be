"""`popolni readers`: where they are, and from zero again."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from popolni.catalog.operators.models import ComplianceProfile, Operator
from popolni.cli import main
from popolni.ledger.client import run as ask
from popolni.ledger.model import LogEntry, Transfer, Unit
from popolni.ledger.statements import open_accounts, open_book, post
from popolni.readers import worker
from popolni.readers.frame import Reader, step
from popolni.readers.models import SetAside
from tests.ledger.support import NONE, tid

Capture = pytest.CaptureFixture[str]
BOOK = 29_700


@pytest.fixture(scope="module")
def book(url: str) -> int:
    del url
    profile = ComplianceProfile.objects.create(name="C", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        code="c", mnc="237", colour="#000000", balance_ussd="*1#", profile=profile,
        name_ru="С", name_en="C", name_zh="C",
    )  # fmt: skip
    operator.branches.create(code="c", book=BOOK, name_ru="С", name_en="C", name_zh="C")
    ask(open_book(BOOK, "RUB"))
    ask(open_accounts(BOOK, [(id_, Unit.MONEY, 1, NONE) for id_ in (1, 2)]))
    ask(post(BOOK, [Transfer(tid(BOOK, n), 1, 2, n, 1) for n in range(1, 6)]))
    return BOOK


class Seen(list[int]):
    """What a reader was given."""

    def handle(self, _book: int, entries: Sequence[LogEntry]) -> None:
        self.extend(entry.seq for entry in entries)


@pytest.fixture
def seen(book: int, url: str, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Of a reader that has read all of the book's entries."""
    assert book == BOOK
    SetAside.objects.all().delete()
    found = Seen()
    reader = Reader("seen", found.handle, forget=lambda _book: found.clear())
    monkeypatch.setattr(worker, "READERS", (reader, Reader("idle", found.handle)))
    parts = conninfo_to_dict(url)
    address = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", address)
    main(["readers", "replay", "seen", "--yes"])
    found.clear()
    return found


def listed(capsys: Capture) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["readers", "--json"]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_they_are_listed(seen: Seen, book: int, capsys: Capture) -> None:
    del seen
    SetAside.objects.create(reader="seen", book=book, seq=1, reason="x", tries=5)
    SetAside.objects.create(reader="gone", book=book, seq=1, reason="x", tries=5)
    read, idle = listed(capsys)
    assert read == {
        "reader": "seen", "book": book, "position": 5,
        "lag_entries": 0, "lag_seconds": None, "set_aside": 1,
    }  # fmt: skip
    assert isinstance(idle.pop("lag_seconds"), float)
    assert idle == {
        "reader": "idle", "book": book, "position": 0, "lag_entries": 5, "set_aside": 0
    }  # fmt: skip
    assert main(["readers"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["READER", "BOOK", "POSITION", "BEHIND", "BY", "SET", "ASIDE"]
    assert first.split() == ["seen", str(book), "5", "0", "1"]
    assert second.split()[:6] == ["idle", str(book), "0", "5", "0", "for"]


def test_one_that_was_removed_is_named(
    seen: Seen, book: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "READERS", (Reader("idle", seen.handle),))
    step(worker.READERS[0], book)
    assert main(["readers"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("positions are kept: seen")
    assert main(["readers", "replay", "seen", "--yes"]) == 2
    assert "there is no reader 'seen'; there are: idle" in capsys.readouterr().err


def test_from_zero_again(seen: Seen, capsys: Capture) -> None:
    assert main(["readers", "replay", "seen", "--yes"]) == 0
    assert seen == [1, 2, 3, 4, 5]
    assert "seen: read again from zero, 5 entries" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "is_done"), [("y", True), ("n", False), ("", False)])
def test_it_asks(seen: Seen, typed: str, *, is_done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _question: typed)
    assert main(["readers", "replay", "seen"]) == (0 if is_done else 2)
    assert bool(seen) is is_done


def test_with_nobody_to_ask_nothing_is_done(
    seen: Seen, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["readers", "replay", "seen"]) == 2
    assert "--yes says that it is meant" in capsys.readouterr().err
    assert seen == []


@pytest.mark.parametrize(
    "words",
    [
        ["readers", "--data", "{}"],
        ["readers", "--data", "{}", "--json"],
        ["readers", "--data", "{}", "replay", "seen"],
        ["readers", "replay", "seen", "--data", "{}"],
        ["readers", "replay", "--data", "{}", "seen", "--yes"],
    ],
)
def test_the_folder_may_be_named_before_and_behind(
    words: list[str], tmp_path: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POPOLNI_DATABASE_URL", raising=False)
    assert main([word.format(tmp_path) for word in words]) == 2
    assert f"there is no ledger in {tmp_path} yet" in capsys.readouterr().err
