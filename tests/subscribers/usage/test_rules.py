"""The decision by itself: case tables, and what holds for any number and any use."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.operators.rules import NumberStatus
from popolni.catalog.plans.rules import Rate
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Unit
from popolni.subscribers.usage.answers import again, answer, answer_from_log, transfers_of
from popolni.subscribers.usage.rules import (
    AMOUNT_MOST,
    PARTS_MAX,
    AllowanceFacts,
    Decision,
    Event,
    NumberFacts,
    Reason,
    Service,
    decide,
    decide_all,
    is_nearly_used,
)
from tests.subscribers.usage.test_answers import entries_of

NUMBER = 79_250_000_001
MONEY = Kind.SUBSCRIBER_MONEY.account_id(NUMBER)
AT = datetime(2026, 2, 10, 12, tzinfo=UTC)
MINUTE = Rate(60, 2_00)


def facts(
    *allowances: AllowanceFacts,
    rate: Rate | None = MINUTE,
    service: Service = Service.FULL,
    status: NumberStatus = NumberStatus.ACTIVE,
    low_balance_minor: int = 0,
) -> NumberFacts:
    rates = {Unit.SECOND: rate} if rate else {}
    return NumberFacts(NUMBER, status, service, rates, allowances, low_balance_minor)


def seconds(account: int, granted: int = 100) -> AllowanceFacts:
    return AllowanceFacts(account, Unit.SECOND, granted, AT + timedelta(days=account))


def call(amount: int, unit: Unit = Unit.SECOND) -> Event:
    return Event("call", NUMBER, unit, amount, AT)


@pytest.mark.parametrize(
    ("amount", "allowance", "money", "rate", "covered", "cost", "reason"),
    [
        (60, 60, 0, MINUTE, 60, 0, None),
        (61, 60, 2_00, MINUTE, 61, 2_00, None),
        (61, 60, 1_99, MINUTE, 60, 0, Reason.MONEY_TOO_LOW),
        (61, 60, 2_00, None, 60, 0, Reason.NOT_IN_PLAN),
        (60, 0, 2_00, MINUTE, 60, 2_00, None),
        (61, 0, 2_00, MINUTE, 60, 2_00, Reason.MONEY_TOO_LOW),
        (61, 0, 3_99, MINUTE, 60, 2_00, Reason.MONEY_TOO_LOW),
        (61, 0, 4_00, MINUTE, 61, 4_00, None),
        (1, 0, 2_00, MINUTE, 1, 2_00, None),
        (1, 0, 1_99, MINUTE, 0, 0, Reason.MONEY_TOO_LOW),
        (1, 0, 0, None, 0, 0, Reason.NOT_IN_PLAN),
        (200, 70, 4_00, MINUTE, 190, 4_00, Reason.MONEY_TOO_LOW),
        (5, 0, 0, Rate(60, 0), 5, 0, None),
        (5, -3, -1, MINUTE, 0, 0, Reason.MONEY_TOO_LOW),  # what never was below zero stays there
        (10**7, 0, 2**62, Rate(1, 2**62), 1, 2**62, Reason.MONEY_TOO_LOW),
    ],
)
def test_a_call(  # noqa: PLR0917  # a case
    amount: int,
    allowance: int,
    money: int,
    rate: Rate | None,
    covered: int,
    cost: int,
    reason: Reason | None,
) -> None:
    decision = decide(call(amount), facts(seconds(1), rate=rate), {1: allowance, MONEY: money})
    paid = sum(part.amount for part in decision.parts if part.code is Code.USAGE_CHARGE)
    assert (decision.covered, paid, decision.reason) == (covered, cost, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": NumberStatus.CLOSED, "service": Service.STOPPED}, Reason.NUMBER_CLOSED),
        ({"status": NumberStatus.BLOCKED, "service": Service.STOPPED}, Reason.NUMBER_BLOCKED),
        ({"service": Service.STOPPED}, Reason.PLAN_LAPSED),
    ],
)
def test_who_is_refused_whatever_is_left(changes: dict[str, Any], reason: Reason) -> None:
    of = facts(seconds(1))._replace(**changes)
    assert decide(call(5), of, {1: 100, MONEY: 100_00}) == Decision((), 0, reason)


def test_only_data_is_limited() -> None:
    of = facts(service=Service.LIMITED)
    data = decide(call(5_000, Unit.BYTE), of, {MONEY: 0})
    assert (data.covered, data.reason, data.is_limited) == (5_000, None, True)
    talk = decide(call(5), of, {MONEY: 0})
    assert (talk.covered, talk.reason, talk.is_limited) == (0, Reason.MONEY_TOO_LOW, False)


def test_an_allowance_of_another_unit_covers_nothing() -> None:
    assert decide(call(5, Unit.BYTE), facts(seconds(1)), {1: 100}).reason is Reason.NOT_IN_PLAN


def test_one_event_is_charged_to_so_many_allowances_and_no_more() -> None:
    many = range(1, PARTS_MAX + 20)
    decision = decide(call(10**6), facts(*map(seconds, many), rate=None), dict.fromkeys(many, 1))
    assert (len(decision.parts), decision.covered) == (PARTS_MAX, PARTS_MAX)


@pytest.mark.parametrize(
    ("granted", "left", "nearly"),
    [(100, 21, False), (100, 20, True), (100, 0, True), (3, 1, False), (3, 0, True), (5, 1, True)],
)
def test_nearly_used(granted: int, left: int, nearly: bool) -> None:  # noqa: FBT001  # a case
    assert is_nearly_used(granted, left) is nearly


@pytest.mark.parametrize(
    ("before", "warned"), [(6_99, True), (7_00, False), (5_00, True), (4_99, False)]
)
def test_a_balance_is_low_when_it_falls_below_the_mark(
    before: int,
    warned: bool,  # noqa: FBT001  # a case
) -> None:
    decision = decide(call(1), facts(low_balance_minor=5_00), {MONEY: before})
    assert bool(decision.warnings) is warned


ALLOWANCES = st.lists(st.integers(0, 300), max_size=4)
RATES = st.one_of(st.none(), st.builds(Rate, st.integers(1, 90), st.integers(0, 300)))
AMOUNTS = st.integers(1, 500)
UNITS = st.sampled_from([Unit.SECOND, Unit.MESSAGE])


@given(ALLOWANCES, st.integers(0, 2_000), RATES, UNITS, st.lists(AMOUNTS, max_size=12))
def test_any_use(
    allowances: list[int], money: int, rate: Rate | None, unit: Unit, amounts: list[int]
) -> None:
    """Nothing goes below zero, and what is covered is what was taken, not more and not less."""
    rows = [
        AllowanceFacts(account, unit, max(1, granted), AT + timedelta(days=account))
        for account, granted in enumerate(allowances, start=1)
    ]
    of = facts(*rows, rate=None, low_balance_minor=500)._replace(rates={unit: rate} if rate else {})
    left = {MONEY: money} | dict(enumerate(allowances, start=1))
    events = [call(amount, unit)._replace(identifier=str(n)) for n, amount in enumerate(amounts)]
    warned = set()
    for event, decision in zip(events, decide_all(events, {NUMBER: of}, left), strict=True):
        assert decision == decide(event, of, left)
        for part in decision.parts:
            if part.debit_account in left:
                left[part.debit_account] -= part.amount
        assert min(left.values()) >= 0
        units = sum(part.amount for part in decision.parts if part.code is Code.USAGE)
        paid = sum(part.amount for part in decision.parts if part.code is Code.USAGE_CHARGE)
        assert units <= decision.covered <= event.amount
        bought = decision.covered - units
        assert paid == (-(-bought // rate.block) * rate.price_minor if bought and rate else 0)
        assert (decision.reason is None) == (decision.covered == event.amount)
        if decision.reason and unit is Unit.SECOND:  # all that could be taken was
            assert not any(left[row.account] for row in rows)
            assert rate is None or left[MONEY] < rate.price_minor
        for warning in decision.warnings:
            assert (warning.kind, warning.account) not in warned
            warned.add((warning.kind, warning.account))
    for row in rows:  # one that was nearly used from the first on is no crossing
        start = allowances[row.account - 1]
        crossed = is_nearly_used(row.granted, left[row.account])
        assert any(account == row.account for _kind, account in warned) == (
            crossed and not is_nearly_used(row.granted, start)
        )


NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"]) | st.just(" "), min_size=1, max_size=128
).filter(lambda text: text == text.strip() and text.isprintable())


@given(
    NAMES, ALLOWANCES, st.integers(0, 2_000), RATES, st.sampled_from(list(AMOUNT_MOST)), AMOUNTS,
    st.sampled_from(Service), st.sampled_from(NumberStatus),
)  # fmt: skip
def test_the_log_gives_the_first_answer(  # noqa: PLR0917  # what is drawn
    name: str,
    allowances: list[int],
    money: int,
    rate: Rate | None,
    unit: Unit,
    amount: int,
    service: Service,
    status: NumberStatus,
) -> None:
    rows = [AllowanceFacts(n, unit, 300, AT) for n, _ in enumerate(allowances, start=1)]
    of = facts(*rows, rate=None, service=service, status=status)._replace(
        rates={unit: rate} if rate else {}
    )
    event = Event(name, NUMBER, unit, amount, AT)
    left = {MONEY: money} | dict(enumerate(allowances, start=1))
    decision = decide(event, of, left)
    transfers = transfers_of(event, decision)
    first = answer(event, decision, 3, 1_000)
    assert again(event, answer_from_log(3, entries_of(transfers, 1_000))) == first._replace(
        is_repeat=True, warnings=()
    )
