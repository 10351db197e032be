"""The demo: a migrated database with a small ledger to look at, as long as the demo runs.

What it posts has identifiers that name it, so a second start on the same folder finds all of it
and posts nothing.
"""

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import django
import psycopg
from django.core.management import call_command
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.embedded.database import database
from popolni.ledger import statements
from popolni.ledger.chart import Code, Kind, describe
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, Unit

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
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, _end)
    try:
        with database(data) as url:
            if fresh:
                _empty(url)
            with _django(url):
                _open()
                _show(url, data)
            print("READY", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _django(url: str) -> Iterator[None]:
    """Django on this database, migrated."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    django.setup()
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        django.db.connections.close_all()


def _open() -> None:
    """An agent funds its float, tops numbers up, and one of them gets and uses an allowance."""
    run(statements.open_book(BOOK, CURRENCY))
    run(statements.open_accounts(BOOK, ACCOUNTS))
    name = "demo"
    top_ups = [
        Transfer(
            transfer_id(name, "top-up", number), FLOAT.id, money.id, amount, Code.TOP_UP,
            reference=f"{number % 100}",
        )
        for number, money, amount in zip(NUMBERS, MONEY, (100_00, 350_00, 500_00), strict=True)
    ]  # fmt: skip
    run(
        statements.post(
            BOOK,
            [
                Transfer(
                    transfer_id(name, "funding"),
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


def _show(url: str, data: Path | None) -> None:
    """The accounts and what to try next."""
    accounts = run(statements.read_accounts(BOOK, [account.id for account in ACCOUNTS]))
    print(f"Book {BOOK} ({CURRENCY}), {len(run(statements.read_log(BOOK, 0, 100)))} transfers:\n")
    for account in accounts.values():
        balance = account.credits_posted - account.debits_posted
        amount = f"{balance / 100:,.2f} ₽" if account.unit is Unit.MONEY else f"{balance:,} bytes"
        print(f"  {describe(account.id):<42}{amount:>24}")
    folder = "" if data is None else f" --data {shlex.quote(str(data))}"
    print(f"\nProve it:    ./popolni verify{folder}\nLook inside: psql '{url}'\n")


def _empty(url: str) -> None:
    """Starts the demo's database anew; only its own, and only if nobody else works in it."""
    if os.environ.get("POPOLNI_DATABASE_URL"):
        raise UserError("--fresh empties the demo's own database, not POPOLNI_DATABASE_URL's")
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("drop database {}").format(name))
        except psycopg.errors.ObjectInUse:
            raise UserError("the demo's database is in use: stop the other demo first") from None
        connection.execute(sql.SQL("create database {}").format(name))
