"""Compliance: each refusal on both sides of its boundary, which of two comes first, what's left."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.operators.rules import (
    Identity,
    NumberStatus,
    Profile,
    Request,
    allowed_now,
    decide,
)
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange, Refusal

DOCUMENT, GOSUSLUGI = Identity.DOCUMENT, Identity.GOSUSLUGI
PROFILE = Profile(
    limits={Channel.TILL: AmountRange(10_00, 5_000_00), Channel.WEB: AmountRange(1_00, 1_00)},
    methods=frozenset({Method.CASH, Method.SBP}),
    cash_identity=frozenset({DOCUMENT}),
    cash_identity_from_minor=1_000_00,
    day_max_minor=8_000_00,
    month_max_minor=20_000_00,
)
REQUEST = Request(
    channel=Channel.TILL,
    method=Method.SBP,
    amount_minor=100_00,
    identity=None,
    spent_today_minor=0,
    spent_month_minor=0,
    number_status=NumberStatus.ACTIVE,
)
CASH = {"method": Method.CASH}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"number_status": NumberStatus.CLOSED}, Refusal.NUMBER_CLOSED),
        ({"number_status": NumberStatus.BLOCKED}, Refusal.NUMBER_BLOCKED),
        ({"channel": Channel.KIOSK}, Refusal.CHANNEL_OFF),
        ({"method": Method.PAYPAL}, Refusal.METHOD_OFF),
        # the amount by itself
        ({"amount_minor": 9_99}, Refusal.AMOUNT_TOO_SMALL),
        ({"amount_minor": 10_00}, None),
        ({"amount_minor": 0}, Refusal.AMOUNT_TOO_SMALL),
        ({"amount_minor": -1}, Refusal.AMOUNT_TOO_SMALL),
        ({"amount_minor": 5_000_00}, None),
        ({"amount_minor": 5_000_01}, Refusal.AMOUNT_TOO_LARGE),
        ({"channel": Channel.WEB, "amount_minor": 99}, Refusal.AMOUNT_TOO_SMALL),
        ({"channel": Channel.WEB, "amount_minor": 1_00}, None),
        ({"channel": Channel.WEB, "amount_minor": 1_01}, Refusal.AMOUNT_TOO_LARGE),
        # identity, for cash only
        (CASH | {"amount_minor": 999_99}, None),
        (CASH | {"amount_minor": 1_000_00}, Refusal.IDENTITY_NEEDED),
        (CASH | {"amount_minor": 1_000_00, "identity": DOCUMENT}, None),
        (CASH | {"amount_minor": 1_000_00, "identity": GOSUSLUGI}, Refusal.IDENTITY_NEEDED),
        (CASH | {"amount_minor": 5_000_00, "identity": DOCUMENT}, None),
        # sums
        ({"spent_today_minor": 7_900_00, "spent_month_minor": 7_900_00}, None),
        ({"spent_today_minor": 7_900_01, "spent_month_minor": 7_900_01}, Refusal.DAY_LIMIT),
        ({"spent_month_minor": 19_900_00}, None),
        ({"spent_month_minor": 19_900_01}, Refusal.MONTH_LIMIT),
        # spent more than is allowed now: the limits were lowered
        ({"spent_today_minor": 9_000_00, "spent_month_minor": 9_000_00}, Refusal.DAY_LIMIT),
    ],
)
def test_decides(changes: dict[str, Any], refusal: Refusal | None) -> None:
    assert decide(PROFILE, replace(REQUEST, **changes)) is refusal


@pytest.mark.parametrize(
    ("cash_identity", "shown", "refusal"),
    [
        (set(), None, None),
        (set(), DOCUMENT, None),
        ({DOCUMENT}, None, Refusal.IDENTITY_NEEDED),
        ({DOCUMENT}, DOCUMENT, None),
        ({DOCUMENT}, GOSUSLUGI, Refusal.IDENTITY_NEEDED),
        ({DOCUMENT, GOSUSLUGI}, None, Refusal.IDENTITY_NEEDED),
        ({DOCUMENT, GOSUSLUGI}, DOCUMENT, None),
        ({DOCUMENT, GOSUSLUGI}, GOSUSLUGI, None),
    ],
)
def test_which_identity_suffices(
    cash_identity: set[Identity], shown: Identity | None, refusal: Refusal | None
) -> None:
    profile = replace(PROFILE, cash_identity=frozenset(cash_identity), cash_identity_from_minor=0)
    assert decide(profile, replace(REQUEST, method=Method.CASH, identity=shown)) is refusal
    assert decide(profile, replace(REQUEST, identity=shown)) is None


# All that can stand against a request, in the order of precedence; each is also given with
# everything behind it.
CAUSES: list[tuple[Refusal, dict[str, Any]]] = [
    (Refusal.NUMBER_BLOCKED, {"number_status": NumberStatus.BLOCKED}),
    (Refusal.CHANNEL_OFF, {"channel": Channel.KIOSK}),
    (Refusal.METHOD_OFF, {"method": Method.PAYPAL}),
    (Refusal.AMOUNT_TOO_LARGE, {"amount_minor": 5_000_01}),
    (Refusal.IDENTITY_NEEDED, {"method": Method.CASH, "amount_minor": 5_000_00}),
    (Refusal.DAY_LIMIT, {"spent_today_minor": 8_000_00}),
    (Refusal.MONTH_LIMIT, {"spent_month_minor": 20_000_00}),
]


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_the_first_of_several_is_the_answer(first: int) -> None:
    changes: dict[str, Any] = {}
    for _, cause in reversed(CAUSES[first:]):
        changes |= cause
    assert decide(PROFILE, replace(REQUEST, **changes)) is CAUSES[first][0]


def test_the_order_is_that_of_the_list() -> None:
    order = [refusal for refusal, _ in CAUSES]
    assert order == [refusal for refusal in Refusal if refusal in order]


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, (10_00, 5_000_00)),
        ({"amount_minor": 1}, (10_00, 5_000_00)),
        ({"channel": Channel.WEB}, (1_00, 1_00)),
        ({"number_status": NumberStatus.BLOCKED}, None),
        ({"number_status": NumberStatus.CLOSED}, None),
        ({"channel": Channel.KIOSK}, None),
        ({"method": Method.ALIPAY}, None),
        (CASH, (10_00, 999_99)),
        (CASH | {"identity": DOCUMENT}, (10_00, 5_000_00)),
        ({"spent_today_minor": 3_000_00}, (10_00, 5_000_00)),
        ({"spent_today_minor": 3_000_01}, (10_00, 4_999_99)),
        ({"spent_today_minor": 7_990_00}, (10_00, 10_00)),
        ({"spent_today_minor": 7_990_01}, None),
        ({"spent_month_minor": 15_000_01}, (10_00, 4_999_99)),
        ({"spent_month_minor": 20_000_00}, None),
        ({"spent_today_minor": 4_000_00, "spent_month_minor": 18_000_00}, (10_00, 2_000_00)),
    ],
)
def test_allows(changes: dict[str, Any], allowed: tuple[int, int] | None) -> None:
    assert allowed_now(PROFILE, replace(REQUEST, **changes)) == allowed


def test_cash_that_always_needs_an_identity_allows_nothing_without() -> None:
    profile = replace(PROFILE, cash_identity_from_minor=0)
    request = replace(REQUEST, method=Method.CASH)
    assert decide(profile, request) is Refusal.IDENTITY_NEEDED
    assert allowed_now(profile, request) is None


amounts = st.integers(0, 60)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    limits = st.tuples(amounts, amounts).map(lambda pair: AmountRange(*sorted(pair)))
    return Profile(
        limits=draw(st.dictionaries(st.sampled_from(Channel), limits)),
        methods=frozenset(draw(st.sets(st.sampled_from(Method)))),
        cash_identity=frozenset(draw(st.sets(st.sampled_from(Identity)))),
        cash_identity_from_minor=draw(amounts),
        day_max_minor=draw(amounts),
        month_max_minor=draw(amounts),
    )


requests = st.builds(
    Request,
    channel=st.sampled_from(Channel),
    method=st.sampled_from(Method),
    amount_minor=amounts,
    identity=st.none() | st.sampled_from(Identity),
    spent_today_minor=amounts,
    spent_month_minor=amounts,
    number_status=st.sampled_from(NumberStatus),
)


@given(profiles(), requests)
def test_exactly_what_is_allowed_is_not_refused(profile: Profile, request: Request) -> None:
    allowed = allowed_now(profile, request)
    accepted = [
        amount
        for amount in range(-1, 62)
        if decide(profile, replace(request, amount_minor=amount)) is None
    ]
    assert accepted == (list(range(allowed.least_minor, allowed.most_minor + 1)) if allowed else [])
