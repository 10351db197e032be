"""All of it together: top-ups, bonuses, usage, renewals, reversals, plans that change.

Whatever crashes and wherever, the ledger is that of one undisturbed run.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple
from unittest import mock

import django.db
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.catalog.plans.models import PlanVersion
from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.errors import LedgerError
from popolni.ledger.model import Unit
from popolni.ledger.statements import post
from popolni.readers import renewals
from popolni.readers.frame import Failed, read_all
from popolni.readers.promotions import granting
from popolni.subscribers.models import Allowance, Number, Subscription
from popolni.subscribers.renewals.changes import change_plan, queue_plan, set_renewed
from popolni.subscribers.usage.rules import Event
from popolni.subscribers.usage.service import charge
from popolni.topups.rules import reversal_of
from tests.readers.promotions.support import World as Promoting
from tests.subscribers.renewals.support import SOON, on_plan, renew, top_up, utc
from tests.subscribers.renewals.test_crashes import Crash, crashing
from tests.subscribers.support import faults_of, log, new_branch, new_operator
from tests.subscribers.usage.support import new_plan

NUMBERS = 3
SUMS = (100_00, 250_00, 700_00)
USES = ((Unit.BYTE, 40_000), (Unit.SECOND, 200), (Unit.MESSAGE, 3))
WHAT = [
    *("top up", "top up", "top up", "use", "use", "reverse", "wait"),
    *("queue", "change", "switch"),
]


class Act(NamedTuple):
    """What happens to one of the numbers, after so long; `crash_at`: at which statement, if any."""

    what: str
    number: int
    amount: int
    later: timedelta
    crash_at: int | None


acts = st.builds(
    Act,
    st.sampled_from(WHAT),
    st.integers(0, NUMBERS - 1),
    st.integers(0, 2),
    st.sampled_from([timedelta(hours=1), timedelta(days=1), timedelta(days=9), timedelta(days=40)]),
    st.none() | st.integers(2, 81) | st.sampled_from([-2, -2, -4, -6]),
)
_lives = count(1)


class Life:
    """A branch with promotions, numbers on plans, and a clock."""

    def __init__(self) -> None:
        operator = new_operator()
        self.name = next(_lives)
        self.branch = new_branch(operator)
        self.now = SOON
        self.plans = _plans()
        self.numbers = [
            on_plan(self.branch, version=plan, at=utc(2026, 1, 31, 12))[0] for plan in self.plans
        ]
        self._promote()
        self.look()

    def _promote(self) -> None:
        """Ten per cent as money, twice a number; bytes for a large sum; both budgets are small."""
        maker = Promoting.__new__(Promoting)
        maker.operator, maker.branch, maker.book = (
            self.branch.operator, self.branch, self.branch.book,
        )  # fmt: skip
        terms: dict[str, Any] = {"starts_at": utc(2026, 1, 1), "budget": None}
        percent: dict[str, Any] = {
            "gives": "percent", "value": 10, "valid_days": None, "amount_min_minor": 1,
        }  # fmt: skip
        given = maker.promote(**terms, **percent, per_number_max=2)
        maker.fund(given, 150_00, at=self.now)
        given = maker.promote(**terms, gives="bytes", value=50_000, amount_min_minor=500_00)
        maker.fund(given, 120_000, at=self.now)

    def live(self, history: list[Act], *, with_crashes: bool) -> None:
        with mock.patch("django.utils.timezone.now", self.clock):
            for place, act in enumerate(history):
                self.now += act.later
                crash_at = act.crash_at if with_crashes else None
                _once(self.deed(place, act), crash_at)
                _once(self.look, crash_at)

    def clock(self) -> datetime:
        return self.now

    def deed(self, place: int, act: Act) -> Callable[[], object]:
        """What the act does; asked for twice, it is the same."""
        number, plan, now = self.numbers[act.number], self.plans[act.amount], self.now
        entries = log(self.branch)
        match act.what:
            case "top up":
                return lambda: _top_up_once(number, SUMS[act.amount], now)
            case "use":
                unit, amount = USES[act.amount]
                event = Event(f"{self.name}-{place}", number.number, unit, amount, now)
                return lambda: charge([event], now=now)
            case "reverse":
                money = Kind.SUBSCRIBER_MONEY.account_id(number.number)
                paid = [e for e in entries if e.code == Code.TOP_UP_WEB]
                last = [e for e in paid if e.credit_account == money][-1:]
                transfers = [reversal_of(self.branch.book, entry) for entry in last]
                return lambda: run(post(self.branch.book, transfers, at=now))
            case "queue":
                return lambda: queue_plan(number, plan, by=None)
            case "change":
                return lambda: change_plan(number, plan, by=None, at=now)
            case "switch":
                return lambda: set_renewed(number, is_renewed=act.amount > 0, by=None)
            case _:
                return lambda: None

    def look(self) -> None:
        """As a worker does, until there is nothing left."""
        read_all(granting.READER, self.branch.book)
        read_all(renewals.READER, self.branch.book)
        renew(self.branch, self.now, batch=2)

    def ledger(self) -> list[tuple[object, ...]]:
        """The log; whose an account is, is said by its place: it must not depend on crashes."""
        places: dict[int, object] = {number.pk: n for n, number in enumerate(self.numbers)}

        def place(account: int) -> object:
            subject = account % (SUBJECT_MAX + 1)
            return Kind.of(account), places.setdefault(subject, f"the {len(places)}th")

        return [
            (place(e.debit_account), place(e.credit_account), e.amount, e.code, e.flags)
            for e in log(self.branch)
        ]

    def rows(self) -> list[tuple[object, ...]]:
        names = {plan.pk: place for place, plan in enumerate(self.plans)}
        columns = ("status", "is_renewed", "started_at", "period_starts_at", "period_ends_at",
                   "ended_at")  # fmt: skip
        found: list[tuple[object, ...]] = []
        for number in self.numbers:
            found += [
                (names[row.version_id], *(getattr(row, name) for name in columns))
                for row in Subscription.objects.filter(number=number).order_by("pk")
            ]
            kept = Allowance.objects.filter(number=number).order_by("unit", "ends_at", "pk")
            found += list(kept.values_list("unit", "granted", "ends_at"))
        return found


def _once(action: Callable[[], object], crash_at: int | None) -> None:
    """Does it; after a crash in the middle of it, again, on another connection."""

    def done() -> None:
        with suppress(UserError):  # refused, and nothing changed
            action()

    try:
        with crashing(crash_at):
            done()
    except (Crash, Failed, LedgerError, django.db.Error, psycopg.Error):
        if crash_at is None:
            raise
        done()


_cached: list[PlanVersion] = []


def _plans() -> list[PlanVersion]:
    """Dear and cheap, with rates: the same in all lives."""
    if not _cached:
        _cached.extend(
            new_plan(price_minor=price, allowances={Unit.BYTE: 60_000, Unit.SECOND: 300})
            for price in (300_00, 120_00, 0)
        )
    return _cached


def _top_up_once(number: Number, amount_minor: int, at: datetime) -> None:
    """With the payer's identifier, so that it may be asked for twice."""
    money = Kind.SUBSCRIBER_MONEY.account_id(number.number)
    if not any(
        e.created_at == at and e.code == Code.TOP_UP_WEB and e.credit_account == money
        for e in log(number.branch)
    ):
        top_up(number, amount_minor, at)


@pytest.mark.timeout(3600)
@settings(max_examples=max(5, settings().max_examples // 200))  # seconds each
@given(history=st.lists(acts, min_size=4, max_size=9))
def test_a_crash_changes_nothing(database_url: str, history: list[Act]) -> None:
    calm, wild = Life(), Life()
    calm.live(history, with_crashes=False)
    wild.live(history, with_crashes=True)
    assert wild.ledger() == calm.ledger()
    assert wild.rows() == calm.rows()
    assert faults_of(database_url, wild.branch.book) == []
