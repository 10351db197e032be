"""What is left on accounts of any books."""

from popolni.ledger.balances import read_left
from popolni.ledger.model import Transfer, TransferFlags
from tests.ledger.support import NO_OVERDRAFT, NONE, Ledger, tid


def test_what_is_left_is_neither_spent_nor_reserved(ledger: Ledger) -> None:
    books = [ledger.new_book(NONE, NO_OVERDRAFT) for _ in range(2)]
    for book in books:
        ledger.post(
            book,
            Transfer(tid("left", book, "in"), 1, 2, 1_000 + book, 1),
            Transfer(tid("left", book, "spent"), 2, 1, 300, 1),
            Transfer(tid("left", book, "reserved"), 2, 1, 50, 1, TransferFlags.PENDING),
            Transfer(tid("left", book, "to come"), 1, 2, 7, 1, TransferFlags.PENDING),
        )
    wanted = [(book, account) for book in books for account in (1, 2, 3)]
    expected = {(book, 1): -(1_000 + book) + 300 - 7 for book in books}
    expected |= {(book, 2): 1_000 + book - 300 - 50 for book in books}
    assert ledger.run(read_left(wanted)) == expected
    assert ledger.run(read_left([])) == {}
