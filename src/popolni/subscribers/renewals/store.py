"""Subscriptions and their allowances, read and written hundreds at a time."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PlanTerms
from popolni.catalog.plans.service import terms_of
from popolni.ledger.client import Steps, run
from popolni.ledger.codec import Int2Array, Int8Array, encode_integers, encode_times
from popolni.ledger.statements import Statement
from popolni.subscribers.renewals.rules import Lapsed, Renewed, Standing
from popolni.subscribers.rules import PLAN_KINDS

_IS_DUE = "s.ended_at is null and s.status = 'active' and s.period_ends_at <= %(now)s"
_DUE = f"""
    select branch.book, s.period_ends_at, s.id
    from popolni_subscription as s
    inner join popolni_number as number on number.number = s.number_id
    inner join popolni_branch as branch on branch.id = number.branch_id
    where
        {_IS_DUE}
        and (s.period_ends_at, s.id) > (%(after_at)s, %(after_id)s)
        and (%(books)s::bigint[] is null or branch.book = any(%(books)s::bigint[]))
        and s.id <> all(%(without)s::bigint[])
    order by s.period_ends_at, s.id
    limit %(limit)s"""  # noqa: S608  # constants only
_STANDING = """
    select
        s.id, s.number_id, s.version_id, s.next_version_id, s.is_renewed,
        number.status = 'active', s.anchored_at, s.period_ends_at
    from popolni_subscription as s
    inner join popolni_number as number on number.number = s.number_id"""
# Who changes one of them meanwhile has to wait; whoever was first is not waited for.
_CLAIM_DUE_IN_TURN = f"""{_STANDING}
    where s.id = any(%(ids)s) and {_IS_DUE}
    order by s.id
    for no key update of s"""
_CLAIM_DUE = f"{_CLAIM_DUE_IN_TURN} skip locked"
# A number's status is no part of what is claimed. Whoever unblocks it waits for the claim, or was
# there before: that this statement sees, whereas the claim's own may have begun too early for it.
_SERVED = "select number from popolni_number where number = any(%s) and status = 'active'"
# Here whoever was first is waited for: a credit is read once.
_CLAIM_LAPSED = f"""{_STANDING}
    where
        s.number_id = any(%s)
        and s.ended_at is null
        and s.status = 'lapsed'
        and s.is_renewed
        and number.status = 'active'
    order by s.id
    for no key update of s"""
_HOLD_VERSIONS = """
    select id from popolni_planversion where id = any(%s) order by id for key share"""
_MOVE = """
    with moved as (
        update popolni_subscription as s
        set
            status = 'active',
            next_version_id = null,
            anchored_at = wanted.anchored_at,
            period_starts_at = wanted.starts_at,
            period_ends_at = wanted.ends_at
        from unnest(%s, %s, %s, %s) as wanted (id, anchored_at, starts_at, ends_at)
        where s.id = wanted.id
        returning s.id
    )

    select count(*) from moved"""
_LAPSE = """
    with lapsed as (
        update popolni_subscription set status = 'lapsed' where id = any(%s) returning id
    )

    select count(*) from lapsed"""
_END = """
    with gone as (
        update popolni_subscription as s
        set ended_at = wanted.at, next_version_id = null
        from unnest(%s, %s) as wanted (id, at)
        where s.id = wanted.id
        returning s.id
    )

    select count(*) from gone"""
_START = """
    insert into popolni_subscription (
        number_id, version_id, status, is_renewed, started_at, anchored_at, period_starts_at,
        period_ends_at
    )
    select
        wanted.number, wanted.version, 'active', true, wanted.starts_at, wanted.anchored_at,
        wanted.starts_at, wanted.ends_at
    from unnest(%s, %s, %s, %s, %s) as wanted (number, version, anchored_at, starts_at, ends_at)
    returning number_id, id"""
_GRANT = """
    with granted as (
        insert into popolni_allowance as kept (number_id, account, unit, granted, ends_at)
        select * from unnest(%s, %s, %s, %s, %s)
        on conflict (number_id, account) do update set
            unit = excluded.unit, granted = excluded.granted, ends_at = excluded.ends_at
        returning id
    )

    select count(*) from granted"""
_END_ALLOWANCES = """
    with gone as (
        update popolni_allowance as allowance
        set ends_at = wanted.at
        from unnest(%s, %s) as wanted (number, at)
        where
            allowance.number_id = wanted.number
            and allowance.promotion_id is null
            and allowance.ends_at > wanted.at
        returning allowance.id
    )

    select count(*) from gone"""
# A run is what is done without a pause of a minute.
_COUNT = """
    insert into popolni_renewalprogress as kept (
        book, renewed, lapsed, resumed, run_began_at, run_done, done_at
    )
    values (
        %(book)s, %(renewed)s, %(lapsed)s, %(resumed)s, clock_timestamp(),
        %(renewed)s + %(lapsed)s, clock_timestamp()
    )
    on conflict (book) do update set
        renewed = kept.renewed + excluded.renewed,
        lapsed = kept.lapsed + excluded.lapsed,
        resumed = kept.resumed + excluded.resumed,
        run_began_at = case
            when kept.done_at > excluded.done_at - interval '1 minute' then kept.run_began_at
            else excluded.done_at
        end,
        run_done = excluded.run_done + case
            when kept.done_at > excluded.done_at - interval '1 minute' then kept.run_done else 0
        end,
        done_at = excluded.done_at
    returning book"""


class Due(NamedTuple):
    """A subscription whose period has ended, and the book of its number."""

    book: int
    period_ends_at: datetime
    subscription: int


def read_due(
    now: datetime,
    after: tuple[datetime, int],
    limit: int,
    books: Collection[int] | None,
    without: Collection[int],
) -> Statement[list[Due]]:
    """What is due, those first that are due for longest, after this place in that order.

    `books`: of these alone; None: of all. `without`: none of these subscriptions.
    """
    arguments = {
        "now": now,
        "after_at": after[0],
        "after_id": after[1],
        "books": None if books is None else encode_integers(Int8Array, list(books)),
        "without": encode_integers(Int8Array, list(without)),
        "limit": limit,
    }
    return Statement(_DUE, arguments, lambda rows: [Due(*row) for row in rows])


def claim_due(ids: Sequence[int], now: datetime) -> Steps[list[Standing]]:
    """Of these subscriptions those that are due and nobody else's, ours until the transaction ends.

    By their id.
    """
    return _claim_due(_CLAIM_DUE, ids, now)


def claim_due_in_turn(ids: Sequence[int], now: datetime) -> Steps[list[Standing]]:
    """The same, once those who have some of them are done: of these, what is due still."""
    return _claim_due(_CLAIM_DUE_IN_TURN, ids, now)


def _claim_due(sql: str, ids: Sequence[int], now: datetime) -> Steps[list[Standing]]:
    arguments = {"ids": encode_integers(Int8Array, ids), "now": now}
    claimed = yield Statement(sql, arguments, _standings, writes=True)
    if not claimed:
        return []
    numbers = encode_integers(Int8Array, [one.number for one in claimed])
    served = yield Statement(_SERVED, (numbers,), lambda rows: {number for (number,) in rows})
    return [one._replace(is_served=one.number in served) for one in claimed]


def claim_lapsed(numbers: Sequence[int]) -> Statement[list[Standing]]:
    """Of these numbers the lapsed subscriptions that money would renew, ours for as long."""
    return Statement(_CLAIM_LAPSED, (encode_integers(Int8Array, numbers),), _standings, writes=True)


def _standings(rows: list[tuple[Any, ...]]) -> list[Standing]:
    return [Standing(*row) for row in rows]


def hold_versions(standings: Iterable[Standing]) -> None:
    """Waits here, and not with the book's lock, for who is at a version that somebody goes on."""
    ids = sorted({one.wanted for one in standings if one.wanted != one.version})
    if ids:
        run(Statement(_HOLD_VERSIONS, (encode_integers(Int8Array, ids),), len, writes=True))


def move(decisions: Sequence[Renewed]) -> None:
    """Their periods begin, on the same plan."""
    if not decisions:
        return
    arrays = (
        encode_integers(Int8Array, [one.standing.subscription for one in decisions]),
        encode_times([one.anchored_at for one in decisions]),
        encode_times([one.period.starts_at for one in decisions]),
        encode_times([one.period.ends_at for one in decisions]),
    )
    _change(Statement(_MOVE, arrays, _count, writes=True), len(decisions))


def lapse(decisions: Sequence[Lapsed]) -> None:
    """They stop."""
    if not decisions:
        return
    ids = [one.standing.subscription for one in decisions]
    _change(Statement(_LAPSE, (encode_integers(Int8Array, ids),), _count, writes=True), len(ids))
    _end_allowances([(one.standing.number, one.standing.period_ends_at) for one in decisions])


def change_plans(decisions: Sequence[Renewed]) -> dict[int, int]:
    """Other plans take the places of the former ones; the new subscriptions by number."""
    if not decisions:
        return {}
    starts = encode_times([one.period.starts_at for one in decisions])
    ids = encode_integers(Int8Array, [one.standing.subscription for one in decisions])
    _change(Statement(_END, (ids, starts), _count, writes=True), len(decisions))
    _end_allowances([(one.standing.number, one.period.starts_at) for one in decisions])
    arrays = (
        encode_integers(Int8Array, [one.standing.number for one in decisions]),
        encode_integers(Int8Array, [one.standing.wanted for one in decisions]),
        encode_times([one.anchored_at for one in decisions]),
        starts,
        encode_times([one.period.ends_at for one in decisions]),
    )
    return run(Statement(_START, arrays, dict, writes=True))


def grant(decisions: Sequence[Renewed]) -> None:
    """The numbers' allowances are those of the period that begins."""
    rows = [
        (one.standing.number, PLAN_KINDS[unit].account_id(one.standing.number), unit, amount,
         one.period.ends_at)
        for one in decisions
        for unit, amount in one.terms.allowances.items()
    ]  # fmt: skip
    if not rows:
        return
    numbers, accounts, units, amounts, ends = zip(*rows, strict=True)
    arrays = (
        encode_integers(Int8Array, numbers),
        encode_integers(Int8Array, accounts),
        encode_integers(Int2Array, units),
        encode_integers(Int8Array, amounts),
        encode_times(ends),
    )
    _change(Statement(_GRANT, arrays, _count, writes=True), len(rows))


def _end_allowances(ends: Sequence[tuple[int, datetime]]) -> None:
    numbers, ats = zip(*ends, strict=True)
    arrays = (encode_integers(Int8Array, numbers), encode_times(ats))
    run(Statement(_END_ALLOWANCES, arrays, _count, writes=True))


def count(book: int, *, renewed: int = 0, lapsed: int = 0, resumed: int = 0) -> None:
    """Adds to the progress of a book, which is locked."""
    arguments: dict[str, object] = {
        "book": book,
        "renewed": renewed,
        "lapsed": lapsed,
        "resumed": resumed,
    }
    run(Statement(_COUNT, arguments, len, writes=True))


def _change(statement: Statement[int], expected: int) -> None:
    changed = run(statement)
    if changed != expected:
        raise AssertionError(f"{changed} rows were changed, not {expected}")


def _count(rows: list[tuple[Any, ...]]) -> int:
    ((changed,),) = rows
    return int(changed)


class Versions:
    """The terms of plans' versions, read once: nobody edits one that a number is on or has next."""

    def __init__(self) -> None:
        self._terms: dict[int, PlanTerms] = {}
        self._zones: dict[int, ZoneInfo] = {}

    def of(self, ids: Iterable[int]) -> dict[int, PlanTerms]:
        """Terms by version; one that nobody can read is left out."""
        wanted = set(ids)
        if missing := wanted - self._terms.keys():
            rows = PlanVersion.objects.filter(pk__in=missing)
            for row in rows.prefetch_related("allowances", "rates"):
                try:
                    self._terms[row.pk] = terms_of(row)
                except ValueError:
                    continue
        return {pk: self._terms[pk] for pk in wanted & self._terms.keys()}

    def zone(self, book: int) -> ZoneInfo:
        """The clock of the book's branch."""
        if book not in self._zones:
            name = Branch.objects.values_list("time_zone", flat=True).get(book=book)
            self._zones[book] = ZoneInfo(name)
        return self._zones[book]
