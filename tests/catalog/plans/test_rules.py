"""Plans: what terms can say, what usage costs, what the end of a period brings."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import (
    Decision,
    PeriodUnit,
    PlanTerms,
    Rate,
    WhenShort,
    check_terms,
    decide_renewal,
    price_of_usage,
)
from popolni.core.errors import UserError
from popolni.ledger.model import AMOUNT_MAX, Unit

TERMS = PlanTerms(
    name_ru="Дневной",
    name_en="Daily",
    name_zh="日套餐",
    price_minor=0,
    period_unit=PeriodUnit.DAY,
    allowances={},
    rates={},
    valid_from=datetime(2026, 1, 1, tzinfo=UTC),
)
MANY = 2**63


def test_the_rows_have_the_same_choices() -> None:
    assert PeriodUnit._value2member_map_.keys() == set(PlanVersion.PeriodUnit.values)
    assert WhenShort._value2member_map_.keys() == set(PlanVersion.WhenShort.values)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name_zh": "中" * 100},
        {"price_minor": AMOUNT_MAX},
        {"period_count": 32_767},
        {"valid_to": datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)},
        {"allowances": {Unit.BYTE: 1, Unit.SECOND: AMOUNT_MAX, Unit.MESSAGE: 5}},
        {"rates": {Unit.BYTE: Rate(1, 0)}},
        {"when_short": WhenShort.LIMIT, "limited_kbit_per_s": 1},
        {"when_short": WhenShort.LIMIT, "limited_kbit_per_s": 2**31 - 1},
    ],
)
def test_good_terms(changes: dict[str, Any]) -> None:
    check_terms(replace(TERMS, **changes))


NAME = "a plan has a name of 1 to 100 characters in each language, not "
RATE = f"a rate (bytes) has a block of 1 to {AMOUNT_MAX}, and a price of 0 to {AMOUNT_MAX} kopecks"
LIMITED = "a plan that is limited without money says how far: 1 kbit/s or more"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name_ru": ""}, f"{NAME}''"),
        ({"name_en": " "}, f"{NAME}' '"),
        ({"name_zh": "x" * 101}, f"{NAME}'{'x' * 101}'"),
        ({"name_en": "a\0"}, "a plan's texts hold no zero characters"),
        ({"description_zh": "\0"}, "a plan's texts hold no zero characters"),
        ({"price_minor": -1}, "a plan's price is 0 or more kopecks, not -1"),
        ({"price_minor": MANY}, f"a plan's price is at most {AMOUNT_MAX} kopecks, not {MANY}"),
        ({"period_count": 0}, "a period is 1 to 32767 days long, not 0"),
        (
            {"period_count": 0, "period_unit": PeriodUnit.MONTH},
            "a period is 1 to 32767 months long, not 0",
        ),
        ({"period_count": 32_768}, "a period is 1 to 32767 days long, not 32768"),
        (
            {"valid_from": datetime(2026, 1, 1)},  # noqa: DTZ001  # that is it
            "a plan is valid from and to a moment: give the time zone too",
        ),
        (
            {"valid_to": datetime(2026, 1, 1, tzinfo=UTC)},
            "a plan's end (2026-01-01 00:00) is later than its beginning (2026-01-01 00:00)",
        ),
        (
            {"allowances": {Unit.MONEY: 1}},
            "a plan includes and charges bytes, seconds and messages, not money",
        ),
        (
            {"rates": {Unit.MONEY: Rate(1, 1)}},
            "a plan includes and charges bytes, seconds and messages, not money",
        ),
        (
            {"allowances": {Unit.SECOND: 0}},
            "an allowance (seconds) is 1 or more, not 0: leave it out",
        ),
        (
            {"allowances": {Unit.BYTE: MANY}},
            f"an allowance (bytes) is at most {AMOUNT_MAX}, not {MANY}",
        ),
        ({"rates": {Unit.BYTE: Rate(0, 1)}}, RATE),
        ({"rates": {Unit.BYTE: Rate(1, -1)}}, RATE),
        ({"rates": {Unit.BYTE: Rate(MANY, 1)}}, RATE),
        ({"rates": {Unit.BYTE: Rate(1, MANY)}}, RATE),
        ({"when_short": WhenShort.LIMIT}, LIMITED),
        ({"when_short": WhenShort.LIMIT, "limited_kbit_per_s": 0}, LIMITED),
        (
            {"limited_kbit_per_s": 64},
            "a plan without money stops or is limited: only a limited one has a speed",
        ),
    ],
)
def test_bad_terms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_terms(replace(TERMS, **changes))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("ru", "пакет (секунды) — не меньше 1, а не 0: не указывайте его"),
        ("zh-hans", "套餐额度（秒）须不小于1，当前为0：不需要请留空"),
    ],
)
def test_bad_terms_are_named_in_the_reader_s_language(language: str, message: str) -> None:
    with translation.override(language), pytest.raises(UserError) as caught:
        check_terms(replace(TERMS, allowances={Unit.SECOND: 0}))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("rate", "amount", "price_minor"),
    [
        (Rate(60, 200), 0, 0),
        (Rate(60, 200), 1, 200),
        (Rate(60, 200), 60, 200),
        (Rate(60, 200), 61, 400),
        (Rate(60, 200), 120, 400),
        (Rate(1, 350), 3, 1050),
        (Rate(100 * 2**20, 30_00), 1, 30_00),
        (Rate(100 * 2**20, 30_00), 100 * 2**20 + 1, 60_00),
        (Rate(60, 0), 1_000, 0),
        (Rate(3, 1), 2**62 + 1, (2**62 + 3) // 3),  # no float could say it
    ],
)
def test_usage_costs_each_begun_block(rate: Rate, amount: int, price_minor: int) -> None:
    assert price_of_usage(rate, amount) == price_minor


def test_nobody_uses_less_than_nothing() -> None:
    with pytest.raises(ValueError, match=r"^nobody uses -1$"):
        price_of_usage(Rate(60, 200), -1)


@given(
    st.integers(1, 10**12), st.integers(0, 10**6), st.integers(0, 10**15), st.integers(0, 10**15)
)
def test_the_price_of_usage(block: int, price: int, one: int, other: int) -> None:
    """Never less than the exact share, less than a block more; together no dearer than apart."""
    rate = Rate(block, price)
    paid = price_of_usage(rate, one)
    assert one * price <= paid * block
    assert (paid - price) * block < one * price or paid == 0
    assert price_of_usage(rate, one + other) <= paid + price_of_usage(rate, other)


@pytest.mark.parametrize(
    ("price_minor", "money_minor", "when_short", "decision"),
    [
        (300_00, 300_00, WhenShort.STOP, Decision.RENEW),
        (300_00, 300_01, WhenShort.LIMIT, Decision.RENEW),
        (300_00, 299_99, WhenShort.STOP, Decision.STOP),
        (300_00, 299_99, WhenShort.LIMIT, Decision.LIMIT),
        (300_00, 0, WhenShort.STOP, Decision.STOP),
        (0, 0, WhenShort.STOP, Decision.RENEW),
    ],
)
def test_the_end_of_a_period(
    price_minor: int, money_minor: int, when_short: WhenShort, decision: Decision
) -> None:
    answer = decide_renewal(price_minor=price_minor, money_minor=money_minor, when_short=when_short)
    assert answer is decision
