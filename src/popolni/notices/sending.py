"""Sends what the outbox holds, in a thread beside the worker's rounds, until that ends.

Over SMPP, if an SMSC is set. Without one, in the demo, to the page of the phone; else nothing is
sent, and what waits expires.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import django.db
from django.conf import settings as django_settings
from django.db import connection

from popolni.core.reason import reason_of
from popolni.notices import outbox, smpp, wire
from popolni.notices.model import mask
from popolni.notices.outbox import Claim, Outcome, Result
from popolni.notices.settings import URL, Settings
from popolni.notices.smpp import Received, Session, What
from popolni.notices.wire import Asked, Status

T = TypeVar("T")

AT_ONCE, WINDOWS_AT_ONCE = 200, 4
"""Most notices that are taken and not marked yet; no more than so many windows of them, as those
behind wait for their turn while their lease runs."""

MARGIN_S = 5.0
"""How long before the end of its lease a notice's answer has come, so that its mark can."""

TRYING_S = 30.0
"""How long a notice that was taken is held while the SMSC has too much to do."""

STEP_S, IDLE_S, LOST_S = 0.02, 0.2, 1.0
HOUSEKEEPING_S, PRUNE_S, COMPLAIN_S = 2.0, 3600.0, 3600.0
END_S = 2.0
LOST = (django.db.OperationalError, django.db.InterfaceError)

Answering = Callable[[Sequence[Asked]], None]
"""Writes down the answers to what subscribers asked for."""


class Ended(Exception):
    """Notices can't be sent any more; why, without anybody's whole number."""


class Runs(Protocol):
    """What the thread runs."""

    def end(self) -> None:
        """Has it end soon."""

    async def run(self) -> None:
        """Until then."""


def say(line: str) -> None:
    """A line for people, in the worker's log."""
    print(f"popolni worker: notices: {line}", file=sys.stderr, flush=True)


class Database:
    """The outbox, from a thread of its own beside that of the sockets."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "notices-database")

    async def ask(self, what: Callable[..., T], *args: object) -> T:
        """Raises LOST, with the connection closed, so that the next one is another."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, lambda: what(*args))
        except LOST:
            await loop.run_in_executor(self._thread, _close)
            raise

    async def end(self) -> None:
        """Closes its connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, _close)
        self._thread.shutdown()


def _close() -> None:
    connection.close()


class House:
    """What keeps the outbox small, a batch at a time, the next one soon if that was full."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keep_at = self._prune_at = 0.0

    async def keep(self) -> int:
        """Does what it is time for. How many expired."""
        now, expired = asyncio.get_running_loop().time(), 0
        if now >= self._keep_at:
            expired = await self._database.ask(outbox.expire)
            await self._database.ask(outbox.match_receipts)
            self._keep_at = now + (0.0 if expired == outbox.BATCH else HOUSEKEEPING_S)
        if now >= self._prune_at:
            full = await self._database.ask(outbox.prune) == outbox.BATCH
            self._prune_at = now + (HOUSEKEEPING_S if full else PRUNE_S)
        return expired


class Sender:
    """Over SMPP. What was taken is under way until what came of it is written down."""

    def __init__(self, settings: Settings, answering: Answering) -> None:
        self.is_ending = False
        self._settings, self._answering = settings, answering
        self._database = Database()
        self._at_once = min(AT_ONCE, WINDOWS_AT_ONCE * settings.window)
        self._under_way: dict[asyncio.Task[Outcome], Claim] = {}
        self._outcomes: list[Outcome] = []
        self._house = House(self._database)
        self._claim_at = 0.0

    def end(self) -> None:
        """Takes nothing more, and ends when what is under way is done, or soon."""
        self.is_ending = True

    async def run(self) -> None:
        """Until it is told to end."""
        self._session = Session(self._settings, say)
        session = asyncio.create_task(self._session.run())
        try:
            while not self.is_ending:
                if session.done():
                    session.result()
                await self._step()
            await self._finish()
        finally:
            await self._session.end()
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            await self._database.end()

    async def _step(self) -> None:
        try:
            await self._mark()
            await self._take_received()
            await self._claim()
            await self._house.keep()
        except LOST:
            await asyncio.sleep(LOST_S)
        await asyncio.sleep(STEP_S)

    async def _mark(self) -> None:
        for task in [task for task in self._under_way if task.done()]:
            del self._under_way[task]
            self._outcomes.append(task.result())  # what nobody foresaw is the program's end
        if self._outcomes:
            await self._database.ask(outbox.mark, self._outcomes)
            self._outcomes = []

    async def _claim(self) -> None:
        loop = asyncio.get_running_loop()
        free = self._at_once - len(self._under_way)
        if not self._session.is_bound or loop.time() < self._claim_at or free < self._at_once // 2:
            return
        under_way = [taken.id for taken in self._under_way.values()]
        claimed = await self._database.ask(outbox.claim, free, under_way)
        self._claim_at = loop.time() + (0.0 if len(claimed) == free else IDLE_S)
        for taken in claimed:
            self._under_way[asyncio.create_task(self._send(taken))] = taken

    async def _send(self, taken: Claim) -> Outcome:
        message = message_of(taken)
        try:
            pdus = wire.submits(message, self._settings)
        except ValueError as error:
            return Outcome(taken, Result.FAILED, failure=str(error)[:40])
        until = asyncio.get_running_loop().time() + TRYING_S
        ids: list[tuple[int, str]] = []
        for place, pdu in enumerate(pdus, start=1):
            if place in taken.parts:
                continue
            result, text = await self._submit(taken, pdu, until)
            if result is not Result.SENT:
                return Outcome(taken, result, len(pdus), tuple(ids), text)
            ids.append((place, text))
        return Outcome(taken, Result.SENT, len(pdus), tuple(ids))

    async def _submit(self, taken: Claim, pdu: bytes, until: float) -> tuple[Result, str]:
        """With the message's id, or with why there is none."""
        not_after = last_moment(taken)
        while True:
            answer = await self._session.submit(pdu, not_after)
            if answer.what is What.TAKEN:
                return Result.SENT, answer.message_id
            if answer.what is What.NOT_SENT:
                return Result.NOT_TRIED, ""
            if answer.what is What.UNKNOWN:
                return Result.AGAIN, "no answer"
            if answer.what is What.REFUSED:
                name = wire.status_name(answer.status)
                say(f"{mask(taken.number)}: the SMSC refuses: {name}")
                is_for_good = answer.status in wire.FOR_GOOD
                return Result.FAILED if is_for_good else Result.AGAIN, name[:40]
            if asyncio.get_running_loop().time() > until:
                return Result.NOT_TRIED, wire.status_name(answer.status)[:40]

    async def _take_received(self) -> None:
        """What the SMSC brought is acknowledged when it is kept; else it brings it again."""
        received = [self._session.received.popleft() for _ in range(len(self._session.received))]
        if not received:
            return
        try:
            await self._keep(received)
        except LOST:
            for each in received:
                self._session.answer(each, Status.TRY_AGAIN)
            raise
        for each in received:
            self._session.answer(each)

    async def _keep(self, received: Sequence[Received]) -> None:
        receipts = [found for each in received if (found := wire.receipt_of(each.deliver))]
        asked = [one for each in received if (one := wire.asked_of(each.deliver))]
        if receipts:
            await self._keep_each(outbox.keep_receipts, receipts)
            await self._database.ask(outbox.match_receipts)
        if asked:
            await self._keep_each(self._answering, asked)
            self._claim_at = 0.0

    async def _keep_each(self, keep: Callable[[Sequence[T]], None], many: Sequence[T]) -> None:
        """What the database does not take is dropped, and no other: it never would be taken."""
        try:
            await self._database.ask(keep, many)
        except LOST:
            raise
        except django.db.Error as error:
            if len(many) == 1:
                say(f"what the SMSC brought is dropped: {reason_of(error)}")
                return
            for one in many:
                await self._keep_each(keep, [one])

    async def _finish(self) -> None:
        """Waits a little for answers; what has none then may have arrived, and is due again."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=END_S)
        with suppress(*LOST):
            await self._take_received()
        await self._session.end()
        if self._under_way:
            await asyncio.wait(self._under_way)
        with suppress(*LOST):  # else all of it is due again, when its time is over
            await self._mark()


def message_of(taken: Claim) -> wire.Message:
    """The message that a notice is."""
    reply = wire.Reply(**taken.reply) if taken.reply else None
    return wire.Message(taken.number, taken.text, taken.id, taken.expires_at, reply)


def last_moment(taken: Claim) -> datetime:
    """Until when it may be sent: it is not too late, and nobody else has it before its mark."""
    is_done = timedelta(seconds=smpp.RESPONSE_S + MARGIN_S)
    return min(taken.expires_at, taken.due_at - is_done)


class Inbox:
    """Without an SMSC: what is due is on the phone's page (the demo), or waits and expires."""

    def __init__(self, *, is_demo: bool) -> None:
        self.is_ending = False
        self._is_demo, self._complain_at = is_demo, 0.0
        self._database = Database()
        self._house = House(self._database)

    def end(self) -> None:
        """Ends it soon."""
        self.is_ending = True

    async def run(self) -> None:
        """Until it is told to end."""
        while not self.is_ending:
            try:
                if self._is_demo:
                    await self._database.ask(outbox.deliver_to_inbox)
                self._complain(await self._house.keep())
            except LOST:
                await asyncio.sleep(LOST_S)
            await asyncio.sleep(IDLE_S)
        await self._database.end()

    def _complain(self, expired: int) -> None:
        now = asyncio.get_running_loop().time()
        if expired and not self._is_demo and now >= self._complain_at:
            self._complain_at = now + COMPLAIN_S
            say(f"{expired} expired and were not sent: {URL} names no SMSC")


def sender_of(settings: Settings | None, answering: Answering) -> Runs:
    """What sends, with these settings."""
    if settings:
        return Sender(settings, answering)
    return Inbox(is_demo=django_settings.DEMO)


@contextmanager
def sending(
    settings: Settings | None, answering: Answering, on_fault: Callable[[], object]
) -> Iterator[None]:
    """Sends in a thread beside the block, and ends with it.

    What ends it before calls `on_fault`, and is raised as Ended when the block has ended.
    """
    sender = sender_of(settings, answering)
    faults: list[str] = []

    def work() -> None:
        try:
            asyncio.run(_run(sender))
        except BaseException as error:  # noqa: BLE001  # raised in the other thread, below
            faults.append(reason_of(error))
            on_fault()

    thread = threading.Thread(target=work, name="notices")
    thread.start()
    try:
        yield
    finally:
        sender.end()
        thread.join()
    if faults:
        raise Ended(faults[0])


async def _run(sender: Runs) -> None:
    """What nobody waits for any more when it fails is said in our words, not with a traceback."""

    def say_it(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        say(reason_of(error) if error else str(context["message"]))

    asyncio.get_running_loop().set_exception_handler(say_it)
    await sender.run()
