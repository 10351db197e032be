"""Form fields: money is typed in whole units and kept in minor ones."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.utils.functional import lazy
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from popolni.catalog.formats import SYMBOLS, money

if TYPE_CHECKING:
    from django.db import models

MINOR = "_minor"
SUM = re.compile(r"-?\d{1,15}(\.\d{1,2})?", re.ASCII)
LARGEST = Decimal(10) ** 15


class MoneyField(forms.DecimalField):
    """`500.50` in the form is 50050 in the row; the label names the currency, if one is given."""

    def __init__(self, *, currency: str | None = None, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01"}))
        super().__init__(decimal_places=2, max_value=LARGEST, **options)
        if currency:
            self.label = with_currency(self.label, currency)
            self.validators = [_in_money(one, currency) for one in self.validators]

    def prepare_value(self, value: Any) -> Any:
        """From the row; what was typed and came back with an error stays as it was typed."""
        return Decimal(value).scaleb(-2) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        """Digits and two places; no other letters that a computer would take for a number."""
        text = "".join(str(value).split()).replace(",", ".") if isinstance(value, str) else value
        if isinstance(text, str) and text and not SUM.fullmatch(text):
            raise ValidationError(_("Type a sum such as 1500 or 99.50."))
        return super().to_python(text)

    def clean(self, value: Any) -> int | None:
        """To the row."""
        amount = super().clean(value)
        return None if amount is None else int(amount.scaleb(2))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compared in the form's unit."""
        return bool(super().has_changed(self.prepare_value(initial), data))


def _with_currency(label: object, currency: str) -> str:
    symbol = SYMBOLS.get(currency, currency)
    return _("%(label)s, %(currency)s") % {"label": label, "currency": symbol}


with_currency = lazy(_with_currency, str)
"""A field's label with the currency that it is typed in: `Price, ₽`."""


def _too_little(least: Decimal, currency: str) -> str:
    return _("The sum is not below %(least)s.") % {"least": money(int(least * 100), currency)}


def _in_money(validator: Any, currency: str) -> Any:
    """The same; a least sum is said with its currency."""
    if not isinstance(validator, MinValueValidator):
        return validator
    least = Decimal(validator.limit_value)
    return MinValueValidator(least, lazy(_too_little, str)(least, currency))


def key_of(text: str) -> int | None:
    """The key that an address names; None if that is no number as we write them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def money_field(field: "models.Field[Any, Any]", currency: str | None) -> MoneyField:
    """The form field for a model's field that counts minor units."""
    least = max(
        (int(v.limit_value) for v in field.validators if isinstance(v, MinValueValidator)),
        default=None,
    )
    return MoneyField(
        currency=currency,
        label=field.verbose_name,
        required=not field.blank,
        help_text=field.help_text,
        initial=field.get_default() if field.has_default() else None,
        min_value=None if least is None else Decimal(least).scaleb(-2),
    )
