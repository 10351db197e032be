"""Whether an operator's compliance profile lets a top-up in, and which amounts it would let in.

What is about the agent (contract, outlet, float) is decided elsewhere. Of several reasons the
first of `core.refusal` is the answer: the number's status, then channel and method, then the
amount by itself, the identity, and at last what the number has had today and this month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal


class Identity(StrEnum):
    """How the payer said who they are."""

    DOCUMENT = "document"
    GOSUSLUGI = "gosuslugi"


class NumberStatus(StrEnum):
    """As the number's row has it."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the law and the operator's caution allow; sums in minor units, per number.

    A channel without limits and a method that is not in `methods` are off. `cash_identity`: a
    cash payment of `cash_identity_from_minor` or more needs any one of these; empty: none.
    """

    limits: Mapping[Channel, AmountRange]
    methods: frozenset[Method]
    cash_identity: frozenset[Identity]
    cash_identity_from_minor: int
    day_max_minor: int
    month_max_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A top-up that is asked for.

    `identity` is what was shown, if any; `spent_…` what the number was topped up by earlier on
    this day and in this calendar month of its branch, which includes the day.
    """

    channel: Channel
    method: Method
    amount_minor: int
    identity: Identity | None
    spent_today_minor: int
    spent_month_minor: int
    number_status: NumberStatus


_STATUS = {NumberStatus.CLOSED: Refusal.NUMBER_CLOSED, NumberStatus.BLOCKED: Refusal.NUMBER_BLOCKED}


def decide(profile: Profile, request: Request) -> Refusal | None:
    """Why this top-up is refused; None if nothing of the operator's stands against it."""
    return _decide_whatever_the_amount(profile, request) or _decide_amount(profile, request)


def allowed_now(profile: Profile, request: Request) -> AmountRange | None:
    """The amounts with which the same request would not be refused; None if there are none.

    `request.amount_minor` plays no part. Without the identity that larger sums of cash need, the
    range ends below them.
    """
    if _decide_whatever_the_amount(profile, request):
        return None
    limit = profile.limits[request.channel]
    most = [
        limit.most_minor,
        profile.day_max_minor - request.spent_today_minor,
        profile.month_max_minor - request.spent_month_minor,
    ]
    if _lacks_identity(profile, request):
        most.append(profile.cash_identity_from_minor - 1)
    allowed = AmountRange(limit.least_minor, min(most))
    return allowed if allowed.least_minor <= allowed.most_minor else None


def _decide_whatever_the_amount(profile: Profile, request: Request) -> Refusal | None:
    if request.number_status is not NumberStatus.ACTIVE:
        return _STATUS[request.number_status]
    if request.channel not in profile.limits:
        return Refusal.CHANNEL_OFF
    return None if request.method in profile.methods else Refusal.METHOD_OFF


def _decide_amount(profile: Profile, request: Request) -> Refusal | None:
    amount, limit = request.amount_minor, profile.limits[request.channel]
    checks = (
        (amount < limit.least_minor, Refusal.AMOUNT_TOO_SMALL),
        (amount > limit.most_minor, Refusal.AMOUNT_TOO_LARGE),
        (
            amount >= profile.cash_identity_from_minor and _lacks_identity(profile, request),
            Refusal.IDENTITY_NEEDED,
        ),
        (request.spent_today_minor + amount > profile.day_max_minor, Refusal.DAY_LIMIT),
        (request.spent_month_minor + amount > profile.month_max_minor, Refusal.MONTH_LIMIT),
    )
    return next((refusal for applies, refusal in checks if applies), None)


def _lacks_identity(profile: Profile, request: Request) -> bool:
    """Whether it is cash without what larger sums of it need."""
    return (
        request.method is Method.CASH
        and bool(profile.cash_identity)
        and request.identity not in profile.cash_identity
    )
