"""HTTP by hand, over sockets that are cut at a chosen moment; and a wire to PostgreSQL that is."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

HOST = "127.0.0.1"
CONNECT_S = 2.0


class Cut(Enum):
    """When a terminal loses its connection."""

    NEVER = "asked to the end"
    BEFORE = "cut before sending"
    HALF = "cut after half a request"
    AFTER = "cut after sending"


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


def write_http(agent: str, password: str, query: bytes, *, is_post: bool) -> bytes:
    authorization = b64encode(f"{agent}:{password}".encode()).decode()
    path, body = f"/osmp/{agent}", b""
    if is_post:
        body = query
    else:
        path += f"?{query.decode()}"
    head = [
        f"{'POST' if is_post else 'GET'} {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Basic {authorization}",
        *([f"Content-Length: {len(body)}"] if is_post else ()),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


class Connection:
    """One connection to a switch; good for many requests, until it is lost."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.wait_for(asyncio.open_connection(HOST, port), CONNECT_S))

    async def ask(self, request: bytes, cut: Cut, patience_s: float) -> Answer | None:
        """The answer; None if there is none, and then the connection is of no more use."""
        if cut is Cut.BEFORE:
            return None
        if cut is Cut.HALF:
            request = request[: len(request) // 2]
        self._writer.write(request)
        await self._writer.drain()
        if cut is not Cut.NEVER:
            await asyncio.sleep(0)  # on its way
            return None
        try:
            return await asyncio.wait_for(self._read(), patience_s)
        except (TimeoutError, asyncio.IncompleteReadError, ValueError):
            return None

    async def _read(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (ln.partition(": ") for ln in lines)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(int(status.split()[1]), body)

    def abort(self) -> None:
        self._writer.transport.abort()


class Line:
    """The wire between a switch and its database, on a Unix socket of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        parts: dict[str, Any] = dict(conninfo_to_dict(url))
        self._target = f"{parts['host']}/.s.PGSQL.{parts.get('port') or 5432}"
        self._path = folder / ".s.PGSQL.5432"
        self.url = make_conninfo(**{**parts, "host": str(folder), "port": 5432})
        self._ends: set[asyncio.StreamWriter] = set()
        self._is_deaf: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    def close(self) -> None:
        if self._server:
            self._server.close()
        self.cut()

    def cut(self) -> int:
        """Every connection is lost at once; how many there were."""
        ends = list(self._ends)
        for end in ends:
            end.transport.abort()
        return len(ends) // 2

    async def swallow(self, seconds: float) -> int:
        """What the server answers is lost, then the connection: what was asked is done."""
        deaf = set(self._ends)
        self._is_deaf |= deaf
        await asyncio.sleep(seconds)
        self._is_deaf -= deaf
        for end in deaf:
            end.transport.abort()
        return len(deaf) // 2

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        with self._known(writer, back):
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, swallows=True))

    @contextlib.contextmanager
    def _known(self, *ends: asyncio.StreamWriter) -> Iterator[None]:
        self._ends.update(ends)
        try:
            yield
        finally:
            self._ends.difference_update(ends)
            self._is_deaf.difference_update(ends)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, swallows: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not (swallows and writer in self._is_deaf):
                    writer.write(data)
                    await writer.drain()
        writer.close()
