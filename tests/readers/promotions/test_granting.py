"""The reader of promotions, on the log that it reads: what it gives, what it takes back."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.rules import bonus_id, bonus_reversal_id
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.ledger import client
from popolni.ledger.chart import TOP_UPS, Code, Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import LogEntry, TransferFlags, Unit
from popolni.ledger.statements import Statement, close_accounts
from popolni.readers.frame import Failed, step
from popolni.readers.promotions import granting
from popolni.readers.promotions.granting import READER, handle
from popolni.readers.promotions.rules import PASSED_MAX
from popolni.subscribers import service
from popolni.subscribers.models import Subscription
from popolni.subscribers.service import balance, block, close
from popolni.topups.bonuses import granted, granted_by, is_decided
from popolni.topups.models import BonusesDecided
from popolni.topups.preview import preview
from tests.readers.promotions.support import DAY, GIB, NOW, TINY, World, texts
from tests.subscribers.support import at_once, faults_of

PENDING, POST, VOID = (
    TransferFlags.PENDING,
    TransferFlags.POST_PENDING,
    TransferFlags.VOID_PENDING,
)


@pytest.fixture
def world(database_url: str) -> World:
    assert database_url
    return World()


# What is given


def test_a_bonus_that_ends_has_an_allowance_of_its_own(world: World, database_url: str) -> None:
    promotion = world.promote(budget=3 * GIB)
    top_ups = [world.top_up(), world.top_up(700_00)]
    world.read()
    assert texts(world.effects()) == [
        (25, GIB, promotion.pk, f"{world.book}-{top_up.seq}") for top_up in top_ups
    ]
    allowances = world.allowances()
    for top_up, bonus, allowance in zip(top_ups, world.effects(), allowances, strict=True):
        assert bonus.id == bonus_id(promotion.pk, world.book, top_up.seq)
        assert bonus.debit_account == Kind.PROMOTION_BYTES.account_id(promotion.pk)
        assert bonus.credit_account == Kind.BONUS_BYTES.account_id(allowance.pk)
        assert (allowance.account, allowance.unit) == (bonus.credit_account, Unit.BYTE)
        assert (allowance.granted, allowance.ends_at) == (GIB, NOW + 30 * DAY)
        assert (allowance.promotion, allowance.expired_at) == (promotion, None)
        assert world.left(allowance.account) == [GIB]
    assert world.budget(promotion) == GIB
    assert [(one.unit, one.left) for one in balance(world.number.pk).allowances] == [
        ("byte", GIB),
        ("byte", GIB),
    ]
    assert faults_of(database_url, world.book) == []


@pytest.mark.parametrize(
    ("gives", "value", "amount", "unit", "kind"),
    [
        ("money", 50_00, 50_00, Unit.MONEY, Kind.SUBSCRIBER_MONEY),
        ("percent", 10, 70_00, Unit.MONEY, Kind.SUBSCRIBER_MONEY),
        ("bytes", 5, 5, Unit.BYTE, Kind.BONUS_BYTES),
        ("seconds", 600, 600, Unit.SECOND, Kind.BONUS_SECONDS),
        ("messages", 30, 30, Unit.MESSAGE, Kind.BONUS_MESSAGES),
    ],
)
def test_what_a_promotion_gives(
    world: World, *, gives: str, value: int, amount: int, unit: Unit, kind: Kind
) -> None:
    promotion = world.promote(gives=gives, value=value, budget=10_000)
    top_up = world.top_up(700_00)
    world.read()
    (bonus,) = world.effects()
    assert (bonus.amount, Kind.of(bonus.credit_account)) == (amount, kind)
    assert world.money() == 700_00 + (amount if unit is Unit.MONEY else 0)
    assert world.budget(promotion) == 10_000 - amount
    ends_at = None if unit is Unit.MONEY else NOW + 30 * DAY
    assert granted_by(world.book, top_up.seq) == [(promotion, unit, amount, ends_at, 0)]
    assert len(world.allowances()) == (0 if unit is Unit.MONEY else 1)


@pytest.mark.parametrize("code", list(TOP_UPS.values()))
def test_every_channel(world: World, code: Code) -> None:
    world.promote()
    world.top_up(code=code)
    world.read()
    assert world.amounts() == [GIB]


def test_several_promotions_each_by_its_terms(world: World) -> None:
    gib = world.promote()
    money = world.promote(gives="percent", value=10, money_max_minor=40_00, channels=["osmp"])
    world.promote(channels=["web"])
    world.promote(is_on=False)
    world.promote(ends_at=NOW)
    world.promote(starts_at=NOW + TINY)
    world.promote(budget=None)
    world.promote(budget=GIB - 1)
    top_ups = [world.top_up(), world.top_up(499_99), world.top_up(code=Code.TOP_UP_TILL)]
    world.read()
    given = granted(world.book, [one.seq for one in top_ups])
    assert [[(one.promotion, one.amount) for one in given[top_up.seq]] for top_up in top_ups] == [
        [(gib, GIB), (money, 40_00)],
        [],
        [(gib, GIB)],
    ]
    assert granted(world.book, []) == {}


def test_nothing_but_a_top_up_of_a_number_counts(world: World) -> None:
    world.promote()
    money = Kind.SUBSCRIBER_MONEY.account_id(world.number.pk)
    other = Kind.SUSPENSE_MONEY.account_id()
    bank = Kind.BANK.account_id()
    for code in (Code.BALANCE_CREDIT, Code.OPENING_BALANCE, Code.BONUS, Code.TOP_UP_REFUSAL):
        world.move(bank, money, 500_00, code)
    world.move(bank, other, 500_00, Code.TOP_UP_OSMP)  # somebody else's number
    world.read()
    assert len(world.effects()) == 1  # the one that is no top-up's


@pytest.mark.parametrize(
    ("how", "posted", "given"),
    [
        (POST, 0, 1),
        (POST, 600_00, 1),
        (POST, 499_99, 0),
        (VOID, 0, 0),
        ("timed out", 0, 0),
        (None, 0, 0),
    ],
)
def test_a_pending_top_up_counts_when_and_as_it_is_posted(
    world: World, how: Any, posted: int, given: int
) -> None:
    promotion = world.promote(budget=0)
    pending = world.top_up(700_00, at=NOW - DAY, flags=PENDING, timeout_s=2 * 86_400)
    assert world.read() > 0
    world.fund(promotion, 5 * GIB, at=NOW)
    if isinstance(how, TransferFlags):
        settled = world.settle(pending, how, posted)
        world.read()
        assert len(granted_by(world.book, settled.seq)) == given
        assert is_decided(world.book, settled.seq)
    elif how:
        world.top_up(1, at=NOW + 3 * DAY)
    world.read()
    assert len(world.effects()) == given
    assert granted_by(world.book, pending.seq) == []


def test_a_reversed_posting_of_a_pending_one(world: World) -> None:
    promotion = world.promote()
    pending = world.top_up(flags=PENDING)
    settled = world.settle(pending, POST)
    world.read()
    world.reverse(settled)
    world.read()
    assert world.amounts() == [GIB, -GIB]
    assert world.budget(promotion) == 100 * GIB


@pytest.mark.parametrize(
    ("status", "given"), [("active", 1), ("blocked", 1), ("closed", 0), ("closed earlier", 0)]
)
def test_what_became_of_the_number_meanwhile(
    world: World, caplog: pytest.LogCaptureFixture, status: str, given: int
) -> None:
    """A blocked one's money came in, and so does its bonus; a closed one has no place for it."""
    bytes_, money = world.promote(), world.promote(gives="money", value=1)
    top_up = world.top_up()
    later = world.top_up(number=world.new_number())
    if status == "blocked":
        block(world.number)
    elif status.startswith("closed"):
        account = Kind.SUBSCRIBER_MONEY.account_id(world.number.pk)
        world.use(account, 500_00)
        close(world.number)
    world.read()
    assert len(granted_by(world.book, top_up.seq)) == 2 * given
    assert len(granted_by(world.book, later.seq)) == 2
    assert world.budget(bytes_) == (99 - given) * GIB
    assert world.budget(money) == 100 * GIB - 1 - given
    receipt = f"{world.book}-{top_up.seq}"
    assert caplog.messages == ([] if given else [f"{receipt}: its number is closed: no bonus"])
    assert str(world.number.pk) not in caplog.text


def test_a_closed_number_keeps_no_bonus(world: World) -> None:
    world.promote()
    world.top_up()
    world.read()
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 500_00)
    close(world.number)
    (allowance,) = world.allowances()
    assert world.left(allowance.account) == [0]
    assert balance(world.number.pk).allowances == []


def test_a_bonus_that_comes_while_its_number_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote()
    world.top_up()
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 500_00)

    def close_late(book: int, ids: list[int]) -> Statement[int]:
        if not world.effects():
            assert at_once(world.read) == [len(world.log())]
        return close_accounts(book, ids)

    monkeypatch.setattr(service, "close_accounts", close_late)
    close(world.number)
    (allowance,) = world.allowances()
    assert world.amounts() == [GIB]
    assert world.left(allowance.account) == [0]
    assert balance(world.number.pk).allowances == []


def test_a_budget_whose_account_is_closed_gives_nothing(world: World) -> None:
    promotion = world.promote()
    run(close_accounts(world.book, [Kind.PROMOTION_BYTES.account_id(promotion.pk)]))
    world.top_up()
    world.read()
    assert world.effects() == []


# Budgets


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_a_budget_is_spent_to_the_last_and_then_gives_nothing(world: World, limit: int) -> None:
    promotion = world.promote(budget=3 * GIB + GIB // 2)
    top_ups = [world.top_up() for _ in range(5)]
    world.read(limit)
    assert [len(granted_by(world.book, one.seq)) for one in top_ups] == [1, 1, 1, 0, 0]
    assert world.budget(promotion) == GIB // 2


@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.parametrize("reads_between", [True, False])
def test_funding_gives_nothing_to_those_before(
    world: World, limit: int, *, reads_between: bool
) -> None:
    """Also where the reader was late, and the money is there when it comes."""
    promotion = world.promote(budget=GIB)
    top_ups = []
    for funding in (None, None, GIB, None, 2 * GIB, None, None, None):
        if funding:
            world.fund(promotion, funding, at=NOW)
        else:
            top_ups.append(world.top_up())
        if reads_between:
            world.read(limit)
    world.read(limit)
    given = [len(granted_by(world.book, one.seq)) for one in top_ups]
    assert given == [1, 0, 1, 1, 1, 0]


def test_what_is_withdrawn_is_not_given(world: World) -> None:
    promotion = world.promote(budget=2 * GIB)
    top_ups = [world.top_up(), world.top_up()]
    world.fund(promotion, -GIB, at=NOW)
    world.read()
    assert [len(granted_by(world.book, one.seq)) for one in top_ups] == [1, 0]
    assert world.budget(promotion) == 0


def test_what_is_taken_back_can_be_given_again(world: World) -> None:
    promotion = world.promote(budget=GIB)
    first = world.top_up()
    second = world.top_up()
    world.reverse(first)
    third = world.top_up()
    world.read()
    assert [len(granted_by(world.book, one.seq)) for one in (first, second, third)] == [1, 0, 1]
    assert world.amounts() == [GIB, -GIB, GIB]
    assert world.budget(promotion) == 0


# Caps and first top-ups


@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.parametrize("gives", ["bytes", "money"])
@pytest.mark.parametrize(
    ("terms", "ages", "expected"),
    [
        ({"per_number_max": 1}, [3, 2, 1], [1, 0, 0]),
        ({"per_number_max": 2}, [3, 2, 1], [1, 1, 0]),
        ({"per_number_max": 1, "per_number_days": 2}, [3, 2, 1], [1, 0, 1]),
        ({"per_number_max": 1, "per_number_days": 1}, [3, 2, 1], [1, 1, 1]),
        ({"is_first_top_up_only": True}, [3, 2, 1], [1, 0, 0]),
        ({}, [3, 2, 1], [1, 1, 1]),
    ],
)
def test_caps_per_number(
    world: World, *, limit: int, gives: str, terms: dict[str, Any], ages: list[int],
    expected: list[int],
) -> None:  # fmt: skip
    world.promote(gives=gives, value=5, **terms)
    other = world.new_number()
    own, others = [], []
    for age in ages:
        own.append(world.top_up(at=NOW - age * DAY))
        others.append(world.top_up(number=other, at=NOW - age * DAY))
    world.read(limit)
    for top_ups in (own, others):
        assert [len(granted_by(world.book, one.seq)) for one in top_ups] == expected


def test_a_smaller_top_up_was_the_first(world: World) -> None:
    world.promote(is_first_top_up_only=True)
    world.top_up(1)
    world.top_up()
    world.read()
    assert world.effects() == []


@pytest.mark.parametrize(
    ("terms"), [{"per_number_max": 1}, {"is_first_top_up_only": True}], ids=["cap", "first"]
)
@pytest.mark.parametrize(
    ("used", "again", "reads"),
    [(0, True, True), (0, True, False), (1, False, True), (GIB, False, True)],
)
def test_a_bonus_counts_as_far_as_it_was_kept(
    world: World, terms: dict[str, Any], used: int, *, again: bool, reads: bool
) -> None:
    world.promote(**terms)
    first = world.top_up()
    if reads:
        world.read()
    if used:
        world.use(world.allowances()[0].account, used)
    world.reverse(first)
    if reads:
        world.read()
        assert bool(_previewed(world)) == again
    second = world.top_up()
    world.read()
    assert len(granted_by(world.book, second.seq)) == int(again)


# Plans


def test_the_plan_is_that_of_the_top_ups_moment(world: World) -> None:
    plan = Plan.objects.create(operator=world.operator, code=f"bonuses-{world.book}", kind="data")
    version = PlanVersion.objects.create(
        plan=plan, version=1, name_ru="а", name_en="a", name_zh="一", price_minor=0,
        period_unit="month", when_short="stop",
    )  # fmt: skip
    promotion = world.promote()
    promotion.plans.add(plan)
    Subscription.objects.create(
        number=world.number, version=version, period_ends_at=NOW,
        started_at=NOW - 3 * DAY, ended_at=NOW - DAY,
    )  # fmt: skip
    # What begins or ends with the top-up is not what it was paid on, or was.
    moments = [NOW - 3 * DAY, NOW - 3 * DAY + TINY, NOW - DAY, NOW - DAY + TINY]
    top_ups = [world.top_up(at=at) for at in moments]
    world.read()
    assert [len(granted_by(world.book, one.seq)) for one in top_ups] == [0, 1, 1, 0]


def test_a_promotion_that_ended_before_the_reader_came(world: World) -> None:
    promotion = world.promote()
    before, after = world.top_up(at=NOW - TINY), world.top_up(at=NOW)
    Promotion.objects.filter(pk=promotion.pk).update(ends_at=NOW)
    world.read()
    assert len(granted_by(world.book, before.seq)) == 1
    assert granted_by(world.book, after.seq) == []


# Reversals


def test_a_reversal_takes_back_what_is_left(world: World) -> None:
    promotion = world.promote()
    top_up, other = world.top_up(), world.top_up()
    world.read()
    account = world.allowances()[0].account
    world.use(account, 100)
    world.reverse(top_up)
    world.read()
    *_given, back = world.effects()
    assert back.id == bonus_reversal_id(promotion.pk, world.book, top_up.seq)
    assert (back.code, back.amount, back.reference_id) == (26, GIB - 100, promotion.pk)
    assert back.credit_account == Kind.PROMOTION_BYTES.account_id(promotion.pk)
    assert world.left(account) == [0]
    assert world.budget(promotion) == 99 * GIB - 100
    assert [one.taken_back for one in granted_by(world.book, top_up.seq)] == [GIB - 100]
    assert [one.taken_back for one in granted_by(world.book, other.seq)] == [0]


def test_what_is_reserved_of_an_allowance_stays(world: World) -> None:
    world.promote()
    top_up = world.top_up()
    world.read()
    account = world.allowances()[0].account
    used = Kind.USED_BYTES.account_id()
    world.move(account, used, 300, Code.USAGE, flags=PENDING)
    world.reverse(top_up)
    world.read()
    assert world.amounts() == [GIB, 300 - GIB]


@pytest.mark.parametrize(
    ("spent", "others", "back"),
    [(0, 0, 50_00), (20_00, 0, 30_00), (50_00, 0, 0), (50_00, 10_00, 10_00), (0, 900_00, 50_00)],
)
def test_money_is_taken_back_as_far_as_the_number_has_it(
    world: World, spent: int, others: int, back: int
) -> None:
    """The reversal comes before it, and finds all that there is."""
    promotion = world.promote(gives="money", value=50_00, budget=50_00)
    top_up = world.top_up()
    world.read()
    if spent:
        world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), spent)
    if others:
        world.top_up(others)
    world.reverse(top_up)
    world.read()
    assert world.amounts() == [50_00, -back] if back else [50_00]
    assert world.money() == 50_00 - spent + others - back
    assert world.budget(promotion) == back


def test_the_reversal_comes_first(world: World) -> None:
    """All that the number has is the top-up: the bonus is used, and no obstacle."""
    world.promote(gives="money", value=50_00)
    top_up = world.top_up()
    world.read()
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 50_00)
    world.reverse(top_up)
    world.read()
    assert (world.money(), world.amounts()) == (0, [50_00])


def test_no_later_top_up_pays_for_it(world: World) -> None:
    """However late the reader is: the later one can still be reversed."""
    world.promote(gives="money", value=50_00, per_number_max=1)
    top_up = world.top_up()
    world.read()
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 20_00)
    world.reverse(top_up)
    later = world.top_up(600_00)
    world.read()
    assert world.amounts() == [50_00, -30_00]
    world.reverse(later)
    assert world.money() == 0


@pytest.mark.parametrize("gives", ["bytes", "money"])
@pytest.mark.parametrize("limit", [1, 2, 500])
def test_a_reversal_that_is_read_with_its_top_up(world: World, gives: str, limit: int) -> None:
    promotion = world.promote(gives=gives, value=70)
    top_up = world.top_up()
    world.reverse(top_up)
    world.read(limit)
    assert world.amounts() == [70, -70]
    assert (world.budget(promotion), world.money()) == (100 * GIB, 0)


@pytest.mark.parametrize(("early", "back"), [(TINY, True), (timedelta(0), False)])
def test_what_has_ended_is_not_taken_back(world: World, early: timedelta, *, back: bool) -> None:
    world.promote()
    top_up = world.top_up(at=NOW)
    world.read()
    (allowance,) = world.allowances()
    world.reverse(top_up, at=allowance.ends_at - early)
    world.read()
    assert world.amounts() == ([GIB, -GIB] if back else [GIB])


def test_a_reversal_of_a_promotion_that_is_over(world: World) -> None:
    promotion = world.promote()
    top_up = world.top_up()
    world.read()
    Promotion.objects.filter(pk=promotion.pk).update(is_on=False, ends_at=NOW + TINY)
    world.reverse(top_up)
    world.read()
    assert world.amounts() == [GIB, -GIB]


def test_a_reversal_of_a_number_that_is_closed(world: World) -> None:
    """Its money went back before it was closed; what it had of the bonus has expired then."""
    promotion = world.promote()
    top_up = world.top_up()
    world.read()
    world.reverse(top_up)
    close(world.number)
    world.read()
    assert world.amounts() == [GIB]
    assert world.budget(promotion) == 99 * GIB


# Once


def test_reading_again_changes_nothing(world: World) -> None:
    """Whatever was funded, turned on or used since."""
    empty, off = world.promote(budget=0), world.promote(is_on=False)
    world.promote(gives="money", value=5, per_number_max=1)
    top_ups = [world.top_up(), world.top_up(), world.top_up()]
    world.reverse(top_ups[0])
    world.read()
    world.fund(empty, 5 * GIB)
    Promotion.objects.filter(pk=off.pk).update(is_on=True)
    world.top_up(499_99)
    world.read()
    before = world.log()
    for limit in (1, 7, 500):
        world.set_back()
        assert world.read(limit) == len(before)
        assert world.log() == before
    assert len(world.allowances()) == 0


def test_without_what_was_decided_nothing_is_given_twice(world: World) -> None:
    promotion = world.promote()
    top_ups = [world.top_up(), world.top_up()]
    world.reverse(top_ups[0])
    world.read()
    before = world.log()
    world.forget()
    world.read()
    assert world.log() == before
    assert len(world.allowances()) == 2
    assert world.budget(promotion) == 99 * GIB


def test_what_was_passed_over_is_decided_when_it_is_handed_in(world: World) -> None:
    """An entry that the worker set aside, and a person has tried again."""
    world.promote(per_number_max=1)
    first, second, third = (world.top_up(number=world.new_number()) for _ in range(3))
    entries = world.log()
    _hand_in(world, [entry for entry in entries if entry.seq not in (first.seq, second.seq)])
    assert [is_decided(world.book, one.seq) for one in (first, second, third)] == [
        False,
        False,
        True,
    ]
    world.stand_at(third.seq)
    world.reverse(second)
    world.read()
    assert len(world.effects()) == 1
    _hand_in(world, [first])
    _hand_in(world, [second])  # reversed since
    _hand_in(world, [first])
    assert [len(granted_by(world.book, one.seq)) for one in (first, second, third)] == [1, 0, 1]
    assert is_decided(world.book, second.seq)
    assert not is_decided(world.book, 10**6)
    assert len(world.effects()) == 2


def test_a_late_one_is_counted_with_those_after_it(world: World) -> None:
    world.promote(per_number_max=1)
    first, second = world.top_up(), world.top_up()
    _hand_in(world, [entry for entry in world.log() if entry.seq != first.seq])
    _hand_in(world, [first])
    assert [len(granted_by(world.book, one.seq)) for one in (first, second)] == [0, 1]


def test_a_gap_that_was_made_by_intent_is_not_kept(world: World) -> None:
    top_up = world.top_up()
    _hand_in(world, [top_up._replace(seq=PASSED_MAX + 2)])
    assert BonusesDecided.objects.get(book=world.book).passed == []


def _hand_in(world: World, entries: list[LogEntry]) -> None:
    with atomic():
        handle(world.book, entries)


def test_a_crash_gives_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.promote()
    for _ in range(3):
        world.top_up()
    before = world.log()
    post = granting._post

    def post_and_die(*arguments: Any) -> None:
        post(*arguments)
        raise RuntimeError("it dies")

    with monkeypatch.context() as patch, pytest.raises(Failed) as failed:
        patch.setattr(granting, "_post", post_and_die)
        world.read()
    assert str(failed.value.cause) == "it dies"
    assert world.log() == before
    assert world.allowances() == []
    world.read()
    assert world.amounts() == [GIB] * 3


def test_a_book_that_is_no_branchs(world: World) -> None:
    world.promote()
    world.top_up()
    type(world.branch).objects.filter(pk=world.branch.pk).update(book=world.book + 500_000)
    world.read()
    assert world.effects() == []


# As it was said before


def _previewed(world: World, amount: int = 500_00) -> list[tuple[int, Unit, int, datetime | None]]:
    answer = preview(world.number.pk, amount, channel=Channel.OSMP, method=Method.CASH, at=None)
    return [
        (one.promotion.pk, one.unit, one.amount, one.ends_at and _day(one.ends_at))
        for one in answer.bonuses
    ]


def _day(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("terms", "history"),
    [
        ({}, []),
        ({"budget": GIB}, [500_00]),
        ({"per_number_max": 2}, [500_00]),
        ({"per_number_max": 2}, [500_00, 500_00]),
        ({"per_number_max": 1}, [499_99]),
        ({"is_first_top_up_only": True}, []),
        ({"is_first_top_up_only": True}, [1]),
        ({"gives": "percent", "value": 10, "money_max_minor": 40_00}, []),
        ({"amount_min_minor": 1, "amount_max_minor": 499_99}, []),
        ({"channels": ["web"]}, []),
        ({"starts_at": NOW + DAY}, []),
    ],
)
def test_what_the_preview_says_is_given(
    world: World, terms: dict[str, Any], history: list[int]
) -> None:
    world.promote(**terms)
    for amount in history:
        world.top_up(amount, at=None)
        world.read()
    said = _previewed(world)
    top_up = world.top_up(at=None)
    world.read()
    assert said == [
        (one.promotion.pk, one.unit, one.amount, one.ends_at and _day(one.ends_at))
        for one in granted_by(world.book, top_up.seq)
    ]


# Its cost


@pytest.mark.parametrize("terms", [{}, {"per_number_max": 5, "is_first_top_up_only": True}])
def test_its_queries_do_not_grow(
    world: World, terms: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither Django's nor those to the ledger."""
    asked: list[str] = []
    run_once = client._run_once

    def count_and_run(statement: Statement[Any], wrapper: Any) -> Any:
        asked.append(statement.sql)
        return run_once(statement, wrapper)

    monkeypatch.setattr(client, "_run_once", count_and_run)
    world.promote(**terms)
    counted: list[int] = []
    for top_ups in (1, 1, 12):
        for _ in range(top_ups):
            world.top_up(number=world.new_number())
        asked.clear()
        with CaptureQueriesContext(connection) as captured:
            step(READER, world.book, 500)
        counted.append(len(captured) + len(asked))
        world.read()
    assert len(world.effects()) == 14
    assert counted[1] == counted[2] < 30
