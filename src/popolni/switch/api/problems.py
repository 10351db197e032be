"""What goes wrong, as RFC 9457 writes it: one closed list of kinds, each with a page of its own.

A program needs to know two things of a problem: what it is (`type`, and `refusal` where a top-up
is refused), and whether the same request may succeed later (`retry_helps`). The status says the
same to a program that reads nothing else: 429 and 503 pass, and are asked again after Retry-After;
every other one stays as it is.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from popolni.core.refusal import AmountRange, Refusal
from popolni.switch.http import Header, Send, respond
from popolni.topups.rules import ReversalRefusal

PAGES = "/problems/"
MEDIA_TYPE = "application/problem+json"
ASK_WHO = (b"www-authenticate", b'Basic realm="Popolni", charset="UTF-8"')


class _Row(NamedTuple):
    status: int
    title: str
    meaning: str
    retry_s: int | None = None


class Kind(Enum):
    """A kind of problem: its status, its title, what to do about it, and when to ask again."""

    MALFORMED = _Row(
        400,
        "The request cannot be read",
        "It is not JSON, or not what the document asks for; `errors` says where. Nothing was"
        " decided and nothing is remembered.",
    )
    UNAUTHORIZED = _Row(
        401,
        "Who are you?",
        "Name and password (HTTP Basic), the client certificate or the address are not those of"
        " an agent. Nobody is told which.",
    )
    NOT_FOUND = _Row(
        404,
        "There is no such thing",
        "No such page, number or top-up; of top-ups, you only see your own. One that is still on"
        " its way is not there yet: before you give money back, send it again.",
    )
    METHOD_NOT_ALLOWED = _Row(405, "Not with this method", "The header Allow lists those that do.")
    TOO_SLOW = _Row(
        408, "The request came too slowly", "Its body was not here within ten seconds.", 1
    )
    DUPLICATE_REFERENCE = _Row(
        409,
        "The reference names another top-up",
        "You have used this `reference` for another number or another amount. That top-up is as it"
        " was; this one was not made and will not be.",
    )
    MONEY_SPENT = _Row(
        409,
        "The money is spent",
        "The subscriber has less than the whole amount, or has left. Nothing was reversed.",
    )
    TOO_LARGE = _Row(413, "The request is too large", "A body has at most 64 KiB.")
    WRONG_CONTENT_TYPE = _Row(
        415, "This is not JSON", "Send `Content-Type: application/json`, in UTF-8."
    )
    REFUSED = _Row(
        422,
        "The top-up is refused",
        "`refusal` says why, and the answer stays the same for this `reference`, whatever changes:"
        " the money may go back to the payer. `allowed` are the amounts that would have been let"
        " in at that moment, where any would.",
    )
    REVERSAL_REFUSED = _Row(
        422, "The top-up is not reversed", "`reversal_refusal` says why. Nothing was reversed."
    )
    TOO_MANY_REQUESTS = _Row(
        429, "Too many requests", "You may make so many in a second, by your contract.", 1
    )
    FAULT = _Row(500, "A fault of ours", "It is in our log. Nothing was changed by it.", 5)
    UNAVAILABLE = _Row(
        503,
        "Not now",
        "The database is away, or too many requests wait. Nothing was decided: send the same again,"
        " with the same `reference`.",
        1,
    )
    FLOAT_TOO_LOW = _Row(
        503,
        "The float does not cover it",
        "Your deposit with the branch is too small for this top-up. Nothing was decided: pay in,"
        " and send the same again, with the same `reference`. Before you give the money back, see"
        " that it is not sent again.",
        60,
    )

    @property
    def slug(self) -> str:
        """Its name, in addresses and logs."""
        return self.name.lower().replace("_", "-")

    @property
    def type(self) -> str:
        """Its address, which is also a page."""
        return PAGES + self.slug


KINDS: Mapping[Refusal, Kind] = {
    Refusal.REQUEST_MALFORMED: Kind.REFUSED,
    Refusal.UNAVAILABLE: Kind.UNAVAILABLE,
    Refusal.CANCELLED: Kind.REFUSED,
    Refusal.DUPLICATE_WITH_OTHER_CONTENT: Kind.DUPLICATE_REFERENCE,
    Refusal.AGENT_INACTIVE: Kind.REFUSED,
    Refusal.OUTLET_UNKNOWN: Kind.REFUSED,
    Refusal.OUTLET_INACTIVE: Kind.REFUSED,
    Refusal.NUMBER_MALFORMED: Kind.REFUSED,
    Refusal.NUMBER_UNKNOWN: Kind.REFUSED,
    Refusal.NUMBER_CLOSED: Kind.REFUSED,
    Refusal.NUMBER_BLOCKED: Kind.REFUSED,
    Refusal.CONTRACT_NOT_IN_FORCE: Kind.REFUSED,
    Refusal.CURRENCY_OTHER: Kind.REFUSED,
    Refusal.CHANNEL_OFF: Kind.REFUSED,
    Refusal.METHOD_OFF: Kind.REFUSED,
    Refusal.OUTLET_METHOD_OFF: Kind.REFUSED,
    Refusal.AMOUNT_TOO_SMALL: Kind.REFUSED,
    Refusal.AMOUNT_TOO_LARGE: Kind.REFUSED,
    Refusal.IDENTITY_NEEDED: Kind.REFUSED,
    Refusal.DAY_LIMIT: Kind.REFUSED,
    Refusal.MONTH_LIMIT: Kind.REFUSED,
    Refusal.OUTLET_DAY_LIMIT: Kind.REFUSED,
    Refusal.FLOAT_TOO_LOW: Kind.FLOAT_TOO_LOW,
}

REVERSAL_KINDS: Mapping[ReversalRefusal, Kind] = {
    ReversalRefusal.NOT_FOUND: Kind.NOT_FOUND,
    ReversalRefusal.NOT_ALLOWED: Kind.REVERSAL_REFUSED,
    ReversalRefusal.TOO_LATE: Kind.REVERSAL_REFUSED,
    ReversalRefusal.MONEY_SPENT: Kind.MONEY_SPENT,
}


class Wrong(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A part of the request that cannot be read."""

    pointer: Annotated[
        str | None, Meta(description="Where in the body it is (RFC 6901).", examples=["/number"])
    ] = None
    parameter: Annotated[
        str | None, Meta(description="Which parameter of the address.", examples=["limit"])
    ] = None
    detail: Annotated[str, Meta(description="What is wrong with it.")]


class Allowed(msgspec.Struct, kw_only=True):
    """Amounts of one top-up, both ends included, in minor units."""

    least_minor: int
    most_minor: int

    @classmethod
    def of(cls, amounts: AmountRange | None) -> "Allowed | None":
        """As the rules have them."""
        if amounts is None:
            return None
        return cls(least_minor=amounts.least_minor, most_minor=amounts.most_minor)


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Meta(description="What it is: the address of a page that explains it.")]
    title: Annotated[str, Meta(description="The same in a few words, always these.")]
    status: Annotated[int, Meta(description="The status of the response.")]
    detail: Annotated[
        str | None,
        Meta(description="This one, for people; in the agent's language where it is a refusal."),
    ] = None
    retry_helps: Annotated[
        bool, Meta(description="Whether the same request may succeed later (see Retry-After).")
    ]
    refusal: Annotated[Refusal | None, Meta(description="Why a top-up is refused.")] = None
    reversal_refusal: Annotated[
        ReversalRefusal | None, Meta(description="Why a top-up is not reversed.")
    ] = None
    allowed: Annotated[
        Allowed | None, Meta(description="The amounts that would be let in, if any is known.")
    ] = None
    errors: Annotated[
        list[Wrong] | None, Meta(description="The parts of the request that cannot be read.")
    ] = None


class Trouble(Exception):
    """A request that is answered with a problem."""

    def __init__(  # noqa: PLR0913  # all but two by name
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        refusal: Refusal | None = None,
        reversal_refusal: ReversalRefusal | None = None,
        allowed: AmountRange | None = None,
        errors: Sequence[Wrong] | None = None,
    ) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.problem = Problem(
            type=kind.type,
            title=kind.value.title,
            status=kind.value.status,
            detail=detail,
            retry_helps=kind.value.retry_s is not None,
            refusal=refusal,
            reversal_refusal=reversal_refusal,
            allowed=Allowed.of(allowed),
            errors=list(errors) if errors else None,
        )

    @property
    def outcome(self) -> str:
        """What the log and the metrics call it."""
        problem = self.problem
        return str(problem.refusal or problem.reversal_refusal or self.kind.slug)

    @property
    def retry_after(self) -> str | None:
        """The header, in seconds."""
        return None if self.kind.value.retry_s is None else str(self.kind.value.retry_s)


def malformed(detail: str, *, pointer: str | None = None, parameter: str | None = None) -> Trouble:
    """A request that cannot be read, and where."""
    wrong = Wrong(pointer=pointer, parameter=parameter, detail=detail)
    return Trouble(Kind.MALFORMED, detail, errors=[wrong])


async def respond_trouble(send: Send, trouble: Trouble, *headers: Header) -> None:
    """Answers with it, where nothing else has begun to answer."""
    sent = [(b"content-type", MEDIA_TYPE.encode()), *headers]
    if trouble.retry_after:
        sent.append((b"retry-after", trouble.retry_after.encode()))
    await respond(send, trouble.kind.value.status, msgspec.json.encode(trouble.problem), sent)


def page(kind: Kind) -> bytes:
    """What a person sees at a problem's address."""
    row = kind.value
    again = "" if row.retry_s is None else "\n\nThe same request may succeed later: ask again."
    return f"{row.title}\n\n{row.meaning}{again}\n\nHTTP status {row.status}.\n".encode()
