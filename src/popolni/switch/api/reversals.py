"""A top-up is taken back by the agent that made it."""

import logging

from litestar import Response, post

from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.switch.api import examples
from popolni.switch.api.document import ASKED_AGAIN, answers
from popolni.switch.api.history import Receipt, find
from popolni.switch.api.model import Reversed
from popolni.switch.api.problems import REVERSAL_KINDS, Kind, Trouble, malformed
from popolni.switch.api.requests import ApiRequest
from popolni.switch.api.words import reversal_refusal_in_words
from popolni.topups.rules import ReversalRefusal

log = logging.getLogger("popolni.switch")


@post(
    "/top-ups/{receipt:str}/reversal",
    name="reverse",
    operation_id="reverse",
    summary="Take a top-up back",
    responses=answers(
        {
            201: (Reversed, "The whole amount is on your float again.", examples.REVERSED),
            200: (Reversed, "A repeat: the first answer again.", examples.REVERSED),
            202: (Reversed, "Nobody knows yet. Ask again, until you hear.", examples.REVERSING),
        },
        Kind.TOO_SLOW,
        Kind.TOO_LARGE,
        Kind.NOT_FOUND,
        Kind.MONEY_SPENT,
        Kind.REVERSAL_REFUSED,
    ),
)
async def reverse(request: ApiRequest, receipt: Receipt) -> Response[Reversed]:
    """The whole amount, once, while the subscriber still has it, and as long as you may.

    It has no body. Asked for again, it answers the same.
    """
    call = request.call
    if (await request.body()).strip() not in (b"", b"{}"):
        raise malformed("a reversal has no content: it is always of the whole amount", pointer="")
    found = await find(call, receipt)
    amount_minor = call.amount_minor = found[1].amount
    try:
        answer = await call.program.reverse(call.agent, found)
    except LedgerUnavailable:
        raise
    except Exception as error:
        call.outcome = "unknown"
        if not isinstance(error, OutcomeUnknown):  # a fault of ours, that may have reversed it
            log.exception("a reversal could not be answered")
            call.outcome = "fault"
        body = Reversed(id=None, top_up=receipt, state="unknown", amount_minor=amount_minor)
        return Response(body, status_code=202, headers=ASKED_AGAIN)
    if isinstance(answer, ReversalRefusal):
        words = reversal_refusal_in_words(answer, call.agent.language)
        raise Trouble(REVERSAL_KINDS[answer], words, reversal_refusal=answer)
    call.outcome = "repeat" if answer.is_repeat else "reversed"
    body = Reversed(id=answer.receipt, top_up=receipt, state="reversed", amount_minor=amount_minor)
    return Response(body, status_code=200 if answer.is_repeat else 201)
