"""Plans and their versions. What is saved here goes through `catalog.plans.service`."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin import display
from django.contrib.admin.utils import unquote
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from popolni.catalog.formats import amount, listed, money, plain_number, right
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.plans.service import (
    create_plan,
    edit_version,
    end_sale,
    is_in_use,
    new_version,
)
from popolni.core.errors import UserError
from popolni.ledger.model import Unit
from popolni.subscribers.models import Subscription
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import ReadOnly, require
from popolni.web.office.exports import in_csv, plain_sum
from popolni.web.office.fields import key_of
from popolni.web.office.parts import (
    NamedAdmin,
    RoomAdmin,
    RoomInline,
    adopt,
    change_url,
    link,
    page_action,
)
from popolni.web.office.plan_forms import (
    COLUMNS,
    TERMS_FIELDSETS,
    EndSaleForm,
    TermsForm,
    VersionForm,
    next_of,
)

if TYPE_CHECKING:
    from popolni.web.office.site import Office

ADD_VERSION = "popolni.add_planversion"
CHANGE_VERSION = "popolni.change_planversion"


def register(office: "Office") -> None:
    """Plans, plan versions."""
    office.register(Plan, PlanAdmin)
    office.register(PlanVersion, VersionAdmin)


def period(version: PlanVersion) -> str:
    """`30 days`, `1 month`."""
    count = version.period_count
    if version.period_unit == PlanVersion.PeriodUnit.DAY:
        return ngettext("%(n)s day", "%(n)s days", count) % {"n": count}
    return ngettext("%(n)s month", "%(n)s months", count) % {"n": count}


class Versions(ReadOnly, RoomInline):
    """A plan's versions."""

    model = PlanVersion
    fields = ("opened", "price", "period_shown", "begins", "ends")
    readonly_fields = fields
    ordering = ("-version",)
    tab = False
    begins = moment_of("valid_from", gettext_lazy("valid from"))
    ends = moment_of("valid_to", gettext_lazy("valid to"))

    @display(description=gettext_lazy("version"))
    def opened(self, row: PlanVersion) -> str:
        """To its page."""
        return link(change_url(row), row)

    @display(description=gettext_lazy("price"))
    def price(self, row: PlanVersion) -> str:
        """Of a period."""
        return right(money(row.price_minor))

    @display(description=gettext_lazy("period"))
    def period_shown(self, row: PlanVersion) -> str:
        """How long it is."""
        return period(row)


class PlanAdmin(RoomAdmin):
    """Plans. A new one comes with its first version."""

    list_display = ("name", "operator", "kind", "price", "period_shown", "how_many", "code")
    list_filter = (("operator", RelatedDropdownFilter), ("kind", ChoicesDropdownFilter))
    list_select_related = ("operator",)
    search_fields = ("code", "versions__name_ru", "versions__name_en", "versions__name_zh")
    ordering = ("code",)
    fields = ("operator", "code", "kind")
    inlines = (Versions,)
    actions_detail = ("new_version",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Each with the version that can be bought now, and how many there are."""
        moment = now()
        current = PlanVersion.objects.filter(
            Q(valid_to=None) | Q(valid_to__gt=moment), valid_from__lte=moment
        ).order_by("-version")
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.prefetch_related(
            Prefetch("versions", queryset=current, to_attr="current"),
            "versions",  # the latest one's name is the plan's
        ).annotate(version_count=Count("versions", distinct=True))

    @display(description=gettext_lazy("name"))
    def name(self, row: Any) -> str:
        """Its present one."""
        return str(row.current[0].name if row.current else row.code)

    @display(description=gettext_lazy("price"))
    def price(self, row: Any) -> str:
        """Of a period, at present."""
        return right(money(row.current[0].price_minor)) if row.current else _("not sold now")

    @display(description=gettext_lazy("period"))
    def period_shown(self, row: Any) -> str:
        """At present."""
        return period(row.current[0]) if row.current else "–"

    @display(description=gettext_lazy("versions"), ordering="version_count")
    def how_many(self, row: Any) -> str:
        """Ended ones too."""
        return right(plain_number(row.version_count))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A plan comes with a version."""
        return bool(super().has_add_permission(request)) and request.user.has_perm(ADD_VERSION)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What others know the plan by stays."""
        return ("operator", "code") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """With the terms of the first version."""
        if obj:
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": (("operator", "code", "kind"),)}), *TERMS_FIELDSETS)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """None before there are any."""
        return super().get_inlines(request, obj) if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> type[Any]:
        """A new one's has the fields of a version as well."""
        if obj is None:
            model_fields = {name: PlanVersion._meta.get_field(name) for name in COLUMNS}
            declared = {
                name: self.formfield_for_dbfield(field, request)
                for name, field in model_fields.items()
            }
            options["form"] = type("NewPlanForm", (TermsForm, forms.ModelForm), declared)
        form: type[Any] = super().get_form(request, obj, change, **options)
        return form

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        """A new one is made by the service."""
        if change:
            super().save_model(request, obj, form, change)
            return
        version = create_plan(obj.operator, code=obj.code, kind=obj.kind, terms=form.terms())
        adopt(obj, version.plan)

    @page_action(
        description=gettext_lazy("New version"),
        url_path="new-version",
        permissions=[ADD_VERSION],
        icon="add",
    )
    def new_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of the next version, with what the latest one says."""
        key = unquote(object_id)
        latest = PlanVersion.objects.filter(plan__pk=key_of(key) or 0)
        return _to_next(request, latest.order_by("-version").first())


class VersionAdmin(NamedAdmin):
    """Versions. One that somebody is or was on is only shown: the next one takes its place."""

    form = VersionForm
    list_display = (
        *("name_shown", "plan_code", "version", "price", "period_shown", "state"),
        *("begins", "ends", "in_use"),
    )
    list_filter = (("plan__operator", RelatedDropdownFilter), ("plan__kind", ChoicesDropdownFilter))
    list_select_related = ("plan",)
    search_fields = ("plan__code", "name_ru", "name_en", "name_zh")
    ordering = ("plan__code", "-version")
    autocomplete_fields = ("plan",)
    actions_detail = ("new_version", "end_sale")
    begins = moment_of("valid_from", gettext_lazy("valid from"))
    ends = moment_of("valid_to", gettext_lazy("valid to"))

    @display(description=gettext_lazy("plan"), ordering="plan__code")
    def plan_code(self, row: PlanVersion) -> str:
        """Its versions are called as it is, or as it was."""
        return row.plan.code

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanVersion]:
        """Each with whether a number is or was on it, or has it next."""
        versions: QuerySet[PlanVersion] = super().get_queryset(request)
        on_it = Subscription.objects.filter(version=OuterRef("pk"))
        has_it_next = Subscription.objects.filter(next_version=OuterRef("pk"))
        return versions.annotate(used=Exists(on_it) | Exists(has_it_next))

    @in_csv((None, lambda row: plain_sum(row.price_minor)))
    @display(description=gettext_lazy("price"), ordering="price_minor")
    def price(self, row: PlanVersion) -> str:
        """Of a period."""
        return right(money(row.price_minor))

    @display(description=gettext_lazy("period"))
    def period_shown(self, row: PlanVersion) -> str:
        """How long it is."""
        return period(row)

    @display(description=gettext_lazy("state"))
    def state(self, row: PlanVersion) -> str:
        """Whether it can be bought now."""
        moment = now()
        if row.valid_from > moment:
            return badge(_("later"), "info")
        if row.valid_to is not None and row.valid_to <= moment:
            return badge(_("no longer sold"))
        return badge(_("current"), "success")

    @display(description=gettext_lazy("in use"), boolean=True)
    def in_use(self, row: Any) -> bool:
        """Whether a number is or was on it."""
        return bool(row.used)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not of one that somebody is or was on."""
        return bool(super().has_change_permission(request, obj)) and not _is_used(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A version stays its plan's."""
        if obj is None:
            return ()
        return ("plan", "version", "allowances_shown", "rates_shown")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The terms; in words, where they may only be read."""
        if obj is None:
            return ((None, {"fields": ("plan",)}), *TERMS_FIELDSETS)
        own: tuple[Any, dict[str, Any]] = (None, {"fields": (("plan", "version"),)})
        if self.has_change_permission(request, obj):
            return (own, *TERMS_FIELDSETS)
        if _is_used(obj):
            own[1]["description"] = _(
                "Numbers are, or were, on this version, so it stays as it is."
                " Make a new version instead."
            )
        name, price, *_units, texts = TERMS_FIELDSETS
        included = (gettext_lazy("Included in a period"), {"fields": ("allowances_shown",)})
        beyond = (gettext_lazy("Beyond that"), {"fields": ("rates_shown",)})
        return (own, name, price, included, beyond, texts)

    @display(description=gettext_lazy("allowances"))
    def allowances_shown(self, row: PlanVersion) -> str:
        """`10 GB, 300 min`."""
        allowances = row.allowances.order_by("unit")
        return listed(amount(one.amount, one.unit) for one in allowances) or "–"

    @display(description=gettext_lazy("rates"))
    def rates_shown(self, row: PlanVersion) -> str:
        """`0.50 ₽ for each 1 MB`, a line for each unit."""
        lines = (
            _("%(price)s for each begun %(block)s")
            % {"price": money(one.price_minor), "block": amount(one.block, Unit(one.unit))}
            for one in row.rates.order_by("unit")
        )
        return "\n".join(lines) or "–"

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """`?from=` a version: what it says."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        key = str(initial.pop("from", ""))
        version = PlanVersion.objects.filter(pk=key_of(key) or 0).first()
        return (next_of(version) if version else {}) | initial

    def save_model(self, request: HttpRequest, obj: PlanVersion, form: Any, change: bool) -> None:
        """Through the service, which looks again, under a lock."""
        terms = form.terms()
        made = edit_version(obj, terms) if change else new_version(obj.plan, terms)
        adopt(obj, made)

    @page_action(
        description=gettext_lazy("New version"),
        url_path="new-version",
        permissions=[ADD_VERSION],
        icon="add",
    )
    def new_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of the next version, with what this one says."""
        key = unquote(object_id)
        found = PlanVersion.objects.filter(pk=key_of(key) or 0)
        return _to_next(request, found.first())

    @page_action(
        description=gettext_lazy("End the sale"),
        url_path="end-sale",
        permissions=[CHANGE_VERSION],
        icon="event_busy",
    )
    def end_sale(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks from when on, and ends it; of a version in use, nothing else ever changes."""
        require(request, CHANGE_VERSION)
        key = unquote(object_id)
        version = PlanVersion.objects.filter(pk=key_of(key) or 0).first()
        if version is None:
            raise Http404
        form = EndSaleForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                ended = end_sale(version, form.cleaned_data["at"])
            except UserError as error:
                form.add_error("at", str(error))
            else:
                shown = {"version": ended, "at": localize(localtime(ended.valid_to))}
                messages.success(request, _("%(version)s is sold until %(at)s") % shown)
                return HttpResponseRedirect(change_url(version))
        context = {
            **self.admin_site.each_context(request),
            "title": _("End the sale"),
            "version": version,
            "version_url": change_url(version),
            "form": form,
        }
        return TemplateResponse(request, "office/plans/end_sale.html", context)


def _is_used(version: Any) -> bool:
    """Whether numbers are or were on it; asked once for each row that is shown."""
    if version is None:
        return False
    used = getattr(version, "used", None)
    return is_in_use(version) if used is None else bool(used)


def _to_next(request: HttpRequest, version: PlanVersion | None) -> HttpResponse:
    if version is None:
        messages.warning(request, _("There is no version of it that a new one could follow."))
        return HttpResponseRedirect(reverse("admin:popolni_plan_changelist"))
    url = reverse("admin:popolni_planversion_add")
    return HttpResponseRedirect(f"{url}?from={version.pk}")
