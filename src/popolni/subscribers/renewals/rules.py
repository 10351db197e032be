"""What the end of a period brings, and what a lapsed number's money does; pure.

- The next period begins where the last one ended, however late somebody looks. Periods that have
  gone by as a whole meanwhile brought no service, and are not charged for.
- Without the money, without auto-renewal, or while the number is blocked, the subscription lapses:
  what is left of its allowances expires.
- A lapsed one begins again at the moment of the credit that made its money enough, and its months
  are counted from that day.
- A plan that was queued takes the place of the former one when a period begins, and its months are
  counted from where the former one ended.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from popolni.catalog.plans.rules import Decision, PeriodUnit, PlanTerms, decide_renewal
from popolni.core.period import end_of_period
from popolni.ledger.model import Account, Transfer
from popolni.subscribers.rules import expiries, plain, subscription_steps


class Rhythm(NamedTuple):
    """How long a period of a plan is, in units, by the clock of a branch."""

    unit: PeriodUnit
    length: int
    zone: ZoneInfo


class Period(NamedTuple):
    """From when up to, without, when."""

    starts_at: datetime
    ends_at: datetime


class Standing(NamedTuple):
    """A number's current subscription.

    `is_served`: the number is active. `period_ends_at`: of the period under way, or, where it has
    lapsed, of the last one.
    """

    subscription: int
    number: int
    version: int
    next_version: int | None
    is_renewed: bool
    is_served: bool
    anchored_at: datetime
    period_ends_at: datetime

    @property
    def wanted(self) -> int:
        """The plan's version that the next period is of."""
        return self.next_version or self.version


class Credit(NamedTuple):
    """Why a lapsed number may have enough money: what came, when, and its receipt if it has one."""

    at: datetime
    amount_minor: int = 0
    receipt: str | None = None


class Renewed(NamedTuple):
    """A period begins. `receipt`: of the credit that a lapsed number had waited for."""

    standing: Standing
    terms: PlanTerms
    period: Period
    anchored_at: datetime
    receipt: str | None = None

    @property
    def is_other_plan(self) -> bool:
        """Whether it is another plan's than that of the period before."""
        return self.standing.wanted != self.standing.version


class Lapsed(NamedTuple):
    """No period begins."""

    standing: Standing


def period_at(starts_at: datetime, anchored_at: datetime, rhythm: Rhythm, now: datetime) -> Period:
    """Of the periods that follow one another from `starts_at` on the one that `now` is in.

    The first of them, if `now` is before it.
    """
    day = anchored_at.astimezone(rhythm.zone).day
    unit: Literal["day", "month"] = "day" if rhythm.unit is PeriodUnit.DAY else "month"
    ends_at = end_of_period(starts_at, unit, rhythm.length, rhythm.zone, day)
    while ends_at <= now:
        starts_at = ends_at
        ends_at = end_of_period(starts_at, unit, rhythm.length, rhythm.zone, day)
    return Period(starts_at.astimezone(UTC), ends_at)


def next_period(standing: Standing, rhythm: Rhythm, now: datetime) -> tuple[Period, datetime]:
    """The period after the one under way, of the plan that is wanted, and its anchor."""
    is_other = standing.wanted != standing.version
    anchored_at = standing.period_ends_at if is_other else standing.anchored_at
    return period_at(standing.period_ends_at, anchored_at, rhythm, now), anchored_at


def decide_due(
    standing: Standing, terms: PlanTerms, money_minor: int, zone: ZoneInfo, now: datetime
) -> Renewed | Lapsed:
    """What becomes of a subscription whose period has ended; `terms` are those that are wanted."""
    if not (standing.is_served and standing.is_renewed and is_enough(terms, money_minor)):
        return Lapsed(standing)
    rhythm = Rhythm(terms.period_unit, terms.period_count, zone)
    period, anchored_at = next_period(standing, rhythm, now)
    return Renewed(standing, terms, period, anchored_at)


def decide_lapsed(  # noqa: PLR0913, PLR0917  # all that it depends on
    standing: Standing,
    terms: PlanTerms,
    money_minor: int,
    credits_: Sequence[Credit],
    zone: ZoneInfo,
    now: datetime,
) -> Renewed | None:
    """Whether a lapsed subscription begins again; `credits_`, in order, are in the money."""
    if not (standing.is_served and standing.is_renewed and is_enough(terms, money_minor)):
        return None
    credit = _made_enough(credits_, money_minor, terms.price_minor)
    starts_at = max(credit.at, standing.period_ends_at)
    rhythm = Rhythm(terms.period_unit, terms.period_count, zone)
    period = period_at(starts_at, starts_at, rhythm, now)
    return Renewed(standing, terms, period, starts_at, credit.receipt)


def is_enough(terms: PlanTerms, money_minor: int) -> bool:
    """Whether the money pays for a period."""
    decision = decide_renewal(
        price_minor=terms.price_minor, money_minor=money_minor, when_short=terms.when_short
    )
    return decision is Decision.RENEW


def _made_enough(credits_: Sequence[Credit], money_minor: int, price_minor: int) -> Credit:
    """The first credit after which the money was enough, if nothing else happened meanwhile."""
    for credit in reversed(credits_):
        money_minor -= credit.amount_minor
        if money_minor < price_minor:
            return credit
    return credits_[0]


def transfers_of(
    decision: Renewed | Lapsed, subscription: int, former: Iterable[Account]
) -> list[Transfer]:
    """What is posted for it. `former`: the plan's accounts as they are; `subscription`: its row.

    The identifiers come from the number and the moment: it can't be posted a second time.
    """
    number = decision.standing.number
    if isinstance(decision, Lapsed):
        key = ("lapse", number, decision.standing.period_ends_at.astimezone(UTC).isoformat())
        return plain(expiries(former), *key, reference_id=subscription)
    return plain(
        subscription_steps(number, decision.terms, former),
        *("renewal", number, decision.period.starts_at.isoformat()),
        reference_id=subscription,
        reference=decision.receipt,
    )
