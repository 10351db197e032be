"""Promotions: each condition on both sides of its boundary, precedence, sums, budgets."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.promotions import models
from popolni.catalog.promotions.rules import (
    Bonus,
    Gives,
    History,
    Promotion,
    TopUp,
    WhyNot,
    bonus_id,
    bonuses,
    explain,
)
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger.model import Unit

MOSCOW = ZoneInfo("Europe/Moscow")
START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
GIB = 2**30
TINY = timedelta(microseconds=1)

PROMOTION = Promotion(
    id=7, operator=1, starts_at=START, gives=Gives.MONEY, value=50_00, amount_min_minor=500_00
)
TOP_UP = TopUp(operator=1, plan=3, channel=Channel.TILL, amount_minor=500_00, at=NOW, zone=MOSCOW)
HISTORY = History(is_first_top_up=False, given={}, budgets={7: 1_000_000_00})
GIVEN = Bonus(7, Unit.MONEY, 50_00, None)


def answer(promotion: Promotion, top_up: TopUp, history: History) -> Bonus | WhyNot:
    return explain([promotion], top_up, history)[promotion.id]


def test_the_rows_have_the_same_choices() -> None:
    assert set(models.Promotion.Gives.values) == {gives.value for gives in Gives}


@pytest.mark.parametrize(
    ("terms", "top_up", "expected"),
    [
        ({}, {}, GIVEN),
        ({}, {"operator": 2}, WhyNot.OTHER_OPERATOR),
        ({"is_on": False}, {}, WhyNot.OFF),
        # from its start, up to but without its end
        ({"starts_at": NOW}, {}, GIVEN),
        ({"starts_at": NOW + TINY}, {}, WhyNot.NOT_STARTED),
        ({"ends_at": NOW + TINY}, {}, GIVEN),
        ({"ends_at": NOW}, {}, WhyNot.ENDED),
        # plans and channels: none are any
        ({"plans": frozenset({3, 4})}, {}, GIVEN),
        ({"plans": frozenset({4})}, {}, WhyNot.OTHER_PLAN),
        ({"plans": frozenset({3})}, {"plan": None}, WhyNot.OTHER_PLAN),
        ({}, {"plan": None}, GIVEN),
        ({"channels": frozenset({Channel.TILL, Channel.WEB})}, {}, GIVEN),
        ({"channels": frozenset({Channel.WEB})}, {}, WhyNot.OTHER_CHANNEL),
        # amounts, both ends included
        ({}, {"amount_minor": 499_99}, WhyNot.AMOUNT_TOO_SMALL),
        ({"amount_max_minor": 600_00}, {"amount_minor": 600_00}, GIVEN),
        ({"amount_max_minor": 600_00}, {"amount_minor": 600_01}, WhyNot.AMOUNT_TOO_LARGE),
        ({"amount_max_minor": 500_00}, {}, GIVEN),
        ({}, {"amount_minor": 10**15}, GIVEN),
    ],
)
def test_its_terms(terms: dict[str, Any], top_up: dict[str, Any], expected: Bonus | WhyNot) -> None:
    assert answer(replace(PROMOTION, **terms), replace(TOP_UP, **top_up), HISTORY) == expected


@pytest.mark.parametrize(
    ("terms", "is_first", "expected"),
    [
        ({"is_first_top_up_only": True}, True, GIVEN),
        ({"is_first_top_up_only": True}, False, WhyNot.NOT_FIRST_TOP_UP),
        ({}, True, GIVEN),
    ],
)
def test_first_top_up(terms: dict[str, Any], is_first: bool, expected: Bonus | WhyNot) -> None:  # noqa: FBT001  # a column
    history = replace(HISTORY, is_first_top_up=is_first)
    assert answer(replace(PROMOTION, **terms), TOP_UP, history) == expected


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("most", "days", "given", "expected"),
    [
        (None, None, [NOW] * 99, GIVEN),
        (None, 1, [NOW] * 99, GIVEN),
        (1, None, [], GIVEN),
        (1, None, [NOW - 10 * DAY], WhyNot.GIVEN_BEFORE),
        (1, None, [START], WhyNot.GIVEN_BEFORE),
        (1, None, [START - TINY], GIVEN),  # before it started; it is another one since
        (2, None, [NOW - DAY], GIVEN),
        (2, None, [NOW - DAY, NOW - 2 * DAY], WhyNot.GIVEN_BEFORE),
        (2, None, [NOW - DAY, NOW - 2 * DAY, NOW - 3 * DAY], WhyNot.GIVEN_BEFORE),
        # within so many times 24 hours
        (1, 7, [NOW - 7 * DAY + TINY], WhyNot.GIVEN_BEFORE),
        (1, 7, [NOW - 7 * DAY], GIVEN),
        (2, 7, [NOW - 7 * DAY, NOW], GIVEN),
        (2, 7, [NOW - 6 * DAY, NOW], WhyNot.GIVEN_BEFORE),
        (1, 60, [START], WhyNot.GIVEN_BEFORE),
        (1, 60, [START - TINY], GIVEN),
    ],
)
def test_times_per_number(
    most: int | None, days: int | None, given: Sequence[datetime], expected: Bonus | WhyNot
) -> None:
    promotion = replace(PROMOTION, per_number_max=most, per_number_days=days)
    history = replace(HISTORY, given={7: given, 8: [NOW] * 9})
    assert answer(promotion, TOP_UP, history) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({}, WhyNot.NO_BUDGET_IN_BRANCH),
        ({8: 10**9}, WhyNot.NO_BUDGET_IN_BRANCH),
        ({7: 0}, WhyNot.BUDGET_TOO_LOW),
        ({7: 49_99}, WhyNot.BUDGET_TOO_LOW),
        ({7: 50_00}, GIVEN),
    ],
)
def test_the_budget(left: dict[int, int], expected: Bonus | WhyNot) -> None:
    assert answer(PROMOTION, TOP_UP, replace(HISTORY, budgets=left)) == expected


ENDS = datetime(2026, 3, 27, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("terms", "amount_minor", "expected"),
    [
        ({"value": 1}, 500_00, Bonus(7, Unit.MONEY, 1, None)),
        ({"gives": Gives.PERCENT, "value": 10}, 500_00, Bonus(7, Unit.MONEY, 50_00, None)),
        ({"gives": Gives.PERCENT, "value": 10}, 500_09, Bonus(7, Unit.MONEY, 50_00, None)),
        ({"gives": Gives.PERCENT, "value": 10}, 500_10, Bonus(7, Unit.MONEY, 50_01, None)),
        ({"gives": Gives.PERCENT, "value": 200}, 500_01, Bonus(7, Unit.MONEY, 1000_02, None)),
        ({"gives": Gives.PERCENT, "value": 1, "amount_min_minor": 1}, 99, WhyNot.AMOUNT_TOO_SMALL),
        (
            {"gives": Gives.PERCENT, "value": 1, "amount_min_minor": 1},
            100,
            Bonus(7, Unit.MONEY, 1, None),
        ),
        (
            {"gives": Gives.PERCENT, "value": 10, "money_max_minor": 60_00},
            599_99,
            Bonus(7, Unit.MONEY, 59_99, None),
        ),
        (
            {"gives": Gives.PERCENT, "value": 10, "money_max_minor": 60_00},
            600_10,
            Bonus(7, Unit.MONEY, 60_00, None),
        ),
        # the cap is for per cent
        ({"money_max_minor": 1}, 500_00, GIVEN),
        (
            {"gives": Gives.BYTES, "value": GIB // 100, "valid_days": 7},
            500_00,
            Bonus(7, Unit.BYTE, GIB // 100, ENDS),
        ),
        (
            {"gives": Gives.SECONDS, "value": 3600, "valid_days": 7},
            500_00,
            Bonus(7, Unit.SECOND, 3600, ENDS),
        ),
        (
            {"gives": Gives.MESSAGES, "value": 100, "valid_days": 1},
            10_000_00,
            Bonus(7, Unit.MESSAGE, 100, datetime(2026, 3, 21, 9, 30, tzinfo=UTC)),
        ),
        # money does not end
        ({"valid_days": 7}, 500_00, GIVEN),
    ],
)
def test_what_it_gives(terms: dict[str, Any], amount_minor: int, expected: Bonus | WhyNot) -> None:
    promotion = replace(PROMOTION, **terms)
    assert answer(promotion, replace(TOP_UP, amount_minor=amount_minor), HISTORY) == expected


def test_days_are_those_of_the_branch() -> None:
    """In Berlin the last week of March 2026 is an hour short."""
    promotion = replace(PROMOTION, gives=Gives.BYTES, value=1, valid_days=10)
    berlin = replace(TOP_UP, zone=ZoneInfo("Europe/Berlin"))
    assert answer(promotion, berlin, HISTORY) == Bonus(7, Unit.BYTE, 1, NOW + 10 * DAY - DAY / 24)
    assert answer(promotion, TOP_UP, HISTORY) == Bonus(7, Unit.BYTE, 1, NOW + 10 * DAY)


def test_what_ends_says_when() -> None:
    with pytest.raises(ValueError, match=r"^promotion 7 gives what ends, but not when$"):
        answer(replace(PROMOTION, gives=Gives.BYTES), TOP_UP, HISTORY)


# In the order of precedence; each is also given with all behind it.
CAUSES: list[tuple[WhyNot, dict[str, Any]]] = [
    (WhyNot.OTHER_OPERATOR, {"operator": 2}),
    (WhyNot.OFF, {"is_on": False}),
    (WhyNot.ENDED, {"ends_at": NOW}),
    (WhyNot.OTHER_PLAN, {"plans": frozenset({9})}),
    (WhyNot.OTHER_CHANNEL, {"channels": frozenset({Channel.API})}),
    (WhyNot.AMOUNT_TOO_SMALL, {"amount_min_minor": 500_01}),
    (WhyNot.AMOUNT_TOO_LARGE, {"amount_max_minor": 499_99}),
    (WhyNot.NOT_FIRST_TOP_UP, {"is_first_top_up_only": True}),
    (WhyNot.GIVEN_BEFORE, {"per_number_max": 1}),
    (WhyNot.BUDGET_TOO_LOW, {"value": 10**12}),
]


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_the_first_of_several_is_the_answer(first: int) -> None:
    terms: dict[str, Any] = {}
    for _, cause in CAUSES[first:]:
        terms |= cause
    history = replace(HISTORY, given={7: [NOW]})
    assert answer(replace(PROMOTION, **terms), TOP_UP, history) is CAUSES[first][0]


def test_the_order_is_that_of_the_list() -> None:
    order = [why for why, _ in CAUSES]
    assert order == [why for why in WhyNot if why in order]


def test_a_top_up_gets_from_each_that_applies() -> None:
    others = [
        replace(PROMOTION, id=9, gives=Gives.BYTES, value=GIB, valid_days=7),
        PROMOTION,
        replace(PROMOTION, id=8, is_on=False),
        replace(PROMOTION, id=6),
    ]
    history = replace(HISTORY, budgets={7: 50_00, 9: GIB})
    assert explain(others, TOP_UP, history) == {
        9: Bonus(9, Unit.BYTE, GIB, ENDS),
        7: GIVEN,
        8: WhyNot.OFF,
        6: WhyNot.NO_BUDGET_IN_BRANCH,
    }
    assert bonuses(others, TOP_UP, history) == [Bonus(9, Unit.BYTE, GIB, ENDS), GIVEN]
    assert bonuses([], TOP_UP, history) == []


def test_the_identifier_of_a_bonus() -> None:
    """It must never change: by it a bonus is given once, and found again."""
    assert bonus_id(7, 21_000, 12) == transfer_id("bonus", 7, 21_000, 12)
    assert bonus_id(7, 21_000, 12).hex() == "8502d26b4e46b534531d439a3487ea36"


small = st.integers(1, 300)
terms = st.builds(
    Promotion,
    id=st.integers(1, 3),
    operator=st.just(1),
    starts_at=st.just(START),
    gives=st.sampled_from(Gives),
    value=small,
    amount_min_minor=small,
    amount_max_minor=st.none() | small,
    money_max_minor=st.none() | small,
    valid_days=small,
    per_number_max=st.none() | st.integers(1, 3),
)


@given(
    st.lists(terms, max_size=3, unique_by=lambda p: p.id),
    st.integers(0, 1_000),
    st.dictionaries(st.integers(1, 3), st.integers(0, 300)),
    st.dictionaries(st.integers(1, 3), st.lists(st.just(NOW), max_size=4)),
)
def test_bonuses_keep_within_everything(
    promotions: list[Promotion],
    amount_minor: int,
    budgets: dict[int, int],
    given_before: dict[int, list[datetime]],
) -> None:
    history = History(is_first_top_up=False, given=given_before, budgets=budgets)
    by_id = {promotion.id: promotion for promotion in promotions}
    for bonus in bonuses(promotions, replace(TOP_UP, amount_minor=amount_minor), history):
        promotion = by_id[bonus.promotion]
        assert 0 < bonus.amount <= budgets[bonus.promotion]
        assert bonus.unit is promotion.gives.unit
        assert (bonus.ends_at is None) == (bonus.unit is Unit.MONEY)
        if promotion.per_number_max is not None:
            assert len(given_before.get(promotion.id, [])) < promotion.per_number_max
        if promotion.gives is Gives.PERCENT:
            exact = amount_minor * promotion.value  # in hundredths of a kopeck
            assert bonus.amount * 100 <= exact
            cap = promotion.money_max_minor
            assert exact < bonus.amount * 100 + 100 or bonus.amount == cap
            assert cap is None or bonus.amount <= cap
        else:
            assert bonus.amount == promotion.value
