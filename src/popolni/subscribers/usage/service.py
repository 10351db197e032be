"""Charges what numbers use: reads, decides and posts in one turn of the book, a batch at a time.

What is decided depends on what is left, so the book's turn is taken first and kept until the
commit: nothing moves in between, and whatever is decided can be posted. A batch is charged whole
or not at all; an event in it that somebody else charged meanwhile takes the batch back, and the
next try finds that answer. So does a number whose period has ended: it is renewed, or lapses, and
the next try charges it as it is then.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from django.utils import timezone

from popolni.core.outcome import Outcome
from popolni.ledger.client import atomic, run, run_steps
from popolni.ledger.errors import LedgerUnavailable
from popolni.ledger.model import BATCH_MAX, LogEntry, Posted, Transfer
from popolni.ledger.statements import lock_book, post, read_places, read_transfers
from popolni.subscribers.renewals.service import renew_now
from popolni.subscribers.usage.answers import (
    Answer,
    again,
    answer,
    answer_from_log,
    not_kept,
    places_after,
    transfers_of,
)
from popolni.subscribers.usage.facts import read_books, read_facts
from popolni.subscribers.usage.rules import Event, Reason, UsageWarning, check, decide_all

EVENTS_MAX = 250
"""Most events that one transaction charges: a book's turn is not longer than these take."""

TRIES_MAX = 5
"""How often a batch is tried while others charge the same events, or periods end."""

Warn = Callable[[Sequence[UsageWarning]], object]
"""Takes the warnings of a batch, in its transaction and before its post: what it writes to the
database is there with the charge or not at all. It is quick, as the book waits for it."""

_Asked = dict[bytes, Event]
"""Events by their identifiers, in their order."""
_Held = dict[bytes, Answer]
"""First answers by their event's identifier; `is_repeat` if they were in the log before."""


def charge(
    events: Sequence[Event],
    *,
    warn: Warn = lambda _warnings: None,
    now: datetime | None = None,
) -> list[Answer]:
    """Charges events, in their order, each once: one answer for each.

    Each is charged at the moment at which it is brought, whenever it started: to allowances that
    have not ended now, by the rates that the number has now; one whose period has ended by then
    is renewed first, or lapses, in a transaction of its own. Every answer but OTHER_CONTENT and
    NUMBER_UNKNOWN is in the log when it is given, and every repeat gets it again. Events of
    different books, and more than EVENTS_MAX of one, are charged in transactions of their own.

    `now` is for tests and replays: the moment that it happens at (None: now).

    Raises ValueError, before anything is charged, for what no event can be (`rules.check`);
    LedgerUnavailable or OutcomeUnknown, and then the same events, asked for again, find out what
    was charged and charge the rest.
    """
    for event in events:
        check(event)
    books = run(read_books({event.number for event in events})) if events else {}
    ids = [event.id for event in events]
    by_book: defaultdict[int, _Asked] = defaultdict(dict)
    taken: set[bytes] = set()
    unknown: set[int] = set()  # places of events whose identifier no event before them has
    for place, (id_, event) in enumerate(zip(ids, events, strict=True)):
        if id_ in taken:
            continue
        if event.number in books:
            taken.add(id_)
            by_book[books[event.number]][id_] = event
        else:
            unknown.add(place)
    before = _read_held([ids[place] for place in unknown])
    held: _Held = {}
    for book, asked in by_book.items():
        held |= _charge_book(book, asked, warn, now)
    return _answers(events, ids, unknown, before, held)


def _answers(
    events: Sequence[Event],
    ids: Sequence[bytes],
    unknown: Collection[int],
    before: _Held,
    held: _Held,
) -> list[Answer]:
    """The answer to each event; the first with an identifier gets the new one, others repeat it."""
    answers = []
    for place, (id_, event) in enumerate(zip(ids, events, strict=True)):
        first = (before if place in unknown else held).get(id_)
        if first is None:
            answers.append(not_kept(event, Reason.NUMBER_UNKNOWN))
        elif first.is_repeat:
            answers.append(again(event, first))
        else:
            answers.append(first)
            held[id_] = again(event, first)
    return answers


def _charge_book(book: int, asked: _Asked, warn: Warn, now: datetime | None) -> _Held:
    """Charges events of one book."""
    held: _Held = {}
    rest = list(asked.items())
    while rest:
        batch = rest[:EVENTS_MAX]
        done = _charge_batch(book, dict(batch), warn, now)
        held |= done
        rest = [each for each in batch if each[0] not in done] + rest[EVENTS_MAX:]
    return held


def _charge_batch(book: int, asked: _Asked, warn: Warn, now: datetime | None) -> _Held:
    """Charges as many of the events, from the first on, as go in one post."""
    passed_over: set[int] = set()
    for _try in range(TRIES_MAX):
        held = _read_held(list(asked))
        new = {id_: event for id_, event in asked.items() if id_ not in held}
        if not new:
            return held
        try:
            return held | _charge_new(book, new, warn, now, passed_over)
        except _Taken:
            continue
        except _Due as found:
            passed_over |= renew_now(book, found.subscriptions, now or timezone.now())
    raise LedgerUnavailable("others are charging the same events or numbers just now")


class _Taken(Exception):
    """An event's identifier came to be in a log meanwhile; nothing was written."""


class _Due(Exception):
    """Plans of these numbers are to be renewed first, or to lapse; nothing was written."""

    def __init__(self, subscriptions: Collection[int]) -> None:
        super().__init__(f"{len(subscriptions)} subscriptions")
        self.subscriptions = subscriptions


def _charge_new(
    book: int, asked: _Asked, warn: Warn, now: datetime | None, passed_over: Collection[int]
) -> _Held:
    """Charges events in one transaction; _Taken if one of them was charged meanwhile.

    _Due if the period of a number has ended, but for the subscriptions that are `passed_over`:
    else the event would take the money that the next period costs.
    """
    with atomic():
        run(lock_book(book))
        wanted = {(event.number, event.unit) for event in asked.values()}
        facts = run_steps(read_facts(book, wanted, now or timezone.now()))
        if due := facts.due.difference(passed_over):
            raise _Due(due)
        decisions = decide_all(list(asked.values()), facts.numbers, facts.left)
        transfers: list[Transfer] = []
        firsts: list[int] = []  # where in them each event begins
        for event, decision in zip(asked.values(), decisions, strict=True):
            own = transfers_of(event, decision)
            if len(transfers) + len(own) > BATCH_MAX:
                break
            firsts.append(len(transfers))
            transfers += own
        charged = list(zip(asked.items(), decisions, firsts, strict=False))
        if warnings := [one for _, decision, _ in charged for one in decision.warnings]:
            warn(warnings)
        posted = run(post(book, transfers, at=now))
        _check(posted)
    return {
        id_: answer(event, decision, book, posted[first].seq)
        for (id_, event), decision, first in charged
    }


def _check(posted: Sequence[Posted]) -> None:
    """Raises if anything was not created: in the book's turn only an identifier can be in the way.

    Then all of the transaction is taken back, so that no part of an event is charged alone.
    """
    for outcome in {one.outcome for one in posted} - {Outcome.CREATED}:
        if outcome.value.startswith(Outcome.EXISTS.value):
            raise _Taken
        raise AssertionError(f"use that was decided in the book's turn is answered {outcome}")


def _read_held(ids: Sequence[bytes]) -> _Held:
    """The answers that the log of any book has for these events."""
    found: dict[bytes, tuple[int, LogEntry]] = run(read_transfers(ids)) if ids else {}
    further: defaultdict[int, list[int]] = defaultdict(list)
    for book, first in found.values():
        further[book] += places_after(first)
    rest = {
        (book, entry.seq): entry
        for book, places in further.items()
        if places
        for entry in run(read_places(book, places))
    }
    return {
        id_: answer_from_log(book, [first, *(rest[book, place] for place in places_after(first))])
        for id_, (book, first) in found.items()
    }
