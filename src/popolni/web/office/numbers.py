"""Numbers and who holds them: lists of millions, and a page about each."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from popolni.catalog.formats import money, right
from popolni.core.errors import UserError
from popolni.ledger.errors import LedgerError
from popolni.subscribers import service
from popolni.subscribers.documents import masked, read_document
from popolni.subscribers.models import Number, Subscriber
from popolni.web.office import number_page, subscriptions
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import Inline, OfficeAdmin, ReadOnly, require
from popolni.web.office.exports import in_csv, plain_sum
from popolni.web.office.filters import BranchFilter
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.search import as_number

if TYPE_CHECKING:
    from popolni.web.office.site import Office

STATUS_COLOURS = {"active": "success", "blocked": "warning", "closed": "danger"}
FOUND_MAX = 200
CHANGES = {
    "block": ("popolni.change_number", service.block),
    "unblock": ("popolni.change_number", service.unblock),
    "close": ("popolni.close_number", service.close),
}
"""Who may do it, and what does it."""


def register(office: "Office") -> None:
    """Numbers, subscribers."""
    office.register(Number, NumberAdmin)
    office.register(Subscriber, SubscriberAdmin)


class NumberForm(AnyModelForm):
    """A number to open."""

    class Meta:
        model = Number
        fields = ("number", "branch", "subscriber")


class NumberAdmin(OfficeAdmin):
    """Numbers, by number; a number's page is `number_page`."""

    keyset_order = "pk"
    list_display = ("number_text", "status_label", "branch", "subscriber", "money")
    list_display_links = ("number_text",)
    list_filter = (("status", ChoicesDropdownFilter), ("branch", BranchFilter))
    list_select_related = ("branch__operator", "subscriber")
    search_fields = ("number",)
    search_help_text = gettext_lazy("A number, or its beginning")
    autocomplete_fields = ("subscriber",)
    form = NumberForm

    @in_csv((None, lambda row: row.pk))
    @display(description=gettext_lazy("number"))
    def number_text(self, row: Number) -> str:
        """With its plus."""
        return format_html('<span class="tabular-nums">{}</span>', str(row))

    @display(description=gettext_lazy("status"))
    def status_label(self, row: Number) -> str:
        """Coloured."""
        return badge(row.get_status_display(), STATUS_COLOURS[row.status])

    @in_csv(
        (None, lambda row: plain_sum(row.money_minor)),
        (gettext_lazy("currency"), lambda row: row.branch.currency),
    )
    @display(description=gettext_lazy("balance"))
    def money(self, row: Number) -> str:
        """From the ledger, read for the whole page at once."""
        return right(money(row.money_minor, row.branch.currency))  # type: ignore[attr-defined]  # by prepare_rows

    def prepare_rows(self, rows: list[Number]) -> None:
        """Gives rows of a page, or of an export, their balances."""
        number_page.add_balances(rows)

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Who holds a number is for who may see subscribers."""
        sees = request.user.has_perm("popolni.view_subscriber")
        return [name for name in self.list_display if sees or name != "subscriber"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Number], search_term: str
    ) -> tuple[QuerySet[Number], bool]:
        """A number, or all that begin so: by the key, never by reading the list."""
        digits = as_number(search_term.strip())
        if not search_term.strip():
            return queryset, False
        if digits is None or not digits or len(digits) > 15:
            return queryset.none(), False
        factor = 10 ** max(0, 11 - len(digits))
        first = int(digits) * factor
        return queryset.filter(pk__gte=first, pk__lt=first + factor), False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A number changes through the buttons of its page."""
        return False

    def save_model(self, request: HttpRequest, obj: Number, form: Any, change: bool) -> None:
        """Opens the number, with its accounts."""
        service.open_number(obj.number, obj.branch, obj.subscriber)

    def get_urls(self) -> list[Any]:
        """The page's own buttons."""
        wrap = self.admin_site.admin_view
        return [
            path(
                "<int:number>/status/<slug:change>/",
                wrap(self.change_status),
                name="popolni_number_status",
            ),
            path("<int:number>/plan/", wrap(self.change_plan), name="popolni_number_plan"),
            path(
                "<int:number>/plan/<slug:button>/",
                wrap(self.press_plan),
                name="popolni_number_plan_button",
            ),
            *super().get_urls(),
        ]

    def change_status(self, request: HttpRequest, number: int, change: str) -> HttpResponse:
        """Blocks, unblocks or closes, when asked by POST."""
        if change not in CHANGES:
            raise Http404
        permission, act = CHANGES[change]
        require(request, permission)
        row = number_page.find(number)
        if request.method == "POST":
            try:
                act(row)
            except (UserError, LedgerError) as error:
                messages.error(request, str(error))
            else:
                row.refresh_from_db()
                text = _("%(number)s is %(status)s now")
                shown = {"number": row, "status": row.get_status_display()}
                messages.success(request, text % shown)
        return HttpResponseRedirect(reverse("admin:popolni_number_change", args=(number,)))

    def change_plan(self, request: HttpRequest, number: int) -> HttpResponse:
        """The form that changes its plan."""
        return subscriptions.page(request, number, self.admin_site.each_context)

    def press_plan(self, request: HttpRequest, number: int, button: str) -> HttpResponse:
        """The buttons about its plan."""
        return subscriptions.press(request, number, button)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """The page about a number."""
        require(request, "popolni.view_number")
        if not object_id.isascii() or not object_id.isdigit() or len(object_id) > 15:
            raise Http404
        row = number_page.find(int(object_id))
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            "original": row,
            "back_url": reverse("admin:popolni_number_changelist"),
            **number_page.context(request, row),
        }
        return TemplateResponse(request, "office/number.html", context)


class NumbersOfSubscriber(ReadOnly, Inline):
    """A subscriber's numbers."""

    model = Number
    fields = ("number", "status", "branch")
    readonly_fields = fields
    show_change_link = True
    ordering = ("pk",)
    tab = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Number]:
        """With what its rows name."""
        found: QuerySet[Number] = super().get_queryset(request)
        return found.select_related("branch__operator")


class ReadForm(forms.Form):
    """Why somebody reads a document."""

    why = forms.CharField(max_length=300, min_length=5, strip=True)


class SubscriberAdmin(OfficeAdmin):
    """People, found by how their name begins."""

    keyset_order = "pk"
    list_display = ("name_or_id", "language", "since")
    since = moment_of("created_at", gettext_lazy("since"))
    search_fields = ("name",)
    search_help_text = gettext_lazy("How the name begins")
    fields = ("name", "language", "created_at", "document_masked")
    readonly_fields = ("created_at", "document_masked")
    inlines = (NumbersOfSubscriber,)
    change_form_after_template = "office/document.html"

    @display(description=pgettext_lazy("of a person", "name"))
    def name_or_id(self, row: Subscriber) -> str:
        """Who has no name is called by number."""
        return str(row)

    @display(description=gettext_lazy("identity document"))
    def document_masked(self, row: Subscriber) -> str:
        """Its kind and last digits."""
        document = getattr(row, "document", None)
        return masked(document) if document else "–"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscriber], search_term: str
    ) -> tuple[QuerySet[Subscriber], bool]:
        """By the index on how names begin: the keys first, so that no list is read in its order."""
        text = search_term.strip()
        if not text:
            return queryset, False
        begins = Subscriber.objects.filter(name__istartswith=text).order_by()
        keys = list(begins.values_list("pk", flat=True)[:FOUND_MAX])
        return queryset.filter(pk__in=keys), False

    def get_urls(self) -> list[Any]:
        """With the reading of a document."""
        url = "<int:pk>/document/"
        view = self.admin_site.admin_view(self.read_document_view)
        return [path(url, view, name="popolni_subscriber_document"), *super().get_urls()]

    def read_document_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Shows the clear text once, for a reason that the audit trail keeps."""
        require(request, "popolni.view_identitydocument", "popolni.view_subscriber")
        subscriber = Subscriber.objects.select_related("document").filter(pk=pk).first()
        if subscriber is None:
            raise Http404
        form = ReadForm(request.POST or None)
        document = None
        if request.method == "POST" and form.is_valid():
            user: Any = request.user
            try:
                document = read_document(subscriber, reader=user, why=form.cleaned_data["why"])
            except UserError as error:
                messages.error(request, str(error))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Identity document"),
            "subscriber": subscriber,
            "masked": self.document_masked(subscriber),
            "form": form,
            "document": document,
        }
        return TemplateResponse(request, "office/document_page.html", context)
