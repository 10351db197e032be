"""Following a book's log: all that comes after a credit reads it, each at its own pace.

The log has no gaps and its order is commit order, so `seq > position` misses nothing. The
position is written in the transaction of the reader's effects: after a crash a reader goes on
where its effects end, and does nothing twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections

from popolni.ledger.client import atomic, run
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import read_log

# "on conflict" alone would wait for the worker that has the row; it is for the very first two.
_START = """
    insert into ledger.position (book, reader, seq)
    select book, reader, 0 from (select %s as book, %s as reader) as wanted
    where not exists (
        select from ledger.position as p where (p.book, p.reader) = (wanted.book, wanted.reader)
    )
    on conflict do nothing
"""
_CLAIM = """
    select seq from ledger.position where book = %s and reader = %s for update skip locked
"""
_ADVANCE = """
    update ledger.position set seq = %s where book = %s and reader = %s
"""


@contextmanager
def follow(
    reader: str,
    book: int,
    limit: int,
    using: str = DEFAULT_DB_ALIAS,
    *,
    until: int | None = None,
) -> Iterator[list[LogEntry]]:
    """A transaction with the next entries for this reader, and its position moved behind them.

        with follow("bonus", book, limit=500) as entries:
            ...  # effects in the database; a post, if any, as the last of them

    It commits when the block ends and rolls back, position included, when the block raises. The
    list is empty when there is nothing new, or when another worker has this reader's turn. `until`:
    the last place in the log that it may read now; None: all.

    The position moves before the effects are written, so that the block may end in a post.
    """
    wrapper = connections[using]
    if not (wrapper.in_atomic_block or wrapper.get_autocommit()):
        raise RuntimeError("follow() commits when it ends: it needs autocommit")
    with atomic(using), wrapper.cursor() as cursor:
        cursor.execute(_START, (book, reader))
        cursor.execute(_CLAIM, (book, reader))
        claimed = cursor.fetchone()
        if claimed and until is not None:
            limit = min(limit, until - claimed[0])
        entries = run(read_log(book, claimed[0], limit), using) if claimed and limit > 0 else []
        if entries:
            cursor.execute(_ADVANCE, (entries[-1].seq, book, reader))
        yield entries
