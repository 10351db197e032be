"""What came of each sending, for who runs Popolni: a line of the log, and figures of all workers.

No address, no secret, no number and nothing of what was answered is in the line.
"""

import json
import sys
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection
from django.utils import timezone

if TYPE_CHECKING:
    from popolni.readers.webhooks.sending import Answer, Claim

_COUNT = """
    insert into popolni_sendingtotal as kept (outcome, sendings, seconds) values (%s, 1, %s)
    on conflict (outcome) do update set
        sendings = kept.sendings + 1,
        seconds = kept.seconds + excluded.seconds
"""
_TOTALS = "select outcome, sendings, seconds from popolni_sendingtotal"
# Of a webhook that is off nothing is due.
_WAITING = """
    select count(*), coalesce(extract(epoch from now() - min(delivery.created_at)), 0)::float8
    from popolni_delivery as delivery
    join popolni_webhook as webhook on webhook.id = delivery.webhook_id
    where delivery.state = 'waiting' and webhook.on_since is not null
"""


class Outcome(StrEnum):
    """What came of one sending."""

    DELIVERED = "delivered"
    FAILED = "failed"  # and it is sent again
    GIVEN_UP = "given_up"


class Total(NamedTuple):
    """All sendings that came out so: how many, and how long they took together."""

    sendings: int
    seconds: float


class Waiting(NamedTuple):
    """What waits to be delivered: how many, and the age of the oldest."""

    deliveries: int
    seconds: float


def count(outcome: Outcome, seconds: float) -> None:
    """Adds a sending to the totals."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, (outcome.value, seconds))


def totals() -> dict[Outcome, Total]:
    """Of all workers, since the first sending."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS)
        found = {Outcome(name): Total(*rest) for name, *rest in cursor.fetchall()}
    return {outcome: found.get(outcome, Total(0, 0.0)) for outcome in Outcome}


def waiting() -> Waiting:
    """Of the webhooks that are on."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return Waiting(*cursor.fetchone())


def log(taken: "Claim", answer: "Answer", outcome: Outcome, seconds: float) -> None:
    """Writes the line."""
    line = line_of(taken, answer, outcome, seconds, timezone.now())
    print(line, file=sys.stderr, flush=True)


def line_of(
    taken: "Claim", answer: "Answer", outcome: Outcome, seconds: float, at: datetime
) -> str:
    """One line of JSON; times in milliseconds."""
    return json.dumps(
        {
            "at": at.isoformat(),
            "event": "webhook",
            "id": taken.event_id,
            "what": taken.event,
            "agent": taken.agent_id,
            "try": taken.tries,
            "outcome": outcome.value,
            "status": answer.status,
            "failure": answer.failure or None,
            "ms": round(seconds * 1000),
        },
        separators=(",", ":"),
    )
