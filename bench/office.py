"""List pages of the back office at millions of subscribers, beside the framework's own paging.

Fills an empty database with subscribers, numbers and their money accounts (straight into the
tables: what is measured is reading them) and asks for each page, many times, in turn with the
page that Django's admin makes by itself: counted, ordered by an offset. Prints the medians.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import django
import django.db
import psycopg

from popolni.embedded.scratch import migrated_scratch_database

FIRST = 79_000_000_000
BRANCHES = 6
BOOKS = 900_000
FILL = """
    insert into popolni_subscriber (name, language, created_at)
    select
        (array['Ivanov','Petrova','Smirnov','Zhang','Müller','Kuznetsova'])[1 + n %% 6]
            || ' ' || md5(n::text),
        (array['ru','en','zh'])[1 + n %% 3], now()
    from generate_series(1, %(count)s) as n;

    insert into popolni_number (number, branch_id, subscriber_id, status, opened_at, status_since)
    select
        %(first)s + n, %(branch)s + n %% %(branches)s, %(subscriber)s + n,
        case when n %% 1000 = 0 then 'closed' when n %% 100 = 0 then 'blocked' else 'active' end,
        now(), now()
    from generate_series(1, %(count)s) as n;

    insert into ledger.account (book, id, unit, kind, flags)
    select
        %(book)s + n %% %(branches)s, 101000000000000000 + %(first)s + n, 1, 101, 2
    from generate_series(1, %(count)s) as n;
"""


def fill(count: int) -> None:
    """Rows by the million."""
    from django.db import connection  # noqa: PLC0415  # Django is set up by now

    from popolni.catalog.operators.models import ComplianceProfile, Operator  # noqa: PLC0415
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415

    profile = ComplianceProfile.objects.create(name="bench", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        code="bench", name_ru="О", name_en="O", name_zh="运", colour="#000000", mnc="98",
        balance_ussd="*1#", profile=profile,
    )  # fmt: skip
    branches = [
        open_branch(
            operator,
            code=f"bench-{n}",
            book=BOOKS + n,
            name_ru=f"Ф{n}",
            name_en=f"B{n}",
            name_zh="分",
        )
        for n in range(BRANCHES)
    ]
    with connection.cursor() as cursor:
        cursor.execute("select coalesce(max(id), 0) from popolni_subscriber")
        values = {
            "count": count, "first": FIRST, "branch": branches[0].pk, "branches": BRANCHES,
            "subscriber": cursor.fetchone()[0], "book": BOOKS,
        }  # fmt: skip
        for statement in FILL.split(";"):
            if statement.strip():
                cursor.execute(statement, values)
    with psycopg.connect(os.environ["POPOLNI_DATABASE_URL"], autocommit=True) as plain:
        plain.execute("vacuum analyze")


def measure(pages: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each page, all of them in turn."""
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for turn in range(rounds + 1):
        for name, page in pages.items():
            start = time.perf_counter()
            page()
            if turn:  # the first warms up
                taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: round(statistics.median(values), 1) for name, values in taken.items()}


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with migrated_scratch_database(os.environ["POPOLNI_DATABASE_URL"]) as url:
        os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
        os.environ |= {"POPOLNI_DEMO": "1"}  # nobody to show a second factor
        os.environ.setdefault("POPOLNI_SECRET_KEY", "for this benchmark and nothing else")
        django.setup()
        fill(args.subscribers)
        figures = measure(pages(args.subscribers), args.rounds)
        django.db.connections.close_all()
    if args.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name:<56}{value:>10.1f} ms")
    return 0


def pages(count: int) -> dict[str, Callable[[], Any]]:
    """What is asked for."""
    from django.test import Client  # noqa: PLC0415

    from popolni.agents.roles import assign  # noqa: PLC0415
    from popolni.agents.staff import User  # noqa: PLC0415

    user = User.objects.create_user("bench")
    assign(user, "support")
    client = Client(headers={"host": "localhost"})
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    numbers, people = "/admin/popolni/number/", "/admin/popolni/subscriber/"
    deep = FIRST + count * 9 // 10
    urls = {
        "numbers, first page": numbers,
        "numbers, nine tenths in": f"{numbers}?after={deep}",
        "numbers, the last page": f"{numbers}?before={FIRST + count + 1}",
        "numbers, closed ones": f"{numbers}?status__exact=closed",
        "numbers, closed ones of a branch": f"{numbers}?status__exact=closed&branch__id__exact=1",
        "numbers, of a branch": f"{numbers}?branch__id__exact=1",
        "numbers, found": f"{numbers}?q={deep}",
        "numbers, by their beginning": f"{numbers}?q={str(deep)[:6]}",
        "subscribers, first page": people,
        "subscribers, nine tenths in": f"{people}?after={count * 9 // 10}",
        "subscribers, a frequent name": f"{people}?q=ivanov",
        "subscribers, a rare name": f"{people}?q=ivanov+c4ca",
        "subscribers, a name that nobody has": f"{people}?q=zzz",
        "a number's page": f"{numbers}{deep}/change/",
        "search field": "/admin/search/?s=ivanov",
    }

    def ask(url: str) -> Callable[[], Any]:
        def asked() -> None:
            response = client.get(url)
            if response.status_code != 200:
                raise SystemExit(f"{url} answers {response.status_code}")

        return asked

    return {name: ask(url) for name, url in urls.items()} | {
        "(beside: numbers, first page, counted)": _counted(client, numbers, 1),
        "(beside: numbers, nine tenths in, by offset)": _counted(
            client, numbers, count * 9 // 10 // 50
        ),
    }


def _counted(client: Any, url: str, page: int) -> Callable[[], Any]:
    """The same list as Django's admin pages by itself."""
    from popolni.subscribers.models import Number  # noqa: PLC0415
    from popolni.web.office.registry import office  # noqa: PLC0415

    admin = office.get_model_admin(Number)

    def asked() -> None:
        admin.keyset_order = None
        admin.ordering = ("number",)
        try:
            response = client.get(f"{url}?p={page}")
        finally:
            del admin.keyset_order, admin.ordering
        if response.status_code != 200:
            raise SystemExit(f"{url} answers {response.status_code}")

    return asked


if __name__ == "__main__":
    sys.exit(main())
