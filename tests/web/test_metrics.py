"""What /metrics of the pages says, and to whom."""

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def client() -> Client:
    return Client(SERVER_NAME="127.0.0.1")


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
    ("address", "setting", "status"),
    [
        ("127.0.0.1", "", 200),
        ("203.0.113.7", "", 404),
        ("203.0.113.7", "203.0.113.0/24", 200),
        ("127.0.0.1", "203.0.113.0/24", 404),
    ],
)
def test_to_whom(
    address: str, setting: str, status: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POPOLNI_METRICS_FROM", setting)
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status
