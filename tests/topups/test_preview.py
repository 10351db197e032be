"""Previews: what is read from the rows and the log, and from where to where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.operators.rules import Identity
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.rules import WhyNot, bonus_id
from popolni.catalog.promotions.service import budget_kind
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.chart import BOOK_ACCOUNTS, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, TransferFlags, Unit
from popolni.ledger.statements import open_accounts, open_book
from popolni.subscribers.models import Number, Subscriber, Subscription
from popolni.topups import history
from popolni.topups.preview import Given, NotGiven, Preview, preview
from tests.ledger.support import post_at

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)  # 14:30 in Yekaterinburg
DAY = timedelta(days=1)
TODAY = datetime(2026, 3, 19, 19, tzinfo=UTC)  # when its day began, and its month:
MONTH = datetime(2026, 2, 28, 19, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
TINY = timedelta(microseconds=1)
GIB = 2**30
CLEARING = Kind.PAYMENT_CLEARING.account(1)

_books = count(21_100)
_numbers = count(79220100000)
_names = count(1)

Promote = Callable[..., Promotion]


@dataclass(frozen=True)
class Place:
    """A number in a branch with a book of its own."""

    row: Number

    @property
    def book(self) -> int:
        return self.row.branch.book

    @property
    def money(self) -> int:
        return Kind.SUBSCRIBER_MONEY.account_id(self.row.number)

    def post(self, at: datetime, amount: int, code: int = Code.TOP_UP_TILL, **more: Any) -> int:
        """One transfer, to the number's money unless it says otherwise; its seq."""
        values: dict[str, Any] = {
            "id": transfer_id("preview", next(_names)),
            "debit_account": CLEARING.id,
            "credit_account": self.money,
        }
        transfer = Transfer(**{**values, "amount": amount, "code": code, **more})
        (answer,) = run(post_at(self.book, [transfer], at))
        assert answer.outcome == "created"
        return answer.seq

    def open_budget(self, promotion: Promotion, amount: int, at: datetime = START) -> None:
        account = budget_kind(promotion).account(promotion.pk)
        run(open_accounts(self.book, [account]))
        source = {
            Unit.MONEY: Kind.BANK,
            Unit.BYTE: Kind.ISSUED_BYTES,
            Unit.SECOND: Kind.ISSUED_SECONDS,
            Unit.MESSAGE: Kind.ISSUED_MESSAGES,
        }[account.unit]
        if amount:
            accounts = {"debit_account": source.account_id(), "credit_account": account.id}
            self.post(at, amount, Code.BUDGET_FUNDING, **accounts)

    def give(self, promotion: Promotion, seq: int, at: datetime, **more: Any) -> None:
        """A bonus as its reader posts it, of 1."""
        kind = budget_kind(promotion)
        bonus_account = Kind.BONUS_BYTES.account(next(_names))
        if kind is Kind.PROMOTION_BYTES:
            run(open_accounts(self.book, [bonus_account]))
        values: dict[str, Any] = {
            "id": bonus_id(promotion.pk, self.book, seq),
            "debit_account": kind.account_id(promotion.pk),
            "credit_account": self.money if kind is Kind.PROMOTION_MONEY else bonus_account.id,
            "code": Code.BONUS,
            "reference_id": promotion.pk,
        }
        self.post(at, 1, **{**values, **more})

    def preview(self, amount_minor: int = 500_00, **more: Any) -> Preview:
        values: dict[str, Any] = {"channel": Channel.TILL, "method": Method.SBP, "at": NOW}
        return preview(self.row.number, amount_minor, **{**values, **more})


@pytest.fixture(scope="module")
def operator(database_url: str) -> Operator:
    assert database_url
    profile = ComplianceProfile.objects.create(
        name="previews",
        cash_identity_from_minor=400_00,
        day_max_minor=10_000_00,
        month_max_minor=30_000_00,
    )
    for channel in (Channel.TILL, Channel.WEB):
        limits = {"min_minor": 10_00, "max_minor": 5_000_00}
        ChannelLimit.objects.create(profile=profile, channel=channel, **limits)
    for method in (Method.CASH, Method.SBP):
        MethodSetting.objects.create(profile=profile, method=method)
    return Operator.objects.create(
        code="previews-operator",
        name_ru="П",
        name_en="P",
        name_zh="预",
        colour="#000000",
        mnc="211",
        balance_ussd="*100#",
        profile=profile,
    )


@pytest.fixture
def place(operator: Operator) -> Place:
    book = next(_books)
    branch = Branch.objects.create(
        operator=operator,
        code=f"previews-{book}",
        book=book,
        name_ru="У",
        name_en="U",
        name_zh="乌",
        time_zone="Asia/Yekaterinburg",
    )
    row = Number.objects.create(
        number=next(_numbers), branch=branch, subscriber=Subscriber.objects.create()
    )
    made = Place(row)
    run(open_book(book, "RUB"))
    money = Kind.SUBSCRIBER_MONEY.account(row.number)
    run(open_accounts(book, [*BOOK_ACCOUNTS, CLEARING, money]))
    return made


@pytest.fixture
def promote(operator: Operator) -> Iterator[Promote]:
    """Makes promotions of the operator; the next test has none of them."""

    def make(**terms: Any) -> Promotion:
        code = f"previews-{next(_names)}"
        values = {"starts_at": START, "gives": "money", "value": 50_00}
        return Promotion.objects.create(
            operator=operator,
            code=code,
            name_ru=code,
            name_en=code,
            name_zh=code,
            **values | terms,
        )

    yield make
    Promotion.objects.filter(operator=operator).update(is_on=False)


@pytest.mark.parametrize("number", [79229999999, 0, -1, 10**30])
def test_a_number_that_is_not_here(database_url: str, number: int) -> None:
    assert database_url
    answer = preview(number, 500_00, channel=Channel.TILL, method=Method.SBP)
    assert answer == Preview(number=number, amount_minor=500_00, refusal=Refusal.NUMBER_UNKNOWN)


def test_what_a_top_up_of_500_gives(place: Place, promote: Promote) -> None:
    gib = promote(gives="bytes", value=GIB, valid_days=30, amount_min_minor=500_00)
    ten_per_cent = promote(gives="percent", value=10, money_max_minor=40_00, channels=["till"])
    web = promote(channels=["web"])
    promote(is_on=False)
    promote(ends_at=NOW)
    promotion_of_another = promote(starts_at=NOW + TINY)
    for one in (gib, ten_per_cent, web):
        place.open_budget(one, 100 * GIB)
    common: dict[str, Any] = {
        "number": place.row.number,
        "currency": "RUB",
        "refusal": None,
        "allowed": AmountRange(10_00, 5_000_00),
    }
    assert place.preview() == Preview(
        **common,
        amount_minor=500_00,
        bonuses=(
            Given(gib, Unit.BYTE, GIB, NOW + 30 * DAY),
            Given(ten_per_cent, Unit.MONEY, 40_00, None),
        ),
        not_given=(
            NotGiven(web, WhyNot.OTHER_CHANNEL),
            NotGiven(promotion_of_another, WhyNot.NOT_STARTED),
        ),
    )
    assert place.preview(399_99, channel=Channel.WEB) == Preview(
        **common,
        amount_minor=399_99,
        bonuses=(Given(web, Unit.MONEY, 50_00, None),),
        not_given=(
            NotGiven(gib, WhyNot.AMOUNT_TOO_SMALL),
            NotGiven(ten_per_cent, WhyNot.OTHER_CHANNEL),
            NotGiven(promotion_of_another, WhyNot.NOT_STARTED),
        ),
    )


@pytest.mark.parametrize(
    ("status", "asked", "refusal", "allowed"),
    [
        ("active", {}, None, (10_00, 5_000_00)),
        ("blocked", {}, Refusal.NUMBER_BLOCKED, None),
        ("closed", {}, Refusal.NUMBER_CLOSED, None),
        ("active", {"channel": Channel.KIOSK}, Refusal.CHANNEL_OFF, None),
        ("active", {"method": Method.PAYPAL}, Refusal.METHOD_OFF, None),
        ("active", {"amount_minor": 9_99}, Refusal.AMOUNT_TOO_SMALL, (10_00, 5_000_00)),
        ("active", {"method": Method.CASH}, Refusal.IDENTITY_NEEDED, (10_00, 399_99)),
        (
            "active",
            {"method": Method.CASH, "identity": Identity.DOCUMENT},
            None,
            (10_00, 5_000_00),
        ),
    ],
)
def test_what_is_refused_still_says_its_bonuses(
    place: Place,
    promote: Promote,
    *,
    status: str,
    asked: dict[str, Any],
    refusal: Refusal | None,
    allowed: tuple[int, int] | None,
) -> None:
    promotion = promote()
    place.open_budget(promotion, 50_00)
    Number.objects.filter(pk=place.row.pk).update(status=status)
    answer = place.preview(**asked)
    assert (answer.refusal, answer.allowed) == (refusal, allowed)
    assert answer.bonuses == (Given(promotion, Unit.MONEY, 50_00, None),)


def test_the_sums_of_the_day_and_of_the_month(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days and months are the branch's; every channel counts, and nothing but top-ups does."""
    place.post(MONTH - TINY, 1)
    place.post(MONTH, 10, Code.TOP_UP_WEB)
    place.post(TODAY - TINY, 100, Code.TOP_UP_OSMP)
    place.post(TODAY, 1_000, Code.TOP_UP_COUNTER)
    place.post(TODAY, 7, Code.BALANCE_CREDIT)
    place.post(TODAY, 7, Code.OPENING_BALANCE)
    revenue = {"debit_account": place.money, "credit_account": Kind.OPERATOR_REVENUE.account_id()}
    place.post(TODAY + DAY / 4, 7, Code.PLAN_CHARGE, **revenue)
    back = {"debit_account": place.money, "credit_account": CLEARING.id}
    place.post(TODAY + DAY / 4, 7, Code.TOP_UP_TILL, **back)
    place.post(NOW, 10_000, Code.TOP_UP_KIOSK)
    place.post(NOW, 100_000, Code.TOP_UP_API)
    for page in (1, 2, 3, 500):
        monkeypatch.setattr(history, "PAGE", page)
        answer = place.preview()
        assert (answer.spent_today_minor, answer.spent_month_minor) == (111_000, 111_110)
    tomorrow = place.preview(at=TODAY + DAY)
    assert (tomorrow.spent_today_minor, tomorrow.spent_month_minor) == (0, 111_110)
    in_april = place.preview(at=NOW + 20 * DAY)
    assert (in_april.spent_today_minor, in_april.spent_month_minor) == (0, 0)


@pytest.mark.parametrize(
    ("before", "refusal", "allowed"),
    [
        ([(NOW, 9_500_00)], None, (10_00, 500_00)),
        ([(NOW, 9_500_01)], Refusal.DAY_LIMIT, (10_00, 499_99)),
        ([(NOW, 10_000_00)], Refusal.DAY_LIMIT, None),
        ([(TODAY - TINY, 10_000_00)], None, (10_00, 5_000_00)),
        ([(TODAY - TINY, 29_500_01)], Refusal.MONTH_LIMIT, (10_00, 499_99)),
        ([(MONTH - TINY, 30_000_00)], None, (10_00, 5_000_00)),
    ],
)
def test_the_sums_are_limits(
    place: Place,
    before: list[tuple[datetime, int]],
    refusal: Refusal | None,
    allowed: tuple[int, int] | None,
) -> None:
    for at, amount in before:
        place.post(at, amount)
    answer = place.preview(500_00)
    assert (answer.refusal, answer.allowed) == (refusal, allowed)


POST, VOID = TransferFlags.POST_PENDING, TransferFlags.VOID_PENDING


@pytest.mark.parametrize(
    ("resolution", "counted"),
    [
        (None, 100),
        ({"flags": POST}, 100),
        ({"flags": POST, "amount": 60}, 60),
        ({"flags": VOID}, 0),
        ("timed out", 0),
    ],
)
def test_pending_top_ups(
    place: Place, resolution: dict[str, Any] | str | None, counted: int
) -> None:
    """What is unknown counts until it is known not to be."""
    pending = transfer_id("pending", place.book)
    asked_at = NOW - DAY / 24
    place.post(asked_at, 100, id=pending, flags=TransferFlags.PENDING, timeout_s=60)
    if isinstance(resolution, dict):
        accounts = {"debit_account": 0, "credit_account": 0, "code": 0, "amount": 0}
        place.post(asked_at, **{**accounts, "pending_id": pending, **resolution})
    if resolution == "timed out":
        run(post_at(place.book, [], asked_at + DAY / 48))
    answer = place.preview()
    assert (answer.spent_today_minor, answer.spent_month_minor) == (counted, counted)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], True),
        ([(NOW - DAY, Code.BALANCE_CREDIT)], True),
        ([(NOW - DAY, Code.TOP_UP_TILL)], False),
        ([(NOW - 400 * DAY, Code.TOP_UP_WEB), (NOW - DAY, Code.BALANCE_CREDIT)], False),
    ],
)
def test_the_first_top_up(
    place: Place, promote: Promote, before: list[tuple[datetime, Code]], *, expected: bool
) -> None:
    promotion = promote(is_first_top_up_only=True)
    for at, code in before:
        place.post(at, 1, code)
    place.open_budget(promotion, 50_00, at=NOW)
    answer = place.preview()
    assert answer.bonuses == ((Given(promotion, Unit.MONEY, 50_00, None),) if expected else ())
    assert answer.not_given == (() if expected else (NotGiven(promotion, WhyNot.NOT_FIRST_TOP_UP),))


@pytest.mark.parametrize("gives", ["money", "bytes"])
@pytest.mark.parametrize(
    ("terms", "given_at", "bonus", "expected"),
    [
        ({"per_number_max": 1}, [], {}, True),
        ({"per_number_max": 1}, [NOW - DAY], {}, False),
        ({"per_number_max": 1}, [START], {}, False),  # months ago, and since it started
        ({"per_number_max": 2}, [START, NOW - DAY], {}, False),
        ({"per_number_max": 3}, [START, NOW - DAY], {}, True),
        ({"per_number_max": 1, "per_number_days": 1}, [NOW - DAY], {}, True),
        ({"per_number_max": 1, "per_number_days": 1}, [NOW - DAY + TINY], {}, False),
        ({"per_number_max": 1, "per_number_days": 60}, [NOW - 59 * DAY], {}, False),
        ({}, [NOW - DAY], {}, True),
        # what is no bonus of this promotion
        ({"per_number_max": 1}, [NOW - DAY], {"code": Code.BALANCE_CREDIT}, True),
        ({"per_number_max": 1}, [NOW - DAY], {"reference_id": 1}, True),
        ({"per_number_max": 1}, [NOW - DAY], {"id": transfer_id("preview", "other")}, True),
    ],
)
def test_how_often_it_was_given(
    place: Place,
    promote: Promote,
    *,
    gives: str,
    terms: dict[str, Any],
    given_at: list[datetime],
    bonus: dict[str, Any],
    expected: bool,
) -> None:
    """Whatever account the bonus went to. The moments are those of the top-ups."""
    promotion = promote(gives=gives, valid_days=1, **terms)
    bonus = {**bonus, "id": transfer_id("other", place.book)} if "id" in bonus else bonus
    place.open_budget(promotion, 100_00)
    for at in given_at:
        place.give(promotion, place.post(at, 1), at + DAY / 100, **bonus)
    answer = place.preview()
    whys = [other.why for other in answer.not_given]
    assert (len(answer.bonuses), whys) == ((1, []) if expected else (0, [WhyNot.GIVEN_BEFORE]))


def test_a_bonus_is_for_what_credited_a_pending_top_up(place: Place, promote: Promote) -> None:
    promotion = promote(per_number_max=1)
    place.open_budget(promotion, 100_00)
    pending = transfer_id("pending", place.book)
    place.post(NOW - DAY, 100, id=pending, flags=TransferFlags.PENDING)
    accounts = {"debit_account": 0, "credit_account": 0, "code": 0, "flags": POST}
    seq = place.post(NOW - DAY, 100, pending_id=pending, **accounts)
    assert place.preview().not_given == ()
    place.give(promotion, seq, NOW)
    assert place.preview().not_given == (NotGiven(promotion, WhyNot.GIVEN_BEFORE),)


@pytest.mark.parametrize(
    ("funded", "reserved", "why"),
    [
        (None, 0, WhyNot.NO_BUDGET_IN_BRANCH),
        (0, 0, WhyNot.BUDGET_TOO_LOW),
        (49_99, 0, WhyNot.BUDGET_TOO_LOW),
        (50_00, 0, None),
        (50_00, 1, WhyNot.BUDGET_TOO_LOW),
        (50_01, 1, None),
    ],
)
def test_the_budget_of_the_branch(
    place: Place, promote: Promote, funded: int | None, reserved: int, why: WhyNot | None
) -> None:
    promotion = promote()
    if funded is not None:
        place.open_budget(promotion, funded)
    if reserved:
        budget = Kind.PROMOTION_MONEY.account_id(promotion.pk)
        pending = {"debit_account": budget, "flags": TransferFlags.PENDING}
        place.post(START, reserved, Code.BONUS, **pending)
    answer = place.preview()
    assert [other.why for other in answer.not_given] == ([why] if why else [])
    assert len(answer.bonuses) == (0 if why else 1)


@pytest.mark.parametrize(
    ("is_on_plan", "ended_at", "status", "expected"),
    [
        (True, None, "active", True),
        (True, None, "lapsed", True),
        (True, NOW, "active", False),
        (False, None, "active", False),
    ],
)
def test_the_plan(
    place: Place,
    promote: Promote,
    *,
    is_on_plan: bool,
    ended_at: datetime | None,
    status: str,
    expected: bool,
) -> None:
    plan = Plan.objects.create(
        operator=place.row.branch.operator, code=f"previews-{next(_names)}", kind="data"
    )
    version = PlanVersion.objects.create(
        plan=plan,
        version=1,
        name_ru="а",
        name_en="a",
        name_zh="一",
        price_minor=0,
        period_unit="month",
        when_short="stop",
    )
    promotion = promote()
    promotion.plans.add(plan)
    place.open_budget(promotion, 50_00)
    if is_on_plan:
        Subscription.objects.create(
            number=place.row, version=version, period_ends_at=NOW, ended_at=ended_at, status=status
        )
    answer = place.preview()
    assert [other.why for other in answer.not_given] == ([] if expected else [WhyNot.OTHER_PLAN])


@pytest.mark.parametrize("promotions", [1, 3])
def test_its_queries_do_not_grow(place: Place, promote: Promote, promotions: int) -> None:
    for _ in range(promotions):
        place.open_budget(promote(), 50_00)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(place.preview().bonuses) == promotions
    assert len(queries) == 6  # number, plan, promotions and their plans, limits, methods


def test_now_is_the_default(place: Place) -> None:
    place.post(datetime.now(UTC), 100)
    answer = place.preview(at=None)
    assert answer.spent_month_minor == 100
