"""What breaks while terminals pay: at random moments, one thing after another or at once."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import psycopg

from tests.simulation import harness
from tests.simulation.network.switches import Switch

PAUSE_S = (0.4, 1.6)
STOPPED_S = (0.2, 2.0)
FULL_S = (0.5, 1.5)
ORPHANS_S = 3.0
OUTAGE_S = (0.0, 1.5)
PIECE = 1 << 20


class Disk:
    """A small disk, with the database on it, that can be filled up."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as filler:
            for size in (PIECE, 4096, 1):
                with suppress(OSError):
                    while True:
                        filler.write(b"\0" * size)

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


class Faults:
    """Hurts what it is given. `done` counts what happened."""

    def __init__(
        self, url: str, data: Path, switches: Sequence[Switch], disk: Disk | None, seed: int
    ) -> None:
        self._url, self._data, self._switches, self._disk = url, data, switches, disk
        self._random = Random(f"{seed} faults")  # noqa: S311  # repeatable, not secret
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "a switch's process killed": self._kill_worker,
            "a switch killed, its processes left behind": self._kill_switch,
            "a switch asked to end, and started again": self._end_switch,
            "PostgreSQL killed": self._kill_postgres,
            "a process of PostgreSQL killed": self._kill_backend,
            "a switch's process stopped for a while": self._stop_worker,
            "processes of PostgreSQL stopped for a while": self._stop_backends,
            "books locked by somebody else for a while": self._hold,
            "connections to the database cut": self._cut,
            "answers of the database lost": self._swallow,
        }
        if disk:
            self.kinds["disk full"] = self._fill
            self.kinds["disk full, and the write-ahead log goes on"] = self._fill_log

    async def storm(self, count: int) -> None:
        """So many faults, each kind at least once if they are enough."""
        names = list(self.kinds)
        order = [*names, *self._random.choices(names, k=max(0, count - len(names)))][:count]
        self._random.shuffle(order)
        for name in order:
            await asyncio.sleep(self._random.uniform(*PAUSE_S))
            self.done[name] += 1
            await self.kinds[name]()
        await self.over()

    async def over(self) -> None:
        """Everything is brought up again."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
        if self._disk:
            self._disk.free()
        await self._until_up()
        for switch in self._switches:
            await switch.nobody_left_behind()
            await switch.wait_until_ready()

    def _meanwhile(self, work: Awaitable[None]) -> None:
        """The next fault may come before this one is over."""

        async def do() -> None:
            await work

        task = asyncio.create_task(do())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_up(self) -> None:
        await asyncio.to_thread(harness.wait_until_up, self._url)

    def log_of_postgres(self) -> Counter[str]:
        """What the server says of it all."""
        text = (self._data / "postgres.log").read_text(errors="replace")
        signs = {
            "a statement found the disk full": "No space left on device",
            "panicked": "PANIC:",
            "recovered": "automatic recovery in progress",
            "started": "starting PostgreSQL",
        }
        return Counter({f"PostgreSQL: {what}": text.count(sign) for what, sign in signs.items()})

    def _switch(self) -> Switch:
        return self._random.choice(self._switches)

    async def _kill_worker(self) -> None:
        self._switch().kill_worker(self._random.randrange(9))

    async def _kill_switch(self) -> None:
        """What it leaves behind ends by itself, after a while."""
        switch = self._switch()
        switch.lives += 1
        orphans = switch.kill_parent()

        async def start_again() -> None:
            await asyncio.sleep(self._random.uniform(*OUTAGE_S))
            if self._random.random() < 0.5:  # else they answer beside those that come after
                await asyncio.to_thread(psutil.wait_procs, orphans, ORPHANS_S)
            switch.lives += 1
            switch.start()

        self._meanwhile(start_again())

    async def _end_switch(self) -> None:
        switch = self._switch()

        async def end_and_start() -> None:
            switch.lives += 1
            await switch.end()
            switch.lives += 1
            switch.start()

        self._meanwhile(end_and_start())

    async def _kill_postgres(self) -> None:
        harness.kill_postmaster(self._data)
        await asyncio.sleep(0.5)  # its pid file still names the one that is gone
        if self._random.random() < 0.8:  # mostly wait; sometimes the next one strikes in recovery
            await self._until_up()

    async def _kill_backend(self) -> None:
        pids = await self._backends()
        if pids:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(pids), signal.SIGKILL)

    async def _stop_worker(self) -> None:
        workers = self._switch().workers()
        if workers:
            self._meanwhile(self._stop([self._random.choice(workers).pid]))

    async def _stop_backends(self) -> None:
        pids = await self._backends()
        if pids:
            count = self._random.choice([1, len(pids)])
            self._meanwhile(self._stop(self._random.sample(pids, count)))

    async def _hold(self) -> None:
        self._meanwhile(hold_books(self._url, self._random.uniform(*STOPPED_S)))

    async def _stop(self, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._random.uniform(*STOPPED_S))
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    async def _cut(self) -> None:
        self._switch().line.cut()

    async def _swallow(self) -> None:
        self._meanwhile(self._swallow_on(self._switch()))

    async def _swallow_on(self, switch: Switch) -> None:
        await switch.line.swallow(self._random.uniform(0.02, 0.5))

    async def _fill(self) -> None:
        self._meanwhile(self._fill_for_a_while())

    async def _fill_log(self) -> None:
        self._meanwhile(self._fill_for_a_while(switch_log=True))

    async def _fill_for_a_while(self, *, switch_log: bool = False) -> None:
        assert self._disk
        self._disk.fill()
        if switch_log:
            await asyncio.to_thread(self._exhaust_log)
        try:
            await asyncio.sleep(self._random.uniform(*FULL_S))
        finally:
            self._disk.free()

    def _exhaust_log(self) -> None:
        """Uses up the segments that are kept; the next one finds no room."""
        with suppress(psycopg.Error), psycopg.connect(self._url, connect_timeout=2) as connection:
            connection.autocommit = True
            for _ in range(8):
                connection.execute("select pg_logical_emit_message(true, 'full', 'disk')")
                connection.execute("select pg_switch_wal()")

    async def _backends(self) -> list[int]:
        with suppress(psycopg.Error):
            return await asyncio.to_thread(self._read_backends)
        return []

    def _read_backends(self) -> list[int]:
        with psycopg.connect(self._url, connect_timeout=2) as connection:
            rows = connection.execute(
                "select pid from pg_stat_activity where backend_type = 'client backend'"
                " and datname = current_database() and pid <> pg_backend_pid()"
            )
            return [pid for (pid,) in rows]


async def hold_books(url: str, seconds: float) -> None:
    """Somebody else has them: what is posted waits."""

    def hold() -> None:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("select from ledger.book for update")
            connection.execute("select pg_sleep(%s)", [seconds])

    with suppress(psycopg.Error):
        await asyncio.to_thread(hold)
