"""Lists as CSV; a spreadsheet that opens one runs nothing that somebody wrote into it."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from itertools import islice
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import label_for_field, lookup_field
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now
from django.utils.translation import gettext_lazy as _

ROWS_MAX = 100_000
ROWS_AT_ONCE = 1_000
# Lines and tabulators part rows and cells, whatever stands around them: none stays in a cell.
PARTS = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
# A formula may hide behind quotes and what is not seen; its signs may be wide ones. And where a
# semicolon parts the cells, as in Russia, one may begin in the middle of ours.
FORMULA = re.compile(r"(^|;)(?=[\s\"\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠])")
BOM = "\ufeff"  # or a spreadsheet takes the letters for its own country's


def safe_cell(value: object) -> str:
    """A cell's text, in one line; what would be taken for a formula begins with an apostrophe."""
    text = "" if value is None else str(value)
    if isinstance(value, int | float):
        return text
    return FORMULA.sub(r"\1'", PARTS.sub(" ", text))


class _Echo:
    """What csv writes, handed back."""

    def write(self, line: str) -> str:
        return line


def write_csv(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines of CSV."""
    yield BOM
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([safe_cell(cell) for cell in row])


@admin.action(description=_("Export as CSV"), permissions=["view"])
def export_csv(
    model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, queryset: QuerySet[Any]
) -> StreamingHttpResponse:
    """The chosen rows with the list's own columns."""
    columns = [name for name in model_admin.get_list_display(request) if name != "action_checkbox"]
    name = f"{model_admin.opts.model_name}-{localtime(now()):%Y%m%d-%H%M}.csv"
    return StreamingHttpResponse(
        write_csv(_rows(model_admin, queryset, columns)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _rows(
    model_admin: "admin.ModelAdmin[Any]", queryset: QuerySet[Any], columns: Sequence[Any]
) -> Iterator[list[object]]:
    yield [label_for_field(name, model_admin.model, model_admin) for name in columns]
    prepare = getattr(model_admin, "prepare_rows", None)
    if isinstance(model_admin.list_select_related, list | tuple):
        queryset = queryset.select_related(*model_admin.list_select_related)
    rows = queryset[:ROWS_MAX].iterator(ROWS_AT_ONCE)
    while page := list(islice(rows, ROWS_AT_ONCE)):
        if prepare:
            prepare(page)
        yield from ([_cell(model_admin, row, name) for name in columns] for row in page)


def _cell(model_admin: "admin.ModelAdmin[Any]", row: Any, name: Any) -> object:
    field, _attribute, value = lookup_field(name, row, model_admin)
    if field is not None and field.flatchoices:
        return dict(field.flatchoices).get(value, value)
    # Only what we made HTML of is turned back; what people wrote stays as they wrote it.
    return unescape(strip_tags(value)) if isinstance(value, SafeString) else value
