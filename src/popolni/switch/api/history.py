"""Top-ups are found again and listed. Of others' an agent does not even see that they are."""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar import Response, get, route
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code
from popolni.ledger.chart import Kind as Account
from popolni.ledger.model import LogEntry
from popolni.switch.api import examples
from popolni.switch.api.document import answers
from popolni.switch.api.model import (
    ID_PATTERN,
    REFERENCE_MAX,
    REFERENCE_PATTERN,
    Page,
    Reversal,
    TopUp,
)
from popolni.switch.api.problems import Kind, Trouble, Wrong, malformed
from popolni.switch.api.requests import ApiRequest, Call, is_reference, read_moment
from popolni.topups.catalogue import Catalogue
from popolni.topups.listing import PAGE_MAX, list_top_ups
from popolni.topups.reversals import Found, find_by_id, find_by_place, read_reversed
from popolni.topups.rules import Credited, read_memo

LIMIT = 100
CURSOR_MAX = 2_000
"""Characters; those of a hundred branches are half of them."""
_CHANNELS = {code.value: channel for channel, code in TOP_UPS.items()}
_is_id = re.compile(ID_PATTERN.removesuffix("$")).fullmatch
_positions = msgspec.msgpack.Decoder(
    dict[Annotated[int, Meta(gt=0, lt=2**31)], Annotated[int, Meta(ge=0, lt=2**62)]]
)

Receipt = Annotated[
    str,
    PathParameter(
        description="The receipt.", pattern=ID_PATTERN, examples=[Example(value="1-1879")]
    ),
]


@get(
    "/top-ups/{receipt:str}",
    name="get_top_up",
    operation_id="get_top_up",
    summary="A top-up, by its receipt",
    responses=answers({200: (TopUp, "As it stands.", examples.REVERSED_TOP_UP)}, Kind.NOT_FOUND),
)
async def get_top_up(request: ApiRequest, receipt: Receipt) -> TopUp:
    """What became of it: credited, reversed since, or refused."""
    found = await find(request.call, receipt)
    return await _as_it_stands(request.call, found)


async def find(call: Call, receipt: str) -> Found:
    """What is at a place and is the agent's own. Raises Trouble."""
    if not _is_id(receipt):
        raise Trouble(Kind.NOT_FOUND)
    call.receipt = receipt
    book, seq = map(int, receipt.split("-"))
    return _own(call, await call.program.enquire(find_by_place(book, seq)))


def _own(call: Call, found: Found | None) -> Found:
    """Raises Trouble for what is not there, and the same for what is another agent's."""
    if found is None or not _is_own(call, found[1]):
        raise Trouble(Kind.NOT_FOUND, "there is no such top-up")
    return found


def _is_own(call: Call, entry: LogEntry) -> bool:
    if entry.code == Code.TOP_UP_REFUSAL:
        return _channel_of_memo(call, entry) is not None
    is_from_float = entry.debit_account == Account.AGENT_FLOAT.account_id(call.agent.id)
    return is_from_float and entry.code in _CHANNELS


def _channel_of_memo(call: Call, entry: LogEntry) -> Channel | None:
    """A memo says whose it is by nothing but its identifier."""
    reference = read_memo(entry).reference
    ids = {transfer_id(channel.value, call.agent.id, reference): channel for channel in Channel}
    return ids.get(entry.id)


async def _as_it_stands(call: Call, found: Found) -> TopUp:
    book, entry = found
    if entry.code == Code.TOP_UP_REFUSAL:
        answer = _refused_top_up(call, book, entry)
    else:
        reversals = await call.program.enquire(read_reversed(book, [entry.seq]))
        reversal = reversals.get(entry.seq)
        answer = _credited_top_up(call.program.catalogue(), book, entry, reversal)
    call.outcome, call.receipt = answer.state, answer.id
    return answer


def _refused_top_up(call: Call, book: int, entry: LogEntry) -> TopUp:
    memo = read_memo(entry)
    return TopUp(
        id=_place(book, entry),
        reference=memo.reference,
        state="refused",
        number=entry.reference_id or 0,
        amount_minor=memo.amount_minor,
        currency=None,
        channel=_channel_of_memo(call, entry) or Channel.API,
        branch=None,
        created_at=entry.created_at,
        paid_at=None,
        refusal=memo.refusal,
    )


def _credited_top_up(
    catalogue: Catalogue, book: int, entry: LogEntry, reversal: LogEntry | None
) -> TopUp:
    branch = catalogue.books[book]
    return TopUp(
        id=_place(book, entry),
        reference=entry.reference,
        state="reversed" if reversal else "credited",
        number=entry.credit_account % (SUBJECT_MAX + 1),
        amount_minor=entry.amount,
        currency=branch.currency,
        channel=_CHANNELS[entry.code],
        branch=branch.code,
        created_at=entry.created_at,
        paid_at=entry.reference_at,
        reversal=reversal and Reversal(id=_place(book, reversal), reversed_at=reversal.created_at),
    )


def _place(book: int, entry: LogEntry) -> str:
    return Credited(book, entry.seq, is_repeat=True).receipt


@get(
    "/top-ups",
    name="list_top_ups",
    operation_id="list_top_ups",
    summary="Your top-ups, or one of them by your reference",
    responses=answers(
        {200: (TopUp | Page, "A page of them; with `reference`, that one.", examples.PAGE)},
        Kind.NOT_FOUND,
    ),
)
async def get_top_ups(  # noqa: PLR0913  # parameters of the address
    request: ApiRequest,
    *,
    reference: Annotated[
        str | None,
        QueryParameter(
            description="Your reference of one that you asked for through this API; 404 if it is"
            " not there (yet). With it, the other parameters play no part.",
            min_length=1,
            max_length=REFERENCE_MAX,
            pattern=REFERENCE_PATTERN,
        ),
    ] = None,
    since: Annotated[
        str | None,
        QueryParameter(
            name="from",
            description="Credited at this moment or later.",
            schema_extra={"format": "date-time"},
        ),
    ] = None,
    until: Annotated[
        str | None,
        QueryParameter(
            name="to",
            description="Credited before this moment.",
            schema_extra={"format": "date-time"},
        ),
    ] = None,
    cursor: Annotated[
        str | None,
        QueryParameter(
            description="Of an earlier page, with the same `from` and `to`: what comes after it.",
            min_length=1,
            max_length=CURSOR_MAX,
            pattern="^[A-Za-z0-9_-]*$",
        ),
    ] = None,
    limit: Annotated[
        int, QueryParameter(description="At most so many.", ge=1, le=PAGE_MAX)
    ] = LIMIT,
) -> TopUp | Page:
    """Of all your channels and branches, in the order of time; refused ones are not among them.

    New ones come at the end: keep the last `cursor`, and ask with it again for what is new.
    """
    call = request.call
    begins = None if since is None else read_moment(since, "from")
    ends = None if until is None else read_moment(until, "to")
    position = {} if cursor is None else read_cursor(cursor)
    if reference is not None:
        return await _by_reference(call, reference)
    catalogue = call.program.catalogue()
    branches = map(catalogue.branches.get, call.agent.contracts)
    page = await call.program.enquire(
        list_top_ups(
            call.agent.id,
            [branch.book for branch in branches if branch],
            since=begins,
            until=ends,
            position=position,
            limit=limit,
        )
    )
    return Page(
        top_ups=[_credited_top_up(catalogue, *listed) for listed in page.listed],
        cursor=write_cursor(page.position),
        has_more=page.has_more,
    )


@route("/top-ups", http_method="OPTIONS", name="options", include_in_schema=False)
async def allow_top_ups() -> Response[None]:
    """Litestar's own answer names one of the two that are there."""
    return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})


async def _by_reference(call: Call, reference: str) -> TopUp:
    if not is_reference(reference):
        raise malformed("up to 64 printable ASCII characters", parameter="reference")
    call.reference = reference
    id_ = transfer_id(Channel.API.value, call.agent.id, reference)
    found = _own(call, await call.program.enquire(find_by_id(id_)))
    return await _as_it_stands(call, found)


def write_cursor(position: Mapping[int, int]) -> str:
    """A position, as it is handed out. It gives nothing away that receipts don't."""
    packed = msgspec.msgpack.encode(dict(sorted(position.items())))
    return urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str) -> dict[int, int]:
    """A position. Raises Trouble for what was never handed out."""
    try:
        padded = f"{text}{'=' * (-len(text) % 4)}"
        return _positions.decode(b64decode(padded, b"-_", validate=True))
    except (ValueError, msgspec.DecodeError):
        detail = "no such place was handed out"
        wrong = Wrong(parameter="cursor", detail=detail)
        raise Trouble(Kind.NOT_FOUND, detail, errors=[wrong]) from None
