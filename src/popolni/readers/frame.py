"""One frame for all that follows the log: a reader is a name and a function, the frame the rest.

    a batch → handled, its position moved in the same transaction → the hook behind COMMIT
            → fails: halved until the entry that fails is known → tried again, with growing pauses
              → set aside, and the rest goes on

A failure holds up its own reader in its own book, and nobody else. A database that is away is no
failure: everything waits for it, and nothing of it counts.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import connection

from popolni.core.reason import reason_of
from popolni.ledger.failures import is_chance, is_lost
from popolni.ledger.log import follow
from popolni.ledger.model import LogEntry
from popolni.readers import set_aside

BATCH = 5_000
TRIES_MAX = 5
"""How often an entry fails, alone, before it is set aside."""

PAUSE_FIRST_S, PAUSE_GROWTH, PAUSE_MAX_S = 0.2, 2, 30.0
"""Between the tries; in all some three seconds."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who follows the log of every branch's book, from a position of its own.

    `handle` is given the book's next entries, in order, inside the transaction that moves the
    position; it writes no more than the database, and if it posts, that is its last statement.
    Whatever it raises rolls all of it back.

    `after` is called when that is committed, in the worker's loop: short, and only to wake someone.
    `forget` deletes what the reader made of a book, before it is read again from zero; None where
    reading twice does nothing, as what is written has identifiers derived from what was read.
    `batch`: the most entries at once. `until` says, of a book and for so many entries, the last
    place in the log that may be read now: who tells what other readers made waits for these.
    """

    name: str
    handle: Callable[[int, Sequence[LogEntry]], None]
    after: Callable[[], None] | None = None
    forget: Callable[[int], None] | None = None
    batch: int = BATCH
    until: Callable[[int, int], int] | None = None


def at_most(name: str, interesting: str, most: int) -> Callable[[int, int], int]:
    """An `until` for who does much with few entries: no more than so many of those at once.

    `interesting` is SQL's condition on a row of `ledger.transfer`. The others cost next to nothing
    and are read by the thousand: who renews a million plans at midnight delays nobody's bonus.
    """
    query = f"""
        with start as (
            select coalesce((
                select seq from ledger.position where book = %(book)s and reader = %(name)s
            ), 0) as seq
        )

        select coalesce((
            select entry.seq - 1 from ledger.transfer as entry
            where
                entry.book = %(book)s
                and entry.seq > start.seq
                and entry.seq <= start.seq + %(limit)s
                and ({interesting})
            order by entry.seq
            offset {most:d} limit 1
        ), start.seq + %(limit)s)
        from start"""  # noqa: S608  # conditions of ours only

    def until(book: int, limit: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(query, {"book": book, "name": name, "limit": limit})
            ((seq,),) = cursor.fetchall()
        return int(seq)

    return until


class Failed(Exception):
    """The handling of these entries; the cause says why. Nothing of it was written."""

    def __init__(self, entries: Sequence[LogEntry]) -> None:
        super().__init__(f"{len(entries)} entries")
        self.entries = entries

    @property
    def cause(self) -> BaseException:
        """What was raised."""
        return self.__cause__ or self


def step(reader: Reader, book: int, limit: int | None = None) -> int:
    """Reads the book's next entries, at most `limit`. How many.

    0: there is nothing new, or another worker has the turn. Raises Failed, with the entries that
    are before the reader still; what the database raises when it is lost.
    """
    entries: Sequence[LogEntry] = ()
    limit = limit or reader.batch
    try:
        until = reader.until(book, limit) if reader.until else None
        with follow(reader.name, book, limit, until=until) as entries:
            wanted = entries and set_aside.without_set_aside(reader.name, book, entries)
            if wanted:
                reader.handle(book, wanted)
    except Exception as error:
        if is_lost(error):
            raise
        raise Failed(entries) from error
    if entries:
        wake(reader)
    return len(entries)


def wake(reader: Reader) -> None:
    """Calls its hook. What is committed stays so, whatever becomes of that."""
    if reader.after is None:
        return
    try:
        reader.after()
    except Exception as error:  # noqa: BLE001  # a hook's fault is no entry's
        say(f"{reader.name}: {reason_of(error)}")


def read_all(reader: Reader, book: int, limit: int | None = None) -> int:
    """Reads until there is nothing new. How many entries. Raises as `step`."""
    total = 0
    while read := step(reader, book, limit):
        total += read
    return total


@dataclass(slots=True)
class _Trouble:
    """A reader in a book where something failed: how many are suspected, and how it is retried."""

    limit: int
    suspects: int = 0
    seq: int = 0
    tries: int = 0
    chances: int = 0
    not_before: float = 0.0

    def wait(self, times: int) -> None:
        """It is not taken again before a pause."""
        self.not_before = time.monotonic() + pause_s(times, random.random())  # noqa: S311  # jitter


@dataclass(slots=True)
class Turns:
    """One worker's turns: what failed is narrowed down, waits, and is set aside in the end.

    How often something failed each worker counts for itself.
    """

    _troubles: dict[tuple[str, int], _Trouble] = field(default_factory=dict)

    def take(self, reader: Reader, book: int) -> int:
        """A batch of this reader in this book. How many entries it read or set aside.

        0 also while it is to wait. Raises only what the database does when it is lost.
        """
        key = reader.name, book
        trouble = self._troubles.get(key)
        if trouble and time.monotonic() < trouble.not_before:
            return 0
        while True:
            try:
                read = step(reader, book, trouble.limit if trouble else None)
            except Failed as failed:
                trouble = self._troubles.setdefault(key, _Trouble(reader.batch))
                if len(failed.entries) > 1 and not is_chance(failed.cause):
                    trouble.suspects = len(failed.entries)
                    trouble.limit = trouble.suspects // 2
                    continue
                read = _fail(reader, book, trouble, failed)
            if trouble and read:
                self._relieve(key, trouble, read)
            return read

    def _relieve(self, key: tuple[str, int], trouble: _Trouble, read: int) -> None:
        """So many are behind us; whatever it is, is among those that are left."""
        trouble.suspects -= read
        trouble.limit = max(1, trouble.suspects // 2)
        trouble.chances = 0
        if trouble.suspects <= 0:
            del self._troubles[key]


def _fail(reader: Reader, book: int, trouble: _Trouble, failed: Failed) -> int:
    """What is known to fail by itself waits, or is set aside. How many were."""
    reason, where = reason_of(failed.cause), f"{reader.name}, book {book}"
    if not failed.entries or is_chance(failed.cause):
        trouble.chances += 1
        trouble.wait(trouble.chances)
        say(f"{where}: {reason}")
        return 0
    (entry,) = failed.entries
    trouble.tries = trouble.tries + 1 if trouble.seq == entry.seq else 1
    trouble.seq = entry.seq
    trouble.limit = 1
    if trouble.tries < TRIES_MAX:
        trouble.wait(trouble.tries)
        say(f"{where}: entry {entry.seq} fails, try {trouble.tries} of {TRIES_MAX}: {reason}")
        return 0
    if not set_aside.put(reader.name, book, entry.seq, reason=reason, tries=trouble.tries):
        trouble.not_before = time.monotonic() + PAUSE_MAX_S
        say(f"{where}: waits at entry {entry.seq}, as too many are set aside: {reason}")
        return 0
    say(f"{where}: entry {entry.seq} is set aside: {reason}")
    return 1


def pause_s(times: int, chance: float) -> float:
    """How long to wait after so many failures. `chance`, from 0 to 1, takes up to half off."""
    pause = min(PAUSE_MAX_S, PAUSE_FIRST_S * PAUSE_GROWTH ** min(times - 1, 30))
    return float(pause * (1 - 0.5 * chance))


def say(line: str) -> None:
    """A line of the worker's log."""
    print(f"popolni worker: {line}", file=sys.stderr, flush=True)
