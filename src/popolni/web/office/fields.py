"""Form fields: money is typed in whole units and kept in minor ones."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminDecimalFieldWidget

if TYPE_CHECKING:
    from django.db import models

MINOR = "_minor"
SUM = re.compile(r"-?\d{1,15}(\.\d{1,2})?", re.ASCII)
LARGEST = Decimal(10) ** 15


class MoneyField(forms.DecimalField):
    """`500.50` in the form is 50050 in the row."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01"}))
        super().__init__(decimal_places=2, max_value=LARGEST, **options)

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


def key_of(text: str) -> int | None:
    """The key that an address names; None if that is no number as we write them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def money_field(field: "models.Field[Any, Any]") -> MoneyField:
    """The form field for a model's field that counts minor units."""
    least = max(
        (int(v.limit_value) for v in field.validators if isinstance(v, MinValueValidator)),
        default=None,
    )
    return MoneyField(
        label=field.verbose_name,
        required=not field.blank,
        help_text=field.help_text,
        initial=field.get_default() if field.has_default() else None,
        min_value=None if least is None else Decimal(least).scaleb(-2),
    )
