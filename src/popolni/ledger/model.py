"""The ledger's data: what goes into a post, what comes out, what the log holds.

A transfer is a tuple, as a batch is turned into columns thousands of times a second.
"""

from datetime import datetime
from enum import IntEnum, IntFlag
from typing import NamedTuple

from popolni.core.outcome import Outcome

BATCH_MAX = 8_000
"""Most transfers that go in one post."""

REFERENCE_MAX = 255
"""Most characters of a transfer's reference."""

AMOUNT_MAX = 2**63 - 1
"""Largest amount of one transfer, and of any total of an account."""


class Unit(IntEnum):
    """What an account counts. Money is in minor units of its book's one currency."""

    MONEY = 1
    BYTE = 2
    SECOND = 3
    MESSAGE = 4


class AccountFlags(IntFlag):
    """What an account refuses."""

    NONE = 0
    DEBITS_MUST_NOT_EXCEED_CREDITS = 2
    CREDITS_MUST_NOT_EXCEED_DEBITS = 4
    CLOSED = 32


class TransferFlags(IntFlag):
    """How a transfer is posted."""

    NONE = 0
    LINKED = 1
    """All or nothing with the next transfer of the batch."""
    PENDING = 2
    """Reserves the amount until it is posted, voided or timed out."""
    POST_PENDING = 4
    VOID_PENDING = 8


class Account(NamedTuple):
    """An account as it stands; totals in its unit."""

    book: int
    id: int
    unit: Unit
    kind: int
    flags: AccountFlags
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0


class Transfer(NamedTuple):
    """A transfer to post.

    `id` is 16 bytes (`core.identifiers.transfer_id`). `amount` is positive, in the accounts'
    unit. `timeout_s` is for a pending transfer; 0 means that it never times out. A transfer
    that posts or voids names its `pending_id`, and takes what is 0 or None here from it.

    `reference` is the identifier that the other side knows it by, `reference_at` that side's
    date (with time zone), `reference_id` our own row that it is about.
    """

    id: bytes
    debit_account: int
    credit_account: int
    amount: int
    code: int
    flags: int = 0
    timeout_s: int = 0
    pending_id: bytes | None = None
    reference: str | None = None
    reference_at: datetime | None = None
    reference_id: int | None = None


class Posted(NamedTuple):
    """The answer to one transfer of a batch.

    `seq` is its place in the book's log, 0 if it isn't there. A repeat (`EXISTS`) gets the
    first one's.
    """

    outcome: Outcome
    seq: int


class LogEntry(NamedTuple):
    """A transfer as a book's log holds it. `code` 0: the ledger released a timed-out pending."""

    seq: int
    id: bytes
    debit_account: int
    credit_account: int
    amount: int
    created_at: datetime
    code: int
    flags: int
    pending_id: bytes | None
    expires_at: datetime | None
    reference: str | None
    reference_at: datetime | None
    reference_id: int | None
