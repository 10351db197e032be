"""What is known of numbers before a top-up: read from real books, and held against the log."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.catalog.operators.rules import NumberStatus
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import register_arrays, run
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from popolni.ledger.statements import open_accounts, read_log
from popolni.subscribers.models import Number
from popolni.topups.facts import (
    BookMonth,
    NumberFacts,
    month_of,
    read_facts,
    read_first_seqs,
    read_outlet_sums,
)
from popolni.topups.rules import reversal_of
from tests.agents.support import new_branch, new_number
from tests.ledger.support import post_at

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)  # 14:30 in Yekaterinburg
TODAY = datetime(2026, 3, 19, 19, tzinfo=UTC)  # when its day began, and its month:
MONTH = datetime(2026, 2, 28, 19, tzinfo=UTC)
DAY, TINY = timedelta(days=1), timedelta(microseconds=1)

_names = count(1)


class Place:
    """A branch with a book of its own, and a number in it."""

    def __init__(self, zone: str = "Asia/Yekaterinburg") -> None:
        self.branch = new_branch(time_zone=zone)
        self.row = new_number(self.branch)

    @property
    def money(self) -> int:
        return Kind.SUBSCRIBER_MONEY.account_id(self.row.number)

    def post(  # noqa: PLR0917
        self,
        at: datetime,
        amount: int,
        code: int = Code.TOP_UP_OSMP,
        flags: int = 0,
        pending_id: bytes | None = None,
        timeout_s: int = 0,
    ) -> LogEntry:
        id_ = transfer_id("facts", next(_names))
        bank = Kind.BANK.account_id()
        transfer = Transfer(
            id_, bank, self.money, amount, code, flags, timeout_s=timeout_s, pending_id=pending_id
        )
        return self._posted(transfer, at)

    def reverse(self, entry: LogEntry, at: datetime) -> LogEntry:
        return self._posted(reversal_of(self.branch.book, entry), at)

    def spend(self, at: datetime, amount: int, code: int) -> None:
        id_ = transfer_id("facts", next(_names))
        self._posted(Transfer(id_, self.money, Kind.BANK.account_id(), amount, code), at)

    def _posted(self, transfer: Transfer, at: datetime) -> LogEntry:
        (posted,) = run(post_at(self.branch.book, [transfer], at))
        assert posted.outcome == "created"
        return self.log[posted.seq - 1]

    @property
    def log(self) -> list[LogEntry]:
        return run(read_log(self.branch.book, 0, 10_000))

    def month(self, now: datetime = NOW) -> BookMonth:
        day, month = month_of(ZoneInfo(self.branch.time_zone), now)
        seqs = run(read_first_seqs([(self.branch.book, month)]))
        return BookMonth(self.branch.pk, self.branch.book, day, month, seqs[self.branch.book])

    def sums(self, now: datetime = NOW) -> tuple[int, int]:
        """Of the day, and of the month."""
        facts = run(read_facts([self.row.number], [self.month(now)]))[self.row.number]
        return facts.spent_today_minor, facts.spent_month_minor


@pytest.fixture
def place(database_url: str) -> Place:
    assert database_url
    return Place()


@pytest.mark.parametrize(
    ("zone", "now", "day", "month"),
    [
        ("Europe/Moscow", "2026-03-20T09:30", "2026-03-19T21:00", "2026-02-28T21:00"),
        ("Europe/Moscow", "2026-02-28T20:59", "2026-02-27T21:00", "2026-01-31T21:00"),
        ("Europe/Moscow", "2026-02-28T21:00", "2026-02-28T21:00", "2026-02-28T21:00"),
        ("Asia/Kamchatka", "2026-02-28T12:00", "2026-02-28T12:00", "2026-02-28T12:00"),
        ("Asia/Kamchatka", "2026-02-28T11:59", "2026-02-27T12:00", "2026-01-31T12:00"),
        ("Europe/Kaliningrad", "2026-01-01T00:00", "2025-12-31T22:00", "2025-12-31T22:00"),
        # a month with a change of the clocks in it, and a day
        ("Europe/Berlin", "2026-03-30T10:00", "2026-03-29T22:00", "2026-02-28T23:00"),
        ("Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", "2026-02-28T23:00"),
    ],
)
def test_when_a_day_and_a_month_began(zone: str, now: str, day: str, month: str) -> None:
    began = month_of(ZoneInfo(zone), datetime.fromisoformat(f"{now}+00:00"))
    assert [at.astimezone(UTC).isoformat()[:16] for at in began] == [day, month]


def test_whose_a_number_is(place: Place) -> None:
    other = Place("Europe/Moscow")
    for row, status in ((place.row, "active"), (other.row, "closed")):
        Number.objects.filter(pk=row.pk).update(status=status)
    blocked = new_number(place.branch)
    Number.objects.filter(pk=blocked.pk).update(status="blocked")
    place.post(NOW, 5_00)
    mine, others = place.month(), other.month()
    numbers = [place.row.number, other.row.number, blocked.number, 79999999999, 0, -1, 2**62]
    found = {
        place.row.number: NumberFacts(place.branch.pk, NumberStatus.ACTIVE, 5_00, 5_00),
        blocked.number: NumberFacts(place.branch.pk, NumberStatus.BLOCKED, 0, 0),
        other.row.number: NumberFacts(other.branch.pk, NumberStatus.CLOSED, 0, 0),
    }
    assert run(read_facts(numbers, [others, mine])) == found
    assert run(read_facts(numbers * 3, [mine, others])) == found
    assert run(read_facts(numbers, [others])) == {
        other.row.number: found[other.row.number]  # a branch that is not asked about is not ours
    }
    assert run(read_facts(numbers, [])) == run(read_facts([], [mine])) == {}


def test_the_sums_of_the_day_and_of_the_month(place: Place) -> None:
    """By the branch's clock; every channel counts, and nothing but top-ups does."""
    place.post(MONTH - TINY, 1)
    place.post(MONTH, 10, Code.TOP_UP_COUNTER)
    place.post(TODAY - TINY, 100, Code.TOP_UP_WEB)
    place.post(TODAY, 1_000, Code.TOP_UP_KIOSK)
    for code in (Code.OPENING_BALANCE, Code.BALANCE_CREDIT, Code.BONUS):
        place.post(NOW, 7, code)
    place.spend(NOW, 3, Code.PLAN_CHARGE)
    place.spend(NOW, 3, Code.BALANCE_DEBIT)
    place.post(NOW, 10_000, Code.TOP_UP_API)
    place.post(NOW, 100_000, Code.TOP_UP_TILL)
    assert place.sums() == (111_000, 111_110)
    assert place.sums(TODAY + DAY) == (0, 111_110)
    assert place.sums(NOW + 20 * DAY) == (0, 0)
    assert place.sums(MONTH - TINY) == (111_111, 111_111)  # nothing has an end


def test_what_was_reversed_is_not_in_the_sums(place: Place) -> None:
    """Only what is in them: who takes back a sum of yesterday has no more of today for it."""
    last_month = place.post(MONTH - TINY, 1)
    earlier = place.post(MONTH, 10)
    today = place.post(TODAY, 100)
    place.post(NOW, 1_000)
    assert place.sums() == (1_100, 1_110)
    place.reverse(earlier, NOW)
    assert place.sums() == (1_100, 1_100)
    place.reverse(last_month, NOW)
    assert place.sums() == (1_100, 1_100)
    place.reverse(today, NOW + TINY)
    assert place.sums() == (1_000, 1_000)


@pytest.mark.parametrize(
    ("flags", "amount", "left"),
    [
        (None, 0, 1_000),
        (TransferFlags.POST_PENDING, 1_000, 1_000),
        (TransferFlags.POST_PENDING, 400, 400),
        (TransferFlags.VOID_PENDING, 1_000, 0),
    ],
)
def test_what_became_of_a_pending_one(
    place: Place, flags: TransferFlags | None, amount: int, left: int
) -> None:
    place.post(TODAY - DAY, 20)
    pending = place.post(TODAY, 1_000, flags=TransferFlags.PENDING)
    assert place.sums() == (1_000, 1_020)
    if flags is not None:
        place.post(NOW, amount, flags=flags, pending_id=pending.id)
    assert place.sums() == (left, left + 20)


def test_a_pending_one_that_timed_out(place: Place) -> None:
    place.post(TODAY, 1_000, flags=TransferFlags.PENDING, timeout_s=60)
    assert place.sums() == (1_000, 1_000)
    place.post(NOW, 1)  # with it the ledger releases what is due
    assert place.sums() == (1, 1)


def test_it_reads_no_more_of_the_log_than_is_the_numbers(
    place: Place, session_connection: psycopg.Connection
) -> None:
    """Also where one float has paid for all of it, so that every account looks like that one."""
    numbers = [place.row.number, *(new_number(place.branch).number for _ in range(39))]
    bank = Kind.BANK.account_id()
    money = [Kind.SUBSCRIBER_MONEY.account_id(number) for number in numbers]
    for _ in range(4):
        transfers = [
            Transfer(transfer_id("facts", next(_names)), bank, one, 1, Code.TOP_UP_OSMP)
            for one in money
            for _ in range(100)
        ]
        run(post_at(place.branch.book, transfers, NOW))
    register_arrays(session_connection)
    session_connection.execute("analyze ledger.transfer")
    statement = read_facts(numbers, [place.month()])
    plan = session_connection.execute(
        f"explain (analyze, format json) {statement.sql}",
        statement.arguments,
    ).fetchone()
    assert plan
    assert rows_met(plan[0][0]["Plan"]) < 3 * 4 * 100 * len(numbers)


def rows_met(node: dict[str, Any]) -> float:
    """How many rows the nodes of a plan saw, those included that they left out."""
    seen = sum(node.get(name, 0) for name in ("Actual Rows", *LEFT_OUT)) * node["Actual Loops"]
    return float(seen) + sum(map(rows_met, node.get("Plans", [])))


LEFT_OUT = ("Rows Removed by Filter", "Rows Removed by Index Recheck")


# Outlets


class Till(Place):
    """A branch with an agent's float, from which outlets are paid for."""

    AGENT = 4711

    def __init__(self, zone: str = "Asia/Yekaterinburg") -> None:
        super().__init__(zone)
        self.float = Kind.AGENT_FLOAT.account_id(self.AGENT)
        run(open_accounts(self.branch.book, [Kind.AGENT_FLOAT.account(self.AGENT)]))
        id_ = transfer_id("facts", next(_names))
        bank = Kind.BANK.account_id()
        self._posted(Transfer(id_, bank, self.float, 10**9, Code.FLOAT_FUNDING), EARLY)

    def take(
        self, outlet: int | None, amount: int, at: datetime = NOW, code: int = Code.TOP_UP_OSMP
    ) -> LogEntry:
        id_ = transfer_id("facts", next(_names))
        transfer = Transfer(id_, self.float, self.money, amount, code, reference_id=outlet)
        return self._posted(transfer, at)


EARLY = NOW - 50 * DAY


def outlet_sums(*tills: Till, of: int = Till.AGENT) -> dict[int, int]:
    months = [till.month() for till in tills]
    return run(read_outlet_sums({31: of, 32: of, 33: of}, months))


def test_what_outlets_took_today(database_url: str) -> None:
    assert database_url
    till, moscow = Till(), Till("Europe/Moscow")
    till.take(31, 1, TODAY - TINY)
    for entry in (till.take(31, 10, TODAY), till.take(32, 500, TODAY)):
        assert entry.reference_id
    moscow.take(31, 7_000, TODAY)  # there it is yesterday still
    till.take(31, 100, code=Code.TOP_UP_API)
    till.take(None, 1_000)
    till.post(NOW, 10_000)  # no agent's
    moscow.take(31, 20_000)
    assert outlet_sums(till) == {31: 110, 32: 500, 33: 0}
    assert outlet_sums(till, moscow) == {31: 20_110, 32: 500, 33: 0}
    assert outlet_sums(till, moscow, of=1) == {31: 0, 32: 0, 33: 0}
    assert outlet_sums() == {}
    assert run(read_outlet_sums({}, [till.month()])) == {}


def test_what_outlets_gave_back(database_url: str) -> None:
    assert database_url
    till = Till()
    yesterdays = till.take(31, 1, TODAY - TINY)
    first, second = till.take(31, 10, TODAY), till.take(32, 100, TODAY)
    till.take(31, 1_000)
    till.reverse(yesterdays, NOW)
    assert outlet_sums(till) == {31: 1_010, 32: 100, 33: 0}
    till.reverse(first, NOW)
    till.reverse(second, NOW)
    assert outlet_sums(till) == {31: 1_000, 32: 0, 33: 0}


def test_it_reads_no_more_of_the_log_than_is_the_outlets(
    database_url: str, session_connection: psycopg.Connection
) -> None:
    """A chain's float has paid for all of it."""
    assert database_url
    till = Till()
    for outlet in (None, *range(100, 140)):
        transfers = [
            Transfer(
                transfer_id("facts", next(_names)), till.float, till.money, 1, Code.TOP_UP_OSMP,
                reference_id=outlet,
            )
            for _ in range(100)
        ]  # fmt: skip
        run(post_at(till.branch.book, transfers, NOW))
    register_arrays(session_connection)
    session_connection.execute("analyze ledger.transfer")
    statement = read_outlet_sums({100: Till.AGENT, 101: Till.AGENT}, [till.month()])
    plan = session_connection.execute(
        f"explain (analyze, format json) {statement.sql}",
        statement.arguments,
    ).fetchone()
    assert plan
    assert rows_met(plan[0][0]["Plan"]) < 3 * 4 * 100 * 2


# Against the log


MOMENTS = st.integers(-40 * 24, 0).map(lambda hours: NOW + timedelta(hours=hours))
EVENTS = st.lists(
    st.tuples(
        MOMENTS,
        st.integers(1, 1_000),
        st.sampled_from(["top-up", "top-up", "other", "reversal", "pending", "post", "void"]),
        st.integers(0, 100),
    ),
    max_size=12,
)


def expected_sum(log: list[LogEntry], account: int, since: datetime) -> int:
    """By the plainest of all ways."""
    by_pending = {entry.pending_id: entry for entry in log if entry.pending_id}
    reversed_seqs = {entry.reference_id for entry in log if entry.code == Code.TOP_UP_REVERSAL}
    total = 0
    for entry in log:
        is_top_up = 11 <= entry.code <= 16 and entry.credit_account == account
        if not is_top_up or entry.pending_id or entry.created_at < since:
            continue
        end = by_pending.get(entry.id)
        if end:
            total += end.amount if end.flags & TransferFlags.POST_PENDING else 0
        elif entry.seq not in reversed_seqs:
            total += entry.amount
    return total


@settings(max_examples=60)
@given(EVENTS)
def test_the_sums_are_those_of_the_log(
    database_url: str, events: list[tuple[datetime, int, str, int]]
) -> None:
    assert database_url
    place = Place()
    done: list[LogEntry] = []
    pending: list[LogEntry] = []
    for at, amount, what, which in sorted(events, key=lambda event: event[0]):
        if what in {"top-up", "other"}:
            code = Code.TOP_UP_OSMP if what == "top-up" else Code.BALANCE_CREDIT
            entry = place.post(at, amount, code)
            done += [entry] if what == "top-up" else []
        elif what == "pending":
            pending.append(place.post(at, amount, flags=TransferFlags.PENDING))
        elif what == "reversal" and done:
            place.reverse(done.pop(which % len(done)), at)
        elif what in {"post", "void"} and pending:
            one = pending.pop(which % len(pending))
            is_post = what == "post"
            flags = TransferFlags.POST_PENDING if is_post else TransferFlags.VOID_PENDING
            part = 1 + which % one.amount if is_post else one.amount
            place.post(at, part, flags=flags, pending_id=one.id)
    assert place.sums() == (
        expected_sum(place.log, place.money, TODAY),
        expected_sum(place.log, place.money, MONTH),
    )


@settings(max_examples=60)
@given(st.lists(MOMENTS, max_size=20), st.lists(MOMENTS, min_size=1, max_size=8))
def test_where_in_a_log_a_moment_is(
    database_url: str, posts: list[datetime], moments: list[datetime]
) -> None:
    """Of the first transfer at that moment or later; if there is none, of the next one."""
    assert database_url
    place = Place()
    for at in sorted(posts):
        place.post(at, 1)
    log = place.log
    for moment in [*moments, *posts]:
        for at in (moment - TINY, moment, moment + TINY):
            first = next((e.seq for e in log if e.created_at >= at), len(log) + 1)
            assert run(read_first_seqs([(place.branch.book, at)])) == {place.branch.book: first}


def test_moments_of_several_books_and_of_none(place: Place) -> None:
    other = Place()
    place.post(NOW - DAY, 1)
    place.post(NOW, 1)
    asked = [(place.branch.book, NOW), (other.branch.book, NOW), (999_999, NOW)]
    assert run(read_first_seqs(asked)) == {place.branch.book: 2, other.branch.book: 1, 999_999: 1}
    assert run(read_first_seqs([])) == {}
