"""The catalogue of the moment: read at the start, and again at each news of a change.

A database that is gone is waited for; what was read before stays good until then. News may get
lost with a connection, so the catalogue is also read again every now and then.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import django.db
import psycopg

from popolni.topups.catalogue import CHANNEL, Catalogue, read_catalogue

T = TypeVar("T")

AGAIN_S = 30.0
"""How old it gets without news."""
SETTLE_S = 0.05
"""News come in bursts; one reading serves all that came meanwhile."""
LOST_S_MIN, LOST_S_MAX = 0.2, 2.0

log = logging.getLogger("popolni.switch")


class NoCatalogue(Exception):
    """The database could not be read yet."""


class Live:
    """Holds the catalogue; `keep` keeps it fresh."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._catalogue: Catalogue | None = None
        self._first = asyncio.Event()

    @property
    def is_there(self) -> bool:
        """Whether it was ever read."""
        return self._catalogue is not None

    def __call__(self) -> Catalogue:
        """The catalogue. Raises NoCatalogue."""
        if self._catalogue is None:
            raise NoCatalogue
        return self._catalogue

    async def first(self, seconds: float) -> None:
        """Returns when it was read for the first time, or after so long without."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), seconds)

    async def keep(self) -> None:
        """Reads and listens. Runs until it is cancelled."""
        lost_s = LOST_S_MIN
        while True:
            try:
                async with await _connect(self._url) as listener:
                    await listener.execute(f"listen {CHANNEL}")
                    lost_s = LOST_S_MIN
                    while True:
                        self._catalogue = await asyncio.to_thread(_close_after, read_catalogue)
                        self._first.set()
                        await _news(listener)
                        await asyncio.sleep(SETTLE_S)
            except (psycopg.Error, django.db.Error, OSError) as error:
                reason = str(error).strip().partition("\n")[0]
                log.warning("the catalogue cannot be read: %s", reason)
            except Exception as error:  # noqa: BLE001  # rows that make no sense, as yet
                log.error("the catalogue cannot be understood: %r", error)  # noqa: TRY400  # in a line
            await asyncio.sleep(lost_s * random.uniform(0.5, 1))  # noqa: S311  # jitter
            lost_s = min(2 * lost_s, LOST_S_MAX)


async def _connect(url: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=2)


async def _news(listener: psycopg.AsyncConnection) -> None:
    """Returns at the first news, or when it is time anyway."""
    async for _notice in listener.notifies(timeout=AGAIN_S, stop_after=1):
        pass


def _close_after(read: Callable[[], T]) -> T:
    """Threads come and go; none leaves a connection behind."""
    try:
        return read()
    finally:
        django.db.connections.close_all()
