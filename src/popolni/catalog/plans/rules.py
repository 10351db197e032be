"""A plan's terms, and what follows from them; pure but for the language of what is said."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from popolni.catalog.labels import UNITS
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


_PERIODS = {
    PeriodUnit.DAY: gettext_lazy("a period is 1 to %(max)d days long, not %(count)d"),
    PeriodUnit.MONTH: gettext_lazy("a period is 1 to %(max)d months long, not %(count)d"),
}
_UNIT_NAMES = dict(UNITS)


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
            return _(
                "a plan has a name of 1 to %(max)d characters in each language, not %(name)s"
            ) % {"max": NAME_MAX, "name": repr(name)}
    descriptions = (terms.description_ru, terms.description_en, terms.description_zh)
    if any("\0" in text for text in (*names, *descriptions)):
        return _("a plan's texts hold no zero characters")
    return None


def _fault_of_period(terms: PlanTerms) -> str | None:
    if terms.price_minor < 0:
        return _("a plan's price is 0 or more kopecks, not %(price)d") % {
            "price": terms.price_minor
        }
    if terms.price_minor > AMOUNT_MAX:
        return _("a plan's price is at most %(max)d kopecks, not %(price)d") % {
            "max": AMOUNT_MAX,
            "price": terms.price_minor,
        }
    if not 1 <= terms.period_count <= COUNT_MAX:
        return _PERIODS[terms.period_unit] % {"max": COUNT_MAX, "count": terms.period_count}
    if any(moment and moment.tzinfo is None for moment in (terms.valid_from, terms.valid_to)):
        return _("a plan is valid from and to a moment: give the time zone too")
    if terms.valid_to and terms.valid_to <= terms.valid_from:
        return _("a plan's end (%(end)s) is later than its beginning (%(beginning)s)") % {
            "end": f"{terms.valid_to:%Y-%m-%d %H:%M}",
            "beginning": f"{terms.valid_from:%Y-%m-%d %H:%M}",
        }
    return None


def _fault_of_units(terms: PlanTerms) -> str | None:
    if Unit.MONEY in terms.allowances or Unit.MONEY in terms.rates:
        return _("a plan includes and charges bytes, seconds and messages, not money")
    for unit, amount in terms.allowances.items():
        if amount < 1:
            return _("an allowance (%(unit)s) is 1 or more, not %(amount)d: leave it out") % {
                "unit": _UNIT_NAMES[unit],
                "amount": amount,
            }
        if amount > AMOUNT_MAX:
            return _("an allowance (%(unit)s) is at most %(max)d, not %(amount)d") % {
                "unit": _UNIT_NAMES[unit],
                "max": AMOUNT_MAX,
                "amount": amount,
            }
    for unit, rate in terms.rates.items():
        if not (1 <= rate.block <= AMOUNT_MAX and 0 <= rate.price_minor <= AMOUNT_MAX):
            return _(
                "a rate (%(unit)s) has a block of 1 to %(max)d, and a price of 0 to %(max)d kopecks"
            ) % {"unit": _UNIT_NAMES[unit], "max": AMOUNT_MAX}
    return None


def _fault_when_short(terms: PlanTerms) -> str | None:
    if terms.when_short is WhenShort.STOP and terms.limited_kbit_per_s is not None:
        return _("a plan without money stops or is limited: only a limited one has a speed")
    if (
        terms.when_short is WhenShort.LIMIT
        and not 1 <= (terms.limited_kbit_per_s or 0) <= SPEED_MAX
    ):
        return _("a plan that is limited without money says how far: 1 kbit/s or more")
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
