"""The demo: a migrated database with a small ledger to look at, as long as the demo runs.

What it posts has identifiers that name it, so a second start on the same folder finds all of it
and posts nothing.
"""

import fcntl
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import django
import django.db
import psycopg
from django.core.management import call_command

from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.embedded.database import VARIABLE, database
from popolni.embedded.folder import DataFolder
from popolni.embedded.postgres import binary, default_data
from popolni.ledger import statements
from popolni.ledger.chart import Code, Kind, describe
from popolni.ledger.client import register_arrays, run
from popolni.ledger.model import Transfer, Unit

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
WATCH_S = 1

BOOK = 1
CURRENCY = "RUB"
AGENT, BANK, ALLOWANCE = 1, 1, 1
NUMBERS = (79160000001, 79160000002, 79160000003)
GIB = 2**30

FLOAT = Kind.AGENT_FLOAT.account(AGENT)
CLEARING = Kind.PAYMENT_CLEARING.account(BANK)
MONEY = [Kind.SUBSCRIBER_MONEY.account(number) for number in NUMBERS]
ISSUED = Kind.ISSUED_BYTES.account()
BYTES = Kind.ALLOWANCE_BYTES.account(ALLOWANCE)
USED = Kind.USED_BYTES.account()
ACCOUNTS = [CLEARING, FLOAT, *MONEY, ISSUED, BYTES, USED]


def demo(data: Path | None, *, fresh: bool) -> int:
    """Runs until Ctrl-C or SIGTERM. The exit status."""
    own = None if os.environ.get(VARIABLE) else DataFolder.prepare(data or default_data())
    if fresh and own is None:
        raise UserError(f"--fresh empties the demo's own database, not that of {VARIABLE}")
    for number in SIGNALS:  # a shell's background job would ignore SIGINT
        signal.signal(number, _end)
    is_shown = False
    try:
        with _in_use(own, fresh=fresh):
            while True:
                with database(data) as url:
                    if not is_shown:
                        _prepare(url, fresh=fresh)
                        _show(url, data, own)
                        print("READY", flush=True)
                        is_shown = True
                    if _wait_for_signal(own):
                        break
                print("PostgreSQL has gone with its keeper: starting both again", flush=True)
    except KeyboardInterrupt:
        pass
    print("stopped")
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_for_signal(own: DataFolder | None) -> bool:
    """Waits until we are to end (True) or the embedded server's keeper is gone (False)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        while signal.sigtimedwait(SIGNALS, WATCH_S) is None:
            if own is not None and not own.is_locked("keeper"):
                return False
        return True
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a new keeper must not inherit it


@contextmanager
def _in_use(own: DataFolder | None, *, fresh: bool) -> Iterator[None]:
    """Demos share a folder, but for one that begins anew."""
    if own is None:
        yield
        return
    lock = own.try_lock("demo", fcntl.LOCK_EX if fresh else fcntl.LOCK_SH)
    if lock is None:
        raise UserError(f"another demo works in {own.path}: stop it first")
    try:
        yield
    finally:
        os.close(lock)


def _prepare(url: str, *, fresh: bool) -> None:
    """Django on this database, migrated, with the demo's ledger; one demo at a time."""
    before = os.environ.get(VARIABLE, "")
    os.environ |= {VARIABLE: url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    django.setup()
    try:
        with psycopg.connect(url, autocommit=True) as guard:
            guard.execute("select pg_advisory_lock(hashtext('popolni demo'))")
            if fresh:  # in one transaction, so that a crash leaves all of it or nothing
                guard.execute(
                    "begin; drop schema if exists ledger cascade; drop schema public cascade;"
                    " create schema public; commit"
                )
            call_command("migrate", verbosity=0)
            _open()
    except (django.db.Error, psycopg.Error) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"the database can't be prepared: {reason}") from error
    finally:
        django.db.connections.close_all()
        os.environ[VARIABLE] = before


def _open() -> None:
    """An agent funds its float, tops numbers up, and one of them gets and uses an allowance."""
    name = "demo"
    funding = transfer_id(name, "funding")
    if run(statements.read_log(BOOK, 0, 1)) and not run(statements.read_transfers([funding])):
        raise UserError("this database has a ledger of its own: the demo does not add to it")
    run(statements.open_book(BOOK, CURRENCY))
    run(statements.open_accounts(BOOK, ACCOUNTS))
    top_ups = [
        Transfer(
            transfer_id(name, "top-up", number), FLOAT.id, money.id, amount, Code.TOP_UP,
            reference=f"{number % 100}",
        )
        for number, money, amount in zip(NUMBERS, MONEY, (100_00, 350_00, 500_00), strict=True)
    ]  # fmt: skip
    posted = run(
        statements.post(
            BOOK,
            [
                Transfer(
                    funding,
                    CLEARING.id,
                    FLOAT.id,
                    10_000_00,
                    Code.FLOAT_FUNDING,
                ),
                *top_ups,
                Transfer(
                    transfer_id(name, "grant"), ISSUED.id, BYTES.id, GIB, Code.ALLOWANCE_GRANT
                ),
                Transfer(transfer_id(name, "usage"), BYTES.id, USED.id, GIB // 8, Code.USAGE),
            ],
        )
    )
    if not all(answer.outcome.done for answer in posted):
        raise UserError("this database has a ledger that is not the demo's")


def _show(url: str, data: Path | None, own: DataFolder | None) -> None:
    """The accounts and what to try next."""
    with psycopg.connect(url, autocommit=True) as connection:
        register_arrays(connection)

        def ask(statement: statements.Statement[T]) -> T:
            return statement.decode(
                connection.execute(statement.sql, statement.arguments).fetchall()
            )

        accounts = ask(statements.read_accounts(BOOK, [account.id for account in ACCOUNTS]))
        print(f"Book {BOOK} ({CURRENCY}), {len(ask(statements.read_log(BOOK, 0, 100)))} transfers:")
    print()
    for account in accounts.values():
        balance = account.credits_posted - account.debits_posted
        amount = f"{balance / 100:,.2f} ₽" if account.unit is Unit.MONEY else f"{balance:,} bytes"
        print(f"  {describe(account.id):<42}{amount:>24}")
    folder = "" if data is None else f" --data {shlex.quote(str(data))}"
    look = f"{shlex.quote(str(binary('psql')))} '{url}'" if own else f'psql "${VARIABLE}"'
    print(f"\nProve it:    ./popolni verify{folder}\nLook inside: {look}\n")
