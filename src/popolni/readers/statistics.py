"""The reader "statistics": top-ups by hour, channel and payer, for the dashboards.

A pending top-up counts in the hour in which it is posted, with the amount that was posted; one
that is voided or times out never does.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.db import connection

from popolni.core.channel import Channel
from popolni.ledger.chart import TOP_UPS
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.readers.frame import Reader
from popolni.readers.models import TopUpHour

_CHANNELS: dict[int, Channel] = {code: channel for channel, code in TOP_UPS.items()}
_NO_CREDIT = TransferFlags.PENDING | TransferFlags.VOID_PENDING

Hours = dict[tuple[datetime, Channel, int], tuple[int, int]]
"""(hour, channel, payer) → (top-ups, their sum in minor units)."""

_ADD = """
    insert into popolni_topuphour as kept (book, hour, channel, payer, top_ups, amount_minor)
    select %s, * from unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::int[], %s::bigint[])
    on conflict (hour, book, channel, payer) do update set
        top_ups = kept.top_ups + excluded.top_ups,
        amount_minor = kept.amount_minor + excluded.amount_minor
"""


def handle(book: int, entries: Sequence[LogEntry]) -> None:
    """Adds these entries to the hours."""
    hours = by_hour(entries)
    if hours:
        _add(book, hours)


def forget(book: int) -> None:
    """Has the hours of a book counted from its first entry on."""
    TopUpHour.objects.filter(book=book).delete()


def by_hour(entries: Iterable[LogEntry]) -> Hours:
    """The top-ups among these entries, summed."""
    sums: defaultdict[tuple[datetime, Channel, int], list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        channel = _CHANNELS.get(entry.code)
        if channel is None or entry.flags & _NO_CREDIT:
            continue
        hour = entry.created_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        total = sums[hour, channel, entry.debit_account]
        total[0] += 1
        total[1] += entry.amount
    return {key: (count, amount) for key, (count, amount) in sums.items()}


def _add(book: int, hours: Hours) -> None:
    rows = [(*key, *total) for key, total in hours.items()]
    with connection.cursor() as cursor:
        cursor.execute(_ADD, (book, *(list(column) for column in zip(*rows, strict=True))))


READER = Reader("statistics", handle, forget=forget)
