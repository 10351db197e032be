"""The audit trail: read by who may, changed by nobody."""

from typing import TYPE_CHECKING, Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter

from popolni.agents.staff import User
from popolni.audit import RULES
from popolni.catalog.formats import listed
from popolni.web.office.badges import badge, moment
from popolni.web.office.base import OfficeAdmin, ReadOnly
from popolni.web.office.changes import field_name, in_words

if TYPE_CHECKING:
    from popolni.web.office.site import Office

ACTIONS = {
    LogEntry.Action.CREATE: _("added"),
    LogEntry.Action.UPDATE: _("changed"),
    LogEntry.Action.DELETE: _("deleted"),
    LogEntry.Action.ACCESS: _("read"),
}
COLOURS = {
    LogEntry.Action.CREATE: "success",
    LogEntry.Action.UPDATE: "info",
    LogEntry.Action.DELETE: "danger",
    LogEntry.Action.ACCESS: "warning",
}
FIELDS_MAX = 4
"""Changed fields that a list's row names."""


class ModelFilter(DropdownFilter):  # type: ignore[misc]  # unfold carries no types
    """By what was changed."""

    title = _("what")
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The models that are recorded, by their names."""
        names = [(model._meta.label_lower, str(model._meta.verbose_name)) for model in RULES]
        return sorted(names, key=lambda row: row[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The entries about the chosen one."""
        app, _dot, name = str(self.value() or "").partition(".")
        if not name:
            return queryset
        try:  # by its key, so that the database knows how many there are to look for
            kind = ContentType.objects.get_by_natural_key(app, name)
        except ContentType.DoesNotExist:
            return queryset.none()
        return queryset.filter(content_type_id=kind.pk)


class AuditAdmin(ReadOnly, OfficeAdmin):
    """The trail, newest first."""

    keyset_order = "-pk"
    list_display = ("at", "who", "action_label", "what", "which", "fields_changed", "address")
    list_display_links = ("at",)
    list_select_related = ("actor", "content_type")
    list_filter = (("action", ChoicesDropdownFilter), ModelFilter)
    search_fields = ("object_pk",)
    search_help_text = _("a login, or the number or key of what was changed")
    fields = ("at", "who", "address", "action_label", "what", "which", "request_id")
    readonly_fields = fields
    change_form_outer_after_template = "office/audit/changes.html"

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        """By key and by login, each exactly: an index answers either."""
        term = search_term.strip()
        if not term:
            return queryset, False
        user = User.objects.filter(username=term).values_list("pk", flat=True).first()
        return queryset.filter(Q(object_pk=term.lstrip("+")) | Q(actor_id=user or 0)), False

    @admin.display(description=_("when"))
    def at(self, entry: LogEntry) -> Any:
        """The moment."""
        return moment(entry.timestamp)

    @admin.display(description=_("who"), empty_value="–")
    def who(self, entry: LogEntry) -> Any:
        """The user; None: a program."""
        return entry.actor.get_username() if entry.actor_id else None

    @admin.display(description=_("action"))
    def action_label(self, entry: LogEntry) -> SafeString:
        """What was done, coloured."""
        return badge(ACTIONS[entry.action], COLOURS[entry.action])

    @admin.display(description=_("what"))
    def what(self, entry: LogEntry) -> Any:
        """The model's name."""
        model = entry.content_type.model_class()
        return str(capfirst(model._meta.verbose_name)) if model else entry.content_type.model

    @admin.display(description=_("which"))
    def which(self, entry: LogEntry) -> Any:
        """The row, as it was called then, and the way to its page if it has one."""
        name = entry.object_repr or entry.object_pk
        try:
            url = reverse(
                f"admin:{entry.content_type.app_label}_{entry.content_type.model}_change",
                args=(entry.object_pk,),
            )
        except NoReverseMatch:
            return name
        return format_html('<a href="{}" class="text-link">{}</a>', url, name)

    @admin.display(description=_("fields"), empty_value="–")
    def fields_changed(self, entry: LogEntry) -> str | None:
        """The names of the changed fields, the first of them; of a new row all are new."""
        if entry.action == LogEntry.Action.CREATE:
            return None
        model = entry.content_type.model_class()
        names = [field_name(model, name) for name in entry.changes_dict]
        more = ["…"] if len(names) > FIELDS_MAX else []
        return listed([*sorted(names)[:FIELDS_MAX], *more]) or None

    @admin.display(description=_("address"), empty_value="–")
    def address(self, entry: LogEntry) -> Any:
        """Where the request came from."""
        return entry.remote_addr

    @admin.display(description=_("request"), empty_value="–")
    def request_id(self, entry: LogEntry) -> Any:
        """What else was changed in the same breath has the same one."""
        return entry.cid

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With what was before and after."""
        entry = self.get_object(request, object_id)
        shown = {"show_history": False, **(extra_context or {})}
        if entry is not None:
            shown |= {"rows": in_words(entry), "notes": entry.additional_data or {}}
            # The entry's own name is in English, whoever reads it.
            name = _name(entry)
            shown |= {"original": name, "crumb": name, "subtitle": name}
        response: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return response


def _name(entry: LogEntry) -> str:
    model = entry.content_type.model_class()
    what = model._meta.verbose_name if model else entry.content_type.model
    parts = (capfirst(ACTIONS[entry.action]), what, entry.object_repr or entry.object_pk)
    return " · ".join(map(str, parts))


def register(office: "Office") -> None:
    """Shows it in the back office."""
    office.register(LogEntry, AuditAdmin)
