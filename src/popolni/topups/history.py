"""What a number was topped up by before, as its account's log tells."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from popolni.ledger.chart import TOP_UPS
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.ledger.statements import read_account_log

PAGE = 500
ENTRIES_MAX = 100_000
"""How far back a log is read: no number has as many entries in a month."""

_CODES = frozenset(TOP_UPS.values())


class PastTopUp(NamedTuple):
    """A top-up that was credited, or is pending.

    `seq` is the place in the log of what credited it (of a pending one: of itself).
    """

    seq: int
    at: datetime
    amount_minor: int


def read_newest_first(book: int, account: int, since: datetime | None) -> Iterator[LogEntry]:
    """An account's log back to `since`, itself included; None: to its beginning.

    A page at a time, as far as it is asked for, and `ENTRIES_MAX` at most.
    """
    entries = _read_pages(book, account)
    return entries if since is None else takewhile(lambda e: e.created_at >= since, entries)


def _read_pages(book: int, account: int) -> Iterator[LogEntry]:
    before = None
    for _ in range(ENTRIES_MAX // PAGE):
        page = run(read_account_log(book, account, before, PAGE))
        yield from page
        if len(page) < PAGE:
            return
        before = page[-1].seq


def top_ups(newest_first: Iterable[LogEntry], account: int) -> Iterator[PastTopUp]:
    """The top-ups of an account among the entries of its log, newest first.

    A pending one counts from the moment at which it was asked for, and with what was posted of it
    in the end; one that was voided or timed out never was.
    """
    resolved: dict[bytes, tuple[int, int]] = {}
    for entry in newest_first:
        if entry.pending_id is not None:  # comes after, so is met before, what it resolves
            is_posted = bool(entry.flags & TransferFlags.POST_PENDING)
            resolved[entry.pending_id] = (entry.seq, entry.amount if is_posted else 0)
        elif entry.code in _CODES and entry.credit_account == account:
            seq, amount = resolved.pop(entry.id, (entry.seq, entry.amount))
            if amount:
                yield PastTopUp(seq, entry.created_at, amount)
