"""Entries set aside: seen and decided by the owner alone, tried again or dismissed, all audited."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from auditlog.models import LogEntry as Trail
from django.urls import reverse

from popolni.agents.roles import BACK_OFFICE
from popolni.ledger.model import LogEntry
from popolni.readers import worker
from popolni.readers.frame import Reader
from popolni.readers.models import SetAside
from tests.web.office.rooms import (
    agent,
    branch,
    browser,
    contract,
    fund,
    operator,
    queries_of_lists,
    sent,
    undone,
)
from tests.web.office.support import client_as

LIST = "/admin/popolni/setaside/"
BOOK = 29_801


class Handler:
    """Of a reader that fails until it is mended."""

    def __init__(self) -> None:
        self.is_mended = False
        self.handled: list[int] = []

    def handle(self, _book: int, entries: Sequence[LogEntry]) -> None:
        if not self.is_mended:
            raise ValueError("no plan")
        self.handled += [entry.seq for entry in entries]


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The one reader that there is; its log has three entries."""
    made = Handler()
    monkeypatch.setattr(worker, "READERS", (Reader("test", made.handle),))
    fund(contract(agent("aside"), branch(operator("aside"), "aside", BOOK)), 12_345, times=3)
    return made


def aside(seq: int = 1, **fields: Any) -> SetAside:
    usual = {"reader": "test", "book": BOOK, "seq": seq, "reason": "ValueError: x", "tries": 5}
    return SetAside.objects.create(**usual | fields)


def page_of(row: SetAside) -> str:
    return reverse("admin:popolni_setaside_change", args=(row.pk,))


def address(row: SetAside, name: str) -> str:
    return reverse(f"admin:setaside_{name}", args=(row.pk,))


def text_of(client: Any, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


def test_the_list_and_the_page_say_what_it_is_and_why(handler: Handler) -> None:
    del handler
    client, row = browser(), aside(2, reason="ValueError: <no> plan (bonus.py:7)")
    other = aside(1, reader="gone", how="dismissed", note="known")
    listed = text_of(client, LIST)
    for text in (f"{BOOK}-2", f"{BOOK}-1", "ValueError: &lt;no&gt; plan (bonus.py:7)", "gone"):
        assert text in listed, text
    assert "gone" not in text_of(client, f"{LIST}?state=open").partition("result_list")[2]
    shown = text_of(client, page_of(row))
    for text in (
        "Funding of a float",
        "123.45",
        "Agent aside",
        "Try again",
        "Dismiss",
        "bonus.py:7",
    ):
        assert text in shown, text
    assert "known" in text_of(client, page_of(other))


def test_tried_again_it_is_handled_or_says_why_not(handler: Handler) -> None:
    client, row = browser(), aside(2)
    assert sent(client, address(row, "again"), {}) == page_of(row)
    assert "it fails again: ValueError: no plan" in text_of(client, page_of(row))
    row.refresh_from_db()
    assert (row.is_open, row.tries) == (True, 6)
    handler.is_mended = True
    sent(client, address(row, "again"), {})
    assert "It is handled." in text_of(client, page_of(row))
    assert handler.handled == [2]
    row.refresh_from_db()
    assert row.how == "again"
    changes = [set(entry.changes) for entry in Trail.objects.get_for_object(row).order_by("pk")]
    assert changes[1:] == [{"tries", "reason"}, {"how", "resolved_at"}]
    assert "Try again</button>" not in text_of(client, page_of(row))
    sent(client, address(row, "again"), {})
    assert "resolved already" in text_of(client, page_of(row))
    assert handler.handled == [2]


def test_dismissed_with_a_note(handler: Handler) -> None:
    client, row = browser(), aside(3)
    sent(client, address(row, "dismiss"), {"note": " "})
    assert "says why" in text_of(client, page_of(row))
    sent(client, address(row, "dismiss"), {"note": "a test's own"})
    row.refresh_from_db()
    assert (row.how, row.note, handler.handled) == ("dismissed", "a test's own", [])
    (changes,) = [entry.changes for entry in Trail.objects.get_for_object(row)[:1]]
    assert changes["note"] == ["", "a test's own"]


def test_one_of_a_reader_that_is_no_more_can_only_be_dismissed(handler: Handler) -> None:
    del handler
    client, row = browser(), aside(1, reader="gone")
    sent(client, address(row, "again"), {})
    assert "it can only be dismissed" in text_of(client, page_of(row))


def test_many_are_tried_again_at_once(handler: Handler) -> None:
    client = browser()
    rows = [aside(1), aside(2), aside(3, reader="gone")]
    chosen = {"action": "try_chosen_again", "_selected_action": [row.pk for row in rows]}
    handler.is_mended = True
    shown = client.post(LIST, chosen, follow=True).content.decode()
    assert "2 entries were handled." in shown
    assert "1 entry fails again." in shown
    assert handler.handled == [1, 2]
    client.post(LIST, chosen)
    assert handler.handled == [1, 2]


@pytest.mark.parametrize("role", sorted(BACK_OFFICE))
def test_it_is_the_owner_s_alone(handler: Handler, role: str) -> None:
    client, row = client_as(role), aside(1)
    is_owner = role == "owner"
    for url in (LIST, page_of(row)):
        assert client.get(url).status_code == (200 if is_owner else 403), url
    for name in ("again", "dismiss"):
        assert (client.post(address(row, name)).status_code == 403) is not is_owner
        assert client.get(address(row, name)).status_code == 405
    assert ("set aside: somebody" in text_of(client, "/admin/")) is is_owner
    assert handler.handled == []


def test_who_may_only_look_has_no_buttons(handler: Handler) -> None:
    del handler
    client, row = browser("view_setaside"), aside(1)
    shown = text_of(client, page_of(row))
    assert "ValueError" in shown
    assert address(row, "again") not in shown
    assert "Try again" not in text_of(client, LIST)
    chosen = {"action": "try_chosen_again", "_selected_action": [row.pk]}
    client.post(LIST, chosen)
    row.refresh_from_db()
    assert row.tries == 5


def test_the_dashboard_says_when_there_are_any(handler: Handler) -> None:
    del handler
    client = browser()
    assert "set aside: somebody" not in text_of(client, "/admin/")
    row = aside(1)
    shown = text_of(client, "/admin/")
    assert "1 entry of the log was set aside: somebody has to decide." in shown
    assert 'href="/admin/popolni/setaside/?state=open"' in shown
    SetAside.objects.filter(pk=row.pk).update(resolved_at="2026-01-01T00:00:00Z", how="again")
    assert "set aside: somebody" not in text_of(client, "/admin/")


def test_the_list_makes_the_same_queries_with_one_row_and_with_three(handler: Handler) -> None:
    del handler
    ((one, three),) = queries_of_lists(browser(), [LIST], lambda n: aside(n + 1))
    assert one == three
