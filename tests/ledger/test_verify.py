"""The auditor finds nothing in a ledger that `post` wrote, and each fault that SQL puts there.

One healthy ledger with all that a ledger can hold is built once; each test has a copy of it.
"""

import io
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger import statements, verify_lines
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Transfer, TransferFlags, Unit
from popolni.ledger.verify import Fault, Progress, Report, verify
from popolni.ledger.verify_lines import print_verify
from tests.conftest import migrated_database, new_database
from tests.ledger.support import NONE, Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
LINKED, PENDING = TransferFlags.LINKED, TransferFlags.PENDING
POST, VOID = TransferFlags.POST_PENDING, TransferFlags.VOID_PENDING

FLOAT = Kind.AGENT_FLOAT.account(7)
ANNA = Kind.SUBSCRIBER_MONEY.account(79160000001)
BORIS = Kind.SUBSCRIBER_MONEY.account(79160000002)
BYTES = Kind.ALLOWANCE_BYTES.account(5)
ISSUED = Kind.ISSUED_BYTES.account()
REVENUE = Kind.OPERATOR_REVENUE.account()
SUSPENSE = Kind.SUSPENSE_MONEY.account()

_numbers = count(1)


def after(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def transfer(debit: int, credit: int, amount: int, flags: int = 0, timeout_s: int = 0) -> Transfer:
    id_ = transfer_id("verify", next(_numbers))
    return Transfer(id_, debit, credit, amount, Code.TOP_UP, flags, timeout_s)


def resolve(pending: Transfer, flags: int, amount: int = 0) -> Transfer:
    id_ = transfer_id("verify", next(_numbers))
    return Transfer(id_, 0, 0, amount, 0, flags, pending_id=pending.id)


def build(ledger: Ledger) -> None:
    """Book 1: 15 transfers in 7 accounts, and all that can become of them; books 2 and 3."""
    for book in (1, 2, 3):
        ledger.run(statements.open_book(book, "RUB"))
    accounts = [FLOAT, ANNA, BORIS, BYTES, ISSUED, REVENUE, SUSPENSE]
    ledger.run(statements.open_accounts(1, accounts))
    rows = [(number, Unit.MONEY, 1, NONE) for number in (1, 2)]
    ledger.run(statements.open_accounts(2, rows))

    partly, voided = (transfer(FLOAT.id, BORIS.id, amount, PENDING, 60) for amount in (100, 30))
    released, held = transfer(FLOAT.id, ANNA.id, 20, PENDING, 10), transfer(FLOAT.id, ANNA.id, 15, PENDING)
    wholly = transfer(FLOAT.id, BORIS.id, 40, PENDING, 100)
    batches = [
        (0, transfer(SUSPENSE.id, FLOAT.id, 1000), transfer(FLOAT.id, ANNA.id, 400)),
        (1, transfer(ANNA.id, REVENUE.id, 50, LINKED), transfer(ISSUED.id, BYTES.id, 9)),
        (2, partly, resolve(partly, POST, 60)),
        (3, voided, resolve(voided, VOID), released, held),
        (20, transfer(FLOAT.id, ANNA.id, 5)),  # 11 releases 9
        (30, wholly, resolve(wholly, POST | LINKED), transfer(ANNA.id, REVENUE.id, 1)),
    ]
    for seconds, *batch in batches:
        answers = ledger.post(1, *batch, at=after(seconds))
        assert {answer.outcome.value for answer in answers} == {"created"}
    ledger.post(2, *(transfer(1, 2, amount) for amount in (1, 2, 3)), at=after(5))
    ledger.run(statements.close_accounts(1, [BORIS.id]))
    ledger.connection.execute("insert into ledger.position values (1, 'bonus', 15)")


@pytest.fixture(scope="module")
def healthy(server_url: str) -> Iterator[str]:
    """No one may be connected to it while it is copied."""
    with migrated_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            build(Ledger(connection))
        yield url


@pytest.fixture
def url(server_url: str, healthy: str) -> Iterator[str]:
    """A copy of the healthy ledger."""
    name = f"{conninfo_to_dict(healthy)['dbname']}_copy"
    original = conninfo_to_dict(healthy)["dbname"]
    names = {"copy": sql.Identifier(name), "original": sql.Identifier(str(original))}
    drop = sql.SQL("drop database if exists {copy} with (force)").format(**names)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("create database {copy} template {original}").format(**names))
        yield make_conninfo(server_url, dbname=name)
        connection.execute(drop)


def audit(
    url: str, book: int | None = None, since: datetime | None = None
) -> tuple[Report, list[str]]:
    faults: list[Fault] = []
    report = verify(url, book=book, since=since, on_fault=faults.append)
    assert report.faults == len(faults)
    return report, sorted(map(str, faults))


def test_a_healthy_ledger_has_no_faults(url: str) -> None:
    assert audit(url) == (Report(3, 18, 9, 0), [])
