"""A plan's terms, and what follows from them; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from popolni.core.errors import UserError
from popolni.ledger.model import AMOUNT_MAX, Unit

COUNT_MAX = 32_767
"""Most days or months of a period."""
SPEED_MAX = 2**31 - 1
"""Most kbit/s that a limited service may be said to have."""
NAME_MAX = 100


class PeriodUnit(StrEnum):
    """What a period counts."""

    DAY = "day"
    MONTH = "month"


class WhenShort(StrEnum):
    """What happens when the money is not enough for the next period."""

    STOP = "stop"
    LIMIT = "limit"


class Rate(NamedTuple):
    """Use beyond the allowance: `price_minor` for each begun `block` of the unit."""

    block: int
    price_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """What a version of a plan says.

    `allowances` and `rates` are in bytes, seconds or messages. Valid from `valid_from` up to,
    without, `valid_to`; None: until a later version begins.
    """

    name_ru: str
    name_en: str
    name_zh: str
    price_minor: int
    period_unit: PeriodUnit
    valid_from: datetime
    period_count: int = 1
    description_ru: str = ""
    description_en: str = ""
    description_zh: str = ""
    allowances: Mapping[Unit, int]
    rates: Mapping[Unit, Rate]
    when_short: WhenShort = WhenShort.STOP
    limited_kbit_per_s: int | None = None
    valid_to: datetime | None = None


def check_terms(terms: PlanTerms) -> None:
    """Raises UserError with the first thing that no version of a plan can say."""
    if fault := _fault_of(terms):
        raise UserError(fault)


def _fault_of(terms: PlanTerms) -> str | None:
    return (
        _fault_of_texts(terms)
        or _fault_of_period(terms)
        or _fault_of_units(terms)
        or _fault_when_short(terms)
    )


def _fault_of_texts(terms: PlanTerms) -> str | None:
    names = (terms.name_ru, terms.name_en, terms.name_zh)
    for name in names:
        if not name.strip() or len(name) > NAME_MAX:
            return f"a plan has a name of 1 to {NAME_MAX} characters in each language, not {name!r}"
    descriptions = (terms.description_ru, terms.description_en, terms.description_zh)
    if any("\0" in text for text in (*names, *descriptions)):
        return "a plan's texts hold no zero characters"
    return None


def _fault_of_period(terms: PlanTerms) -> str | None:
    if terms.price_minor < 0:
        return f"a plan's price is 0 or more kopecks, not {terms.price_minor}"
    if terms.price_minor > AMOUNT_MAX:
        return f"a plan's price is at most {AMOUNT_MAX} kopecks, not {terms.price_minor}"
    if not 1 <= terms.period_count <= COUNT_MAX:
        return f"a period is 1 to {COUNT_MAX} {terms.period_unit}s long, not {terms.period_count}"
    if any(moment and moment.tzinfo is None for moment in (terms.valid_from, terms.valid_to)):
        return "a plan is valid from and to a moment: give the time zone too"
    if terms.valid_to and terms.valid_to <= terms.valid_from:
        return (
            f"a plan's end ({terms.valid_to:%Y-%m-%d %H:%M}) is later than"
            f" its beginning ({terms.valid_from:%Y-%m-%d %H:%M})"
        )
    return None


def _fault_of_units(terms: PlanTerms) -> str | None:
    if Unit.MONEY in terms.allowances or Unit.MONEY in terms.rates:
        return "a plan includes and charges bytes, seconds and messages, not money"
    for unit, amount in terms.allowances.items():
        if amount < 1:
            return f"an allowance of {unit.name.lower()}s is 1 or more, not {amount}: leave it out"
        if amount > AMOUNT_MAX:
            return f"an allowance of {unit.name.lower()}s is at most {AMOUNT_MAX}, not {amount}"
    for unit, rate in terms.rates.items():
        if not (1 <= rate.block <= AMOUNT_MAX and 0 <= rate.price_minor <= AMOUNT_MAX):
            return (
                f"a rate of {unit.name.lower()}s has a block of 1 to {AMOUNT_MAX},"
                f" and a price of 0 to {AMOUNT_MAX} kopecks"
            )
    return None


def _fault_when_short(terms: PlanTerms) -> str | None:
    if terms.when_short is WhenShort.STOP and terms.limited_kbit_per_s is not None:
        return "a plan without money stops or is limited: only a limited one has a speed"
    if (
        terms.when_short is WhenShort.LIMIT
        and not 1 <= (terms.limited_kbit_per_s or 0) <= SPEED_MAX
    ):
        return "a plan that is limited without money says how far: 1 kbit/s or more"
    return None


def price_of_usage(rate: Rate, amount: int) -> int:
    """What `amount` units cost, in minor units: each begun block in full."""
    if amount < 0:
        raise ValueError(f"nobody uses {amount}")
    return -(-amount // rate.block) * rate.price_minor


class Decision(StrEnum):
    """What the end of a period brings."""

    RENEW = "renew"
    STOP = "stop"
    LIMIT = "limit"


def decide_renewal(*, price_minor: int, money_minor: int, when_short: WhenShort) -> Decision:
    """The next period is paid for if the number has the money; a part of it buys nothing."""
    if money_minor >= price_minor:
        return Decision.RENEW
    return Decision.LIMIT if when_short is WhenShort.LIMIT else Decision.STOP
