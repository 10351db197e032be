"""An event's transfers, and the answer that the log holds for it; pure.

The first transfer of an event says in its reference what was asked and what was answered: the
identifier, the answer in a word, the unit, how much was asked and how much is covered, and how
many transfers the event has, which stand one after another in the log. So whoever brings an event
again gets the first answer, whatever has changed since, and another event with its identifier is
told from it. What was refused leaves a memo, which moves no value.
"""

from collections.abc import Sequence
from typing import NamedTuple

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import LogEntry, Transfer, Unit
from popolni.subscribers.usage.rules import Decision, Event, Part, Reason, UsageWarning

COVERED = "covered"
LIMITED = "limited"


class Charge(NamedTuple):
    """What an account was charged with, in its unit. What costs nothing comes from ISSUED_*."""

    account: int
    amount: int
    unit: Unit


class Answer(NamedTuple):
    """What became of an event.

    `covered` of its amount is charged: all of it, a part (it is cut) or none (it is refused), and
    then `reason` says why. `is_limited`: data at the limited speed of a plan that is not paid for.
    `place` is the book and where in its log the answer begins; None: it is not kept.
    `is_repeat`: it was answered before, and this is that answer, without its warnings.
    """

    event: Event
    covered: int
    reason: Reason | None
    is_limited: bool = False
    charges: tuple[Charge, ...] = ()
    place: tuple[int, int] | None = None
    is_repeat: bool = False
    warnings: tuple[UsageWarning, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Nothing of it is covered."""
        return not self.covered

    @property
    def is_cut(self) -> bool:
        """A part of it is covered."""
        return 0 < self.covered < self.event.amount

    @property
    def money_minor(self) -> int:
        """What was paid for it, in minor units."""
        return sum(charge.amount for charge in self.charges if charge.unit is Unit.MONEY)


def not_kept(event: Event, reason: Reason) -> Answer:
    """The answer to what has no place in any log."""
    return Answer(event, 0, reason)


def transfers_of(event: Event, decision: Decision) -> list[Transfer]:
    """What is posted for an event: one transfer at least."""
    parts = decision.parts or (_MEMO,)
    first = _Asked(
        event.identifier,
        decision.reason or (LIMITED if decision.is_limited else COVERED),
        event.unit,
        event.amount,
        decision.covered,
        len(parts),
    )
    return [
        Transfer(
            transfer_id("usage", event.identifier, place) if place else event.id,
            part.debit_account,
            part.credit_account,
            part.amount,
            part.code,
            reference=event.identifier if place else first.text(),
            reference_at=event.started_at,
            reference_id=event.number,
        )
        for place, part in enumerate(parts)
    ]


_MEMO = Part(Kind.MEMO_REFUSED.account_id(), Kind.MEMO_CONTRA.account_id(), 1, Code.USAGE_REFUSAL)


def answer(event: Event, decision: Decision, book: int, seq: int) -> Answer:
    """The answer to an event whose transfers have just been created, the first at `seq`."""
    charges = tuple(
        Charge(part.debit_account, part.amount, _unit(part.code, event.unit))
        for part in decision.parts
    )
    return Answer(
        event,
        decision.covered,
        decision.reason,
        decision.is_limited,
        charges,
        (book, seq),
        warnings=decision.warnings,
    )


def again(event: Event, first: Answer) -> Answer:
    """The answer to an event whose identifier was answered before."""
    if event != first.event:
        return not_kept(event, Reason.OTHER_CONTENT)
    return first._replace(is_repeat=True, warnings=())


def places_after(first: LogEntry) -> list[int]:
    """Where in the log an event's further transfers are, behind its first one."""
    return list(range(first.seq + 1, first.seq + _Asked.read(first).parts))


def answer_from_log(book: int, entries: Sequence[LogEntry]) -> Answer:
    """The first answer to an event: `entries` are all its transfers, in their order."""
    first = entries[0]
    asked = _Asked.read(first)
    if first.reference_id is None or first.reference_at is None or len(entries) != asked.parts:
        raise AssertionError(f"{book}-{first.seq}: no event of use is written so")
    event = Event(
        asked.identifier, first.reference_id, asked.unit, asked.amount, first.reference_at
    )
    charges = tuple(
        Charge(entry.debit_account, entry.amount, _unit(entry.code, asked.unit))
        for entry in entries
        if entry.code != Code.USAGE_REFUSAL
    )
    return Answer(
        event,
        asked.covered,
        None if asked.word in (COVERED, LIMITED) else Reason(asked.word),
        asked.word == LIMITED,
        charges,
        (book, first.seq),
        is_repeat=True,
    )


def _unit(code: int, used: Unit) -> Unit:
    return Unit.MONEY if code == Code.USAGE_CHARGE else used


class _Asked(NamedTuple):
    """What the reference of an event's first transfer says."""

    identifier: str
    word: str
    unit: Unit
    amount: int
    covered: int
    parts: int

    def text(self) -> str:
        """As it is written."""
        return (
            f"{self.identifier} {self.word} {self.unit.name.lower()}"
            f" {self.amount} {self.covered} {self.parts}"
        )

    @classmethod
    def read(cls, entry: LogEntry) -> "_Asked":
        """What `text` wrote; an identifier may have spaces in it."""
        identifier, word, unit, *figures = (entry.reference or "").rsplit(" ", 5)
        amount, covered, parts = map(int, figures)
        return cls(identifier, word, Unit[unit.upper()], amount, covered, parts)
