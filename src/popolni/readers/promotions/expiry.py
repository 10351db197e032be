"""Bonuses that have ended: what is left of them is moved out, a little late and exactly once.

An ended allowance is neither shown nor used, swept or not; sweeping it is for the books alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db import connection
from django.utils import timezone

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code
from popolni.ledger.client import atomic, run
from popolni.ledger.model import Account, AccountFlags, Transfer
from popolni.ledger.statements import lock_book, post, read_accounts
from popolni.readers.jobs import Job
from popolni.subscribers.models import Allowance
from popolni.subscribers.rules import EXPIRED_KINDS, available

AT_ONCE = 500
"""Most allowances in one transaction: the book waits for it."""
AT_A_TIME = 20_000
"""Most in one part of the job."""
EVERY_S = 10

# What is reserved may come back: such a one is done with when that is known.
_DUE = """
    select allowance.id, branch.book
    from popolni_allowance as allowance
    join popolni_number as number on number.number = allowance.number_id
    join popolni_branch as branch on branch.id = number.branch_id
    join lateral (
        select a.debits_pending from ledger.account as a
        where a.book = branch.book and a.id = allowance.account offset 0
    ) as account on account.debits_pending = 0
    where
        allowance.promotion_id is not null
        and allowance.expired_at is null
        and allowance.ends_at <= %(now)s
    order by allowance.ends_at
    limit %(limit)s
"""
# Whoever has one is at it already, or closes its number.
_CLAIM = """
    select id, account from popolni_allowance
    where id = any(%(ids)s) and expired_at is null and ends_at <= %(now)s
    order by id
    for no key update skip locked
"""


def expire_bonuses(now: datetime, limit: int) -> int:
    """Moves out what is left of bonuses that have ended by `now`, of at most `limit` of them.

    How many were done with; fewer than `limit`: there are no more, or others are at them. Any
    number of workers may do it at the same time. Raises what the database and the ledger do; at
    most AT_ONCE, of one book, are a transaction.
    """
    in_books: defaultdict[int, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"now": now, "limit": limit})
        for pk, book in cursor.fetchall():
            in_books[book].append(pk)
    return sum(
        _sweep(book, pks[first : first + AT_ONCE], now)
        for book, pks in in_books.items()
        for first in range(0, len(pks), AT_ONCE)
    )


def _sweep(book: int, pks: Sequence[int], now: datetime) -> int:
    """One transaction: first the rows, then the book's turn, as whoever closes a number does."""
    with atomic():
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, {"ids": list(pks), "now": now})
            claimed: dict[int, int] = dict(cursor.fetchall())
        if not claimed:
            return 0
        run(lock_book(book))
        accounts = run(read_accounts(book, [*claimed.values()]))
        done = {
            pk: accounts[id_] for pk, id_ in claimed.items() if not accounts[id_].debits_pending
        }
        Allowance.objects.filter(pk__in=done).update(expired_at=now)
        _post(book, [_expiry(account) for account in done.values() if _is_left(account)])
    return len(done)


def _is_left(account: Account) -> bool:
    # a number that was closed has lost its bonuses then
    return available(account) > 0 and not account.flags & AccountFlags.CLOSED


def _expiry(account: Account) -> Transfer:
    return Transfer(
        transfer_id("bonus expiry", account.book, account.id),
        account.id,
        EXPIRED_KINDS[account.unit].account_id(),
        available(account),
        Code.ALLOWANCE_EXPIRY,
    )


def _post(book: int, transfers: Sequence[Transfer]) -> None:
    if not transfers:
        return
    answers = run(post(book, transfers))
    for transfer, answer in zip(transfers, answers, strict=True):
        if not answer.outcome.done:
            raise AssertionError(f"{book}, {transfer}: {answer.outcome}")


def _part() -> bool:
    return expire_bonuses(timezone.now(), AT_A_TIME) == AT_A_TIME


JOB = Job("ended bonuses", EVERY_S, _part)
