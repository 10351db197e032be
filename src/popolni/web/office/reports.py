"""An import's report, from what was kept of it to figures and tables with names for people."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.utils import formats
from django.utils.translation import gettext_lazy as _

from popolni.catalog.formats import listed

NAMES = {
    "name": _("file"),
    "bytes": _("bytes"),
    "sha256": "SHA-256",
    "rows": _("rows"),
    "files": _("Files"),
    "groups": _("Groups of codes"),
    "group": _("group"),
    "moves": _("From one carrier to another"),
    "moves_unnamed": _("further moves, not listed"),
    "carrier_before": _("carrier before"),
    "carrier_after": _("carrier after"),
    "carriers_new": _("new carriers"),
    "regions_new": _("new regions"),
    "numbers": _("numbers"),
    "numbers_before": _("numbers before"),
    "numbers_after": _("numbers after"),
    "ranges_before": _("ranges before"),
    "ranges_after": _("ranges after"),
    "added": _("added"),
    "removed": _("removed"),
    "moved": _("changed"),
    "carrier_changed": _("of another carrier"),
    "region_changed": _("of another region"),
}
"""What the parts of a report are called; one that is not here goes by its own name."""


class Section(NamedTuple):
    """A part of a report: figures (name, value), or a table with its headings."""

    title: str
    figures: list[tuple[str, str]]
    headings: list[str]
    rows: list[list[str]]


def sections(report: Mapping[str, Any]) -> list[Section]:
    """The figures of a report, then its tables."""
    plain = {name: value for name, value in report.items() if not _is_table(value)}
    tables = {name: value for name, value in report.items() if _is_table(value) and value}
    found = [Section("", [(_name(n), _text(v)) for n, v in plain.items()], [], [])] if plain else []
    return found + [_table(name, rows) for name, rows in tables.items()]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _table(name: str, rows: list[dict[str, Any]]) -> Section:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Section(
        _name(name),
        [],
        [_name(column) for column in columns],
        [[_text(row.get(column, "")) for column in columns] for row in rows],
    )


def _name(name: str) -> str:
    return str(NAMES.get(name, name.replace("_", " ")))


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return formats.number_format(value, use_l10n=True, force_grouping=True)
    if isinstance(value, list):
        return listed(value)
    return str(value)
