"""An agent's top-ups of all its branches, in the order of time, a page at a time.

A position is a place in each book's log. Logs only grow at their end, so a page that was read
stays as it was, and whoever goes on after it meets every later top-up once. Between books the
order is that of the moments at which they were written; one that was being written while a page
was read comes with the next page.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from popolni.ledger.chart import TOP_UPS, Kind
from popolni.ledger.client import Steps
from popolni.ledger.codec import Int4Array, Int8Array, encode_integers
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import SEQ_END, Statement
from popolni.topups.facts import read_first_seqs
from popolni.topups.reversals import Found, read_reversals

PAGE_MAX = 1_000
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)
"""What the ledger takes for a moment."""

Position = Mapping[int, int]
"""By book, the last seq that was read. A book that isn't there begins at its beginning."""


class Listed(NamedTuple):
    """A top-up that was credited, and its reversal."""

    book: int
    entry: LogEntry
    reversal: LogEntry | None


class Page(NamedTuple):
    """Some top-ups, the position after them, and whether there are more."""

    listed: list[Listed]
    position: Position
    has_more: bool


# What is pending, and what posts or voids that, is no top-up that was credited.
_READ = f"""
    select
        found.book, found.seq, uuid_send(found.id), found.debit_account, found.credit_account,
        found.amount, found.created_at, found.code, found.flags, uuid_send(found.pending_id),
        found.expires_at, found.reference, found.reference_at, found.reference_id
    from unnest(%(books)s, %(after)s, %(before)s) as wanted (book, after, before)
    cross join lateral (
        select * from ledger.transfer as t
        where
            t.book = wanted.book
            and t.debit_account = %(account)s
            and t.seq > wanted.after
            and t.seq < wanted.before
            and t.code between {min(TOP_UPS.values())} and {max(TOP_UPS.values())}
            and t.flags & 14 = 0
        order by t.seq
        limit %(limit)s
    ) as found
    order by found.created_at, found.book, found.seq
    limit %(limit)s"""  # noqa: S608  # constants only


def read_top_ups(
    agent_id: int, windows: Sequence[tuple[int, int, int]], limit: int
) -> Statement[list[Found]]:
    """The oldest of an agent's top-ups in these windows, each (book, after seq, before seq)."""
    books, after, before = zip(*windows, strict=True) if windows else ((), (), ())
    return Statement(
        _READ,
        {
            "books": encode_integers(Int4Array, books),
            "after": encode_integers(Int8Array, after),
            "before": encode_integers(Int8Array, before),
            "account": Kind.AGENT_FLOAT.account_id(agent_id),
            "limit": limit,
        },
        lambda rows: [(row[0], LogEntry(*row[1:])) for row in rows],
    )


def list_top_ups(  # noqa: PLR0913  # all but two by name
    agent_id: int,
    books: Sequence[int],
    *,
    since: datetime | None,
    until: datetime | None,
    position: Position,
    limit: int,
) -> Steps[Page]:
    """A page of top-ups credited at `since` or later, before `until`, after `position`."""
    firsts = yield from _first_seqs(books, since)
    ends = yield from _first_seqs(books, until)
    after = {book: max(position.get(book, 0), firsts.get(book, 1) - 1) for book in books}
    windows = [(book, seq, ends.get(book, SEQ_END)) for book, seq in after.items()]
    found: list[Found] = yield read_top_ups(agent_id, windows, limit + 1)
    here = found[:limit]
    reversals = yield from read_reversals((book, entry.seq) for book, entry in here)
    return Page(
        [Listed(book, entry, reversals.get((book, entry.seq))) for book, entry in here],
        after | {book: entry.seq for book, entry in here},
        len(found) > limit,
    )


def _first_seqs(books: Sequence[int], moment: datetime | None) -> Steps[dict[int, int]]:
    if moment is None or not books:
        return {}
    moment = min(max(moment, _EARLIEST), _LATEST)
    seqs: dict[int, int] = yield read_first_seqs([(book, moment) for book in books])
    return seqs
