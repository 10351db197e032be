"""Form fields: an amount is typed as a number of a unit, and kept as an exact integer."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from popolni.catalog.formats import percent
from popolni.ledger.model import AMOUNT_MAX
from popolni.web.office.fields import MoneyField


class Choice(NamedTuple):
    """A unit to choose: `factor` of what is kept make one of it."""

    code: str
    factor: int
    label: Any
    kind: str = ""


BYTES = (
    Choice("GB", 2**30, gettext_lazy("GB")),
    Choice("MB", 2**20, gettext_lazy("MB")),
    Choice("KB", 2**10, gettext_lazy("KB")),
    Choice("byte", 1, gettext_lazy("bytes")),
)
SECONDS = (
    Choice("min", 60, gettext_lazy("minutes")),
    Choice("s", 1, gettext_lazy("seconds")),
)
MESSAGES = (Choice("message", 1, gettext_lazy("messages")),)
DURATION = (
    Choice("day", 86_400, gettext_lazy("days")),
    Choice("hour", 3_600, gettext_lazy("hours")),
    Choice("min", 60, gettext_lazy("minutes")),
)


class AmountWidget(forms.MultiWidget):
    """A number, and beside it its unit; a single unit is only named."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.units = choices
        options = [(choice.code, choice.label) for choice in choices]
        super().__init__(
            (
                UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
                UnfoldAdminSelectWidget(
                    choices=options, attrs={"aria-label": gettext_lazy("unit")}
                ),
            )
        )

    def id_for_label(self, id_: str) -> str:
        """The label is the number's."""
        return f"{id_}_0" if id_ else id_

    def decompress(self, value: Any) -> list[Any]:
        """In the largest unit that it is a whole number of."""
        if value is None or value == "":
            return [None, self.units[0].code]
        unit = next(unit for unit in self.units if value % unit.factor == 0)
        return [value // unit.factor, unit.code]

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Both side by side; of a single unit there is nothing to choose."""
        values = value if isinstance(value, list) else self.decompress(value)
        shown = [*values, None, None][:2]
        own = attrs or {}
        ids = [{"id": f"{own['id']}_{place}"} if own.get("id") else {} for place in range(2)]
        number = self.widgets[0].render(f"{name}_0", shown[0], {**own, **ids[0]}, renderer)
        if len(self.units) > 1:
            unit = self.widgets[1].render(f"{name}_1", shown[1], {**own, **ids[1]}, renderer)
        else:
            hidden = forms.HiddenInput().render(f"{name}_1", self.units[0].code, ids[1], renderer)
            unit = format_html("{}<span>{}</span>", hidden, self.units[0].label)
        return format_html(
            '<div class="flex flex-row gap-2 items-center max-w-2xl">'
            '<div class="grow min-w-0">{}</div><div class="shrink-0">{}</div></div>',
            number,
            unit,
        )


class AmountField(forms.MultiValueField):
    """`1.5` and `GB` are 1610612736; what is no whole number of the least unit is refused."""

    def __init__(self, units: Sequence[Choice], *, least: int = 1, **options: Any) -> None:
        self.units = {unit.code: unit for unit in units}
        self.least = least
        number = forms.DecimalField(max_digits=25)
        choice = forms.ChoiceField(choices=[(unit.code, unit.label) for unit in units])
        super().__init__(
            (number, choice),
            require_all_fields=False,
            widget=options.pop("widget", None) or AmountWidget(units),
            **options,
        )

    def clean(self, value: Any) -> Any:
        """A unit alone, without a number, is nothing typed."""
        if not value or not str(value[0] or "").strip():
            value = [None, None]
        return super().clean(value)

    def compress(self, data_list: list[Any]) -> Any:
        """The integer; None for nothing."""
        if not data_list or data_list[0] is None:
            return None
        number, code = data_list
        if code not in self.units:
            raise ValidationError(_("choose a unit"))
        return self.exact(number, self.units[code])

    def exact(self, number: Decimal, unit: Choice) -> int:
        """The amount, in the least unit."""
        exact = number * unit.factor
        if exact != exact.to_integral_value():
            raise ValidationError(
                _("%(number)s %(unit)s is no whole number: take a smaller unit")
                % {"number": number, "unit": unit.label}
            )
        if not self.least <= exact <= AMOUNT_MAX:
            raise ValidationError(
                _("from %(least)s to %(most)s") % {"least": self.least, "most": AMOUNT_MAX}
            )
        return int(exact)


class PercentField(MoneyField):
    """`1.5` in the form is 150 hundredths of a per cent in the row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=Decimal(0), **options)

    def clean(self, value: Any) -> int | None:
        """Not over 100 %."""
        basis_points = super().clean(value)
        if basis_points is not None and basis_points > 10_000:
            raise ValidationError(_("at most %(most)s") % {"most": percent(100)})
        return basis_points


class Bonus(NamedTuple):
    """What a promotion gives: `Promotion.gives` and `.value`."""

    gives: str
    value: int


BONUSES = (
    Choice("percent", 1, gettext_lazy("% of the sum, as money"), "percent"),
    Choice("money", 100, gettext_lazy("of money (₽)"), "money"),
    *(unit._replace(kind="bytes") for unit in BYTES),
    *(unit._replace(kind="seconds") for unit in SECONDS),
    *(unit._replace(kind="messages") for unit in MESSAGES),
)


class BonusWidget(AmountWidget):
    """A number, and beside it what it is of."""

    def decompress(self, value: Any) -> list[Any]:
        """In the largest unit of its kind; money also in parts of a whole one."""
        if not value:
            return [None, self.units[0].code]
        gives, amount = value
        units = [unit for unit in self.units if unit.kind == gives]
        whole = next((unit for unit in units if amount % unit.factor == 0), None)
        unit = whole or units[-1]
        return [amount // unit.factor if whole else Decimal(amount) / unit.factor, unit.code]


class BonusField(AmountField):
    """`1` and `GB` are `Bonus("bytes", 1073741824)`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(BONUSES, widget=BonusWidget(BONUSES), **options)

    def exact(self, number: Decimal, unit: Choice) -> Any:
        """With what it is of."""
        return Bonus(unit.kind, super().exact(number, unit))
