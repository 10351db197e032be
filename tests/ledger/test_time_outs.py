"""Pending transfers whose time runs out."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from popolni.core.outcome import Outcome
from popolni.ledger.model import Transfer, TransferFlags
from tests.ledger.support import NO_OVERDRAFT, NONE, Ledger, tid

AT = datetime(2026, 1, 1, tzinfo=UTC)


def pending(book: int, name: str | int, seconds: int) -> Transfer:
    return Transfer(tid(book, name), 1, 2, 10, 1, flags=TransferFlags.PENDING, timeout_s=seconds)


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_an_empty_post_releases_what_is_due(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE)
    ledger.post(book, pending(book, "short", 5), pending(book, "long", 50), at=AT)
    ledger.post(book, at=at(4.999999))
    assert ledger.account(book, 1).debits_pending == 20
    ledger.post(book, at=at(5))
    assert ledger.account(book, 1).debits_pending == 10
    assert ledger.account(book, 2).credits_pending == 10
    *_, release = ledger.log(book)
    assert (release.code, release.flags) == (0, TransferFlags.VOID_PENDING)
    assert release.pending_id == tid(book, "short")


def test_what_was_held_can_be_spent_in_the_same_post(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NO_OVERDRAFT)
    funds = Transfer(tid(book, "funds"), 1, 2, 10, 1)
    held = Transfer(tid(book, "held"), 2, 1, 10, 1, flags=TransferFlags.PENDING, timeout_s=5)
    spend = Transfer(tid(book, "spend"), 2, 1, 10, 1)
    ledger.post(book, funds, held, at=AT)
    assert ledger.post(book, spend, at=at(4))[0].outcome is Outcome.EXCEEDS_CREDITS
    assert ledger.post(book, spend, at=at(5))[0].outcome is Outcome.CREATED


def test_more_are_due_than_one_post_releases(ledger: Ledger) -> None:
    """At most about a thousand a post, all of one moment together; the next goes on from there."""
    book = ledger.new_book(NONE, NONE)
    ledger.post(book, *(pending(book, n, 1 + n // 600) for n in range(2_400)), at=AT)
    held = []
    for _ in range(4):
        ledger.post(book, at=at(1_000))
        held.append(ledger.account(book, 1).debits_pending // 10)
    assert held == [1_200, 0, 0, 0]


def test_a_refused_post_gets_further_too(ledger: Ledger) -> None:
    """A thousand that were posted in time come first; behind them is one that holds the money."""
    book = ledger.new_book(NONE, NONE, NO_OVERDRAFT)
    early = [pending(book, n, 5) for n in range(1_000)]
    posts = [
        Transfer(tid(book, n, "post"), 0, 0, 0, 0, TransferFlags.POST_PENDING, pending_id=row.id)
        for n, row in enumerate(early)
    ]
    funds = Transfer(tid(book, "funds"), 1, 3, 10, 1)
    held = pending(book, "held", 6)._replace(debit_account=3)
    ledger.post(book, *early, *posts, funds, held, at=AT)
    spend = Transfer(tid(book, "spend"), 3, 1, 10, 1)
    outcomes = [ledger.post(book, spend, at=at(10))[0].outcome for _ in range(2)]
    assert outcomes == [Outcome.EXCEEDS_CREDITS, Outcome.CREATED]


def test_the_ledgers_clock_does_not_run_backwards(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE)
    ledger.post(book, pending(book, 1, 5), at=at(100))
    ledger.post(book, pending(book, 2, 5), at=at(0))
    assert [entry.created_at for entry in ledger.log(book)] == [at(100), at(100)]


def test_somebody_has_the_identifier_of_the_release(ledger: Ledger) -> None:
    """It can be worked out from the pending one's, so somebody might take it to block the book."""
    book = ledger.new_book(NONE, NONE)
    held = pending(book, "held", 5)
    taken = Transfer(sha256(held.id).digest()[:16], 1, 2, 1, 1)
    ledger.post(book, held, taken, at=AT)
    ledger.post(book, at=at(6))
    assert ledger.account(book, 1).debits_pending == 0
    assert len(ledger.log(book)) == 3
