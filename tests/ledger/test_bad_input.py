"""What no transfer can be is refused before it is sent, by name; nothing is changed."""

import itertools
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger import statements
from popolni.ledger.client import register_arrays
from popolni.ledger.codec import encode_times
from popolni.ledger.errors import InvalidBatch, InvalidTransfer
from popolni.ledger.model import AMOUNT_MAX, BATCH_MAX, AccountFlags, Transfer, Unit
from tests.ledger.support import NO_OVERDRAFT, NONE, Ledger, tid

GOOD = Transfer(id=tid("good"), debit_account=1, credit_account=2, amount=10, code=1)

UNWRITABLE: list[tuple[str, Any]] = [
    ("id", b"short"),
    ("id", b"x" * 17),
    ("id", b""),
    ("id", "x" * 16),
    ("id", None),
    ("debit_account", 2**63),
    ("debit_account", "1"),
    ("credit_account", -(2**63) - 1),
    ("credit_account", None),
    ("amount", -1),
    ("amount", AMOUNT_MAX + 1),
    ("amount", math.nan),
    ("amount", 1.0),
    ("amount", Decimal("1.5")),
    ("amount", "10"),
    ("amount", None),
    ("code", 2**15),
    ("code", -1),
    ("flags", -1),
    ("flags", 2**15),
    ("flags", None),
    ("timeout_s", -1),
    ("timeout_s", 2**31),
    ("pending_id", b"short"),
    ("reference", b"bytes"),
    ("reference", "a\0b"),
    ("reference", "\ud800"),
    ("reference", "x" * 256),
    ("reference_at", datetime(2200, 1, 1, tzinfo=UTC)),
    ("reference_at", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))),
    ("reference_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))),
    ("amount", 10**5000),
    ("id", memoryview(bytes(64)).cast("I")),
    ("reference_at", datetime(2026, 1, 1)),  # noqa: DTZ001  # the case
    ("reference_at", "2026-01-01"),
    ("reference_id", 2**63),
]


@pytest.mark.parametrize(("field", "value"), UNWRITABLE, ids=itertools.count())
def test_a_value_that_no_transfer_can_have(field: str, value: object) -> None:
    bad = GOOD._replace(**{field: value})  # type: ignore[arg-type]  # the case
    with pytest.raises(InvalidTransfer) as caught:
        statements.post(1, [GOOD, bad])
    assert (caught.value.index, caught.value.field) == (1, field)
    assert "\n" not in str(caught.value)


def test_something_else_than_a_transfer() -> None:
    with pytest.raises(InvalidTransfer, match="transfer 1 of the batch: it is not a Transfer"):
        statements.post(1, [GOOD, ("a", "tuple")])  # type: ignore[list-item]  # the case


def test_more_than_a_batch_holds(ledger: Ledger) -> None:
    batch = [GOOD] * (BATCH_MAX + 1)
    with pytest.raises(InvalidBatch, match="8001 transfers: at most 8000"):
        statements.post(1, batch)
    ids = "array_fill('00000000-0000-0000-0000-000000000001'::uuid, array[8001])"
    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        ledger.connection.execute(
            f"select ledger.post(1, {ids}, {', '.join(['null'] * 10)})"  # constants
        )


def test_a_full_batch_and_an_empty_one(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE)
    batch = [GOOD._replace(id=tid(book, number)) for number in range(BATCH_MAX)]
    answers = ledger.post(book, *batch)
    assert [answer.seq for answer in answers] == list(range(1, BATCH_MAX + 1))
    assert {answer.outcome for answer in answers} == {Outcome.CREATED}
    assert {answer.outcome for answer in ledger.post(book, *batch)} == {Outcome.EXISTS}
    assert ledger.post(book) == []
    assert ledger.account(book, 1).debits_posted == 10 * BATCH_MAX


def test_the_largest_values_are_kept_exactly(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE)
    largest = Transfer(
        id=b"\xff" * 15 + b"\xfe",
        debit_account=1,
        credit_account=2,
        amount=AMOUNT_MAX,
        code=2**15 - 1,
        flags=2,
        timeout_s=2**31 - 1,
        reference="Пополни! 充值 🙂" * 17,
        reference_id=-(2**63),
    )
    answer = ledger.post(book, largest)[0]
    if answer.outcome is Outcome.EXISTS_WITH_DIFFERENT_BOOK:  # a second run on one database
        return
    assert answer.outcome is Outcome.CREATED
    (entry,) = ledger.log(book)
    assert (entry.id, entry.amount, entry.code) == (largest.id, AMOUNT_MAX, 2**15 - 1)
    assert (entry.reference, entry.reference_id) == (largest.reference, -(2**63))
    assert entry.expires_at is not None
    assert (entry.expires_at - entry.created_at).total_seconds() == 2**31 - 1


def test_a_book_that_does_not_exist(ledger: Ledger) -> None:
    with pytest.raises(psycopg.errors.NoDataFound, match="book 999999999 does not exist"):
        ledger.post(999_999_999, GOOD)
    with pytest.raises(psycopg.errors.NoDataFound):
        ledger.run(statements.open_accounts(999_999_999, [(1, Unit.MONEY, 1, NONE)]))


def test_accounts_of_another_book_are_not_found(ledger: Ledger) -> None:
    here, there = ledger.new_book(NONE), ledger.new_book(NONE, NONE)
    answer = ledger.post(here, GOOD._replace(id=tid(here, "foreign")))[0]
    assert answer.outcome is Outcome.CREDIT_ACCOUNT_NOT_FOUND
    assert ledger.account(there, 2).credits_posted == 0


@pytest.mark.parametrize(
    "row",
    [
        (2**63, Unit.MONEY, 1, NONE),
        ("1", Unit.MONEY, 1, NONE),
        (1, Unit.MONEY, 2**15, NONE),
        (1, None, 1, NONE),
        (1, Unit.MONEY, 1, 1),
        (1, Unit.MONEY, 1, 64),
        (1, Unit.MONEY, 1, -1),
        (1, Unit.MONEY, 1, AccountFlags.CLOSED),
    ],
)
def test_an_account_that_cannot_be(row: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidBatch):
        statements.open_accounts(1, [row])


@pytest.mark.parametrize(
    "row", [(1, 5, 1, NONE), (1, 0, 1, NONE), (1, 1, 0, NONE), (-1, 1, 1, NONE)]
)
def test_an_account_that_the_tables_refuse(ledger: Ledger, row: tuple[Any, ...]) -> None:
    book = ledger.new_book()
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.run(statements.open_accounts(book, [row]))
    assert ledger.run(statements.read_accounts(book, [1])) == {}


def test_a_negative_amount_by_hand_changes_nothing(ledger: Ledger) -> None:
    """The codec never sends one; somebody in psql might."""
    book = ledger.new_book(NONE, NO_OVERDRAFT)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        ledger.connection.execute(
            "select ledger.post(%s, array[%s::uuid], '{1}', '{2}', '{-5}', '{1}', '{}', '{}', '{}',"
            " '{}', '{}', '{}')",
            (book, tid(book, "negative").hex()),
        )
    assert ledger.log(book) == []
    assert ledger.account(book, 2).credits_posted == 0


@pytest.mark.parametrize("limit", [0, -1, statements.LOG_LIMIT_MAX + 1])
def test_a_log_step_that_is_unbounded(limit: int) -> None:
    with pytest.raises(InvalidBatch):
        statements.read_log(1, 0, limit)


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        (datetime(2026, 1, 1), "must have a time zone"),  # noqa: DTZ001  # the case
        (datetime(2200, 1, 1, tzinfo=UTC), "between the years 1900 and 2200"),
        (datetime(1899, 12, 31, 23, 59, tzinfo=UTC), "between the years 1900 and 2200"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "1900 and 2200"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), "1900 and 2200"),
    ],
)
def test_a_moment_that_the_ledger_does_not_know(moment: datetime, says: str) -> None:
    with pytest.raises(InvalidBatch, match=f"a moment .*{says}"):
        encode_times([datetime(2026, 1, 1, tzinfo=UTC), moment])


def test_moments_arrive_to_the_microsecond(ledger: Ledger) -> None:
    register_arrays(ledger.connection)
    tokyo = timezone(timedelta(hours=9))
    moments = [
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=tokyo),
        datetime(2199, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    for some in (moments, moments[:1], []):
        rows = ledger.connection.execute("select unnest(%s)", (encode_times(some),)).fetchall()
        assert [row[0] for row in rows] == some


def test_identifiers_need_parts_and_tell_them_apart() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        transfer_id()
    names: list[tuple[str | int, ...]] = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc",),
        (1,),
        ("1",),
        ("", "1"),
        ("1", ""),
        ("i1:1",),
    ]
    assert len({transfer_id(*name) for name in names}) == len(names)
    assert transfer_id("osmp", 7, "123") == transfer_id("osmp", 7, "123")
    assert len(transfer_id("ж" * 1000)) == 16


GOOD_ARRAYS = {
    "ids": ["{a}", "{b}"],
    "debits": [1, 1],
    "credits": [2, 2],
    "amounts": [5, 5],
    "codes": [1, 1],
    "flags": [0, 0],
    "timeouts": [0, 0],
}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ids", [None, "{b}"]),
        ("debits", [None, 1]),
        ("credits", [2, None]),
        ("amounts", [5, None]),
        ("codes", [None, 1]),
        ("debits", [1]),
        ("amounts", [5, 5, 5]),
        ("amounts", []),
        ("codes", None),
        ("flags", [0]),
        ("flags", [None, 0]),
        ("timeouts", [0, -1]),
        ("timeouts", [None, 0]),
    ],
)
def test_arrays_by_hand_that_are_no_batch(
    ledger: Ledger, name: str, values: list[object] | None
) -> None:
    """The codec never sends these; the function is the only door, so it must hold by itself."""
    book = ledger.new_book(NONE, NO_OVERDRAFT)
    arrays: dict[str, Any] = {**GOOD_ARRAYS, name: values}
    own = {"{a}": tid(book, "a").hex(), "{b}": tid(book, "b").hex(), None: None}
    arrays["ids"] = [own[id_] for id_ in arrays["ids"]]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        ledger.connection.execute(
            "select ledger.post(%s, %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[],"
            " %s::smallint[], %s::smallint[], %s::integer[], '{}', '{}', '{}', '{}')",
            (book, *arrays.values()),
        )
    assert ledger.log(book) == []


def test_arrays_that_are_not_numbered_from_one(ledger: Ledger) -> None:
    """A slice by number would take others than those that were looked at."""
    book = ledger.new_book(NONE, NONE)
    ids = ",".join(tid(book, n).hex() for n in range(6))
    bad = [f"'[0:5]={{{ids}}}'", *(f"'[0:5]={{{','.join([n] * 6)}}}'" for n in "1251")]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        ledger.connection.execute(
            f"select ledger.post({book}, {', '.join(bad)}, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"  # noqa: E501
        )
    assert ledger.log(book) == []


@pytest.mark.parametrize("part", [True, 7.0, None, b"x", Decimal(7)])
def test_an_identifier_is_made_of_text_and_whole_numbers(part: Any) -> None:
    with pytest.raises(TypeError):
        transfer_id("osmp", part)


def test_a_time_that_is_none_by_hand(ledger: Ledger) -> None:
    book = ledger.new_book(NONE, NONE)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        ledger.connection.execute(
            "select ledger.post(%s, array[%s::uuid], '{1}', '{2}', '{5}', '{1}', '{}', '{}', '{}',"
            " '{}', '{}', '{}', 'infinity')",
            (book, tid(book).hex()),
        )
