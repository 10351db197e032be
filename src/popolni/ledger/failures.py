"""What a failure is about: the database that is away, chance, or what was asked of it."""

import django.db
import psycopg

from popolni.ledger.errors import LedgerError, LedgerUnavailable, OutcomeUnknown

LOST = (
    *(LedgerUnavailable, OutcomeUnknown),
    *(django.db.OperationalError, django.db.InterfaceError),
    *(psycopg.OperationalError, psycopg.InterfaceError),
)
"""What a loop waits after, as the next time the database may be back; `is_lost` is stricter."""

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
