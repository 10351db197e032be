"""Small parts that the catalogue's and the agents' pages share."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from django import forms
from django.contrib.admin import display
from django.db import IntegrityError, models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from popolni.catalog.formats import listed, money, plain_money
from popolni.core.errors import UserError
from popolni.web.office.base import Inline, OfficeAdmin
from popolni.web.office.fields import MINOR
from popolni.web.office.generics import AnyModelForm

NAMES = (("name_ru", "name_en", "name_zh"),)
"""A form's fields for a name in three languages, side by side."""

LINK = "text-primary-600 dark:text-primary-500"


View = TypeVar("View", bound=Callable[..., Any])


def page_action(**options: Any) -> Callable[[View], View]:
    """A button on a row's page (`unfold.decorators.action`, with types)."""

    def decorate(view: View) -> View:
        return cast("View", action(**options)(view))

    return decorate


class ShownMoney:
    """Fields in minor units that may only be read are shown in whole ones, too."""

    model: type[models.Model]
    currency: str | None

    @property
    def readonly_preprocess_fields(self) -> dict[str, Callable[[str], str]]:
        """How the text of a field is changed before it is shown."""
        names = (field.name for field in self.model._meta.get_fields())
        shown = partial(money_of_text, currency=self.currency)
        return {name: shown for name in names if name.endswith(MINOR)}


def money_of_text(text: str, currency: str | None) -> str:
    """`50050`, as a field of minor units is shown, as `500.50 ₽`; what is no number stays."""
    digits = re.sub(r"[^\d-]", "", text)
    if not digits.strip("-"):
        return text
    return money(int(digits), currency) if currency else plain_money(int(digits))


class RoomAdmin(ShownMoney, OfficeAdmin):
    """A list and a form whose rows may be made by a service."""

    compressed_fields = False  # labels above their fields: there is room for several in a line
    formfield_overrides = {models.TextField: {"widget": UnfoldAdminTextareaWidget({"rows": 3})}}

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """All labels begin alike."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and field.label:
            field.label = capfirst(field.label)
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """What somebody else did at the same moment is one line, and nothing is changed."""
        with one_line_of_conflicts():
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The same for the rows that belong to the form's one."""
        with one_line_of_conflicts():
            super().save_related(request, form, formsets, change)


@contextmanager
def one_line_of_conflicts() -> Iterator[None]:
    """Turns what only the database could check into a line for the person: UserError."""
    try:
        yield
    except IntegrityError as error:
        raise UserError(
            _("somebody changed this at the same moment: look at it again, then repeat")
        ) from error


class NamedAdmin(RoomAdmin):
    """For what has a name in three languages."""

    @display(description=gettext_lazy("name"), ordering="name_ru")
    def name_shown(self, row: Any) -> str:
        """In the active language."""
        return str(row.name)


class OncePerFormSet(PaginationInlineFormSet):  # type: ignore[misc]  # unfold carries no types
    """Rows of which each has another value in `once`, a field that only new rows let choose."""

    once = ""

    def add_fields(self, form: Any, index: int | None) -> None:
        """What an existing row is about stays: no two rows can swap it."""
        super().add_fields(form, index)
        if form.instance.pk and self.once in form.fields:
            form.fields[self.once].disabled = True

    def clean(self) -> None:
        """A second row about the same is refused at its place."""
        super().clean()
        seen: set[Any] = set()
        for form in self.forms:
            value = getattr(form, "cleaned_data", {}).get(self.once)
            if value is None or (self.can_delete and self._should_delete_form(form)):
                continue
            if value in seen:
                form.add_error(self.once, _("there is a row for this already"))
            seen.add(value)


class OnceForm(AnyModelForm):
    """A row of such a formset. Its subclass's `clean` says all that the table's constraints do."""

    def validate_constraints(self) -> None:
        """The formset, and `clean`, do: with words that name what is wrong."""


class RoomInline(ShownMoney, Inline):
    """Rows that belong to the form's one, and money that may only be read."""

    hide_title = True


class ChoicesField(forms.TypedMultipleChoiceField):
    """Some of a closed list, for an ArrayField, as checkboxes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            coerce=str, empty_value=[], widget=UnfoldAdminCheckboxSelectMultipleWidget, **options
        )


def choices_field(field: Any) -> ChoicesField:
    """The form field for a model's ArrayField of choices."""
    return ChoicesField(
        choices=field.base_field.choices,
        label=capfirst(field.verbose_name),
        help_text=field.help_text,
        required=not field.blank,
    )


def chosen(values: Iterable[str], choices: Iterable[tuple[str, Any]]) -> str:
    """The labels of what is chosen: `counter, web`."""
    labels = dict(choices)
    return listed(labels.get(value, value) for value in values)


def check_order(form: Any, low: str, high: str, message: str) -> None:
    """Adds the message to the field `high` if it is below the field `low`; None is no bound."""
    least, most = form.cleaned_data.get(low), form.cleaned_data.get(high)
    if least is not None and most is not None and most < least:
        form.add_error(high, message)


def adopt(row: models.Model, made: models.Model) -> None:
    """Makes the form's row the one that a service wrote."""
    row.__dict__.update(made.__dict__)


def change_url(row: models.Model) -> str:
    """The page of a row."""
    return reverse(f"admin:popolni_{row._meta.model_name}_change", args=(row.pk,))


def link(url: str, text: object) -> SafeString:
    """A link in a list or beside a field."""
    return format_html('<a href="{}" class="{}">{}</a>', url, LINK, text)


def swatch(colour: str, text: str) -> SafeString:
    """A colour, drawn, and what it is of."""
    return format_html(
        '<span class="inline-flex gap-2 items-center whitespace-nowrap">'
        '<svg width="14" height="14" aria-hidden="true">'
        '<rect width="14" height="14" rx="4" fill="{}"></rect></svg>{}</span>',
        colour,
        text,
    )


def bar(part: int, whole: int, figure: str, title: str) -> SafeString:
    """How much of a whole is left, drawn and in figures; below a tenth it is red."""
    width = max(0, min(100, round(100 * part / whole))) if whole > 0 else 0
    colour = "text-red-500" if width < 10 else "text-primary-600 dark:text-primary-500"
    return format_html(
        '<span class="inline-flex gap-2 items-center whitespace-nowrap">'
        '<svg width="96" height="6" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"'
        ' aria-label="{}" class="{}"><title>{}</title>'
        '<rect width="100" height="6" rx="3" class="text-base-200 dark:text-base-700"'
        ' fill="currentColor"></rect>'
        '<rect width="{}" height="6" rx="3" fill="currentColor"></rect></svg>{}</span>',
        title,
        colour,
        title,
        width,
        figure,
    )
