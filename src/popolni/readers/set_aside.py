"""Entries that a reader can't handle: set aside, and tried again or dismissed by a person.

Set aside: it becomes a row in the transaction that moves the position past it, so it is either
before the reader or in the list. From then on only `try_again` handles it: a log that is read
again from zero leaves it out until that went well.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.core.errors import UserError
from popolni.core.reason import reason_of
from popolni.ledger.client import atomic, run
from popolni.ledger.errors import LedgerUnavailable
from popolni.ledger.failures import is_chance, is_lost
from popolni.ledger.log import follow
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import read_places
from popolni.readers.models import NOTE_MAX, SetAside

if TYPE_CHECKING:
    from popolni.readers.frame import Reader

OPEN_MAX = 1_000
"""Most that are open of one reader in one book. With more, it is not the entries that are wrong:
the reader waits there, and goes on when it is mended or some of them are resolved.
"""

_POSITION = "select seq from ledger.position where book = %s and reader = %s for update"


class _NotNextError(Exception):
    """Another worker has come past it."""


def put(reader: str, book: int, seq: int, *, reason: str, tries: int) -> bool:
    """Sets the reader's next entry aside. False if that many are open that it has to wait.

    What has been handled meanwhile, by another worker, stays so.
    """
    if SetAside.objects.filter(reader=reader, book=book, resolved_at=None).count() >= OPEN_MAX:
        return False
    try:
        with follow(reader, book, 1) as entries:
            if [entry.seq for entry in entries] != [seq]:
                raise _NotNextError  # noqa: TRY301  # so that the position stays where it is
            SetAside.objects.update_or_create(  # one that went well before is there already
                {
                    "reason": reason,
                    "tries": tries,
                    "set_aside_at": timezone.now(),
                    "resolved_at": None,
                    "how": "",
                    "note": "",
                },
                reader=reader,
                book=book,
                seq=seq,
            )
    except _NotNextError:
        pass
    return True


def without_set_aside(reader: str, book: int, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """Those that are the reader's to handle. (Only one that was set back meets any other.)"""
    left_out = set(
        SetAside.objects.filter(
            reader=reader, book=book, seq__gte=entries[0].seq, seq__lte=entries[-1].seq
        )
        .exclude(how=SetAside.How.AGAIN)
        .values_list("seq", flat=True)
    )
    return [entry for entry in entries if entry.seq not in left_out] if left_out else entries


def try_again(row: SetAside, reader: "Reader") -> None:
    """Handles the one entry now, in a transaction of its own, and marks it resolved.

    Raises UserError if it fails again, or is resolved already; LedgerUnavailable and the like.
    """
    try:
        with atomic():
            _take_turn(row)
            fresh = _open(row)
            (entry,) = run(read_places(row.book, [row.seq]))
            fresh.how, fresh.resolved_at = SetAside.How.AGAIN, timezone.now()
            fresh.save(update_fields=["how", "resolved_at"])
            reader.handle(row.book, [entry])  # the last, as it may end in a post
    except UserError:
        raise
    except Exception as error:
        if is_lost(error) or is_chance(error):
            raise LedgerUnavailable(reason_of(error)) from error
        reason = reason_of(error)
        _note_failure(row, reason)
        raise UserError(_("it fails again: %(reason)s") % {"reason": reason}) from error
    if reader.after:
        reader.after()


def dismiss(row: SetAside, note: str) -> None:
    """It is never handled; the note says why. Raises UserError if it is resolved already."""
    note = note.strip()
    if not note or len(note) > NOTE_MAX:
        raise UserError(_("a note of at most %(max)d characters says why") % {"max": NOTE_MAX})
    with atomic():
        fresh = _open(row)
        fresh.how, fresh.resolved_at, fresh.note = SetAside.How.DISMISSED, timezone.now(), note
        fresh.save(update_fields=["how", "resolved_at", "note"])


def _take_turn(row: SetAside) -> None:
    """Waits for the worker that has the reader's turn: a reader is alone in a book."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITION, (row.book, row.reader))


def _open(row: SetAside) -> SetAside:
    fresh = SetAside.objects.select_for_update().get(pk=row.pk)
    if not fresh.is_open:
        raise UserError(_("this entry is resolved already"))
    return fresh


def _note_failure(row: SetAside, reason: str) -> None:
    with atomic():
        fresh = SetAside.objects.select_for_update().get(pk=row.pk)
        fresh.tries, fresh.reason = fresh.tries + 1, reason
        fresh.save(update_fields=["tries", "reason"])
