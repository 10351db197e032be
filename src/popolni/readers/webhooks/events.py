"""The reader "webhooks": writes down what agents are to be told.

It is written for a webhook that was on when it happened. So what happened before an agent had one
is never told, however late the reader comes to it; nor what is so old that its telling would have
been deleted.
"""

from collections.abc import Sequence

from django.db import connection

from popolni.ledger.client import run
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import read_places, read_transfers
from popolni.readers.frame import Reader
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.readers.webhooks.retention import kept_since
from popolni.readers.webhooks.rules import Event, Happened, body_of, event_of, happened


def handle(book: int, entries: Sequence[LogEntry]) -> None:
    """Writes down what these entries have to tell."""
    since = kept_since()
    candidates = [entry for entry in entries if entry.created_at >= since and event_of(entry)]
    if candidates:
        _write(book, candidates)


def _write(book: int, candidates: Sequence[LogEntry]) -> None:
    webhooks = {hook.agent_id: hook for hook in Webhook.objects.exclude(on_since=None)}
    if not webhooks:
        return
    currency = _currency(book)
    deliveries = []
    for what in _happened(book, candidates):
        webhook = webhooks.get(what.agent_id)
        if webhook and webhook.on_since and what.entry.created_at >= webhook.on_since:
            body = body_of(book, currency, what)
            deliveries.append(
                Delivery(
                    webhook=webhook,
                    book=book,
                    seq=what.entry.seq,
                    event=what.event.value,
                    body=body,
                )
            )
    # Read again from zero, it tells nothing twice.
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)


def _happened(book: int, candidates: Sequence[LogEntry]) -> list[Happened]:
    """The events among these entries, with what they are about."""
    seqs = [
        entry.reference_id
        for entry in candidates
        if event_of(entry) is Event.REVERSED and entry.reference_id
    ]
    by_seq = {entry.seq: entry for entry in run(read_places(book, seqs))} if seqs else {}
    ids = {entry.pending_id for entry in (*candidates, *by_seq.values()) if entry.pending_id}
    by_id = {id_: entry for id_, (_book, entry) in run(read_transfers(list(ids))).items()}
    found = [happened(entry, by_seq, by_id) for entry in candidates]
    return [what for what in found if what]


def _currency(book: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute("select currency from ledger.book where book = %s", (book,))
        ((currency,),) = cursor.fetchall()
    return str(currency)


READER = Reader("webhooks", handle)
