"""Numbers and plans on a real ledger; the `branch` fixture audits its book after each test."""

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.core.errors import UserError
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import AccountFlags, Transfer, TransferFlags, Unit
from popolni.ledger.statements import close_accounts, open_accounts, post, read_accounts
from popolni.subscribers import service
from popolni.subscribers.models import Allowance, Number, Subscriber, Subscription
from popolni.subscribers.rules import NUMBER_KINDS
from popolni.subscribers.service import (
    AllowanceLeft,
    Balance,
    balance,
    block,
    close,
    open_number,
    subscribe,
    unblock,
)
from tests.ledger.support import tid
from tests.subscribers.support import (
    START,
    account,
    at_once,
    credit_elsewhere,
    left,
    log,
    new_branch,
    new_number,
    new_operator,
    new_plan,
    next_number,
    use,
    use_elsewhere,
)

Status = Number.Status
MONEY, BYTES, SECONDS = Kind.SUBSCRIBER_MONEY, Kind.PLAN_BYTES, Kind.PLAN_SECONDS
LATER = datetime(2026, 2, 10, tzinfo=UTC)


def utc(month: int, day: int, hour: int) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def refusal(action: object, *args: object, **options: object) -> str:
    assert callable(action)
    with pytest.raises(UserError) as caught:
        action(*args, **options)
    return str(caught.value)


def flags(number: Number) -> set[AccountFlags]:
    return {account(number, kind).flags for kind in NUMBER_KINDS}


# Opening


def test_a_number_is_opened_with_its_accounts(branch: Branch) -> None:
    person = Subscriber.objects.create(name="Анна")
    number = open_number(next_number(), branch, person, at=START)
    assert (number.branch, number.subscriber, number.status) == (branch, person, Status.ACTIVE)
    assert (number.opened_at, number.status_since) == (START, START)
    assert flags(number) == {AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS}
    assert balance(number.number) == Balance(number.number, "RUB", 0, "active", None, [])


@pytest.mark.parametrize("number", [0, -79250000000, 999_999, 10**15])
def test_what_is_no_number_is_not_opened(number: int, branch: Branch) -> None:
    message = refusal(open_number, number, branch, Subscriber.objects.create())
    assert message == f"a number has 7 to 15 digits, not {number}"


def test_a_number_is_opened_once(branch: Branch) -> None:
    number = new_number(branch)
    again = new_branch(), Subscriber.objects.create()
    assert refusal(open_number, number.number, *again) == f"{number} is there already: it is active"
    close(number)
    assert refusal(open_number, number.number, *again) == f"{number} is there already: it is closed"


def test_of_two_who_open_a_number_at_once_one_wins(branch: Branch) -> None:
    msisdn, person = next_number(), Subscriber.objects.create()
    results = at_once(*[lambda: open_number(msisdn, branch, person)] * 4)
    errors = [str(result) for result in results if isinstance(result, UserError)]
    assert errors == [f"+{msisdn} is there already: it is active"] * 3
    assert sum(isinstance(result, Number) for result in results) == 1


def test_a_number_whose_accounts_are_there_is_not_opened(branch: Branch) -> None:
    msisdn = next_number()
    run(open_accounts(branch.book, [BYTES.account(msisdn)]))
    message = refusal(open_number, msisdn, branch, Subscriber.objects.create())
    assert message == f"the ledger has accounts of +{msisdn} already"
    assert not Number.objects.filter(pk=msisdn).exists()


def test_a_moment_has_a_time_zone(branch: Branch) -> None:
    with pytest.raises(ValueError, match="time zone"):
        open_number(
            next_number(), branch, Subscriber.objects.create(), at=datetime(2026, 1, 1)  # noqa: DTZ001  # what is refused
        )  # fmt: skip


# Blocking and closing


def test_blocked_and_active_turn_into_each_other(branch: Branch) -> None:
    number = new_number(branch, 100)
    for change, status, at in (
        (block, Status.BLOCKED, LATER),
        (unblock, Status.ACTIVE, LATER + timedelta(1)),
    ):
        for moment in (at, at + timedelta(hours=1)):  # the second time nothing changes
            changed = change(number.number, at=moment)
            assert (changed.status, changed.status_since) == (status, at)
        assert Number.objects.get(pk=number.pk).status == status
        assert flags(number) == {AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS}
    assert balance(number.number).money_minor == 100


def test_closing_ends_all_of_it(branch: Branch) -> None:
    number, plan = new_number(branch, 300_00), new_plan()
    subscribe(number, plan, at=timezone.now())
    use(number, 400)
    assert [each.left for each in balance(number.number).allowances] == [600, 60]
    at = timezone.now()
    assert close(number, at=at).status == Status.CLOSED
    assert close(number, at=at + timedelta(1)).status_since == at
    assert balance(number.number) == Balance(number.number, "RUB", 0, "closed", None, [])
    assert [left(number, kind) for kind in (MONEY, BYTES, SECONDS)] == [0, 0, 0]
    closed = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.CLOSED
    assert flags(number) == {closed}
    expired = [entry for entry in log(branch) if entry.code == Code.ALLOWANCE_EXPIRY]
    assert [entry.amount for entry in expired] == [600, 60]
    assert number.subscriptions.get().ended_at == at
    for change in (block, unblock):
        assert refusal(change, number) == f"{number} is closed for good"


def test_bonus_accounts_are_closed_too(branch: Branch) -> None:
    number = new_number(branch)
    bonus = Kind.BONUS_BYTES.account(number.number)  # a subject that no other test has
    run(open_accounts(branch.book, [bonus]))
    Allowance.objects.create(
        number=number, account=bonus.id, unit=Unit.BYTE, granted=5,
        ends_at=timezone.now() + timedelta(1),
    )  # fmt: skip
    grant = Transfer(
        tid("bonus", number.number), Kind.ISSUED_BYTES.account_id(), bonus.id, 5, Code.BONUS
    )
    assert run(post(branch.book, [grant]))[0].outcome is Outcome.CREATED
    assert [each.left for each in balance(number.number).allowances] == [5]
    close(number)
    found = run(read_accounts(branch.book, [bonus.id]))[bonus.id]
    assert found.flags & AccountFlags.CLOSED
    assert log(branch)[-1].amount == 5


def test_a_number_with_money_is_not_closed(branch: Branch) -> None:
    number = new_number(branch, 123_45)
    message = f"{number} has 123.45 RUB left: pay that out or correct the balance first"
    assert refusal(close, number) == message
    assert Number.objects.get(pk=number.pk).status == Status.ACTIVE
    assert flags(number) == {AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS}


def test_a_number_with_a_payment_under_way_is_not_closed(branch: Branch) -> None:
    number = new_number(branch)
    pending = Transfer(
        tid("pending", number.number), Kind.BANK.account_id(), MONEY.account_id(number.number), 1,
        Code.TOP_UP_OSMP, TransferFlags.PENDING,
    )  # fmt: skip
    run(post(branch.book, [pending]))
    assert refusal(close, number) == f"a payment of {number} is under way: wait for it"


def test_money_that_comes_while_a_number_is_closed_keeps_it_open(branch: Branch) -> None:
    number = new_number(branch)

    def close_late(book: int, ids: list[int]) -> object:
        credit_elsewhere(number, 50)
        return close_accounts(book, ids)

    with mock.patch.object(service, "close_accounts", close_late):
        assert "has 0.50 RUB left" in refusal(close, number)
    assert Number.objects.get(pk=number.pk).status == Status.ACTIVE
    assert left(number, MONEY) == 50


# Plans


def test_a_number_goes_on_a_plan(branch: Branch) -> None:
    number, plan = new_number(branch, 500_00), new_plan()
    at = timezone.now()
    subscription = subscribe(number, plan, at=at)
    assert (subscription.started_at, subscription.period_starts_at) == (at, at)
    assert Subscription.objects.get(number=number, ended_at=None) == subscription
    ends = subscription.period_ends_at
    assert balance(number.number) == Balance(
        number.number, "RUB", 200_00, "active", plan.plan.code,
        [AllowanceLeft("byte", 1000, ends), AllowanceLeft("second", 60, ends)],
    )  # fmt: skip
    entries = log(branch)[-3:]
    assert [(entry.code, entry.amount, entry.reference_id) for entry in entries] == [
        (Code.PLAN_CHARGE, 300_00, subscription.pk),
        (Code.ALLOWANCE_GRANT, 1000, subscription.pk),
        (Code.ALLOWANCE_GRANT, 60, subscription.pk),
    ]


@pytest.mark.parametrize(
    ("unit", "at", "ends_at"),
    [
        (PeriodUnit.DAY, utc(1, 31, 12), utc(2, 1, 12)),
        (PeriodUnit.MONTH, utc(1, 31, 12), utc(2, 28, 12)),
        (PeriodUnit.MONTH, utc(1, 31, 21), utc(2, 28, 21)),  # 1 February, 00:00 in Moscow
    ],
)
def test_a_period_ends_by_the_branch_clock(
    unit: PeriodUnit, at: datetime, ends_at: datetime, branch: Branch
) -> None:
    number = new_number(branch, 300_00)
    assert subscribe(number, new_plan(unit=unit), at=at).period_ends_at == ends_at


def test_another_plan_takes_the_place_of_the_former_one(branch: Branch) -> None:
    number, first = new_number(branch, 1000_00), new_plan()
    second = new_plan(price_minor=100_00, allowances={Unit.BYTE: 5000})
    former = subscribe(number, first, at=timezone.now())
    use(number, 300)
    at = timezone.now()
    subscription = subscribe(number, second, at=at)
    former.refresh_from_db()
    assert (former.ended_at, subscription.ended_at) == (at, None)
    found = balance(number.number)
    assert (found.money_minor, found.plan) == (600_00, second.plan.code)
    assert found.allowances == [AllowanceLeft("byte", 5000, subscription.period_ends_at)]
    entries = [(entry.code, entry.amount) for entry in log(branch)[-4:]]
    assert entries == [
        (Code.PLAN_CHARGE, 100_00),
        (Code.ALLOWANCE_EXPIRY, 700),
        (Code.ALLOWANCE_EXPIRY, 60),
        (Code.ALLOWANCE_GRANT, 5000),
    ]
    rows = number.allowances.order_by("account").values_list("account", "granted", "ends_at")
    assert list(rows) == [
        (BYTES.account_id(number.number), 5000, subscription.period_ends_at),
        (SECONDS.account_id(number.number), 60, at),
    ]


def test_the_same_request_again_changes_nothing(branch: Branch) -> None:
    number, plan = new_number(branch, 1000_00), new_plan()
    at = timezone.now()
    first = subscribe(number, plan, at=at)
    entries = log(branch)
    assert subscribe(number, plan, at=at.astimezone(tz=timezone.get_fixed_timezone(180))) == first
    assert log(branch) == entries


def test_after_a_crash_before_the_commit_it_is_as_if_nothing_was(branch: Branch) -> None:
    number, plan = new_number(branch, 300_00), new_plan()
    at = timezone.now()
    entries = log(branch)
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        subscribe(number, plan, at=at)
        assert left(number, MONEY) == 0
        raise KeyboardInterrupt
    assert log(branch) == entries
    assert not number.subscriptions.exists()
    subscribe(number, plan, at=at)
    assert left(number, MONEY) == 0
    assert number.subscriptions.count() == 1


def test_with_too_little_money_nothing_changes(branch: Branch) -> None:
    number, plan = new_number(branch, 299_99), new_plan()
    entries = log(branch)
    message = f"{number} has too little money: the plan costs 300.00 RUB"
    assert refusal(subscribe, number, plan) == message
    assert log(branch) == entries
    assert not number.subscriptions.exists()
    assert not number.allowances.exists()


@pytest.mark.parametrize("allowances", [{}, {Unit.MESSAGE: 5}])
def test_a_free_plan(allowances: dict[Unit, int], branch: Branch) -> None:
    number = new_number(branch)
    subscribe(number, new_plan(price_minor=0, allowances=allowances))
    assert [each.left for each in balance(number.number).allowances] == list(allowances.values())


def bad_plans() -> list[tuple[PlanVersion, str]]:
    other = new_operator("other", "926")
    not_sold = "this version of the plan is not sold at that time"
    return [
        (new_plan(other), "{number} is another operator's than the plan"),
        (new_plan(valid_from=LATER + timedelta(1)), not_sold),
        (new_plan(valid_to=LATER), not_sold),
    ]


def test_plans_that_a_number_cannot_go_on(branch: Branch) -> None:
    number = new_number(branch, 1000_00)
    for plan, message in bad_plans():
        assert refusal(subscribe, number, plan, at=LATER) == message.format(number=number)
    plan = new_plan()
    tomorrow = timezone.now() + timedelta(1)
    assert refusal(subscribe, number, plan, at=tomorrow) == "a plan starts now, or started earlier"
    subscribe(number, plan, at=LATER)
    for at in (LATER, LATER - timedelta(1)):
        assert refusal(subscribe, number, new_plan(), at=at) == (
            f"the period of {number} that is under way began at that time or later"
        )
    block(number)
    message = f"{number} is blocked: only an active number goes on a plan"
    assert refusal(subscribe, number, plan) == message
    assert left(number, MONEY) == 700_00


def test_of_two_who_subscribe_at_once_each_has_its_turn(branch: Branch) -> None:
    number, plan = new_number(branch, 500_00), new_plan()
    results = at_once(*[lambda: subscribe(number, plan)] * 2)
    errors = [str(result) for result in results if isinstance(result, Exception)]
    assert errors == [f"{number} has too little money: the plan costs 300.00 RUB"]
    assert left(number, MONEY) == 200_00
    assert number.subscriptions.filter(ended_at=None).count() == 1


def test_a_form_that_is_sent_twice_at_once_charges_once(branch: Branch) -> None:
    number, plan, at = new_number(branch, 1000_00), new_plan(), timezone.now()
    first, second = at_once(*[lambda: subscribe(number, plan, at=at)] * 2)
    assert first == second == number.subscriptions.get()
    assert left(number, MONEY) == 700_00


def test_use_that_comes_between_reading_and_posting_is_no_error(branch: Branch) -> None:
    number, plan = new_number(branch, 1000_00), new_plan()
    subscribe(number, plan, at=timezone.now())
    uses = iter([100, 100])

    def post_late(book: int, transfers: list[Transfer]) -> object:
        for amount in uses:
            use_elsewhere(number, amount)
            break
        return post(book, transfers)

    with mock.patch.object(service, "post", post_late):
        subscribe(number, plan)
    assert (left(number, BYTES), left(number, MONEY)) == (1000, 400_00)
    assert [e.amount for e in log(branch) if e.code == Code.ALLOWANCE_EXPIRY] == [800, 60]


def test_use_that_never_pauses_is_told(branch: Branch) -> None:
    number, plan = new_number(branch, 1000_00), new_plan()
    subscribe(number, plan, at=timezone.now())

    def post_late(book: int, transfers: list[Transfer]) -> object:
        use_elsewhere(number, 1)
        return post(book, transfers)

    with mock.patch.object(service, "post", post_late):
        assert refusal(subscribe, number, plan) == (
            "the number's allowances are in use just now: try again in a moment"
        )
    assert (left(number, BYTES), left(number, MONEY)) == (1000 - service.TRIES_MAX, 700_00)


# Balance


def test_a_balance_takes_four_queries_however_much_there_is(branch: Branch) -> None:
    number = new_number(branch, 1000_00)
    subscribe(number, new_plan(allowances={Unit.BYTE: 1, Unit.SECOND: 2, Unit.MESSAGE: 3}))
    with CaptureQueriesContext(connection) as queries:
        found = balance(number.number)
    assert [(each.unit, each.left) for each in found.allowances] == [
        ("byte", 1), ("second", 2), ("message", 3)
    ]  # fmt: skip
    assert len(queries) == 3  # and one of the ledger's, which has its own cursor


def test_allowances_that_ended_are_left_out(branch: Branch) -> None:
    number = new_number(branch, 300_00)
    subscribe(number, new_plan(unit=PeriodUnit.DAY), at=START)
    assert left(number, BYTES) == 1000
    assert balance(number.number).allowances == []


def test_what_is_reserved_cannot_be_spent(branch: Branch) -> None:
    number = new_number(branch, 100)
    pending = Transfer(
        tid("reserved", number.number), MONEY.account_id(number.number),
        Kind.OPERATOR_REVENUE.account_id(), 30, Code.USAGE_CHARGE, TransferFlags.PENDING,
    )  # fmt: skip
    run(post(branch.book, [pending]))
    assert balance(number.number).money_minor == 70


@pytest.mark.parametrize("action", [balance, block, unblock, close])
@pytest.mark.usefixtures("database_url")
def test_an_unknown_number(action: object) -> None:
    assert refusal(action, 79_259_999_999) == "the number 79259999999 is not known"
