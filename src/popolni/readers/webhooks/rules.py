"""What is an event, what is said of it, how it is signed, when it is sent again. Pure."""

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from popolni.core.channel import Channel
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.model import LogEntry, TransferFlags

EVENT_ID, TIMESTAMP, SIGNATURE = "Popolni-Event-Id", "Popolni-Timestamp", "Popolni-Signature"

PAUSE_FIRST_S, PAUSE_GROWTH, PAUSE_MAX_S = 10.0, 3, 24 * 3600.0
TRIES_MAX = 11
"""The pauses between them grow from 10 seconds to a day; in all they last two days."""

PING_BOOK = 0

_CHANNELS = {TOP_UPS[channel]: channel for channel in (Channel.OSMP, Channel.API)}


class Event(StrEnum):
    """What can become of a top-up; and a test, which somebody asked for."""

    PING = "ping"
    CREDITED = "top_up.credited"
    VOIDED = "top_up.voided"
    REVERSED = "top_up.reversed"

    @property
    def state(self) -> str:
        """The state of the top-up from then on."""
        return self.value.partition(".")[2]


class Happened(NamedTuple):
    """An event: what it is, the entry that made it so, the top-up as its agent asked for it."""

    event: Event
    entry: LogEntry
    top_up: LogEntry

    @property
    def agent_id(self) -> int:
        """Whose top-up it is."""
        return self.top_up.debit_account % (SUBJECT_MAX + 1)


def event_id(book: int, seq: int) -> str:
    """The name of an event, by its place in the log; a test's has none."""
    return f"{book}-{seq}" if book else f"{Event.PING.value}-{seq}"


def event_of(entry: LogEntry) -> Event | None:
    """What an entry of the log may be, if what it is about is an agent's top-up."""
    if entry.code == Code.TOP_UP_REVERSAL:
        return Event.REVERSED
    if entry.flags & TransferFlags.POST_PENDING:
        return Event.CREDITED
    # The ledger's own release of one whose time ran out is a void as well.
    return Event.VOIDED if entry.flags & TransferFlags.VOID_PENDING else None


def happened(
    entry: LogEntry, by_seq: Mapping[int, LogEntry], by_id: Mapping[bytes, LogEntry]
) -> Happened | None:
    """The event that an entry is; None if it is about no top-up that an agent's machine made.

    Given are the entries that reversals name by their place, and the pending ones by identifier.
    """
    event = event_of(entry)
    if event is None:
        return None
    found = by_seq.get(entry.reference_id or 0) if event is Event.REVERSED else entry
    if found is not None and found.pending_id is not None:
        found = by_id.get(found.pending_id)
    if (
        found is None
        or found.code not in _CHANNELS
        or Kind.of(found.debit_account) is not Kind.AGENT_FLOAT
        or Kind.of(found.credit_account) is not Kind.SUBSCRIBER_MONEY
    ):
        return None
    return Happened(event, entry, found)


def ping_body(seq: int, at: datetime) -> str:
    """A test: what every event has, and nothing else."""
    event = {"id": event_id(PING_BOOK, seq), "event": Event.PING.value, "at": _iso(at)}
    return json.dumps(event, separators=(",", ":"))


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def body_of(book: int, currency: str, what: Happened) -> str:
    """What is told: the top-up as the JSON API shows it, in its new state."""
    entry, top_up = what.entry, what.top_up
    return json.dumps(
        {
            "id": event_id(book, entry.seq),
            "event": what.event.value,
            "at": _iso(entry.created_at),
            "top_up": {
                "id": f"{book}-{top_up.seq}",
                "reference": top_up.reference,
                "channel": _CHANNELS[Code(top_up.code)].value,
                "state": what.event.state,
                "number": top_up.credit_account % (SUBJECT_MAX + 1),
                "amount_minor": entry.amount,
                "currency": currency,
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def signature(secret: str, timestamp: int, body: str) -> str:
    """What proves that a body is ours, and when it was sent."""
    signed = f"{timestamp}.{body}".encode()
    return "v1=" + hmac.digest(secret.encode(), signed, "sha256").hex()


def headers(secret: str, event_id: str, body: str, now: datetime) -> dict[str, str]:
    """Those of one sending."""
    timestamp = int(now.timestamp())
    return {
        "Content-Type": "application/json",
        EVENT_ID: event_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: signature(secret, timestamp, body),
    }


def is_delivered(status: int | None) -> bool:
    """Whether the other side has it. To be sent elsewhere, where nobody checked, is a no."""
    return status is not None and 200 <= status < 300


def pause_s(tries: int, chance: float) -> float | None:
    """How long to wait after so many tries; None: it is given up.

    `chance`, from 0 to 1, takes up to a fifth off, so that not all that failed together comes
    back together.
    """
    if tries >= TRIES_MAX:
        return None
    pause = min(PAUSE_MAX_S, PAUSE_FIRST_S * PAUSE_GROWTH ** (tries - 1))
    return float(pause * (1 - 0.2 * chance))
