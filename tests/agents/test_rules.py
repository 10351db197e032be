"""What an agent earns, when a contract is in force, what an outlet may take."""

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.agents.rules import (
    ContractTerms,
    OutletTerms,
    commission_minor,
    is_in_force,
    outlet_allows,
    outlet_refusal,
    share_minor,
)
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal

TERMS = ContractTerms(date(2026, 1, 1), date(2026, 2, 1), {Channel.OSMP: 150})


@pytest.mark.parametrize(
    ("amount", "basis_points", "share"),
    [
        (0, 150, 0),
        (100_00, 0, 0),
        (100_00, 150, 1_50),
        (100_00, 10_000, 100_00),
        (1, 5_000, 0),  # ½ → 0
        (3, 5_000, 2),  # 1½ → 2
        (5, 5_000, 2),  # 2½ → 2
        (1, 4_999, 0),
        (1, 5_001, 1),
        (333, 150, 5),  # 4.995
        (2**62, 10_000, 2**62),
    ],
)
def test_a_share_is_rounded_to_the_nearest_and_half_to_even(
    amount: int, basis_points: int, share: int
) -> None:
    assert share_minor(amount, basis_points) == share


@given(st.integers(0, 2**63 - 1), st.integers(0, 10_000))
def test_a_share_is_the_exact_one_rounded(amount: int, basis_points: int) -> None:
    assert share_minor(amount, basis_points) == round(Fraction(amount * basis_points, 10_000))


@pytest.mark.parametrize(("amount", "basis_points"), [(-1, 1), (1, -1), (1, 10_001)])
def test_there_is_no_such_share(amount: int, basis_points: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        share_minor(amount, basis_points)


def test_a_channel_without_a_commission_earns_nothing() -> None:
    assert [
        commission_minor(TERMS, channel, 100_00) for channel in (Channel.OSMP, Channel.API)
    ] == [
        1_50,
        0,
    ]


@pytest.mark.parametrize(
    ("day", "until", "answer"),
    [
        (date(2025, 12, 31), date(2026, 2, 1), False),
        (date(2026, 1, 1), date(2026, 2, 1), True),
        (date(2026, 1, 31), date(2026, 2, 1), True),
        (date(2026, 2, 1), date(2026, 2, 1), False),
        (date(2099, 1, 1), None, True),
    ],
)
def test_a_contract_ends_before_its_last_date(day: date, until: date | None, answer: bool) -> None:  # noqa: FBT001  # a case
    assert is_in_force(replace(TERMS, valid_to=until), day) is answer


OUTLET = OutletTerms(
    is_active=True,
    methods={Method.CASH, Method.SBP},
    min_minor=10_00,
    max_minor=500_00,
    day_max_minor=1_000_00,
)


@pytest.mark.parametrize(
    ("outlet", "method", "amount", "day_sum", "refusal"),
    [
        (OUTLET, Method.CASH, 10_00, 0, None),
        (OUTLET, Method.SBP, 500_00, 500_00, None),
        (OUTLET, Method.CASH, 9_99, 0, Refusal.AMOUNT_TOO_SMALL),
        (OUTLET, Method.CASH, 500_01, 0, Refusal.AMOUNT_TOO_LARGE),
        (OUTLET, Method.CASH, 500_00, 500_01, Refusal.OUTLET_DAY_LIMIT),
        (OUTLET, Method.CARD_RUSSIAN, 9_99, 0, Refusal.OUTLET_METHOD_OFF),
        (replace(OUTLET, is_active=False), Method.PAYPAL, 1, 0, Refusal.OUTLET_INACTIVE),
    ],
)
def test_an_outlet_refuses_by_the_first_reason(
    outlet: OutletTerms, method: Method, amount: int, day_sum: int, refusal: Refusal | None
) -> None:
    assert outlet_refusal(outlet, method, amount, day_sum) == refusal


@given(
    st.booleans(),
    st.sampled_from(Method),
    st.integers(1, 2_000_00),
    st.integers(0, 2_000_00),
)
def test_the_reasons_of_an_outlet_come_in_the_lists_order(
    is_active: bool,  # noqa: FBT001  # a case
    method: Method,
    amount: int,
    day_sum: int,
) -> None:
    outlet = replace(OUTLET, is_active=is_active)
    alone = [
        outlet_refusal(replace(outlet, methods=set(Method)), method, 10_00, 0),
        outlet_refusal(
            replace(OUTLET, min_minor=1, max_minor=10**9, day_max_minor=10**9), method, amount, 0
        ),
        outlet_refusal(
            replace(OUTLET, methods=set(Method), day_max_minor=10**9), method, amount, 0
        ),
        outlet_refusal(
            replace(OUTLET, methods=set(Method), min_minor=1, max_minor=10**9),
            method,
            amount,
            day_sum,
        ),
    ]
    order = list(Refusal)
    reasons = sorted((reason for reason in alone if reason), key=order.index)
    expected = reasons[0] if reasons else None
    assert outlet_refusal(outlet, method, amount, day_sum) == expected


@pytest.mark.parametrize(
    ("amounts", "day_sum", "allowed"),
    [
        ((1, 10**9), 0, (10_00, 500_00)),
        ((20_00, 400_00), 0, (20_00, 400_00)),
        ((1, 10**9), 900_00, (10_00, 100_00)),
        ((1, 10**9), 990_00, (10_00, 10_00)),
        ((1, 10**9), 990_01, None),
        ((500_01, 600_00), 0, None),
    ],
)
def test_the_amounts_that_an_outlet_may_take(
    amounts: tuple[int, int], day_sum: int, allowed: tuple[int, int] | None
) -> None:
    assert outlet_allows(OUTLET, AmountRange(*amounts), day_sum) == allowed
