"""The worker: runs every reader over every branch's book, again and again.

Beside its rounds, in threads of their own, it sends what was written down, webhooks and notices,
renews the plans that are due, and does the jobs.

Any number of workers may run: each book's turn belongs to one of them at a time. A lost database
is waited for; whatever was under way is read again, as positions move with effects.
"""

import signal
import time
from collections.abc import Sequence
from types import FrameType

from django.db import connection

from popolni.core.errors import UserError
from popolni.ledger.failures import LOST
from popolni.notices.sending import sending as sending_notices
from popolni.notices.settings import read_settings
from popolni.readers import balance_requests, notices, plan_endings, renewals, statistics
from popolni.readers.frame import Reader, Turns, say
from popolni.readers.jobs import Job, by_clock, running
from popolni.readers.promotions import expiry
from popolni.readers.promotions import granting as promotions
from popolni.readers.webhooks import events as webhooks
from popolni.readers.webhooks import retention
from popolni.readers.webhooks.sending import sending
from popolni.readers.webhooks.targets import read_allowed
from popolni.reconciliation.commissions import settle_commissions
from popolni.reconciliation.daily import write_registries
from popolni.reconciliation.service import compare_uploads

READERS: tuple[Reader, ...] = (
    promotions.READER,  # first: a number waits for it
    renewals.READER,
    notices.READER,
    statistics.READER,
    webhooks.READER,
)
"""In the order in which each round takes them. Another reader is its module and a line here."""

JOBS: tuple[Job, ...] = (
    expiry.JOB,
    plan_endings.JOB,
    Job("registries", 60, by_clock(write_registries)),
    Job("commissions", 60, by_clock(settle_commissions)),
    Job("uploads", 2, lambda: bool(compare_uploads(1)), lease_s=1_800),  # millions of lines
    retention.JOB,
)
"""What is done from time to time, by one of the workers."""

IDLE_SECONDS = 0.2
STEP_SECONDS = 0.05  # how late it notices that it is to end
LOST_SECONDS_MIN, LOST_SECONDS_MAX = 0.5, 10.0
# One question for all of them, instead of a transaction for each: most books are idle.
_NEWS = """
    select reader.name, branch.book
    from unnest(%s::text[]) with ordinality as reader (name, place)
    cross join popolni_branch as branch
    join ledger.book as book using (book)
    left join ledger.position as position
        on position.book = branch.book and position.reader = reader.name
    where book.last_seq > coalesce(position.seq, 0)
    order by reader.place, branch.book
"""


class Worker:
    """The loop, and how it ends: after the batch that is under way."""

    def __init__(self) -> None:
        self.is_ending = False
        self._turns = Turns()

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
                    say("the database is back")
                lost_s = LOST_SECONDS_MIN
            except LOST as error:
                connection.close()
                reason = str(error).strip().partition("\n")[0]
                say(f"the database is lost, trying again in {lost_s:g} s: {reason}")
                pause_s, lost_s = lost_s, min(2 * lost_s, LOST_SECONDS_MAX)
            self._pause(pause_s)

    def round(self) -> int:
        """One batch for each reader and book that has news. How many entries they read."""
        read = 0
        for name, book in news(READERS):
            if self.is_ending:
                break
            read += self._turns.take(reader_of(name), book)
        return read

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_ending and time.monotonic() < until:
            time.sleep(STEP_SECONDS)


def news(readers: Sequence[Reader]) -> list[tuple[str, int]]:
    """The readers, by name, and the branches' books whose log goes on behind their position."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, ([reader.name for reader in readers],))
        return list(cursor.fetchall())


def reader_of(name: str) -> Reader:
    """The reader of this name. UserError if there is none (any more)."""
    for reader in READERS:
        if reader.name == name:
            return reader
    names = ", ".join(reader.name for reader in READERS)
    raise UserError(f"there is no reader {name!r}; there are: {names}")


def work() -> None:
    """Runs until Ctrl-C or SIGTERM. Raises UserError if a setting is wrong."""
    worker = Worker()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, worker.end)
    retention.read_days()  # a wrong one is told now
    allowed, smsc = read_allowed(), read_settings()
    with (
        sending(allowed, on_fault=worker.end),
        sending_notices(smsc, balance_requests.answer, on_fault=worker.end),
        renewals.renewing(on_fault=worker.end),
        running(JOBS, on_fault=worker.end),
    ):
        worker.run()
