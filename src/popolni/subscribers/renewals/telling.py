"""What people are to be told of their plans: what a top-up renewed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.ledger.chart import Code
from popolni.ledger.client import run
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import Statement
from popolni.subscribers.renewals.rules import Rhythm, period_at

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


class RenewedBy(NamedTuple):
    """What a credit renewed: the plan's version, its price, and until when."""

    version: PlanVersion
    price_minor: int
    until: datetime


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
