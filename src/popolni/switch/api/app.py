"""Every request of the JSON API: who asks, how often, how much; then Litestar finds the handler.

What needs no agent is answered before: the document, and the pages of problems.
"""

import logging
from time import perf_counter
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from popolni.core.channel import Channel
from popolni.core.refusal import Refusal
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.switch import metrics
from popolni.switch.access import NotAdmitted, TooBusy
from popolni.switch.api import document, problems
from popolni.switch.api.floats import get_float
from popolni.switch.api.history import allow_top_ups, get_top_up, get_top_ups
from popolni.switch.api.numbers import get_number
from popolni.switch.api.orders import PATH as ORDERS
from popolni.switch.api.orders import credit, top_up
from popolni.switch.api.problems import Kind, Trouble, respond_trouble
from popolni.switch.api.requests import (
    CALL,
    ApiRequest,
    Call,
    check_query,
    read_order,
    unread,
)
from popolni.switch.api.reversals import reverse
from popolni.switch.http import (
    PLAIN,
    BadBody,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
    respond,
)
from popolni.switch.journal import masked
from popolni.switch.live import NoCatalogue
from popolni.switch.program import Program

PREFIXES = ("/api/v1/", problems.PAGES)
BODY_MAX = 64 * 1024
JSON = (b"content-type", b"application/json")
_BAD_BODIES = {400: Kind.MALFORMED, 408: Kind.TOO_SLOW, 413: Kind.TOO_LARGE}

log = logging.getLogger("popolni.switch")


async def serve(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one request."""
    started = perf_counter()
    page = PAGES.get(scope["path"])
    if page and scope["method"] in ("GET", "HEAD"):
        media_type, body = page
        await respond(send, 200, body, [media_type])
        return
    headers = dict(scope["headers"])
    try:
        agent = await program.admit(scope, headers, None)
    except NotAdmitted:
        metrics.NOT_ADMITTED.labels(Channel.API.value).inc()
        await respond_trouble(send, Trouble(Kind.UNAUTHORIZED), problems.ASK_WHO)
        return
    except (TooBusy, NoCatalogue):
        await respond_trouble(send, Trouble(Kind.UNAVAILABLE))
        return
    call = Call(program, agent)
    try:
        body = await _let_through(call, scope, receive)
        if scope["path"] == ORDERS and scope["method"] == "POST" and not scope["query_string"]:
            status = await _take_order(call, headers.get(b"content-type", b""), body, send)
        else:
            status = await _pass_on(call, scope, body, send)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
        trouble = _trouble_of(error)
        call.outcome, status = trouble.outcome, trouble.kind.value.status
        await respond_trouble(send, trouble)
    _note(call, status, perf_counter() - started)


async def _let_through(call: Call, scope: Scope, receive: Receive) -> bytes:
    """The body. Raises Trouble."""
    if not call.program.rates.allows(call.agent):
        raise Trouble(Kind.TOO_MANY_REQUESTS)
    if scope["method"] != "POST":
        return b""
    try:
        return await read_body(receive, BODY_MAX)
    except BadBody as error:
        raise Trouble(_BAD_BODIES[error.status]) from None


async def _take_order(call: Call, content_type: bytes, body: bytes, send: Send) -> int:
    """The hottest route: Litestar, which describes it, would cost more than all the rest."""
    call.command = top_up.name or ""
    told = await credit(call, read_order(content_type, body))
    headers = [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await respond(send, told.status, msgspec.json.encode(told.receipt), [JSON, *headers])
    return told.status


async def _pass_on(call: Call, scope: Scope, body: bytes, send: Send) -> int:
    """The status with which Litestar answers."""
    status = 0

    async def receive_body() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send_on(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)

    scope[CALL] = call
    litestar: Any = LITESTAR  # its types of ASGI are narrower than the protocol's
    await litestar(scope, receive_body, send_on)
    call.command = getattr(scope.get("route_handler"), "name", None) or call.command
    return status


def _note(call: Call, status: int, seconds: float) -> None:
    call.program.counted.request(Channel.API, call.agent.code, call.command, call.outcome, seconds)
    call.program.journal.write(
        call.command,
        channel=Channel.API.value,
        agent=call.agent.code,
        reference=call.reference,
        number=masked(call.number),
        amount_minor=call.amount_minor,
        outcome=call.outcome,
        status=status,
        receipt=call.receipt,
        ms=round(1_000 * seconds, 1),
    )


def _trouble_of(error: Exception) -> Trouble:
    """What an error is to who asked."""
    if isinstance(error, Trouble):
        return error
    if isinstance(error, LedgerUnavailable | OutcomeUnknown):  # nothing was to be changed
        return Trouble(Kind.UNAVAILABLE, refusal=Refusal.UNAVAILABLE)
    if isinstance(error, NotFoundException):
        return Trouble(Kind.NOT_FOUND)
    if isinstance(error, MethodNotAllowedException):
        return Trouble(Kind.METHOD_NOT_ALLOWED)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return unread(error.extra)
    log.error("a request could not be answered", exc_info=error)
    return Trouble(Kind.FAULT)


def _tell(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The answer, where Litestar was asked."""
    trouble = _trouble_of(error)
    scope: Any = request.scope
    scope[CALL].outcome = trouble.outcome
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowedException):
        headers["allow"] = dict(error.headers or {})["allow"]
    if trouble.retry_after:
        headers["retry-after"] = trouble.retry_after
    return Response(
        trouble.problem,
        status_code=trouble.kind.value.status,
        media_type=problems.MEDIA_TYPE,
        headers=headers,
    )


HANDLERS = (allow_top_ups, top_up, get_top_up, get_top_ups, reverse, get_number, get_float)
LITESTAR = Litestar(
    HANDLERS,
    path=document.PREFIX,
    request_class=ApiRequest,
    before_request=check_query,
    exception_handlers={HTTPException: _tell, Exception: _tell},
    openapi_config=None,
    logging_config=None,
)


PAGES = {
    document.PATH: (JSON, msgspec.json.encode(document.document(HANDLERS))),
    **{kind.type: (PLAIN, problems.page(kind)) for kind in Kind},
}
"""What anybody may read: by its path, its type and its text."""
