"""The little of HTTP that the hottest route needs, on bare ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

BODY_S = 10.0
"""In which a body must have come; a client that sends it drop by drop is let go."""
PLAIN = (b"content-type", b"text/plain; charset=utf-8")


class BadBody(Exception):
    """It is too long, too slow, or its sender is gone; with the status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The whole body. Raises BadBody."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BadBody(400)
                part = message.get("body", b"")
                size += len(part)
                if size > bytes_max:
                    raise BadBody(413)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise BadBody(408) from None


async def respond(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    """The whole response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def respond_plain(send: Send, status: int, text: str, *headers: Header) -> None:
    """One line of text."""
    await respond(send, status, f"{text}\n".encode(), [PLAIN, *headers])
