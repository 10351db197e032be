"""The auditor finds nothing in a ledger that `post` wrote, and each fault that SQL puts there.

One healthy ledger with all that a ledger can hold is built once; each test has a copy of it.
"""

import io
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.chart import Code, Kind, describe
from popolni.ledger.model import Transfer, TransferFlags, Unit
from popolni.ledger.verify import Fault, Progress, Report, main, verify
from tests.conftest import migrated_database, new_database
from tests.ledger.support import NONE, Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
LINKED, PENDING = TransferFlags.LINKED, TransferFlags.PENDING
POST, VOID = TransferFlags.POST_PENDING, TransferFlags.VOID_PENDING

FLOAT = Kind.AGENT_FLOAT.account(7)
ANNA = Kind.SUBSCRIBER_MONEY.account(79160000001)
BORIS = Kind.SUBSCRIBER_MONEY.account(79160000002)
BYTES = Kind.PLAN_BYTES.account(79160000001)
ISSUED = Kind.ISSUED_BYTES.account()
REVENUE = Kind.OPERATOR_REVENUE.account()
SUSPENSE = Kind.SUSPENSE_MONEY.account()

_numbers = count(1)


def after(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def transfer(debit: int, credit: int, amount: int, flags: int = 0, timeout_s: int = 0) -> Transfer:
    id_ = transfer_id("verify", next(_numbers))
    return Transfer(id_, debit, credit, amount, Code.TOP_UP_OSMP, flags, timeout_s)


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
    released = transfer(FLOAT.id, ANNA.id, 20, PENDING, 10)
    held = transfer(FLOAT.id, ANNA.id, 15, PENDING)
    wholly = transfer(FLOAT.id, BORIS.id, 40, PENDING, 100)
    batches: list[tuple[int, list[Transfer]]] = [
        (0, [transfer(SUSPENSE.id, FLOAT.id, 1000), transfer(FLOAT.id, ANNA.id, 400)]),
        (1, [transfer(ANNA.id, REVENUE.id, 50, LINKED), transfer(ISSUED.id, BYTES.id, 9)]),
        (2, [partly, resolve(partly, POST, 60)]),
        (3, [voided, resolve(voided, VOID), released, held]),
        (20, [transfer(FLOAT.id, ANNA.id, 5)]),  # 11 releases 9
        (30, [wholly, resolve(wholly, POST | LINKED), transfer(ANNA.id, REVENUE.id, 1)]),
    ]
    for seconds, batch in batches:
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
    original = str(conninfo_to_dict(healthy)["dbname"])
    copy = f"{original}_copy"
    names = {"copy": sql.Identifier(copy), "original": sql.Identifier(original)}
    drop = sql.SQL("drop database if exists {copy} with (force)").format(**names)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("create database {copy} template {original}").format(**names))
        yield make_conninfo(server_url, dbname=copy)
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


class Case(NamedTuple):
    """What is done to the ledger, and all that is then found, in the order of its letters."""

    name: str
    sql: str
    faults: list[str]


IDS = {
    "FLOAT": FLOAT.id,
    "ANNA": ANNA.id,
    "REVENUE": REVENUE.id,
    "SUSPENSE": SUSPENSE.id,
}
SHORT = {
    describe(account.id): name
    for account, name in ((FLOAT, "FLOAT"), (ANNA, "ANNA"), (BORIS, "BORIS"))
}

# No key and no check holds any more: they may be what is broken.
UNPROTECTED = """
    alter table ledger.transfer
        drop constraint transfer_id, drop constraint transfer_pkey,
        drop constraint transfer_seq_check, drop constraint transfer_amount_check,
        drop constraint transfer_code_check, drop constraint transfer_flags_check;
    drop index ledger.transfer_resolves;
    alter table ledger.account
        drop constraint account_unit_check, drop constraint account_flags_check;
"""

CASES = [
    Case(
        "total off by one",
        "update ledger.account set debits_posted = debits_posted + 1 where id = {ANNA}",
        [
            "book 1, ANNA: debits_posted is 52, its transfers make 51",
            "book 1: in unit 1 all debits_posted make 1557, all credits_posted 1556",
        ],
    ),
    Case(
        "pending total off by one",
        "update ledger.account set credits_pending = credits_pending - 1 where id = {ANNA}",
        [
            "book 1, ANNA: credits_pending is 14, its transfers make 15",
            "book 1: in unit 1 all debits_pending make 15, all credits_pending 14",
        ],
    ),
    Case(
        "deleted transfer",
        "delete from ledger.transfer where book = 1 and seq = 12",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 500",
            "book 1, ANNA: credits_posted is 405, its transfers make 400",
            "book 1, transfer 13: missing before it: seq 12",
        ],
    ),
    Case(
        "deleted transfers",
        "delete from ledger.transfer where book = 1 and seq in (1, 2)",
        [
            (
                "book 1, FLOAT: debits_posted is 505, its transfers make 105; "
                "credits_posted is 1000, its transfers make 0"
            ),
            "book 1, ANNA: credits_posted is 405, its transfers make 5",
            "book 1, suspense_money: debits_posted is 1000, its transfers make 0",
            "book 1, transfer 3: missing before it: seq 1 to 2",
        ],
    ),
    Case(
        "duplicate id in another book",
        (
            "update ledger.transfer set id = (select id from ledger.transfer where book ="
            " 1 and seq = 12) where book = 2 and seq = 3"
        ),
        [
            (
                "book 2, transfer 3: transfer 12 of book 1 has the same id, "
                "9f93d289-98b6-cbab-8431-c4d6cd614d04"
            ),
        ],
    ),
    Case(
        "duplicate id in the same book",
        (
            "update ledger.transfer set id = (select id from ledger.transfer where book ="
            " 1 and seq = 12) where book = 1 and seq = 1"
        ),
        [
            (
                "book 1, transfer 12: transfer 1 of book 1 has the same id, "
                "9f93d289-98b6-cbab-8431-c4d6cd614d04"
            ),
        ],
    ),
    Case(
        "the same transfer twice",
        ("insert into ledger.transfer select * from ledger.transfer where book = 1 and seq = 12"),
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 510",
            "book 1, ANNA: credits_posted is 405, its transfers make 410",
            "book 1, transfer 12: another transfer has the same seq",
            (
                "book 1, transfer 12: transfer 12 of book 1 has the same id, "
                "9f93d289-98b6-cbab-8431-c4d6cd614d04"
            ),
        ],
    ),
    Case(
        "changed amount",
        "update ledger.transfer set amount = 6 where book = 1 and seq = 12",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 506",
            "book 1, ANNA: credits_posted is 405, its transfers make 406",
        ],
    ),
    Case(
        "amount zero",
        "update ledger.transfer set amount = 0 where book = 1 and seq = 12",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 500",
            "book 1, ANNA: credits_posted is 405, its transfers make 400",
            "book 1, transfer 12: amount is 0",
        ],
    ),
    Case(
        "changed unit",
        "update ledger.account set unit = 2 where id = {SUSPENSE}",
        [
            "book 1, suspense_money: unit is 2, by the chart of accounts 1",
            "book 1, transfer 1: suspense_money counts unit 2, FLOAT unit 1",
            "book 1: in unit 1 all debits_posted make 556, all credits_posted 1556",
            "book 1: in unit 2 all debits_posted make 1009, all credits_posted 9",
        ],
    ),
    Case(
        "illegal unit",
        "update ledger.account set unit = 5 where book = 2",
        [
            "book 2, account 1: unit is 5",
            "book 2, account 2: unit is 5",
        ],
    ),
    Case(
        "illegal account flags",
        "update ledger.account set flags = 6 where book = 2 and id = 1",
        [
            "book 2, account 1: debits of 6 exceed credits of 0; flags are 6",
        ],
    ),
    Case(
        "account flags against chart",
        "update ledger.account set flags = 0 where id = {FLOAT}",
        [
            "book 1, FLOAT: flags are 0, by the chart of accounts 2",
        ],
    ),
    Case(
        "account missing",
        "delete from ledger.account where id = {REVENUE}",
        [
            "book 1, operator_revenue: it does not exist, and transfer 15 names it",
            "book 1: in unit 1 all debits_posted make 1556, all credits_posted 1505",
        ],
    ),
    Case(
        "limit exceeded",
        (
            "update ledger.transfer set amount = 1 where book = 1 and seq = 1; update "
            "ledger.account set debits_posted = 1 where id = {SUSPENSE}; update "
            "ledger.account set credits_posted = 1 where id = {FLOAT}"
        ),
        [
            "book 1, FLOAT: debits of 520 exceed credits of 1",
        ],
    ),
    Case(
        "credit limit exceeded",
        "update ledger.account set flags = 4 where book = 2 and id = 2",
        [
            "book 2, account 2: credits of 6 exceed debits of 0",
        ],
    ),
    Case(
        "books credits more",
        ("update ledger.account set credits_posted = credits_posted + 1 where book = 2 and id = 2"),
        [
            "book 2, account 2: credits_posted is 7, its transfers make 6",
            "book 2: in unit 1 all debits_posted make 6, all credits_posted 7",
        ],
    ),
    Case(
        "debit and credit the same",
        "update ledger.transfer set debit_account = credit_account where book = 2 and seq = 3",
        [
            "book 2, account 1: debits_posted is 6, its transfers make 3",
            "book 2, account 2: debits_posted is 0, its transfers make 3",
            "book 2, transfer 3: both its accounts are account 2",
        ],
    ),
    Case(
        "chain broken by time",
        (
            "update ledger.transfer set created_at = created_at + interval '1 second' "
            "where book = 1 and seq = 4"
        ),
        [
            (
                "book 1, transfer 4: it was not posted together with transfer 3, which is"
                " linked to the next"
            ),
        ],
    ),
    Case(
        "chain broken at the end",
        (
            "delete from ledger.transfer where book = 1 and seq = 15; update ledger.book "
            "set last_seq = 14 where book = 1; delete from ledger.position"
        ),
        [
            "book 1, operator_revenue: credits_posted is 51, its transfers make 50",
            "book 1, ANNA: debits_posted is 51, its transfers make 50",
            "book 1: transfer 14 is linked to the next, and there is none",
        ],
    ),
    Case(
        "chain tail renumbered",
        (
            "delete from ledger.transfer where book = 1 and seq = 4; update "
            "ledger.transfer set seq = seq - 1 where book = 1 and seq > 4; update "
            "ledger.book set last_seq = 14 where book = 1; delete from ledger.position"
        ),
        [
            "book 1, issued_bytes: debits_posted is 9, its transfers make 0",
            ("book 1, plan_bytes of number 79160000001: credits_posted is 9, its transfers make 0"),
            (
                "book 1, transfer 4: it was not posted together with transfer 3, which is"
                " linked to the next"
            ),
        ],
    ),
    Case(
        "resolved twice",
        (
            "update ledger.transfer set pending_id = (select pending_id from "
            "ledger.transfer where book = 1 and seq = 6) where book = 1 and seq = 8"
        ),
        [
            "book 1, FLOAT: debits_pending is 15, its transfers make 45",
            "book 1, BORIS: credits_pending is 0, its transfers make 30",
            (
                "book 1, transfer 8: transfer 6 resolved the same pending transfer; "
                "amount is 30, of pending transfer 5 100"
            ),
        ],
    ),
    Case(
        "resolves nothing",
        (
            "update ledger.transfer set pending_id = "
            "'00000000-0000-0000-0000-000000000007' where book = 1 and seq = 8"
        ),
        [
            "book 1, FLOAT: debits_pending is 15, its transfers make 45",
            "book 1, BORIS: credits_pending is 0, its transfers make 30",
            (
                "book 1, transfer 8: pending transfer "
                "00000000-0000-0000-0000-000000000007 is not in this book"
            ),
        ],
    ),
    Case(
        "resolves a plain one",
        (
            "update ledger.transfer set pending_id = (select id from ledger.transfer "
            "where book = 1 and seq = 2) where book = 1 and seq = 8"
        ),
        [
            "book 1, FLOAT: debits_pending is 15, its transfers make 45",
            "book 1, BORIS: credits_pending is 0, its transfers make 30",
            (
                "book 1, transfer 8: transfer 2 is not pending; it credits BORIS, pending"
                " transfer 2 credits ANNA; amount is 30, of pending transfer 2 400"
            ),
        ],
    ),
    Case(
        "resolves a later one",
        (
            "update ledger.transfer set pending_id = (select id from ledger.transfer "
            "where book = 1 and seq = 10) where book = 1 and seq = 8"
        ),
        [
            "book 1, FLOAT: debits_pending is 15, its transfers make 30",
            "book 1, ANNA: credits_pending is 15, its transfers make 0",
            "book 1, BORIS: credits_pending is 0, its transfers make 30",
            (
                "book 1, transfer 8: pending transfer 10 comes later; it credits BORIS, "
                "pending transfer 10 credits ANNA; amount is 30, of pending transfer 10 "
                "15"
            ),
        ],
    ),
    Case(
        "pending accounts differ",
        "update ledger.transfer set credit_account = {ANNA} where book = 1 and seq = 6",
        [
            "book 1, ANNA: credits_posted is 405, its transfers make 465",
            "book 1, BORIS: credits_posted is 100, its transfers make 40",
            "book 1, transfer 6: it credits ANNA, pending transfer 5 credits BORIS",
        ],
    ),
    Case(
        "posts more than pending",
        "update ledger.transfer set amount = 101 where book = 1 and seq = 6",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 546",
            "book 1, BORIS: credits_posted is 100, its transfers make 141",
            "book 1, transfer 6: amount is 101, of pending transfer 5 100",
        ],
    ),
    Case(
        "voids less than pending",
        "update ledger.transfer set amount = 29 where book = 1 and seq = 8",
        [
            "book 1, transfer 8: amount is 29, of pending transfer 7 30",
        ],
    ),
    Case(
        "other code than pending",
        "update ledger.transfer set code = 2 where book = 1 and seq = 6",
        [
            "book 1, transfer 6: code is 2, of pending transfer 5 15",
        ],
    ),
    Case(
        "posted after time-out",
        (
            "update ledger.transfer set expires_at = created_at + interval '1 "
            "microsecond' where book = 1 and seq = 5; update ledger.transfer set "
            "created_at = created_at + interval '1 microsecond' where book = 1 and seq = "
            "6"
        ),
        [
            (
                "book 1, transfer 6: pending transfer 5 had timed out at 2026-01-01 "
                "00:00:02.000001+00"
            ),
        ],
    ),
    Case(
        "released too early",
        (
            "update ledger.transfer set expires_at = created_at + interval '18 seconds' "
            "where book = 1 and seq = 9"
        ),
        [
            (
                "book 1, transfer 11: pending transfer 9 was to time out later, "
                "2026-01-01 00:00:21+00"
            ),
        ],
    ),
    Case(
        "released without time-out",
        "update ledger.transfer set expires_at = null where book = 1 and seq = 9",
        [
            "book 1, transfer 11: pending transfer 9 never times out",
        ],
    ),
    Case(
        "not released",
        (
            "update ledger.transfer set expires_at = created_at + interval '1 second' "
            "where book = 1 and seq = 10"
        ),
        [
            "book 1, transfer 10: it timed out at 2026-01-01 00:00:04+00 and was not released",
        ],
    ),
    Case(
        "expires before it begins",
        "update ledger.transfer set expires_at = created_at where book = 1 and seq = 7",
        [
            "book 1, transfer 7: expires_at is 2026-01-01 00:00:03+00, not after created_at",
            "book 1, transfer 8: pending transfer 7 had timed out at 2026-01-01 00:00:03+00",
        ],
    ),
    Case(
        "plain expires",
        (
            "update ledger.transfer set expires_at = created_at + interval '1 day' where "
            "book = 1 and seq = 12"
        ),
        [
            "book 1, transfer 12: it has expires_at but is not pending",
        ],
    ),
    Case(
        "plain with pending id",
        "update ledger.transfer set pending_id = id where book = 1 and seq = 12",
        [
            "book 1, transfer 12: it has pending_id but neither posts nor voids",
        ],
    ),
    Case(
        "post without pending id",
        "update ledger.transfer set pending_id = null where book = 1 and seq = 8",
        [
            "book 1, FLOAT: debits_pending is 15, its transfers make 45",
            "book 1, BORIS: credits_pending is 0, its transfers make 30",
            "book 1, transfer 8: it posts or voids but has no pending_id",
        ],
    ),
    Case(
        "illegal flags",
        "update ledger.transfer set flags = 16 where book = 1 and seq = 12",
        [
            "book 1, transfer 12: flags are 16",
        ],
    ),
    Case(
        "pending and posting",
        "update ledger.transfer set flags = 6 where book = 1 and seq = 6",
        [
            (
                "book 1, FLOAT: debits_posted is 505, its transfers make 445; "
                "debits_pending is 15, its transfers make 75"
            ),
            (
                "book 1, BORIS: credits_posted is 100, its transfers make 40; "
                "credits_pending is 0, its transfers make 60"
            ),
            "book 1, transfer 6: flags are 6",
        ],
    ),
    Case(
        "code zero",
        "update ledger.transfer set code = 0 where book = 1 and seq = 12",
        [
            "book 1, transfer 12: code is 0 with flags 0",
        ],
    ),
    Case(
        "id zero",
        (
            "update ledger.transfer set id = '00000000-0000-0000-0000-000000000000' where"
            " book = 1 and seq = 12"
        ),
        [
            "book 1, transfer 12: id is 00000000-0000-0000-0000-000000000000",
        ],
    ),
    Case(
        "created_at backwards",
        (
            "update ledger.transfer set created_at = created_at - interval '1 minute' "
            "where book = 1 and seq = 12"
        ),
        [
            (
                "book 1, transfer 12: created_at is 2025-12-31 23:59:20+00, earlier than "
                "2026-01-01 00:00:20+00 of transfer 11"
            ),
        ],
    ),
    Case(
        "created_at beyond last_at",
        (
            "update ledger.transfer set created_at = created_at + interval '1 year' where"
            " book = 2 and seq = 3"
        ),
        [
            (
                "book 2, transfer 3: created_at is 2027-01-01 00:00:05+00, later than the"
                " book's last_at, 2026-01-01 00:00:05+00"
            ),
        ],
    ),
    Case(
        "foreign book",
        "update ledger.transfer set book = 7 where book = 1 and seq = 12",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 500",
            "book 1, ANNA: credits_posted is 405, its transfers make 400",
            "book 1, transfer 13: missing before it: seq 12",
            "book 7: there is no such book, but 1 transfers and 0 accounts are in it",
        ],
    ),
    Case(
        "other book",
        "update ledger.transfer set book = 3, seq = 1 where book = 1 and seq = 12",
        [
            "book 1, FLOAT: debits_posted is 505, its transfers make 500",
            "book 1, ANNA: credits_posted is 405, its transfers make 400",
            "book 1, transfer 13: missing before it: seq 12",
            "book 3, FLOAT: it does not exist, and transfer 1 names it",
            "book 3, ANNA: it does not exist, and transfer 1 names it",
            (
                "book 3, transfer 1: created_at is 2026-01-01 00:00:20+00, later than the"
                " book's last_at, 1970-01-01 00:00:00+00"
            ),
            "book 3: last_seq is 0, but the log goes on to 1",
        ],
    ),
    Case(
        "book missing",
        "delete from ledger.book where book = 2",
        [
            "book 2: there is no such book, but 3 transfers and 2 accounts are in it",
        ],
    ),
    Case(
        "account in no book",
        "insert into ledger.account (book, id, unit, kind, flags) values (7, 1, 1, 1, 0)",
        [
            "book 7: there is no such book, but 0 transfers and 1 accounts are in it",
        ],
    ),
    Case(
        "last_seq too high",
        "update ledger.book set last_seq = 20 where book = 1",
        [
            "book 1: missing at the end: seq 16 to 20",
        ],
    ),
    Case(
        "last_seq too low",
        "update ledger.book set last_seq = 14 where book = 1; delete from ledger.position",
        [
            "book 1: last_seq is 14, but the log goes on to 15",
        ],
    ),
    Case(
        "last_seq of an empty book",
        "update ledger.book set last_seq = 1 where book = 3",
        [
            "book 3: missing at the end: seq 1",
        ],
    ),
    Case(
        "endless time",
        "update ledger.book set last_at = 'infinity' where book = 2;"
        " update ledger.transfer set created_at = '-infinity' where book = 2 and seq = 3",
        [
            (
                "book 2, transfer 3: created_at is -infinity, earlier than"
                " 2026-01-01 00:00:05+00 of transfer 2"
            ),
        ],
    ),
    Case(
        "expired_until",
        "update ledger.book set expired_until = last_at + interval '1 hour' where book = 2",
        [
            "book 2: expired_until is 2026-01-01 01:00:05+00, later than last_at",
        ],
    ),
    Case(
        "reader beyond",
        "update ledger.position set seq = 16",
        [
            "book 1: reader bonus is at seq 16, beyond last_seq 15",
        ],
    ),
    Case(
        "seq not positive",
        "update ledger.transfer set seq = -5 where book = 1 and seq = 1",
        [
            "book 1, transfer -5: seq is -5",
            "book 1, transfer 2: missing before it: seq 1",
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_fault_is_found_and_named(url: str, case: Case) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(UNPROTECTED)
        for statement in case.sql.format_map(IDS).split(";"):
            connection.execute(statement)
    found = audit(url)[1]
    for name, short in SHORT.items():
        found = [line.replace(name, short) for line in found]
    assert found == case.faults


def change(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_book_by_itself(url: str) -> None:
    change(
        url,
        "update ledger.account set debits_posted = 8 where book = 2 and id = 1",
        "alter table ledger.transfer drop constraint transfer_id",
        "update ledger.transfer as t set id = s.id from ledger.transfer as s"
        " where t.book = 1 and t.seq = 2 and s.book = 2 and s.seq = 3",
    )
    same = "book 2, transfer 3: transfer 2 of book 1 has the same id, "
    report, (shared,) = audit(url, book=1)
    assert report == Report(1, 15, 7, 1)
    assert shared.startswith(same)  # the other half of what is wrong in book 1
    report, lines = audit(url, book=2)
    assert report == Report(1, 3, 2, 3)
    assert lines[0] == "book 2, account 1: debits_posted is 8, its transfers make 6"
    assert lines[1].startswith(same)
    assert audit(url, book=3) == (Report(1, 0, 0, 0), [])
    with pytest.raises(UserError, match="there is no book 4"):
        audit(url, book=4)


def test_since_a_moment(url: str) -> None:
    """The transfers since then, and whom they touched; a fault elsewhere is for a full run."""
    assert audit(url, since=START) == (Report(3, 18, 9, 0), [])
    assert audit(url, since=after(20)) == (Report(3, 5, 4, 0), [])
    assert audit(url, since=after(31)) == (Report(3, 0, 0, 0), [])
    change(
        url,
        "update ledger.transfer set amount = 8 where book = 1 and seq = 4",
        "update ledger.transfer set amount = 401 where book = 1 and seq = 2",
        "delete from ledger.transfer where book = 1 and seq = 11",
    )
    _, lines = audit(url, since=after(20))
    assert lines == [
        (
            "book 1, agent_float of agent 7: debits_posted is 505, its transfers make 506;"
            " debits_pending is 15, its transfers make 35"
        ),
        (
            "book 1, subscriber_money of number 79160000001: credits_posted is 405, its transfers"
            " make 406; credits_pending is 15, its transfers make 35"
        ),
        "book 1, transfer 12: missing before it: seq 11",
    ]
    with pytest.raises(ValueError, match="time zone"):
        audit(url, since=START.replace(tzinfo=None))


def test_since_finds_a_log_that_was_cut_off(url: str) -> None:
    change(url, "delete from ledger.transfer where book = 2 and seq = 3")
    assert audit(url, since=after(40))[1] == ["book 2: missing at the end: seq 3"]


def test_writers_go_on_meanwhile(url: str) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            ledger = Ledger(connection)
            while not stop.is_set():
                held = transfer(1, 2, 3, PENDING, 1)
                ledger.post(2, transfer(1, 2, 1, LINKED), transfer(2, 1, 2), held)
                ledger.post(2, resolve(held, POST, 2))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [audit(url) for _ in range(20)]
    finally:
        stop.set()
        writer.join()
    assert [lines for _, lines in reports] == [[]] * 20
    assert reports[-1][0].transfers > reports[0][0].transfers


def test_pages_meet_without_a_seam(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[Progress] = []
    monkeypatch.setattr("popolni.ledger.verify.PAGE", 2)
    report = verify(url, on_fault=print, on_progress=progress.append)
    assert report == Report(3, 18, 9, 0)
    done = [step.done for step in progress]
    assert done == sorted(done)
    assert progress[-1] == Progress(4 * 18, 4 * 18, "done")
    change(url, "delete from ledger.transfer where book = 1 and seq = 4")
    lines = audit(url)[1]
    assert (
        "book 1, transfer 5: missing before it: seq 4; it was not posted together with"
        " transfer 3, which is linked to the next"
    ) in lines


MANY = 200_000


def test_any_number_of_faults_takes_little_memory(url: str) -> None:
    change(
        url,
        "insert into ledger.transfer (seq, id, debit_account, credit_account, amount, created_at,"
        " book, code, flags, expires_at) select i, md5(i::text)::uuid, 1, 2, 1, 'epoch', 3, 1, 0,"
        " 'infinity' from generate_series(1, 200000) as i",
    )
    seen = count()
    tracemalloc.start()
    try:
        report = verify(url, book=3, on_fault=lambda _: next(seen))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # each transfer, the two accounts that aren't there, and the end of the log
    assert (report.transfers, report.faults, next(seen)) == (MANY, MANY + 3, MANY + 3)
    assert peak < 8_000_000


def test_what_is_no_ledger_is_one_clear_line(server_url: str) -> None:
    with new_database(server_url) as url, pytest.raises(UserError, match="holds no ledger yet"):
        audit(url)
    with pytest.raises(UserError, match="can't be read"):
        audit("postgresql://nobody@127.0.0.1:1/none")


def test_what_a_person_sees(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(url) == 0
    assert capsys.readouterr() == (
        (
            "checked every book from the first transfer on, and every account\n"
            "18 transfers, 9 accounts, 0 faults\n"
        ),
        "",
    )
    change(url, "update ledger.account set debits_posted = 9 where book = 2 and id = 1")
    assert main(url, book=2, since=after(5)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "book 2, account 1: debits_posted is 9, its transfers make 6",
        "book 2: in unit 1 all debits_posted make 9, all credits_posted 6",
        (
            "checked the transfers of book 2 since 2026-01-01 00:00:05+00:00, and the accounts that"
            " they touched, each from its first transfer on"
        ),
        "3 transfers, 2 accounts, 2 faults",
    ]


def test_more_faults_than_anyone_reads_are_counted(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popolni.ledger.verify.FAULTS_PRINTED_MAX", 1)
    change(url, "update ledger.account set debits_posted = 9 where book = 2")
    assert main(url) == 1
    assert capsys.readouterr().out.splitlines() == [
        "book 2, account 1: debits_posted is 9, its transfers make 6",
        "… and 2 more faults",
        "checked every book from the first transfer on, and every account",
        "18 transfers, 9 accounts, 3 faults",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    main(url)
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn[1] == "[..............................]   0% counting"
    assert drawn[-2] == "[##############################] 100% done"
    assert drawn[-1] == ""
