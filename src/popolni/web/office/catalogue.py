"""Operators, their branches, and the compliance profiles that they share."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import display
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.widgets import UnfoldAdminColorInputWidget, UnfoldAdminTextareaWidget

from popolni.catalog.formats import money, right
from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.operators.service import check_time_zone, open_branch
from popolni.core.errors import UserError
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import (
    NAMES,
    NamedAdmin,
    OnceForm,
    OncePerFormSet,
    RoomAdmin,
    RoomInline,
    adopt,
    change_url,
    check_order,
    link,
    swatch,
)

if TYPE_CHECKING:
    from popolni.web.office.site import Office


def register(office: "Office") -> None:
    """Operators, branches, compliance profiles."""
    office.register(Operator, OperatorAdmin)
    office.register(Branch, BranchAdmin)
    office.register(ComplianceProfile, ProfileAdmin)


class OperatorForm(AnyModelForm):
    """An operator."""

    class Meta:
        widgets = {"colour": UnfoldAdminColorInputWidget}


class OperatorAdmin(NamedAdmin):
    """Operators."""

    form = OperatorForm
    list_display = ("coloured", "code", "mnc", "balance_ussd", "profile_shown")
    list_display_links = ("coloured",)
    list_select_related = ("profile",)
    search_fields = ("code", "name_ru", "name_en", "name_zh", "mnc")
    ordering = ("code",)
    fieldsets = (
        (None, {"fields": (*NAMES, ("code", "colour"), ("mnc", "balance_ussd"), "profile")}),
    )

    @display(description=gettext_lazy("operator"), ordering="name_ru")
    def coloured(self, row: Operator) -> str:
        """Its colour and its name."""
        return swatch(row.colour, row.name)

    @display(description=gettext_lazy("compliance profile"), ordering="profile__name")
    def profile_shown(self, row: Operator) -> str:
        """A link."""
        return link(change_url(row.profile), row.profile)


APPROVAL_MOST: int = Branch._meta.get_field("approval_from_minor").get_default()
"""A new branch's."""


class BranchForm(AnyModelForm):
    """A branch."""

    def clean_time_zone(self) -> str:
        """One that there is."""
        name = str(self.cleaned_data["time_zone"])
        try:
            check_time_zone(name)
        except UserError as error:
            raise ValidationError(str(error)) from error
        return name

    def clean_approval_from_minor(self) -> int:
        """Never raised here: it is what whoever fills in this form is held to."""
        wanted = int(self.cleaned_data["approval_from_minor"])
        most = self.initial.get("approval_from_minor") if self.instance.pk else APPROVAL_MOST
        if wanted > int(most or 0):
            raise ValidationError(
                _("It can only be lowered here; who runs the server raises it: %(command)s")
                % {"command": "./popolni branches approval"}
            )
        return wanted


class BranchAdmin(NamedAdmin):
    """Branches. A branch is opened together with its book, which is then its for good."""

    form = BranchForm
    list_display = ("name_shown", "operator", "code", "book", "currency", "time_zone", "approval")
    list_filter = (("operator", RelatedDropdownFilter),)
    list_select_related = ("operator",)
    search_fields = ("code", "name_ru", "name_en", "name_zh", "book")
    ordering = ("book",)
    autocomplete_fields = ("regions",)
    currency = None  # it stands beside the sum
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("operator", "code"),
                    *NAMES,
                    ("book", "currency"),
                    ("time_zone", "approval_from_minor"),
                    "low_balance_minor",
                    "regions",
                ),
                "description": gettext_lazy(
                    "A branch keeps a book of its own, in one currency; operator, code, book and"
                    " currency can't be changed once it is open."
                ),
            },
        ),
    )

    @display(description=gettext_lazy("a second approval from"), ordering="approval_from_minor")
    def approval(self, row: Branch) -> str:
        """The sum."""
        return right(money(row.approval_from_minor, row.currency))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What the ledger holds to."""
        return ("operator", "code", "book", "currency") if obj else ()

    def save_model(self, request: HttpRequest, obj: Branch, form: Any, change: bool) -> None:
        """A new one is opened by the service, with its book."""
        if change:
            super().save_model(request, obj, form, change)
            return
        fields = ("code", "book", "name_ru", "name_en", "name_zh", "currency", "time_zone")
        made = open_branch(
            obj.operator,
            **{field: getattr(obj, field) for field in fields},
            approval_from_minor=obj.approval_from_minor,
            low_balance_minor=obj.low_balance_minor,
        )
        adopt(obj, made)  # its regions are the form's to save


class ChannelLimitForm(OnceForm):
    """A channel's limits."""

    def clean(self) -> dict[str, Any]:
        """The largest is not below the smallest."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        message = _("the largest top-up is not below the smallest one")
        check_order(self, "min_minor", "max_minor", message)
        if cleaned.get("min_minor") is not None and cleaned["min_minor"] < 1:
            self.add_error("min_minor", _("a top-up is more than nothing"))
        return cleaned


class ChannelLimits(RoomInline):
    """The channels that are on."""

    class FormSet(OncePerFormSet):
        """Each channel once."""

        once = "channel"

    model = ChannelLimit
    form = ChannelLimitForm
    formset = FormSet
    fields = ("channel", "min_minor", "max_minor")
    ordering = ("pk",)


class MethodSettingForm(OnceForm):
    """A payment method's setting."""

    def clean(self) -> dict[str, Any]:
        """What is off says why, in each language."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("is_on") is False:
            for name in ("why_off_ru", "why_off_en", "why_off_zh"):
                if name not in self.errors and not cleaned.get(name):
                    self.add_error(name, _("a method that is off says why"))
        return cleaned


class MethodSettings(RoomInline):
    """Which payment methods are on, and what people are told about the others."""

    class FormSet(OncePerFormSet):
        """Each method once."""

        once = "method"

    model = MethodSetting
    form = MethodSettingForm
    formset = FormSet
    fields = ("method", "is_on", "why_off_ru", "why_off_en", "why_off_zh")
    ordering = ("pk",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """A reason is a sentence or two."""
        if db_field.name.startswith("why_off"):
            options["widget"] = UnfoldAdminTextareaWidget({"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **options)


class ProfileForm(AnyModelForm):
    """A compliance profile."""

    def clean(self) -> dict[str, Any]:
        """A month holds its days."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        message = _("the sum of a month is not below the sum of a day")
        check_order(self, "day_max_minor", "month_max_minor", message)
        return cleaned


class ProfileAdmin(RoomAdmin):
    """Compliance profiles."""

    form = ProfileForm
    list_display = ("name", "cash_identity", "identity_from", "day_max", "month_max")
    search_fields = ("name",)
    ordering = ("name",)
    inlines = (ChannelLimits, MethodSettings)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    ("cash_identity", "cash_identity_from_minor"),
                    ("day_max_minor", "month_max_minor"),
                ),
                "description": gettext_lazy(
                    "Sums are per number. A channel without limits and a payment method that is"
                    " not listed are off."
                ),
            },
        ),
    )

    @display(description=gettext_lazy("identity needed from"), ordering="cash_identity_from_minor")
    def identity_from(self, row: ComplianceProfile) -> str:
        """The sum."""
        return _sum(row.cash_identity_from_minor)

    @display(description=gettext_lazy("most in a day"), ordering="day_max_minor")
    def day_max(self, row: ComplianceProfile) -> str:
        """The sum."""
        return _sum(row.day_max_minor)

    @display(description=gettext_lazy("most in a month"), ordering="month_max_minor")
    def month_max(self, row: ComplianceProfile) -> str:
        """The sum."""
        return _sum(row.month_max_minor)


def _sum(amount_minor: int) -> str:
    return right(money(amount_minor))
