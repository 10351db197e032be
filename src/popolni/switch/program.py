"""What a process of the switch has: its database, its catalogue, its desk, and who may ask it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from multiprocessing import parent_process
from typing import Any, TypeVar

from popolni.core.channel import Channel
from popolni.ledger.client import AsyncLedger, Steps
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.ledger.statements import Statement
from popolni.switch import metrics
from popolni.switch.access import Access, Caller, caller_of
from popolni.switch.batches import Limits
from popolni.switch.desk import Desk
from popolni.switch.elsewhere import Elsewhere
from popolni.switch.http import Scope
from popolni.switch.journal import Journal, on_stderr
from popolni.switch.live import Live
from popolni.switch.metrics import Counted
from popolni.switch.rates import Rates
from popolni.switch.settings import Settings
from popolni.topups.catalogue import AgentTerms
from popolni.topups.facts import BookMonth
from popolni.topups.reversals import Found, cancel_unheard, reverse
from popolni.topups.rules import Credited, ReversalRefusal, book_of_memos

T = TypeVar("T")

POSTS_AT_ONCE = 8
"""Connections of the desk: one for the facts, one for each book that is posted to."""
ENQUIRIES_AT_ONCE = 4
"""Connections for all that is no top-up, so that it cannot keep top-ups waiting."""
PATIENCE_S = 1.8
RETRY_S = 0.05
FIRST_S = 2.0
"""So long no connection is taken, so that nobody is sent away for what is read just now. While the
database is away, everybody hears that it is."""
WATCH_S = 1.0
END_S = 2.5
"""What is under way at the end may take so long: less than a supervisor waits."""


class Program:
    """One process of the switch."""

    def __init__(self, settings: Settings) -> None:
        url = settings.database_url
        self.settings = settings
        self.catalogue = Live(url)
        self.access = Access()
        self.rates = Rates(settings.processes)
        self.elsewhere = Elsewhere()
        self.counted = Counted()
        self.journal: Journal = on_stderr()
        self._ledger = AsyncLedger(url, connections_max=POSTS_AT_ONCE, wait_s=PATIENCE_S)
        self._enquiries = AsyncLedger(
            url, connections_max=ENQUIRIES_AT_ONCE, waiting_max=200, wait_s=PATIENCE_S
        )
        self.desk = Desk(
            self._ledger,
            self.catalogue,
            Limits(waiting_max=settings.queue),
            saw_batch=metrics.BATCH.observe,
        )
        self._certificate_header = settings.certificate_header.encode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From its start to its end, at which what is under way is brought to its end."""
        async with AsyncExitStack() as stack:
            stack.callback(metrics.gone)
            stack.callback(self.access.close)
            stack.callback(self.elsewhere.close)
            for ledger in (self._ledger, self._enquiries):
                await ledger.open_soon()
                stack.push_async_exit(ledger)
            stack.callback(self.journal.flush)
            tasks = [
                asyncio.create_task(keep)
                for keep in (
                    self.catalogue.keep(),
                    self.desk.keep_time(),
                    self._measure(),
                    _end_with_keeper(),
                )
            ]
            try:
                await self.catalogue.first(FIRST_S)
                yield
            finally:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.desk.ended(), END_S)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def admit(
        self, scope: Scope, headers: Mapping[bytes, bytes], name: str | None
    ) -> AgentTerms:
        """The agent that is asking. Raises NotAdmitted, TooBusy, NoCatalogue."""
        authorization = headers.get(b"authorization", b"")
        return await self.access.admit(
            self.catalogue(), name, authorization, self.caller(scope, headers)
        )

    def caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Where a request comes from."""
        client = scope.get("client")
        return caller_of(
            client[0] if client else None,
            headers,
            self.settings.proxies,
            self._certificate_header,
        )

    async def enquire(self, steps: Steps[T]) -> T:
        """Asks the ledger, for at most `PATIENCE_S`. Raises LedgerUnavailable, OutcomeUnknown."""
        return await self._patiently(self._enquiries.run_steps(steps))

    async def months(self) -> list[BookMonth]:
        """The day and month of each branch. Raises as `enquire`."""
        return await self._patiently(self.desk.months(self.catalogue()))

    @staticmethod
    async def _patiently(asking: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(asking)
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        if not done:
            task.add_done_callback(_look_away)  # it ends by itself, and nobody waits
            raise OutcomeUnknown("the database takes too long")
        return task.result()

    async def reverse(self, agent: AgentTerms, found: Found | None) -> Credited | ReversalRefusal:
        """Reverses a top-up. Raises as `enquire`."""
        return await self._surely(lambda: reverse(agent, found, datetime.now(UTC)))

    async def cancel_unheard(self, channel: Channel, agent: AgentTerms, reference: str) -> bool:
        """Keeps a top-up that is in no log from ever being credited; False: it is there now.

        Raises as `enquire`.
        """
        try:
            book = book_of_memos(self.catalogue())
        except LookupError as error:
            raise LedgerUnavailable(str(error)) from error
        return await self._surely(lambda: cancel_unheard(book, channel, agent, reference))

    async def _surely(self, steps: Callable[[], Steps[T]]) -> T:
        """Asked again until it is certain. Raises as `enquire`."""
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return await self.enquire(steps())
            except OutcomeUnknown:
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(RETRY_S)

    async def is_ready(self) -> bool:
        """Whether top-ups can be answered now."""
        if not self.catalogue.is_there:
            return False
        try:
            await self.enquire(one(Statement("select 1", (), list)))
        except (LedgerUnavailable, OutcomeUnknown):
            return False
        return True

    async def _measure(self) -> None:
        while True:
            metrics.WAITING.set(self.desk.waiting)
            await asyncio.sleep(1)


async def _end_with_keeper() -> None:
    """Ends this process, as if asked to, when the one that keeps it is gone, however that died.

    Nobody else would, and it would answer at the same address beside those that come after it.
    """
    keeper = parent_process()
    if keeper is None:
        return
    while os.getppid() == keeper.pid:  # noqa: ASYNC110  # the kernel has no event for it
        await asyncio.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)


def one(statement: Statement[T]) -> Steps[T]:
    """A single statement, where steps are asked for."""
    answer: T = yield statement
    return answer


def _look_away(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()
