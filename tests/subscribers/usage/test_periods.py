"""A number whose period has ended, and that no worker has come to yet, is renewed first."""

from datetime import datetime

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.ledger.model import Unit
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.service import subscribe
from popolni.subscribers.usage.answers import Answer
from popolni.subscribers.usage.rules import Reason
from popolni.subscribers.usage.service import charge
from tests.subscribers.conftest import branch
from tests.subscribers.support import new_number
from tests.subscribers.usage.support import event, money, new_plan

__all__ = ["branch"]  # the fixture

PRICE = 300_00


def due(branch: Branch, money_minor: int) -> tuple[Number, PlanVersion, datetime]:
    """A number with so much money, its plan, and the moment at which its period has just ended."""
    number, version = new_number(branch, PRICE + money_minor), new_plan(price_minor=PRICE)
    return number, version, subscribe(number, version, at=number.opened_at).period_ends_at


def use(number: Number, now: datetime, *amounts: int) -> list[tuple[int, Reason | None, int]]:
    answers = charge([event(number, Unit.SECOND, amount) for amount in amounts], now=now)
    return [told(answer) for answer in answers]


def told(answer: Answer) -> tuple[int, Reason | None, int]:
    return answer.covered, answer.reason, answer.money_minor


def test_the_next_period_is_paid_for_first(branch: Branch) -> None:
    number, _, now = due(branch, PRICE)
    assert use(number, now, 500, 101) == [(500, None, 0), (100, Reason.MONEY_TOO_LOW, 0)]
    assert money(number) == 0
    assert Subscription.objects.get(number=number).period_starts_at == now


def test_what_remains_pays_for_what_is_used(branch: Branch) -> None:
    number, _, now = due(branch, PRICE + 4_00)
    assert use(number, now, 601) == [(601, None, 2_00)]
    assert money(number) == 2_00


def test_without_the_money_for_it_service_stops(branch: Branch) -> None:
    number, _, now = due(branch, PRICE - 1)
    assert use(number, now, 60) == [(0, Reason.PLAN_LAPSED, 0)]
    assert money(number) == PRICE - 1
    assert Subscription.objects.get(number=number).status == "lapsed"


def test_one_that_cannot_be_renewed_holds_nobody_up(branch: Branch) -> None:
    """Its allowances have ended and its rates hold."""
    number, version, now = due(branch, PRICE)
    other, _, _ = due(branch, PRICE)
    PlanVersion.objects.filter(pk=version.pk).update(period_unit="year")
    answers = charge([event(one, Unit.SECOND, 60) for one in (number, other)], now=now)
    assert [told(answer) for answer in answers] == [(60, None, 2_00), (60, None, 0)]
    PlanVersion.objects.filter(pk=version.pk).update(period_unit="month")
