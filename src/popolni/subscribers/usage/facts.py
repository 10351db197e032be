"""What is asked of the database about numbers before their use is charged, for many at once."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from popolni.catalog.operators.rules import NumberStatus
from popolni.catalog.plans.rules import Rate, WhenShort
from popolni.ledger.chart import SUBJECT_MAX, Kind
from popolni.ledger.client import Steps
from popolni.ledger.codec import Int2Array, Int8Array, encode_integers
from popolni.ledger.model import AccountFlags, Unit
from popolni.ledger.statements import Rows, Statement
from popolni.subscribers.usage.rules import AllowanceFacts, NumberFacts, Service


class Facts(NamedTuple):
    """Numbers by themselves, what is left on each account of theirs, and who is due.

    `due`: the subscriptions whose period has ended and that nobody has renewed or let lapse yet.
    """

    numbers: dict[int, NumberFacts]
    left: dict[int, int]
    due: set[int]


_BOOKS = """
    select n.number, b.book
    from unnest(%s) as wanted (number)
    join lateral (
        select * from popolni_number as p where p.number = wanted.number offset 0
    ) as n on true
    join popolni_branch as b on b.id = n.branch_id"""

_LEFT = f"""
    select a.credits_posted - a.debits_posted - a.debits_pending as amount
    from ledger.account as a
    where a.book = %(book)s and a.flags & {AccountFlags.CLOSED.value} = 0"""  # noqa: S608  # constants only

_MONEY = Kind.SUBSCRIBER_MONEY.value.code * (SUBJECT_MAX + 1)  # and a number: its account

# The keys are looked up one by one, whatever the planner believes of the tables (offset 0).
_NUMBERS = f"""
    select
        n.number, n.status, s.status, s.version_id, s.when_short, b.low_balance_minor, money.amount,
        case when s.status = 'active' and s.period_ends_at <= %(at)s then s.id end
    from unnest(%(numbers)s) as wanted (number)
    join lateral (
        select * from popolni_number as p where p.number = wanted.number offset 0
    ) as n on true
    join popolni_branch as b on b.id = n.branch_id and b.book = %(book)s
    left join lateral (
        select r.id, r.status, r.period_ends_at, r.version_id, v.when_short
        from popolni_subscription as r
        join popolni_planversion as v on v.id = r.version_id
        where r.number_id = wanted.number and r.ended_at is null
        offset 0
    ) as s on true
    left join lateral ({_LEFT} and a.id = {_MONEY} + wanted.number offset 0) as money on true"""  # noqa: S608  # the same

_ALLOWANCES = f"""
    select w.number_id, w.account, w.unit, w.granted, w.ends_at, held.amount
    from unnest(%(numbers)s, %(units)s) as wanted (number, unit)
    join lateral (
        select * from popolni_allowance as p
        where p.number_id = wanted.number and p.unit = wanted.unit and p.ends_at > %(at)s
        offset 0
    ) as w on true
    join lateral ({_LEFT} and a.id = w.account offset 0) as held on held.amount > 0
    order by w.ends_at, w.id"""  # noqa: S608  # the same

_RATES = """
    select version_id, unit, block, price_minor from popolni_planrate where version_id = any(%s)"""


def read_books(numbers: Collection[int]) -> Statement[dict[int, int]]:
    """The book of each number that is ours, whatever its status; others are left out."""
    return Statement(_BOOKS, (encode_integers(Int8Array, list(numbers)),), dict)


def read_facts(book: int, asked: Collection[tuple[int, Unit]], at: datetime) -> Steps[Facts]:
    """What these numbers of a book have at a moment, each for the units that are asked for.

    To be trusted it is read in the book's turn (`lock_book`), and the post ends that turn.
    """
    numbers, units = zip(*asked, strict=True) if asked else ((), ())
    found: Rows = yield Statement(
        _NUMBERS,
        {"book": book, "numbers": encode_integers(Int8Array, list(set(numbers))), "at": at},
        lambda rows: rows,
    )
    held: Rows = yield Statement(
        _ALLOWANCES,
        {
            "book": book,
            "numbers": encode_integers(Int8Array, numbers),
            "units": encode_integers(Int2Array, units),
            "at": at,
        },
        lambda rows: rows,
    )
    versions = {row[3] for row in found if row[3] is not None}
    priced: Rows = yield Statement(
        _RATES, (encode_integers(Int8Array, list(versions)),), lambda rows: rows
    )
    rates: defaultdict[int, dict[Unit, Rate]] = defaultdict(dict)
    for version, unit, block, price_minor in priced:
        rates[version][Unit(unit)] = Rate(block, price_minor)
    allowances: defaultdict[int, list[AllowanceFacts]] = defaultdict(list)
    left = {_MONEY + row[0]: row[6] for row in found if row[6] is not None}
    for number, account, unit, granted, ends_at, amount in held:
        allowances[number].append(AllowanceFacts(account, Unit(unit), granted, ends_at))
        left[account] = amount
    facts = {
        number: NumberFacts(
            number,
            _STATUSES[status],
            _service(subscription, when_short),
            rates[version],
            allowances[number],
            low_balance_minor or 0,
        )
        for number, status, subscription, version, when_short, low_balance_minor, *_rest in found
    }
    return Facts(facts, left, {row[7] for row in found if row[7] is not None})


_STATUSES = {status.value: status for status in NumberStatus}


def _service(subscription: str | None, when_short: str | None) -> Service:
    """A number without a plan has the service that it has money or a bonus for: no rates."""
    if subscription != "lapsed":
        return Service.FULL
    return Service.LIMITED if when_short == WhenShort.LIMIT else Service.STOPPED
