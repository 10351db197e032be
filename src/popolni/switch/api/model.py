"""What is sent and answered; the document shows these as they are."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from popolni.catalog.operators.rules import Identity
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.number import TEXT_MAX
from popolni.core.refusal import Refusal
from popolni.ledger.chart import SUBJECT_MAX
from popolni.switch.api.problems import Allowed

AMOUNT_MAX_MINOR = 2**53 - 1
"""The largest whole number that every reader of JSON reads exactly."""
REFERENCE_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
REFERENCE_MAX = 64
OUTLET_MAX = 50
ID_PATTERN = r"^[1-9][0-9]{0,8}-[1-9][0-9]{0,17}$"

Id = Annotated[
    str, Meta(description="The receipt: our name of it.", pattern=ID_PATTERN, examples=["1-1879"])
]
Reference = Annotated[
    str,
    Meta(
        description="Your identifier of the top-up: printable ASCII, no space at its ends. One"
        " reference is one top-up for ever: sent again, it gets its first answer.",
        min_length=1,
        max_length=REFERENCE_MAX,
        pattern=REFERENCE_PATTERN,
        examples=["shop-17/2026-11-25/000123"],
    ),
]
Number = Annotated[
    int,
    Meta(
        description="A phone number, E.164 without the plus.",
        gt=0,
        le=SUBJECT_MAX,
        examples=[79160000001],
    ),
]
Amount = Annotated[
    int,
    Meta(
        description="Money in minor units of the currency: 10000 is 100.00 RUB.",
        gt=0,
        le=AMOUNT_MAX_MINOR,
        examples=[10000],
    ),
]
Currency = Annotated[
    str, Meta(description="ISO 4217.", pattern="^[A-Z]{3}$", max_length=3, examples=["RUB"])
]
Named = Annotated[str, Meta(description="For people, in the agent's language.")]


Moment = Annotated[datetime, Meta(tz=True)]


class Order(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A top-up that you ask for."""

    reference: Reference
    number: Annotated[
        Number
        | Annotated[
            str,
            Meta(
                description="Or as people write it: `+7 916 000-00-01`, `8 916 …`, `916 …`.",
                max_length=TEXT_MAX,
                examples=["79160000001"],
            ),
        ],
        Meta(description="Whose money it becomes."),
    ]
    amount_minor: Amount
    currency: Annotated[Currency, Meta(description="That of the number's branch.")]
    method: Annotated[Method, Meta(description="How the payer pays you.")] = Method.CASH
    identity: Annotated[
        Identity | None,
        Meta(description="How the payer said who they are; if not given, as your contract says."),
    ] = None
    outlet: Annotated[
        Annotated[str, Meta(min_length=1, max_length=OUTLET_MAX)] | None,
        Meta(
            description="The code of your outlet where it is paid, with or without your own in"
            " front of it. The outlet's limits hold then.",
            examples=["17"],
        ),
    ] = None
    paid_at: Annotated[
        Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})] | None,
        Meta(
            description="When you took the money, from 2000 to 2099. Without a zone it is the"
            " switch's.",
            examples=["2026-11-25T12:00:00+03:00"],
        ),
    ] = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The first answer to a top-up, and that to every repeat.

    `credited`: the money is there. `unknown`: nobody knows yet; send the same again, with the same
    reference, and don't give the money back meanwhile.
    """

    id: Annotated[Id | None, Meta(description="The receipt; null as long as it is unknown.")]
    reference: Reference
    state: Literal["credited", "unknown"]
    number: Number
    amount_minor: Amount
    currency: Currency


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal: the whole amount went back to your float."""

    id: Id
    reversed_at: Moment


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up as it stands."""

    id: Id
    reference: Annotated[str | None, Meta(description="Your identifier of it.")]
    state: Literal["credited", "reversed", "refused"]
    number: Annotated[int, Meta(description="E.164 without the plus.")]
    amount_minor: Amount
    currency: Annotated[Currency | None, Meta(description="Null if it is refused.")]
    channel: Annotated[Channel, Meta(description="What it came through.")]
    branch: Annotated[
        str | None, Meta(description="The code of the number's branch; null if it is refused.")
    ]
    created_at: Annotated[Moment, Meta(description="When it was credited, or refused.")]
    paid_at: Annotated[Moment | None, Meta(description="Your date of it.")]
    reversal: Annotated[Reversal | None, Meta(description="If it is reversed.")] = None
    refusal: Annotated[Refusal | None, Meta(description="If it is refused.")] = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of your top-ups, in the order of time."""

    top_ups: list[TopUp]
    cursor: Annotated[
        str,
        Meta(
            description="To go on after these, now or when there are new ones.",
            examples=["gQHNB1c"],
        ),
    ]
    has_more: Annotated[bool, Meta(description="Whether there are more by now.")]


class Reversed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reversal. `unknown`: nobody knows yet; ask again."""

    id: Annotated[Id | None, Meta(description="The receipt; null as long as it is unknown.")]
    top_up: Annotated[Id, Meta(description="What is reversed.")]
    state: Literal["reversed", "unknown"]
    amount_minor: Amount


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """An operator."""

    code: str
    name: Named


class Bonus(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion adds to a top-up."""

    promotion: Named
    unit: Literal["money", "byte", "second", "message"]
    amount: Annotated[int, Meta(description="In the unit; money in minor units.")]
    text: Annotated[str, Meta(description="The same for people.", examples=["1 GiB"])]
    ends_at: Annotated[Moment | None, Meta(description="Null: money does not end.")]


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """What the money, with what is there already, does for the number's plan."""

    plan: Named
    price_minor: Amount
    until: Annotated[
        Moment | None, Meta(description="Until when it is paid then; null: not enough.")
    ]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up of this amount: whether it would be let in, and what it would bring."""

    amount_minor: Amount
    refusal: Annotated[Refusal | None, Meta(description="Why not; null: it would be let in.")]
    renewal: Annotated[
        Renewal | None,
        Meta(description="Null: the number is on no plan, or its plan does not renew by itself."),
    ]
    bonuses: list[Bonus]


class NumberInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A number, before money is taken for it. Nothing of this is a promise."""

    number: Number
    operator: Operator
    branch: Annotated[str, Meta(description="The code of the branch.")]
    currency: Currency
    holder: Annotated[
        str | None,
        Meta(
            description="Enough of the name to see that it is the right one, where your contract"
            " lets you see it.",
            examples=["Анна И."],
        ),
    ]
    can_be_topped_up: Annotated[bool, Meta(description="With some amount at least.")]
    refusal: Annotated[Refusal | None, Meta(description="Why not.")]
    allowed: Annotated[Allowed | None, Meta(description="The amounts; null: none.")]
    plan_lacks_minor: Annotated[
        int | None,
        Meta(description="What the next period of its plan costs more than is there."),
    ]
    asked: Annotated[Offer | None, Meta(description="The amount that you ask about.")]
    suggested: Annotated[list[Offer], Meta(description="Amounts to offer to the payer.")]


class Float(msgspec.Struct, frozen=True, kw_only=True):
    """Your deposit with a branch."""

    branch: str
    operator: str
    currency: Currency
    left_minor: Annotated[int, Meta(description="What can still be topped up from it.")]


class Floats(msgspec.Struct, frozen=True, kw_only=True):
    """Your deposits."""

    floats: list[Float]
