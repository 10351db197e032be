"""What is done from time to time, by one worker at once: each job has a row that says when next.

A turn is taken by moving `due_at` behind the longest that one part of the job may last; whoever is
killed has it due again then. So a job may be done twice, and has to stand that.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from popolni.core.reason import reason_of
from popolni.ledger.failures import LOST, is_lost
from popolni.readers.frame import say
from popolni.topups.clock import read_now

POLL_S = 1.0
LEASE_S = 60
RETRY_S = 60
"""After a failure; sooner where the job is due sooner."""

_DUE = """
    select wanted.name
    from unnest(%s::text[]) with ordinality as wanted (name, place)
    left join popolni_jobturn as turn using (name)
    where turn.due_at is null or turn.due_at <= now()
    order by wanted.place
"""
_FIRST = "insert into popolni_jobturn (name, due_at) values (%s, now()) on conflict do nothing"
_CLAIM = """
    update popolni_jobturn set due_at = now() + %s * interval '1 second'
    where name = %s and due_at <= now()
    returning now()
"""
_HOLD = """
    update popolni_jobturn set due_at = now() + %s * interval '1 second' where name = %s
"""
# From the moment at which it began, so that a day stays a day.
_DONE = """
    update popolni_jobturn
    set done_at = now(), due_at = %s + %s * interval '1 second'
    where name = %s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What is done each `every_s` seconds, by whichever worker comes first.

    `run` does a part of it, within `lease_s`, and says if there is more: then it is called again at
    once. What it raises is said, and it is tried again in a while.
    """

    name: str
    every_s: int
    run: Callable[[], bool | None]
    lease_s: int = LEASE_S


def by_clock(run: Callable[[datetime], object]) -> Callable[[], None]:
    """A job's `run` of what does all that is due at a moment: now, by the ledger's clock."""

    def part() -> None:
        run(read_now())

    return part


def due(jobs: Sequence[Job]) -> list[str]:
    """The names of those that somebody has to do now."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, ([job.name for job in jobs],))
        return [name for (name,) in cursor.fetchall()]


def take_turn(job: Job, is_ending: Callable[[], bool] = lambda: False) -> bool:
    """Does it, if it is due and nobody else does. Whether it was done to its end.

    Told to end, it stops behind the part that is under way, and is due again at once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, (job.name,))
        cursor.execute(_CLAIM, (job.lease_s, job.name))
        claimed = cursor.fetchone()
        if claimed is None:
            return False
        while _part(job):
            cursor.execute(_HOLD, (0 if is_ending() else job.lease_s, job.name))
            if is_ending():
                return False
        cursor.execute(_DONE, (claimed[0], job.every_s, job.name))
    return True


def _part(job: Job) -> bool:
    try:
        return bool(job.run())
    except Exception as error:
        if is_lost(error):
            raise
        with connection.cursor() as cursor:
            cursor.execute(_HOLD, (min(RETRY_S, job.every_s), job.name))
        raise


class Runner:
    """The loop of one worker, in a thread of its own: a long job holds up no reader."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._ending = threading.Event()

    def end(self) -> None:
        """Begins nothing more."""
        self._ending.set()

    def run(self) -> None:
        """Until it is told to end. A lost database is waited for; the readers say that it is."""
        try:
            while not self._ending.is_set():
                try:
                    self._round()
                except LOST:
                    connection.close()
                self._ending.wait(POLL_S)
        finally:
            connection.close()

    def _round(self) -> None:
        for name in due(list(self._jobs.values())):
            if self._ending.is_set():
                return
            try:
                take_turn(self._jobs[name], self._ending.is_set)
            except Exception as error:  # one job's fault is no other's
                if is_lost(error):
                    raise
                say(f"job {name}: {reason_of(error)}")


@contextmanager
def running(jobs: Sequence[Job], on_fault: Callable[[], object]) -> Iterator[None]:
    """Does them in a thread beside the block, and ends with it.

    What ends it before calls `on_fault`, and is raised when the block has ended.
    """
    runner = Runner(jobs)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            runner.run()
        except BaseException as error:  # noqa: BLE001  # raised in the other thread, below
            faults.append(error)
            on_fault()

    thread = threading.Thread(target=work, name="jobs")
    thread.start()
    try:
        yield
    finally:
        runner.end()
        thread.join()
    if faults:
        raise faults[0]
