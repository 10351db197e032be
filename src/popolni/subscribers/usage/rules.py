"""What an event of use takes from a number, decided from what it has at that moment; pure.

First the allowances of the unit, the one that ends soonest first, a bonus's or the plan's; then
the money, by the plan's rate, in whole blocks. What both do not cover is cut off, and of messages
and of what nothing covers nothing is charged. Nothing goes below zero.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum, auto
from typing import NamedTuple

from popolni.catalog.operators.rules import NumberStatus
from popolni.catalog.plans.rules import Rate, price_of_usage
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Unit
from popolni.subscribers.rules import ISSUED_KINDS

IDENTIFIER_MAX = 128
"""Most characters of an event's identifier."""

AMOUNT_MOST = {Unit.BYTE: 10**13, Unit.SECOND: 10**7, Unit.MESSAGE: 10**4}
"""Of one event; more is a slip of a column."""

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""When an event may have started."""

PARTS_MAX = 500
"""Most allowances that one event is charged to."""

NEARLY_USED_PER_CENT = 80
"""From this part of an allowance on its subscriber is warned."""

USED_KINDS = {
    Unit.BYTE: Kind.USED_BYTES,
    Unit.SECOND: Kind.USED_SECONDS,
    Unit.MESSAGE: Kind.USED_MESSAGES,
}
_USED = {unit: kind.account_id() for unit, kind in USED_KINDS.items()}
_ISSUED = {unit: kind.account_id() for unit, kind in ISSUED_KINDS.items()}
_REVENUE = Kind.OPERATOR_REVENUE.account_id()


class Event(NamedTuple):
    """Something used. `identifier` is the network's own, and names one event in all books.

    `unit` is what was used, not money, and `amount` how much of it: bytes, seconds, messages.
    """

    identifier: str
    number: int
    unit: Unit
    amount: int
    started_at: datetime

    @property
    def id(self) -> bytes:
        """The identifier of its first transfer, which is in the log if the event is answered."""
        return transfer_id("usage", self.identifier)


def check(event: Event) -> None:
    """Raises ValueError for what no event can be, with what is wrong."""
    name = event.identifier
    if not 1 <= len(name) <= IDENTIFIER_MAX or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"an identifier has 1 to {IDENTIFIER_MAX} characters that can be printed,"
            f" and no spaces around it"
        )
    most = AMOUNT_MOST.get(event.unit)
    if most is None:
        raise ValueError("bytes, seconds and messages are used, not money")
    if not 1 <= event.amount <= most:
        raise ValueError(f"an amount ({event.unit.name.lower()}) is 1 to {most}")
    if event.started_at.tzinfo is None:
        raise ValueError("an event starts at a moment: a time with its offset from UTC")
    if not EARLIEST <= event.started_at < LATEST:
        raise ValueError(f"an event starts in the years {EARLIEST.year} to {LATEST.year - 1}")


class Reason(StrEnum):
    """Why an event is not covered, or not all of it, in the order of precedence."""

    OTHER_CONTENT = auto()
    """Its identifier names another event. Not kept: that one's answer is."""
    NUMBER_UNKNOWN = auto()
    """Not kept either: there is no book that it could be kept in."""
    NUMBER_CLOSED = auto()
    NUMBER_BLOCKED = auto()
    PLAN_LAPSED = auto()
    """The plan's period is not paid for, and then its service stops."""
    NOT_IN_PLAN = auto()
    """No allowance is left, and the plan (or a number without one) has no rate for it."""
    MONEY_TOO_LOW = auto()


class Service(StrEnum):
    """What the number's plan gives it now: all, nothing, or data at the plan's limited speed."""

    FULL = auto()
    STOPPED = auto()
    LIMITED = auto()


class AllowanceFacts(NamedTuple):
    """An allowance that has not ended; what is left is its account's."""

    account: int
    unit: Unit
    granted: int
    ends_at: datetime


class NumberFacts(NamedTuple):
    """A number as it is when it is charged. `allowances`: the one that ends soonest first."""

    number: int
    status: NumberStatus
    service: Service
    rates: Mapping[Unit, Rate]
    allowances: Sequence[AllowanceFacts]
    low_balance_minor: int


class Part(NamedTuple):
    """One transfer of an event."""

    debit_account: int
    credit_account: int
    amount: int
    code: Code


class WarningKind(StrEnum):
    """What a subscriber is warned of."""

    ALLOWANCE_NEARLY_USED = auto()
    LOW_BALANCE = auto()


class UsageWarning(NamedTuple):
    """An event took something past a mark that it had not passed before.

    `left` of `of` in `unit`: what is left of a granted allowance, which ends at `ends_at`; or the
    money that is left, below the branch's mark. `event_id` with `kind` and `account` is the
    warning's own name: no other event, and no repeat of this one, gives it again.
    """

    kind: WarningKind
    event_id: bytes
    number: int
    account: int
    unit: Unit
    left: int
    of: int
    ends_at: datetime | None = None


class Decision(NamedTuple):
    """What an event is charged: `covered` of its amount by these parts; `reason` if not all.

    `is_limited`: it is data at the limited speed of a plan that is not paid for.
    """

    parts: tuple[Part, ...]
    covered: int
    reason: Reason | None = None
    is_limited: bool = False
    warnings: tuple[UsageWarning, ...] = ()


def decide_all(
    events: Sequence[Event], facts: Mapping[int, NumberFacts], left: Mapping[int, int]
) -> list[Decision]:
    """Decides events one after another, each by what those before it have left.

    `facts` has every number of the events; `left` is what each account of theirs may still be
    debited with: money and allowances.
    """
    now = dict(left)
    decisions = []
    for event in events:
        decision = decide(event, facts[event.number], now)
        decisions.append(decision)
        for part in decision.parts:
            if part.debit_account in now:
                now[part.debit_account] -= part.amount
    return decisions


def decide(event: Event, facts: NumberFacts, left: Mapping[int, int]) -> Decision:
    """Decides one event."""
    refusal = _refuse(facts)
    if refusal:
        return Decision((), 0, refusal)
    parts, rest = _from_allowances(event, facts, left)
    beyond = _beyond(event.unit, rest, facts, left)
    if beyond.reason and event.unit is Unit.MESSAGE:  # half a message is none
        return Decision((), 0, beyond.reason)
    if beyond.part:
        parts.append(beyond.part)
    covered = event.amount - rest + beyond.covered
    warnings = _warnings(event, facts, parts, left)
    return Decision(tuple(parts), covered, beyond.reason, beyond.is_limited, warnings)


def _refuse(facts: NumberFacts) -> Reason | None:
    if facts.status is NumberStatus.CLOSED:
        return Reason.NUMBER_CLOSED
    if facts.status is NumberStatus.BLOCKED:
        return Reason.NUMBER_BLOCKED
    return Reason.PLAN_LAPSED if facts.service is Service.STOPPED else None


def _from_allowances(
    event: Event, facts: NumberFacts, left: Mapping[int, int]
) -> tuple[list[Part], int]:
    """What allowances cover, and how much is to be covered beyond them."""
    parts: list[Part] = []
    rest = event.amount
    for allowance in facts.allowances:
        if not rest or len(parts) == PARTS_MAX:
            break
        taken = min(rest, left.get(allowance.account, 0))
        if allowance.unit is event.unit and taken > 0:
            parts.append(Part(allowance.account, _USED[event.unit], taken, Code.USAGE))
            rest -= taken
    return parts, rest


class _Beyond(NamedTuple):
    """What covers use beyond the allowances, and why it does not cover all of it."""

    part: Part | None = None
    covered: int = 0
    reason: Reason | None = None
    is_limited: bool = False


def _beyond(unit: Unit, amount: int, facts: NumberFacts, left: Mapping[int, int]) -> _Beyond:
    if not amount:
        return _Beyond()
    # What costs nothing is granted and used in one, so that it is in the log and in the totals.
    free = Part(_ISSUED[unit], _USED[unit], amount, Code.USAGE)
    if facts.service is Service.LIMITED and unit is Unit.BYTE:
        return _Beyond(free, amount, is_limited=True)
    rate = facts.rates.get(unit)
    if rate is None:
        return _Beyond(reason=Reason.NOT_IN_PLAN)
    if not rate.price_minor:
        return _Beyond(free, amount)
    account = Kind.SUBSCRIBER_MONEY.account_id(facts.number)
    blocks = max(0, left.get(account, 0)) // rate.price_minor
    covered = min(amount, blocks * rate.block)
    reason = None if covered == amount else Reason.MONEY_TOO_LOW
    if not covered:
        return _Beyond(reason=reason)
    cost = price_of_usage(rate, covered)
    return _Beyond(Part(account, _REVENUE, cost, Code.USAGE_CHARGE), covered, reason)


def _warnings(
    event: Event, facts: NumberFacts, parts: Sequence[Part], left: Mapping[int, int]
) -> tuple[UsageWarning, ...]:
    """Which marks are passed by these parts, from what was left before them."""
    found = []
    for part in parts:
        before = left.get(part.debit_account, 0)
        after = before - part.amount
        if part.code is Code.USAGE_CHARGE:
            mark = facts.low_balance_minor
            if after < mark <= before:
                found.append(
                    UsageWarning(
                        WarningKind.LOW_BALANCE, event.id, event.number, part.debit_account,
                        Unit.MONEY, after, mark,
                    )
                )  # fmt: skip
            continue
        for allowance in facts.allowances:
            granted = allowance.granted
            if (
                allowance.account == part.debit_account
                and not is_nearly_used(granted, before)
                and is_nearly_used(granted, after)
            ):
                found.append(
                    UsageWarning(
                        WarningKind.ALLOWANCE_NEARLY_USED, event.id, event.number,
                        allowance.account, event.unit, after, granted, allowance.ends_at,
                    )
                )  # fmt: skip
    return tuple(found)


def is_nearly_used(granted: int, left: int) -> bool:
    """Whether at least 80 % of an allowance are used."""
    return (granted - left) * 100 >= granted * NEARLY_USED_PER_CENT
