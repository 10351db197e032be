"""Lists as CSV; a spreadsheet that opens one runs nothing that somebody wrote into it."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from html import unescape
from itertools import islice
from typing import Any, TypeVar

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
    if isinstance(value, int | float | Decimal):
        return text
    return FORMULA.sub(r"\1'", PARTS.sub(" ", text))


Column = TypeVar("Column", bound=Callable[..., Any])
Cell = tuple[Any, Callable[[Any], object]]


def in_csv(*cells: Cell) -> Callable[[Column], Column]:
    """What a list's column is in a file: of each cell the heading (None: the list's), the value.

    A page shows `1 044,50 ₽`; a program that reads the file wants 1044.50, and RUB beside it.
    """

    def decorate(column: Column) -> Column:
        column.csv_cells = cells  # type: ignore[attr-defined]  # read by _cells_of
        return column

    return decorate


def plain_sum(amount_minor: int) -> Decimal:
    """`104450` kopecks as 1044.50."""
    return Decimal(amount_minor).scaleb(-2)


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
    cells = [(name, cell) for name in columns for cell in _cells_of(model_admin, name)]
    yield [_heading(model_admin, name, cell) for name, cell in cells]
    prepare = getattr(model_admin, "prepare_rows", None)
    if isinstance(model_admin.list_select_related, list | tuple):
        queryset = queryset.select_related(*model_admin.list_select_related)
    rows = queryset[:ROWS_MAX].iterator(ROWS_AT_ONCE)
    while page := list(islice(rows, ROWS_AT_ONCE)):
        if prepare:
            prepare(page)
        yield from ([_cell(model_admin, row, name, cell) for name, cell in cells] for row in page)


def _cells_of(model_admin: "admin.ModelAdmin[Any]", name: Any) -> Sequence[Cell | None]:
    column = getattr(model_admin, name, None) if isinstance(name, str) else None
    return getattr(column, "csv_cells", None) or (None,)


def _heading(model_admin: "admin.ModelAdmin[Any]", name: Any, cell: Cell | None) -> object:
    own = cell[0] if cell else None
    return own or label_for_field(name, model_admin.model, model_admin)


def _cell(model_admin: "admin.ModelAdmin[Any]", row: Any, name: Any, cell: Cell | None) -> object:
    if cell:
        return cell[1](row)
    field, _attribute, value = lookup_field(name, row, model_admin)
    if field is not None and field.flatchoices:
        return dict(field.flatchoices).get(value, value)
    # Only what we made HTML of is turned back; what people wrote stays as they wrote it.
    return unescape(strip_tags(value)) if isinstance(value, SafeString) else value
