"""Renews what is due, a batch of one book at a time, and what has lapsed, once its money is enough.

A batch is a transaction. It takes subscriptions that nobody else has, and then the book's turn, so
that what it reads of the accounts still holds when it posts: none of its transfers can be refused,
and they go in set-wise. Rows first, the post last: a crash leaves all of the batch or nothing of
it, and what is left is due again.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.db import connection

from popolni.catalog.plans.rules import PlanTerms
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Kind
from popolni.ledger.client import Steps, atomic, run, run_steps
from popolni.ledger.failures import is_chance, is_lost
from popolni.ledger.model import Account, Transfer
from popolni.ledger.statements import lock_book, post, read_accounts
from popolni.subscribers.renewals import store
from popolni.subscribers.renewals.rules import (
    Credit,
    Lapsed,
    Renewed,
    Standing,
    decide_due,
    decide_lapsed,
    transfers_of,
)
from popolni.subscribers.renewals.store import Due, Versions
from popolni.subscribers.rules import NUMBER_KINDS, PLAN_KINDS, available

BATCH = 500
"""Subscriptions in one transaction: at most 3,500 transfers, and the book is held for as long."""
PAGE = 20_000
"""Subscriptions whose ids are read at once."""
TRIES_MAX = 3
"""How often a batch is tried that the server rolls back for what may be chance."""
_FIRST = (datetime(1, 1, 2, tzinfo=UTC), 0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """How many subscriptions were renewed and have lapsed; which could not be dealt with."""

    renewed: int = 0
    lapsed: int = 0
    failed: tuple[int, ...] = ()

    def __add__(self, other: "Done") -> "Done":
        return Done(
            self.renewed + other.renewed, self.lapsed + other.lapsed, self.failed + other.failed
        )


def run_due(  # noqa: PLR0913  # all but two by name
    now: datetime,
    limit: int,
    *,
    books: Collection[int] | None = None,
    without: Collection[int] = (),
    batch: int = BATCH,
    is_ending: Callable[[], bool] = lambda: False,
) -> Done:
    """Renews, or lapses, the subscriptions whose period has ended at `now`: `limit` at most.

    Any number of processes may do it at the same time. `books`: of these alone; `without`: of
    these subscriptions none. Between two batches it stops if `is_ending`. One that can't be dealt
    with (terms that nobody can read, an account that is closed) is left as it is, said in the log,
    and stands in nobody's way.

    Raises LedgerUnavailable, OutcomeUnknown and what the database does; what was done till then
    is done. Not to be called inside a transaction.
    """
    done, versions = Done(), Versions()
    for page in _pages(now, limit, books, without):
        for book, ids in _batches(page, batch):
            if is_ending():
                return done
            done += _batch_or_each(book, ids, now, versions, store.claim_due)
    return done


def renew_now(book: int, subscriptions: Collection[int], now: datetime) -> set[int]:
    """Renews, or lapses, those of these subscriptions of a book that are due at `now`.

    For who needs to know now what a number has. What another worker is at is waited for; but for
    the ones that it returns, which can't be dealt with, none of them is due at `now` any more.

    Raises and is called as `run_due`. At most `BATCH` at once.
    """
    ids = sorted(subscriptions)
    return set(_batch_or_each(book, ids, now, Versions(), store.claim_due_in_turn).failed)


def _pages(
    now: datetime, limit: int, books: Collection[int] | None, without: Collection[int]
) -> Iterator[list[Due]]:
    after = _FIRST
    while limit > 0:
        page = run(store.read_due(now, after, min(limit, PAGE), books, without))
        if not page:
            return
        yield page
        limit -= len(page)
        after = page[-1].period_ends_at, page[-1].subscription


def _batches(page: Sequence[Due], batch: int) -> Iterator[tuple[int, list[int]]]:
    """Batches of one book each; the books in any order, or all workers would begin in the same."""
    in_books: defaultdict[int, list[int]] = defaultdict(list)
    for one in page:  # in each, those that are due for longest first
        in_books[one.book].append(one.subscription)
    for book in random.sample(list(in_books), len(in_books)):
        ids = in_books[book]
        for first in range(0, len(ids), batch):
            yield book, ids[first : first + batch]


Claim = Callable[[Sequence[int], datetime], Steps[list[Standing]]]


def _batch_or_each(
    book: int, ids: Sequence[int], now: datetime, versions: Versions, claim: Claim
) -> Done:
    """A batch; if something is wrong with one of it, each by itself.

    What may have been chance is tried again. Raises what says that the database is away.
    """
    for last in range(TRIES_MAX - 1, -1, -1):
        try:
            return _run_batch(book, ids, now, versions, claim)
        except Exception as error:
            if is_lost(error):
                raise
            connection.close_if_unusable_or_obsolete()  # it may have been the session's end
            if last and is_chance(error):
                continue
            if len(ids) == 1:
                log.exception("subscription %s is due and can't be renewed", ids[0])
                return Done(failed=(ids[0],))
            break
    return sum((_batch_or_each(book, [id_], now, versions, claim) for id_ in ids), Done())


def _run_batch(
    book: int, ids: Sequence[int], now: datetime, versions: Versions, claim: Claim
) -> Done:
    with atomic():
        standings = run_steps(claim(ids, now))
        if not standings:  # others have them: no reason to wait for the book
            return Done()
        known = _take_book(book, standings, versions)
        decisions = [
            decide_due(one, known.terms[one.wanted], known.money(one), known.zone, now)
            for one in known.readable
        ]
        renewed = [one for one in decisions if isinstance(one, Renewed)]
        lapsed = [one for one in decisions if isinstance(one, Lapsed)]
        if decisions:
            store.count(book, renewed=len(renewed), lapsed=len(lapsed))
            store.lapse(lapsed)
            _begin_and_post(known, renewed, lapsed)
    unreadable = [one.subscription for one in standings if one.wanted not in known.terms]
    return Done(len(renewed), len(lapsed), tuple(unreadable))


def resume(book: int, credits_: Mapping[int, Sequence[Credit]], now: datetime) -> int:
    """Renews those of these numbers that have lapsed and whose money is enough. How many.

    `credits_`: by number, what came to it, in order. To be called as the last thing that a
    transaction does: it posts.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("a resumption is the end of a transaction: there is none")
    standings = run(store.claim_lapsed(sorted(credits_))) if credits_ else []
    if not standings:
        return 0
    known = _take_book(book, standings, Versions())
    decisions = [
        decide_lapsed(
            one,
            known.terms[one.wanted],
            known.money(one),
            credits_[one.number],
            known.zone,
            now,
        )
        for one in known.readable
    ]
    renewed = [one for one in decisions if one is not None]
    if renewed:
        store.count(book, resumed=len(renewed))
        _begin_and_post(known, renewed, [])
    return len(renewed)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is decided by. The book is ours: the accounts stay so until the transaction ends."""

    book: int
    zone: ZoneInfo
    terms: dict[int, PlanTerms]
    readable: list[Standing]
    accounts: dict[int, Account]

    def money(self, standing: Standing) -> int:
        """What the number can pay with, in minor units."""
        return available(self.accounts[Kind.SUBSCRIBER_MONEY.account_id(standing.number)])

    def former(self, standing: Standing) -> list[Account]:
        """Where what its last period left is."""
        return [self.accounts[kind.account_id(standing.number)] for kind in PLAN_KINDS.values()]


def _take_book(book: int, standings: Sequence[Standing], versions: Versions) -> _Known:
    """Reads what stays as it is, waits for the book's turn, and reads the accounts behind it."""
    terms = versions.of(one.wanted for one in standings)
    readable = [one for one in standings if one.wanted in terms]
    for one in standings:
        if one.wanted not in terms:
            log.error("subscription %s: nobody can read its terms", one.subscription)
    store.hold_versions(readable)
    zone = versions.zone(book)
    run(lock_book(book))
    ids = [kind.account_id(one.number) for one in readable for kind in NUMBER_KINDS]
    return _Known(book, zone, terms, readable, run(read_accounts(book, ids)))


def _begin_and_post(known: _Known, renewed: Sequence[Renewed], lapsed: Sequence[Lapsed]) -> None:
    """Rows, and then, as the last statement, the transfers."""
    store.move([one for one in renewed if not one.is_other_plan])
    others = store.change_plans([one for one in renewed if one.is_other_plan])
    store.grant(renewed)
    transfers: list[Transfer] = []
    decisions: list[Renewed | Lapsed] = [*renewed, *lapsed]
    for decision in decisions:
        one = decision.standing
        row = others.get(one.number, one.subscription)
        transfers += transfers_of(decision, row, known.former(one))
    answers = run(post(known.book, transfers)) if transfers else []
    for transfer, answer in zip(transfers, answers, strict=True):
        if answer.outcome is not Outcome.CREATED:
            raise Refused(f"{transfer}: {answer.outcome}")


class Refused(Exception):
    """The ledger refuses what it had said that it would bear; nothing was changed."""
