"""Random histories, with a crash at any statement: the ledger is that of one undisturbed run.

And a worker that is killed in the middle of it, as a process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from unittest import mock

import django.db
import psycopg
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.errors import LedgerError
from popolni.ledger.model import Unit
from popolni.ledger.statements import read_log
from popolni.readers.frame import Failed, read_all
from popolni.readers.renewals import READER
from popolni.subscribers.models import Number, RenewalProgress, Subscription
from popolni.subscribers.renewals.changes import (
    change_plan,
    queue_plan,
    set_renewed,
    unqueue_plan,
)
from popolni.subscribers.service import block, unblock
from tests.conftest import SOURCE
from tests.subscribers.renewals.support import (
    MONEY,
    SOON,
    current,
    on_plan,
    renew,
    top_up,
    utc,
)
from tests.subscribers.support import (
    faults_of,
    left,
    log,
    new_branch,
    new_number,
    new_operator,
    new_plan,
)


class Crash(BaseException):
    """The process is gone, as far as the database can tell; no program catches it."""


class Act(NamedTuple):
    """Something that happens to one of the numbers, after so long; `crash_at`: at which statement.

    None: nothing crashes.
    """

    what: str
    number: int
    amount: int
    later: timedelta
    crash_at: int | None


NUMBERS = 3
WHAT = [
    *("top up", "top up", "look", "look", "look"),
    *("queue", "unqueue", "change", "switch", "block"),
]
acts = st.builds(
    Act,
    st.sampled_from(WHAT),
    st.integers(0, NUMBERS - 1),
    st.integers(0, 2),
    st.sampled_from([timedelta(hours=1), timedelta(days=1), timedelta(days=9), timedelta(days=70)]),
    st.none() | st.integers(2, 29) | st.integers(-5, -2),
)


@contextmanager
def crashing(at: int | None) -> Iterator[None]:
    """The n-th statement or COMMIT from now on is the last; `at` is 2 n, or 2 n + 1.

    An odd one is not sent any more. An even one is done, and nobody hears the answer. Or, of a
    negative one, only COMMITs count.
    """
    seen = 0
    last, is_lost = divmod(abs(at or 0), 2)
    is_of_commits = at is not None and at < 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen != last:
                return real(*args, **options)
            if not is_lost:
                real(*args, **options)
            raw = connection.connection
            assert raw is not None
            raw.close()  # the server hears it, and rolls back what is not committed
            raise Crash

        return call

    execute = psycopg.Cursor.execute
    with (
        mock.patch.object(
            psycopg.Cursor, "execute", execute if is_of_commits else counted(execute)
        ),
        mock.patch.object(psycopg.Connection, "commit", counted(psycopg.Connection.commit)),
    ):
        try:
            yield
        finally:
            if at is not None and seen >= last:
                wrapper = django.db.connections["default"]
                if wrapper.connection is not None:
                    wrapper.connection.close()
                del django.db.connections["default"]  # with all that Django knows of it


class World:
    """A branch with numbers, the plans they may be on, and a clock."""

    def __init__(self) -> None:
        self.branch: Branch = new_branch(new_operator())
        self.now = SOON
        self.is_crashing = False
        self.plans = _plans()
        self.numbers: list[Number] = []
        for plan in self.plans:
            number, _ = on_plan(self.branch, version=plan, at=utc(2026, 1, 31, 12))
            self.numbers.append(number)
        self.look()

    def live(self, history: list[Act], *, with_crashes: bool) -> None:
        with mock.patch("django.utils.timezone.now", self.clock):
            for act in history:
                self.now += act.later
                self.once(lambda: self.do(act), act.crash_at if with_crashes else None)  # noqa: B023  # called now
                self.once(self.look, act.crash_at if with_crashes else None)

    def clock(self) -> datetime:
        return self.now

    def once(self, action: Callable[[], object], crash_at: int | None) -> None:
        """Does it; after a crash in the middle of it, again, on another connection."""
        try:
            with crashing(crash_at):
                action()
        except (Crash, Failed, LedgerError, django.db.Error, psycopg.Error):
            if crash_at is None:
                raise
            action()

    def do(self, act: Act) -> None:
        number, plan = self.numbers[act.number], self.plans[act.amount]
        try:
            match act.what:
                case "top up":
                    _top_up_once(number, (100_00, 250_00, 700_00)[act.amount], self.now)
                case "queue":
                    queue_plan(number, plan, by=None)
                case "unqueue":
                    unqueue_plan(number, by=None)
                case "change":
                    change_plan(number, plan, by=None, at=self.now)
                case "switch":
                    set_renewed(number, is_renewed=act.amount > 0, by=None)
                case "block":
                    (block if act.amount == 0 else unblock)(number)
        except UserError:
            pass  # refused, and nothing changed

    def look(self) -> None:
        """As workers do, until there is nothing left."""
        read_all(READER, self.branch.book)
        renew(self.branch, self.now, batch=2)

    def ledger(self) -> list[tuple[object, ...]]:
        """The log, with numbers by their place: what it holds must not depend on crashes."""
        places = {number.pk: place for place, number in enumerate(self.numbers)}

        def place(account: int) -> object:
            subject = account % (SUBJECT_MAX + 1)
            return Kind.of(account), places.get(subject, subject)

        return [
            (place(e.debit_account), place(e.credit_account), e.amount, e.code, e.flags)
            for e in log(self.branch)
        ]

    def rows(self) -> list[tuple[object, ...]]:
        names = {plan.pk: place for place, plan in enumerate(self.plans)}
        columns = ("status", "is_renewed", "started_at", "anchored_at", "period_starts_at",
                   "period_ends_at", "ended_at")  # fmt: skip
        found: list[tuple[object, ...]] = []
        for number in self.numbers:
            rows = Subscription.objects.filter(number=number).order_by("pk")
            found += [
                (names[row.version_id], names.get(row.next_version_id or 0),
                 *(getattr(row, name) for name in columns))
                for row in rows
            ]  # fmt: skip
            ends = number.allowances.order_by("unit").values_list("unit", "granted", "ends_at")
            found += list(ends)
        progress = RenewalProgress.objects.get(book=self.branch.book)
        return [*found, (progress.renewed, progress.lapsed, progress.resumed)]


_cached: list[PlanVersion] = []


def _plans() -> list[PlanVersion]:
    """A month, a day, and one for nothing: the same for all worlds."""
    if not _cached:
        _cached.extend([
            new_plan(price_minor=300_00),
            new_plan(price_minor=20_00, unit=PeriodUnit.DAY, allowances={Unit.BYTE: 500}),
            new_plan(price_minor=0, allowances={Unit.MESSAGE: 5}),
        ])  # fmt: skip
    return _cached


def _top_up_once(number: Number, amount_minor: int, at: datetime) -> None:
    """With the payer's identifier, so that it may be asked for twice."""
    known = [e for e in log(number.branch) if e.created_at == at and e.code == Code.TOP_UP_WEB]
    if not known:
        top_up(number, amount_minor, at)


@pytest.mark.timeout(3600)
@settings(max_examples=max(5, settings().max_examples // 200))  # seconds each
@given(history=st.lists(acts, min_size=3, max_size=9))
def test_a_crash_changes_nothing(database_url: str, history: list[Act]) -> None:
    calm, wild = World(), World()
    calm.live(history, with_crashes=False)
    wild.live(history, with_crashes=True)
    assert wild.ledger() == calm.ledger()
    assert wild.rows() == calm.rows()
    assert faults_of(database_url, wild.branch.book) == []
    for number in calm.numbers:
        found = current(number)
        assert found.status == "lapsed" or found.period_ends_at > calm.now


# A worker that is killed

COUNT = 600
RUN = """
import django
django.setup()
from datetime import datetime
from popolni.subscribers.renewals.service import run_due
print(run_due(datetime.fromisoformat("{now}"), 10**6, books=[{book}], batch=20), flush=True)
"""


def worker(url: str, branch: Branch, now: datetime) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "PYTHONPATH": str(SOURCE), "POPOLNI_DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "popolni.settings",
    }  # fmt: skip
    code = RUN.format(now=now.isoformat(), book=branch.book)
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def renewed(branch: Branch) -> int:
    found = Subscription.objects.filter(number__branch=branch, period_ends_at__gt=END)
    return found.count()


END = utc(2026, 2, 28, 12)


@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_repeats_nothing(branch: Branch, database_url: str) -> None:
    version = new_plan(branch.operator)
    _many(branch, version)
    kills = 0
    for _ in range(12):
        process = worker(database_url, branch, END)
        before, deadline = renewed(branch), time.monotonic() + 60
        while renewed(branch) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.02 * (kills % 4))  # at one place or another of a batch
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if renewed(branch) == COUNT:
            break
    assert kills >= 3
    assert worker(database_url, branch, END).wait() + 1 > 0
    numbers = list(Number.objects.filter(branch=branch))
    assert renewed(branch) == len(numbers) == COUNT
    charges = [e.debit_account for e in _charges(branch)]
    assert sorted(charges) == sorted(MONEY.account_id(n.number) for n in numbers)
    assert {left(number, MONEY) for number in numbers[:50]} == {700_00}
    progress = RenewalProgress.objects.get(book=branch.book)
    assert (progress.renewed, progress.lapsed) == (COUNT, 0)


def _charges(branch: Branch) -> list[Any]:
    return [e for e in run(read_log(branch.book, 0, 100_000)) if e.code == Code.PLAN_CHARGE]


def _many(branch: Branch, version: PlanVersion) -> None:
    """Numbers whose period ends at the same moment, each with the money for three."""
    for _ in range(COUNT):
        number = new_number(branch, 1_000_00)
        Subscription.objects.create(
            number=number, version=version, started_at=utc(2026, 1, 31, 12),
            anchored_at=utc(2026, 1, 31, 12), period_starts_at=utc(2026, 1, 31, 12),
            period_ends_at=END,
        )  # fmt: skip
