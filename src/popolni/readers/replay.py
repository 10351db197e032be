"""Reading a log again from zero: on a copy of the books nothing is different afterwards.

What a reader writes has identifiers derived from what it read, so writing it again does nothing;
or it is a sum of the log, which is forgotten first. An entry that was set aside stays aside.
"""

import time
from collections.abc import Callable

from django.db import connection, transaction

from popolni.readers.frame import Reader, Turns
from popolni.readers.lag import lags

WAIT_S = 0.1

_LOCK = "select seq from ledger.position where reader = %s and book = %s for update"
_SET_BACK = "update ledger.position set seq = 0 where reader = %s and book = %s"


def set_back(reader: Reader, book: int) -> None:
    """The reader's position in a book is zero, and what it made of it is forgotten: both or none.

    Waits for the worker that has its turn.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, (reader.name, book))
        cursor.execute(_SET_BACK, (reader.name, book))
        if reader.forget:
            reader.forget(book)


def replay(
    reader: Reader, on_progress: Callable[[int, int], object] = lambda _done, _total: None
) -> int:
    """Reads every branch's book from zero to its end of now; how many entries.

    A worker that runs reads along, and whoever is killed in the middle leaves the rest to it. An
    entry that fails now is set aside, as a worker does.
    """
    ends = {lag.book: lag.last_seq for lag in lags([reader.name])}
    for book in ends:
        set_back(reader, book)
    turns, total = Turns(), sum(ends.values())
    while True:
        left = {
            lag.book: ends[lag.book] - lag.seq
            for lag in lags([reader.name])
            if lag.seq < ends.get(lag.book, 0)
        }
        on_progress(total - sum(left.values()), total)
        if not left:
            return total
        if not sum(turns.take(reader, book) for book in left):
            time.sleep(WAIT_S)  # another worker has the turn, or something failed
