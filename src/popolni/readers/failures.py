"""What a reader's failure is about: the database that is away, chance, or the entry itself."""

import re
import traceback
from pathlib import Path

import django.db
import psycopg

from popolni.ledger.errors import LedgerError, LedgerUnavailable, OutcomeUnknown

LOST = (
    *(LedgerUnavailable, OutcomeUnknown),
    *(django.db.OperationalError, django.db.InterfaceError),
    *(psycopg.OperationalError, psycopg.InterfaceError),
)
"""What a loop waits after, as the next time the database may be back; `is_lost` is stricter."""

REASON_MAX = 300
SHOWN_DIGITS = 4
"""Of a long row of digits, at its beginning and at its end: it may be somebody's number."""

_OURS = Path(__file__).resolve().parents[1]
_DIGITS = re.compile(r"\d{9,}")
# The connection is gone (08), the operator ends it or the server starts (57P), there is no room
# left (53), what was the primary is none any more (25006).
_LOST = ("08", "57P", "53", "25006")
# Two that wanted the same in another order (40), a lock not had in time (55P03).
_CHANCE = ("40", "55P03")


def is_lost(error: BaseException) -> bool:
    """Whether the database is away, as opposed to something wrong with what was asked of it."""
    if isinstance(error, OutcomeUnknown):
        return True
    cause = _of_the_database(error)
    if cause is None:
        # Django's own: it can't connect, or the connection was closed before.
        return isinstance(error, django.db.OperationalError | django.db.InterfaceError)
    if cause.sqlstate:
        return cause.sqlstate.startswith(_LOST)
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)


def is_chance(error: BaseException) -> bool:
    """Whether the same may go well the next time, whatever was read."""
    cause = _of_the_database(error)
    return cause is not None and (cause.sqlstate or "").startswith(_CHANCE)


def _of_the_database(error: BaseException) -> psycopg.Error | None:
    """What the driver raised, if what is raised here is about that."""
    while isinstance(error, django.db.Error | LedgerError) and error.__cause__ is not None:
        error = error.__cause__
    return error if isinstance(error, psycopg.Error) else None


def reason_of(error: BaseException) -> str:
    """One line for people: what was raised and where in our code; no whole number is in it."""
    first = str(error).strip().partition("\n")[0]
    text = _DIGITS.sub(
        _masked, f"{type(error).__name__}: {first}" if first else type(error).__name__
    )
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    place = _place(error)
    return f"{text[: REASON_MAX - len(place)]}{place}"


def _masked(found: re.Match[str]) -> str:
    return f"{found[0][:SHOWN_DIGITS]}***{found[0][-SHOWN_DIGITS:]}"


def _place(error: BaseException) -> str:
    """The innermost line of our own that it came through: ` (bonus.py:120)`."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_OURS)
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
