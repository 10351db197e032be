"""What people are to be told of their plans: that the money is short, and what a top-up renewed."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import Statement
from popolni.subscribers.renewals.rules import Rhythm, period_at

DAY = timedelta(days=1)
BATCH = 1_000

_MONEY = Kind.SUBSCRIBER_MONEY.value.code * (SUBJECT_MAX + 1)  # and a number: its account
_ENDING = f"""
    select s.id, s.number_id, version.id, s.period_ends_at, version.price_minor, money.available
    from (
        select * from popolni_subscription
        where
            ended_at is null
            and status = 'active'
            and (period_ends_at, id) > (%(after_at)s, %(after_id)s)
            and period_ends_at <= %(until)s
        order by period_ends_at, id
        limit %(limit)s
    ) as s
    inner join popolni_number as number on number.number = s.number_id
    inner join popolni_branch as branch on branch.id = number.branch_id
    inner join popolni_planversion as version
        on version.id = coalesce(s.next_version_id, s.version_id)
    left join lateral (
        select a.credits_posted - a.debits_posted - a.debits_pending as available
        from ledger.account as a
        where a.book = branch.book and a.id = {_MONEY} + s.number_id
        offset 0
    ) as money on s.is_renewed and number.status = 'active'
    order by s.period_ends_at, s.id"""  # noqa: S608  # constants only
_CHARGED = f"""
    select credit.seq, s.version_id, charge.amount, charge.created_at, branch.time_zone
    from unnest(%(moneys)s, %(seqs)s, %(receipts)s::text[]) as credit (money, seq, receipt)
    cross join lateral (
        select * from ledger.transfer as t
        where
            t.book = %(book)s
            and t.debit_account = credit.money
            and t.seq > credit.seq
            and t.code = {Code.PLAN_CHARGE.value}
        order by t.seq
        limit 1
    ) as charge
    inner join popolni_subscription as s on s.id = charge.reference_id
    inner join popolni_number as number on number.number = s.number_id
    inner join popolni_branch as branch on branch.id = number.branch_id
    where charge.reference = credit.receipt"""  # noqa: S608  # constants only


class EndsSoon(NamedTuple):
    """A number whose plan ends without the money for the next period, of `version_id`."""

    number: int
    version_id: int
    ends_at: datetime
    price_minor: int
    short_by_minor: int


class RenewedBy(NamedTuple):
    """What a credit renewed: the plan's version, its price, and until when."""

    version: PlanVersion
    price_minor: int
    until: datetime


def ends_soon(
    now: datetime, *, ahead: timedelta = DAY, batch: int = BATCH
) -> Iterator[list[EndsSoon]]:
    """The numbers whose plan ends after `now` and not later than `ahead`, and is short of money.

    In batches, those first that end first; each is read when it is asked for, and so nothing grows
    with how many there are. Who does not renew by itself, or is blocked, is left out.
    """
    after: tuple[datetime, int] = (now, 2**63 - 1)
    while True:
        arguments = {
            "after_at": after[0], "after_id": after[1], "until": now + ahead, "limit": batch,
        }  # fmt: skip
        rows: list[tuple[Any, ...]] = run(Statement(_ENDING, arguments, list))
        if not rows:
            return
        after = rows[-1][3], rows[-1][0]
        short = [
            EndsSoon(number, version, ends_at, price, price - available)
            for _id, number, version, ends_at, price, available in rows
            if available is not None and available < price
        ]
        if short:
            yield short


def renewed_by(book: int, credit: LogEntry) -> RenewedBy | None:
    """What a credit of a number's money, a top-up, renewed; None: nothing, or nothing yet.

    It is decided once the reader "renewals" has read it (`readers.renewals.has_read`).
    """
    return renewed(book, [credit]).get(credit.seq)


def renewed(book: int, credits_: Sequence[LogEntry]) -> dict[int, RenewedBy]:
    """The same of many, by their place in the book's log; what renewed nothing is left out."""
    arguments = {
        "book": book,
        "moneys": encode_integers(Int8Array, [credit.credit_account for credit in credits_]),
        "seqs": encode_integers(Int8Array, [credit.seq for credit in credits_]),
        "receipts": [f"{book}-{credit.seq}" for credit in credits_],
    }
    rows: list[tuple[Any, ...]] = run(Statement(_CHARGED, arguments, list))
    versions = PlanVersion.objects.in_bulk({version_id for _seq, version_id, *_rest in rows})
    credited_at = {credit.seq: credit.created_at for credit in credits_}
    found = {}
    for seq, version_id, price_minor, charged_at, time_zone in rows:
        version = versions[version_id]
        unit = PeriodUnit(version.period_unit)
        rhythm = Rhythm(unit, version.period_count, ZoneInfo(time_zone))
        at = credited_at[seq]
        found[seq] = RenewedBy(version, price_minor, period_at(at, at, rhythm, charged_at).ends_at)
    return found
