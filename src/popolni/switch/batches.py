"""Whatever waits goes in one call.

One call at a time: while it is under way, what comes in waits, and all of it goes in the next one.
An idle desk adds no delay, a busy one answers many with one trip to the database. The queue is
bounded (`Busy` at once), and nobody waits for longer than they were promised: whose time is up
gets an answer although the call goes on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Busy(Exception):
    """So many wait already that this one would wait for too long."""


class Step(Enum):
    """How far a question came before its time was up. What is `CALLED` may have its effects."""

    WAITED = auto()
    CALLED = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a queue: how many go in one call, how many may wait, and for how long.

    Larger calls make the first wait for the last, and win little. The wait is less than the two
    seconds in which every request is promised an answer.
    """

    batch_max: int = 1_000
    waiting_max: int = 2_000
    patience_s: float = 1.8


class Waiting(Generic[Q, A]):
    """A question, and who waits for its answer."""

    __slots__ = ("answer", "question", "since")

    def __init__(self, question: Q, answer: "asyncio.Future[A]", since: float) -> None:
        self.question = question
        self.answer = answer
        self.since = since

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more: it is answered, or they gave up."""
        return self.answer.done()

    def tell(self, answer: A) -> None:
        """The answer; nothing, if nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Batches(Generic[Q, A]):
    """Questions of many tasks, answered in batches by `call`, in order.

    `call` tells each its answer; what it raises, all get that it has not told. `too_late` makes
    the answer of those whose time is up: it hears the question, and how far that came.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Waiting[Q, A]]], Awaitable[None]],
        too_late: Callable[[Q, Step], A],
        limits: Limits,
    ) -> None:
        self._call = call
        self._too_late = too_late
        self._limits = limits
        self._waiting: deque[Waiting[Q, A]] = deque()
        self._under_way: list[Waiting[Q, A]] = []
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, question: Q) -> "asyncio.Future[A]":
        """Puts a question; its answer. Raises Busy."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self.put(question, answer)
        return answer

    def put(self, question: Q, answer: "asyncio.Future[A]") -> None:
        """Puts a question for someone who waits for `answer` already. Raises Busy."""
        if len(self._waiting) >= self._limits.waiting_max:
            raise Busy
        loop = asyncio.get_running_loop()
        self._waiting.append(Waiting(question, answer, loop.time()))
        if self._task is None:
            self._task = loop.create_task(self._work())

    def expire(self) -> None:
        """Answers those who have waited for too long; to be called again and again."""
        limit = asyncio.get_running_loop().time() - self._limits.patience_s
        while self._waiting and self._waiting[0].since < limit:
            one = self._waiting.popleft()
            one.tell(self._too_late(one.question, Step.WAITED))
        for one in self._under_way:
            if one.since >= limit:
                break
            if not one.is_over:
                one.tell(self._too_late(one.question, Step.CALLED))

    async def ended(self) -> None:
        """Returns when nothing waits and no call is under way."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._limits.batch_max)
                self._under_way = [self._waiting.popleft() for _ in range(count)]
                await self._call_once(self._under_way)
        finally:
            self._under_way = []
            self._task = None

    async def _call_once(self, batch: Sequence[Waiting[Q, A]]) -> None:
        try:
            await self._call(batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody is left waiting
            for one in batch:
                if not one.is_over:
                    one.answer.set_exception(error)
