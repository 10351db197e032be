"""The secret is shown once and sealed; keys rotate under it."""

import pytest
from django.db import connection

from popolni.agents.models import Agent
from popolni.readers.webhooks.models import Webhook
from popolni.readers.webhooks.service import new_secret, open_secret, reseal, set_webhook
from popolni.subscribers import sealing
from tests.subscribers.test_sealing import NEW, OLD

URL = "https://example.com/"


@pytest.fixture
def agent() -> Agent:
    return Agent.objects.create(code=f"sealed-{Agent.objects.count()}", name="A")


def stored(webhook: Webhook) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(
            "select popolni_webhook::text from popolni_webhook where id = %s", (webhook.pk,)
        )
        ((text,),) = cursor.fetchall()
    return str(text).encode()


def test_the_secret_is_told_once_and_lies_sealed(agent: Agent) -> None:
    secret = set_webhook(agent, URL, is_on=True)
    webhook = Webhook.objects.get(agent=agent)
    assert secret is not None
    assert len(secret) >= 43
    assert secret.encode() not in stored(webhook)
    assert secret.encode().hex().encode() not in stored(webhook)
    assert open_secret(agent.pk, bytes(webhook.sealed)) == secret
    assert set_webhook(agent, f"{URL}2", is_on=False) is None
    webhook.refresh_from_db()
    assert (webhook.url, webhook.is_on) == (f"{URL}2", False)
    assert open_secret(agent.pk, bytes(webhook.sealed)) == secret
    another = new_secret(webhook)
    assert another != secret
    webhook.refresh_from_db()
    assert open_secret(agent.pk, bytes(webhook.sealed)) == another


def test_another_agent_s_secret_does_not_sign(agent: Agent) -> None:
    set_webhook(agent, URL, is_on=True)
    sealed = bytes(Webhook.objects.get(agent=agent).sealed)
    with pytest.raises(sealing.SealingError, match="not the secret of agent"):
        open_secret(agent.pk + 1, sealed)


def test_keys_rotate(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sealing.VARIABLE, f"old:{OLD}")
    secret = set_webhook(agent, URL, is_on=True)
    monkeypatch.setenv(sealing.VARIABLE, f"new:{NEW},old:{OLD}")
    seen: list[tuple[int, int]] = []
    assert reseal(lambda done, total: seen.append((done, total))) == (1, 0)
    assert seen == [(1, 1)]
    assert reseal() == (0, 0)
    monkeypatch.setenv(sealing.VARIABLE, f"new:{NEW}")
    assert open_secret(agent.pk, bytes(Webhook.objects.get(agent=agent).sealed)) == secret
    monkeypatch.setenv(sealing.VARIABLE, f"old:{OLD}")
    assert reseal() == (0, 1)
