"""Each day, by the clock of the branch: whose plan ends tomorrow and whose money does not pay for
the next period is told so, once, at a time of day at which people are awake.

It is done again after a crash, or by two workers at once, and tells nobody twice: what is told has
a key of the subscription and its period.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from popolni.catalog.operators.models import Branch
from popolni.catalog.texts import names_of
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.statements import read_accounts
from popolni.notices.model import PlanEnds
from popolni.notices.models import Reminder
from popolni.notices.service import Wish, notify
from popolni.readers.jobs import Job, by_clock
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.rules import available

HOUR_FIRST, HOUR_LAST = 10, 19
BATCH = 1_000


def remind(now: datetime) -> int:
    """Does what is due now, in every branch where it is. How many were told."""
    done = dict(Reminder.objects.values_list("book", "day"))
    told = 0
    for branch in Branch.objects.order_by("book"):
        today = due_day(now, ZoneInfo(branch.time_zone), done.get(branch.book))
        if today:
            told += _remind_branch(branch, today)
            Reminder.objects.update_or_create(book=branch.book, defaults={"day": today})
    return told


def due_day(now: datetime, zone: ZoneInfo, done: date | None) -> date | None:
    """The local day whose reminders are due; None: it is done, or not the time."""
    local = now.astimezone(zone)
    if done is not None and done >= local.date():
        return None
    return local.date() if HOUR_FIRST <= local.hour <= HOUR_LAST else None


def day_after(today: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When tomorrow begins and ends."""
    first, second = today + timedelta(days=1), today + timedelta(days=2)
    begins, ends = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (first, second))
    return begins, ends


def told_until(ends_at: datetime, today: date, zone: ZoneInfo) -> datetime:
    """Until when "tomorrow" is true, and of use."""
    return min(ends_at, day_after(today, zone)[0])


def _remind_branch(branch: Branch, today: date) -> int:
    told = 0
    for batch in _ending(branch, today):
        wishes = _wishes(branch, batch, today)
        notify(*wishes)
        told += len(wishes)
    return told


def _ending(branch: Branch, today: date) -> Iterator[Sequence[Subscription]]:
    begins, ends = day_after(today, ZoneInfo(branch.time_zone))
    rows = (
        Subscription.objects.filter(
            ended_at=None,
            status=Subscription.Status.ACTIVE,
            is_renewed=True,
            period_ends_at__gte=begins,
            period_ends_at__lt=ends,
            number__branch=branch,
            number__status=Number.Status.ACTIVE,
        )
        .select_related("version", "next_version")
        .order_by("pk")
    )
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _wishes(branch: Branch, ending: Sequence[Subscription], today: date) -> list[Wish]:
    zone = ZoneInfo(branch.time_zone)
    ids = {each.pk: Kind.SUBSCRIBER_MONEY.account_id(each.number_id) for each in ending}
    accounts = run(read_accounts(branch.book, list(ids.values())))
    wishes = []
    for each in ending:
        money = available(accounts[ids[each.pk]])
        version = each.next_version or each.version  # what the next period is paid for
        if money >= version.price_minor:
            continue
        data = PlanEnds(
            plan=names_of(version),
            ends_at=each.period_ends_at.astimezone(zone),
            price_minor=version.price_minor,
            balance_minor=money,
            currency=branch.currency,
        )
        key = f"plan_ends:{each.pk}:{each.period_ends_at:%Y-%m-%d}"
        expires_at = told_until(each.period_ends_at, today, zone)
        wishes.append(Wish(each.number_id, data, key, expires_at))
    return wishes


JOB = Job("plan endings", 60, by_clock(remind))
