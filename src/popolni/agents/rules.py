"""Decisions about agents: plain data in, a decision out. Amounts are in minor units."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date

from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal

BASIS_POINTS = 10_000
"""Of the whole."""


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """A contract in force from `valid_from` up to, without, `valid_to` (None: without end)."""

    valid_from: date
    valid_to: date | None
    commissions: Mapping[Channel, int]
    """In basis points; a channel that isn't there earns nothing."""


@dataclass(frozen=True, slots=True)
class OutletTerms:
    """What an outlet takes."""

    is_active: bool
    methods: AbstractSet[Method]
    min_minor: int
    max_minor: int
    day_max_minor: int


def is_in_force(terms: ContractTerms, day: date) -> bool:
    """Whether the contract is in force on that day, of the branch's time zone."""
    return terms.valid_from <= day and (terms.valid_to is None or day < terms.valid_to)


def commission_minor(terms: ContractTerms, channel: Channel, amount_minor: int) -> int:
    """What the agent earns on a top-up."""
    return share_minor(amount_minor, terms.commissions.get(channel, 0))


def share_minor(amount_minor: int, basis_points: int) -> int:
    """A share of a sum, rounded to the nearest unit and a half to the even one.

    Over many top-ups neither side gains by the rounding; each top-up's share is rounded by
    itself, so that both sides of a registry add up the same numbers.
    """
    if amount_minor < 0 or not 0 <= basis_points <= BASIS_POINTS:
        raise ValueError(f"no share: {basis_points} basis points of {amount_minor}")
    units, rest = divmod(amount_minor * basis_points, BASIS_POINTS)
    half = BASIS_POINTS // 2
    return units + (rest > half or (rest == half and units % 2 == 1))


def outlet_refusal(
    terms: OutletTerms, method: Method, amount_minor: int, day_sum_minor: int
) -> Refusal | None:
    """Why an outlet may not take a top-up, by the precedence of `Refusal`; None: it may.

    `day_sum_minor` is what it took already on the outlet's day, without this one.
    """
    checks = (
        (not terms.is_active, Refusal.OUTLET_INACTIVE),
        (method not in terms.methods, Refusal.OUTLET_METHOD_OFF),
        (amount_minor < terms.min_minor, Refusal.AMOUNT_TOO_SMALL),
        (amount_minor > terms.max_minor, Refusal.AMOUNT_TOO_LARGE),
        (day_sum_minor + amount_minor > terms.day_max_minor, Refusal.OUTLET_DAY_LIMIT),
    )
    return next((refusal for applies, refusal in checks if applies), None)


def outlet_allows(
    terms: OutletTerms, amounts: AmountRange, day_sum_minor: int
) -> AmountRange | None:
    """Which of these amounts the outlet may take now, by its limits; None: none of them."""
    least = max(amounts.least_minor, terms.min_minor)
    most = min(amounts.most_minor, terms.max_minor, terms.day_max_minor - day_sum_minor)
    return AmountRange(least, most) if least <= most else None
