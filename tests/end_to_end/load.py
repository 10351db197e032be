"""Pays of OSMP at a steady rate, over connections that stay open."""

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from popolni.protocols.osmp import read_response


@dataclass(frozen=True)
class Paid:
    """One pay: when it was due to leave, how long its answer took, what that was."""

    number: int
    due_s: float
    answered_s: float
    result: int


@dataclass(frozen=True)
class Load:
    """What is paid: to each number the same sum, so many a second."""

    port: int
    agent: str
    password: str
    numbers: Sequence[int]
    amount: str
    per_s: float
    connections: int = 16

    def run(self) -> list[Paid]:
        """Pays all of it. The moments are of `time.monotonic`.

        Each pay is due by the clock, whether the ones before it are answered or not: what has to
        wait for a connection has waited from then on.
        """
        return asyncio.run(self._run())

    async def _run(self) -> list[Paid]:
        begin = time.monotonic() + 0.2
        due: asyncio.Queue[tuple[float, int]] = asyncio.Queue()
        for place, number in enumerate(self.numbers):
            due.put_nowait((begin + place / self.per_s, number))
        lists = await asyncio.gather(*(self._pay(due) for _ in range(self.connections)))
        return [paid for one in lists for paid in one]

    async def _pay(self, due: "asyncio.Queue[tuple[float, int]]") -> list[Paid]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        done = []
        while not due.empty():
            at, number = due.get_nowait()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            writer.write(self._request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b": ", 1) for line in head.splitlines()[1:] if b": " in line
            )
            body = await reader.readexactly(int(fields[b"content-length"]))
            result = int(read_response(body).result)
            done.append(Paid(number, at, time.monotonic(), result))
        writer.close()
        await writer.wait_closed()
        return done

    def _request(self, number: int) -> bytes:
        query = urlencode(
            {"command": "pay", "txn_id": f"{number}", "account": number, "sum": self.amount}
        )
        secret = base64.b64encode(f"{self.agent}:{self.password}".encode()).decode()
        return (
            f"GET /osmp/{self.agent}?{query} HTTP/1.1\r\n"
            f"Host: localhost\r\nAuthorization: Basic {secret}\r\n\r\n"
        ).encode()
