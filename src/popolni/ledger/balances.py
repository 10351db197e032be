"""What is left on accounts that go down to zero and no further, of any books, in one query."""

from collections.abc import Collection

from popolni.ledger.codec import Int4Array, Int8Array, encode_integers
from popolni.ledger.statements import Statement

_READ_LEFT = """
    select
        account.book, account.id,
        account.credits_posted - account.debits_posted - account.debits_pending
    from unnest(%s, %s) as wanted (book, id)
    join lateral (
        select * from ledger.account as a
        where a.book = wanted.book and a.id = wanted.id
        offset 0
    ) as account on true"""


def read_left(accounts: Collection[tuple[int, int]]) -> Statement[dict[tuple[int, int], int]]:
    """What each account (book, id) may still be debited with, in its unit.

    What is reserved by pending transfers is not left. An account that isn't there is left out.
    """
    books, ids = zip(*accounts, strict=True) if accounts else ((), ())
    return Statement(
        _READ_LEFT,
        (encode_integers(Int4Array, books), encode_integers(Int8Array, ids)),
        lambda rows: {(book, id_): left for book, id_, left in rows},
    )
