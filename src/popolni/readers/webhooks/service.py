"""An agent's webhook is set, its secret made and sealed, a delivery sent again."""

import json
import secrets
from collections.abc import Callable

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.models import Agent
from popolni.core.errors import UserError
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.readers.webhooks.rules import PING_BOOK, Event, ping_body
from popolni.readers.webhooks.targets import check_url, read_allowed
from popolni.subscribers import sealing
from popolni.subscribers.documents import Resealed

SECRET_BYTES = 32


def set_webhook(agent: Agent, url: str, *, is_on: bool) -> str | None:
    """Where the agent is told from now on, or that it is not. The secret, if it has none yet.

    Raises UserError if nothing could be sent there, or if there is no key to seal with.
    """
    url = check_url(url, read_allowed())
    now = timezone.now()
    with transaction.atomic():
        Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)  # two may make the first
        webhook = Webhook.objects.filter(agent=agent).first()
        secret = None
        if webhook is None:
            webhook = Webhook(agent=agent)
            secret = _seal_new(webhook)
        webhook.url = url
        webhook.on_since = (webhook.on_since or now) if is_on else None
        webhook.save()
    return secret


def new_secret(webhook: Webhook) -> str:
    """Makes another one; what is sent from now on is signed with it. UserError without a key."""
    secret = _seal_new(webhook)
    webhook.save(update_fields=["sealed", "secret_at"])
    return secret


def open_secret(agent_id: int, sealed: bytes) -> str:
    """The secret. SealingError if no key opens it, or it is another agent's."""
    kept = json.loads(sealing.open_sealed(sealed))
    # What someone copied from another row opens as well, but does not sign for this agent.
    if kept["agent"] != agent_id:
        raise sealing.SealingError(f"what is sealed is not the secret of agent {agent_id}")
    return str(kept["secret"])


def send_again(delivery: Delivery) -> None:
    """Has it sent now, and as often as a new one, whatever became of it before."""
    with transaction.atomic():
        row = Delivery.objects.select_for_update().get(pk=delivery.pk)
        row.state, row.due_at, row.tries = Delivery.State.WAITING, timezone.now(), 0
        row.save(update_fields=["state", "due_at", "tries"])  # so the audit trail hears of it


def send_ping(webhook: Webhook) -> Delivery:
    """Has a test sent to it, as any event is. Raises UserError if the webhook is off."""
    if not webhook.is_on:
        raise UserError(_("the webhook is off: nothing is sent"))
    now = timezone.now()
    seq = int(now.timestamp() * 1_000_000)  # no other of them has it
    return Delivery.objects.create(
        webhook=webhook,
        book=PING_BOOK,
        seq=seq,
        event=Event.PING.value,
        body=ping_body(seq, now),
    )


def reseal(on_progress: Callable[[int, int], object] = lambda _done, _total: None) -> Resealed:
    """Seals anew, with the first key, each secret that an older one sealed; as for documents."""
    resealed = unreadable = 0
    older = [
        pk
        for pk, sealed in Webhook.objects.order_by("pk").values_list("pk", "sealed")
        if not sealing.is_current(bytes(sealed))
    ]
    for done, pk in enumerate(older, start=1):
        with transaction.atomic():
            webhook = Webhook.objects.select_for_update().get(pk=pk)
            try:
                secret = open_secret(webhook.agent_id, bytes(webhook.sealed))
            except sealing.SealingError:
                unreadable += 1
            else:
                webhook.sealed = _sealed(webhook.agent_id, secret)
                # As for documents it is no change that somebody made: the trail has none of it.
                Webhook.objects.filter(pk=pk).update(sealed=webhook.sealed)
                resealed += 1
        on_progress(done, len(older))
    return Resealed(resealed, unreadable)


def _seal_new(webhook: Webhook) -> str:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    webhook.sealed = _sealed(webhook.agent_id, secret)
    webhook.secret_at = timezone.now()
    return secret


def _sealed(agent_id: int, secret: str) -> bytes:
    return sealing.seal(json.dumps({"agent": agent_id, "secret": secret}).encode())
