"""A renewal and what people do to the same number: one waits, and sees what the other did."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import django.db
import pytest

from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.client import atomic, run
from popolni.ledger.model import Unit
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.renewals import store
from popolni.subscribers.renewals.changes import queue_plan, set_renewed
from popolni.subscribers.service import block, close, subscribe, unblock
from popolni.subscribers.usage.rules import Event
from popolni.subscribers.usage.service import charge
from tests.subscribers.renewals.support import BYTES, MONEY, current, on_plan, renew, utc
from tests.subscribers.support import at_once, left, new_plan, wait_until_blocked

Beside = Callable[[Callable[[], object]], object]

END = utc(2026, 2, 28, 12)


@pytest.fixture
def beside(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """Does something while a renewal has the subscription and goes on only when that waits for it.

    What it returned, or the error.
    """

    def act(action: Callable[[], object]) -> object:
        try:
            return action()
        except UserError as error:
            return error
        finally:
            django.db.connections.close_all()

    def begin(action: Callable[[], object]) -> object:
        real = store.hold_versions
        futures: list[Future[object]] = []
        with ThreadPoolExecutor(1) as elsewhere, monkeypatch.context() as patch:

            def hold(*arguments: object) -> None:
                if not futures:
                    futures.append(elsewhere.submit(act, action))
                    wait_until_blocked(futures[0])
                real(*arguments)  # type: ignore[arg-type]  # as they came

            patch.setattr(store, "hold_versions", hold)
            renew(branch, END)
        return futures[0].result()

    return begin


def queued(branch: Branch) -> Number:
    """A number that goes on another plan when its period ends; it has the money, to the kopeck."""
    number, _ = on_plan(branch, money_minor=100_00)
    queue_plan(number, new_plan(price_minor=100_00, allowances={Unit.BYTE: 5000}), by=None)
    return number


def test_a_number_that_is_closed_has_no_plan(branch: Branch, beside: Beside) -> None:
    number = queued(branch)
    answer = beside(lambda: close(number))
    assert isinstance(answer, Number)
    assert answer.status == "closed"
    assert not Subscription.objects.filter(number=number, ended_at=None).exists()


def test_a_plan_is_queued_behind_the_one_that_began(branch: Branch, beside: Beside) -> None:
    number, third = queued(branch), new_plan()
    answer = beside(lambda: queue_plan(number, third, by=None))
    assert isinstance(answer, Subscription)
    assert current(number) == answer
    assert answer.next_version == third
    assert left(number, BYTES) == 5000


def test_one_that_began_is_not_renewed_by_itself_any_more(branch: Branch, beside: Beside) -> None:
    number = queued(branch)
    beside(lambda: set_renewed(number, is_renewed=False, by=None))
    assert not current(number).is_renewed


def test_a_number_is_put_on_a_plan_after_the_one_that_began(branch: Branch, beside: Beside) -> None:
    number, free = queued(branch), new_plan(price_minor=0, allowances={Unit.BYTE: 7})
    answer = beside(lambda: subscribe(number, free))
    assert isinstance(answer, Subscription)
    assert current(number) == answer
    assert left(number, BYTES) == 7


def test_one_that_is_unblocked_while_its_period_ends(branch: Branch, beside: Beside) -> None:
    """It lapses, as it is blocked still, and begins again as soon as it isn't."""
    number, _ = on_plan(branch, money_minor=300_00)
    block(number)
    beside(lambda: unblock(number))
    assert current(number).status == "active"
    assert (left(number, MONEY), left(number, BYTES)) == (0, 1000)


def test_one_that_was_unblocked_just_before_it_is_claimed(branch: Branch) -> None:
    """What the claim's own statement saw may be older than the lock that it got."""
    number, subscription = on_plan(branch, money_minor=300_00)
    block(number)
    with atomic():
        steps = store.claim_due([subscription.pk], END)
        claimed = run(next(steps))
        assert at_once(lambda: Number.objects.filter(pk=number.pk).update(status="active")) == [1]
        read = steps.send(claimed)
        with pytest.raises(StopIteration) as end:
            steps.send(run(read))
    assert [one.is_served for one in end.value.value] == [True]


def test_what_is_used_while_a_period_ends_is_charged_to_the_next(
    branch: Branch, beside: Beside
) -> None:
    number, _ = on_plan(branch, money_minor=300_00)
    answers = beside(lambda: charge([Event("turns", number.number, Unit.BYTE, 7, END)], now=END))
    assert isinstance(answers, list)
    assert [(answer.covered, answer.money_minor) for answer in answers] == [(7, 0)]
    assert (left(number, MONEY), left(number, BYTES)) == (0, 993)
