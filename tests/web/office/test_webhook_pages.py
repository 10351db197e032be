"""An agent's webhook on its page: for the owner alone, the secret shown once, all of it audited."""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from popolni.agents.models import Agent
from popolni.agents.roles import BACK_OFFICE
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.readers.webhooks.rules import signature
from popolni.readers.webhooks.service import open_secret, set_webhook
from tests.web.office.rooms import agent, browser, refused, sent, undone
from tests.web.office.support import client_as

URL = "https://example.com/popolni"


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def page_of(of: Agent, name: str = "webhook", *more: int) -> str:
    return reverse(f"admin:popolni_agent_{name}", args=(of.pk, *more))


def with_webhook(code: str = "w24") -> Webhook:
    of = agent(code)
    set_webhook(of, URL, is_on=True)
    return Webhook.objects.get(agent=of)


def delivery(of: Webhook, seq: int, **fields: Any) -> Delivery:
    return Delivery.objects.create(
        webhook=of, book=24_901, seq=seq, event="top_up.reversed", body="{}", **fields
    )


def secret_on(page: str) -> str:
    return page.partition('id="secret"')[2].partition(">")[2].partition("<")[0]


def text_of(client: Any, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())


def changes_of(row: Webhook | Delivery) -> list[dict[str, list[str]]]:
    entries = LogEntry.objects.get_for_object(row).order_by("pk")
    return [entry.changes for entry in entries]


def test_it_is_set_and_its_secret_is_shown_once() -> None:
    client, of = browser(), agent("w24")
    assert page_of(of) in text_of(client, reverse("admin:popolni_agent_change", args=(of.pk,)))
    response = client.post(page_of(of), {"url": URL, "is_on": "on"})
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    secret = secret_on(response.content.decode())
    webhook = Webhook.objects.get(agent=of)
    assert (webhook.url, webhook.is_on) == (URL, True)
    assert open_secret(of.pk, bytes(webhook.sealed)) == secret
    signed = hmac.new(secret.encode(), b"1.{}", hashlib.sha256).hexdigest()
    assert signature(secret, 1, "{}") == f"v1={signed}"
    page = text_of(client, page_of(of))
    assert (secret in page, f'value="{URL}"' in page) == (False, True)
    assert sent(client, page_of(of), {"url": f"{URL}/2"}) == page_of(of)
    webhook.refresh_from_db()
    assert (webhook.url, webhook.is_on) == (f"{URL}/2", False)
    assert open_secret(of.pk, bytes(webhook.sealed)) == secret
    trail = changes_of(webhook)
    assert trail[1]["url"] == [URL, f"{URL}/2"]
    assert trail[1].keys() == {"url", "on_since"}
    assert secret not in str(trail)
    assert "sealed" not in str(trail)


def test_a_new_secret_is_asked_for_and_shown_once() -> None:
    client, webhook = browser(), with_webhook()
    of, url = webhook.agent, page_of(webhook.agent, "webhook_secret")
    before = open_secret(of.pk, bytes(webhook.sealed))
    assert "Make a new secret?" in text_of(client, url)
    webhook.refresh_from_db()
    assert open_secret(of.pk, bytes(webhook.sealed)) == before
    response = client.post(url)
    secret = secret_on(response.content.decode())
    assert "no-store" in response.headers["Cache-Control"]
    webhook.refresh_from_db()
    assert open_secret(of.pk, bytes(webhook.sealed)) == secret != before
    assert secret not in text_of(client, page_of(of))
    assert [set(changes) for changes in changes_of(webhook)[1:]] == [{"secret_at"}]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "This field is required."),
        ("http://example.com/", "begins with https"),
        ("https://169.254.169.254/", "is in a private network"),
        ("nonsense", "not an address such as"),
    ],
)
@pytest.mark.usefixtures("no_demo")
def test_an_address_that_is_refused_is_not_set(typed: str, sentence: str) -> None:
    client, of = browser(), agent("w24")
    assert sentence in refused(client, page_of(of), {"url": typed, "is_on": "on"})
    assert not Webhook.objects.filter(agent=of).exists()


@pytest.fixture
def no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages are the demo's here, so that nobody needs a second factor; where to is not."""
    monkeypatch.setattr("popolni.readers.webhooks.service.read_allowed", lambda: ())


def test_the_list_says_what_became_of_each() -> None:
    client, webhook = browser(), with_webhook()
    delivery(webhook, 1, state="delivered", tries=2, status=204)
    delivery(webhook, 2, tries=1, status=500, answer="<b>no</b>")
    delivery(webhook, 3, state="given_up", tries=11, failure="time_out")
    page = text_of(client, page_of(webhook.agent))
    assert page.count("a top-up was reversed") == 3
    for text in ("24901-1", "204", "500, &lt;b&gt;no&lt;/b&gt;", "no answer in time", "given up"):
        assert text in page, text
    other = with_webhook("w24-other")
    assert "24901-" not in text_of(client, page_of(other.agent))


def test_the_list_is_paged() -> None:
    client, webhook = browser(), with_webhook()
    rows = [delivery(webhook, seq) for seq in range(1, 31)]
    page = text_of(client, page_of(webhook.agent))
    assert page.count("Send again") == 25
    older = f"?before={rows[5].pk}"
    assert older in page
    assert text_of(client, page_of(webhook.agent) + older).count("Send again") == 5


def test_one_is_sent_again() -> None:
    client, webhook = browser(), with_webhook()
    row = delivery(webhook, 1, state="given_up", tries=11, due_at=timezone.now())
    url = page_of(webhook.agent, "send_again", row.pk)
    assert client.get(url).status_code == 404
    assert sent(client, url, {}) == page_of(webhook.agent)
    before = row.due_at
    row.refresh_from_db()
    assert (row.state, row.tries, row.due_at > before) == ("waiting", 0, True)
    assert changes_of(row)[-1]["state"] == ["given_up", "waiting"]
    other = with_webhook("w24-other")
    assert client.post(page_of(other.agent, "send_again", row.pk)).status_code == 404


def test_a_test_event_is_sent() -> None:
    client, webhook = browser(), with_webhook()
    of, url = webhook.agent, page_of(webhook.agent, "webhook_ping")
    assert url in text_of(client, page_of(of))
    assert client.get(url).status_code == 404
    assert sent(client, url, {}) == page_of(of)
    (row,) = Delivery.objects.filter(webhook=webhook)
    page = text_of(client, page_of(of))
    assert f"{row.event_id}: it is being sent" in page
    assert "a test</td>" in page
    assert f"transfers/{row.book}-{row.seq}" not in page
    assert changes_of(row)[0]["state"] == ["None", "waiting"]
    set_webhook(of, URL, is_on=False)
    assert url not in text_of(client, page_of(of))
    sent(client, url, {})
    assert "the webhook is off" in text_of(client, page_of(of))
    assert client.post(page_of(agent("w24-none"), "webhook_ping")).status_code == 404


@pytest.mark.parametrize("role", sorted(BACK_OFFICE))
def test_it_is_the_owner_s_alone(role: str) -> None:
    webhook = with_webhook()
    row = delivery(webhook, 1)
    client, of = client_as(role), webhook.agent
    status = 200 if role == "owner" else 403
    assert client.get(page_of(of)).status_code == status
    assert client.get(page_of(of, "webhook_secret")).status_code == status
    assert (client.post(page_of(of, "webhook_ping")).status_code == 403) == (role != "owner")
    for url in (page_of(of), page_of(of, "webhook_secret"), page_of(of, "send_again", row.pk)):
        response = client.post(url, {"url": f"{URL}/3"})
        assert (response.status_code == 403) == (role != "owner"), url
    webhook.refresh_from_db()
    assert (webhook.url == f"{URL}/3") == (role == "owner")
    page = client.get(reverse("admin:popolni_agent_change", args=(of.pk,))).content.decode()
    assert (page_of(of) in page) == (role == "owner")


def test_the_page_makes_the_same_queries_with_one_row_and_with_three() -> None:
    client, webhook = browser(), with_webhook()
    text_of(client, page_of(webhook.agent))
    counts = []
    for seqs in ((1,), (2, 3)):
        for seq in seqs:
            delivery(webhook, seq)
        with CaptureQueriesContext(connection) as captured:
            text_of(client, page_of(webhook.agent))
        counts.append(len(captured))
    assert counts == [5, 5]
