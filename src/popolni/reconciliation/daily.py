"""The day's registry of ours, for agents that get one; and whose file is not there in time.

A registry of ours has what we credited on a day of the clock: by when we did, not by when the agent
took the money, so that each top-up is in exactly one. What was reversed before that day's end is
not in it. The log only grows at its end, so a day's registry is the same whenever it is written:
the back office shows any day's, and nothing is stored but what was in it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from popolni.agents.models import Contract
from popolni.core.channel import Channel
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.model import TransferFlags
from popolni.protocols.registry import Row, Writer
from popolni.protocols.registry_layout import seconds_of
from popolni.reconciliation.models import Reconciliation, RegistryLayout, WrittenRegistry
from popolni.topups.clock import read_places_of
from popolni.topups.rules import RECEIPT_DIGITS

FOLDER = "POPOLNI_REGISTRIES"
"""The variable that names the folder that registries are written to; without it none are."""
DAYS_BACK_MAX = 31
"""How far back a registry is written that was not."""
MISSING_DAYS_MAX = 7
"""How far back a missing file is told of."""
PAGE = 20_000
ENDS_AFTER = timedelta(minutes=5)
"""How long after midnight a day is closed: by then what began before it has ended."""

# What was credited in a book's window, but for what was reversed in it.
_PAGE = f"""
    select t.seq, t.reference, t.amount, t.credit_account %% {SUBJECT_MAX + 1},
        coalesce(t.reference_at, t.created_at)
    from ledger.transfer as t
    where
        t.book = %(book)s
        and t.debit_account = %(account)s
        and t.seq >= %(first)s
        and t.seq < %(end)s
        and t.code = %(code)s
        and t.flags & {TransferFlags.PENDING | TransferFlags.VOID_PENDING} = 0
    order by t.seq
    limit %(limit)s"""  # noqa: S608  # constants only
_GONE = f"""
    select t.reference_id
    from ledger.transfer as t
    where
        t.book = %(book)s
        and t.credit_account = %(account)s
        and t.seq >= %(first)s
        and t.seq < %(end)s
        and t.code = {Code.TOP_UP_REVERSAL.value}"""  # noqa: S608  # constants only


class Window(NamedTuple):
    """A book's part of a day: from a place in its log up to, without, another."""

    book: int
    zone: ZoneInfo
    first: int
    end: int


def begin_of(day: date, zone: ZoneInfo) -> datetime:
    """A day's first moment."""
    return datetime.combine(day, time.min, zone)


def zones_of(layout: RegistryLayout) -> dict[int, ZoneInfo]:
    """The zone of the clock that each book's days are of, for this layout."""
    rows = Contract.objects.filter(agent=layout.agent_id).order_by("branch__book")
    return {
        book: ZoneInfo(layout.time_zone or zone)
        for book, zone in rows.values_list("branch__book", "branch__time_zone")
    }


def windows_of(layout: RegistryLayout, day: date) -> list[Window]:
    """Where in each book's log the day is."""
    next_day = day + timedelta(days=1)
    windows = []
    for book, zone in zones_of(layout).items():
        first, end = read_places_of(book, [begin_of(day, zone), begin_of(next_day, zone)])
        windows.append(Window(book, zone, first, end))
    return windows


def registry(layout: RegistryLayout, day: date) -> Iterator[bytes]:
    """The day's registry of ours, in pieces; in the end its `Writer` knows what was in it."""
    return write_day(Writer(layout.layout()), layout, day)


def write_day(writer: Writer, layout: RegistryLayout, day: date) -> Iterator[bytes]:
    """The same, with a writer that tells how much it was."""
    yield writer.begin(f"{layout.agent.code} {day.isoformat()}")
    for window in windows_of(layout, day):
        for rows in _pages(layout, window):
            yield writer.write(rows)
    yield writer.end()


def _pages(layout: RegistryLayout, window: Window) -> Iterator[list[Row]]:
    arguments = {
        "book": window.book,
        "account": Kind.AGENT_FLOAT.account_id(layout.agent_id),
        "first": window.first,
        "end": window.end,
        "code": TOP_UPS[Channel(layout.channel)].value,
        "limit": PAGE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_GONE, arguments)
        gone = {seq for (seq,) in cursor.fetchall()}
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_PAGE, arguments)
            found = cursor.fetchall()
        yield [
            Row(
                0,
                reference or "",
                amount,
                number,
                seconds_of(at.astimezone(window.zone)),
                f"{window.book}{seq:0{RECEIPT_DIGITS}}",
            )
            for seq, reference, amount, number, at in found
            if seq not in gone
        ]
        if len(found) < PAGE:
            return
        arguments["first"] = found[-1][0] + 1


def is_over(layout: RegistryLayout, day: date, now: datetime) -> bool:
    """Whether the day has ended in all the agent's branches, and all of it is in the log.

    `now` is of the ledger's clock.
    """
    if day >= now.date() + timedelta(days=1):  # also the last day that there is
        return False
    next_day = day + timedelta(days=1)
    return all(now >= begin_of(next_day, zone) + ENDS_AFTER for zone in zones_of(layout).values())


def write_registries(now: datetime) -> list[WrittenRegistry]:
    """Writes the registries of ours that are due and not written; what it wrote.

    A registry is written beside its name and renamed to it when all of it is on the disk: nobody
    fetches a part. To be called as often as one likes, by any number of processes.
    """
    folder = os.environ.get(FOLDER, "").strip()
    written = []
    layouts = RegistryLayout.objects.exclude(writes_from=None).select_related("agent")
    for layout in layouts.order_by("pk"):
        for day in _days_due(layout, now):
            row = _write(layout, day, Path(folder) if folder else None, now)
            if row is not None:
                written.append(row)
    return written


def _days_due(layout: RegistryLayout, now: datetime) -> list[date]:
    today = now.astimezone(ZoneInfo("UTC")).date() + timedelta(days=1)  # it may be, somewhere
    first = max(layout.writes_from or today, today - timedelta(days=DAYS_BACK_MAX))
    days = [first + timedelta(days=n) for n in range(max(0, (today - first).days))]
    return [day for day in days if is_over(layout, day, now)]


def _write(
    layout: RegistryLayout, day: date, folder: Path | None, now: datetime
) -> WrittenRegistry | None:
    """Writes one; None if it was written, into this folder if there is one."""
    row = WrittenRegistry.objects.filter(layout=layout, day=day).first()
    if row is not None and (folder is None or row.file_name):
        return None
    writer, digest = Writer(layout.layout()), hashlib.sha256()
    path = folder / layout.agent.code / file_name(layout, day) if folder else None
    with _named_when_whole(path) as write:
        for block in write_day(writer, layout, day):
            digest.update(block)
            write(block)
    defaults = {
        "lines": writer.rows,
        "sum_minor": writer.sum_minor,
        "sha256": digest.hexdigest(),
        "file_name": str(path.relative_to(path.parents[1])) if path else "",
        "written_at": now,
    }
    row, _new = WrittenRegistry.objects.update_or_create(layout=layout, day=day, defaults=defaults)
    return row


def file_name(layout: RegistryLayout, day: date) -> str:
    """A registry's name: `terminal_osmp_2026-11-26.csv`."""
    return f"{layout.agent.code}_{layout.channel}_{day.isoformat()}.csv"


@contextmanager
def _named_when_whole(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Writes a file that gets its name when all of it is there; without a path, nothing."""
    if path is None:
        yield len
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


# Files that are not there


class Missing(NamedTuple):
    """A registry that an agent should have sent."""

    layout: RegistryLayout
    day: date


def missing_files(now: datetime | None = None) -> list[Missing]:
    """Whose file of a day that is over is not there, after the hour until which it should be.

    A file that can't be read is not there.
    """
    now = now or timezone.now()
    found = []
    layouts = RegistryLayout.objects.exclude(expects_from=None).filter(agent__is_active=True)
    for layout in layouts.select_related("agent").order_by("pk"):
        days = _days_expected(layout, now)
        covered = _covered(layout, days)
        found += [Missing(layout, day) for day in days if day not in covered]
    return found


def _days_expected(layout: RegistryLayout, now: datetime) -> list[date]:
    zones = zones_of(layout)
    if not zones or layout.expects_from is None:
        return []
    local = min(now.astimezone(zone).replace(tzinfo=None) for zone in zones.values())
    last = local.date() - timedelta(days=1 if local.time() >= layout.expected_by else 2)
    first = max(layout.expects_from, last - timedelta(days=MISSING_DAYS_MAX - 1))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _covered(layout: RegistryLayout, days: list[date]) -> set[date]:
    if not days:
        return set()
    runs = Reconciliation.objects.filter(
        agent=layout.agent_id,
        channel=layout.channel,
        last_day__gte=days[0],
        first_day__lte=days[-1],
        state=Reconciliation.State.DONE,
    )
    spans = list(runs.values_list("first_day", "last_day"))
    return {day for day in days if any(first <= day <= last for first, last in spans)}
