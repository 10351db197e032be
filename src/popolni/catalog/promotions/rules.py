"""What promotions give for a top-up, and why others give nothing; pure.

Each promotion stands alone: it has a budget of its own, and a top-up gets from every one that
applies. A bonus is given whole or, where the budget has less than that, not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from typing import NamedTuple
from zoneinfo import ZoneInfo

from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.period import end_of_period
from popolni.ledger.model import Unit


class Gives(StrEnum):
    """What a promotion's value counts."""

    PERCENT = "percent"
    MONEY = "money"
    BYTES = "bytes"
    SECONDS = "seconds"
    MESSAGES = "messages"

    @property
    def unit(self) -> Unit:
        """What the bonus, and the budget that it is paid from, are in."""
        return _UNITS[self]


_UNITS = {
    Gives.PERCENT: Unit.MONEY,
    Gives.MONEY: Unit.MONEY,
    Gives.BYTES: Unit.BYTE,
    Gives.SECONDS: Unit.SECOND,
    Gives.MESSAGES: Unit.MESSAGE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion's terms.

    In force from `starts_at` up to, without, `ends_at`, for amounts from `amount_min_minor` to
    `amount_max_minor`, both included. No plans, no channels: any. `value` is in per cent, minor
    units, bytes, seconds or messages; `money_max_minor` caps per cent. At most `per_number_max`
    times per number within `per_number_days` times 24 hours (None: since it started).
    """

    id: int
    operator: int
    is_on: bool = True
    starts_at: datetime
    ends_at: datetime | None = None
    plans: frozenset[int] = frozenset()
    channels: frozenset[Channel] = frozenset()
    is_first_top_up_only: bool = False
    amount_min_minor: int = 1
    amount_max_minor: int | None = None
    gives: Gives
    value: int
    money_max_minor: int | None = None
    valid_days: int | None = None
    per_number_max: int | None = None
    per_number_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """A top-up: on which operator's number and plan (None: on no plan), in which time zone."""

    operator: int
    plan: int | None
    channel: Channel
    amount_minor: int
    at: datetime
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was before the top-up.

    `is_first_top_up`: none was before; one that is reversed since never was.
    `given`: when this number was topped up for the bonuses that it had of each promotion, without
    those that were wholly taken back.
    `budgets`: what each promotion has left in the number's branch, in its unit; one that isn't
    there has no budget in that branch.
    """

    is_first_top_up: bool
    given: Mapping[int, Sequence[datetime]]
    budgets: Mapping[int, int]


class Bonus(NamedTuple):
    """What a promotion gives; bytes, seconds and messages end, money does not."""

    promotion: int
    unit: Unit
    amount: int
    ends_at: datetime | None


class WhyNot(StrEnum):
    """Why a promotion gives nothing, in the order of precedence: the first that applies."""

    OTHER_OPERATOR = auto()
    OFF = auto()
    NOT_STARTED = auto()
    ENDED = auto()
    OTHER_PLAN = auto()
    OTHER_CHANNEL = auto()
    AMOUNT_TOO_SMALL = auto()
    """Also: so small that the per cent of it are less than the smallest coin."""
    AMOUNT_TOO_LARGE = auto()
    NOT_FIRST_TOP_UP = auto()
    """Also: a bonus for the first one is kept."""
    GIVEN_BEFORE = auto()
    """As often as one number gets it."""
    NO_BUDGET_IN_BRANCH = auto()
    BUDGET_TOO_LOW = auto()
    """Less is left than this bonus."""


def bonus_id(promotion: int, book: int, seq: int) -> bytes:
    """The identifier of the transfer that is a promotion's bonus for a top-up.

    `seq` is the place in the book's log of the transfer that credited the top-up. The bonus's code
    is `Code.BONUS`, its `reference_id` the promotion: by these three a number's earlier bonuses are
    found, whatever account they went to.
    """
    return transfer_id("bonus", promotion, book, seq)


def bonus_reversal_id(promotion: int, book: int, seq: int) -> bytes:
    """The identifier of the transfer that takes a bonus back when its top-up is reversed.

    Named as `bonus_id`, after the top-up; the code is `Code.BONUS_REVERSAL`.
    """
    return transfer_id("bonus reversal", promotion, book, seq)


def bonuses(promotions: Iterable[Promotion], top_up: TopUp, history: History) -> list[Bonus]:
    """What the top-up gets, in the order of the promotions."""
    answers = explain(promotions, top_up, history).values()
    return [answer for answer in answers if isinstance(answer, Bonus)]


def explain(
    promotions: Iterable[Promotion], top_up: TopUp, history: History
) -> dict[int, Bonus | WhyNot]:
    """For each promotion, by its id and in their order, its bonus or why there is none."""
    return {promotion.id: _answer(promotion, top_up, history) for promotion in promotions}


def counts_since(promotion: Promotion, at: datetime) -> datetime:
    """Bonuses for top-ups at this moment or earlier no longer count against `per_number_max`."""
    # it started with its first moment, and a bonus may be given then
    started = promotion.starts_at - timedelta.resolution
    if promotion.per_number_days is None:
        return started
    return max(started, at - timedelta(days=promotion.per_number_days))


def asks_what_was_given(promotion: Promotion) -> bool:
    """Whether what the number had of this promotion before decides on the next bonus."""
    return promotion.per_number_max is not None or promotion.is_first_top_up_only


def why_not_by_terms(promotion: Promotion, top_up: TopUp) -> WhyNot | None:
    """The first reason in the promotion's own terms, whatever was before the top-up."""
    p, amount = promotion, top_up.amount_minor
    reasons = {
        WhyNot.OTHER_OPERATOR: top_up.operator != p.operator,
        WhyNot.OFF: not p.is_on,
        WhyNot.NOT_STARTED: top_up.at < p.starts_at,
        WhyNot.ENDED: p.ends_at is not None and top_up.at >= p.ends_at,
        WhyNot.OTHER_PLAN: bool(p.plans) and top_up.plan not in p.plans,
        WhyNot.OTHER_CHANNEL: bool(p.channels) and top_up.channel not in p.channels,
        WhyNot.AMOUNT_TOO_SMALL: amount < p.amount_min_minor or not _amount(p, amount),
        WhyNot.AMOUNT_TOO_LARGE: p.amount_max_minor is not None and amount > p.amount_max_minor,
    }
    return next((why for why, applies in reasons.items() if applies), None)


def _why_not_by_history(promotion: Promotion, top_up: TopUp, history: History) -> WhyNot | None:
    given = history.given.get(promotion.id, ())
    # What is kept of a bonus for the first top-up stays one, also if that top-up is reversed.
    if promotion.is_first_top_up_only and (given or not history.is_first_top_up):
        return WhyNot.NOT_FIRST_TOP_UP
    since = counts_since(promotion, top_up.at)
    times = sum(at > since for at in given)
    if promotion.per_number_max is not None and times >= promotion.per_number_max:
        return WhyNot.GIVEN_BEFORE
    left = history.budgets.get(promotion.id)
    if left is None:
        return WhyNot.NO_BUDGET_IN_BRANCH
    return WhyNot.BUDGET_TOO_LOW if _amount(promotion, top_up.amount_minor) > left else None


def _answer(promotion: Promotion, top_up: TopUp, history: History) -> Bonus | WhyNot:
    why_not = why_not_by_terms(promotion, top_up) or _why_not_by_history(promotion, top_up, history)
    if why_not:
        return why_not
    ends_at = None
    if promotion.gives.unit is not Unit.MONEY:
        if promotion.valid_days is None:
            raise ValueError(f"promotion {promotion.id} gives what ends, but not when")
        ends_at = end_of_period(top_up.at, "day", promotion.valid_days, top_up.zone)
    amount = _amount(promotion, top_up.amount_minor)
    return Bonus(promotion.id, promotion.gives.unit, amount, ends_at)


def _amount(promotion: Promotion, amount_minor: int) -> int:
    """The bonus for this amount; per cent are rounded down."""
    if promotion.gives is not Gives.PERCENT:
        return promotion.value
    share = amount_minor * promotion.value // 100
    return share if promotion.money_max_minor is None else min(share, promotion.money_max_minor)
