"""How long the renewals of one midnight take, beside pgbench's TPC-B on the same server.

    ./popolni bench renewals [--json] [--numbers N] [--processes N] [--scale N]

Every number is on a plan with two allowances of which something is left, and has the money: five
transfers and three rows for each. They are in two branches; `--processes` renew them at the same
time, as so many workers would. Databases are made for it and dropped again.
"""

import argparse
import json
import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from bench.ledger import pgbench, say, server_version, tpcb_per_s
from popolni.embedded.scratch import migrated_scratch_database, scratch_database

BOOKS = (20_001, 20_002)
FIRST = 79_250_000_000
PRICE_MINOR, GRANTED = 300_00, {"byte": 10 * 2**30, "second": 18_000}
MIDNIGHT = datetime(2026, 2, 28, 21, tzinfo=UTC)
STEP = 2_000
TRANSFERS = 5
"""For each renewal: the price, two rests, two allowances."""


def main() -> None:
    """Prints a few lines, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    server = os.environ["POPOLNI_DATABASE_URL"]
    with scratch_database(server) as tpcb_url, migrated_scratch_database(server) as url:
        pgbench("-i", "-q", "-s", str(args.scale), url=tpcb_url)
        report = measure(url, tpcb_url, args.numbers, args.processes)
        report["server_version"] = server_version(server)
    text = "\n".join(f"{name:<28}{value!s:>12}" for name, value in report.items())
    print(json.dumps(report) if args.json else text)


def measure(url: str, tpcb_url: str, numbers: int, processes: int) -> dict[str, Any]:
    """All figures."""
    set_up(url)
    fill(url, numbers)
    tpcb = [tpcb_per_s(tpcb_url, 5)]
    seconds, renewed = run_all(url, processes)
    tpcb.append(tpcb_per_s(tpcb_url, 5))
    if renewed != numbers or renew(url) != 0:
        raise RuntimeError(f"{renewed} of {numbers} were renewed")
    theirs = round(sum(tpcb) / len(tpcb))
    per_s = round(numbers / seconds)
    return {
        "tpcb_per_s": theirs,
        "per_s": per_s,
        "ratio": round(per_s / theirs, 2),  # of the figures that are shown
        "transfers_per_s": round(TRANSFERS * numbers / seconds),
        "numbers": numbers,
        "processes": processes,
        "seconds": round(seconds, 1),
        "a_million_s": round(seconds * 1_000_000 / numbers),
        "faults": faults(url),
        "cpus": os.cpu_count(),
    }


def set_up(url: str) -> None:
    """Django, on this database."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    os.environ.setdefault("POPOLNI_SECRET_KEY", "for this benchmark and nothing else")
    import django  # noqa: PLC0415  # it reads its settings, which name the database made above

    django.setup()


def fill(url: str, numbers: int) -> None:
    """Numbers of two branches, on one plan, whose period ends at the same midnight."""
    version = make_plan()
    with psycopg.connect(url, autocommit=True) as connection:
        for first in range(FIRST, FIRST + numbers, STEP):
            part = range(first, min(first + STEP, FIRST + numbers))
            fill_part(part, BOOKS[first // STEP % 2])
            if (first - FIRST) % (50 * STEP) == 0:
                say(f"{first - FIRST:,} of {numbers:,} numbers are there")
        connection.execute(_ROWS, (FIRST, FIRST + numbers - 1, STEP, version, *_period()))
        connection.execute("vacuum (analyze)")


_ROWS = """
    with people as (
        insert into popolni_subscriber (name, language, created_at) values ('', 'ru', now())
        returning id
    ),

    numbers as (
        insert into popolni_number (
            number, branch_id, subscriber_id, status, opened_at, status_since
        )
        select n, (select id from popolni_branch where book = 20001 + n / wanted.step %% 2),
            people.id, 'active', now(), now()
        from (select %s::bigint as first, %s::bigint as last, %s::bigint as step) as wanted,
            generate_series(wanted.first, wanted.last) as n, people
        returning number
    )

    insert into popolni_subscription (
        number_id, version_id, status, is_renewed, started_at, anchored_at, period_starts_at,
        period_ends_at
    )
    select number, %s, 'active', true, s.at, s.at, s.at, s.until
    from numbers, (select %s::timestamptz as at, %s::timestamptz as until) as s"""


def _period() -> tuple[datetime, datetime]:
    return MIDNIGHT - timedelta(days=28), MIDNIGHT


def make_plan() -> int:
    """Two branches and a plan; the id of its version."""
    from popolni.catalog.operators.models import (  # noqa: PLC0415  # Django is ready only now
        ComplianceProfile,
        Operator,
    )
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415  # the same
    from popolni.catalog.plans.rules import PeriodUnit, PlanTerms  # noqa: PLC0415  # the same
    from popolni.catalog.plans.service import create_plan  # noqa: PLC0415  # the same
    from popolni.ledger.model import Unit  # noqa: PLC0415  # the same

    profile = ComplianceProfile.objects.create(name="bench", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        name_ru="О", name_en="O", name_zh="O", code="bench", colour="#112233", mnc="25",
        balance_ussd="*100#", profile=profile,
    )  # fmt: skip
    for book in BOOKS:
        open_branch(operator, code=f"b{book}", book=book, name_ru="Ф", name_en="B", name_zh="分")
    terms = PlanTerms(
        name_ru="П", name_en="P", name_zh="套", price_minor=PRICE_MINOR,
        period_unit=PeriodUnit.MONTH, valid_from=datetime(2025, 1, 1, tzinfo=UTC), rates={},
        allowances={Unit[name.upper()]: amount for name, amount in GRANTED.items()},
    )  # fmt: skip
    return create_plan(operator, code="bench", kind="combo", terms=terms).pk


def fill_part(numbers: range, book: int) -> None:
    """Accounts, with money and the rest of a period."""
    from popolni.core.identifiers import transfer_id  # noqa: PLC0415  # beside the others
    from popolni.ledger.chart import Code, Kind  # noqa: PLC0415  # Django is ready only now
    from popolni.ledger.client import run  # noqa: PLC0415  # the same
    from popolni.ledger.model import Transfer  # noqa: PLC0415  # the same
    from popolni.ledger.statements import open_accounts, post  # noqa: PLC0415  # the same
    from popolni.subscribers.rules import NUMBER_KINDS  # noqa: PLC0415  # the same

    run(open_accounts(book, [kind.account(n) for kind in NUMBER_KINDS for n in numbers]))
    given = (
        (Kind.OPENING_BALANCES, Kind.SUBSCRIBER_MONEY, 2 * PRICE_MINOR, Code.OPENING_BALANCE),
        (Kind.ISSUED_BYTES, Kind.PLAN_BYTES, 2**30, Code.ALLOWANCE_GRANT),
        (Kind.ISSUED_SECONDS, Kind.PLAN_SECONDS, 600, Code.ALLOWANCE_GRANT),
    )
    transfers = [
        Transfer(
            transfer_id("bench", n, code, to.name),
            source.account_id(),
            to.account_id(n),
            amount,
            code,
        )
        for n in numbers
        for source, to, amount, code in given
    ]
    answers = run(post(book, transfers))
    if not all(answer.outcome.done for answer in answers):
        raise RuntimeError("the ledger refuses what the benchmark begins with")


def run_all(url: str, processes: int) -> tuple[float, int]:
    """Seconds from the first to the last renewal, and how many there were."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        pool.map(set_up, [url] * processes)  # Django's start is no renewal
        began = time.perf_counter()
        renewed = sum(pool.map(renew, [url] * processes, chunksize=1))
        return time.perf_counter() - began, renewed


def renew(url: str) -> int:
    """All that is due and that nobody else renews; how many."""
    set_up(url)
    from popolni.subscribers.renewals.service import run_due  # noqa: PLC0415  # Django is ready

    return run_due(MIDNIGHT, 10**9).renewed


def faults(url: str) -> int:
    """What the auditor finds."""
    from popolni.ledger.verify import verify  # noqa: PLC0415  # beside the others

    return verify(url, on_fault=print).faults


if __name__ == "__main__":
    main()
