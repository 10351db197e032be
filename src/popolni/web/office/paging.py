"""Lists of millions: a page begins after the last row of the former one, and nothing is counted.

A list that is paged so is ordered by its primary key alone. `?after=KEY` and `?before=KEY` say
where a page begins or ends; how many rows there are is PostgreSQL's own estimate.
"""

from typing import Any

from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from popolni.web.office.generics import AnyPaginator

AFTER, BEFORE = "after", "before"


class KeysetPaginator(AnyPaginator):
    """Names the template that shows the way; it counts nothing."""

    template_name = "office/keyset_pagination.html"
    count = 0


class KeysetChangeList(ChangeList):  # type: ignore[misc]  # unfold carries no types
    """A page of a list, found by key."""

    previous_url: str | None = None
    next_url: str | None = None
    estimate: int | None = None

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """By the primary key, whatever the address asks for."""
        return [self.model_admin.keyset_order]

    def get_results(self, request: HttpRequest) -> None:
        """One query, one row more than the page shows: so it is known if there is a next."""
        size = self.list_per_page
        after, before = (self._key(request, word) for word in (AFTER, BEFORE))
        backwards = before is not None and after is None
        rows = self.queryset
        if after is not None:
            rows = rows.filter(**{f"pk__{self._direction('gt')}": after})
        elif backwards:
            rows = rows.filter(**{f"pk__{self._direction('lt')}": before}).reverse()
        found = list(rows[: size + 1])
        more, page = len(found) > size, found[:size]
        if backwards:
            page.reverse()
        has_next = bool(page) and (backwards or more)
        has_previous = bool(page) and (more if backwards else after is not None)
        self.result_list = page
        self.next_url = self._url(AFTER, page[-1]) if has_next else None
        self.previous_url = self._url(BEFORE, page[0]) if has_previous else None
        self.estimate = None if self.has_active_filters or self.query else self._estimate()
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count = False
        self.show_admin_actions = bool(page)
        self.can_show_all, self.multi_page = True, False
        self.paginator = KeysetPaginator([], size)

    def _direction(self, lookup: str) -> str:
        if not self.model_admin.keyset_order.startswith("-"):
            return lookup
        return {"gt": "lt", "lt": "gt"}[lookup]

    def _key(self, request: HttpRequest, word: str) -> Any:
        text = getattr(request, "keyset", {}).get(word)
        if text is None:
            return None
        try:
            return self.opts.pk.to_python(text)
        except (ValidationError, ValueError):
            return None  # a link that somebody mistyped: the first page

    def _url(self, word: str, row: Model) -> str:
        return str(self.get_query_string({word: quote(row.pk)}))

    def _estimate(self) -> int | None:
        """What the planner believes; None where it knows nothing yet."""
        with connection.cursor() as cursor:
            cursor.execute(
                "select reltuples::bigint from pg_class where oid = %s::regclass",
                [self.opts.db_table],
            )
            rows = int(cursor.fetchone()[0])
        return rows if rows >= self.list_per_page else None


def take_keys(request: HttpRequest) -> None:
    """Moves the two words out of the address, where the admin would take them for filters."""
    query = request.GET.copy()
    keys = {word: query.pop(word)[-1] for word in (AFTER, BEFORE) if word in query}
    request.keyset = keys  # type: ignore[attr-defined]  # read by the list of this request
    request.GET = query  # type: ignore[assignment]  # a copy, as Django's own admin does
