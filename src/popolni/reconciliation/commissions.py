"""A day's commission is paid to the agent's float, for contracts that are settled daily.

Of each contract, channel and day of the branch's clock there is one row and at most one transfer,
from the operator's revenue to the float, in one transaction. A day's commission is the sum of each
top-up's own share, rounded by itself; taken back is, at the rate of the day it was earned on, what
was reversed that day. A day that comes to less than nothing takes nothing from the float: the next
days carry it until it is earned.
"""

import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import IntegrityError, connection

from popolni.agents.models import Commission, Contract
from popolni.agents.rules import share_minor
from popolni.agents.service import float_account
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger.chart import TOP_UPS, Code, Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import Transfer, TransferFlags
from popolni.ledger.statements import post
from popolni.reconciliation.daily import ENDS_AFTER
from popolni.reconciliation.models import Settlement
from popolni.topups.clock import read_places_of

DAYS_MAX = 400
"""How far back days are settled that were not."""

log = logging.getLogger(__name__)

_EARNED = f"""
    select t.amount, count(*)
    from ledger.transfer as t
    where
        t.book = %(book)s
        and t.debit_account = %(account)s
        and t.seq >= %(first)s
        and t.seq < %(end)s
        and t.code = %(code)s
        and t.flags & {TransferFlags.PENDING | TransferFlags.VOID_PENDING} = 0
    group by t.amount"""  # noqa: S608  # constants only
# What was reversed that day, with the moment of what it reverses.
_REVERSED = f"""
    select top_up.amount, top_up.created_at
    from ledger.transfer as t
    cross join lateral (
        select * from ledger.transfer as x
        where x.book = t.book and x.seq = t.reference_id offset 0
    ) as top_up
    where
        t.book = %(book)s
        and t.credit_account = %(account)s
        and t.seq >= %(first)s
        and t.seq < %(end)s
        and t.code = {Code.TOP_UP_REVERSAL.value}
        and top_up.code = %(code)s"""  # noqa: S608  # constants only


class Refused(Exception):
    """The ledger refuses the transfer; the row goes with it, and the day is tried again."""


class Day(NamedTuple):
    """What happened on a day: (sum of a top-up, how many), (sum of a reversed one, its day)."""

    earned: list[tuple[int, int]]
    reversed: list[tuple[int, date]]


def settle_commissions(now: datetime) -> list[Settlement]:
    """Settles the days that are over and not settled; the rows it made.

    `now` is of the ledger's clock; a day is over `daily.ENDS_AFTER` after its midnight.
    To be called as often as one likes, by any number of processes.
    """
    made = []
    contracts = Contract.objects.exclude(settles_from=None).select_related("branch", "agent")
    for contract in contracts.order_by("pk"):
        for channel in _channels(contract):
            made += _settle_channel(contract, channel, now)
    return made


def _channels(contract: Contract) -> list[Channel]:
    names = set(Commission.objects.filter(contract=contract).values_list("channel", flat=True))
    names |= set(Settlement.objects.filter(contract=contract).values_list("channel", flat=True))
    return sorted(map(Channel, names))


def _settle_channel(contract: Contract, channel: Channel, now: datetime) -> list[Settlement]:
    zone = ZoneInfo(contract.branch.time_zone)
    today = (now - ENDS_AFTER).astimezone(zone).date()
    rows = Settlement.objects.filter(contract=contract, channel=channel)
    before = rows.order_by("day").last()
    first = before.day + timedelta(days=1) if before else _agreed(contract, channel, zone)
    first = max(first, contract.settles_from or first, today - timedelta(days=DAYS_MAX))
    made = []
    for n in range((today - first).days):
        day = first + timedelta(days=n)
        try:
            before = _settle(contract, channel, day, zone, before)
        except Refused as error:
            log.warning("commission of %s, %s, %s: %s", contract.pk, channel, day, error)
            break
        except IntegrityError:  # another process was faster
            break
        made.append(before)
    return made


def _agreed(contract: Contract, channel: Channel, zone: ZoneInfo) -> date:
    """The day from which a channel has a commission: it is not paid for what was before."""
    row = Commission.objects.get(contract=contract, channel=channel)
    return row.agreed_at.astimezone(zone).date()


def _settle(
    contract: Contract, channel: Channel, day: date, zone: ZoneInfo, before: Settlement | None
) -> Settlement:
    """One day: the row and the transfer, or neither."""
    happened = _read(contract, channel, day, zone)
    commission = Commission.objects.filter(contract=contract, channel=channel).first()
    basis_points = commission.basis_points if commission else 0
    rates = _rates(contract, channel, {at for _sum, at in happened.reversed} - {day})
    rates[day] = basis_points
    row = Settlement(
        contract=contract,
        channel=channel,
        day=day,
        basis_points=basis_points,
        top_ups=sum(count for _sum, count in happened.earned),
        earned_minor=earned(happened.earned, basis_points),
        taken_back_minor=sum(
            share_minor(amount, rates.get(at, 0)) for amount, at in happened.reversed
        ),
        carried_minor=before.carries_minor if before else 0,
        paid_minor=0,
    )
    row.paid_minor = max(0, row.earned_minor - row.taken_back_minor + row.carried_minor)
    with atomic():
        row.save(force_insert=True)
        if row.paid_minor:
            (answer,) = run(post(contract.branch.book, [transfer_of(row)]))
            if answer.outcome not in (Outcome.CREATED, Outcome.EXISTS):
                raise Refused(answer.outcome)
    return row


def earned(sums: Iterable[tuple[int, int]], basis_points: int) -> int:
    """The commission of so many top-ups of each sum, each rounded by itself."""
    return sum(share_minor(amount, basis_points) * count for amount, count in sums)


def transfer_of(row: Settlement) -> Transfer:
    """What pays a day's commission; `reference` says which, for people."""
    contract = row.contract
    return Transfer(
        transfer_id("commission", contract.pk, row.channel, row.day.isoformat()),
        Kind.OPERATOR_REVENUE.account_id(),
        float_account(contract),
        row.paid_minor,
        Code.COMMISSION_SETTLEMENT,
        reference=f"{row.channel} {row.day.isoformat()}",
        reference_id=row.pk,
    )


def _read(contract: Contract, channel: Channel, day: date, zone: ZoneInfo) -> Day:
    book = contract.branch.book
    begins = datetime.combine(day, datetime.min.time(), zone)
    ends = datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)
    first, end = read_places_of(book, [begins, ends])
    arguments = {
        "book": book,
        "account": float_account(contract),
        "code": TOP_UPS[channel].value,
        "first": first,
        "end": end,
    }
    with connection.cursor() as cursor:
        cursor.execute(_EARNED, arguments)
        sums = cursor.fetchall()
        cursor.execute(_REVERSED, arguments)
        gone = [(amount, at.astimezone(zone).date()) for amount, at in cursor.fetchall()]
    return Day(sums, gone)


def _rates(contract: Contract, channel: Channel, days: set[date]) -> dict[date, int]:
    """What was earned on these days; where nothing was settled, nothing was."""
    rows = Settlement.objects.filter(contract=contract, channel=channel, day__in=days)
    return dict(rows.values_list("day", "basis_points"))
