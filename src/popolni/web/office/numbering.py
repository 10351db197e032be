"""The numbering plan: what the regulator published, and what an import of it changed."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from popolni.catalog.formats import listed, right
from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.web.office.badges import moment_of
from popolni.web.office.base import ReadOnly
from popolni.web.office.parts import RoomAdmin
from popolni.web.office.reports import sections
from popolni.web.office.search import as_number

if TYPE_CHECKING:
    from popolni.web.office.site import Office

HINT = "office/numbering/imports_hint.html"


def register(office: "Office") -> None:
    """Carriers, regions, ranges, ported numbers, imports."""
    office.register(Carrier, CarrierAdmin)
    office.register(Region, RegionAdmin)
    office.register(NumberingRange, RangeAdmin)
    office.register(PortedNumber, PortedNumberAdmin)
    office.register(NumberingImport, ImportAdmin)


class CarrierAdmin(RoomAdmin):
    """Carriers come from the regulator's files; which operator of ours one is, staff say."""

    list_display = ("name", "inn", "operator")
    list_filter = (("operator", RelatedDropdownFilter),)
    list_select_related = ("operator",)
    search_fields = ("name", "inn")
    ordering = ("name",)
    fields = ("name", "inn", "operator")
    readonly_fields = ("name", "inn")
    list_before_template = HINT

    def has_add_permission(self, request: HttpRequest) -> bool:
        """An import does."""
        return False


class RegionAdmin(ReadOnly, RoomAdmin):
    """Regions, as the regulator writes them."""

    list_display = ("name",)
    search_fields = ("name",)
    ordering = ("name",)
    list_before_template = HINT


class RangeAdmin(ReadOnly, RoomAdmin):
    """Ranges, by their first number."""

    keyset_order = "pk"
    list_display = ("numbers", "count", "carrier", "region")
    list_select_related = ("carrier", "region")
    search_fields = ("first",)
    search_help_text = gettext_lazy("A number: the range that holds it")
    fields = ("first", "last", "carrier", "region")
    list_before_template = HINT

    @display(description=gettext_lazy("numbers"))
    def numbers(self, row: NumberingRange) -> str:
        """From, to."""
        return str(row)

    @display(description=gettext_lazy("how many"))
    def count(self, row: NumberingRange) -> str:
        """Numbers in it."""
        numbers = row.last - row.first + 1
        return right(number_format(numbers, use_l10n=True, force_grouping=True))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[NumberingRange], search_term: str
    ) -> tuple[QuerySet[NumberingRange], bool]:
        """The range that holds the number: the last to begin at or before it, by the key."""
        if not search_term.strip():
            return queryset, False
        number = _number(search_term)
        if number is None:
            return queryset.none(), False
        last_before = NumberingRange.objects.filter(first__lte=number).order_by("-first")
        return queryset.filter(pk__in=last_before.values("pk")[:1], last__gte=number), False


class PortedNumberAdmin(ReadOnly, RoomAdmin):
    """Numbers that left the carrier of their range."""

    keyset_order = "pk"
    list_display = ("number", "mnc", "ported_on")
    search_fields = ("number",)
    search_help_text = gettext_lazy("A number")
    fields = ("number", "mnc", "ported_on")
    list_before_template = HINT

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PortedNumber], search_term: str
    ) -> tuple[QuerySet[PortedNumber], bool]:
        """The number itself."""
        if not search_term.strip():
            return queryset, False
        number = _number(search_term)
        return (queryset.none() if number is None else queryset.filter(pk=number)), False


class ImportAdmin(ReadOnly, RoomAdmin):
    """Imports, each with what it changed."""

    list_display = ("imported", "kind", "file_names")
    imported = moment_of("imported_at", gettext_lazy("imported at"))
    list_filter = (("kind", ChoicesDropdownFilter),)
    nothing_yet = gettext_lazy("Nothing was imported yet.")
    ordering = ("-pk",)
    fields = (("imported_at", "kind"), "files_shown", "report_shown")
    readonly_fields = ("imported_at", "kind", "files_shown", "report_shown")
    list_before_template = HINT

    @display(description=gettext_lazy("files"))
    def file_names(self, row: NumberingImport) -> str:
        """Their names."""
        return listed(file.get("name", "") for file in _dictionaries(row.files))

    @display(description=gettext_lazy("files"))
    def files_shown(self, row: NumberingImport) -> str:
        """A table."""
        return _report({"files": row.files})

    @display(description=gettext_lazy("report"))
    def report_shown(self, row: NumberingImport) -> str:
        """Tables and lists."""
        return _report(row.report)


def _dictionaries(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _report(report: Any) -> str:
    shown = {"sections": sections(report if isinstance(report, dict) else {"report": report})}
    return render_to_string("office/numbering/report.html", shown)


def _number(text: str) -> int | None:
    """The number that was typed; None if it can't be one."""
    digits = as_number(text.strip())
    return int(digits) if digits and len(digits) <= 15 else None
