"""A top-up is found again, and reversed: the same sum goes back, once, while it is still there."""

from datetime import datetime

from popolni.ledger.client import Steps
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import post, read_log, read_transfers
from popolni.topups.catalogue import AgentTerms
from popolni.topups.rules import (
    Credited,
    ReversalRefusal,
    answer_reversal,
    refuse_reversal,
    reversal_id,
    reversal_of,
)

Found = tuple[int, LogEntry]
"""A book, and what is in its log."""


def find_by_id(id_: bytes) -> Steps[Found | None]:
    """What has this identifier, a top-up or the memo of a refused one."""
    found: dict[bytes, Found] = yield read_transfers([id_])
    return found.get(id_)


def find_by_place(book: int, seq: int) -> Steps[Found | None]:
    """What is there in a book's log."""
    entries: list[LogEntry] = yield read_log(book, seq - 1, 1)
    return (book, entries[0]) if entries and entries[0].seq == seq else None


def read_reversed(book: int, seqs: list[int]) -> Steps[dict[int, LogEntry]]:
    """Which of these top-ups are reversed, each with its reversal."""
    ids = {reversal_id(book, seq): seq for seq in seqs}
    found: dict[bytes, Found] = (yield read_transfers(list(ids))) if ids else {}
    return {ids[id_]: entry for id_, (_book, entry) in found.items()}


def reverse(
    agent: AgentTerms, found: Found | None, now: datetime
) -> Steps[Credited | ReversalRefusal]:
    """Reverses an agent's top-up at its own wish; again, it answers the same.

    To be posted for certain, and so run by who can tell a lost connection from a failure: what
    raises OutcomeUnknown is asked for again.
    """
    if found is None:
        return ReversalRefusal.NOT_FOUND
    book, entry = found
    before = yield from read_reversed(book, [entry.seq])
    if entry.seq in before and refuse_reversal(agent, entry, entry.created_at) is None:
        return Credited(book, before[entry.seq].seq, is_repeat=True)
    refusal = refuse_reversal(agent, entry, now)
    if refusal:
        return refusal
    (posted,) = yield post(book, [reversal_of(book, entry)])
    return answer_reversal(book, posted)
