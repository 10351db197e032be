"""Agents: who they are, their floats, and what their machines prove themselves with."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import display
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
)
from unfold.widgets import UnfoldAdminTextInputWidget

from popolni.agents.models import Agent, Commission, Contract, Credential, Outlet
from popolni.agents.service import check_networks
from popolni.catalog.formats import listed, percent, plain_number, right
from popolni.core.errors import UserError
from popolni.web.office import credential_pages, floats, layouts, webhooks
from popolni.web.office.base import ReadOnly
from popolni.web.office.contracts import ContractAdmin
from popolni.web.office.fields import key_of
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.outlets import OutletAdmin
from popolni.web.office.parts import (
    RoomAdmin,
    RoomInline,
    change_url,
    choices_field,
    link,
    page_action,
)

if TYPE_CHECKING:
    from popolni.web.office.site import Office

CHANGE = credential_pages.CHANGE


def register(office: "Office") -> None:
    """Agents, contracts, outlets."""
    office.register(Agent, AgentAdmin)
    office.register(Contract, ContractAdmin)
    office.register(Outlet, OutletAdmin)


class AgentForm(AnyModelForm):
    """An agent."""

    def clean_networks(self) -> list[str]:
        """As they are stored."""
        try:
            return check_networks(self.cleaned_data["networks"] or [])
        except UserError as error:
            raise ValidationError(str(error)) from error


class Contracts(ReadOnly, RoomInline):
    """An agent's contracts."""

    model = Contract
    fields = ("opened", "branch", "valid_from", "valid_to", "commissions_shown")
    readonly_fields = fields
    ordering = ("pk",)

    @display(description=gettext_lazy("contract number"))
    def opened(self, row: Contract) -> str:
        """To its page."""
        return link(change_url(row), row.reference)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Contract]:
        """With what its rows name."""
        found: QuerySet[Contract] = super().get_queryset(request)
        return found.select_related("agent", "branch__operator").prefetch_related("commissions")

    @display(description=gettext_lazy("commissions"))
    def commissions_shown(self, row: Contract) -> str:
        """By channel."""
        rows = sorted(row.commissions.all(), key=lambda one: one.pk)
        return listed(map(_commission, rows)) or "–"


def _commission(row: Commission) -> str:
    return f"{row.get_channel_display()} {percent(row.basis_points / 100)}"


class Outlets(ReadOnly, RoomInline):
    """An agent's outlets."""

    model = Outlet
    fields = ("opened", "kind", "city", "address", "opening_hours", "is_active")
    readonly_fields = fields
    ordering = ("city", "name", "pk")
    per_page = 50

    @display(description=gettext_lazy("name"))
    def opened(self, row: Outlet) -> str:
        """To its page."""
        return link(change_url(row), row.name)


class Credentials(ReadOnly, RoomInline):
    """An agent's credentials; of no secret is anything shown."""

    model = Credential
    fields = ("kind", "created_at", "valid_to", "end_link")
    readonly_fields = fields
    ordering = ("-created_at", "-pk")
    per_page = 20

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Ending one is for who may change the agent."""
        return self.fields if request.user.has_perm(CHANGE) else self.fields[:-1]

    @display(description="")
    def end_link(self, row: Credential) -> str:
        """To the page that ends it."""
        if credential_pages.is_ended(row):
            return _("ended")
        return link(credential_pages.end_url(row), _("End now"))


class AgentAdmin(RoomAdmin):
    """Agents, and on each one's page its floats."""

    form = AgentForm
    list_display = ("code", "name", "is_active", "outlets_count", "float_sum")
    list_filter = (("is_active", BooleanRadioFilter),)
    search_fields = ("code", "name")
    ordering = ("name", "pk")
    fieldsets = (
        (None, {"fields": (("code", "name"), ("is_active", "sees_names"), "networks")}),
        (
            gettext_lazy("Its machines"),
            {
                "fields": (
                    ("requests_per_s", "reversal_minutes"),
                    ("language", "osmp_commands"),
                    "names_outlets",
                )
            },
        ),
    )
    inlines = (Contracts, Outlets, Credentials)
    actions_detail = (
        "new_contract", "new_outlet", "new_password", "new_certificate", "webhook", "registries",
    )  # fmt: skip
    change_form_outer_after_template = "office/agents/floats_tab.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """Each with how many outlets it has."""
        outlets = Outlet.objects.filter(agent=OuterRef("pk")).order_by().values("agent")
        count = Subquery(outlets.annotate(count=Count("pk")).values("count"))
        found: QuerySet[Agent] = super().get_queryset(request)
        return found.annotate(outlet_count=Coalesce(count, 0))

    def prepare_rows(self, rows: list[Agent]) -> None:
        """All their floats in two queries."""
        contracts = Contract.objects.select_related("branch").order_by("branch__book")
        prefetch_related_objects(rows, Prefetch("contracts", contracts))
        floats.add_lefts([one for row in rows for one in row.contracts.all()])

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Floats are for who may see contracts."""
        sees = request.user.has_perm("popolni.view_contract")
        return [name for name in self.list_display if sees or name != "float_sum"]

    @display(description=gettext_lazy("outlets"), ordering="outlet_count")
    def outlets_count(self, row: Any) -> str:
        """How many."""
        return right(plain_number(row.outlet_count))

    @display(description=gettext_lazy("float in all"))
    def float_sum(self, row: Agent) -> str:
        """Over all its contracts."""
        return right(floats.sums(row.contracts.all()))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Address ranges are a line, commands are ticked."""
        if db_field.name == "osmp_commands":
            return choices_field(db_field)
        if db_field.name == "networks":
            options["widget"] = UnfoldAdminTextInputWidget
        return super().formfield_for_dbfield(db_field, request, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Its code is in its machines' addresses."""
        return ("code",) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """None before there are any."""
        return super().get_inlines(request, obj) if obj else ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With its floats."""
        shown: dict[str, Any] = dict(extra_context or {})
        key = key_of(object_id)
        if key is not None and request.user.has_perm("popolni.view_contract"):
            contracts = Contract.objects.filter(agent_id=key).order_by("branch__book")
            shown |= floats.panels(request, list(contracts.select_related("branch__operator")))
        response: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return response

    def get_urls(self) -> list[Any]:
        """With the pages that end a credential, make a secret, have something sent again."""
        pages = [
            ("<int:pk>/credentials/<int:credential>/end/", "end_credential"),
            ("<int:pk>/webhook/secret/", "webhook_secret"),
            ("<int:pk>/webhook/ping/", "webhook_ping"),
            ("<int:pk>/webhook/<int:delivery>/again/", "send_again"),
            ("<int:pk>/registries/<slug:channel>/<slug:day>/", "registry"),
        ]
        own = [
            path(url, self.admin_site.admin_view(getattr(self, name)), name=f"popolni_agent_{name}")
            for url, name in pages
        ]
        return [*own, *super().get_urls()]

    @page_action(
        description=gettext_lazy("New contract"),
        url_path="new-contract",
        permissions=["popolni.add_contract"],
    )
    def new_contract(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of a contract of this agent."""
        url = reverse("admin:popolni_contract_add")
        return HttpResponseRedirect(f"{url}?agent={object_id}")

    @page_action(
        description=gettext_lazy("New outlet"),
        url_path="new-outlet",
        permissions=["popolni.add_outlet"],
    )
    def new_outlet(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an outlet of this agent."""
        return HttpResponseRedirect(f"{reverse('admin:popolni_outlet_add')}?agent={object_id}")

    @page_action(
        description=gettext_lazy("Set a new password"),
        url_path="new-password",
        permissions=[CHANGE],
    )
    def new_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Its own page."""
        view = sensitive_post_parameters()(credential_pages.new_password)
        return view(request, object_id, self.admin_site.each_context)

    @page_action(
        description=gettext_lazy("Add a certificate"),
        url_path="new-certificate",
        permissions=[CHANGE],
    )
    def new_certificate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Its own page."""
        context = self.admin_site.each_context
        return credential_pages.new_certificate(request, object_id, context)

    def end_credential(self, request: HttpRequest, pk: int, credential: int) -> HttpResponse:
        """Its own page."""
        context = self.admin_site.each_context
        return credential_pages.end(request, str(pk), credential, context)

    @page_action(
        description=gettext_lazy("Webhook"),
        url_path="webhook",
        permissions=[webhooks.CHANGE],
    )
    def webhook(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Its own page."""
        return webhooks.page(request, object_id, self.admin_site.each_context)

    def webhook_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Its own page."""
        return webhooks.secret_page(request, str(pk), self.admin_site.each_context)

    def webhook_ping(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A button of its page."""
        return webhooks.ping(request, str(pk))

    def send_again(self, request: HttpRequest, pk: int, delivery: int) -> HttpResponse:
        """Its own page."""
        return webhooks.again(request, str(pk), delivery)

    @page_action(
        description=gettext_lazy("Registries"),
        url_path="registries",
        permissions=[layouts.VIEW],
    )
    def registries(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Its own page."""
        return layouts.page(request, object_id, self.admin_site.each_context)

    def registry(self, request: HttpRequest, pk: int, channel: str, day: str) -> HttpResponse:
        """A file of ours."""
        return layouts.download(request, pk, channel, day)
