"""How many events of use a second are charged, beside pgbench's TPC-B on the same server.

    ./popolni bench usage [--json] [--seconds N] [--numbers N] [--scale N]

One book, so one lane, and one process that charges: files as `popolni usage` does, and events by
the service in batches and one by one. `per_s` is the slower of a file and a full batch. Everything
runs in one go, TPC-B before, between and after. Databases are made for it and dropped again.
"""

import argparse
import csv
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, islice
from random import Random
from typing import TYPE_CHECKING, Any

from bench import ledger
from popolni.embedded.scratch import migrated_scratch_database, scratch_database

if TYPE_CHECKING:
    from popolni.subscribers.usage.rules import Event

BOOK = 1
FIRST = 79_000_000_000
BATCHES = (1, 50, 250, 1_000)
HEADLINE_BATCH = 250
STEP = 2_000  # numbers that are filled in at once


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(prog="popolni bench usage", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--seconds", type=float, default=5, help="for each run (default 5)")
    parser.add_argument("--numbers", type=int, default=20_000, help="that use")
    parser.add_argument("--scale", type=int, default=ledger.TPCB_SCALE, help="of TPC-B")
    args = parser.parse_args()
    report = bench(os.environ["POPOLNI_DATABASE_URL"], args)
    print(json.dumps(report) if args.json else as_text(report))


def bench(server: str, args: argparse.Namespace) -> dict[str, Any]:
    """All runs; rates are events a second."""
    tpcb: list[float] = []
    with (
        scratch_database(server) as tpcb_url,
        migrated_scratch_database(server) as url,
    ):
        ledger.pgbench("-i", "-q", "-s", str(args.scale), url=tpcb_url)
        measure_tpcb = partial(ledger.tpcb_per_s, tpcb_url, args.seconds)
        fill(url, args.numbers)
        events = made_up_events(args.numbers)
        tpcb.append(measure_tpcb())
        runs = []
        for batch in BATCHES:
            runs.append(charge_for(events, batch, args.seconds))
            ledger.say(runs[-1])
        tpcb.append(measure_tpcb())
        headline = next(run for run in runs if run["batch"] == HEADLINE_BATCH)
        lines = max(HEADLINE_BATCH, round(headline["per_s"] * args.seconds))
        file = charge_a_file(list(islice(events, lines)))
        tpcb.append(measure_tpcb())
        faults = faults_of(url)
    ours = min(headline["per_s"], file["per_s"])
    theirs = round(statistics.median(tpcb))
    return {
        "tpcb_per_s": theirs,
        "per_s": ours,
        "ratio": round(ours / theirs, 2),  # of the figures that are shown
        "numbers": args.numbers,
        "runs": runs,
        "file": file,
        "faults": faults,
        "tpcb_scale": args.scale,
        "tpcb_runs_per_s": [round(value) for value in tpcb],
        "server_version": ledger.server_version(server),
        "cpus": os.cpu_count(),
    }


def as_text(report: dict[str, Any]) -> str:
    """The same for people."""
    lines = ["batch    events/s  × TPC-B   p50 ms   p99 ms"]
    lines += [
        f"{run['batch']:>5}  {run['per_s']:>10,}  {run['per_s'] / report['tpcb_per_s']:>7.2f}"
        f"  {run['p50_ms']:>7.2f}  {run['p99_ms']:>7.2f}"
        for run in report["runs"]
    ]
    file = report["file"]
    return "\n".join(
        [
            *lines,
            f"a file of {file['lines']:,} events: {file['per_s']:,} a second,"
            f" the same file again: {file['again_per_s']:,}",
            f"of its events {file['in_money_per_cent']} % cost money, {file['cut_per_cent']} % were"
            f" cut and {file['refused_per_cent']} % refused",
            f"TPC-B (pgbench, scale {report['tpcb_scale']}, {ledger.TPCB_CLIENTS} clients):"
            f" {report['tpcb_per_s']:,} a second, the median of {report['tpcb_runs_per_s']}",
            f"the slower of a batch of {HEADLINE_BATCH} and a file: {report['per_s']:,} a second,"
            f" {report['ratio']} × TPC-B; {report['faults']} faults",
        ]
    )


def fill(url: str, numbers: int) -> None:
    """A branch whose numbers are on one plan, with money and now and then a bonus."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    os.environ.setdefault("POPOLNI_SECRET_KEY", "for this benchmark and nothing else")
    import django  # noqa: PLC0415  # it reads its settings, which name the database made above

    django.setup()
    from django.db import connection  # noqa: PLC0415  # Django is ready only now

    branch_id, version_id, subscriber_id = open_world()
    for start in range(FIRST, FIRST + numbers, STEP):
        step = range(start, min(start + STEP, FIRST + numbers))
        with connection.cursor() as cursor:
            words = (branch_id, subscriber_id, version_id, step.start, step.stop - 1)
            cursor.execute(_ROWS, words)
            open_holdings(step)
    with connection.cursor() as cursor:
        cursor.execute("vacuum (analyze)")
        cursor.execute("checkpoint")


_ROWS = """
    with wanted as (
        select %s::bigint as branch, %s::bigint as subscriber, %s::bigint as version, n
        from generate_series(%s, %s) as n
    ),

    opened as (
        insert into popolni_number (
            number, branch_id, subscriber_id, status, opened_at, status_since
        )
        select n, branch, subscriber, 'active', now(), now() from wanted
    )

    insert into popolni_subscription (
        number_id, version_id, status, started_at, period_starts_at, period_ends_at, is_renewed
    )
    select n, version, 'active', now(), now(), now() + interval '30 days', true from wanted"""


def open_world() -> tuple[int, int, int]:
    """The ids of a branch, a plan's version and a subscriber."""
    from popolni.catalog.operators.models import (  # noqa: PLC0415  # Django is ready only now
        ComplianceProfile,
        Operator,
    )
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415  # the same
    from popolni.catalog.plans.models import Plan  # noqa: PLC0415
    from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate  # noqa: PLC0415
    from popolni.catalog.plans.service import create_plan  # noqa: PLC0415
    from popolni.ledger.model import Unit  # noqa: PLC0415
    from popolni.subscribers.models import Subscriber  # noqa: PLC0415

    profile = ComplianceProfile.objects.create(name="bench", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        name_ru="О", name_en="O", name_zh="O", code="bench", colour="#112233", mnc="25",
        balance_ussd="*100#", profile=profile,
    )  # fmt: skip
    branch = open_branch(
        operator, code="bench", book=BOOK, name_ru="Ф", name_en="B", name_zh="分",
        low_balance_minor=50_00,
    )  # fmt: skip
    terms = PlanTerms(
        name_ru="План", name_en="Plan", name_zh="套餐", price_minor=0,
        period_unit=PeriodUnit.MONTH, valid_from=datetime(2020, 1, 1, tzinfo=UTC), allowances={},
        rates={
            Unit.SECOND: Rate(60, 2_00), Unit.BYTE: Rate(10**6, 10), Unit.MESSAGE: Rate(1, 2_00),
        },
    )  # fmt: skip
    version = create_plan(operator, code="bench", kind=Plan.Kind.COMBO, terms=terms)
    return branch.pk, version.pk, Subscriber.objects.create().pk


def open_holdings(numbers: range) -> None:
    """What most of them have: money, seconds, bytes, messages; a third has a bonus of bytes."""
    from django.utils import timezone  # noqa: PLC0415  # Django is ready only now

    from popolni.core.identifiers import transfer_id  # noqa: PLC0415  # the same
    from popolni.ledger.chart import Code, Kind  # noqa: PLC0415
    from popolni.ledger.client import run  # noqa: PLC0415
    from popolni.ledger.model import Transfer, Unit  # noqa: PLC0415
    from popolni.ledger.statements import open_accounts, post  # noqa: PLC0415
    from popolni.subscribers.models import Allowance  # noqa: PLC0415
    from popolni.subscribers.rules import ISSUED_KINDS  # noqa: PLC0415

    now = timezone.now()
    issued = ISSUED_KINDS
    given = (
        (Kind.SUBSCRIBER_MONEY, Kind.OPENING_BALANCES, 500_00, of(numbers, lambda n: n % 10), 0),
        (Kind.PLAN_SECONDS, issued[Unit.SECOND], 6_000, of(numbers, lambda n: n % 4), 30),
        (Kind.PLAN_BYTES, issued[Unit.BYTE], 10**9, of(numbers, lambda n: n % 5), 30),
        (Kind.PLAN_MESSAGES, issued[Unit.MESSAGE], 20, of(numbers, lambda n: n % 2), 30),
        (Kind.BONUS_BYTES, issued[Unit.BYTE], 5 * 10**7, of(numbers, lambda n: not n % 3), 7),
    )
    for kind, source, amount, whose, days in given:
        run(open_accounts(BOOK, [kind.account(number) for number in numbers]))
        transfers = [
            Transfer(
                transfer_id("bench", kind.value.code, number),
                source.account_id(),
                kind.account_id(number),
                amount,
                Code.ALLOWANCE_GRANT if days else Code.OPENING_BALANCE,
            )
            for number in whose
        ]
        run(post(BOOK, transfers))
        Allowance.objects.bulk_create(
            Allowance(
                number_id=number, account=kind.account_id(number), unit=kind.value.unit,
                granted=amount, ends_at=now + timedelta(days=days),
            )
            for number in whose if days
        )  # fmt: skip


def of(numbers: range, has: Callable[[int], int]) -> list[int]:
    """Those that have something."""
    return [number for number in numbers if has(number)]


def made_up_events(numbers: int) -> Iterator["Event"]:
    """Half of them data, a third calls, the rest messages; each another event."""
    from popolni.ledger.model import Unit  # noqa: PLC0415  # beside the others
    from popolni.subscribers.usage.rules import Event  # noqa: PLC0415

    random = Random(1)  # noqa: S311  # the same events every time
    at = datetime.now(UTC).replace(microsecond=0)
    kinds = (
        (Unit.BYTE, 1_000_000, 60_000_000), (Unit.SECOND, 5, 900), (Unit.MESSAGE, 1, 3),
    )  # fmt: skip
    for place in count(1):
        ((unit, least, most),) = random.choices(kinds, (3, 2, 1))
        number = FIRST + random.randrange(numbers)
        yield Event(f"bench-{place}", number, unit, random.randint(least, most), at)


def charge_for(events: Iterator["Event"], batch: int, seconds: float) -> dict[str, Any]:
    """Charges batch after batch for so long."""
    from popolni.subscribers.usage import service  # noqa: PLC0415  # Django is ready only now

    service.EVENTS_MAX = batch
    times: list[float] = []
    began = time.perf_counter()
    spent = 0.0  # without making the events up
    while time.perf_counter() - began < seconds or not times:
        asked = list(islice(events, batch))
        start = time.perf_counter()
        answers = service.charge(asked)
        times.append(time.perf_counter() - start)
        spent += times[-1]
        if any(answer.place is None or answer.is_repeat for answer in answers):
            raise RuntimeError("a new event was not charged")
    service.EVENTS_MAX = HEADLINE_BATCH
    return {
        "batch": batch,
        "per_s": round(len(times) * batch / spent),
        "p50_ms": round(statistics.median(times) * 1000, 2),
        "p99_ms": round(sorted(times)[len(times) * 99 // 100] * 1000, 2),
    }


def charge_a_file(events: list["Event"]) -> dict[str, Any]:
    """Charges a file of these events as `popolni usage` does, and then once more."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("identifier", "number", "unit", "amount", "started_at"))
    rows.writerows(
        (e.identifier, e.number, e.unit.name.lower(), e.amount, e.started_at.isoformat())
        for e in events
    )
    first_s, first, paid = timed_file(text.getvalue().encode())
    again_s, again, _ = timed_file(text.getvalue().encode())
    if again.repeated != len(events) or first.rejected:
        raise RuntimeError(f"{first}, and then {again}")
    return {
        "lines": len(events),
        "per_s": round(len(events) / first_s),
        "again_per_s": round(len(events) / again_s),
        "in_money_per_cent": round(100 * paid / len(events), 1),
        "cut_per_cent": round(100 * first.cut / len(events), 1),
        "refused_per_cent": round(100 * sum(first.refused.values()) / len(events), 1),
    }


def timed_file(data: bytes) -> tuple[float, Any, int]:
    """Seconds, what became of it, and how many events cost money."""
    from popolni.subscribers.usage.files import charge_file  # noqa: PLC0415  # the same

    paid = 0

    def see(_line: int, answer: Any) -> None:
        nonlocal paid
        paid += answer.money_minor > 0

    def stop(line: int, why: str) -> None:
        raise RuntimeError(f"line {line}: {why}")

    start = time.perf_counter()
    done = charge_file(
        io.BytesIO(data), on_problem=stop, on_answer=see, warn=lambda _warnings: None
    )
    return time.perf_counter() - start, done, paid


def faults_of(url: str) -> int:
    """What the auditor finds."""
    from django.db import connections  # noqa: PLC0415  # beside the others

    from popolni.ledger.verify import verify  # noqa: PLC0415

    connections.close_all()  # the database is dropped soon
    return verify(url, on_fault=partial(print, file=sys.stderr)).faults


if __name__ == "__main__":
    main()
