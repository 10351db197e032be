"""The reader "renewals": money that comes to a number whose plan has lapsed begins it again.

The period begins at the moment of the credit, whenever it is read; its transfers name the receipt.
What is due by the clock is renewed beside the readers, in a thread of its own: of a million in one
midnight no reader has to wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.db import connection
from django.utils import timezone

from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.failures import LOST
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.readers.frame import Reader, at_most
from popolni.subscribers.renewals.rules import Credit
from popolni.subscribers.renewals.service import resume, run_due

NAME = "renewals"
CREDITS_MAX = 500
"""Credits that are read at once: of so many numbers, all renewals go in one post."""
DUE_MAX = 20_000
"""What is renewed before it is looked again what is due now."""
IDLE_S, LOST_S = 0.5, 2.0
ASIDE_S = 600.0
"""What could not be renewed is tried again so much later."""

_NO_CREDIT = TransferFlags.PENDING | TransferFlags.VOID_PENDING
_RESOLVES = TransferFlags.POST_PENDING | TransferFlags.VOID_PENDING
_POSITION = "select seq from ledger.position where book = %s and reader = %s"

log = logging.getLogger(__name__)


def handle(book: int, entries: Sequence[LogEntry]) -> None:
    """Renews what these entries pay for."""
    resume(book, credits_of(book, entries), timezone.now())


def credits_of(book: int, entries: Iterable[LogEntry]) -> dict[int, list[Credit]]:
    """By number, what made its money more, in order: also a reserved sum that is free again."""
    found: dict[int, list[Credit]] = {}
    for entry in entries:
        receipt = f"{book}-{entry.seq}"
        if entry.code == Code.BONUS and entry.reference:
            receipt = entry.reference  # the top-up's: what it brought is told with it
        if not entry.flags & _NO_CREDIT and (number := _number(entry.credit_account)):
            credit = Credit(entry.created_at, entry.amount, receipt)
            found.setdefault(number, []).append(credit)
        if entry.flags & _RESOLVES and (number := _number(entry.debit_account)):
            found.setdefault(number, []).append(Credit(entry.created_at, 0, receipt))
    return found


def _number(account: int) -> int | None:
    """Whose money it is; None: another kind of account."""
    is_money = account // (SUBJECT_MAX + 1) == Kind.SUBSCRIBER_MONEY.value.code
    return account % (SUBJECT_MAX + 1) if is_money else None


def has_read(book: int, seq: int) -> bool:
    """Whether it is decided what the entry renews: then `renewed_by` says it."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITION, (book, NAME))
        row = cursor.fetchone()
    return row is not None and row[0] >= seq


@contextmanager
def renewing(on_fault: Callable[[], object]) -> Iterator[None]:
    """Renews what is due in a thread beside the block, and ends with it, after a batch.

    What ends it before calls `on_fault`, and is raised when the block has ended.
    """
    ending = threading.Event()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            run_until(ending)
        except BaseException as error:  # noqa: BLE001  # raised in the other thread, below
            faults.append(error)
            on_fault()
        finally:
            connection.close()

    thread = threading.Thread(target=work, name="renewals")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    if faults:
        raise faults[0]


def run_until(ending: threading.Event) -> None:
    """Renews what is due until it is told to end."""
    aside: dict[int, float] = {}
    while not ending.is_set():
        now, now_s = timezone.now(), time.monotonic()
        aside = {pk: until_s for pk, until_s in aside.items() if until_s > now_s}
        try:
            done = run_due(now, DUE_MAX, without=aside.keys(), is_ending=ending.is_set)
            aside |= dict.fromkeys(done.failed, now_s + ASIDE_S)
        except LOST as error:
            connection.close()
            log.warning("what is due waits for the database: %s", str(error).partition("\n")[0])
            ending.wait(LOST_S)
            continue
        if not (done.renewed or done.lapsed):
            ending.wait(IDLE_S)


_MONEY = Kind.SUBSCRIBER_MONEY.value.code * (SUBJECT_MAX + 1)  # and a number: its account
_CREDITS = f"""
    entry.credit_account between {_MONEY} and {_MONEY + SUBJECT_MAX}
    or (
        entry.flags & {_RESOLVES.value} <> 0
        and entry.debit_account between {_MONEY} and {_MONEY + SUBJECT_MAX}
    )
"""
READER = Reader(NAME, handle, until=at_most(NAME, _CREDITS, CREDITS_MAX))
