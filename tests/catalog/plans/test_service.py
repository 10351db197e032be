"""Versions of plans: their numbers and times, and that what someone is on never changes."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event
from time import monotonic, sleep
from typing import Any

import django.db
import pytest
from auditlog.models import LogEntry
from django.db import transaction
from django.utils import timezone
from django.utils.translation import override

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate, WhenShort
from popolni.catalog.plans.service import (
    create_plan,
    edit_version,
    end_sale,
    hold_terms,
    is_in_use,
    new_version,
    terms_of,
    version_at,
)
from popolni.core.errors import UserError
from popolni.ledger.model import Unit
from popolni.subscribers.models import Number, Subscriber, Subscription

BOOK = 21_000
_codes = count(1)
_numbers = count(79220000000)


def day(number: int, **more: Any) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC, **more)


TERMS = PlanTerms(
    name_ru="Комбо",
    name_en="Combo",
    name_zh="组合",
    description_ru="Всё сразу",
    description_en="All at once",
    description_zh="一应俱全",
    price_minor=450_00,
    period_unit=PeriodUnit.MONTH,
    period_count=1,
    allowances={Unit.BYTE: 20 * 2**30, Unit.SECOND: 600 * 60},
    rates={Unit.BYTE: Rate(100 * 2**20, 30_00), Unit.MESSAGE: Rate(1, 3_50)},
    when_short=WhenShort.LIMIT,
    limited_kbit_per_s=64,
    valid_from=day(1),
)
OTHER = replace(
    TERMS,
    name_en="Combo Two",
    price_minor=500_00,
    period_unit=PeriodUnit.DAY,
    period_count=30,
    allowances={Unit.MESSAGE: 5},
    rates={},
    when_short=WhenShort.STOP,
    limited_kbit_per_s=None,
)


@pytest.fixture(scope="module")
def operator(database_url: str) -> Operator:
    assert database_url
    profile = ComplianceProfile.objects.create(name="plans", day_max_minor=1, month_max_minor=1)
    return Operator.objects.create(
        code="plans-operator",
        name_ru="П",
        name_en="P",
        name_zh="计",
        colour="#000000",
        mnc="210",
        balance_ussd="*100#",
        profile=profile,
    )


@pytest.fixture(scope="module")
def branch(operator: Operator) -> Branch:
    return Branch.objects.create(
        operator=operator, code="plans-branch", book=BOOK, name_ru="П", name_en="P", name_zh="计"
    )


@pytest.fixture
def version(operator: Operator) -> PlanVersion:
    return create_plan(operator, code=f"combo-{next(_codes)}", kind="combo", terms=TERMS)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads, each with a connection of its own."""
    with ThreadPoolExecutor() as pool:
        yield pool


def put_someone_on(version: PlanVersion, branch: Branch, **more: Any) -> Subscription:
    number = Number.objects.create(
        number=next(_numbers), branch=branch, subscriber=Subscriber.objects.create()
    )
    return Subscription.objects.create(
        number=number, version=version, period_ends_at=day(1), **more
    )


def refusal_of(future: Future[Any]) -> str:
    with pytest.raises(UserError) as caught:
        future.result(timeout=20)
    return str(caught.value)


def state_of(plan: Plan) -> list[tuple[int, datetime, datetime | None]]:
    return list(plan.versions.order_by("version").values_list("version", "valid_from", "valid_to"))


@pytest.mark.parametrize("terms", [TERMS, OTHER, replace(TERMS, valid_to=day(2))])
def test_terms_come_back_as_they_went_in(operator: Operator, terms: PlanTerms) -> None:
    made = create_plan(operator, code=f"same-{next(_codes)}", kind="data", terms=terms)
    read = PlanVersion.objects.select_related("plan").get(pk=made.pk)
    assert (read.version, read.plan.kind, read.plan.operator_id) == (1, "data", operator.pk)
    assert terms_of(made) == terms_of(read) == terms


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "taken"}, "there is a plan taken already: make a new version of it"),
        (
            {"code": "no good"},
            "a plan's code is 1 to 50 letters, digits, hyphens and _, not 'no good'",
        ),
        (
            {"code": "х"},
            "a plan's code is 1 to 50 letters, digits, hyphens and _, not 'х'",  # Cyrillic
        ),
        ({"code": ""}, "a plan's code is 1 to 50 letters, digits, hyphens and _, not ''"),
        ({"kind": "fax"}, "a plan is one of voice, data, combo, not 'fax'"),
        (
            {"terms": replace(TERMS, price_minor=-1)},
            "a plan's price is 0 or more kopecks, not -1",
        ),
    ],
)
def test_no_plan(operator: Operator, changes: dict[str, Any], message: str) -> None:
    if not Plan.objects.filter(code="taken").exists():
        create_plan(operator, code="taken", kind="voice", terms=TERMS)
    before = Plan.objects.count(), PlanVersion.objects.count()
    arguments: dict[str, Any] = {"code": "untaken", "kind": "data", "terms": TERMS} | changes
    with pytest.raises(UserError) as caught:
        create_plan(operator, **arguments)
    assert str(caught.value) == message
    assert (Plan.objects.count(), PlanVersion.objects.count()) == before


def test_a_new_version_ends_the_former_one(version: PlanVersion, branch: Branch) -> None:
    put_someone_on(version, branch)
    tomorrow, later = (timezone.now() + timedelta(days=days) for days in (1, 20))
    second = new_version(version.plan, OTHER, valid_from=tomorrow)
    third = new_version(version.plan, replace(TERMS, valid_from=later))
    assert state_of(version.plan) == [
        (1, day(1), tomorrow),
        (2, tomorrow, later),
        (3, later, None),
    ]
    assert terms_of(second) == replace(OTHER, valid_from=tomorrow)
    first = PlanVersion.objects.get(pk=version.pk)
    assert terms_of(first) == replace(TERMS, valid_to=tomorrow)  # and nothing else of it changed
    moment = timedelta(microseconds=1)
    times = (tomorrow - moment, tomorrow, later - moment, later)
    assert [version_at(version.plan, at) for at in times] == [
        version,
        second,
        second,
        third,
    ]


def test_a_version_that_ended_before_stays_so(operator: Operator) -> None:
    first = create_plan(
        operator,
        code=f"gap-{next(_codes)}",
        kind="data",
        terms=replace(TERMS, valid_to=day(5)),
    )
    new_version(first.plan, TERMS, valid_from=day(10))
    assert state_of(first.plan) == [(1, day(1), day(5)), (2, day(10), None)]
    found = [version_at(first.plan, at) for at in (day(4), day(5), day(9, hour=23))]
    assert found == [first, None, None]
    assert version_at(first.plan, day(1) - timedelta(microseconds=1)) is None


@pytest.mark.parametrize("valid_from", [day(1), day(1) - timedelta(days=1)])
def test_versions_follow_each_other(version: PlanVersion, valid_from: datetime) -> None:
    with pytest.raises(UserError) as caught:
        new_version(version.plan, OTHER, valid_from=valid_from)
    assert str(caught.value) == (
        f"{version} is valid from 2026-01-01 00:00 UTC: the version after it begins later than that"
    )
    assert state_of(version.plan) == [(1, day(1), None)]


@pytest.mark.parametrize("ended_at", [None, day(3)])
def test_a_version_never_begins_under_people_who_are_on_the_former_one(
    version: PlanVersion, branch: Branch, ended_at: datetime | None
) -> None:
    put_someone_on(version, branch, started_at=day(2), ended_at=ended_at)
    for valid_from in (day(2), day(10), timezone.now() - timedelta(minutes=2)):
        with pytest.raises(UserError) as caught:
            new_version(version.plan, OTHER, valid_from=valid_from)
        assert str(caught.value) == (
            f"there are numbers on {version}: the version after it begins now or later"
        )
    assert state_of(version.plan) == [(1, day(1), None)]
    now = timezone.now() - timedelta(seconds=50)  # a form took its time
    new_version(version.plan, OTHER, valid_from=now)
    assert state_of(version.plan) == [(1, day(1), now), (2, now, None)]


def test_a_version_begins_after_the_last_number_went_on_the_former_one(
    version: PlanVersion, branch: Branch
) -> None:
    started_at = timezone.now() - timedelta(seconds=10)
    put_someone_on(version, branch, started_at=started_at)
    with pytest.raises(UserError) as caught:
        new_version(version.plan, OTHER, valid_from=started_at)
    assert str(caught.value) == (
        f"a number went on {version} at {started_at:%Y-%m-%d %H:%M} UTC or after that:"
        " the next one begins later"
    )
    begins = started_at + timedelta(microseconds=1)
    new_version(version.plan, OTHER, valid_from=begins)
    assert state_of(version.plan) == [(1, day(1), begins), (2, begins, None)]


def test_an_edited_version_does_not_begin_under_people_either(
    version: PlanVersion, branch: Branch
) -> None:
    put_someone_on(version, branch, started_at=day(2))
    tomorrow = timezone.now() + timedelta(days=1)
    second = new_version(version.plan, OTHER, valid_from=tomorrow)
    with pytest.raises(UserError, match="the version after it begins now or later"):
        edit_version(second, replace(OTHER, valid_from=day(10)))
    edit_version(second, replace(TERMS, valid_from=tomorrow))
    later = tomorrow + timedelta(days=1)
    edit_version(second, replace(TERMS, valid_from=later))
    assert state_of(version.plan) == [(1, day(1), later), (2, later, None)]


def test_one_of_many_at_the_same_moment_makes_it(
    version: PlanVersion, elsewhere: ThreadPoolExecutor
) -> None:
    def make() -> str:
        try:
            return str(new_version(version.plan, OTHER, valid_from=day(10)).version)
        except UserError as error:
            return str(error)
        finally:
            django.db.connections.close_all()

    answers = [future.result() for future in [elsewhere.submit(make) for _ in range(8)]]
    assert min(answers) == "2"
    assert sum("begins later than that" in answer for answer in answers) == 7
    assert state_of(version.plan) == [(1, day(1), day(10)), (2, day(10), None)]


def test_an_unused_version_is_edited(version: PlanVersion) -> None:
    assert not is_in_use(version)
    edited = edit_version(version, OTHER)
    assert (edited.pk, edited.version) == (version.pk, 1)
    assert terms_of(edited) == terms_of(PlanVersion.objects.get(pk=version.pk)) == OTHER
    assert edit_version(edited, OTHER) == edited  # again: no rows of it twice
    assert terms_of(edited) == OTHER


@pytest.mark.parametrize("ended_at", [None, day(2)])
def test_a_version_that_someone_is_or_was_on_is_not(
    version: PlanVersion, branch: Branch, ended_at: datetime | None
) -> None:
    put_someone_on(version, branch, ended_at=ended_at)
    assert is_in_use(version)
    with pytest.raises(UserError) as caught:
        edit_version(version, OTHER)
    assert str(caught.value) == (
        f"there are numbers on {version}: make a new version of {version.plan}"
    )
    assert terms_of(PlanVersion.objects.get(pk=version.pk)) == TERMS
    # the one after it may be
    tomorrow = timezone.now() + timedelta(days=1)
    second = new_version(version.plan, TERMS, valid_from=tomorrow)
    edit_version(second, replace(OTHER, valid_from=tomorrow))


@pytest.mark.parametrize(
    ("which", "valid_from", "valid_to", "expected"),
    [
        # the second one moves, and the end of the first with it
        (2, day(12), day(20), [(day(1), day(12)), (day(12), day(20)), (day(20), None)]),
        (2, day(8), day(15), [(day(1), day(8)), (day(8), day(15)), (day(20), None)]),
        (1, day(3), day(10), [(day(3), day(10)), (day(10), day(20)), (day(20), None)]),
        (3, day(25), day(26), [(day(1), day(10)), (day(10), day(25)), (day(25), day(26))]),
        # but no two of them overlap
        (2, day(1), day(20), "is valid from 2026-01-01 00:00 UTC: the version after it begins"),
        (2, day(10), day(21), "begins, at 2026-01-20 00:00 UTC, or earlier"),
        (2, day(10), None, "begins, at 2026-01-20 00:00 UTC, or earlier"),
        (3, day(10), None, "is valid from 2026-01-10 00:00 UTC: the version after it begins"),
    ],
)
def test_an_edited_version_stays_in_its_place(
    version: PlanVersion,
    which: int,
    valid_from: datetime,
    valid_to: datetime | None,
    expected: list[tuple[datetime, datetime | None]] | str,
) -> None:
    plan = version.plan
    new_version(plan, TERMS, valid_from=day(10))
    new_version(plan, TERMS, valid_from=day(20))
    before = state_of(plan)
    one, terms = (
        plan.versions.get(version=which),
        replace(OTHER, valid_from=valid_from, valid_to=valid_to),
    )
    if isinstance(expected, str):
        with pytest.raises(UserError) as caught:
            edit_version(one, terms)
        assert expected in str(caught.value)
        assert state_of(plan) == before
        return
    edit_version(one, terms)
    assert [row[1:] for row in state_of(plan)] == expected


@pytest.mark.parametrize("days", [None, 0, 3])
def test_the_sale_of_a_version_in_use_ends(
    version: PlanVersion, branch: Branch, days: int | None
) -> None:
    on_it = put_someone_on(version, branch)
    before = timezone.now()
    at = None if days is None else before + timedelta(days=days)
    ended = end_sale(version, at)
    row = PlanVersion.objects.get(pk=version.pk)
    assert row.valid_to is not None
    assert ended.valid_to == row.valid_to
    assert terms_of(row) == replace(TERMS, valid_to=row.valid_to)  # no other term changed
    if days:
        assert row.valid_to == at
    else:
        assert before <= row.valid_to <= timezone.now()
    assert version_at(version.plan, row.valid_to) is None
    assert version_at(version.plan, row.valid_to - timedelta(microseconds=1)) == version
    on_it.refresh_from_db()
    assert (on_it.version, on_it.ended_at) == (version, None)
    entry = LogEntry.objects.get_for_object(row).first()
    assert entry is not None
    assert list(entry.changes) == ["valid_to"]


def test_a_sale_that_was_to_end_ends_earlier_or_later(version: PlanVersion) -> None:
    far, near, between = (timezone.now() + timedelta(days=days) for days in (30, 10, 20))
    for at in (far, near, between):
        end_sale(version, at)
        assert state_of(version.plan) == [(1, day(1), at)]


def test_a_moment_just_past_is_now(version: PlanVersion) -> None:
    before = timezone.now()
    end_sale(version, before - timedelta(seconds=50))  # the form was on its way
    ((_number, _from, valid_to),) = state_of(version.plan)
    assert valid_to is not None
    assert before <= valid_to <= timezone.now()


def test_a_sale_does_not_end_in_the_past(version: PlanVersion, branch: Branch) -> None:
    put_someone_on(version, branch)
    with pytest.raises(UserError) as caught:
        end_sale(version, timezone.now() - timedelta(minutes=2))
    assert str(caught.value) == f"the sale of {version} ends now or later"
    assert state_of(version.plan) == [(1, day(1), None)]


def test_a_sale_ends_once(version: PlanVersion) -> None:
    valid_to = end_sale(version).valid_to
    for at in (None, timezone.now() + timedelta(days=1)):
        with pytest.raises(UserError) as caught:
            end_sale(version, at)
        assert str(caught.value) == f"the sale of {version} ended at {valid_to:%Y-%m-%d %H:%M} UTC"
    assert state_of(version.plan) == [(1, day(1), valid_to)]


def test_a_sale_ends_between_its_beginning_and_the_next_version(version: PlanVersion) -> None:
    soon, later = (timezone.now() + timedelta(days=days) for days in (1, 2))
    second = new_version(version.plan, OTHER, valid_from=soon)
    before = state_of(version.plan)
    with pytest.raises(UserError, match=f"begins, at {soon:%Y-%m-%d %H:%M} UTC, or earlier"):
        end_sale(version, later)
    with pytest.raises(UserError, match="is later than its beginning"):
        end_sale(second)
    with pytest.raises(UserError, match="give the time zone too"):
        end_sale(second, later.replace(tzinfo=None))
    assert state_of(version.plan) == before
    end_sale(version)
    end_sale(second, later)
    (_first, (number, valid_from, valid_to)) = state_of(version.plan)
    assert (number, valid_from, valid_to) == (2, soon, later)


def wait_until_blocked(future: Future[Any]) -> None:
    """Until some connection waits for a lock on a version's row."""
    waiting = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database() and query like '%popolni_planversion%'"
    )
    deadline = monotonic() + 20
    with django.db.connection.cursor() as cursor:
        while True:
            cursor.execute(waiting)
            if cursor.fetchone() != (0,):
                return
            assert not future.done(), "it did not wait"
            assert monotonic() < deadline
            sleep(0.01)


def after_a_subscription(
    version: PlanVersion,
    branch: Branch,
    elsewhere: ThreadPoolExecutor,
    change: Callable[[], PlanVersion],
) -> Future[PlanVersion]:
    """A change that is asked for, and has to wait, while a number goes on the version."""
    subscribed, go_on = Event(), Event()

    def do(work: Callable[[], Any]) -> Any:
        try:
            return work()
        finally:
            django.db.connections.close_all()

    def subscribe() -> None:
        with transaction.atomic():
            assert hold_terms(version) == TERMS
            put_someone_on(version, branch)
            subscribed.set()
            assert go_on.wait(20)

    subscribing = elsewhere.submit(do, subscribe)
    assert subscribed.wait(20)
    changing = elsewhere.submit(do, change)
    wait_until_blocked(changing)
    go_on.set()
    subscribing.result(timeout=20)
    return changing


def test_who_edits_waits_for_who_subscribes(
    version: PlanVersion, branch: Branch, elsewhere: ThreadPoolExecutor
) -> None:
    editing = after_a_subscription(version, branch, elsewhere, lambda: edit_version(version, OTHER))
    assert refusal_of(editing) == (
        f"there are numbers on {version}: make a new version of {version.plan}"
    )
    assert terms_of(PlanVersion.objects.get(pk=version.pk)) == TERMS


def test_who_ends_the_sale_waits_for_who_subscribes(
    version: PlanVersion, branch: Branch, elsewhere: ThreadPoolExecutor
) -> None:
    """So nobody is ever found on it who came after its end."""
    ending = after_a_subscription(version, branch, elsewhere, lambda: end_sale(version))
    ended = ending.result(timeout=20)
    assert ended.valid_to is not None
    assert version.subscription_set.get().started_at < ended.valid_to


def test_who_subscribes_waits_for_who_edits(
    version: PlanVersion, elsewhere: ThreadPoolExecutor
) -> None:
    """And gets the terms as they were edited."""

    def hold() -> PlanTerms:
        try:
            with transaction.atomic():
                return hold_terms(version)
        finally:
            django.db.connections.close_all()

    edited, go_on = Event(), Event()

    def edit() -> None:
        try:
            with transaction.atomic():
                edit_version(version, OTHER)
                edited.set()
                assert go_on.wait(20)
        finally:
            django.db.connections.close_all()

    editing = elsewhere.submit(edit)
    assert edited.wait(20)
    holding = elsewhere.submit(hold)
    wait_until_blocked(holding)
    go_on.set()
    editing.result(timeout=20)
    assert holding.result(timeout=20) == OTHER


def test_subscribers_do_not_wait_for_each_other_nor_for_a_new_version(
    version: PlanVersion, elsewhere: ThreadPoolExecutor
) -> None:
    def work() -> None:
        try:
            with transaction.atomic():
                assert hold_terms(version) == TERMS
            new_version(version.plan, OTHER, valid_from=day(10))
        finally:
            django.db.connections.close_all()

    with transaction.atomic():
        assert hold_terms(version) == TERMS
        elsewhere.submit(work).result(timeout=20)


def test_terms_are_held_in_a_transaction(version: PlanVersion) -> None:
    with pytest.raises(RuntimeError, match="there is none"):
        hold_terms(version)


def test_the_audit_trail_has_the_terms_of_every_version(version: PlanVersion) -> None:
    changed = replace(terms_of(version), allowances={Unit.BYTE: 77}, rates={})
    later = version.valid_from + timedelta(days=1)
    for written in (
        edit_version(version, changed),
        new_version(version.plan, changed, valid_from=later),
    ):
        (allowance,) = written.allowances.all()
        newest = LogEntry.objects.get_for_object(allowance).first()
        assert newest is not None
        assert newest.changes["amount"] == ["None", "77"]


def test_a_plan_is_called_as_its_latest_version(operator: Operator) -> None:
    plan = create_plan(operator, code=f"named-{next(_codes)}", kind="combo", terms=TERMS).plan
    new_version(plan, replace(OTHER, valid_from=day(20)))
    with override("en"):
        assert str(plan) == "Combo Two"
    with override("zh-hans"):
        assert str(plan) == "组合"
    assert str(Plan(code="not-saved-yet", pk=-1)) == "not-saved-yet"
