"""The demo's data against the product's rules, by queries of their own."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import django.db
import psycopg
import pytest
from django.contrib.auth import hashers
from psycopg import sql

from popolni.agents.models import Agent, Contract, Outlet
from popolni.agents.roles import role_of
from popolni.agents.service import check_password, float_left
from popolni.agents.staff import User
from popolni.catalog.numbering.models import NumberingRange
from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.rules import PeriodUnit
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.rules import bonus_id
from popolni.catalog.promotions.service import budget_left
from popolni.core import mrz
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.language import Language
from popolni.core.method import Method
from popolni.core.refusal import Refusal
from popolni.embedded.demo_data import agents, catalogue, fill, habits, staff
from popolni.embedded.demo_data.branch import make_history
from popolni.embedded.demo_data.entries import BookHistory
from popolni.embedded.demo_data.month import Span
from popolni.embedded.demo_data.people import Person, make_people
from popolni.ledger.chart import TOP_UPS, Code
from popolni.ledger.client import run
from popolni.ledger.statements import read_log
from popolni.ledger.verify import Fault, verify
from popolni.readers.frame import read_all
from popolni.readers.renewals import READER
from popolni.settings import database
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.renewals.rules import Rhythm, period_at
from popolni.subscribers.renewals.telling import renewed_by
from popolni.subscribers.service import balance
from popolni.topups.preview import preview
from tests.conftest import SOURCE, migrated_database

NUMBERS = [
    *range(79160000001, 79160000101),
    *range(79260000001, 79260000101),
    *range(79030000001, 79030000101),
]
FILL = "import django; django.setup(); from popolni.embedded.demo_data import fill; fill(print)"
GIB = 2**30
TODAY = date(2026, 3, 2)

VIEWS = """
    create view top_up as
    select
        t.book, t.seq, t.code, t.amount, t.created_at at time zone b.time_zone as at,
        t.created_at, t.credit_account - 101000000000000000 as number, t.debit_account as payer,
        t.reference_id as outlet, t.reference, t.reference_at, b.operator_id, o.profile_id
    from ledger.transfer as t
    join popolni_branch as b using (book)
    join popolni_operator as o on o.id = b.operator_id
    where t.code between 11 and 16;
    create view outlet_top_up as
    select t.*, o.agent_id, o.min_minor, o.max_minor, o.day_max_minor
    from top_up as t
    join popolni_outlet as o on o.id = t.outlet
"""

Rows = list[tuple[Any, ...]]


# What is made, before anything is written


def history(seed: int, branch: int = 0) -> BookHistory:
    operator = catalogue.OPERATORS[0]
    languages = {person.number: person.language for person in people(seed)}
    end = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    span = Span(end - timedelta(days=catalogue.DAYS), end)
    return make_history(seed, operator, operator.branches[branch], languages, span)


def people(seed: int) -> list[Person]:
    return make_people(seed, iter(NUMBERS), TODAY)


def test_the_same_seed_gives_the_same_and_another_one_something_else() -> None:
    assert history(1) == history(1)
    assert people(1) == people(1)
    assert history(1).moments != history(2).moments
    assert people(1) != people(2)


@pytest.mark.parametrize("end", ["2024-03-01T00:00", "2025-01-01T23:59", "2026-11-30T21:10"])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_nothing_is_overdrawn_whatever_the_seed_and_the_day(seed: int, end: str) -> None:
    at = datetime.fromisoformat(end).replace(tzinfo=UTC)
    span = Span(at - timedelta(days=catalogue.DAYS), at)
    languages = {person.number: person.language for person in people(seed)}
    for operator in catalogue.OPERATORS:
        for branch in operator.branches:
            made = make_history(seed, operator, branch, languages, span)
            check_balances(made)
            times = [moment.at for moment in made.moments]
            assert times == sorted(times)
            assert span.start == times[0]
            assert times[-1] < span.end


def check_balances(made: BookHistory) -> None:
    """By replaying it: no account with a limit goes below zero, no amount is zero."""
    left: Counter[object] = Counter()
    for moment in made.moments:
        assert len(moment.entries) <= 1_000
        for entry in moment.entries:
            assert entry.amount > 0
            left[entry.credit] += entry.amount
            left[entry.debit] -= entry.amount
            if entry.debit.kind.value.flags:
                assert left[entry.debit] >= 0, (moment.at, entry)


def test_passports_are_of_specimen_form_and_their_zones_can_be_read() -> None:
    passports = [person.passport for person in people(1) if person.passport]
    numbers = [passport.number for passport in passports]
    assert len(set(numbers)) == len(numbers) > 150
    for passport in passports:
        if passport.country == "RUS":
            assert passport.number[:5] == "00000"
            assert len(passport.number) == 10
            continue
        zone = mrz.parse(passport.zone(), today=TODAY)
        assert zone.number == passport.number
        assert zone.number[:4] == "SPEC"
        assert (zone.name, zone.issuer) == (passport.name, passport.country)
        assert (zone.born_on, zone.expires_on) == (passport.birth, passport.expiry)


@pytest.mark.parametrize(
    ("digit", "language"),
    [(0, "zh"), (1, "ru"), (2, "en"), (3, "zh"), (4, "ru"), (5, "en"), (8, "en"), (9, "zh")],
)
def test_languages_rotate_by_the_last_digit(digit: int, language: str) -> None:
    found = {person.language for person in people(1) if person.number % 10 == digit}
    assert found == {Language(language)}


def test_every_channel_has_a_place_in_every_branch() -> None:
    for (channel, operator), agent in agents.BY_CHANNEL.items():
        if channel is Channel.API:
            continue
        for branch in next(row for row in catalogue.OPERATORS if row.code == operator).branches:
            cities = {row.city for row in agents.OUTLETS if row.agent == agent}
            assert cities & set(branch.cities), (agent, branch.code)


def test_outlets_are_inside_their_cities() -> None:
    assert len(agents.OUTLETS) == 30
    for row in agents.OUTLETS:
        box = agents.CITIES[row.city]
        assert box.south < float(row.latitude) < box.north, row
        assert box.west < float(row.longitude) < box.east, row
    assert len({(row.latitude, row.longitude) for row in agents.OUTLETS}) == 30


# What is written


def run_fill(url: str) -> None:
    start_fill(url).communicate()


def start_fill(url: str) -> "subprocess.Popen[str]":
    paths = {"PYTHONPATH": str(SOURCE), "POPOLNI_DATABASE_URL": url}
    environment = {**os.environ, **paths, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    command = [sys.executable, "-u", "-c", FILL]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


@contextmanager
def django_on(url: str) -> Iterator[None]:
    """Django's default database is this one, for as long as the block lasts."""
    default = django.db.connections.databases["default"]
    before = dict(default)
    django.db.connections.close_all()
    default.update(database(url))
    try:
        yield
    finally:
        django.db.connections.close_all()
        default.clear()
        default.update(before)


@pytest.fixture(scope="module")
def demo_url(server_url: str) -> Iterator[str]:
    """A database with the demo's data, which is also Django's."""
    with migrated_database(server_url) as url, django_on(url):
        started = time.monotonic()
        fill(print)
        print(f"filled in {time.monotonic() - started:.1f} s")
        with psycopg.connect(url) as connection:
            connection.execute(VIEWS)
        yield url


def ask(url: str, query: str, *arguments: object) -> Rows:
    with psycopg.connect(url) as connection:
        return connection.execute(query, arguments).fetchall()


def contents(url: str) -> dict[str, int]:
    """How many rows each table has."""
    tables = ask(
        url,
        "select schemaname, tablename from pg_tables"
        " where schemaname in ('public', 'ledger') order by 1, 2",
    )
    with psycopg.connect(url) as connection:
        counts = {}
        for schema, table in tables:
            query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
            row = connection.execute(query).fetchone()
            counts[f"{schema}.{table}"] = row[0] if row else 0
    return counts


def test_the_ledger_has_no_fault(demo_url: str) -> None:
    faults: list[Fault] = []
    report = verify(demo_url, on_fault=faults.append)
    assert faults == []
    assert report.books == 6
    assert 10_000 <= report.transfers <= 20_000


def test_the_second_time_it_only_looks(demo_url: str) -> None:
    before = contents(demo_url)
    heard: list[str] = []
    started = time.monotonic()
    fill(heard.append)
    print(f"looked in {time.monotonic() - started:.3f} s")
    assert contents(demo_url) == before
    assert heard == []


@pytest.mark.parametrize("written", [0, 2])
def test_what_a_killed_run_began_is_completed_and_nothing_doubled(
    demo_url: str, server_url: str, written: int
) -> None:
    with migrated_database(server_url) as url:
        killed = start_fill(url)
        while branches_written(url) < written or not ask(url, "select from popolni_agent limit 1"):
            assert killed.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert branches_written(url) < 6
        run_fill(url)
        whole = contents(url)
        run_fill(url)
        assert contents(url) == whole
        # Its month began minutes after the other one's, which may move a few events over its end.
        other = contents(demo_url)
        assert abs(whole["ledger.transfer"] - other["ledger.transfer"]) < 700
        for table in ("ledger.book", "public.popolni_number", "public.popolni_outlet"):
            assert whole[table] == other[table]
        assert verify(url, on_fault=print).faults == 0


def branches_written(url: str) -> int:
    return len(ask(url, "select distinct branch_id from popolni_number"))


def test_a_database_with_other_data_is_left_alone(server_url: str) -> None:
    with migrated_database(server_url) as url:
        with psycopg.connect(url) as connection:
            connection.execute("insert into ledger.book (book, currency) values (7, 'RUB')")
        before = contents(url)
        with django_on(url), pytest.raises(UserError, match="data of its own"):
            fill(print)
        assert contents(url) == before


@pytest.mark.usefixtures("demo_url")
def test_numbers_and_their_status() -> None:
    status = dict(Number.objects.values_list("number", "status"))
    special = {98: "blocked", 99: "closed"}
    assert status == {number: special.get(number % 100, "active") for number in NUMBERS}
    assert not Number.objects.filter(number=79169999999).exists()
    languages = dict(Number.objects.values_list("number", "subscriber__language"))
    assert languages == {number: ("zh", "ru", "en")[number % 10 % 3] for number in NUMBERS}


@pytest.mark.usefixtures("demo_url")
def test_a_number_is_of_the_branch_that_the_numbering_plan_says() -> None:
    ranges = list(NumberingRange.objects.select_related("carrier", "region").order_by("first"))
    assert all(one.last < other.first for one, other in pairwise(ranges))
    for number in Number.objects.select_related("branch"):
        (range_,) = [row for row in ranges if row.first <= number.number <= row.last]
        assert range_.carrier.operator_id == number.branch.operator_id
        assert number.branch in range_.region.branches.all()


@pytest.mark.usefixtures("demo_url")
@pytest.mark.parametrize("number", [79160000001, 79260000001, 79030000001])
def test_the_first_number_has_money_a_plan_and_bytes(number: int) -> None:
    found = balance(number)
    assert found.status == "active"
    assert found.plan is not None
    assert found.money_minor > 0
    assert sum(one.left for one in found.allowances if one.unit == "byte") > GIB // 10


def test_no_limit_is_ever_exceeded(demo_url: str) -> None:
    assert ask(demo_url, "select count(*) > 1000 from top_up") == [(True,)]
    for channel, code in TOP_UPS.items():
        outside = ask(
            demo_url,
            "select t.* from top_up as t"
            " left join popolni_channellimit as l on l.profile_id = t.profile_id and l.channel = %s"
            " where t.code = %s and t.amount between l.min_minor and l.max_minor is not true",
            channel.value,
            int(code),
        )
        assert outside == []
    in_a_day = ask(
        demo_url,
        "select t.number from top_up as t join popolni_complianceprofile as p on p.id = profile_id"
        " group by t.number, t.at::date, day_max_minor having sum(amount) > day_max_minor",
    )
    in_a_month = ask(
        demo_url,
        "select t.number from top_up as t join popolni_complianceprofile as p on p.id = profile_id"
        " group by t.number, date_trunc('month', t.at), month_max_minor"
        " having sum(amount) > month_max_minor",
    )
    assert (in_a_day, in_a_month) == ([], [])


def test_each_channel_is_used_in_each_branch_and_in_its_hours(demo_url: str) -> None:
    assert len(ask(demo_url, "select distinct book, code from top_up")) == 6 * len(Channel)
    names = {code: channel for channel, code in TOP_UPS.items()}
    hours: Counter[int] = Counter()
    for code, at in ask(demo_url, "select code, at from top_up"):
        assert at.hour in habits.opening_hours(names[code], at.weekday())
        hours[at.hour] += 1
    assert sum(hours[hour] for hour in range(17, 21)) > 3 * sum(hours[h] for h in range(1, 6))


def test_outlets_take_what_they_say(demo_url: str) -> None:
    for outlet in Outlet.objects.all():
        outlet.full_clean()
    used = ask(demo_url, "select count(distinct outlet) from outlet_top_up")
    assert used == [(len(agents.OUTLETS),)]
    outside = "select * from outlet_top_up where amount not between min_minor and max_minor"
    assert ask(demo_url, outside) == []
    too_much = (
        "select outlet from outlet_top_up group by outlet, at::date, day_max_minor"
        " having sum(amount) > day_max_minor"
    )
    assert ask(demo_url, too_much) == []
    anothers = "select * from outlet_top_up where agent_id + 201000000000000000 <> payer"
    assert ask(demo_url, anothers) == []


def test_top_ups_go_to_numbers_that_take_them_and_have_an_identifier(demo_url: str) -> None:
    wrong = ask(
        demo_url,
        "select t.* from top_up as t left join popolni_number as n using (number)"
        " where n.number is null or t.created_at < n.opened_at"
        " or (n.status <> 'active' and t.created_at >= n.status_since)"
        " or t.reference is null or t.reference_at not between"
        " t.created_at - interval '1 minute' and t.created_at",
    )
    assert wrong == []
    twice = "select reference from top_up group by payer, reference having count(*) > 1"
    assert ask(demo_url, twice) == []


def test_each_top_up_from_500_on_has_its_gigabyte(demo_url: str) -> None:
    givers = ask(demo_url, "select operator_id, id from popolni_promotion where gives = 'bytes'")
    promotions = {row[0]: row[1] for row in givers}
    top_ups = ask(demo_url, "select operator_id, book, seq, amount from top_up")
    due = {
        bonus_id(promotions[operator], book, seq)
        for operator, book, seq, amount in top_ups
        if amount >= 500_00
    }
    given = ask(
        demo_url,
        "select uuid_send(t.id), t.amount, a.granted from ledger.transfer as t"
        " left join popolni_allowance as a on a.account = t.credit_account"
        " where t.code = %s and t.credit_account / 1000000000000000 = 121",
        int(Code.BONUS),
    )
    assert {id_ for id_, _amount, _granted in given} == due
    assert len(given) == len(due) > 100
    assert {row[1:] for row in given} == {(GIB, GIB)}
    for budget in PromotionBudget.objects.select_related("promotion", "branch"):
        assert budget_left(budget) > 0


def test_plans_are_charged_as_they_cost_and_periods_are_right(demo_url: str) -> None:
    charges = ask(
        demo_url,
        "select t.debit_account - 101000000000000000, t.amount, v.price_minor"
        " from ledger.transfer as t left join popolni_subscription as s on s.id = t.reference_id"
        " left join popolni_planversion as v on v.id = s.version_id where t.code = %s",
        int(Code.PLAN_CHARGE),
    )
    assert all(amount == price for _number, amount, price in charges)
    assert len({number for number, _amount, _price in charges}) > 200
    now = datetime.now(UTC)
    lapsed = 0
    for one in Subscription.objects.select_related("version__plan", "number__branch"):
        assert one.version.plan.operator_id == one.number.branch.operator_id
        assert one.version.valid_from <= one.started_at
        assert one.version.valid_to is None or one.started_at < one.version.valid_to
        assert one.started_at <= one.period_starts_at < one.period_ends_at
        assert one.number.opened_at <= one.started_at
        assert one.number.status == "active"
        assert one.started_at <= one.anchored_at <= one.period_starts_at
        rhythm = Rhythm(
            PeriodUnit(one.version.period_unit),
            one.version.period_count,
            ZoneInfo(one.number.branch.time_zone),
        )
        period = period_at(one.period_starts_at, one.anchored_at, rhythm, one.period_starts_at)
        assert period == (one.period_starts_at, one.period_ends_at)
        if one.status == "lapsed":
            lapsed += 1
            assert one.period_ends_at < now
        else:
            assert one.period_ends_at > now - timedelta(hours=1)
    print(f"{lapsed} lapsed")
    assert 1 <= lapsed < 30
    versions = {(s.version.plan.code, s.version.version) for s in Subscription.objects.all()}
    assert {("mts-combo", 1), ("mts-combo", 2)} <= versions


def test_lapsed_plans_began_again_with_the_money(demo_url: str) -> None:
    """As the reader of renewals would have it, which finds nothing left to do."""
    begun = ask(
        demo_url,
        "select t.book, t.seq, t.reference, t.created_at from ledger.transfer as t"
        " where t.code = %s and t.reference is not null",
        int(Code.PLAN_CHARGE),
    )
    assert len(begun) > 10
    for book, _seq, receipt, created_at in begun:
        (credit,) = run(read_log(book, int(receipt.partition("-")[2]) - 1, 1))
        assert credit.created_at == created_at
        told = renewed_by(book, credit)
        assert told is not None
        assert told.until > created_at
    last = ask(demo_url, "select max(seq) from ledger.transfer group by book order by book")
    for book in Branch.objects.values_list("book", flat=True):
        read_all(READER, book)
    assert ask(demo_url, "select max(seq) from ledger.transfer group by book order by book") == last


def test_allowances_hold_no_more_than_was_granted(demo_url: str) -> None:
    rows = ask(
        demo_url,
        "select a.granted, a.ends_at, l.credits_posted - l.debits_posted"
        " from popolni_allowance as a join popolni_number as n on n.number = a.number_id"
        " join popolni_branch as b on b.id = n.branch_id"
        " left join ledger.account as l on l.book = b.book and l.id = a.account",
    )
    assert len(rows) > 500
    assert all(0 <= left <= granted for granted, _ends, left in rows)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert {left for _granted, ends, left in rows if ends < an_hour_ago} == {0}


@pytest.mark.usefixtures("demo_url")
def test_floats_and_who_funded_them() -> None:
    contracts = list(Contract.objects.select_related("branch", "agent"))
    left = float_left(contracts)
    low = {
        (one.agent.code, one.branch.code) for one in contracts if left[one.pk] < one.float_low_minor
    }
    assert low == agents.LOW_FLOATS
    terminal = [left[one.pk] for one in contracts if one.agent.code == "terminal"]
    assert len(terminal) == 6
    assert min(terminal) > 1_000_000_00


def test_adjustments_were_approved_by_another_person(demo_url: str) -> None:
    rows = ask(
        demo_url,
        "select a.kind, a.status, a.amount, a.asked_by_id, a.decided_by_id,"
        " b.approval_from_minor, u.username, t.amount, t.code, t.created_at - a.decided_at"
        " from popolni_adjustment as a join popolni_branch as b using (book)"
        " join popolni_user as u on u.id = a.asked_by_id"
        " left join ledger.transfer as t on t.book = a.book and t.seq = a.seq",
    )
    posted = [row for row in rows if row[1] == "posted"]
    waiting = [row for row in rows if row[1] == "waiting"]
    assert len(posted) + len(waiting) == len(rows)
    assert Counter(row[0] for row in waiting) == {"float_funding": 3, "budget_funding": 1}
    assert {row[6] for row in waiting} == {"finance"}
    for kind, _status, amount, asked, decided, approval_from, _who, sent, code, late in posted:
        needs = amount >= approval_from or kind == "budget_funding"
        assert (decided is not None) == needs
        assert decided != asked
        assert (sent, Code(code).name.lower()) == (amount, kind)
        assert late == timedelta(0)
    approved = Counter(row[0] for row in posted if row[4])
    assert {"float_funding", "balance_credit", "balance_debit", "budget_funding"} <= set(approved)
    corrections = [row for row in posted if row[0].startswith("balance")]
    assert any(row[4] is None for row in corrections)


def test_the_charts_have_all_top_ups(demo_url: str) -> None:
    counted = ask(
        demo_url,
        "select book, payer, hour, sum(top_ups), sum(amount_minor) from popolni_topuphour"
        " group by 1, 2, 3 order by 1, 2, 3",
    )
    logged = ask(
        demo_url,
        "select book, payer, date_trunc('hour', created_at), count(*), sum(amount)"
        " from top_up group by 1, 2, 3 order by 1, 2, 3",
    )
    assert counted == logged


@pytest.mark.usefixtures("demo_url")
def test_logins() -> None:
    for row in staff.STAFF:
        user = User.objects.get(username=row.login)
        assert hashers.check_password(f"{row.login}-demo", user.password)
        assert not hashers.check_password(row.login, user.password)
        assert role_of(user) == row.login
        assert not user.is_superuser
    assert set(User.objects.values_list("language", flat=True)) == {"ru", "en", "zh"}
    terminal = Agent.objects.get(code="terminal")
    assert check_password(terminal, "demo-terminal", datetime.now(UTC))
    assert not check_password(terminal, "demo", datetime.now(UTC))


@pytest.mark.usefixtures("demo_url")
@pytest.mark.parametrize(
    ("number", "method", "amount", "gives"),
    [
        (79160000002, Method.CARD_RUSSIAN, 500_00, [GIB]),
        (79260000100, Method.SBP, 499_99, []),
        (79030000051, Method.ALIPAY, 15_000_00, [GIB]),
    ],
)
def test_what_a_top_up_would_give(
    number: int, method: Method, amount: int, gives: list[int]
) -> None:
    found = preview(number, amount, channel=Channel.API, method=method)
    assert found.refusal is None
    assert [one.amount for one in found.bonuses] == gives


@pytest.mark.usefixtures("demo_url")
@pytest.mark.parametrize(
    ("number", "method", "amount", "refusal"),
    [
        (79160000002, Method.CARD_RUSSIAN, 15_000_01, Refusal.AMOUNT_TOO_LARGE),
        (79160000002, Method.CARD_RUSSIAN, 99, Refusal.AMOUNT_TOO_SMALL),
        (79160000002, Method.PAYPAL, 500_00, Refusal.METHOD_OFF),
        (79260000002, Method.CARD_FOREIGN, 500_00, Refusal.METHOD_OFF),
        (79160000098, Method.SBP, 500_00, Refusal.NUMBER_BLOCKED),
        (79260000099, Method.SBP, 500_00, Refusal.NUMBER_CLOSED),
    ],
)
def test_what_a_top_up_is_refused_for(
    number: int, method: Method, amount: int, refusal: Refusal
) -> None:
    found = preview(number, amount, channel=Channel.API, method=method)
    assert found.refusal is refusal
