"""A top-up is found again, and reversed: the same sum goes back, once, while it is still there."""

from collections.abc import Iterable
from datetime import datetime

from popolni.core.channel import Channel
from popolni.ledger.chart import Code
from popolni.ledger.client import Steps
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import post, read_log, read_transfers
from popolni.topups.catalogue import AgentTerms
from popolni.topups.rules import (
    Credited,
    ReversalRefusal,
    answer_reversal,
    cancellation_of,
    first_reversal_answer,
    refuse_reversal,
    reversal_ids,
    reversal_memo_of,
    reversal_of,
)

Found = tuple[int, LogEntry]
"""A book, and what is in its log."""
Place = tuple[int, int]
"""A book, and a place in its log."""


def find_by_id(id_: bytes) -> Steps[Found | None]:
    """What has this identifier, a top-up or the memo of a refused one."""
    found: dict[bytes, Found] = yield read_transfers([id_])
    return found.get(id_)


def find_by_place(book: int, seq: int) -> Steps[Found | None]:
    """What is there in a book's log."""
    entries: list[LogEntry] = yield read_log(book, seq - 1, 1)
    return (book, entries[0]) if entries and entries[0].seq == seq else None


def read_reversals(places: Iterable[Place]) -> Steps[dict[Place, LogEntry]]:
    """Which of the top-ups in these places are reversed, each with its reversal."""
    ids = {id_: place for place in places for id_ in reversal_ids(*place)}
    found: dict[bytes, Found] = (yield read_transfers(list(ids))) if ids else {}
    return {
        ids[id_]: entry
        for id_, (_book, entry) in found.items()
        if entry.code == Code.TOP_UP_REVERSAL
    }


def read_reversed(book: int, seqs: Iterable[int]) -> Steps[dict[int, LogEntry]]:
    """Which of the top-ups in these places of a book are reversed, each with its reversal."""
    found = yield from read_reversals((book, seq) for seq in seqs)
    return {seq: entry for (_book, seq), entry in found.items()}


def reverse(
    agent: AgentTerms, found: Found | None, now: datetime
) -> Steps[Credited | ReversalRefusal]:
    """Reverses an agent's top-up at its own wish; again, it answers the same.

    That the money is spent is for good, as whoever heard it gives nothing back: it is in the log
    before it is told, and staff alone reverse after that.

    To be posted for certain, and so run by who can tell a lost connection from a failure: what
    raises OutcomeUnknown is asked for again.
    """
    if found is None:
        return ReversalRefusal.NOT_FOUND
    book, entry = found
    first = yield from _first_answer(book, entry)
    if first and refuse_reversal(agent, entry, entry.created_at) is None:
        return first
    refusal = refuse_reversal(agent, entry, now)
    if refusal:
        return refusal
    (posted,) = yield post(book, [reversal_of(book, entry)])
    answer = answer_reversal(book, posted)
    if isinstance(answer, ReversalRefusal):
        (memo,) = yield post(book, [reversal_memo_of(book, entry)])
        if not memo.outcome.done:
            answer = None
    if answer is None:  # another copy of the request was first
        answer = yield from _first_answer(book, entry)
        if answer is None:
            raise AssertionError(f"{book}-{entry.seq}: what took the identifier is not there")
    return answer


def cancel_unheard(book: int, channel: Channel, agent: AgentTerms, reference: str) -> Steps[bool]:
    """Sees to it that a top-up that is in no log is not credited any more; False: it is there now.

    To be posted for certain, as `reverse`.
    """
    (posted,) = yield post(book, [cancellation_of(channel, agent, reference)])
    return bool(posted.outcome.done)


def _first_answer(book: int, entry: LogEntry) -> Steps[Credited | ReversalRefusal | None]:
    """What the agent was told, if anything."""
    found = yield from find_by_id(reversal_ids(book, entry.seq)[0])
    return first_reversal_answer(*found) if found else None
