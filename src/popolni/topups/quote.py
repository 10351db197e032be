"""What a top-up would meet and bring, for a machine that asks before it takes the money.

The same rules as `decide` uses, and what the promotions and the number's plan add to it. It
changes nothing and promises nothing: a float or a budget may be gone a moment later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from popolni.catalog.promotions import rules as promotions
from popolni.catalog.promotions.rules import Bonus, TopUp
from popolni.core.language import Language
from popolni.core.refusal import Refusal
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import Steps
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.model import Unit
from popolni.ledger.statements import Statement
from popolni.subscribers.renewals.rules import Rhythm, Standing, next_period, period_at
from popolni.topups.catalogue import BranchTerms, Catalogue, Texts
from popolni.topups.facts import NumberFacts
from popolni.topups.preview import read_history, read_past
from popolni.topups.rules import Ask, Refused, refuse


class Holder(NamedTuple):
    """Who holds a number, and the plan that it is on; None where it is on none."""

    name: str
    language: Language
    version_id: int | None
    next_version_id: int | None
    is_lapsed: bool
    is_renewed: bool
    anchored_at: datetime | None
    period_ends_at: datetime | None

    @property
    def wanted_id(self) -> int | None:
        """The plan's version that money pays for next; None: nothing renews by itself."""
        return (self.next_version_id or self.version_id) if self.is_renewed else None


class Renewal(NamedTuple):
    """The plan that the money pays for, and until when; `until` None: it is not enough for it."""

    names: Texts
    price_minor: int
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a top-up would meet: `refused`; and bring. A number that is not ours has no branch.

    `bonuses` are what the promotions say to the sum, also while it is refused.
    """

    ask: Ask
    refused: Refused | None
    branch: BranchTerms | None = None
    holder: Holder | None = None
    renewal: Renewal | None = None
    bonuses: Sequence[tuple[Texts, Bonus]] = ()


_HOLDER = """
    select
        s.name, s.language, p.version_id, p.next_version_id, coalesce(p.status = 'lapsed', false),
        coalesce(p.is_renewed, false), p.anchored_at, p.period_ends_at
    from unnest(%s) as wanted (number)
    join popolni_number as n on n.number = wanted.number
    join popolni_subscriber as s on s.id = n.subscriber_id
    left join popolni_subscription as p on p.number_id = n.number and p.ended_at is null"""


def read_holder(number: int) -> Statement[Holder | None]:
    """Who holds the number."""
    return Statement(_HOLDER, (encode_integers(Int8Array, [number]),), _holder)


def _holder(rows: list[tuple[Any, ...]]) -> Holder | None:
    if not rows:
        return None
    name, language, *plan = rows[0]
    return Holder(name, Language(language), *plan)


def quote(
    catalogue: Catalogue,
    ask: Ask,
    facts: NumberFacts | None,
    now: datetime,
    outlet_today_minor: int = 0,
) -> Steps[Quote]:
    """What this top-up would meet and bring at this moment. The facts are as `decide` has them."""
    refused = refuse(catalogue, ask, facts, now, outlet_today_minor)
    branch = catalogue.branches.get(facts.branch_id) if facts else None
    if branch is None:
        return Quote(ask=ask, refused=refused)
    holder = yield read_holder(ask.number)
    if refused is None and not (yield from _is_covered(ask, branch)):
        refused = Refused(Refusal.FLOAT_TOO_LOW)
    bonuses = yield from _bonuses(catalogue, ask, branch, holder, now)
    money = ask.amount_minor + sum(one.amount for _, one in bonuses if one.unit is Unit.MONEY)
    return Quote(
        ask=ask,
        refused=refused,
        branch=branch,
        holder=holder,
        renewal=(yield from _renewal(catalogue, ask, branch, holder, money, now)),
        bonuses=bonuses,
    )


def _is_covered(ask: Ask, branch: BranchTerms) -> Steps[bool]:
    account = (branch.book, Kind.AGENT_FLOAT.account_id(ask.agent.id))
    return bool((yield read_left([account])).get(account, 0) >= ask.amount_minor)


def _renewal(  # noqa: PLR0913, PLR0917  # all that it depends on
    catalogue: Catalogue,
    ask: Ask,
    branch: BranchTerms,
    holder: Holder | None,
    money_minor: int,
    now: datetime,
) -> Steps[Renewal | None]:
    """What `money_minor`, with what is there already, pays of the plan: its next period.

    By the rules that renew it (`subscribers.renewals.rules`): at once where it has lapsed.
    """
    plan = catalogue.plans.get(holder.wanted_id) if holder and holder.wanted_id else None
    if plan is None or holder is None or holder.period_ends_at is None:
        return None
    account = (branch.book, Kind.SUBSCRIBER_MONEY.account_id(ask.number))
    left = (yield read_left([account])).get(account, 0)
    if left + money_minor < plan.price_minor:
        return Renewal(plan.names, plan.price_minor, None)
    rhythm = Rhythm(plan.period_unit, plan.period_count, branch.zone)
    if holder.is_lapsed:
        starts_at = max(now, holder.period_ends_at)
        period = period_at(starts_at, starts_at, rhythm, now)
    else:
        period = next_period(_standing(ask, holder), rhythm, now)[0]
    return Renewal(plan.names, plan.price_minor, period.ends_at)


def _standing(ask: Ask, holder: Holder) -> Standing:
    """The current subscription, as far as its next period depends on it."""
    if holder.version_id is None or holder.anchored_at is None or holder.period_ends_at is None:
        raise AssertionError("a plan has all of them")
    return Standing(
        subscription=0,
        number=ask.number,
        version=holder.version_id,
        next_version=holder.next_version_id,
        is_renewed=holder.is_renewed,
        is_served=True,
        anchored_at=holder.anchored_at,
        period_ends_at=holder.period_ends_at,
    )


def _bonuses(
    catalogue: Catalogue, ask: Ask, branch: BranchTerms, holder: Holder | None, now: datetime
) -> Steps[list[tuple[Texts, Bonus]]]:
    operator = branch.operator
    plan = catalogue.plans.get(holder.version_id) if holder and holder.version_id else None
    top_up = TopUp(
        operator=operator.id,
        plan=plan.plan_id if plan else None,
        channel=ask.channel,
        amount_minor=ask.amount_minor,
        at=now,
        zone=branch.zone,
    )
    by_terms = [
        one for one in operator.promotions if promotions.why_not_by_terms(one, top_up) is None
    ]
    if not by_terms or not ask.amount_minor:
        return []
    past = yield from read_past(branch.book, ask.number, top_up, by_terms)
    history = yield from read_history(branch.book, ask.number, top_up, by_terms, past)
    return [
        (operator.promotion_names[bonus.promotion], bonus)
        for bonus in promotions.bonuses(by_terms, top_up, history)
    ]
