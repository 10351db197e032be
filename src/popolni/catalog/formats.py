"""Money, amounts and moments, as people read them in the active language."""

from collections.abc import Iterable

from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from popolni.ledger.model import Unit

SYMBOLS = {"RUB": "₽", "KZT": "₸", "BYN": "Br", "CNY": "¥", "EUR": "€", "USD": "$"}
NARROW_SPACE = "\N{NO-BREAK SPACE}"
BYTES = ((gettext_lazy("GB"), 2**30), (gettext_lazy("MB"), 2**20), (gettext_lazy("KB"), 2**10))
"""As operators and their subscribers count: a gigabyte is 2^30 bytes, and is called ГБ, GB."""


def money(amount_minor: int, currency: str = "RUB") -> str:
    """`123456` kopecks: `1 234.56 ₽`, with the language's own marks."""
    return f"{plain_money(amount_minor)}{NARROW_SPACE}{SYMBOLS.get(currency, currency)}"


def plain_money(amount_minor: int) -> str:
    """Money without its currency; whole sums go without a fraction."""
    whole, rest = divmod(abs(amount_minor), 100)
    text = formats.number_format(whole, use_l10n=True, force_grouping=True)
    if rest:
        text += f"{formats.get_format('DECIMAL_SEPARATOR')}{rest:02}"
    return f"−{text}" if amount_minor < 0 else text


def percent(value: float) -> str:
    """A share: `86%`, `86 %` in Russian."""
    places = len(f"{value:g}".partition(".")[2])
    return _("%(n)s%%") % {"n": formats.number_format(value, places, use_l10n=True)}


def listed(parts: Iterable[object]) -> str:
    """Things of one kind, in a row: `cash, SBP`."""
    return str(pgettext("between things of one kind", ", ")).join(map(str, parts))


def beside(*parts: object) -> str:
    """What belongs together: `Russian passport, ···· ··1234`."""
    return str(pgettext("between what belongs together", ", ")).join(map(str, parts))


def plain_number(value: int) -> str:
    """A count of anything, with the language's own marks."""
    return str(formats.number_format(value, use_l10n=True, force_grouping=True))


def amount(value: int, unit: int, currency: str = "RUB") -> str:
    """An amount of any unit of the ledger."""
    if unit == Unit.MONEY:
        return money(value, currency)
    if unit == Unit.BYTE:
        return size(value)
    if unit == Unit.SECOND:
        return duration(value)
    grouped = plain_number(value)
    return ngettext("%(n)s message", "%(n)s messages", value) % {"n": grouped}


def size(value: int) -> str:
    """Bytes, in the largest unit that they fill."""
    for name, factor in BYTES:
        if abs(value) >= factor:
            places = f"{value / factor:.2f}".rstrip("0").rstrip(".").partition(".")[2]
            number = formats.number_format(
                value / factor, len(places), use_l10n=True, force_grouping=True
            )
            return f"{number}{NARROW_SPACE}{name}"
    return ngettext("%(n)s byte", "%(n)s bytes", value) % {"n": value}


def duration(seconds: int) -> str:
    """Seconds, as minutes where there are any."""
    minutes, rest = divmod(abs(seconds), 60)
    sign = "−" if seconds < 0 else ""
    if not minutes:
        return _("%(n)s s") % {"n": f"{sign}{rest}"}
    grouped = f"{sign}{formats.number_format(minutes, use_l10n=True, force_grouping=True)}"
    if not rest:
        return _("%(n)s min") % {"n": grouped}
    return _("%(minutes)s min %(seconds)s s") % {"minutes": grouped, "seconds": rest}


def right(text: str) -> SafeString:
    """A figure in a list: at the right of its column, its digits below each other."""
    return format_html('<span class="office-digits tabular-nums whitespace-nowrap">{}</span>', text)
