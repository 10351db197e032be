"""Entries of the log that a reader could not handle: why, and a person decides what becomes of it.

All of it is in `readers.set_aside`; here are the list, each one's page and its two buttons.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import DropdownFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.client import run
from popolni.ledger.errors import LedgerError
from popolni.ledger.statements import read_places
from popolni.readers import set_aside, worker
from popolni.readers.models import NOTE_MAX, SetAside
from popolni.web.office.adjustments import in_words
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import OfficeAdmin, ReadOnly, require
from popolni.web.office.entries import Line, lines
from popolni.web.office.exports import export_csv
from popolni.web.office.parts import link

if TYPE_CHECKING:
    from popolni.web.office.site import Office

VIEW, CHANGE = "popolni.view_setaside", "popolni.change_setaside"
OPEN = "open"


def open_count() -> int:
    """How many wait for somebody to decide."""
    return SetAside.objects.filter(resolved_at=None).count()


def open_url() -> str:
    """The list of these."""
    return f"{reverse('admin:popolni_setaside_changelist')}?state={OPEN}"


def retry(row: SetAside) -> None:
    """Has its reader handle it. Raises UserError, LedgerError."""
    reader = next((reader for reader in worker.READERS if reader.name == row.reader), None)
    if reader is None:
        raise UserError(
            _("there is no reader %(name)s any more: it can only be dismissed")
            % {"name": row.reader}
        )
    set_aside.try_again(row, reader)


class NoteForm(forms.Form):
    """Why it is never handled."""

    note = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=NOTE_MAX,
        help_text=gettext_lazy("Why it may be left out: whoever looks at it next year reads this."),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )


class StateFilter(DropdownFilter):  # type: ignore[misc]  # unfold carries no types
    """By what became of it."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Nothing yet, or one of the two."""
        how = [(value, str(label)) for value, label in SetAside.How.choices]
        return [(OPEN, _("open")), *how]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen one."""
        state = self.value()
        return queryset.filter(how="" if state == OPEN else state) if state else queryset


class ReaderFilter(DropdownFilter):  # type: ignore[misc]  # unfold carries no types
    """By whose it was."""

    title = gettext_lazy("reader")
    parameter_name = "reader"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The readers that there are."""
        return [(reader.name, reader.name) for reader in worker.READERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen one."""
        return queryset.filter(reader=self.value()) if self.value() else queryset


@admin.action(description=gettext_lazy("Try again"), permissions=["resolve"])
def try_chosen_again(
    _model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, queryset: QuerySet[SetAside]
) -> None:
    """Each that is open, from the oldest on, in a transaction of its own."""
    done = failed = 0
    for row in queryset.filter(resolved_at=None).order_by("pk"):
        try:
            retry(row)
        except UserError:
            failed += 1
        except LedgerError as error:
            messages.error(request, in_words(error))
            break
        else:
            done += 1
    _tell(request, done, failed)


def _tell(request: HttpRequest, done: int, failed: int) -> None:
    if done:
        text = ngettext("%(n)d entry was handled.", "%(n)d entries were handled.", done)
        messages.success(request, text % {"n": done})
    if failed:
        text = ngettext("%(n)d entry fails again.", "%(n)d entries fail again.", failed)
        messages.error(request, text % {"n": failed})


class SetAsideAdmin(ReadOnly, OfficeAdmin):
    """All of them, the newest first; each one's page is where it is decided."""

    keyset_order = "-pk"
    list_display = ("at", "reader", "receipt", "reason", "tries", "state", "resolved")
    list_display_links = ("at",)
    list_filter = (StateFilter, ReaderFilter)
    actions = (export_csv, try_chosen_again)
    readonly_fields = ("reader", "receipt", "reason", "tries", "at", "state", "resolved", "note")
    fields = readonly_fields
    change_form_outer_before_template = "office/readers/decide.html"

    at = moment_of("set_aside_at", gettext_lazy("set aside at"))
    resolved = moment_of("resolved_at", gettext_lazy("resolved at"))

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Who may have them tried again, and dismiss them."""
        return bool(request.user.has_perm(CHANGE))

    @admin.display(description=gettext_lazy("receipt"))
    def receipt(self, row: SetAside) -> Any:
        """The entry's place in the log, and the way to its page."""
        return link(reverse("admin:transfer", args=(row.book, row.seq)), f"{row.book}-{row.seq}")

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: SetAside) -> SafeString:
        """Coloured."""
        if row.is_open:
            return badge(_("open"), "danger")
        return badge(row.get_how_display(), "success" if row.how == SetAside.How.AGAIN else "plain")

    def get_urls(self) -> list[URLPattern]:
        """And where it is decided."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/again/", view(require_POST(self.again)), name="setaside_again"),
            path("<int:pk>/dismiss/", view(require_POST(self.dismiss)), name="setaside_dismiss"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page, with what the entry says, and the buttons for who may press them."""
        row = self.get_object(request, object_id)
        shown = {"show_history": False, **(extra_context or {})}
        if row is not None:
            name = f"{row.reader}: {row.book}-{row.seq}"
            shown |= {"original": name, "crumb": name, "subtitle": name}
            shown |= {"row": row, "line": _line(row)}
            shown["may_decide"] = row.is_open and self.has_resolve_permission(request)
            shown["note_form"] = NoteForm()
        response: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return response

    def again(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Has it handled now."""
        row = self._row(request, pk)
        try:
            retry(row)
        except (UserError, LedgerError) as error:
            messages.error(request, in_words(error))
        else:
            messages.success(request, _("It is handled."))
        return _to(pk)

    def dismiss(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Leaves it out for good."""
        row = self._row(request, pk)
        try:
            set_aside.dismiss(row, request.POST.get("note", ""))
        except UserError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _("It is dismissed."))
        return _to(pk)

    def _row(self, request: HttpRequest, pk: int) -> SetAside:
        require(request, CHANGE)
        row = SetAside.objects.filter(pk=pk).first()
        if row is None:
            raise Http404
        return row


def _line(row: SetAside) -> Line | None:
    """What the entry is, in words."""
    branch = Branch.objects.filter(book=row.book).first()
    entries = run(read_places(row.book, [row.seq]))
    return lines(row.book, branch.currency if branch else "", entries)[0] if entries else None


def _to(pk: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:popolni_setaside_change", args=(pk,)))


def register(office: "Office") -> None:
    """Shows them in the back office."""
    office.register(SetAside, SetAsideAdmin)
