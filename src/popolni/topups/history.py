"""What a number was topped up by before, as its account's log tells."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from popolni.ledger.chart import TOP_UPS, Code
from popolni.ledger.client import Steps
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.ledger.statements import read_account_log

PAGE = 500
ENTRIES_MAX = 100_000
"""How far back a log is read: no number has as many entries in a month."""

_CODES = frozenset(TOP_UPS.values())


class PastTopUp(NamedTuple):
    """A top-up that was credited, or is pending.

    `seq` is the place in the log of what credited it (of a pending one: of itself). One that is
    reversed since is the past of bonuses alone.
    """

    seq: int
    at: datetime
    amount_minor: int
    is_reversed: bool = False


def read_since(book: int, account: int, since: datetime) -> Steps[list[LogEntry]]:
    """An account's log back to `since`, itself included, newest first; `ENTRIES_MAX` at most."""
    found: list[LogEntry] = []
    before = None
    while len(found) < ENTRIES_MAX:
        page = yield read_account_log(book, account, before, PAGE)
        found += takewhile(lambda entry: entry.created_at >= since, page)
        if len(page) < PAGE or page[-1].created_at < since:
            break
        before = page[-1].seq
    return found


def was_ever_topped_up(book: int, account: int) -> Steps[bool]:
    """Whether its log has a top-up that was credited, or is pending; the newest is met first."""
    entries: list[LogEntry] = []
    before = None
    while len(entries) < ENTRIES_MAX:
        page = yield read_account_log(book, account, before, PAGE)
        entries += page
        if next(top_ups(entries, account), None) is not None:
            return True
        if len(page) < PAGE:
            break
        before = page[-1].seq
    return False


def top_ups(newest_first: Iterable[LogEntry], account: int) -> Iterator[PastTopUp]:
    """The top-ups of an account among the entries of its log, newest first.

    A pending one counts from the moment at which it was asked for, and with what was posted of it
    in the end; one that was voided or timed out, or is reversed, never was.
    """
    return (one for one in credited(newest_first, account) if not one.is_reversed)


def credited(newest_first: Iterable[LogEntry], account: int) -> Iterator[PastTopUp]:
    """As `top_ups`, and with those that are reversed."""
    resolved: dict[bytes, tuple[int, int]] = {}
    gone: set[int | None] = set()
    for entry in newest_first:
        if entry.code == Code.TOP_UP_REVERSAL:  # comes after what it reverses, too
            gone.add(entry.reference_id)
            continue
        if entry.pending_id is not None:  # comes after, so is met before, what it resolves
            is_posted = bool(entry.flags & TransferFlags.POST_PENDING)
            resolved[entry.pending_id] = (entry.seq, entry.amount if is_posted else 0)
        elif entry.code in _CODES and entry.credit_account == account:
            seq, amount = resolved.pop(entry.id, (entry.seq, entry.amount))
            if amount:
                yield PastTopUp(seq, entry.created_at, amount, seq in gone)
