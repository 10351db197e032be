"""What came of each sending is a line, with nothing in it that is anybody's, and is counted."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from popolni.agents.networks import Network
from popolni.core.errors import UserError
from popolni.readers.webhooks import told
from popolni.readers.webhooks.models import Delivery
from popolni.readers.webhooks.rules import TRIES_MAX
from popolni.readers.webhooks.service import send_ping, set_webhook
from popolni.readers.webhooks.told import Outcome
from tests.ledger.support import Ledger
from tests.readers.webhooks.support import (
    NUMBER,
    Endpoint,
    Shop,
    late,
    sender,
    wait_for,
    with_status,
)
from tests.readers.webhooks.test_sending import is_signed
from tests.web.test_metrics import figure

Allowed = tuple[Network, ...]


def outcomes() -> dict[str, int]:
    return {outcome.value: total.sendings for outcome, total in told.totals().items()}


def heard(capfd: pytest.CaptureFixture[str], said: list[str]) -> bool:
    """Adds what was written; whether there is anything."""
    said += capfd.readouterr().err.splitlines()
    return bool(said)


@pytest.mark.parametrize(
    ("answer", "tries", "outcome", "status"),
    [
        (with_status(204), 0, Outcome.DELIVERED, 204),
        (with_status(500, "private"), 0, Outcome.FAILED, 500),
        (with_status(404), TRIES_MAX - 1, Outcome.GIVEN_UP, 404),
    ],
)
def test_a_line_and_a_count(  # noqa: PLR0917
    ledger: Ledger,
    there: Endpoint,
    allowed: Allowed,
    answer: Callable[[Any], None],
    tries: int,
    outcome: Outcome,
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shop = Shop(ledger, there.url)
    delivery = shop.reversed_top_up()
    Delivery.objects.filter(pk=delivery.pk).update(tries=tries)
    there.answers.append(answer)
    before, said = outcomes(), list[str]()
    with sender(allowed):
        wait_for(lambda: heard(capfd, said))
    (line,) = [json.loads(text) for text in said]
    assert line.pop("ms") >= 0
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "event": "webhook",
        "id": delivery.event_id,
        "what": "top_up.reversed",
        "agent": shop.agent.pk,
        "try": tries + 1,
        "outcome": outcome.value,
        "status": status,
        "failure": None,
    }
    for secret in (str(NUMBER), shop.secret or "?", "hooks?of", "private"):
        assert secret not in said[0], secret
    assert outcomes() == before | {outcome.value: before[outcome.value] + 1}


def test_the_figures_are_told(ledger: Ledger, there: Endpoint, allowed: Allowed) -> None:
    shop, off = Shop(ledger, there.url), Shop(ledger, there.url)
    shop.reversed_top_up()
    off.reversed_top_up()
    set_webhook(off.agent, there.url, is_on=False)
    client = Client(SERVER_NAME="127.0.0.1")

    def figures() -> list[float]:
        text = client.get("/metrics").content.decode()
        return [
            figure(text, f"popolni_webhook_{name}")
            for name in (
                "waiting",
                'sendings_total{outcome="delivered"}',
                'seconds_count{outcome="delivered"}',
            )
        ]

    one, delivered, timed = figures()
    assert one == 1
    with sender(allowed):
        wait_for(lambda: figures()[0] == 0)
    wait_for(lambda: figures() == [0, delivered + 1, timed + 1])
    assert told.totals()[Outcome.DELIVERED].seconds > 0
    assert told.waiting() == (0, 0.0)


def test_a_test_event_is_sent_as_any_other(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    shop = Shop(ledger, there.url)
    rows = [send_ping(shop.webhook), send_ping(shop.webhook)]
    assert rows[0].event_id != rows[1].event_id
    with sender(allowed):
        wait_for(lambda: len(there.arrived) == 2)
        wait_for(lambda: not Delivery.objects.exclude(state="delivered").exists())
    for row, request in zip(rows, sorted(there.arrived, key=lambda one: one.body), strict=True):
        assert is_signed(request, shop.secret)
        body = json.loads(request.body)
        assert body.pop("at").endswith("Z")
        assert body == {"id": row.event_id, "event": "ping"}
        assert request.headers["Popolni-Event-Id"] == row.event_id


def test_while_it_is_off_there_is_no_test(ledger: Ledger) -> None:
    shop = Shop(ledger, "https://example.com/", is_on=False)
    with pytest.raises(UserError, match="is off"):
        send_ping(shop.webhook)


def test_a_failure_without_an_answer_is_named(
    ledger: Ledger, there: Endpoint, allowed: Allowed, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("popolni.readers.webhooks.sending.TIMEOUT_S", 0.2)
    Shop(ledger, there.url).reversed_top_up()
    there.answers.append(late(1.0))
    said: list[str] = []
    with sender(allowed):
        wait_for(lambda: heard(capfd, said))
    line = json.loads(said[0])
    assert (line["status"], line["failure"], line["outcome"]) == (None, "time_out", "failed")
