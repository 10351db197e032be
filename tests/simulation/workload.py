"""What the simulated clients post: batches that follow from a seed and a number, so that a client
that was killed sends the same again, and the auditor knows what each identifier stands for.

A book has a bank account (1), subscribers that cannot be overdrawn (2 to 9) and revenue (10).
"""

from random import Random
from typing import Any

from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.model import AccountFlags, Transfer, TransferFlags, Unit

BOOKS = (1, 2, 3)
BANK, REVENUE = 1, 10
SUBSCRIBERS = range(2, 10)
LARGEST_BATCH = 40

OPENING = [
    *((account, Unit.MONEY, 1, AccountFlags.NONE) for account in (BANK, REVENUE)),
    *(
        (account, Unit.MONEY, 2, AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
        for account in SUBSCRIBERS
    ),
]


def opening() -> list[statements.Statement[Any]]:
    """Opens the books; harmless when repeated."""
    books: list[Any] = [statements.open_book(book, "RUB") for book in BOOKS]
    return books + [statements.open_accounts(book, OPENING) for book in BOOKS]


def batch(seed: int, number: int) -> tuple[int, list[Transfer]]:
    """The book and the transfers of one batch."""
    random = Random(f"{seed} {number}")  # noqa: S311  # repeatable, not secret
    transfers: list[Transfer] = []
    for place in range(random.randint(1, LARGEST_BATCH)):
        transfers += _some(random, (seed, number, place))
    return random.choice(BOOKS), transfers


def _some(random: Random, name: tuple[int, ...]) -> list[Transfer]:
    """One thing that a client does: mostly a plain top-up or purchase."""
    subscriber, amount = random.choice(SUBSCRIBERS), random.randint(1, 50)
    top_up = Transfer(transfer_id(*name), BANK, subscriber, amount, 1, reference=str(name))
    spend = Transfer(transfer_id(*name, "spend"), subscriber, REVENUE, random.randint(1, 60), 2)
    pending = top_up._replace(flags=TransferFlags.PENDING, timeout_s=random.choice([0, 0, 1]))
    resolution = Transfer(
        transfer_id(*name, "resolution"), 0, 0, 0, 0, pending_id=pending.id,
        flags=random.choice([TransferFlags.POST_PENDING, TransferFlags.VOID_PENDING]),
    )  # fmt: skip
    if resolution.flags == TransferFlags.POST_PENDING and random.random() < 0.5:
        resolution = resolution._replace(amount=random.randint(1, amount))
    return random.choices(
        [
            [top_up],
            [spend],
            [top_up._replace(flags=TransferFlags.LINKED), spend],
            [pending],
            [pending, resolution],
            [top_up, top_up],  # the same twice in one batch
        ],
        weights=[10, 5, 2, 1, 2, 1],
    )[0]
