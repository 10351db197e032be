"""Reconciliations: a registry is sent, compared, and what differs is settled by two people."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin import display
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelect2Widget,
    UnfoldBooleanWidget,
)

from popolni.catalog.formats import plain_number, right
from popolni.core.errors import UserError
from popolni.reconciliation.models import Reconciliation, RegistryLayout
from popolni.reconciliation.service import (
    BLOCK,
    FILE_BYTES_MAX,
    Span,
    compare_upload,
    upload,
)
from popolni.web.office import difference_pages
from popolni.web.office.adjustments import user_of
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import ReadOnly, require
from popolni.web.office.fields import key_of
from popolni.web.office.layouts import day_input
from popolni.web.office.parts import RoomAdmin

if TYPE_CHECKING:
    from popolni.web.office.site import Office

ADD, VIEW = "popolni.add_reconciliation", "popolni.view_reconciliation"
AT_ONCE_BYTES_MAX = 4 * 1024**2
"""A file up to this size is compared while the person waits; a larger one by the worker."""
LAYOUTS_MAX = 2_000
State = Reconciliation.State
COLOURS = {
    State.WAITING: "warning",
    State.RUNNING: "info",
    State.DONE: "success",
    State.UNREADABLE: "danger",
}


def register(office: "Office") -> None:
    """Shows them in the back office."""
    office.register(Reconciliation, ReconciliationAdmin)


class UploadForm(forms.Form):
    """Whose file, of which days, and the file."""

    layout = forms.ModelChoiceField(
        RegistryLayout.objects.none(),
        label=gettext_lazy("Agent and channel"),
        widget=UnfoldAdminSelect2Widget(attrs={"class": "w-full"}),
    )
    first_day = forms.DateField(label=gettext_lazy("First day"), widget=day_input())
    last_day = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        help_text=gettext_lazy("Empty: the same."),
        widget=day_input(),
    )
    file = forms.FileField(
        label=gettext_lazy("File"), allow_empty_file=True, widget=UnfoldAdminFileFieldWidget()
    )

    again = forms.BooleanField(
        label=gettext_lazy("Compare again"),
        required=False,
        help_text=gettext_lazy(
            "Also a file that was compared before, as long as nobody asked to settle any of its "
            "differences."
        ),
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, data: Any = None, files: Any = None, initial: Any = None) -> None:
        super().__init__(data, files, initial=initial)
        rows = RegistryLayout.objects.select_related("agent").order_by("agent__name", "channel")
        field: Any = self.fields["layout"]
        field.queryset = rows
        field.choices = lambda: [
            ("", "—"),
            *((row.pk, f"{row.agent} · {row.get_channel_display()}") for row in rows[:LAYOUTS_MAX]),
        ]

    def clean_file(self) -> Any:
        """Not larger than a registry can be."""
        file = self.cleaned_data["file"]
        if file.size > FILE_BYTES_MAX:
            raise ValidationError(_("%(name)s is too large to be a registry") % {"name": file.name})
        return file

    def span(self) -> Span:
        """The days."""
        first = self.cleaned_data["first_day"]
        return Span(first, self.cleaned_data["last_day"] or first)


class ReconciliationAdmin(ReadOnly, RoomAdmin):
    """All runs, the newest first; each one's page has its differences."""

    ordering = ("-pk",)
    keyset_order = "-pk"
    rows_of = ("agent",)
    list_display = (
        "days", "agent", "channel", "state_shown", "theirs_count", "ours_count", "matched_count",
        "differences_shown", "begun",
    )  # fmt: skip
    list_display_links = ("days",)
    list_select_related = ("agent",)
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("agent", RelatedDropdownFilter),
    )
    nothing_yet = gettext_lazy("No registry was compared yet.")
    begun = moment_of("created_at", gettext_lazy("begun"))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may send a file."""
        return bool(request.user.has_perm(ADD))

    @display(description=pgettext_lazy("of a registry", "days"))
    def days(self, row: Reconciliation) -> str:
        """One, or from and to."""
        return difference_pages.days_of(row)

    @display(description=gettext_lazy("state"))
    def state_shown(self, row: Reconciliation) -> Any:
        """Coloured."""
        return badge(row.get_state_display(), COLOURS[State(row.state)])

    @display(description=gettext_lazy("theirs"))
    def theirs_count(self, row: Reconciliation) -> str:
        """How many."""
        return right(plain_number(row.theirs))

    @display(description=gettext_lazy("ours"))
    def ours_count(self, row: Reconciliation) -> str:
        """How many."""
        return right(plain_number(row.ours))

    @display(description=gettext_lazy("matched"))
    def matched_count(self, row: Reconciliation) -> str:
        """How many."""
        return right(plain_number(row.matched))

    @display(description=gettext_lazy("differences"))
    def differences_shown(self, row: Reconciliation) -> Any:
        """How many; red if there is any."""
        if row.state != State.DONE:
            return "–"
        colour = "danger" if row.differences_count else "success"
        return badge(plain_number(row.differences_count), colour)

    def get_urls(self) -> list[Any]:
        """And what is done with differences."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/accept/", view(require_POST(self.accept)), name="differences_accept"),
            path("<int:pk>/decide/", view(require_POST(self.decide)), name="differences_decide"),
            path("<int:pk>/<int:difference>/<slug:action>/", view(self.ask), name="difference_ask"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """The form that sends a file."""
        require(request, ADD)
        yesterday = timezone.localdate() - timedelta(days=1)
        initial = {"first_day": yesterday, "layout": key_of(request.GET.get("layout", ""))}
        is_sent = request.method == "POST"
        form = UploadForm(
            request.POST if is_sent else None, request.FILES if is_sent else None, initial
        )
        if is_sent and form.is_valid():
            try:
                run = _send(request, form)
            except UserError as error:
                form.add_error(None, str(error))
            else:
                return HttpResponseRedirect(url_of(run))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Compare a registry"),
            "form": form,
        }
        return TemplateResponse(request, "office/reconciliation/upload.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A run's page."""
        require(request, VIEW)
        row = self._find(key_of(object_id))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "state_badge": badge(row.get_state_display(), COLOURS[State(row.state)]),
            **difference_pages.context(request, row),
        }
        return TemplateResponse(request, "office/reconciliation/run.html", context)

    def ask(self, request: HttpRequest, pk: int, difference: int, action: str) -> HttpResponse:
        """Its own page."""
        return difference_pages.ask_page(
            request, self._find(pk), difference, action, self.admin_site.each_context
        )

    def accept(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks that those that were ticked stay as they are."""
        return difference_pages.accept(request, self._find(pk))

    def decide(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Approves or declines that."""
        return difference_pages.decide(request, self._find(pk))

    def _find(self, pk: int | None) -> Reconciliation:
        rows = Reconciliation.objects.select_related("agent", "started_by")
        row = rows.filter(pk=pk).first() if pk is not None else None
        if row is None:
            raise Http404
        return row


def url_of(run: Reconciliation) -> str:
    """The page of a run."""
    return reverse("admin:popolni_reconciliation_change", args=(run.pk,))


def _send(request: HttpRequest, form: UploadForm) -> Reconciliation:
    """Keeps the file, and compares it now if it is small."""
    file = form.cleaned_data["file"]

    def blocks() -> Iterator[bytes]:
        file.seek(0)
        yield from file.chunks(BLOCK)

    layout: RegistryLayout = form.cleaned_data["layout"]
    again = form.cleaned_data["again"]
    run = upload(layout, file.name, blocks, form.span(), by=user_of(request), again=again)
    if run.state == State.DONE:
        text = _(
            "This file was compared before; this is what came of it. If the layout is another one "
            "now, send it with “Compare again” ticked."
        )
        messages.info(request, text)
    elif run.bytes <= AT_ONCE_BYTES_MAX:
        run = compare_upload(run)
    return run
