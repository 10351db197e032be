"""What a top-up would give: whether the operator lets it in, and with which bonuses.

It reads and changes nothing, and promises nothing: a budget may be gone a moment later. What is
about the agent (contract, outlet, float) is not asked here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone

from popolni.catalog.operators.profiles import profile_of
from popolni.catalog.operators.rules import Identity, NumberStatus, Request, allowed_now, decide
from popolni.catalog.promotions import rules
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.rules import Bonus, History, TopUp, WhyNot
from popolni.catalog.promotions.service import BUDGETS
from popolni.catalog.promotions.terms import terms_of
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import Steps, run_steps
from popolni.ledger.model import Unit
from popolni.subscribers.models import Number
from popolni.topups.bonuses import read_given
from popolni.topups.history import PastTopUp, credited, read_since, was_ever_topped_up


class Given(NamedTuple):
    """What a promotion would give, in `unit`; bytes, seconds and messages end."""

    promotion: Promotion
    unit: Unit
    amount: int
    ends_at: datetime | None


class NotGiven(NamedTuple):
    """A promotion of the operator that is on and not over, and why it would give nothing."""

    promotion: Promotion
    why: WhyNot


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a top-up would give.

    `refusal`: what of the operator's stands against it. `allowed`: the amounts that would be
    let in now, everything else being the same; None if there are none. `bonuses`, `not_given`
    are what the promotions say to that amount, also while it is refused: a payer who has yet to
    show a document sees what it will give. `spent_…`: what the number was topped up by on this day
    and in this month of its branch. A number that is not here has only its refusal.
    """

    number: int
    amount_minor: int
    currency: str | None = None
    refusal: Refusal | None
    allowed: AmountRange | None = None
    spent_today_minor: int = 0
    spent_month_minor: int = 0
    bonuses: tuple[Given, ...] = ()
    not_given: tuple[NotGiven, ...] = ()


def preview(  # noqa: PLR0913  # all but two by name
    number: int,
    amount_minor: int,
    *,
    channel: Channel,
    method: Method,
    identity: Identity | None = None,
    at: datetime | None = None,
) -> Preview:
    """What a top-up of this number would give at a moment (None: now; not one in the past)."""
    row = Number.objects.select_related("branch__operator__profile").filter(pk=number).first()
    if row is None:
        return Preview(number=number, amount_minor=amount_minor, refusal=Refusal.NUMBER_UNKNOWN)
    top_up = TopUp(
        operator=row.branch.operator_id,
        plan=_read_plan(row),
        channel=channel,
        amount_minor=amount_minor,
        at=at or timezone.now(),
        zone=ZoneInfo(row.branch.time_zone),
    )
    rows = _read_promotions(top_up)
    terms = [terms_of(promotion) for promotion in rows]
    past = run_steps(read_past(row.branch.book, row.pk, top_up, terms))
    request = Request(
        channel=channel,
        method=method,
        amount_minor=amount_minor,
        identity=identity,
        spent_today_minor=_sum_since(past, _midnight(top_up)),
        spent_month_minor=_sum_since(past, _midnight(top_up, day=1)),
        number_status=NumberStatus(row.status),
    )
    history = run_steps(read_history(row.branch.book, row.pk, top_up, terms, past))
    answers = rules.explain(terms, top_up, history)
    profile = profile_of(row.branch.operator.profile)
    return Preview(
        number=number,
        amount_minor=amount_minor,
        currency=row.branch.currency,
        refusal=decide(profile, request),
        allowed=allowed_now(profile, request),
        spent_today_minor=request.spent_today_minor,
        spent_month_minor=request.spent_month_minor,
        bonuses=tuple(_given(rows, answers.values())),
        not_given=tuple(
            NotGiven(promotion, why)
            for promotion, why in zip(rows, answers.values(), strict=True)
            if isinstance(why, WhyNot)
        ),
    )


def _given(rows: Iterable[Promotion], answers: Iterable[Bonus | WhyNot]) -> Iterator[Given]:
    for promotion, bonus in zip(rows, answers, strict=True):
        if isinstance(bonus, Bonus):
            yield Given(promotion, bonus.unit, bonus.amount, bonus.ends_at)


def _read_plan(number: Number) -> int | None:
    current = number.subscriptions.filter(ended_at=None)
    return current.values_list("version__plan_id", flat=True).first()


def _read_promotions(top_up: TopUp) -> list[Promotion]:
    """The operator's, without those that are off or over: of these there are ever more."""
    still = Q(ends_at=None) | Q(ends_at__gt=top_up.at)
    promotions = Promotion.objects.filter(still, operator=top_up.operator, is_on=True)
    return list(promotions.prefetch_related("plans").order_by("pk"))


def _midnight(top_up: TopUp, *, day: int | None = None) -> datetime:
    """When the top-up's day began in its branch, or that day of its month."""
    today = top_up.at.astimezone(top_up.zone).date()
    return datetime.combine(today.replace(day=day or today.day), time.min, top_up.zone)


def _sum_since(past: Iterable[PastTopUp], since: datetime) -> int:
    return sum(one.amount_minor for one in past if one.at >= since and not one.is_reversed)


def _open(terms: Iterable[rules.Promotion], top_up: TopUp) -> list[rules.Promotion]:
    """Those that what was before the top-up decides about: only for them it is looked up."""
    return [one for one in terms if rules.why_not_by_terms(one, top_up) is None]


def read_past(
    book: int, number: int, top_up: TopUp, terms: Iterable[rules.Promotion]
) -> Steps[list[PastTopUp]]:
    """The number's top-ups of this month, and of as long before as a promotion counts them.

    Those that are reversed, too: what is kept of their bonuses counts.
    """
    counting = [one for one in _open(terms, top_up) if rules.asks_what_was_given(one)]
    since = [rules.counts_since(one, top_up.at) for one in counting]
    money = Kind.SUBSCRIBER_MONEY.account_id(number)
    entries = yield from read_since(book, money, min([_midnight(top_up, day=1), *since]))
    return list(credited(entries, money))


def read_history(
    book: int,
    number: int,
    top_up: TopUp,
    terms: Iterable[rules.Promotion],
    past: Sequence[PastTopUp],
) -> Steps[History]:
    """What the promotions ask of the time before; `past` is from `read_past`."""
    open_terms = _open(terms, top_up)
    asks_for_first = any(one.is_first_top_up_only for one in open_terms)
    is_first = asks_for_first and all(one.is_reversed for one in past)
    if is_first:
        money = Kind.SUBSCRIBER_MONEY.account_id(number)
        is_first = not (yield from was_ever_topped_up(book, money))
    return History(
        is_first_top_up=is_first,
        given=(yield from _read_given(book, open_terms, past, top_up.at)),
        budgets=(yield from _read_budgets(book, open_terms)),
    )


def _read_given(
    book: int, terms: Iterable[rules.Promotion], past: Sequence[PastTopUp], at: datetime
) -> Steps[dict[int, list[datetime]]]:
    """When the number was topped up for the bonuses that it had, and has not wholly lost again."""
    asked = {
        (promotion.id, one.seq): one.at
        for promotion in terms
        if rules.asks_what_was_given(promotion)
        for one in past
        if one.at > rules.counts_since(promotion, at)
    }
    given: dict[int, list[datetime]] = {}
    found = yield from read_given(book, asked)
    for key, bonus in found.items():
        if bonus.kept:
            given.setdefault(key[0], []).append(asked[key])
    return given


def _read_budgets(book: int, terms: Iterable[rules.Promotion]) -> Steps[dict[int, int]]:
    accounts = {
        (book, BUDGETS[Promotion.Gives(one.gives)].account_id(one.id)): one.id for one in terms
    }
    left = (yield read_left(list(accounts))) if accounts else {}
    return {accounts[key]: amount for key, amount in left.items()}
