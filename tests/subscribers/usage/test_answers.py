"""How an event is written into the log, and read back."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from popolni.ledger.chart import Code
from popolni.ledger.codec import encode_batch
from popolni.ledger.model import LogEntry, Transfer, Unit
from popolni.subscribers.usage.answers import answer_from_log, places_after, transfers_of
from popolni.subscribers.usage.rules import (
    AMOUNT_MOST,
    IDENTIFIER_MAX,
    PARTS_MAX,
    Decision,
    Event,
    Part,
    Reason,
    check,
)

AT = datetime(2026, 2, 10, 12, tzinfo=UTC)


def entries_of(transfers: Sequence[Transfer], first_seq: int) -> list[LogEntry]:
    """As the ledger writes them down."""
    return [
        LogEntry(
            seq, t.id, t.debit_account, t.credit_account, t.amount, AT, t.code, t.flags, None, None,
            t.reference, t.reference_at, t.reference_id,
        )
        for seq, t in enumerate(transfers, start=first_seq)
    ]  # fmt: skip


def test_the_longest_event_fits_into_a_transfer() -> None:
    event = Event("я" * IDENTIFIER_MAX, 10**15 - 1, Unit.MESSAGE, AMOUNT_MOST[Unit.MESSAGE], AT)
    check(event)
    parts = tuple(Part(place, 1, 1, Code.USAGE) for place in range(2, PARTS_MAX + 3))
    for reason in Reason:
        transfers = transfers_of(event, Decision(parts, 10**4, reason))
        assert encode_batch(transfers)
        assert len({transfer.id for transfer in transfers}) == PARTS_MAX + 1
        first = entries_of(transfers, 7)[0]
        assert places_after(first) == list(range(8, 8 + PARTS_MAX))


def test_identifiers_of_two_events_never_meet() -> None:
    def ids(name: str) -> set[bytes]:
        event = Event(name, 79_250_000_001, Unit.SECOND, 5, AT)
        parts = tuple(Part(place, 1, 1, Code.USAGE) for place in range(2, 14))
        return {transfer.id for transfer in transfers_of(event, Decision(parts, 5))}

    assert not ids("a") & ids("a 1")
    assert not ids("1") & ids("11")


def test_half_an_event_is_no_answer() -> None:
    event = Event("a", 79_250_000_001, Unit.SECOND, 5, AT)
    parts = (Part(2, 1, 2, Code.USAGE), Part(3, 1, 3, Code.USAGE))
    entries = entries_of(transfers_of(event, Decision(parts, 5)), 1)
    with pytest.raises(AssertionError, match="no event of use"):
        answer_from_log(1, entries[:1])
