"""The ledger's clock, and where in its log a moment is that is over."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from popolni.ledger.client import atomic, run
from popolni.ledger.statements import lock_book
from popolni.topups.facts import read_first_seqs


def read_now() -> datetime:
    """The ledger's clock, which the moments in its log are of: not this machine's."""
    with connection.cursor() as cursor:
        cursor.execute("select now()")
        now: datetime = cursor.fetchone()[0]
    return now


def read_places_of(book: int, moments: Sequence[datetime]) -> list[int]:
    """Where in a book's log moments are that are over, for good.

    What is being posted got its moment before it is seen: whoever holds the book is waited for,
    and all that comes later is later.
    """
    with atomic():
        run(lock_book(book))
        return [run(read_first_seqs([(book, at)]))[book] for at in moments]
