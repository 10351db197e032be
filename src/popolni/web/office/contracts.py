"""Agents' contracts with branches, each with its commissions and its float."""

from typing import Any

from django.contrib.admin import display
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import RelatedDropdownFilter

from popolni.agents.models import Commission, Contract
from popolni.agents.service import open_contract
from popolni.catalog.formats import money, right
from popolni.topups.models import Adjustment
from popolni.web.office import floats
from popolni.web.office.exports import in_csv, plain_sum
from popolni.web.office.fields import key_of, with_currency
from popolni.web.office.filters import BranchFilter
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import (
    OnceForm,
    OncePerFormSet,
    RoomAdmin,
    RoomInline,
    adopt,
    page_action,
)
from popolni.web.office.units import PercentField


class CommissionForm(OnceForm):
    """A channel's commission."""

    basis_points = PercentField(label=gettext_lazy("commission, %"))


class Commissions(RoomInline):
    """A contract's commissions."""

    class FormSet(OncePerFormSet):
        """Each channel once."""

        once = "channel"

    model = Commission
    form = CommissionForm
    formset = FormSet
    fields = ("channel", "basis_points")
    ordering = ("pk",)
    tab = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """In words, for who may only read."""
        may_change = self.has_change_permission(request, obj)
        return ("channel", "basis_points" if may_change else "percent")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The words."""
        return () if self.has_change_permission(request, obj) else ("percent",)

    @display(description=gettext_lazy("commission, %"))
    def percent(self, row: Commission) -> str:
        """Without parts that are nothing."""
        return f"{row.basis_points / 100:g}"


class ContractForm(AnyModelForm):
    """A contract."""

    def clean(self) -> dict[str, Any]:
        """One with each branch; it ends after it begins."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        same = {"agent": cleaned.get("agent"), "branch": cleaned.get("branch")}
        if all(same.values()) and Contract.objects.filter(**same).exists():
            self.add_error("branch", _("the agent has a contract with this branch already"))
        begins = cleaned.get("valid_from") or self.instance.valid_from
        if cleaned.get("valid_to") and cleaned["valid_to"] <= begins:
            self.add_error("valid_to", _("it ends after it begins"))
        return cleaned


class ContractAdmin(RoomAdmin):
    """Contracts. One is opened together with its float, an account that can't go below zero."""

    form = ContractForm
    list_display = ("agent", "branch", "reference", "left", "mark", "valid_from", "valid_to")
    list_filter = (
        ("branch__operator", RelatedDropdownFilter),
        ("branch", BranchFilter),
    )
    list_select_related = ("agent", "branch__operator")
    search_fields = ("agent__code", "agent__name", "reference")
    ordering = ("agent__name", "pk")
    autocomplete_fields = ("agent", "branch")
    currency = None
    inlines = (Commissions,)
    actions_detail = ("fund", "withdraw")
    change_form_outer_after_template = "office/agents/floats.html"

    def prepare_rows(self, rows: list[Contract]) -> None:
        """All their floats in one query."""
        floats.add_lefts(rows)

    @in_csv(
        (None, lambda row: plain_sum(floats.left_minor(row))),
        (gettext_lazy("currency"), lambda row: row.branch.currency),
    )
    @display(description=gettext_lazy("float"))
    def left(self, row: Contract) -> str:
        """What is left; red below the mark."""
        colour = "text-red-600 dark:text-red-500" if floats.is_low(row) else ""
        return format_html('<span class="{}">{}</span>', colour, right(floats.left_text(row)))

    @in_csv((None, lambda row: plain_sum(row.float_low_minor)))
    @display(description=gettext_lazy("low below"), ordering="float_low_minor")
    def mark(self, row: Contract) -> str:
        """The mark."""
        return right(money(row.float_low_minor, row.branch.currency))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> type[Any]:
        """With the currency of the branch, once there is one."""
        form: type[Any] = super().get_form(request, obj, change, **options)
        mark = form.base_fields.get("float_low_minor")
        if obj and mark:
            mark.label = with_currency(mark.label, obj.branch.currency)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new one has no end yet."""
        dates = ("valid_from", "valid_to") if obj else ("valid_from",)
        fields = (
            ("agent", "branch"), ("reference", "float_low_minor"), dates,
            ("cash_identity", "settles_from"),
        )  # fmt: skip
        return ((None, {"fields": fields}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whose float it is."""
        return ("agent", "branch") if obj else ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With its float."""
        shown: dict[str, Any] = dict(extra_context or {})
        key = key_of(object_id)
        if key is not None and request.user.has_perm("popolni.view_contract"):
            found = Contract.objects.filter(pk=key).select_related("branch__operator")
            shown |= floats.panels(request, list(found))
        response: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return response

    def save_model(self, request: HttpRequest, obj: Contract, form: Any, change: bool) -> None:
        """A new one is opened by the service, with its float."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made = open_contract(
            obj.agent,
            obj.branch,
            reference=obj.reference,
            valid_from=obj.valid_from,
            float_low_minor=obj.float_low_minor,
            cash_identity=Contract.CashIdentity(obj.cash_identity),
            settles_from=obj.settles_from,
        )
        adopt(obj, made)  # its commissions are the form's to save

    @page_action(
        description=gettext_lazy("Fund"), url_path="fund", permissions=[floats.ASK], icon="add"
    )
    def fund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an adjustment."""
        return self._adjust(request, object_id, Adjustment.Kind.FLOAT_FUNDING)

    @page_action(
        description=gettext_lazy("Withdraw"),
        url_path="withdraw",
        permissions=[floats.ASK],
        icon="remove",
    )
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an adjustment."""
        return self._adjust(request, object_id, Adjustment.Kind.FLOAT_WITHDRAWAL)

    def _adjust(self, request: HttpRequest, object_id: str, kind: Adjustment.Kind) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return HttpResponseRedirect(reverse("admin:popolni_contract_changelist"))
        return HttpResponseRedirect(floats.adjust_url(kind, row))
