"""A request that was let in, and how strictly it is read.

A field that we don't know, a name that comes twice, a parameter that is not there: whoever sends
these means something else than we would take it for, and this is about money.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from litestar import Request
from litestar.params import QueryParameter

from popolni.switch.api.model import REFERENCE_PATTERN, Order
from popolni.switch.api.problems import Kind, Trouble, Wrong, malformed
from popolni.switch.program import Program
from popolni.topups.catalogue import AgentTerms

CALL = "popolni.call"
"""Where in the scope it is."""
BODY = "data"
"""What Litestar calls it."""
MISSING = "the body is missing"
ECHO_MAX = 200
"""Characters of somebody's fault that are told back."""
WHOLE_DIGITS_MAX = 20
"""More than the largest whole number has that is read."""
ZONE = ZoneInfo(settings.TIME_ZONE)
"""Of moments that come without one."""

_decoder = msgspec.json.Decoder(Order)
_moment = msgspec.json.Decoder(datetime)
_is_reference = re.compile(REFERENCE_PATTERN.removesuffix("$")).fullmatch
_PLACE = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)


@dataclass(slots=True)
class Call:
    """A request of an agent, and what the journal will say of it."""

    program: Program
    agent: AgentTerms
    command: str = "none"
    outcome: str = "done"
    reference: str | None = None
    number: int | None = None
    amount_minor: int | None = None
    receipt: str | None = None


class ApiRequest(Request[Any, Any, Any]):
    """As the handlers get it."""

    @property
    def call(self) -> Call:
        """Who asks."""
        scope: Any = self.scope
        call: Call = scope[CALL]
        return call

    async def json(self) -> Order:
        """The one body that there is. Raises Trouble."""
        return read_order(self.headers.get("content-type", "").encode(), await self.body())


def read_order(content_type: bytes, body: bytes) -> Order:
    """Raises Trouble, which says where it is wrong."""
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Trouble(Kind.WRONG_CONTENT_TYPE)
    if not body:
        raise malformed(MISSING, pointer="")
    try:
        try:
            order = _decoder.decode(body)
        except msgspec.ValidationError:
            order = _read_whole_numbers(body)
        else:
            # It has no object within, so that every name in it is one of an order.
            _names.decode(body.decode())
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        detail, path = found.groups() if found else (str(error), "")
        raise malformed(detail[:ECHO_MAX], pointer=path.replace(".", "/")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Trouble(Kind.MALFORMED, str(error)[:ECHO_MAX]) from None
    if not is_reference(order.reference):
        raise malformed("up to 64 printable ASCII characters", pointer="/reference")
    return order


def _read_whole_numbers(body: bytes) -> Order:
    """Where `100.0` may be the whole number that it is, as JSON Schema has it.

    Raises Trouble, and as the decoder does.
    """
    try:
        value = json.loads(body, object_pairs_hook=_once, parse_float=_whole)
    except (ValueError, RecursionError):
        return _decoder.decode(body)  # which says what it is
    return msgspec.convert(value, Order)


def _whole(text: str) -> int | float:
    number = Decimal(text)
    is_whole = abs(number.adjusted()) < WHOLE_DIGITS_MAX and number == number.to_integral_value()
    return int(number) if is_whole else float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise malformed("it comes twice", pointer=f"/{twice[:ECHO_MAX]}")
    return named


_names = json.JSONDecoder(object_pairs_hook=_once)


def is_reference(text: str) -> bool:
    """Whether it can be a partner's identifier."""
    return len(text) <= 64 and _is_reference(text) is not None


def read_moment(text: str, parameter: str) -> datetime:
    """A moment of the address. Raises Trouble."""
    if " " in text[-6:]:  # a plus that nobody has escaped
        text = "+".join(text.rsplit(" ", 1))
    try:
        moment = _moment.decode(msgspec.json.encode(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise malformed("not a moment as RFC 3339 has it", parameter=parameter) from None
    return in_zone(moment).astimezone(UTC) if 1 < moment.year < 9999 else moment.replace(tzinfo=UTC)


def in_zone(moment: datetime) -> datetime:
    """With the zone that is meant."""
    return moment if moment.tzinfo else moment.replace(tzinfo=ZONE)


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Parameters that nobody knows or that come twice are refused. Raises Trouble."""
    query: bytes = request.scope["query_string"]
    if not query:
        return
    fields = request.route_handler.parsed_fn_signature.parameters.values()
    known = {
        field.kwarg_definition.name or field.name
        for field in fields
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen or name not in known:
            detail = "it comes twice" if name in seen else "there is no such parameter"
            raise malformed(detail, parameter=name[:ECHO_MAX])
        seen.add(name)


def unread(extra: Any) -> Trouble:
    """For what Litestar could not read: parameters, or a body that is not there."""
    found = [one for one in extra if isinstance(one, dict)] if isinstance(extra, list) else []
    wrong = [
        Wrong(pointer="", detail=MISSING)
        if one.get("key") == BODY
        else Wrong(parameter=one.get("key"), detail=str(one.get("message"))[:ECHO_MAX])
        for one in found
    ]
    return Trouble(Kind.MALFORMED, wrong[0].detail if wrong else None, errors=wrong)
