"""What `popolni verify` prints: each fault as it is found, what was covered, and the sum of it."""

import sys
from datetime import datetime
from typing import TextIO

from popolni.ledger.verify import Fault, Progress, Report, verify

FAULTS_PRINTED_MAX = 1_000
"""The rest are only counted: whoever has so many needs no list of them."""

_BAR = 30


def print_verify(url: str, *, book: int | None = None, since: datetime | None = None) -> int:
    """Audits a ledger for a person, and returns the exit status: 1 if there is a fault."""
    lines = _Lines(sys.stdout, sys.stderr)
    try:
        report = verify(
            url, book=book, since=since, on_fault=lines.fault, on_progress=lines.progress
        )
    finally:
        lines.clear_bar()
    if report.faults > FAULTS_PRINTED_MAX:
        print(f"… and {report.faults - FAULTS_PRINTED_MAX} more faults")
    print(covered(report, book, since))
    print(f"{report.transfers} transfers, {report.accounts} accounts, {report.faults} faults")
    return 1 if report.faults else 0


def covered(report: Report, book: int | None, since: datetime | None) -> str:
    """One line on what the audit looked at."""
    books = f"{report.books} books" if book is None else f"book {book}"
    if since is None:
        return f"checked {books} from the first transfer on, and every account"
    return (
        f"checked the transfers of {books} since {since.isoformat(' ')}, and the accounts"
        " that they touched, each from its first transfer on"
    )


class _Lines:
    """Faults go to `out`; a bar is drawn on `err` if that is a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err if err.isatty() else None
        self._printed = 0

    def fault(self, fault: Fault) -> None:
        if self._printed < FAULTS_PRINTED_MAX:
            self._printed += 1
            self.clear_bar()
            print(fault, file=self._out, flush=True)

    def progress(self, progress: Progress) -> None:
        if self._err:
            part = progress.done / progress.total if progress.total else 0.0
            bar = "#" * int(part * _BAR)
            self.clear_bar()
            print(f"[{bar:.<{_BAR}}] {part:4.0%} {progress.doing}", end="", file=self._err)
            self._err.flush()

    def clear_bar(self) -> None:
        if self._err:
            print("\r\x1b[K", end="", file=self._err, flush=True)
