"""An agent that is told: its endpoint, its webhook, its top-ups and what becomes of them."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, NamedTuple

from django.db import connection

from popolni.agents.models import Agent
from popolni.agents.networks import Network
from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import LogEntry, Transfer
from popolni.readers.frame import read_all
from popolni.readers.webhooks import events
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.readers.webhooks.sending import Answer, Claim, Sender, client, send
from popolni.readers.webhooks.service import set_webhook
from popolni.topups.rules import reversal_of
from tests.ledger.support import Ledger, tid

_books = count(28_000)
_names = count(1)
NUMBER = 79_280_000_000
MONEY = Kind.SUBSCRIBER_MONEY.account(NUMBER)
CLEARING = Kind.PAYMENT_CLEARING.account(1)


class Arrived(NamedTuple):
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: str


class Endpoint(ThreadingHTTPServer):
    """An agent's program. It answers with what `answers` holds, one by one, and then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: list[Arrived] = []
        self.answers: deque[Callable[[Any], None]] = deque()
        self.always: Callable[[Any], None] = with_status(204)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks?of=us"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone: that is what the test is about."""


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.arrived.append(Arrived(self.path, dict(self.headers), body))
        answers = self.server.answers
        (answers.popleft() if answers else self.server.always)(self)

    def log_message(self, *_words: object) -> None:
        pass


def with_status(status: int, text: str = "", **headers: str) -> Callable[[Any], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def late(seconds: float) -> Callable[[Any], None]:
    """Answers when nobody waits any more."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        with_status(204)(handler)

    return answer


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Shop:
    """An agent with a book of its own, a float in it, and a webhook."""

    def __init__(self, ledger: Ledger, url: str, *, is_on: bool = True) -> None:
        self.ledger, self.book = ledger, next(_books)
        name = f"hooks-{next(_names)}"
        self.agent = Agent.objects.create(code=name, name=name)
        float_ = Kind.AGENT_FLOAT.account(self.agent.pk)
        ledger.run(statements.open_book(self.book, "RUB"))
        ledger.run(statements.open_accounts(self.book, [float_, CLEARING, MONEY]))
        funding = tid(self.book, "funding")
        self.post(Transfer(funding, CLEARING.id, float_.id, 10**9, Code.FLOAT_FUNDING))
        self.float_id = float_.id
        self.secret = set_webhook(self.agent, url, is_on=is_on)
        self.webhook = Webhook.objects.get(agent=self.agent)

    def post(self, transfer: Transfer) -> LogEntry:
        """What the log has of it."""
        (posted,) = self.ledger.post(self.book, transfer)
        assert posted.outcome.value == "created", posted
        return self.ledger.log(self.book)[posted.seq - 1]

    def top_up(self, code: int = Code.TOP_UP_API, flags: int = 0, payer: int = 0) -> LogEntry:
        reference = f"r-{next(_names)}"
        return self.post(
            Transfer(
                transfer_id("test", self.book, reference),
                payer or self.float_id,
                MONEY.id,
                5_000,
                code,
                flags,
                reference=reference,
            )
        )

    def settle(self, pending: LogEntry, flags: int, amount: int = 0) -> LogEntry:
        """Posts or voids a pending one."""
        id_ = tid(self.book, "settled", pending.seq)
        return self.post(Transfer(id_, 0, 0, amount, 0, flags, 0, pending.id))

    def reverse(self, top_up: LogEntry) -> LogEntry:
        return self.post(reversal_of(self.book, top_up))

    def reversed_top_up(self) -> Delivery:
        """An event, written down."""
        seq = self.reverse(self.top_up()).seq
        self.read()
        return Delivery.objects.get(book=self.book, seq=seq)

    def read(self) -> None:
        read_all(events.READER, self.book, 100)

    def deliveries(self) -> list[Delivery]:
        return list(Delivery.objects.filter(book=self.book).order_by("seq"))


def send_one(taken: Claim, allowed: tuple[Network, ...]) -> Answer:
    """As the sender does, without its loop."""

    async def run() -> Answer:
        async with client() as http:
            return await send(http, taken, allowed)

    return asyncio.run(run())


@contextmanager
def sender(allowed: tuple[Network, ...]) -> Iterator[Sender]:
    """One that runs; it has ended without a fault when the block has."""
    one, faults = Sender(allowed), list[BaseException]()

    def work() -> None:
        try:
            asyncio.run(one.run())
        except BaseException as error:  # noqa: BLE001  # raised below
            faults.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield one
    finally:
        one.end()
        thread.join()
    if faults:
        raise faults[0]


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)


def make_due(delivery: Delivery) -> None:
    """As if the pause were over."""
    with connection.cursor() as cursor:
        cursor.execute("update popolni_delivery set due_at = now() where id = %s", (delivery.pk,))
