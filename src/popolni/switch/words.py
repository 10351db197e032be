"""What machines show to people: answers in the agent's language."""

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from popolni.catalog.formats import amount, money
from popolni.core.language import Language
from popolni.core.refusal import Refusal
from popolni.topups.quote import Quote
from popolni.topups.words import REFUSALS

LOCALES = {Language.RU: "ru", Language.EN: "en", Language.ZH: "zh-hans"}


@cache
def refusal_in_words(refusal: Refusal, language: Language) -> str:
    """Why a top-up is refused."""
    with override(LOCALES[language]):
        return str(REFUSALS[refusal])


def masked_name(name: str) -> str:
    """Enough of a name to see that it is the right one: `Анна И.`, `李*`."""
    first, *others = name.split() or [""]
    if others:
        return f"{first} {others[-1][:1]}."
    return f"{first[:1]}*" if first else ""


def fields_of(quote: Quote, *, has_amount: bool) -> Iterator[tuple[str, str]]:
    """What a terminal shows before it takes the money: names of fields, and texts."""
    language = quote.ask.agent.language
    with override(LOCALES[language]):
        yield from _fields(quote, language, has_amount=has_amount)


def _fields(quote: Quote, language: Language, *, has_amount: bool) -> Iterator[tuple[str, str]]:
    branch = quote.branch
    if branch is None:
        return
    yield "operator", branch.operator.names[language]
    if quote.ask.agent.sees_names and quote.holder and quote.holder.name:
        yield "name", masked_name(quote.holder.name)
    if not has_amount:
        return
    if renewal := quote.renewal:
        name = renewal.names[language]
        price = money(renewal.price_minor, branch.currency)
        if renewal.until:
            until = _day(renewal.until, branch.zone)
            yield "plan", _("%(plan)s, paid until %(day)s") % {"plan": name, "day": until}
        else:
            yield "plan", _("%(plan)s, not enough for %(price)s") % {"plan": name, "price": price}
    bonuses = [
        _bonus(amount(bonus.amount, bonus.unit, branch.currency), bonus.ends_at, branch.zone)
        for _names, bonus in quote.bonuses
    ]
    if bonuses:
        yield "bonus", "; ".join(bonuses)


def _bonus(what: str, ends_at: datetime | None, zone: ZoneInfo) -> str:
    if ends_at is None:
        return what
    return _("%(what)s until %(day)s") % {"what": what, "day": _day(ends_at, zone)}


def _day(moment: datetime, zone: ZoneInfo) -> str:
    return formats.date_format(timezone.localtime(moment, zone), "SHORT_DATE_FORMAT")
