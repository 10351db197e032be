"""A file of an agent's is compared with our log, and what differs is kept.

    find → claim → read → merge → keep → settle edges

A run is of a file's SHA-256 and of days: the same file again is the same run, whoever sends it and
however often; one that was interrupted is begun anew. Two never work on one run at a time. What a
run found is seen when all of it is there.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import django.db
import psycopg
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.models import Agent, Contract
from popolni.agents.staff import User
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.protocols.registry import Fault, FaultKind, Reader, Row
from popolni.reconciliation import matching
from popolni.reconciliation.keeping import Keeper, settle_edges
from popolni.reconciliation.matching import Book, Progress
from popolni.reconciliation.models import (
    Difference,
    Elsewhere,
    Reconciliation,
    RegistryLayout,
    UploadedPart,
)
from popolni.reconciliation.rules import DAY_S, DAYS_MAX, FIRST_DAY, Days, Tally, compare, day_of

BLOCK = 1024 * 1024
BEAT_S = 1.0
"""How often a run says how far it is."""
FILE_BYTES_MAX = 4 * 1024**3
WAITING_MAX = 100
"""Uploads that wait and are looked at in one go."""
REASON_MAX = 300

State = Reconciliation.State
log = logging.getLogger(__name__)

_LOST = (
    *(LedgerUnavailable, OutcomeUnknown),
    *(django.db.OperationalError, django.db.InterfaceError),
    *(psycopg.OperationalError, psycopg.InterfaceError),
)
"""That the database is away, or has no room, is no fault of a file's."""


@dataclass(frozen=True)
class Source:
    """A file: its name and size, and its bytes, which can be had more than once."""

    name: str
    size: int
    blocks: Callable[[], Iterator[bytes]]

    def sha256(self) -> str:
        """Of all of it."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()


class Span(NamedTuple):
    """The days that a file is of."""

    first: date
    last: date


def ignore(doing: str, done: int, total: int) -> None:
    """No one watches."""
    del doing, done, total


def from_path(path: Path) -> Source:
    """A file of this machine. Raises UserError if it can't be read."""
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        text = _("%(name)s can't be read: %(why)s")
        raise UserError(text % {"name": path, "why": error.strerror}) from error
    if size > FILE_BYTES_MAX:
        raise UserError(_("%(name)s is too large to be a registry") % {"name": path})

    def blocks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    return Source(path.name, size, blocks)


def from_parts(run: Reconciliation) -> Source:
    """What was uploaded."""

    def blocks() -> Iterator[bytes]:
        place = 0
        while part := UploadedPart.objects.filter(run=run, place=place).first():
            yield bytes(part.data)
            place += 1

    return Source(run.file_name, run.bytes, blocks)


def layout_of(agent: Agent, channel: str | None = None) -> RegistryLayout:
    """An agent's layout of a channel, or the only one it has. UserError if there is none."""
    rows = RegistryLayout.objects.filter(agent=agent).select_related("agent")
    found = list(rows.filter(channel=channel) if channel else rows.order_by("pk")[:2])
    if not found:
        raise UserError(
            _("%(agent)s has no registry layout: it is set on the agent's page") % {"agent": agent}
        )
    if len(found) > 1:
        raise UserError(
            _("%(agent)s has layouts of several channels: say which") % {"agent": agent}
        )
    return found[0]


def reconcile(  # noqa: PLR0913  # what, of which days, and how
    layout: RegistryLayout,
    source: Source,
    span: Span | None = None,
    *,
    by: User | None = None,
    again: bool = False,
    progress: Progress = ignore,
) -> Reconciliation:
    """Compares a file, or finds the run that did; `span` None: the file's own day.

    `again` compares it anew, as long as nothing was asked of its differences. The answer is done,
    or unreadable with its faults. Raises UserError. Not to be called inside a transaction.
    """
    sha256 = source.sha256()
    if span is None:
        found = _rows(layout, sha256).filter(state=State.DONE).order_by("pk").last()
        if found is not None and not again:
            return found
        span = _span_of(layout, source, progress)
    run = claim(layout, source, sha256, span, by=by)
    return compare_run(run, source, again=again, progress=progress)


def _rows(layout: RegistryLayout, sha256: str) -> QuerySet[Reconciliation]:
    return Reconciliation.objects.filter(
        agent=layout.agent_id, channel=layout.channel, sha256=sha256
    )


def claim(
    layout: RegistryLayout, source: Source, sha256: str, span: Span, *, by: User | None = None
) -> Reconciliation:
    """The run of a file and of these days. UserError if they are none."""
    if not 0 <= (span.last - span.first).days < DAYS_MAX:
        raise UserError(
            _("a registry is of 1 to %(max)d days, the first one first") % {"max": DAYS_MAX}
        )
    # Tomorrow may have begun somewhere.
    last = timezone.now().date() + timedelta(days=1)
    if span.first < FIRST_DAY or span.last > last:
        raise UserError(
            _("the days of a registry are from %(first)s to %(last)s")
            % {"first": FIRST_DAY.isoformat(), "last": last.isoformat()}
        )
    run, _new = Reconciliation.objects.get_or_create(
        agent=layout.agent,
        channel=layout.channel,
        sha256=sha256,
        first_day=span.first,
        last_day=span.last,
        defaults={"file_name": source.name[:300], "bytes": source.size, "started_by": by},
    )
    return run


def _span_of(layout: RegistryLayout, source: Source, progress: Progress) -> Span:
    """The day of which nearly all of the file's lines are."""
    reader, counts = Reader(layout.layout()), Counter[int]()
    done = 0
    for block in (*source.blocks(), None):
        items = reader.end() if block is None else reader.feed(block)
        counts.update(
            item.at // DAY_S for item in items if isinstance(item, Row) and item.at is not None
        )
        done += len(block or b"")
        progress("looking for its day", done, source.size)
    day = day_of(counts) if counts else None
    if day is None:
        raise UserError(_("the file does not say which day it is of: say it"))
    return Span(day, day)


def books_of(layout: RegistryLayout) -> list[Book]:
    """The books with a float of the agent, with the zone of the dates in the file."""
    rows = Contract.objects.filter(agent=layout.agent_id).order_by("branch__book")
    return [
        Book(book, layout.time_zone or zone)
        for book, zone in rows.values_list("branch__book", "branch__time_zone")
    ]


def compare_run(
    run: Reconciliation, source: Source, *, again: bool = False, progress: Progress = ignore
) -> Reconciliation:
    """Compares what a run is about, if that was not done. Raises as `reconcile` does."""
    try:
        return _compare_alone(run, source, again=again, progress=progress)
    except matching.Busy as error:
        raise UserError(_("this file is being compared right now")) from error


def compare_upload(run: Reconciliation) -> Reconciliation:
    """The same of what was uploaded, if it still waits."""
    try:
        return _compare_alone(run, from_parts(run), is_upload=True)
    except matching.Busy as error:
        raise UserError(_("this file is being compared right now")) from error


def _compare_alone(
    run: Reconciliation,
    source: Source,
    *,
    again: bool = False,
    is_upload: bool = False,
    progress: Progress = ignore,
) -> Reconciliation:
    """The same. Raises Busy, too."""
    if connection.in_atomic_block:
        raise RuntimeError("a comparison commits as it goes: not inside a transaction")
    with matching.working(run.pk) as raw:
        run.refresh_from_db()
        if run.state == State.DONE and not again:
            return run
        if is_upload and not _waits(run):  # somebody was faster
            return run
        _begin_anew(run)
        try:
            _compare(run, source, raw, _Beat(run, progress))
        except BaseException:
            with suppress(django.db.Error):  # a crash leaves it running; both are begun anew
                _waits_again(run)
            raise
    run.refresh_from_db()
    return run


def _waits(run: Reconciliation) -> bool:
    is_due = run.state in (State.WAITING, State.RUNNING)
    return is_due and UploadedPart.objects.filter(run=run, place=0).exists()


def _waits_again(run: Reconciliation) -> None:
    rows = Reconciliation.objects.filter(pk=run.pk, state=State.RUNNING)
    rows.update(state=State.WAITING, progress=0)


def _begin_anew(run: Reconciliation, state: State = State.RUNNING) -> None:
    """Nothing is left of what was found before; UserError if something was made of it."""
    rows = Difference.objects.filter(run=run)
    with transaction.atomic():
        Reconciliation.objects.select_for_update(no_key=True).get(pk=run.pk)
        asked = rows.exclude(adjustment=None) | rows.filter(
            state__in=(Difference.State.ASKED, Difference.State.ACCEPTED)
        )
        if asked.exists():
            raise UserError(_("its differences are being settled: it is not compared again"))
        rows.delete()
        Elsewhere.objects.filter(run=run).delete()
        Reconciliation.objects.filter(pk=run.pk).update(
            state=state, progress=0, faults=[], faults_count=0
        )


class _Beat:
    """Tells whoever looks at the run how far it is, and whoever waits for it."""

    def __init__(self, run: Reconciliation, progress: Progress) -> None:
        self._run, self._progress = run, progress
        self._told_at = time.monotonic()

    def say(self, doing: str, done: int, total: int, *, begin: int, end: int) -> None:
        """A step that is from `begin` to `end` per cent of all."""
        self._progress(doing, done, total)
        if time.monotonic() - self._told_at < BEAT_S:
            return
        self._told_at = time.monotonic()
        per_cent = begin + (end - begin) * done // max(total, 1)
        Reconciliation.objects.filter(pk=self._run.pk).update(progress=min(per_cent, 99))


def _compare(
    run: Reconciliation, source: Source, raw: psycopg.Connection[Any], beat: _Beat
) -> None:
    row = layout_of(run.agent, run.channel)
    layout, books = row.layout(), books_of(row)
    days = Days(run.first_day, run.last_day, 60 * row.midnight_minutes, layout.has_times)
    channel = Channel(run.channel)
    with matching.tables(raw):
        loaded = matching.load(raw, Reader(layout), _watched(run, source, beat))
        if loaded.faults_count:
            _keep_faults(run, loaded.faults, loaded.faults_count)
            return
        tally = Tally()
        keeper = Keeper(run, days, tally, dict(books))
        beat.say("sorting", 0, 1, begin=40, end=60)
        theirs = matching.read_theirs(raw)
        ours = matching.read_ours(raw, run.agent_id, channel, books, days)
        for event in compare(theirs, ours, days, tally):
            keeper.add(event)
            beat.say("comparing", tally.theirs, loaded.lines, begin=60, end=99)
        keeper.flush()
    _finish(run, row, tally, keeper)


def _watched(run: Reconciliation, source: Source, beat: _Beat) -> Iterator[bytes]:
    """The file's bytes, if they are still those that the run is of."""
    digest, done = hashlib.sha256(), 0
    for block in source.blocks():
        digest.update(block)
        yield block
        done += len(block)
        beat.say("reading", done, source.size, begin=0, end=40)
    if digest.hexdigest() != run.sha256:
        raise UserError(_("the file changed while it was read"))


def _keep_faults(run: Reconciliation, faults: list[Fault], count: int) -> None:
    """Nothing is compared with a file of which a part is not known: it would seem to be missing."""
    Reconciliation.objects.filter(pk=run.pk).update(
        state=State.UNREADABLE,
        faults=[list(fault) for fault in faults],
        faults_count=count,
        done_at=timezone.now(),
        progress=100,
    )
    UploadedPart.objects.filter(run=run).delete()


def faults_of(run: Reconciliation) -> list[Fault]:
    """The first lines that can't be read."""
    return [Fault(*fault) for fault in run.faults]


def _finish(run: Reconciliation, row: RegistryLayout, tally: Tally, keeper: Keeper) -> None:
    """All of it is seen from now on; what other runs found is looked at, and they at this."""
    with transaction.atomic():
        RegistryLayout.objects.select_for_update(no_key=True).get(pk=row.pk)  # one after another
        Reconciliation.objects.filter(pk=run.pk).update(
            state=State.DONE,
            done_at=timezone.now(),
            progress=100,
            theirs=tally.theirs,
            theirs_minor=tally.theirs_minor,
            ours=tally.ours,
            ours_minor=tally.ours_minor,
            matched=tally.matched,
            **{kind.value: keeper.counts[kind] for kind in keeper.counts},
        )
        settle_edges(run)
        UploadedPart.objects.filter(run=run).delete()


# Uploads


def upload(  # noqa: PLR0913  # what, of which days, whose, and how
    layout: RegistryLayout,
    name: str,
    blocks: Callable[[], Iterator[bytes]],
    span: Span,
    *,
    by: User,
    again: bool = False,
) -> Reconciliation:
    """Keeps a file of which the run may be made by any process (`compare_uploads`).

    `again`: also of one that was compared, as `reconcile`. Raises UserError.
    """
    digest, size = hashlib.sha256(), 0
    for block in blocks():
        digest.update(block)
        size += len(block)
    if size > FILE_BYTES_MAX:
        raise UserError(_("%(name)s is too large to be a registry") % {"name": name})
    source = Source(name, size, blocks)
    with transaction.atomic():
        run = claim(layout, source, digest.hexdigest(), span, by=by)
        run = Reconciliation.objects.select_for_update(no_key=True).get(pk=run.pk)
        if run.state == State.UNREADABLE:  # the layout may be another one now
            Reconciliation.objects.filter(pk=run.pk).update(state=State.WAITING)
        elif run.state == State.DONE and again:
            _begin_anew(run, State.WAITING)
            run.state = State.WAITING
        if run.state == State.DONE or UploadedPart.objects.filter(run=run).exists():
            return run
        for place, block in enumerate(blocks() if size else [b""]):  # part 0 is always there
            UploadedPart.objects.create(run=run, place=place, data=block)
    run.refresh_from_db()
    return run


def compare_uploads(limit: int = 10) -> int:
    """Compares what was uploaded and waits, the oldest first. How many it did.

    What another process compares is left to it. What can't be compared is unreadable, and says
    why: none keeps the others waiting. Raises, after the others, that the database was away.
    """
    done, lost = 0, None
    waiting = Reconciliation.objects.filter(
        state__in=(State.WAITING, State.RUNNING), parts__place=0
    ).order_by("pk")
    for run in waiting[:WAITING_MAX]:
        if done == limit:
            break
        try:
            _compare_alone(run, from_parts(run), is_upload=True)
        except matching.Busy:
            continue
        except _LOST as error:
            lost = lost or error
            continue
        except Exception as error:  # noqa: BLE001  # whatever it is, it is about this file
            _note_failure(run, error)
        done += 1
    if lost is not None:
        raise lost
    return done


def _note_failure(run: Reconciliation, error: Exception) -> None:
    if isinstance(error, UserError):
        reason = str(error)
    else:
        log.error("run %s could not be compared", run.pk, exc_info=error)
        reason = f"{type(error).__name__}: {error}"
    first_line = " ".join(reason.splitlines()[0].split())[:REASON_MAX]
    _keep_faults(run, [Fault(0, FaultKind.FAILED, first_line)], 0)
