"""What a comparison finds becomes rows, a batch at a time; and what several runs know together.

A payment of ours that a file lacks may stand in the file of another day: near a midnight, or where
its date differs. Each run keeps which of ours it met so (`Elsewhere`), and the runs' findings are
held together when one is done, whichever was first.
"""

from collections import Counter

from django.db import connection
from django.db.models import F

from popolni.core.channel import Channel
from popolni.protocols.registry_layout import moment_of
from popolni.reconciliation.matching import look_up, look_up_corrections
from popolni.reconciliation.models import Difference, Elsewhere, Reconciliation
from popolni.reconciliation.rules import (
    Away,
    Days,
    Event,
    Finding,
    Kind,
    Ours,
    State,
    Tally,
    Unknown,
    judge,
)
from popolni.topups import adjustments

BATCH = 1_000
DIFFERENCES_MAX = 100_000
"""Kept of a run; beyond that they are only counted: it is the wrong file, or the wrong layout."""
ELSEWHERE_MAX = 200_000


class Keeper:
    """Takes what a comparison finds. `counts` are all of them, also those that are not kept."""

    def __init__(
        self, run: Reconciliation, days: Days, tally: Tally, zones: dict[int, str]
    ) -> None:
        self.counts = Counter(dict.fromkeys(Kind, 0))
        self._run, self._days, self._tally, self._zones = run, days, tally, zones
        self._channel = Channel(run.channel)
        self._unknown: list[Unknown] = []
        self._differences: list[Difference] = []
        self._away: list[Ours] = []
        self._kept = self._kept_away = 0

    def add(self, event: Event) -> None:
        """Keeps it, at the latest with `flush`."""
        if isinstance(event, Unknown):
            self._unknown.append(event)
            if len(self._unknown) >= BATCH:
                self._look_up()
        elif isinstance(event, Away):
            self._away.append(event.ours)
            if len(self._away) >= BATCH:
                self._write_away()
        else:
            self._add(event)

    def flush(self) -> None:
        """Writes what is not written yet."""
        self._look_up()
        self._write_away()
        self._write()

    def _add(self, finding: Finding) -> None:
        if finding.edge_day is None:
            self.counts[finding.kind] += 1
        if self._kept >= DIFFERENCES_MAX:
            return
        self._kept += 1
        self._differences.append(_row(self._run, finding, has_times=self._days.has_times))
        if len(self._differences) >= BATCH:
            self._write()

    def _look_up(self) -> None:
        """Asks the log for what was not among the days' top-ups, and for what corrects others."""
        batch, self._unknown = self._unknown, []
        agent_id = self._run.agent_id
        names = [one.theirs.reference for one in batch if one.ours is None]
        found = look_up(agent_id, self._channel, names, self._zones) if names else {}
        found |= {one.theirs.reference: one.ours for one in batch if one.ours is not None}
        gone = [entry for entry in found.values() if entry.state is State.REVERSED]
        if gone:
            found |= look_up_corrections(gone, self._zones)
        for unknown in batch:
            line = unknown.theirs
            entry = found.get(line.reference)
            if entry is None:
                self._add(Finding(Kind.ONLY_THEIRS, line, None))
            elif entry.state is State.REVERSED:
                self._add(Finding(Kind.ONLY_THEIRS, line, entry, entry.state.value))
            else:
                for event in judge(line, entry, self._days, self._tally):
                    self.add(event)

    def _write(self) -> None:
        Difference.objects.bulk_create(self._differences)
        self._differences = []

    def _write_away(self) -> None:
        room = max(0, ELSEWHERE_MAX - self._kept_away)
        rows = [
            Elsewhere(run=self._run, book=entry.book, seq=entry.seq) for entry in self._away[:room]
        ]
        self._kept_away += len(rows)
        Elsewhere.objects.bulk_create(rows, ignore_conflicts=True)
        self._away = []


def _row(run: Reconciliation, finding: Finding, *, has_times: bool) -> Difference:
    row = Difference(run=run, kind=finding.kind.value, why=finding.why)
    line, entry = finding.theirs, finding.ours
    if line is not None:
        row.reference, row.line = line.reference, line.line
        row.their_number, row.their_minor = line.number, line.amount_minor
        row.their_at = _moment(line.at, has_times=has_times)
    if entry is not None:
        row.reference, row.book, row.seq = line.reference if line else entry.reference, *entry[4:6]
        if entry.state is not State.REFUSED:  # a memo has no sum
            row.our_number, row.our_minor = entry.number, entry.amount_minor
            row.our_at = _moment(entry.at, has_times=True)
    if finding.edge_day is not None:
        row.edge_day, row.state = finding.edge_day, Difference.State.EDGE
    return row


def _moment(seconds: int | None, *, has_times: bool) -> str:
    if seconds is None:
        return ""
    moment = moment_of(seconds)
    return moment.isoformat() if has_times else moment.date().isoformat()


# What several runs know together

# What only we have and another run met, or what staff posted in the place of what was missing.
_IS_FOUND = """
        run.id = d.run_id
        and run.agent_id = %(agent)s
        and run.channel = %(channel)s
        and run.state = 'done'
        and d.kind = 'only_ours'
        and d.state in ('open', 'edge')
        and (
            exists (
                select from popolni_elsewhere as met
                join popolni_reconciliation as other on other.id = met.run_id
                where
                    met.book = d.book
                    and met.seq = d.seq
                    and other.state = 'done'
                    and other.id <> d.run_id
            )
            or exists (
                select from popolni_adjustment as posted
                where
                    posted.book = d.book
                    and posted.seq = d.seq
                    and posted.kind in ('top_up', 'top_up_correction')
            )
        )
"""
# Nothing is asked about these until it is settled (as `actions` locks them).
_LOCK_FOUND = f"""
    select from popolni_difference as d
    join popolni_reconciliation as run on run.id = d.run_id
    where {_IS_FOUND}
    order by d.id
    for no key update of d
"""
# Its reversal must not be approved any more.
_NOT_WANTED = f"""
    select distinct asked.id
    from popolni_difference as d
    join popolni_reconciliation as run on run.id = d.run_id
    join popolni_adjustment as asked on asked.id = d.adjustment_id
    where {_IS_FOUND} and asked.status = 'waiting'
    order by asked.id
"""  # noqa: S608  # constants only
_FOUND = f"""
    update popolni_difference as d set state = 'found'
    from popolni_reconciliation as run
    where
        {_IS_FOUND}
        and not exists (
            select from popolni_adjustment as asked
            where asked.id = d.adjustment_id and asked.status in ('waiting', 'posted')
        )
    returning d.run_id, d.edge_day is null
"""  # noqa: S608  # constants only
# At an edge, and the other day's registry is there: it is in neither.
_OPENED = """
    update popolni_difference as d set state = 'open', edge_day = null
    from popolni_reconciliation as run
    where
        run.id = d.run_id
        and run.agent_id = %(agent)s
        and run.channel = %(channel)s
        and run.state = 'done'
        and d.state = 'edge'
        and exists (
            select from popolni_reconciliation as other
            where
                other.agent_id = run.agent_id
                and other.channel = run.channel
                and other.state = 'done'
                and d.edge_day between other.first_day and other.last_day
        )
    returning d.run_id
"""


def settle_edges(run: Reconciliation) -> None:
    """Holds this run, which is done, and the others of the agent's channel together.

    To be called in a transaction in which no other run of theirs ends.
    """
    names: dict[str, int | str] = {"agent": run.agent_id, "channel": run.channel}
    counts: Counter[int] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_FOUND, names)
        cursor.execute(_NOT_WANTED, names)
        for (pk,) in cursor.fetchall():
            adjustments.withdraw(pk)  # one that is approved right now was faster, and stays so
        cursor.execute(_FOUND, names)
        counts.subtract(run_id for run_id, was_counted in cursor.fetchall() if was_counted)
        cursor.execute(_OPENED, names)
        counts.update(run_id for (run_id,) in cursor.fetchall())
    for run_id, change in counts.items():
        if change:
            rows = Reconciliation.objects.filter(pk=run_id)
            rows.update(only_ours=F("only_ours") + change)
