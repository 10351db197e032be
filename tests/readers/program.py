"""A worker with a reader of the tests' own: `python -m tests.readers.program BOOK FOLDER WHEN`.

It posts each entry's double to BOOK, and is killed WHEN ("handling" or "committed") it did so for
the first time, once in FOLDER; entries of amount 1,313 it can't handle.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import django

django.setup()

from popolni.ledger.client import run  # noqa: E402  # models come after the set-up
from popolni.ledger.model import LogEntry, Transfer  # noqa: E402
from popolni.ledger.statements import post  # noqa: E402
from popolni.readers import worker  # noqa: E402
from popolni.readers.frame import Reader  # noqa: E402
from tests.ledger.support import tid  # noqa: E402

UNLUCKY = 1_313


def main(target: int, folder: Path, when: str) -> None:
    def die(now: str) -> None:
        if now == when and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def handle(book: int, entries: Sequence[LogEntry]) -> None:
        if any(entry.amount == UNLUCKY for entry in entries):
            raise ValueError
        run(post(target, [_double(book, entry) for entry in entries]))
        die("handling")

    reader = Reader("doubles", handle, after=lambda: die("committed"), batch=7)
    worker.READERS = (reader,)
    worker.work()


def _double(book: int, entry: LogEntry) -> Transfer:
    """With an identifier of its own each time, so that what is handled twice is there twice."""
    id_ = tid(book, entry.seq, os.urandom(8).hex())
    return Transfer(id_, 1, 2, 1, 1, reference=f"{book}-{entry.seq}")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
