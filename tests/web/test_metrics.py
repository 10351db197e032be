"""What /metrics of the pages says, and to whom."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from django.test import Client

from popolni.catalog.operators.models import ComplianceProfile, Operator
from popolni.readers import set_aside
from popolni.readers.frame import read_all
from popolni.readers.models import SetAside
from popolni.readers.statistics import READER
from tests.ledger.support import Ledger
from tests.readers.test_statistics import new_book

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def client() -> Iterator[Client]:
    yield Client(SERVER_NAME="127.0.0.1")
    SetAside.objects.all().delete()


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


def test_requests_are_counted_by_page_and_status(client: Client) -> None:
    name = 'popolni_web_requests_total{page="popolni.web.health.healthz",status="200"}'
    before = figure(client.get("/metrics").content.decode(), name)
    client.get("/healthz")
    client.get("/nothing")
    text = client.get("/metrics").content.decode()
    assert figure(text, name) == before + 1
    assert figure(text, 'popolni_web_requests_total{page="none",status="404"}') >= 1
    assert re.search(r"^popolni_adjustments_waiting \d", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("address", "setting", "headers", "status"),
    [
        ("127.0.0.1", "", {}, 200),
        ("203.0.113.7", "", {}, 404),
        ("203.0.113.7", "203.0.113.0/24", {}, 200),
        ("127.0.0.1", "203.0.113.0/24", {}, 404),
        # by a proxy that nobody has told us of
        ("127.0.0.1", "", {"X-Forwarded-For": "127.0.0.1"}, 404),
        ("127.0.0.1", "", {"Via": "1.1 nginx"}, 404),
    ],
)
def test_to_whom(  # noqa: PLR0917  # a case
    address: str,
    setting: str,
    headers: dict[str, str],
    status: int,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POPOLNI_METRICS_FROM", setting)
    assert client.get("/metrics", headers=headers, REMOTE_ADDR=address).status_code == status


@pytest.mark.parametrize(
    ("setting", "sent", "status"),
    [
        ("", "Bearer of-a-prometheus-server", 200),
        ("", "Bearer of-a-prometheus-servel", 404),
        ("", "", 404),
        ("203.0.113.0/24", "Bearer of-a-prometheus-server", 404),
    ],
)
def test_with_a_token(
    setting: str, sent: str, status: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From anywhere, unless it is said from where."""
    monkeypatch.setenv("POPOLNI_METRICS_TOKEN", "of-a-prometheus-server")
    monkeypatch.setenv("POPOLNI_METRICS_FROM", setting)
    answer = client.get("/metrics", headers={"Authorization": sent}, REMOTE_ADDR="198.51.100.7")
    assert answer.status_code == status


def test_how_far_behind_each_reader_is(
    client: Client, session_connection: psycopg.Connection
) -> None:
    book = new_branch_book(Ledger(session_connection))
    session_connection.execute("insert into ledger.position values (%s, 'gone', 0)", (book,))
    SetAside.objects.create(reader="statistics", book=book, seq=1, reason="x", tries=5)
    text = client.get("/metrics").content.decode()
    label = f'book="{book}",reader="statistics"'
    assert figure(text, f"popolni_reader_lag_entries{{{label}}}") == 2
    assert figure(text, f"popolni_reader_lag_seconds{{{label}}}") > 3_600
    assert figure(text, 'popolni_reader_set_aside{reader="statistics"}') == 1
    assert figure(text, 'popolni_reader_set_aside{reader="webhooks"}') == 0
    assert "gone" not in text
    read_all(READER, book)
    set_aside.dismiss(SetAside.objects.get(book=book), "a test's")
    text = client.get("/metrics").content.decode()
    assert f"popolni_reader_lag_entries{{{label}}} 0.0" in text
    assert f"popolni_reader_lag_seconds{{{label}}} 0.0" in text
    assert 'popolni_reader_set_aside{reader="statistics"} 0.0' in text


def new_branch_book(ledger: Ledger) -> int:
    """With two entries, of a day long ago."""
    book = new_book(ledger)
    profile, _new = ComplianceProfile.objects.get_or_create(
        name="metrics", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    operator, _new = Operator.objects.get_or_create(
        code="metrics",
        defaults={
            "name_ru": "М", "name_en": "M", "name_zh": "M", "colour": "#112233", "mnc": "957",
            "balance_ussd": "*100#", "profile": profile,
        },
    )  # fmt: skip
    operator.branches.create(code=f"m{book}", book=book, name_ru="М", name_en="M", name_zh="M")
    return book
