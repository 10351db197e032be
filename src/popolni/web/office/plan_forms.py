"""What is typed of a plan's terms. There are three units, so each has its own fields."""

from dataclasses import fields
from typing import Any

from django import forms
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate, WhenShort
from popolni.catalog.plans.service import terms_of
from popolni.ledger.model import Unit
from popolni.web.office.fields import MoneyField
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import NAMES, check_order
from popolni.web.office.units import BYTES, MESSAGES, SECONDS, AmountField

PREFIXES = {Unit.BYTE: "data", Unit.SECOND: "voice", Unit.MESSAGE: "messages"}
COLUMNS = tuple(
    field.name for field in fields(PlanTerms) if field.name not in ("allowances", "rates")
)
"""The model's own fields among the terms."""

TERMS_FIELDSETS = (
    (gettext_lazy("Name"), {"fields": NAMES}),
    (
        gettext_lazy("Price and period"),
        {
            "fields": (
                ("price_minor", "period_count", "period_unit"),
                ("when_short", "limited_kbit_per_s"),
                "valid_from",
                "valid_to",
            )
        },
    ),
    (
        gettext_lazy("Included in a period"),
        {"fields": (tuple(f"{prefix}_amount" for prefix in PREFIXES.values()),)},
    ),
    (
        gettext_lazy("Beyond that"),
        {
            "fields": tuple(
                (f"{prefix}_price_minor", f"{prefix}_block") for prefix in PREFIXES.values()
            ),
            "description": gettext_lazy(
                "Each begun block is charged for in full. Without a price there is nothing"
                " beyond what is included."
            ),
        },
    ),
    (
        gettext_lazy("Description"),
        {"fields": ("description_ru", "description_en", "description_zh")},
    ),
)


class TermsForm(forms.Form):
    """The terms of a version. `terms()`, once valid, is what the service takes."""

    data_amount = AmountField(BYTES, label=gettext_lazy("Internet"), required=False)
    voice_amount = AmountField(SECONDS, label=gettext_lazy("Calls"), required=False)
    messages_amount = AmountField(MESSAGES, label=gettext_lazy("Messages"), required=False)
    data_price_minor = MoneyField(
        label=gettext_lazy("Internet: price"), required=False, min_value=0, currency="RUB"
    )
    data_block = AmountField(BYTES, label=gettext_lazy("Internet: charged by"), required=False)
    voice_price_minor = MoneyField(
        label=gettext_lazy("Calls: price"), required=False, min_value=0, currency="RUB"
    )
    voice_block = AmountField(SECONDS, label=gettext_lazy("Calls: charged by"), required=False)
    messages_price_minor = MoneyField(
        label=gettext_lazy("Messages: price"), required=False, min_value=0, currency="RUB"
    )
    messages_block = AmountField(
        MESSAGES, label=gettext_lazy("Messages: charged by"), required=False
    )

    def clean_period_count(self) -> int:
        """A period is never empty."""
        count = int(self.cleaned_data["period_count"])
        if count < 1:
            raise forms.ValidationError(_("1 or more"))
        return count

    def clean(self) -> dict[str, Any]:
        """All that goes together."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        check_order(self, "valid_from", "valid_to", _("it ends after it begins"))
        if cleaned.get("valid_to") and cleaned.get("valid_to") == cleaned.get("valid_from"):
            self.add_error("valid_to", _("it ends after it begins"))
        self._clean_when_short(cleaned)
        for prefix in PREFIXES.values():
            self._clean_rate(cleaned, f"{prefix}_price_minor", f"{prefix}_block")
        return cleaned

    def _clean_when_short(self, cleaned: dict[str, Any]) -> None:
        limited, speed = cleaned.get("when_short") == WhenShort.LIMIT, "limited_kbit_per_s"
        if speed in self.errors or "when_short" in self.errors:
            return
        if limited and not cleaned.get(speed):
            self.add_error(speed, _("say how fast limited service is: from 1 kbit/s on"))
        elif not limited and cleaned.get(speed) is not None:
            self.add_error(speed, _("service stops here: leave the speed out"))

    def _clean_rate(self, cleaned: dict[str, Any], price: str, block: str) -> None:
        if price in self.errors or block in self.errors:
            return
        if cleaned.get(price) is None and cleaned.get(block) is not None:
            self.add_error(price, _("a block has a price"))
        elif cleaned.get(price) is not None and cleaned.get(block) is None:
            self.add_error(block, _("say by what it is charged"))

    def terms(self) -> PlanTerms:
        """The terms that were typed."""
        cleaned = self.cleaned_data
        columns = {name: cleaned[name] for name in COLUMNS}
        for moment in ("valid_from", "valid_to"):
            field = self[moment]
            if self.initial.get(moment) and not field.field.has_changed(field.initial, field.data):
                columns[moment] = self.initial[moment]  # the form shows no parts of a second
        if "valid_from" not in self.changed_data and not self.initial.get("valid_from"):
            columns["valid_from"] = now()  # a new one, "from now on": not from the form's opening
        columns["period_unit"] = PeriodUnit(columns["period_unit"])
        columns["when_short"] = WhenShort(columns["when_short"])
        units = PREFIXES.items()
        return PlanTerms(
            **columns,
            allowances={
                unit: cleaned[f"{prefix}_amount"]
                for unit, prefix in units
                if cleaned[f"{prefix}_amount"] is not None
            },
            rates={
                unit: Rate(cleaned[f"{prefix}_block"], cleaned[f"{prefix}_price_minor"])
                for unit, prefix in units
                if cleaned[f"{prefix}_block"] is not None
            },
        )


class VersionForm(TermsForm, AnyModelForm):
    """A version of a plan, its allowances and its rates."""

    def __init__(self, *args: Any, **options: Any) -> None:
        instance = options.get("instance")
        if instance is not None and instance.pk:
            options["initial"] = units_of(instance) | (options.get("initial") or {})
        super().__init__(*args, **options)


class EndSaleForm(forms.Form):
    """From when on a version is not sold."""

    at = forms.SplitDateTimeField(
        label=gettext_lazy("From when on"),
        required=False,
        help_text=gettext_lazy("Leave it empty: from now on."),
        widget=UnfoldAdminSplitDateTimeWidget,
    )


def units_of(version: PlanVersion) -> dict[str, Any]:
    """A version's allowances and rates, as the form's initial values."""
    terms = terms_of(version)
    shown: dict[str, Any] = {}
    for unit, prefix in PREFIXES.items():
        shown[f"{prefix}_amount"] = terms.allowances.get(unit)
        if rate := terms.rates.get(unit):
            shown |= {f"{prefix}_block": rate.block, f"{prefix}_price_minor": rate.price_minor}
    return shown


def next_of(version: PlanVersion) -> dict[str, Any]:
    """What the form of the version after this one begins with: the same, from now on."""
    kept = {name: getattr(version, name) for name in COLUMNS if not name.startswith("valid_")}
    return kept | {"plan": version.plan_id} | units_of(version)
