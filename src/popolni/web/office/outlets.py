"""Agents' places where people pay."""

from typing import Any

from django.contrib.admin import display
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
)

from popolni.agents import opening_hours
from popolni.agents.models import Outlet
from popolni.catalog.labels import METHODS
from popolni.core.errors import UserError
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import LINK, RoomAdmin, check_order, choices_field, chosen

MAP = (
    "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=17/{latitude}/{longitude}"
)


class OutletForm(AnyModelForm):
    """An outlet."""

    def clean_opening_hours(self) -> str:
        """Such as can be read."""
        text = str(self.cleaned_data["opening_hours"])
        try:
            opening_hours.validate(text)
        except UserError as error:
            raise ValidationError(str(error)) from error
        return text

    def clean(self) -> dict[str, Any]:
        """Smallest, largest, most in a day."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        largest = _("the largest top-up is not below the smallest one")
        check_order(self, "min_minor", "max_minor", largest)
        day = _("the sum of a day is not below the largest top-up")
        check_order(self, "max_minor", "day_max_minor", day)
        return cleaned


class OutletAdmin(RoomAdmin):
    """Outlets."""

    form = OutletForm
    list_display = ("name", "code", "kind", "city", "address", "agent", "is_active", "map_link")
    list_filter = (
        ("agent", RelatedDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("is_active", BooleanRadioFilter),
    )
    list_select_related = ("agent",)
    search_fields = ("code", "name", "city", "address")
    ordering = ("city", "name", "pk")
    autocomplete_fields = ("agent",)
    readonly_fields = ("map_link", "methods_shown")

    @display(description=gettext_lazy("map"))
    def map_link(self, row: Outlet) -> str:
        """Where it is, on OpenStreetMap."""
        if row.pk is None:
            return "–"
        url = MAP.format(latitude=row.latitude, longitude=row.longitude)
        return format_html(
            '<a href="{}" class="{}" target="_blank" rel="noopener noreferrer">{}</a>',
            url,
            LINK,
            _("show on the map"),
        )

    @display(description=gettext_lazy("payments it takes"))
    def methods_shown(self, row: Outlet) -> str:
        """In words."""
        return chosen(row.methods or [], METHODS)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Payment methods are ticked."""
        if db_field.name == "methods":
            return choices_field(db_field)
        return super().formfield_for_dbfield(db_field, request, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What it is, where, when, what it takes."""
        may_change = obj is None or self.has_change_permission(request, obj)
        where = ("latitude", "longitude", "map_link") if obj else ("latitude", "longitude")
        takes = "methods" if may_change else "methods_shown"
        return (
            (None, {"fields": (("agent", "kind"), ("name", "code"), "is_active")}),
            (
                gettext_lazy("Where and when"),
                {"fields": (("city", "address"), where, "opening_hours")},
            ),
            (
                gettext_lazy("Payments"),
                {"fields": (takes, ("min_minor", "max_minor", "day_max_minor"))},
            ),
        )
