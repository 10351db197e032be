"""Sends what is due: a few at once, none of them inside a transaction.

A delivery is taken by moving the moment at which it is due behind the longest that a sending may
last. Whoever is killed has it due again, and so it may arrive twice, with the same event id; any
number of workers may send. An endpoint that does not answer holds only its own few places.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import Any, NamedTuple, ParamSpec, TypeVar

import django.db
import httpx
from django.db import connection
from django.utils import timezone

from popolni.agents.networks import Address, Network
from popolni.readers.webhooks.models import ANSWER_MAX, Delivery
from popolni.readers.webhooks.rules import event_id, headers, is_delivered, pause_s
from popolni.readers.webhooks.service import open_secret
from popolni.readers.webhooks.targets import NotAllowed, find_addresses
from popolni.readers.webhooks.told import Outcome, count, log
from popolni.subscribers.sealing import SealingError

T = TypeVar("T")
P = ParamSpec("P")

AT_ONCE = 32
AT_ONCE_OF_ONE = 4
"""Most that are under way: of all webhooks, and of one."""

TIMEOUT_S = 5.0  # to connect, to take the body, to say something
DEADLINE_S = 10.0  # for all of it, or an answer letter by letter would last for ever
LEASE_S = 60
END_S = 2.0
IDLE_S, STEP_S, LOST_S = 0.5, 0.05, 1.0
ANSWER_BYTES = 2_000
LOST = (django.db.OperationalError, django.db.InterfaceError)

# In another order each time: with more endpoints that are dead than there are places, each of the
# others still gets its turn. Those of which some are under way wait until these are done.
_CLAIM = """
    with taken as materialized (
        select due.id, webhook.agent_id, webhook.url, webhook.sealed
        from (
            select * from popolni_webhook
            where on_since is not null and id <> all(%(busy)s)
            order by random()
        ) as webhook
        cross join lateral (
            select id from popolni_delivery
            where webhook_id = webhook.id and state = 'waiting' and due_at <= now()
            order by due_at
            limit %(of_one)s
            for update skip locked
        ) as due
        limit %(free)s
    )

    update popolni_delivery as delivery
    set
        due_at = now() + %(lease_s)s * interval '1 second',
        tries = delivery.tries + 1,
        tried_at = now()
    from taken
    where delivery.id = taken.id
    returning
        delivery.id, delivery.webhook_id, delivery.book, delivery.seq, delivery.event,
        delivery.body, delivery.tries, delivery.due_at, taken.agent_id, taken.url, taken.sealed
"""
# It has arrived, whoever has the delivery by now.
_DELIVERED = """
    update popolni_delivery
    set state = 'delivered', status = %(status)s, failure = '', answer = %(answer)s
    where id = %(id)s and state <> 'delivered'
"""
_FAILED = """
    update popolni_delivery
    set
        state = case when %(pause_s)s::float8 is null then 'given_up' else 'waiting' end,
        due_at = now() + coalesce(%(pause_s)s::float8, 0) * interval '1 second',
        status = %(status)s,
        failure = %(failure)s,
        answer = %(answer)s
    where id = %(id)s and state = 'waiting' and due_at = %(due_at)s
"""
_GIVE_BACK = """
    update popolni_delivery
    set due_at = now(), tries = tries - 1
    where id = %(id)s and state = 'waiting' and due_at = %(due_at)s and tries > 0
"""


class Claim(NamedTuple):
    """A delivery that is ours until `due_at`."""

    id: int
    webhook_id: int
    book: int
    seq: int
    event: str
    body: str
    tries: int
    due_at: Any
    agent_id: int
    url: str
    sealed: bytes

    @property
    def event_id(self) -> str:
        """As `Delivery.event_id`."""
        return event_id(self.book, self.seq)


class Answer(NamedTuple):
    """What came of a sending: a status and the beginning of the text, or a failure."""

    status: int | None
    text: str = ""
    failure: str = ""


def claim(free: int, busy: Sequence[int]) -> list[Claim]:
    """Takes what is due, at most `free`, of none of the webhooks that are busy."""
    values: dict[str, Any] = {
        "lease_s": LEASE_S,
        "busy": list(busy),
        "of_one": AT_ONCE_OF_ONE,
        "free": free,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        return [Claim(*row) for row in cursor.fetchall()]


def mark(taken: Claim, answer: Answer, seconds: float = 0.0) -> Outcome:
    """Writes down what came of it, after so long, and when it is sent again, if at all."""
    values: dict[str, Any] = {**answer._asdict(), "id": taken.id, "due_at": taken.due_at}
    values["answer"] = values.pop("text")
    statement, outcome = _DELIVERED, Outcome.DELIVERED
    if not is_delivered(answer.status):
        pause = pause_s(taken.tries, random.random())  # noqa: S311  # jitter
        statement, values["pause_s"] = _FAILED, pause
        outcome = Outcome.GIVEN_UP if pause is None else Outcome.FAILED
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
    count(outcome, seconds)
    return outcome


def give_back(taken: Claim) -> None:
    """It was not sent to its end: whoever comes next does it."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, {"id": taken.id, "due_at": taken.due_at})


def close() -> None:
    """Closes the connection of the thread that calls."""
    connection.close()


class Sender:
    """The loop. What it asks the database has a thread of its own, beside that of the sockets."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self.is_ending = False
        self._allowed = allowed
        self._under_way: dict[asyncio.Task[None], Claim] = {}
        self._database = ThreadPoolExecutor(1, "webhooks-database")

    def end(self) -> None:
        """Takes nothing more, and ends when what is under way is done, or soon."""
        self.is_ending = True

    async def run(self) -> None:
        """Until it is told to end."""
        try:
            async with client() as http:
                await self._go_on(http)
                await self._finish()
        finally:
            await self._ask(close)
            self._database.shutdown()

    async def _go_on(self, http: httpx.AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while not self.is_ending:
            if loop.time() >= next_at:
                next_at = loop.time() + await self._start(http)
            await asyncio.sleep(STEP_S)

    async def _start(self, http: httpx.AsyncClient) -> float:
        """Starts what is due, as far as there is room. How long to wait until the next time."""
        for task in [task for task in self._under_way if task.done()]:
            del self._under_way[task]
            task.result()  # what nobody foresaw is the program's end
        free = AT_ONCE - len(self._under_way)
        if not free:
            return STEP_S
        try:
            busy = {taken.webhook_id for taken in self._under_way.values()}
            claimed = await self._ask(claim, free, list(busy))
        except LOST:
            await self._ask(close)
            return LOST_S
        for taken in claimed:
            self._under_way[asyncio.create_task(self._deliver(http, taken))] = taken
        return STEP_S if claimed or self._under_way else IDLE_S

    async def _deliver(self, http: httpx.AsyncClient, taken: Claim) -> None:
        began = perf_counter()
        answer = await send(http, taken, self._allowed)
        seconds = perf_counter() - began
        try:
            outcome = await self._ask(mark, taken, answer, seconds)
        except LOST:  # then it is due again, and sent again
            await self._ask(close)
        else:
            log(taken, answer, outcome, seconds)

    async def _finish(self) -> None:
        if not self._under_way:
            return
        _done, late = await asyncio.wait(self._under_way, timeout=END_S)
        for task in late:
            task.cancel()
            try:
                await self._ask(give_back, self._under_way[task])
            except LOST:
                await self._ask(close)

    async def _ask(self, what: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, lambda: what(*args, **kwargs))


def client() -> httpx.AsyncClient:
    """What sends. No connection is kept, as it is one of an address and not of a name; no cookie,
    as to it all agents on one address are one server.
    """
    return httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        timeout=TIMEOUT_S,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=False,  # a proxy would look names up by itself
        limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
        headers={"User-Agent": "Popolni", "Accept-Encoding": "identity"},
    )


async def send(http: httpx.AsyncClient, taken: Claim, allowed: Sequence[Network]) -> Answer:
    """POSTs it. Whatever the other side does, there is an answer within `DEADLINE_S`."""
    failures = Delivery.Failure
    try:
        secret = open_secret(taken.agent_id, bytes(taken.sealed))
        async with asyncio.timeout(DEADLINE_S):
            url = httpx.URL(taken.url)
            addresses = await find_addresses(url, allowed)
            return await _post_to_first(http, url, addresses, taken, secret)
    except SealingError:
        return Answer(None, failure=failures.NO_KEY)
    except NotAllowed:
        return Answer(None, failure=failures.ADDRESS)
    except (TimeoutError, httpx.TimeoutException):
        return Answer(None, failure=failures.TIME_OUT)
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, _kept(str(error)), failures.UNREACHABLE)


async def _post_to_first(
    http: httpx.AsyncClient, url: httpx.URL, addresses: Sequence[Address], taken: Claim, secret: str
) -> Answer:
    """To the first of the addresses that can be connected to."""
    for address in addresses[:-1]:
        try:
            return await _post(http, url, address, taken, secret)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await _post(http, url, addresses[-1], taken, secret)


async def _post(
    http: httpx.AsyncClient, url: httpx.URL, address: Address, taken: Claim, secret: str
) -> Answer:
    """To this address; its certificate is to be that of the name."""
    async with http.stream(
        "POST",
        url.copy_with(host=str(address)),
        content=taken.body.encode(),
        headers={
            "Host": url.netloc.decode("ascii"),
            **headers(secret, taken.event_id, taken.body, timezone.now()),
        },
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    ) as response:
        return Answer(response.status_code, await _beginning(response))


async def _beginning(response: httpx.Response) -> str:
    """Of what was answered; that much and no more is read. The status says all that counts."""
    read = bytearray()
    try:
        async for part in response.aiter_raw():
            read += part
            if len(read) >= ANSWER_BYTES:
                break
    except httpx.HTTPError:
        pass
    return _kept(bytes(read[:ANSWER_BYTES]).decode(errors="replace"))


def _kept(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:ANSWER_MAX].strip()


@contextmanager
def sending(allowed: Sequence[Network], on_fault: Callable[[], object]) -> Iterator[None]:
    """Sends in a thread beside the block, and ends with it.

    What ends it before calls `on_fault`, and is raised when the block has ended.
    """
    sender = Sender(allowed)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(sender.run())
        except BaseException as error:  # noqa: BLE001  # raised in the other thread, below
            faults.append(error)
            on_fault()

    thread = threading.Thread(target=work, name="webhooks")
    thread.start()
    try:
        yield
    finally:
        sender.end()
        thread.join()
    if faults:
        raise faults[0]
