"""A database made ready for the programs: migrated, and known to be the demo's or not.

The rule kept here: the demo, whose passwords everybody knows, works on nobody's data but its own,
and nothing else works on the demo's. A comment on the schema ``ledger`` marks the demo's
database, and goes where the database goes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import django
import django.db
import psycopg
from django.core.management import call_command
from django.db.migrations.executor import MigrationExecutor

from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id

MARK = "popolni demo"
_BEFORE_MARKS = transfer_id("demo", "funding")
_HAS_TRANSFER = "select exists (select from ledger.transfer where id = encode(%s, 'hex')::uuid)"
_TABLES = ("ledger.book", "popolni_branch", "popolni_user")


class Whose(Enum):
    """Whose data a database holds."""

    NOBODYS = auto()
    DEMOS = auto()
    OLD_DEMOS = auto()
    """Of a demo that left no mark yet, and had no operators."""
    OTHERS = auto()


@contextmanager
def prepared(url: str) -> Iterator[psycopg.Connection]:
    """Django, set up, and a connection that keeps other preparations of this database out.

    What the database refuses inside is one line for a person.
    """
    django.setup()
    try:
        with psycopg.connect(url, autocommit=True) as guard:
            guard.execute("select pg_advisory_lock(hashtext('popolni preparing'))")
            yield guard
    except (django.db.Error, psycopg.Error) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"the database cannot be prepared: {reason}") from error
    finally:
        django.db.connections.close_all()


def whose(connection: psycopg.Connection) -> Whose:
    """By the mark, or by what lies in it."""
    if _value(connection, "select obj_description(to_regnamespace('ledger'))") == MARK:
        return Whose.DEMOS
    tables = [name for name in _TABLES if _value(connection, "select to_regclass(%s::text)", name)]
    # The names are ours.
    if not any(_value(connection, f"select exists (table {name})") for name in tables):
        return Whose.NOBODYS
    is_old = "popolni_branch" not in tables and _value(connection, _HAS_TRANSFER, _BEFORE_MARKS)
    return Whose.OLD_DEMOS if is_old else Whose.OTHERS


def _value(connection: psycopg.Connection, query: str, *arguments: object) -> object:
    row = connection.execute(query.encode(), arguments or None).fetchone()
    return row[0] if row else None


def migrate() -> bool:
    """Bring the database up to date. Whether there was anything to do."""
    executor = MigrationExecutor(django.db.connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False  # the command itself asks the same in four times as long
    call_command("migrate", verbosity=0)
    return True


def mark(connection: psycopg.Connection) -> None:
    """From here on it is the demo's."""
    connection.execute(f"comment on schema ledger is '{MARK}'".encode())


def empty(connection: psycopg.Connection) -> None:
    """Nothing is left. One transaction: a crash leaves all of it or nothing."""
    connection.execute(
        "begin; drop schema if exists ledger cascade; drop schema public cascade;"
        " create schema public; commit"
    )
