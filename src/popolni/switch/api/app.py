"""Every request of the JSON API: who asks, how often, how much; then Litestar finds the handler.

What needs no agent is answered before: the document, and the pages of problems.
"""

import logging
from collections.abc import Callable, Mapping
from functools import cache
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
from popolni.switch.api.history import get_top_up, get_top_ups
from popolni.switch.api.numbers import get_number
from popolni.switch.api.orders import top_up
from popolni.switch.api.problems import Kind, Trouble, respond_trouble
from popolni.switch.api.requests import CALL, ApiRequest, Call, check_query, unread
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
_BAD_BODIES = {400: Kind.MALFORMED, 408: Kind.TOO_SLOW, 413: Kind.TOO_LARGE}

log = logging.getLogger("popolni.switch")


async def serve(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one request."""
    started = perf_counter()
    page = pages().get(scope["path"])
    if page and scope["method"] in ("GET", "HEAD"):
        media_type, body = page
        await respond(send, 200, body, [media_type])
        return
    try:
        agent = await program.admit(scope, dict(scope["headers"]), None)
    except NotAdmitted:
        metrics.NOT_ADMITTED.labels(Channel.API.value).inc()
        await respond_trouble(send, Trouble(Kind.UNAUTHORIZED), problems.ASK_WHO)
        return
    except (TooBusy, NoCatalogue):
        await respond_trouble(send, Trouble(Kind.UNAVAILABLE))
        return
    call = Call(program, agent)
    status = await _answer(call, scope, receive, send)
    _note(call, scope, status, perf_counter() - started)


async def _answer(call: Call, scope: Scope, receive: Receive, send: Send) -> int:
    """The status that it is answered with."""
    try:
        body = await _let_through(call, scope, receive)
    except Trouble as trouble:
        call.outcome = trouble.outcome
        await respond_trouble(send, trouble)
        return trouble.kind.value.status
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
    return status


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


def _note(call: Call, scope: Scope, status: int, seconds: float) -> None:
    handler = scope.get("route_handler")
    command = getattr(handler, "name", None) or "none"
    call.program.counted.request(Channel.API, call.agent.code, command, call.outcome, seconds)
    call.program.journal.write(
        command,
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


# Errors


def _respond(request: Request[Any, Any, Any], trouble: Trouble, **headers: str) -> Response[Any]:
    call: Any = request.scope
    call[CALL].outcome = trouble.outcome
    if trouble.retry_after:
        headers["retry-after"] = trouble.retry_after
    return Response(
        trouble.problem,
        status_code=trouble.kind.value.status,
        media_type=problems.MEDIA_TYPE,
        headers=headers,
    )


def _tell_trouble(request: Request[Any, Any, Any], error: Trouble) -> Response[Any]:
    return _respond(request, error)


def _tell_unavailable(request: Request[Any, Any, Any], _error: Exception) -> Response[Any]:
    return _respond(request, Trouble(Kind.UNAVAILABLE, refusal=Refusal.UNAVAILABLE))


def _tell_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar found: no such page, a parameter that cannot be read."""
    if isinstance(error, NotFoundException):
        return _respond(request, Trouble(Kind.NOT_FOUND))
    if isinstance(error, MethodNotAllowedException):
        allow = dict(error.headers or {}).get("allow", "")
        return _respond(request, Trouble(Kind.METHOD_NOT_ALLOWED), allow=allow)
    if error.status_code < 500:
        return _respond(request, unread(error.extra))
    return _tell_fault(request, error)


def _tell_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    log.error("a request could not be answered", exc_info=error)
    return _respond(request, Trouble(Kind.FAULT))


_ERRORS: dict[int | type[Exception], Callable[[Any, Any], Response[Any]]] = {
    Trouble: _tell_trouble,
    LedgerUnavailable: _tell_unavailable,
    OutcomeUnknown: _tell_unavailable,
    HTTPException: _tell_http,
    Exception: _tell_fault,
}

HANDLERS = (top_up, get_top_up, get_top_ups, reverse, get_number, get_float)
LITESTAR = Litestar(
    HANDLERS,
    path=document.PREFIX,
    request_class=ApiRequest,
    before_request=check_query,
    exception_handlers=_ERRORS,
    openapi_config=None,
    logging_config=None,
)


@cache
def pages() -> Mapping[str, tuple[tuple[bytes, bytes], bytes]]:
    """What anybody may read: by its path, its type and its text."""
    described = msgspec.json.encode(document.document(HANDLERS))
    found = {kind.type: (PLAIN, problems.page(kind)) for kind in Kind}
    return {document.PATH: ((b"content-type", b"application/json"), described), **found}
