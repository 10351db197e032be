"""A top-up is asked for: the one request of this API that moves money to a number."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from litestar import Response, post
from litestar.params import JSONBody

from popolni.core.channel import Channel
from popolni.core.number import read_number
from popolni.core.refusal import Refusal
from popolni.switch.api import examples
from popolni.switch.api.document import ASKED_AGAIN, BODY, PREFIX, answers
from popolni.switch.api.model import Order, Receipt
from popolni.switch.api.problems import KINDS, Kind, Trouble, Wrong
from popolni.switch.api.requests import ApiRequest, Call, in_zone
from popolni.switch.words import refusal_in_words
from popolni.topups.rules import Answer, Ask, Refused, Unknown

PATH = f"{PREFIX}/top-ups"
PAID_YEARS = range(2000, 2100)


log = logging.getLogger("popolni.switch")


@post(
    "/top-ups",
    name="top_up",
    operation_id="top_up",
    summary="Top a number up",
    responses=answers(
        {
            201: (Receipt, "Credited: the money is there, durably.", examples.CREDITED),
            200: (Receipt, "A repeat: the first answer again.", examples.CREDITED),
            202: (
                Receipt,
                "Nobody knows yet. Send the same again, until you hear.",
                examples.UNKNOWN,
            ),
        },
        *BODY,
        Kind.DUPLICATE_REFERENCE,
        Kind.REFUSED,
        Kind.FLOAT_TOO_LOW,
    ),
)
async def top_up(request: ApiRequest, data: JSONBody[Order]) -> Response[Receipt]:
    """Credits the number, once for each `reference`, from your float with the number's branch.

    Send the same again, with the same `reference`, whenever you hear nothing, 202, 429 or 503:
    what was credited is not credited twice, and every repeat gets the first answer. 422 and 409
    are final: this reference was not credited and will not be.

    The same top-up is the same number and the same amount; in what else a repeat differs is no
    matter.
    """
    status, receipt, headers = await credit(request.call, data)
    return Response(receipt, status_code=status, headers=headers)


class Told(NamedTuple):
    """An answer that is no problem."""

    status: int
    receipt: Receipt
    headers: Mapping[str, str]


async def credit(call: Call, order: Order) -> Told:
    """Asks the desk, whatever way the order came. Raises Trouble."""
    ask = _read_ask(call, order)
    answer = await _answer(call, ask)
    if isinstance(answer, Refused):
        raise _refused(call, answer)
    if isinstance(answer, Unknown):
        call.outcome = "fault" if call.outcome == "fault" else "unknown"
        return Told(202, _receipt(order, ask, None), ASKED_AGAIN)
    receipt = call.receipt = answer.receipt
    call.outcome = "repeat" if answer.is_repeat else "credited"
    status = 200 if answer.is_repeat else 201
    return Told(status, _receipt(order, ask, receipt), {"location": f"{PATH}/{receipt}"})


def _read_ask(call: Call, order: Order) -> Ask:
    call.reference, call.amount_minor = order.reference, order.amount_minor
    text = order.number if isinstance(order.number, str) else f"+{order.number}"
    number = call.number = read_number(text)
    if number is None:
        raise _refused(call, Refused(Refusal.NUMBER_MALFORMED))
    paid_at = order.paid_at
    if paid_at and paid_at.year not in PAID_YEARS:
        raise _misfit("/paid_at", "not in the years 2000 to 2099")
    if order.currency not in call.program.catalogue().currencies:
        raise _misfit("/currency", "no number here is kept in that currency")
    return Ask(
        channel=Channel.API,
        agent=call.agent,
        reference=order.reference,
        number=number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        method=order.method,
        identity=order.identity,
        reference_at=paid_at and in_zone(paid_at),
        outlet=order.outlet,
    )


async def _answer(call: Call, ask: Ask) -> Answer:
    try:
        return await call.program.desk.top_up(ask)
    except Exception:
        # A fault of ours. Nobody knows what it did, so nobody may give the money back for it.
        log.exception("a request could not be answered")
        call.outcome = "fault"
        return Unknown()


def _misfit(pointer: str, detail: str) -> Trouble:
    """It fits the document, and cannot be all the same. Nothing is remembered of it."""
    wrong = Wrong(pointer=pointer, detail=detail)
    return Trouble(Kind.REFUSED, detail, refusal=Refusal.REQUEST_MALFORMED, errors=[wrong])


def _refused(call: Call, refused: Refused) -> Trouble:
    refusal = refused.refusal
    return Trouble(
        KINDS[refusal],
        refusal_in_words(refusal, call.agent.language),
        refusal=refusal,
        allowed=refused.allowed,
    )


def _receipt(order: Order, ask: Ask, id_: str | None) -> Receipt:
    return Receipt(
        id=id_,
        reference=ask.reference,
        state="credited" if id_ else "unknown",
        number=ask.number,
        amount_minor=ask.amount_minor,
        currency=order.currency,
    )
