"""Changes of a subscription by people, on a real ledger."""

from datetime import timedelta
from functools import partial

import pytest
from auditlog.models import LogEntry as AuditEntry
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.rules import PeriodUnit
from popolni.catalog.plans.service import edit_version, end_sale, terms_of
from popolni.core.errors import UserError
from popolni.ledger.chart import Code
from popolni.ledger.model import Unit
from popolni.subscribers.models import Subscription
from popolni.subscribers.renewals.changes import (
    change_plan,
    queue_plan,
    set_renewed,
    unqueue_plan,
)
from popolni.subscribers.service import balance, block
from tests.agents.support import new_user
from tests.subscribers.renewals.support import (
    BYTES,
    MONEY,
    SECONDS,
    after,
    current,
    on_plan,
    renew,
    top_up,
    utc,
)
from tests.subscribers.support import at_once, left, log, new_number, new_operator, new_plan

END = utc(2026, 2, 28, 12)


def test_a_queued_plan_begins_with_the_next_period(branch: Branch) -> None:
    number, former = on_plan(branch, money_minor=1_000_00)
    other = new_plan(price_minor=100_00, allowances={Unit.BYTE: 5000, Unit.MESSAGE: 3})
    assert after(branch, lambda: queue_plan(number, other, by=None)) == []
    assert (current(number).version, current(number).next_version) == (former.version, other)
    assert balance(number.number).plan == former.version.plan.code
    posted = after(branch, lambda: renew(branch, END))
    assert posted == [
        (Code.PLAN_CHARGE, 100_00),
        (Code.ALLOWANCE_EXPIRY, 1000),
        (Code.ALLOWANCE_EXPIRY, 60),
        (Code.ALLOWANCE_GRANT, 5000),
        (Code.ALLOWANCE_GRANT, 3),
    ]
    former.refresh_from_db()
    found = current(number)
    assert (former.ended_at, former.next_version) == (END, None)
    assert (found.version, found.next_version, found.is_renewed) == (other, None, True)
    assert (found.started_at, found.anchored_at, found.period_starts_at) == (END, END, END)
    assert found.period_ends_at == utc(2026, 3, 28, 12)
    assert {entry.reference_id for entry in log(branch)[-5:]} == {found.pk}
    plan = balance(number.number)
    assert plan.plan == other.plan.code
    ends = dict(number.allowances.values_list("account", "ends_at"))
    assert ends[BYTES.account_id(number.number)] == found.period_ends_at
    assert ends[SECONDS.account_id(number.number)] == END


def test_a_queued_plan_that_costs_too_much_waits_for_the_money(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=300_00)
    other = new_plan(price_minor=400_00)
    queue_plan(number, other, by=None)
    renew(branch, END)
    assert current(number).status == "lapsed"
    assert left(number, MONEY) == 300_00
    at = utc(2026, 3, 9, 9)
    assert after(branch, lambda: unqueue_plan(number, by=None, now=at))[0] == (
        Code.PLAN_CHARGE, 300_00,
    )  # fmt: skip
    found = current(number)
    assert (found.status, found.period_starts_at, found.next_version) == ("active", at, None)


def test_queuing_what_the_money_is_enough_for_begins_it_at_once(branch: Branch) -> None:
    number, former = on_plan(branch, money_minor=100_00)
    renew(branch, END)
    cheap, at = new_plan(price_minor=100_00, unit=PeriodUnit.DAY), utc(2026, 3, 9, 9)
    found = queue_plan(number, cheap, by=None, now=at)
    assert (found.version, found.period_starts_at) == (cheap, at)
    assert found.period_ends_at == at + timedelta(days=1)
    former.refresh_from_db()
    assert former.ended_at == at


def test_queuing_the_plan_that_one_is_on_unqueues(branch: Branch) -> None:
    number, former = on_plan(branch)
    queue_plan(number, new_plan(), by=None)
    assert queue_plan(number, former.version, by=None).next_version is None


def test_what_is_queued_is_what_it_was_when_it_was_queued(branch: Branch) -> None:
    """Nobody edits it any more, and it begins also when it is sold no longer."""
    number, _ = on_plan(branch, money_minor=300_00)
    other = new_plan(price_minor=250_00)
    queue_plan(number, other, by=None)
    with pytest.raises(UserError, match="there are numbers on"):
        edit_version(other, terms_of(other))
    end_sale(other)
    renew(branch, END)
    assert current(number).version == other


def test_without_auto_renewal_it_ends(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=1_000_00)
    set_renewed(number, is_renewed=False, by=None)
    assert after(branch, lambda: renew(branch, END)) == [
        (Code.ALLOWANCE_EXPIRY, 1000),
        (Code.ALLOWANCE_EXPIRY, 60),
    ]
    assert current(number).status == "lapsed"
    at = utc(2026, 3, 9, 9)
    found = set_renewed(number, is_renewed=True, by=None, now=at)
    assert (found.status, found.period_starts_at) == ("active", at)
    assert left(number, MONEY) == 700_00


def test_switched_on_without_the_money_it_waits(branch: Branch) -> None:
    number, _ = on_plan(branch)
    set_renewed(number, is_renewed=False, by=None)
    renew(branch, END)
    assert set_renewed(number, is_renewed=True, by=None, now=END).status == "lapsed"


def test_a_plan_of_now(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=1_000_00)
    queue_plan(number, new_plan(), by=None)
    other = new_plan(price_minor=100_00)
    found = change_plan(number, other, by=None)
    assert (found.version, found.next_version) == (other, None)
    assert Subscription.objects.filter(number=number, next_version__isnull=False).count() == 0


def test_a_lapsed_number_changes_its_plan(branch: Branch) -> None:
    number, _ = on_plan(branch)
    renew(branch, END)
    top_up(number, 100_00)
    found = change_plan(number, new_plan(price_minor=100_00), by=None)
    assert found.status == "active"


def test_what_cannot_be_queued(branch: Branch) -> None:
    number, _ = on_plan(branch)
    tomorrow = timezone.now() + timedelta(days=1)
    for version, message in (
        (new_plan(new_operator("other", "926")), "is another operator's than the plan"),
        (new_plan(valid_from=tomorrow), "this version of the plan is not sold at that time"),
    ):
        with pytest.raises(UserError, match=message):
            queue_plan(number, version, by=None)
    block(number)
    with pytest.raises(UserError, match="is blocked: only an active number goes on a plan"):
        queue_plan(number, new_plan(), by=None)
    assert current(number).next_version is None


def test_a_number_on_no_plan(branch: Branch) -> None:
    number, version = new_number(branch), new_plan()
    changes = [
        partial(queue_plan, number, version),
        partial(unqueue_plan, number),
        partial(set_renewed, number, is_renewed=True),
    ]
    for change in changes:
        with pytest.raises(UserError, match="is on no plan"):
            change(by=None)


def test_staff_needs_the_permission_and_is_in_the_trail(branch: Branch) -> None:
    number, subscription = on_plan(branch, money_minor=300_00)
    other = new_plan()
    finance, support = new_user(role="finance"), new_user(role="support")
    changes = [
        partial(queue_plan, number, other),
        partial(unqueue_plan, number),
        partial(set_renewed, number, is_renewed=False),
        partial(change_plan, number, other),
    ]
    for change in changes:
        with pytest.raises(PermissionDenied):
            change(by=finance)
    assert current(number).version == subscription.version
    for change in changes[:3]:
        change(by=support)
    trail = AuditEntry.objects.get_for_object(subscription).order_by("timestamp", "pk")
    names = [set(entry.changes) for entry in trail if entry.action == AuditEntry.Action.UPDATE]
    assert names == [{"next_version"}, {"next_version"}, {"is_renewed"}]
    changes[3](by=support)


def test_a_change_beside_a_renewal(branch: Branch) -> None:
    other = new_plan(price_minor=100_00)
    for _ in range(4):
        number, _ = on_plan(branch, money_minor=1_000_00)
        results = at_once(partial(renew, branch, END), partial(queue_plan, number, other, by=None))
        assert not [one for one in results if isinstance(one, Exception)]
        renew(branch, END)  # the renewal may have left it to who was at it
        found = current(number)
        assert (found.version == other) != (found.next_version == other)
        assert left(number, MONEY) == (900_00 if found.version == other else 700_00)
