"""The OpenAPI document: what Litestar sees of the handlers.

The structures' schemas are msgspec's own, as it is msgspec that reads and writes them.
"""

from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, Example, SecurityScheme

from popolni.switch.api import examples, model
from popolni.switch.api.problems import MEDIA_TYPE, Kind, Problem
from popolni.switch.api.requests import ApiRequest

PREFIX = "/api/v1"
PATH = f"{PREFIX}/openapi.json"

ASKED_AGAIN = {"retry-after": "1"}
"""Headers of an answer that is not known yet."""

COMMON = (
    Kind.MALFORMED,
    Kind.UNAUTHORIZED,
    Kind.TOO_MANY_REQUESTS,
    Kind.FAULT,
    Kind.UNAVAILABLE,
)
"""What any request may meet."""
BODY = (Kind.TOO_SLOW, Kind.TOO_LARGE, Kind.WRONG_CONTENT_TYPE)
"""What one with a body may meet besides."""

Answers = Mapping[int, tuple[Any, str, msgspec.Struct]]

CONFIG = OpenAPIConfig(
    title="Popolni",
    version="1",
    summary="Top up prepaid numbers: once, at once, and provably.",
    description="Every request is an agent's, by HTTP Basic. Money is in minor units (kopecks),"
    " moments are RFC 3339, numbers E.164 without the plus. A problem is `application/problem+json`"
    " (RFC 9457); its `type` is stable, and a page about it.\n\n"
    "A time-out is not a failure: send the same top-up again, with the same `reference`. It is"
    " credited once, however often it is asked for, and every repeat gets the first answer.",
    security=[{"agent": []}],
    components=Components(
        security_schemes={
            "agent": SecurityScheme(
                type="http", scheme="basic", description="The agent's code and password."
            )
        }
    ),
    use_handler_docstrings=True,
)


def answers(good: Answers, *kinds: Kind) -> dict[int, ResponseSpec]:
    """What an operation may answer, each with an example."""
    specs = {
        status: ResponseSpec(
            shape, generate_examples=False, description=text, examples=[_shown("example", shown)]
        )
        for status, (shape, text, shown) in good.items()
    }
    by_status: dict[int, list[Kind]] = {}
    for kind in (*COMMON, *kinds):
        by_status.setdefault(kind.value.status, []).append(kind)
    return specs | {status: _problems(found) for status, found in by_status.items()}


def _problems(kinds: list[Kind]) -> ResponseSpec:
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=" Or: ".join(f"{kind.value.title}. {kind.value.meaning}" for kind in kinds),
        media_type=MEDIA_TYPE,
        examples=[_shown(kind.slug, examples.PROBLEMS[kind]) for kind in kinds],
    )


def _shown(name: str, shown: msgspec.Struct) -> Example:
    """As text until the document is made: Litestar would leave out what is null."""
    return Example(id=name, value=msgspec.json.encode(shown).decode())


def document(handlers: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """The document. The Litestar that makes it answers nothing: its pages would need a CDN."""
    api = Litestar(
        handlers,
        path=PREFIX,
        request_class=ApiRequest,
        openapi_config=CONFIG,
        logging_config=None,
    )
    described = msgspec.json.encode(api.openapi_schema.to_schema())
    found: dict[str, Any] = msgspec.json.decode(described)
    found["components"]["schemas"] = _schemas()
    for path in found["paths"].values():
        for operation in path.values():
            _complete(operation)
    return found


def _schemas() -> dict[str, Any]:
    structures = [
        one
        for one in [*vars(model).values(), Problem]
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    _, schemas = msgspec.json.schema_components(
        structures, ref_template="#/components/schemas/{name}"
    )
    for schema in schemas.values():
        schema["description"] = cleandoc(schema["description"])
    return schemas


def _complete(operation: dict[str, Any]) -> None:
    """What Litestar has no place for, or says at length."""
    for parameter in operation.get("parameters", ()):
        _leave_out_null(parameter["schema"])
    for body in operation.get("requestBody", {}).get("content", {}).values():
        body["examples"] = {
            name: {"value": msgspec.to_builtins(order)} for name, order in examples.ORDERS.items()
        }
    responses = operation["responses"] = dict(sorted(operation["responses"].items()))
    _show_answers(responses)
    responses["431"] = {"description": "The address or the headers are larger than 16 KiB."}


def _show_answers(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        for content in response["content"].values():
            content["examples"] = {
                name: {"value": msgspec.json.decode(shown["value"])}
                for name, shown in content["examples"].items()
            }
        if status in _ASK_AGAIN:
            response["headers"] = {"Retry-After": _RETRY_AFTER}


def _leave_out_null(schema: dict[str, Any]) -> None:
    """An address has no null: what need not be there is left out."""
    for one in schema.pop("oneOf", ()):
        if one.get("type") != "null":
            schema.update(one)


_ASK_AGAIN = {"202", *(str(kind.value.status) for kind in Kind if kind.value.retry_s is not None)}
_RETRY_AFTER = {
    "description": "When to ask again, in seconds.",
    "required": True,
    "schema": {"type": "integer"},
}
