"""How far behind each reader is in each branch's book."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

# A reader that was removed keeps its position, and is behind nobody.
_LAG = """
    select
        reader.name, branch.book, coalesce(position.seq, 0), book.last_seq,
        oldest.created_at,
        case when oldest.created_at is not null then
            greatest(extract(epoch from now() - oldest.created_at), 0)::float8
        end,
        (
            select count(*) from popolni_setaside as aside
            where
                aside.reader = reader.name
                and aside.book = branch.book
                and aside.resolved_at is null
        )
    from unnest(%s::text[]) with ordinality as reader (name, place)
    cross join popolni_branch as branch
    join ledger.book as book using (book)
    left join ledger.position as position
        on position.book = branch.book and position.reader = reader.name
    left join lateral (
        select entry.created_at from ledger.transfer as entry
        where entry.book = branch.book and entry.seq = coalesce(position.seq, 0) + 1
        offset 0
    ) as oldest on true
    order by reader.place, branch.book
"""
_REMOVED = """
    select distinct reader from ledger.position where reader <> all(%s::text[]) order by reader
"""


class Lag(NamedTuple):
    """A reader in a book: where it is, where the log ends, since when the oldest unread entry
    waits (None: none does) and for how long by the database's clock, how many are set aside.
    """

    reader: str
    book: int
    seq: int
    last_seq: int
    since: datetime | None
    seconds: float | None
    set_aside: int

    @property
    def entries(self) -> int:
        """How many it has yet to read."""
        return self.last_seq - self.seq


def lags(readers: Sequence[str]) -> list[Lag]:
    """Of these readers (names) in every branch's book; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_LAG, (list(readers),))
        return [Lag(*row) for row in cursor.fetchall()]


def removed(readers: Sequence[str]) -> list[str]:
    """The names that have a position, or had one, and are none of these readers."""
    with connection.cursor() as cursor:
        cursor.execute(_REMOVED, (list(readers),))
        return [name for (name,) in cursor.fetchall()]
