"""What is left of a bonus when it ends expires. A plan's allowance does with its period."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from popolni.core.outcome import Outcome
from popolni.ledger.client import atomic, run
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.statements import Statement, lock_book, post, read_accounts
from popolni.subscribers.rules import expiries, plain

log = logging.getLogger(__name__)

BATCH = 1_000
"""Bonuses that expire in one transaction."""

_IS_DUE = "a.expired_at is null and a.promotion_id is not null and a.ends_at <= %(now)s"
_DUE = f"""
    select branch.book, a.id
    from popolni_allowance as a
    inner join popolni_number as number on number.number = a.number_id
    inner join popolni_branch as branch on branch.id = number.branch_id
    where {_IS_DUE} and (%(books)s::bigint[] is null or branch.book = any(%(books)s::bigint[]))
    order by a.ends_at, a.id
    limit %(limit)s"""  # noqa: S608  # constants only
_CLAIM = f"""
    with due as (
        select a.id from popolni_allowance as a
        where a.id = any(%(ids)s) and {_IS_DUE}
        order by a.id
        for no key update skip locked
    )

    update popolni_allowance as a
    set expired_at = %(now)s
    from due
    where a.id = due.id
    returning a.id, a.account"""  # noqa: S608  # constants only


def expire_bonuses(now: datetime, limit: int, *, books: Collection[int] | None = None) -> int:
    """Expires, by transfer, what is left of the bonuses that have ended at `now`. How many ended.

    `limit` at most; `books`: of these alone. Any number of processes may do it at the same time,
    and each bonus expires once. Raises as `renewals.service.run_due`.
    """
    arguments = {
        "now": now,
        "limit": limit,
        "books": None if books is None else encode_integers(Int8Array, list(books)),
    }
    due: list[tuple[int, int]] = run(Statement(_DUE, arguments, list))
    expired = 0
    for book, rows in groupby(sorted(due), key=itemgetter(0)):
        ids = [id_ for _book, id_ in rows]
        for first in range(0, len(ids), BATCH):
            expired += _expire_or_each(book, ids[first : first + BATCH], now)
    return expired


def _expire_or_each(book: int, ids: Sequence[int], now: datetime) -> int:
    """A batch; if something is wrong with one of it, each by itself."""
    try:
        return _expire(book, ids, now)
    except Refused:
        if len(ids) == 1:
            log.exception("bonus %s has ended and can't expire", ids[0])
            return 0
    return sum(_expire_or_each(book, [id_], now) for id_ in ids)


def _expire(book: int, ids: Sequence[int], now: datetime) -> int:
    with atomic():
        arguments = {"ids": encode_integers(Int8Array, ids), "now": now}
        bonuses: list[tuple[int, int]] = run(Statement(_CLAIM, arguments, list, writes=True))
        if not bonuses:
            return 0
        run(lock_book(book))
        accounts = run(read_accounts(book, [account for _id, account in bonuses]))
        transfers = [
            transfer
            for id_, account in sorted(bonuses)
            if account in accounts
            for transfer in plain(
                expiries([accounts[account]]), "bonus ends", id_, reference_id=id_
            )
        ]
        answers = run(post(book, transfers)) if transfers else []
        refused = [answer.outcome for answer in answers if answer.outcome is not Outcome.CREATED]
        if refused:
            raise Refused(f"the ledger refuses that a bonus expires: {refused[0]}")
    return len(bonuses)


class Refused(Exception):
    """An account is not what it should be; nothing was changed."""
