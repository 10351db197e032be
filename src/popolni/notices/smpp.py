"""A session with an SMSC: bound again whenever it is lost, with so many unanswered and no more.

What was submitted when the connection went has an unknown outcome: the SMSC may have it or not.
Whoever submitted it is told so, and nothing is repeated here but what the SMSC itself asked to
wait with. Nothing that an SMSC sends ends the session: what has not the form of a PDU ends the
connection, and another one is made.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum, auto
from typing import NamedTuple

from popolni.notices import wire
from popolni.notices.settings import Settings
from popolni.notices.wire import Command, Deliver, Status

CONNECT_S, RESPONSE_S = 10.0, 10.0
ENQUIRE_S = 30.0  # of silence
WATCH_S = 0.25
LOST_S_MIN, LOST_S_MAX = 0.5, 30.0
THROTTLED_S_MIN, THROTTLED_S_MAX = 0.5, 30.0
RECEIVED_MAX = 1_000
"""Most deliveries that wait here; the SMSC keeps what is more."""


class What(Enum):
    """What came of a submission."""

    TAKEN = auto()
    REFUSED = auto()
    LATER = auto()
    """The SMSC has too much to do: it was not taken."""
    NOT_SENT = auto()
    """There is no connection, or its turn came too late."""
    UNKNOWN = auto()
    """It was sent, and no answer came."""


class Answer(NamedTuple):
    """What the SMSC said of one submission: its id of the message, or a status."""

    what: What
    message_id: str = ""
    status: int = 0


class Received(NamedTuple):
    """A delivery, and the connection on which it is to be answered."""

    deliver: Deliver
    connection: int


class Lost(Exception):
    """The connection is of no more use."""


class Session:
    """Runs until it is told to end. `say` gets a line for people whenever something changes."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._window = asyncio.Semaphore(settings.window)
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._sequence = 0
        self._connections = 0
        self._heard_at = 0.0
        self._throttled, self._go_on_at = 0, 0.0
        self._is_ending = False
        self.received: deque[Received] = deque()
        self.is_bound = False

    async def run(self) -> None:
        """Binds, and binds again after a pause that grows while it does not come to that."""
        pause_s, reason = LOST_S_MIN, ""
        while not self._is_ending:
            try:
                await self._connect()
                pause_s = LOST_S_MIN
                await self._read()
            except (Lost, OSError, EOFError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            finally:
                self._drop()
            if self._is_ending:
                return
            self._say(f"no connection to the SMSC, trying again in {pause_s:g} s: {reason}")
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            pause_s = min(2 * pause_s, LOST_S_MAX)

    async def end(self) -> None:
        """Says goodbye, and does not wait long for an answer."""
        self._is_ending = True
        if self._writer and self.is_bound:
            self.is_bound = False
            with suppress(OSError, TimeoutError):
                self._write(wire.unbind(self._next()))
                async with asyncio.timeout(1):
                    await self._writer.drain()
        self._drop()

    async def submit(self, pdu: bytes, not_after: datetime) -> Answer:
        """Sends it when there is room for one more, and waits for the answer to it."""
        async with self._window:
            await self._wait_while_throttled()
            if not self.is_bound or self._writer is None or datetime.now(UTC) > not_after:
                return Answer(What.NOT_SENT)
            sequence, writer = self._next(), self._writer
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting[sequence] = future
            self._write(wire.with_sequence(pdu, sequence))
            try:
                async with asyncio.timeout(RESPONSE_S):
                    return await future
            except TimeoutError:
                if writer is self._writer:
                    self._drop()  # whatever comes on it now would be too late
                return Answer(What.UNKNOWN)
            finally:
                self._waiting.pop(sequence, None)

    def answer(self, received: Received, status: int = Status.OK) -> None:
        """Tells the SMSC that a delivery is kept, or that it is to bring it again."""
        if self._writer and received.connection == self._connections:
            self._write(wire.response(Command.DELIVER_SM, received.deliver.sequence, status))

    async def _connect(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(self._settings.host, self._settings.port)
            self._reader, self._writer = reader, writer
            self._connections += 1
            sequence = self._next()
            self._write(wire.bind(self._settings, sequence))
            while True:
                command, status, answered, _body = await self._read_pdu()
                if command == Command.BIND_TRANSCEIVER | wire.RESPONSE and answered == sequence:
                    break
                if command == Command.GENERIC_NACK:
                    raise Lost(f"it does not bind: {wire.status_name(status)}")
        if status:
            raise Lost(f"it does not bind: {wire.status_name(status)}")
        self._throttled, self._go_on_at = 0, 0.0
        self._heard_at = asyncio.get_running_loop().time()
        self.is_bound = True
        self._say("connected to the SMSC")

    async def _read(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                command, status, sequence, body = await self._read_pdu()
                self._heard_at = asyncio.get_running_loop().time()
                self._take(command, status, sequence, body)
        finally:
            watching.cancel()

    async def _read_pdu(self) -> tuple[int, int, int, bytes]:
        try:
            head = await self._reader.readexactly(wire.HEADER.size)
            length, command, status, sequence = wire.HEADER.unpack(head)
            if not wire.HEADER.size <= length <= wire.PDU_MAX:
                raise Lost(f"it sends {length} bytes for a PDU")
            body = await self._reader.readexactly(length - wire.HEADER.size)
        except asyncio.IncompleteReadError:
            raise Lost("it closed the connection") from None
        return command, status, sequence, body

    def _take(self, command: int, status: int, sequence: int, body: bytes) -> None:
        if command & wire.RESPONSE:
            self._take_answer(command, status, sequence, body)
        elif command == Command.DELIVER_SM:
            self._take_delivery(sequence, body)
        else:
            self._write(wire.response(command, sequence))
            if command == Command.UNBIND:
                raise Lost("it said goodbye")

    def _take_answer(self, command: int, status: int, sequence: int, body: bytes) -> None:
        future = self._waiting.get(sequence)
        if future is None or future.done():
            return  # to an enquiry, or of too long ago
        if status in (Status.THROTTLED, Status.QUEUE_FULL):
            self._throttle()
            future.set_result(Answer(What.LATER, status=status))
        elif status or command != Command.SUBMIT_SM | wire.RESPONSE:
            future.set_result(Answer(What.REFUSED, status=status))
        else:
            self._throttled = 0
            future.set_result(Answer(What.TAKEN, wire.read_text(body)))

    def _take_delivery(self, sequence: int, body: bytes) -> None:
        try:
            deliver = wire.read_deliver(sequence, body)
        except ValueError:  # it will not be better the next time
            self._write(wire.response(Command.DELIVER_SM, sequence))
            return
        if len(self.received) >= RECEIVED_MAX:
            self._write(wire.response(Command.DELIVER_SM, sequence, Status.TRY_AGAIN))
            return
        self.received.append(Received(deliver, self._connections))

    def _throttle(self) -> None:
        """Once for all that was under way when the SMSC said so."""
        now = asyncio.get_running_loop().time()
        if now >= self._go_on_at:
            pause_s = min(THROTTLED_S_MAX, THROTTLED_S_MIN * 2**self._throttled)
            self._throttled = min(self._throttled + 1, 10)
            self._go_on_at = now + pause_s * random.uniform(0.75, 1.25)  # noqa: S311  # jitter

    async def _wait_while_throttled(self) -> None:
        loop = asyncio.get_running_loop()
        while self.is_bound:
            wait_s = self._go_on_at - loop.time()
            if wait_s <= 0:
                return
            await asyncio.sleep(min(wait_s, WATCH_S))

    async def _watch(self) -> None:
        """Asks whether the SMSC is there when it has been silent, and takes silence for a no."""
        loop = asyncio.get_running_loop()
        asked_at = 0.0
        while True:
            await asyncio.sleep(WATCH_S)
            now = loop.time()
            if asked_at > self._heard_at and now - asked_at > RESPONSE_S:
                self._drop()
                return
            if now - self._heard_at > ENQUIRE_S and asked_at <= self._heard_at:
                asked_at = now
                self._write(wire.enquire(self._next()))

    def _drop(self) -> None:
        """Whoever waits for an answer gets none."""
        self.is_bound = False
        for future in self._waiting.values():
            if not future.done():
                future.set_result(Answer(What.UNKNOWN))
        if self._writer:
            self._writer.close()  # the reader then finds its end
            self._writer = None

    def _write(self, pdu: bytes) -> None:
        if self._writer:
            self._writer.write(pdu)

    def _next(self) -> int:
        self._sequence = self._sequence % wire.SEQUENCE_MAX + 1
        return self._sequence
