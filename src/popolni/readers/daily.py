"""What is done by the clock, in a thread beside the worker's rounds: asked each minute."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import django.db
from django.db import connection
from django.utils import timezone

from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown

EVERY_S = 60.0
LOST = (LedgerUnavailable, OutcomeUnknown, django.db.OperationalError, django.db.InterfaceError)

Job = Callable[[datetime], object]
"""Does what is due now; it may be asked at any time, and does nothing twice."""


@contextmanager
def doing(*jobs: Job, on_fault: Callable[[], object]) -> Iterator[None]:
    """Asks the jobs, one after the other, until the block ends.

    A lost database is waited for. What else one raises calls `on_fault`, and is raised when the
    block has ended.
    """
    is_ending, faults = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            while not is_ending.is_set():
                for job in jobs:
                    _do(job)
                is_ending.wait(EVERY_S)
        except BaseException as error:  # noqa: BLE001  # raised in the other thread, below
            faults.append(error)
            on_fault()
        finally:
            connection.close()

    thread = threading.Thread(target=work, name="daily")
    thread.start()
    try:
        yield
    finally:
        is_ending.set()
        thread.join()
    if faults:
        raise faults[0]


def _do(job: Job) -> None:
    try:
        job(timezone.now())
    except LOST:
        connection.close()
