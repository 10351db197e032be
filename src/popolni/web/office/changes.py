"""An entry of the audit trail in words: each field before and after."""

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from auditlog.models import LogEntry
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils import formats
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from popolni.audit import HIDDEN
from popolni.catalog.formats import listed, plain_money
from popolni.web.office.fields import MINOR

NOTHING = "–"
EMPTY = ("None", "", None)


class Row(NamedTuple):
    """A field that changed."""

    name: str
    before: str
    after: str


def in_words(entry: LogEntry) -> list[Row]:
    """The fields that changed, by name; one query for each that points to another row."""
    model = entry.content_type.model_class()
    rows = [_row(model, name, change) for name, change in entry.changes_dict.items()]
    return sorted(rows, key=lambda row: row.name)


def field_name(model: type[models.Model] | None, name: str) -> str:
    """A field's name for people."""
    field = _field(model, name)
    return str(getattr(field, "verbose_name", name))


def _row(model: type[models.Model] | None, name: str, change: Any) -> Row:
    title = str(capfirst(field_name(model, name)))
    if isinstance(change, dict):  # of many rows, those that came or went
        names = listed(change.get("objects", []))
        added = change.get("operation") == "add"
        return Row(title, NOTHING if added else names, names if added else NOTHING)
    field = _field(model, name)
    before, after = ([*change, None, None])[:2] if isinstance(change, list) else (None, change)
    return Row(title, _value(field, before), _value(field, after))


def _field(model: type[models.Model] | None, name: str) -> Any:
    try:
        return model._meta.get_field(name) if model else None
    except FieldDoesNotExist:  # a field of an older version
        return None


def _value(field: Any, value: Any) -> str:
    """The text that was recorded, as people read it; what can't be read stays as it is."""
    if value in EMPTY:
        return NOTHING
    if value == HIDDEN or field is None:
        return str(value)
    for kind, read in _READERS.items():
        if isinstance(field, kind):
            try:
                return read(field, value)
            except (ValueError, TypeError, SyntaxError, KeyError, ValidationError):
                return str(value)
    return str(_choices(field).get(value, value))


def _choices(field: Any) -> dict[str, Any]:
    return {str(value): label for value, label in (getattr(field, "flatchoices", None) or ())}


def _boolean(_field: Any, value: str) -> str:
    return {"True": _("yes"), "False": _("no")}[value]


def _moment(_field: Any, value: str) -> str:
    """Recorded in UTC, without saying so."""
    moment = datetime.fromisoformat(value)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return str(formats.localize(localtime(aware)))


def _date(field: Any, value: str) -> str:
    return str(formats.localize(field.to_python(value)))


def _related(field: Any, value: str) -> str:
    """The other row's name now; one that is gone is named by its key."""
    model = field.related_model
    other = model._base_manager.filter(pk=model._meta.pk.to_python(value)).first()
    return f"№ {value}" if other is None else str(other)


def _list(field: Any, value: str) -> str:
    names = _choices(field.base_field)
    parts = ast.literal_eval(value)
    return listed(names.get(str(part), part) for part in parts) or NOTHING


def _integer(field: Any, value: str) -> str:
    if field.name.endswith(MINOR):
        return plain_money(int(value))
    return str(_choices(field).get(value, value))


_READERS: dict[type, Callable[[Any, Any], str]] = {
    ArrayField: _list,
    models.BooleanField: _boolean,
    models.DateTimeField: _moment,
    models.DateField: _date,
    models.ForeignKey: _related,
    models.IntegerField: _integer,
}
