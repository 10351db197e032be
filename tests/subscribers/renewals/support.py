"""What these tests share: numbers on plans, and a clock that is ahead of the server's.

The ledger's clock never runs backwards in a book, so what is posted at a moment of ours lies in
the future, and what is posted after it, by whatever code, at the same moment or later.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

from django.db import connection

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, Transfer
from popolni.ledger.statements import post, read_log
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.renewals.service import Done, run_due
from popolni.subscribers.service import subscribe
from tests.subscribers.support import new_number, new_plan

SOON = datetime(2027, 1, 31, 12, tzinfo=UTC)
MONEY, BYTES, SECONDS = Kind.SUBSCRIBER_MONEY, Kind.PLAN_BYTES, Kind.PLAN_SECONDS
_references = count(1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]  # year, month, day …


def on_plan(
    branch: Branch,
    *,
    money_minor: int = 0,
    at: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC),
    version: PlanVersion | None = None,
    unit: PeriodUnit = PeriodUnit.MONTH,
) -> tuple[Number, Subscription]:
    """A number that went on a plan for 300.00 at that time, with so much money left."""
    version = version or new_plan(branch.operator, unit=unit)
    number = new_number(branch, version.price_minor + money_minor)
    return number, subscribe(number, version, at=at)


def top_up(number: Number, amount_minor: int, at: datetime | None = None) -> LogEntry:
    reference = str(next(_references))
    transfer = Transfer(
        transfer_id("web", 0, f"renewals {reference}"),
        Kind.OPENING_BALANCES.account_id(),
        MONEY.account_id(number.number),
        amount_minor,
        Code.TOP_UP_WEB,
        reference=reference,
    )
    (answer,) = run(post(number.branch.book, [transfer], at=at))
    assert answer.outcome is Outcome.CREATED
    (entry,) = run(read_log(number.branch.book, answer.seq - 1, 1))
    return entry


def renew(branch: Branch, now: datetime, batch: int = 500) -> Done:
    return run_due(now, 10_000, books=[branch.book], batch=batch)


def current(number: Number) -> Subscription:
    return Subscription.objects.get(number=number, ended_at=None)


def after(branch: Branch, action: Callable[[], object]) -> list[tuple[Code, int]]:
    """What the action posts: codes and amounts."""
    with connection.cursor() as cursor:
        cursor.execute("select last_seq from ledger.book where book = %s", [branch.book])
        ((last,),) = cursor.fetchall()
    action()
    return [(Code(one.code), one.amount) for one in run(read_log(branch.book, last, 1_000))]
