"""What every page of the back office has in common."""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import ShowFacets
from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from unfold.admin import ModelAdmin, TabularInline

from popolni.core.errors import UserError
from popolni.ledger.errors import LedgerError
from popolni.web.office.exports import export_csv
from popolni.web.office.fields import MINOR, money_field
from popolni.web.office.paging import KeysetChangeList, take_keys


class MoneyFields:
    """Fields in minor units are typed in whole ones.

    `currency` is theirs; None where each row has its own.
    """

    currency: str | None = "RUB"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """A `MoneyField` for these, the framework's own for all others."""
        if db_field.name.endswith(MINOR) and isinstance(db_field, models.IntegerField):
            return money_field(db_field, self.currency)
        return super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]  # a mixin


class OfficeAdmin(MoneyFields, ModelAdmin):  # type: ignore[misc]  # unfold carries no types
    """A list and a form. Nothing is deleted here: what has a history keeps it.

    `keyset_order` (`"pk"` or `"-pk"`) pages the list by key; None by page numbers, for what is
    small. What a service refuses (`UserError`) is shown in the form, with all that was typed.
    `rows_of` names what a list's address may ask for the rows of, by key: `contract__id__exact=7`.
    """

    keyset_order: str | None = None
    rows_of: tuple[str, ...] = ()
    list_per_page = 25
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # to count a list of millions once for each choice of a filter
    list_filter_submit = True
    warn_unsaved_form = True
    compressed_fields = True
    actions: tuple[Any, ...] = (export_csv,)
    checks_class = ModelAdminChecks  # unfold's own asks a database that has no tables yet

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[Any]:
        """The list by key or by number."""
        return KeysetChangeList if self.keyset_order else super().get_changelist(request, **options)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list's page; its rows get what `prepare_rows`, where there is one, reads for all."""
        page = super().get_changelist_instance(request)
        if prepare := getattr(self, "prepare_rows", None):
            page.result_list = list(page.result_list)
            prepare(page.result_list)
        return page

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """What the list's own filters ask for, to the letter.

        The framework would take any way that begins like a filter, through all tables: each answer,
        rows or no rows, would tell a letter of a password's hash.
        """
        filters = self.get_list_filter(request)
        allowed = {name for item in filters for name in _asked_by(self.model, item)}
        return lookup in allowed | {f"{name}__id__exact" for name in self.rows_of}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """None: what happened is in the audit trail."""
        raise Http404

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list."""
        if self.keyset_order:
            take_keys(request)
            self.sortable_by = ()
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """The form; what a service refuses comes back as a message."""
        try:
            response: HttpResponse = super().changeform_view(
                request, object_id, form_url, extra_context
            )
        except (UserError, LedgerError) as error:
            request.refusal = str(error)  # type: ignore[attr-defined]  # for get_form, right below
            response = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,
        **options: Any,
    ) -> type[Any]:
        """The form; after a refusal one that shows it above what was typed."""
        form: type[Any] = super().get_form(request, obj, change, **options)
        refusal = getattr(request, "refusal", None)
        if refusal is None:
            return form

        def clean(refused: Any) -> None:
            form.clean(refused)
            raise ValidationError(refusal)

        return type("RefusedForm", (form,), {"clean": clean})


def _asked_by(model: type[models.Model], item: Any) -> Iterator[str]:
    """The words of an address that a filter reads: of a relation only the other row's key."""
    if not isinstance(item, tuple):
        yield item.parameter_name
        return
    path, _kind = item
    field: Any = get_fields_from_path(model, path)[-1]
    key = f"__{field.target_field.name}" if field.is_relation else ""
    yield f"{path}{key}__exact"
    yield f"{path}__isnull"


class Inline(MoneyFields, TabularInline):  # type: ignore[misc]  # unfold carries no types
    """Rows that belong to the form's one."""

    extra = 0
    tab = True
    template = "office/inline.html"


class ReadOnly:
    """Nobody changes anything here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


def require(request: HttpRequest, *permissions: str) -> None:
    """Raises PermissionDenied unless the user has all of them (`popolni.ask_float`)."""
    if not request.user.has_perms(permissions):
        raise PermissionDenied
