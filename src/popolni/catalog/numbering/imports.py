"""What every import shares: one at a time, all or nothing, and a row that tells of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import OperationalError, connection, transaction

from popolni.catalog.numbering.models import NumberingImport
from popolni.catalog.numbering.rules import SHRINK_MAX_PERCENT
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WAIT_S = 60
"""How long an import waits for another to end."""
CHUNK = 10_000

Progress = Callable[[str, int, int], object]
"""What is being done, how far it is, and how far it goes; called every few milliseconds."""


@dataclass(frozen=True)
class FileRead:
    """A file as it was read; `rows` without the header."""

    name: str
    bytes: int
    sha256: str
    rows: int


def ignore(doing: str, done: int, total: int) -> None:
    """No one watches."""
    del doing, done, total


@contextmanager
def importing() -> Iterator[None]:
    """A transaction of its own with the lock of imports.

    The lock is on the table that every import adds a row to, and lets readers through.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(f"set local lock_timeout = '{WAIT_S}s'")
            try:
                cursor.execute("lock table popolni_numberingimport in share row exclusive mode")
            except OperationalError as error:
                if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise
                raise UserError(
                    f"another import has been going on for {WAIT_S} s: try again after it"
                ) from error
        yield


def too_small(what: str, before: int, removed: int) -> UserError:
    """The refusal of a file that would take too many numbers away."""
    return UserError(
        f"nothing was imported: {removed:,} of {before:,} numbers of {what} would go, over"
        f" {SHRINK_MAX_PERCENT} %; is the file whole? If it is right: --allow-shrink"
    )


def keep(kind: NumberingImport.Kind, report: "DataclassInstance") -> None:
    """Write the row that tells of an import."""
    written: dict[str, Any] = asdict(report)
    NumberingImport.objects.create(kind=kind, files=written.pop("files"), report=written)
