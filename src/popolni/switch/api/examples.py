"""What the document shows of each answer: made of the same structures, so that none is wrong."""

from datetime import datetime, timedelta, timezone

import msgspec

from popolni.core.channel import Channel
from popolni.core.refusal import AmountRange, Refusal
from popolni.switch.api.model import (
    Bonus,
    Float,
    Floats,
    NumberInfo,
    Offer,
    Operator,
    Order,
    Page,
    Receipt,
    Renewal,
    Reversal,
    Reversed,
    TopUp,
)
from popolni.switch.api.problems import Allowed, Kind, Trouble, malformed
from popolni.topups.rules import ReversalRefusal

_REFERENCE, _NUMBER, _CURRENCY = "shop-17/000123", 79160000001, "RUB"
_AT = datetime(2026, 11, 25, 12, 0, tzinfo=timezone(timedelta(hours=3)))

ORDERS = {
    "cash": Order(
        reference=_REFERENCE, number="79160000001", amount_minor=100_00, currency=_CURRENCY
    ),
    "written by a person": Order(
        reference="shop-17/000124",
        number="8 (916) 000-00-01",
        amount_minor=500_00,
        currency=_CURRENCY,
        paid_at=_AT,
    ),
}
CREDITED = Receipt(
    id="1-1879",
    reference=_REFERENCE,
    state="credited",
    number=_NUMBER,
    amount_minor=100_00,
    currency=_CURRENCY,
)
UNKNOWN = msgspec.structs.replace(CREDITED, id=None, state="unknown")
TOP_UP = TopUp(
    id="1-1879",
    reference=_REFERENCE,
    state="credited",
    number=_NUMBER,
    amount_minor=100_00,
    currency=_CURRENCY,
    channel=Channel.API,
    branch="mts-moscow",
    created_at=_AT,
    paid_at=_AT,
)
REVERSED_TOP_UP = msgspec.structs.replace(
    TOP_UP,
    state="reversed",
    reversal=Reversal(id="1-1902", reversed_at=_AT + timedelta(minutes=4)),
)
PAGE = Page(top_ups=[TOP_UP], cursor="gQHNB1c", has_more=False)
REVERSED = Reversed(id="1-1902", top_up="1-1879", state="reversed", amount_minor=100_00)
REVERSING = msgspec.structs.replace(REVERSED, id=None, state="unknown")
_RENEWAL = Renewal(plan="Travel 30", price_minor=300_00, until=_AT + timedelta(days=30))
NUMBER = NumberInfo(
    number=_NUMBER,
    operator=Operator(code="mts", name="MTS"),
    branch="mts-moscow",
    currency=_CURRENCY,
    holder="Li W.",
    can_be_topped_up=True,
    refusal=None,
    allowed=Allowed(least_minor=10_00, most_minor=15_000_00),
    plan_lacks_minor=200_00,
    asked=None,
    suggested=[
        Offer(amount_minor=200_00, refusal=None, renewal=_RENEWAL, bonuses=[]),
        Offer(
            amount_minor=500_00,
            refusal=None,
            renewal=_RENEWAL,
            bonuses=[
                Bonus(
                    promotion="A gigabyte on top",
                    unit="byte",
                    amount=2**30,
                    text="1 GiB",
                    ends_at=_AT + timedelta(days=30),
                )
            ],
        ),
    ],
)
FLOATS = Floats(
    floats=[Float(branch="mts-moscow", operator="mts", currency=_CURRENCY, left_minor=1_000_000_00)]
)

_DETAILED = {
    Kind.MALFORMED: malformed("Expected `int`, got `str`", pointer="/amount_minor"),
    Kind.DUPLICATE_REFERENCE: Trouble(
        Kind.DUPLICATE_REFERENCE,
        "the identifier names another top-up",
        refusal=Refusal.DUPLICATE_WITH_OTHER_CONTENT,
    ),
    Kind.REFUSED: Trouble(
        Kind.REFUSED,
        "the sum is below the smallest top-up",
        refusal=Refusal.AMOUNT_TOO_SMALL,
        allowed=AmountRange(10_00, 15_000_00),
    ),
    Kind.UNAVAILABLE: Trouble(
        Kind.UNAVAILABLE, "nothing can be decided now", refusal=Refusal.UNAVAILABLE
    ),
    Kind.FLOAT_TOO_LOW: Trouble(
        Kind.FLOAT_TOO_LOW, "the agent's float does not cover it", refusal=Refusal.FLOAT_TOO_LOW
    ),
    Kind.REVERSAL_REFUSED: Trouble(
        Kind.REVERSAL_REFUSED,
        "it is too late to reverse it",
        reversal_refusal=ReversalRefusal.TOO_LATE,
    ),
    Kind.MONEY_SPENT: Trouble(
        Kind.MONEY_SPENT,
        "the subscriber does not have the money any more",
        reversal_refusal=ReversalRefusal.MONEY_SPENT,
    ),
}
PROBLEMS = {kind: _DETAILED.get(kind, Trouble(kind)).problem for kind in Kind}
