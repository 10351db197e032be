"""Whose a number is that is not ours: what the numbering plan says, for a better refusal.

Anybody who is let in can ask for numbers that nobody has, as many as there are. So a few threads
look them up, so many may wait, and whoever comes then is told to come again: top-ups of numbers
that are ours do not wait for it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import django.db

from popolni.catalog.numbering.service import lookup
from popolni.ledger.errors import LedgerUnavailable

AT_ONCE = 2
WAITING_MAX = 100
PATIENCE_S = 1.8


class Elsewhere:
    """Looks numbers up. A thread keeps its connection to the database as long as others wait."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "numbering")
        self._waiting_max = waiting_max
        self._waiting = 0

    def close(self) -> None:
        """Looks up no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def serves(self, number: int) -> bool:
        """Whether it is of an operator that is not served here. Raises LedgerUnavailable."""
        if self._waiting >= self._waiting_max:
            raise LedgerUnavailable("too many numbers wait to be looked up")
        self._waiting += 1
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, number)
        answer.add_done_callback(self._ended)  # whether anybody waits for it still, or not
        done, _ = await asyncio.wait([answer], timeout=PATIENCE_S)
        if not done:
            answer.cancel()
            raise LedgerUnavailable("the numbering plan takes too long")
        return answer.result()

    def _ended(self, answer: "asyncio.Future[bool]") -> None:
        self._waiting -= 1
        if not answer.cancelled():
            answer.exception()  # has been looked at

    def _look_up(self, number: int) -> bool:
        is_last = True
        try:
            found = lookup(number)
            is_last = self._waiting <= AT_ONCE
        except django.db.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise LedgerUnavailable(reason) from error
        finally:
            if is_last:
                django.db.connections.close_all()
        return found is not None and found.branch is None
