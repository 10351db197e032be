"""What the history is made of: transfers as data, which know rows by what they are called.

A row's pk is known only when it is written; until then a `Ref` stands for it, in an account's
subject as well as in an identifier.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Transfer, TransferFlags, Unit

Who = Literal["agent", "promotion", "outlet", "bonus", "adjustment", "subscription", "before"]


class Ref(NamedTuple):
    """A row, by its code or its number in the history; `before` n: the seq of the n-th before."""

    who: Who
    key: str | int


class Side(NamedTuple):
    """An account."""

    kind: Kind
    subject: int | Ref = 0


class Entry(NamedTuple):
    """A transfer. `name` makes its identifier."""

    code: Code
    debit: Side
    credit: Side
    amount: int
    name: tuple[str | int | Ref, ...]
    is_linked: bool = False
    reference: str | Ref | None = None
    reference_at: datetime | None = None
    reference_id: int | Ref | None = None


class Moment(NamedTuple):
    """What was posted together, and when."""

    at: datetime
    entries: list[Entry]


class BonusRow(NamedTuple):
    """Bytes that a top-up brought; `key` is unique within a book."""

    key: int
    number: int
    promotion: str
    unit: Unit
    granted: int
    ends_at: datetime


class AllowanceRow(NamedTuple):
    """What the plan's current (or last) period granted to a number."""

    number: int
    unit: Unit
    granted: int
    ends_at: datetime


class SubscriptionRow(NamedTuple):
    """The plan that a number is on; `version` counts from 1."""

    number: int
    plan: str
    version: int
    is_lapsed: bool
    started_at: datetime
    anchored_at: datetime
    period_starts_at: datetime
    period_ends_at: datetime


class Target(NamedTuple):
    """What an adjustment changes: a number, an agent's float or a promotion's budget."""

    number: int | None = None
    agent: str | None = None
    promotion: str | None = None


class AdjustmentRow(NamedTuple):
    """An adjustment that was posted; `decided_by` None: it needed nobody else."""

    key: int
    kind: str
    target: Target
    amount: int
    reason: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime


class BookHistory(NamedTuple):
    """All that happened in a book, in order, and the rows that stand at the end."""

    moments: list[Moment]
    bonuses: list[BonusRow]
    allowances: list[AllowanceRow]
    subscriptions: list[SubscriptionRow]
    adjustments: list[AdjustmentRow]
    opened: dict[int, datetime]
    """When each number was opened."""
    status_since: dict[int, datetime]
    """Since when a number is blocked or closed."""


def to_transfer(entry: Entry, book: int, seq: int, rows: Mapping[Ref, int]) -> Transfer:
    """The transfer at `seq` of a book's log. A reference to another entry is its receipt."""

    def resolved(part: str | int | Ref) -> str | int:
        if not isinstance(part, Ref):
            return part
        return seq - int(part.key) if part.who == "before" else rows[part]

    about, reference = entry.reference_id, entry.reference
    return Transfer(
        transfer_id(*map(resolved, entry.name)),
        _account(entry.debit, rows),
        _account(entry.credit, rows),
        entry.amount,
        entry.code,
        TransferFlags.LINKED if entry.is_linked else TransferFlags.NONE,
        reference=f"{book}-{resolved(reference)}" if isinstance(reference, Ref) else reference,
        reference_at=entry.reference_at,
        reference_id=rows[about] if isinstance(about, Ref) else about,
    )


def _account(side: Side, rows: Mapping[Ref, int]) -> int:
    subject = side.subject
    return side.kind.account_id(rows[subject] if isinstance(subject, Ref) else subject)
