"""Renewals on a real ledger; the `branch` fixture audits its book after each test."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import sleep

import pytest
from django.db import connection, transaction

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import Steps, atomic, run, run_steps
from popolni.ledger.model import Transfer, TransferFlags, Unit
from popolni.ledger.statements import close_accounts, lock_book, post, reopen_accounts
from popolni.subscribers.models import Number, RenewalProgress, Subscription
from popolni.subscribers.renewals import store
from popolni.subscribers.renewals.rules import Credit, Standing
from popolni.subscribers.renewals.service import Done, _batches, resume, run_due
from popolni.subscribers.renewals.store import Due, claim_due
from popolni.subscribers.service import balance, block, close, subscribe, unblock
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
from tests.subscribers.support import at_once, left, log, new_branch, new_number, new_plan, use

END = utc(2026, 2, 28, 12)


def test_a_period_that_has_ended_is_followed_by_the_next(branch: Branch) -> None:
    number, subscription = on_plan(branch, money_minor=350_00)
    use(number, 400)
    assert after(branch, lambda: renew(branch, END - timedelta(seconds=1))) == []
    posted = after(branch, lambda: renew(branch, END))
    assert posted == [
        (Code.PLAN_CHARGE, 300_00),
        (Code.ALLOWANCE_EXPIRY, 600),
        (Code.ALLOWANCE_EXPIRY, 60),
        (Code.ALLOWANCE_GRANT, 1000),
        (Code.ALLOWANCE_GRANT, 60),
    ]
    assert {entry.flags for entry in log(branch)[-5:]} == {TransferFlags.NONE}
    assert {entry.reference_id for entry in log(branch)[-5:]} == {subscription.pk}
    subscription.refresh_from_db()
    assert subscription.status == "active"
    assert subscription.period_starts_at == END
    assert subscription.period_ends_at == utc(2026, 3, 31, 12)
    assert (left(number, MONEY), left(number, BYTES), left(number, SECONDS)) == (50_00, 1000, 60)
    ends = set(number.allowances.values_list("ends_at", flat=True))
    assert ends == {subscription.period_ends_at}
    assert after(branch, lambda: renew(branch, END)) == []


def test_from_31_january_on(branch: Branch) -> None:
    """28 February, 31 March, 30 April, 31 May: by the day of the start, at its time of day."""
    number, _ = on_plan(branch, money_minor=4 * 300_00)
    for month, day in ((3, 31), (4, 30), (5, 31), (6, 30)):
        renew(branch, current(number).period_ends_at)
        assert current(number).period_ends_at == utc(2026, month, day, 12)
    assert left(number, MONEY) == 0


def test_periods_that_went_by_unseen_are_not_charged(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=1_000_00)
    renew(branch, utc(2026, 5, 5))
    assert current(number).period_starts_at == utc(2026, 4, 30, 12)
    assert current(number).period_ends_at == utc(2026, 5, 31, 12)
    assert left(number, MONEY) == 700_00


def test_without_the_money_it_lapses(branch: Branch) -> None:
    number, subscription = on_plan(branch, money_minor=299_99)
    use(number, 1000)
    assert after(branch, lambda: renew(branch, END)) == [(Code.ALLOWANCE_EXPIRY, 60)]
    subscription.refresh_from_db()
    assert (subscription.status, subscription.ended_at) == ("lapsed", None)
    assert subscription.period_ends_at == END
    assert left(number, MONEY) == 299_99
    assert balance(number.number).allowances == []
    assert after(branch, lambda: renew(branch, utc(2026, 12, 1))) == []


def test_one_that_lapses_with_nothing_left_posts_nothing(branch: Branch) -> None:
    number, _ = on_plan(branch, version=new_plan(allowances={}))
    assert after(branch, lambda: renew(branch, END)) == []
    assert current(number).status == "lapsed"


def test_a_free_plan_goes_on(branch: Branch) -> None:
    plan = new_plan(price_minor=0, allowances={Unit.MESSAGE: 5})
    number, _ = on_plan(branch, version=plan)
    posted = [(Code.ALLOWANCE_EXPIRY, 5), (Code.ALLOWANCE_GRANT, 5)]
    assert after(branch, lambda: renew(branch, END)) == posted
    assert current(number).status == "active"


def test_a_blocked_number_is_not_charged(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=300_00)
    block(number)
    assert renew(branch, END) == Done(lapsed=1)
    assert left(number, MONEY) == 300_00
    at = utc(2026, 3, 10, 9)
    unblock(number, at=at)
    found = current(number)
    assert (found.status, found.period_starts_at) == ("active", at)
    assert left(number, MONEY) == 0


def test_what_is_reserved_pays_for_no_period(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=300_00)
    reserved = Transfer(
        transfer_id("test renewals", number.number), MONEY.account_id(number.number),
        Kind.OPERATOR_REVENUE.account_id(), 1, Code.USAGE_CHARGE, TransferFlags.PENDING,
    )  # fmt: skip
    run(post(branch.book, [reserved]))
    assert renew(branch, END) == Done(lapsed=1)


# After a top-up


def resumed(number: Number, now: datetime, *credits_: Credit) -> int:
    with transaction.atomic():
        return resume(number.branch.book, {number.number: credits_}, now)


def lapsed(branch: Branch, money_minor: int = 0) -> Number:
    number, _ = on_plan(branch, money_minor=money_minor)
    renew(branch, END)
    return number


def test_a_lapsed_number_begins_again_from_that_moment(branch: Branch) -> None:
    number, at = lapsed(branch, 100_00), utc(2026, 3, 20, 9, 30)
    top_up(number, 200_00)
    posted = after(branch, lambda: resumed(number, at, Credit(at, 200_00, "1-2")))
    assert posted == [
        (Code.PLAN_CHARGE, 300_00),
        (Code.ALLOWANCE_GRANT, 1000),
        (Code.ALLOWANCE_GRANT, 60),
    ]
    assert {entry.reference for entry in log(branch)[-3:]} == {"1-2"}
    found = current(number)
    assert (found.status, found.anchored_at) == ("active", at)
    assert (found.period_starts_at, found.period_ends_at) == (at, utc(2026, 4, 20, 9, 30))
    assert left(number, MONEY) == 0
    assert resumed(number, at, Credit(at, 200_00, "1-2")) == 0


def test_too_little_begins_nothing(branch: Branch) -> None:
    number = lapsed(branch)
    top_up(number, 299_99)
    assert after(branch, lambda: resumed(number, END, Credit(END, 299_99))) == []
    assert current(number).status == "lapsed"


def test_the_anchor_is_the_day_on_which_it_began_again(branch: Branch) -> None:
    number, at = lapsed(branch), utc(2026, 3, 29, 9)
    top_up(number, 1_000_00)
    resumed(number, at, Credit(at, 1_000_00))
    renew(branch, utc(2026, 4, 29, 9))
    assert current(number).period_ends_at == utc(2026, 5, 29, 9)


def test_an_active_number_is_left_alone(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=1_000_00)
    assert resumed(number, END, Credit(END)) == 0


def test_a_resumption_is_the_end_of_a_transaction(branch: Branch) -> None:
    with pytest.raises(RuntimeError, match="there is none"):
        resume(branch.book, {}, END)


# Many


def test_many_of_several_books(branch: Branch) -> None:
    other = new_branch()
    version = new_plan()
    numbers = [on_plan(one, money_minor=m, version=version)[0]
               for one in (branch, other) for m in (300_00, 0, 300_00)]  # fmt: skip
    books = [branch.book, other.book]
    assert run_due(END, 2, books=books, batch=1) == Done(renewed=1, lapsed=1)
    assert run_due(END, 100, books=books, batch=2) == Done(renewed=3, lapsed=1)
    assert run_due(END, 100, books=books) == Done()
    assert [left(number, BYTES) for number in numbers] == [1000, 0, 1000] * 2
    progress = RenewalProgress.objects.get(book=branch.book)
    assert (progress.renewed, progress.lapsed, progress.run_done) == (2, 1, 3)


def test_it_ends_between_two_batches(branch: Branch) -> None:
    version = new_plan()
    for _ in range(3):
        on_plan(branch, version=version)
    asked = iter([False, True])
    done = run_due(END, 9, books=[branch.book], batch=1, is_ending=lambda: next(asked))
    assert done == Done(lapsed=1)


def test_of_many_at_once_each_is_renewed_once(branch: Branch) -> None:
    version = new_plan()
    numbers = [on_plan(branch, money_minor=900_00, version=version)[0] for _ in range(12)]
    results = at_once(*[lambda: renew(branch, END, batch=2)] * 4)
    assert sum(done.renewed for done in results if isinstance(done, Done)) == 12
    assert {left(number, MONEY) for number in numbers} == {600_00}


def test_one_that_cannot_be_renewed_stands_in_nobodys_way(
    branch: Branch, caplog: pytest.LogCaptureFixture
) -> None:
    version = new_plan()
    numbers = [on_plan(branch, money_minor=300_00, version=version)[0] for _ in range(3)]
    broken = [MONEY.account_id(numbers[1].number)]
    run(close_accounts(branch.book, broken))
    failed = current(numbers[1]).pk
    assert renew(branch, END) == Done(renewed=2, failed=(failed,))
    assert run_due(END, 9, books=[branch.book], without=[failed]) == Done()
    assert "debit_account_already_closed" in caplog.text
    assert [left(number, MONEY) for number in numbers] == [0, 300_00, 0]
    run(reopen_accounts(branch.book, broken))
    assert renew(branch, END) == Done(renewed=1)


def test_terms_that_nobody_can_read(branch: Branch, caplog: pytest.LogCaptureFixture) -> None:
    version = new_plan()
    number, subscription = on_plan(branch, money_minor=300_00, version=version)
    other, _ = on_plan(branch, money_minor=300_00)
    PlanVersion.objects.filter(pk=version.pk).update(period_unit="year")
    assert renew(branch, END) == Done(renewed=1, failed=(subscription.pk,))
    assert f"subscription {subscription.pk}: nobody can read its terms" in caplog.text
    assert (left(number, MONEY), left(other, MONEY)) == (300_00, 0)
    PlanVersion.objects.filter(pk=version.pk).update(period_unit="month")


def test_one_whose_renewal_is_always_rolled_back(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server undoes each time, a lock not had, say, is no database that is away."""
    version = new_plan()
    numbers = [on_plan(branch, money_minor=300_00, version=version)[0] for _ in range(3)]
    stuck, hold = current(numbers[1]).pk, store.hold_versions

    def refuse(standings: Iterable[Standing]) -> None:
        held = list(standings)
        if stuck in [one.subscription for one in held]:
            with connection.cursor() as cursor:
                cursor.execute("do $$ begin raise exception using errcode = '55P03'; end $$")
        hold(held)

    monkeypatch.setattr(store, "hold_versions", refuse)
    assert renew(branch, END) == Done(renewed=2, failed=(stuck,))
    assert [left(number, MONEY) for number in numbers] == [0, 300_00, 0]


def test_one_at_which_the_session_is_ended(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who idles behind the book's lock loses the connection; the others' is another one."""
    version = new_plan()
    numbers = [on_plan(branch, money_minor=300_00, version=version)[0] for _ in range(2)]
    stuck, claim = current(numbers[0]).pk, store.claim_due

    def end_session(ids: Sequence[int], now: datetime) -> Steps[list[Standing]]:
        if stuck in ids:
            with connection.cursor() as cursor:
                cursor.execute("set local idle_in_transaction_session_timeout = '20ms'")
            sleep(0.5)
        return claim(ids, now)

    monkeypatch.setattr(store, "claim_due", end_session)
    assert renew(branch, END) == Done(renewed=1, failed=(stuck,))


# Beside what people do


def test_who_changes_the_plan_meanwhile_pays_once_for_each(branch: Branch) -> None:
    other = new_plan(price_minor=100_00, allowances={Unit.BYTE: 5000})
    for _ in range(4):
        number, _ = on_plan(branch, money_minor=1_000_00, at=utc(2026, 1, 31, 12))
        results = at_once(partial(renew, branch, END), partial(subscribe, number, other))
        assert not [one for one in results if isinstance(one, Exception)]
        assert current(number).version_id == other.pk
        assert left(number, BYTES) == 5000
        assert left(number, MONEY) in (900_00, 600_00)


def test_a_closed_number_is_not_renewed(branch: Branch) -> None:
    number, _ = on_plan(branch)
    close(number)
    assert renew(branch, END) == Done()
    assert Subscription.objects.filter(number=number, status="active").count() == 1


def test_days(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=300_00, unit=PeriodUnit.DAY)
    renew(branch, utc(2026, 2, 1, 12))
    assert current(number).period_ends_at == utc(2026, 2, 2, 12)


def test_a_number_without_a_plan(branch: Branch) -> None:
    number = new_number(branch, 1_000_00)
    assert resumed(number, END, Credit(END)) == 0


# Beside other workers


def test_what_is_left_out_leaves_room_for_others(branch: Branch) -> None:
    early = utc(2026, 1, 30, 12)
    out = [on_plan(branch, money_minor=300_00, at=early)[1].pk for _ in range(2)]
    on_plan(branch, money_minor=300_00)
    assert run_due(END, 2, books=[branch.book], without=out) == Done(renewed=1)


def test_workers_begin_in_different_books() -> None:
    page = [Due(book, END, number) for number in range(20) for book in range(10)]
    found = [list(_batches(page, 15)) for _ in range(20)]
    assert len({batches[0][0] for batches in found}) > 1
    for batches in found:
        assert [ids for book, ids in batches if book == 3] == [[*range(15)], [*range(15, 20)]]
        assert len(batches) == 20


def test_who_has_claimed_nothing_does_not_wait_for_the_book(branch: Branch) -> None:
    _, subscription = on_plan(branch)

    def look() -> Done:
        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '1s'")
        return renew(branch, END)

    with atomic():
        run_steps(claim_due([subscription.pk], END))
        run(lock_book(branch.book))
        assert at_once(look) == [Done()]
