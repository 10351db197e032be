"""What is asked of the database about numbers before a top-up is decided: one query for a batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from popolni.catalog.operators.rules import NumberStatus
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.codec import Int4Array, Int8Array, encode_integers, encode_times
from popolni.ledger.statements import Statement


class NumberFacts(NamedTuple):
    """A number of ours: whose it is, and what it was topped up by, in minor units.

    The sums are those of the branch's day and calendar month, without those top-ups of them that
    were reversed since; a pending one counts in full until it is known what became of it.
    """

    branch_id: int
    status: NumberStatus
    spent_today_minor: int
    spent_month_minor: int


class BookMonth(NamedTuple):
    """The month of a branch that it is now, and the day; `seq` is where in its log it begins."""

    branch_id: int
    book: int
    day_starts_at: datetime
    month_starts_at: datetime
    seq: int


def month_of(zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """When the day and the calendar month began in which a moment is."""
    today = now.astimezone(zone).date()
    return (
        datetime.combine(today, time.min, zone),
        datetime.combine(today.replace(day=1), time.min, zone),
    )


_FLOAT = Kind.AGENT_FLOAT.value.code * (SUBJECT_MAX + 1)  # and an agent
_MONEY = Kind.SUBSCRIBER_MONEY.value.code * (SUBJECT_MAX + 1)  # and a number: its account

_FIRST_SEQ = """
    select wanted.book, ledger.first_seq_since(wanted.book, wanted.at)
    from unnest(%s, %s) as wanted (book, at)"""


def read_first_seqs(moments: Sequence[tuple[int, datetime]]) -> Statement[dict[int, int]]:
    """For each book, where in its log a moment is: what came later has this seq or a higher one."""
    books, ats = zip(*moments, strict=True) if moments else ((), ())
    return Statement(_FIRST_SEQ, (encode_integers(Int4Array, books), encode_times(ats)), dict)


_MISSED = """
        cross join lateral (  -- what a pending one did not become
            select case when t.flags & 2 = 0 then 0 else coalesce((
                select t.amount - case when r.flags & 4 <> 0 then r.amount else 0 end
                from ledger.transfer as r
                where r.book = t.book and r.pending_id = t.id
            ), 0) end
        ) as missed (amount)"""
_IS_TOP_UP = f"t.code between {min(TOP_UPS.values())} and {max(TOP_UPS.values())}"
# The sums come from the accounts' own part of the log, and only of this month: a number that is
# topped up for years costs no more than a new one. Nothing here waits for a lock.
_FACTS = f"""
    select
        wanted.number, n.branch_id, n.status,
        coalesce(paid.today, 0) - coalesce(back.today, 0),
        coalesce(paid.month, 0) - coalesce(back.month, 0)
    from unnest(%(numbers)s) as wanted (number)
    join lateral (
        select * from popolni_number as p where p.number = wanted.number offset 0
    ) as n on true
    join unnest(%(branches)s, %(books)s, %(days)s, %(months)s, %(seqs)s)
        as b (branch, book, day_starts_at, month_starts_at, seq) on b.branch = n.branch_id
    left join lateral (
        select
            sum(t.amount - missed.amount)::bigint as month,
            sum(t.amount - missed.amount)
                filter (where t.created_at >= b.day_starts_at)::bigint as today
        from ledger.transfer as t {_MISSED}
        where
            t.book = b.book
            and t.credit_account = {_MONEY} + wanted.number
            and t.seq >= b.seq
            and {_IS_TOP_UP}
            and t.flags & 12 = 0
            and t.created_at >= b.month_starts_at
    ) as paid on true
    left join lateral (
        select
            sum(u.amount)::bigint as month,
            sum(u.amount) filter (where u.created_at >= b.day_starts_at)::bigint as today
        from ledger.transfer as t
        cross join lateral (
            select * from ledger.transfer as x
            where x.book = t.book and x.seq = t.reference_id offset 0
        ) as u
        where
            paid.month > 0
            and t.book = b.book
            and t.debit_account = {_MONEY} + wanted.number
            and t.seq >= b.seq
            and t.code = {Code.TOP_UP_REVERSAL.value}
            and u.seq >= b.seq
            and u.created_at >= b.month_starts_at
    ) as back on true"""  # noqa: S608  # constants only


def read_facts(
    numbers: Sequence[int], months: Sequence[BookMonth]
) -> Statement[dict[int, NumberFacts]]:
    """The numbers that are ours, of these branches; others are left out."""
    branches, books, days, starts, seqs = zip(*months, strict=True) if months else ((),) * 5
    return Statement(
        _FACTS,
        {
            "numbers": encode_integers(Int8Array, numbers),
            "branches": encode_integers(Int8Array, branches),
            "books": encode_integers(Int4Array, books),
            "days": encode_times(days),
            "months": encode_times(starts),
            "seqs": encode_integers(Int8Array, seqs),
        },
        lambda rows: {
            number: NumberFacts(branch, _STATUSES[status], today, month)
            for number, branch, status, today, month in rows
        },
    )


_STATUSES = {status.value: status for status in NumberStatus}


# Its top-ups have an index of their own; what went back came to the agent's float, as little else.
_OUTLETS = f"""
    select wanted.outlet, sum(taken.amount - back.amount)::bigint
    from unnest(%(outlets)s, %(agents)s) as wanted (outlet, agent)
    cross join unnest(%(books)s, %(days)s, %(seqs)s) as b (book, day_starts_at, seq)
    cross join lateral (
        select coalesce(sum(t.amount - missed.amount), 0)
        from ledger.transfer as t {_MISSED}
        where
            t.book = b.book
            and t.reference_id = wanted.outlet
            and t.created_at >= b.day_starts_at
            and {_IS_TOP_UP}
            and t.debit_account = {_FLOAT} + wanted.agent
            and t.flags & 12 = 0
    ) as taken (amount)
    cross join lateral (
        select coalesce(sum(u.amount), 0)
        from ledger.transfer as t
        cross join lateral (
            select * from ledger.transfer as x
            where x.book = t.book and x.seq = t.reference_id offset 0
        ) as u
        where
            taken.amount > 0
            and t.book = b.book
            and t.credit_account = {_FLOAT} + wanted.agent
            and t.seq >= b.seq
            and t.code = {Code.TOP_UP_REVERSAL.value}
            and t.created_at >= b.day_starts_at
            and u.reference_id = wanted.outlet
            and u.created_at >= b.day_starts_at
    ) as back (amount)
    group by wanted.outlet"""  # noqa: S608  # constants only


def read_outlet_sums(
    outlets: Mapping[int, int], months: Sequence[BookMonth]
) -> Statement[dict[int, int]]:
    """What outlets, each with its agent, were paid today, in minor units; all of them are there.

    In all these branches together, each with its own day; what was reversed since is left out.
    """
    _, books, days, _, seqs = zip(*months, strict=True) if months else ((),) * 5
    return Statement(
        _OUTLETS,
        {
            "outlets": encode_integers(Int8Array, list(outlets)),
            "agents": encode_integers(Int8Array, list(outlets.values())),
            "books": encode_integers(Int4Array, books),
            "days": encode_times(days),
            "seqs": encode_integers(Int8Array, seqs),
        },
        dict,
    )
