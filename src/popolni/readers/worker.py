"""The worker: runs every reader over every branch's book, again and again.

Beside its rounds, in a thread, it sends what the reader of webhooks wrote down.

Any number of workers may run: each book's turn belongs to one of them at a time. A lost database
is waited for; whatever was under way is read again, as positions move with effects.
"""

import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType

import django.db
from django.db import connection

from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.readers import statistics
from popolni.readers.webhooks import events as webhooks
from popolni.readers.webhooks.sending import sending
from popolni.readers.webhooks.targets import read_allowed

Reader = Callable[[int, int], int]
"""(book, limit) → how many entries it read."""

READERS: Mapping[str, Reader] = {
    statistics.READER: statistics.count_top_ups,
    webhooks.READER: webhooks.write_deliveries,
}

BATCH = 5_000
IDLE_SECONDS = 0.5
STEP_SECONDS = 0.05  # how late it notices that it is to end
LOST_SECONDS_MIN, LOST_SECONDS_MAX = 0.5, 10.0
LOST = (LedgerUnavailable, OutcomeUnknown, django.db.OperationalError, django.db.InterfaceError)

# One question instead of one transaction for each book and reader: most books are idle.
_NEWS = """
    select branch.book
    from popolni_branch as branch
    join ledger.book as book using (book)
    left join ledger.position as position
        on position.book = branch.book and position.reader = %s
    where book.last_seq > coalesce(position.seq, 0)
    order by branch.book
"""


class Worker:
    """The loop, and how it ends: after the batch that is under way."""

    def __init__(self) -> None:
        self.is_ending = False

    def end(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Also a signal's handler."""
        self.is_ending = True

    def run(self) -> None:
        """Until it is told to end."""
        lost_s = LOST_SECONDS_MIN
        while not self.is_ending:
            try:
                pause_s = 0.0 if self.round() else IDLE_SECONDS
                if lost_s > LOST_SECONDS_MIN:
                    _say("the database is back")
                lost_s = LOST_SECONDS_MIN
            except LOST as error:
                connection.close()
                reason = str(error).strip().partition("\n")[0]
                _say(f"the database is lost, trying again in {lost_s:g} s: {reason}")
                pause_s, lost_s = lost_s, min(2 * lost_s, LOST_SECONDS_MAX)
            self._pause(pause_s)

    def round(self) -> int:
        """One batch for each reader and book that has news. How many entries they read."""
        read = 0
        for name, reader in READERS.items():
            for book in books_with_news(name):
                if self.is_ending:
                    return read
                read += reader(book, BATCH)
        return read

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_ending and time.monotonic() < until:
            time.sleep(STEP_SECONDS)


def books_with_news(reader: str) -> list[int]:
    """The branches' books whose log goes on behind this reader's position."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, (reader,))
        return [book for (book,) in cursor.fetchall()]


def work() -> None:
    """Runs until Ctrl-C or SIGTERM. Raises UserError if a setting is wrong."""
    worker = Worker()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, worker.end)
    with sending(read_allowed(), on_fault=worker.end):
        worker.run()


def _say(line: str) -> None:
    print(f"popolni worker: {line}", file=sys.stderr, flush=True)
