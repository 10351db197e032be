"""Every outcome, reached by a case that could fail; and the order of precedence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from popolni.core.outcome import AccountOutcome, Outcome
from popolni.ledger import statements
from popolni.ledger.model import AMOUNT_MAX, Transfer, Unit
from tests.ledger.support import NO_OVERDRAFT, NO_OVERPAY, NONE, Ledger, tid

LINKED, PENDING, POST, VOID = 1, 2, 4, 8
AT = datetime(2026, 1, 1, tzinfo=UTC)
ONES = b"\xff" * 16

BASE = Transfer(id=tid("base"), debit_account=1, credit_account=2, amount=10, code=1)
HELD = BASE._replace(id=tid("held"), flags=PENDING)
SHORT = BASE._replace(id=tid("short"), flags=PENDING, timeout_s=5)
PLAIN = BASE._replace(id=tid("plain"))
DONE = BASE._replace(id=tid("done"), flags=PENDING)
POSTS_DONE = Transfer(tid("posts done"), 0, 0, 0, 0, flags=POST, pending_id=DONE.id)
GONE = BASE._replace(id=tid("gone"), flags=PENDING)
VOIDS_GONE = Transfer(tid("voids gone"), 0, 0, 0, 0, flags=VOID, pending_id=GONE.id)
POSTS = Transfer(tid("posts"), 0, 0, 0, 0, flags=POST, pending_id=HELD.id)
VOIDS = POSTS._replace(id=tid("voids"), flags=VOID)
FULL = AMOUNT_MAX - 100

# Before each case, accounts 1 and 2 are free, 3 may not be overdrawn, 4 may not be overpaid, 5 is
# closed, 6 counts bytes, 7 and 8 are almost full of posted, 9 and 10 of pending sums.
SETUP = [
    PLAIN,
    HELD,
    SHORT,
    DONE,
    POSTS_DONE,
    GONE,
    VOIDS_GONE,
    BASE._replace(id=tid("funds"), credit_account=3, amount=100),
    BASE._replace(id=tid("cash"), debit_account=4, amount=100),
    BASE._replace(id=tid("full"), debit_account=7, credit_account=8, amount=FULL),
    BASE._replace(id=tid("held full"), debit_account=9, credit_account=10, amount=FULL, flags=2),
    BASE._replace(id=tid("to be stuck"), debit_account=11, credit_account=2, flags=PENDING),
    BASE._replace(id=tid("to be stuck 2"), debit_account=2, credit_account=11, flags=PENDING),
]


@dataclass(frozen=True)
class Case:
    outcome: Outcome
    batch: list[Transfer]
    seconds: int = 0

    def __str__(self) -> str:
        return str(self.outcome)


def case(outcome: Outcome, transfer: Transfer, *, seconds: int = 0, **fields: object) -> Case:
    return Case(outcome, [transfer._replace(**fields)], seconds)  # type: ignore[arg-type]  # cases


def posts(held: str, **fields: object) -> Transfer:
    return POSTS._replace(pending_id=tid(held), **fields)  # type: ignore[arg-type]  # cases


O = Outcome  # noqa: E741  # a table
CASES = [
    case(O.CREATED, BASE),
    Case(O.LINKED_EVENT_FAILED, [BASE._replace(flags=LINKED), BASE._replace(id=tid(2), amount=0)]),
    case(O.LINKED_EVENT_CHAIN_OPEN, BASE, flags=LINKED),
    case(O.RESERVED_FLAG, BASE, flags=16),
    case(O.ID_MUST_NOT_BE_ZERO, BASE, id=bytes(16)),
    case(O.ID_MUST_NOT_BE_INT_MAX, BASE, id=ONES),
    case(O.EXISTS_WITH_DIFFERENT_FLAGS, PLAIN, flags=PENDING),
    case(O.EXISTS_WITH_DIFFERENT_PENDING_ID, POSTS_DONE, pending_id=HELD.id),
    case(O.EXISTS_WITH_DIFFERENT_TIMEOUT, SHORT, timeout_s=6),
    case(O.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID, PLAIN, debit_account=3),
    case(O.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID, PLAIN, credit_account=3),
    case(O.EXISTS_WITH_DIFFERENT_AMOUNT, PLAIN, amount=11),
    case(O.EXISTS_WITH_DIFFERENT_AMOUNT, POSTS_DONE, amount=9),
    case(O.EXISTS_WITH_DIFFERENT_REFERENCE, PLAIN, reference=""),
    case(O.EXISTS_WITH_DIFFERENT_REFERENCE_AT, PLAIN, reference_at=AT),
    case(O.EXISTS_WITH_DIFFERENT_REFERENCE_ID, PLAIN, reference_id=0),
    case(O.EXISTS_WITH_DIFFERENT_CODE, PLAIN, code=2),
    case(O.EXISTS, PLAIN),
    case(O.EXISTS, POSTS_DONE),
    case(O.EXISTS, POSTS_DONE, debit_account=1, credit_account=2, amount=10, code=1),
    case(O.FLAGS_ARE_MUTUALLY_EXCLUSIVE, POSTS, flags=POST | VOID),
    case(O.FLAGS_ARE_MUTUALLY_EXCLUSIVE, POSTS, flags=POST | PENDING),
    case(O.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, BASE, debit_account=0),
    case(O.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, BASE, credit_account=0),
    case(O.ACCOUNTS_MUST_BE_DIFFERENT, BASE, credit_account=1),
    case(O.PENDING_ID_MUST_BE_ZERO, BASE, pending_id=HELD.id),
    case(O.PENDING_ID_MUST_NOT_BE_ZERO, POSTS, pending_id=None),
    case(O.PENDING_ID_MUST_NOT_BE_INT_MAX, POSTS, pending_id=ONES),
    case(O.PENDING_ID_MUST_BE_DIFFERENT, POSTS, pending_id=POSTS.id),
    case(O.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER, BASE, timeout_s=1),
    case(O.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER, POSTS, timeout_s=1),
    case(O.AMOUNT_MUST_NOT_BE_ZERO, BASE, amount=0),
    case(O.CODE_MUST_NOT_BE_ZERO, BASE, code=0),
    case(O.DEBIT_ACCOUNT_NOT_FOUND, BASE, debit_account=99),
    case(O.CREDIT_ACCOUNT_NOT_FOUND, BASE, credit_account=99),
    case(O.CREDIT_ACCOUNT_NOT_FOUND, BASE, credit_account=-1),
    case(O.ACCOUNTS_MUST_HAVE_THE_SAME_UNIT, BASE, credit_account=6),
    case(O.PENDING_TRANSFER_NOT_FOUND, POSTS, pending_id=tid("never seen")),
    case(O.PENDING_TRANSFER_NOT_PENDING, POSTS, pending_id=PLAIN.id),
    case(O.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID, POSTS, debit_account=3),
    case(O.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID, POSTS, credit_account=3),
    case(O.PENDING_TRANSFER_HAS_DIFFERENT_CODE, POSTS, code=2),
    case(O.EXCEEDS_PENDING_TRANSFER_AMOUNT, POSTS, amount=11),
    case(O.EXCEEDS_PENDING_TRANSFER_AMOUNT, VOIDS, amount=11),
    case(O.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT, VOIDS, amount=9),
    case(O.PENDING_TRANSFER_ALREADY_POSTED, posts("done")),
    case(O.PENDING_TRANSFER_ALREADY_VOIDED, posts("gone")),
    case(O.PENDING_TRANSFER_EXPIRED, posts("short"), seconds=5),
    case(O.CREATED, posts("short"), seconds=4),
    case(O.DEBIT_ACCOUNT_ALREADY_CLOSED, BASE, debit_account=5),
    case(O.DEBIT_ACCOUNT_ALREADY_CLOSED, posts("to be stuck")),
    case(O.CREDIT_ACCOUNT_ALREADY_CLOSED, BASE, credit_account=5),
    case(O.CREDIT_ACCOUNT_ALREADY_CLOSED, posts("to be stuck 2")),
    case(O.CREATED, posts("to be stuck", flags=VOID)),
    case(O.OVERFLOWS_DEBITS_PENDING, BASE, debit_account=9, amount=101, flags=PENDING),
    case(O.OVERFLOWS_CREDITS_PENDING, BASE, credit_account=10, amount=101, flags=PENDING),
    case(O.OVERFLOWS_DEBITS_POSTED, BASE, debit_account=7, amount=101),
    case(O.OVERFLOWS_CREDITS_POSTED, BASE, credit_account=8, amount=101),
    case(O.OVERFLOWS_DEBITS, BASE, debit_account=9, amount=101),
    case(O.OVERFLOWS_CREDITS, BASE, credit_account=10, amount=101),
    case(O.CREATED, BASE, debit_account=7, credit_account=8, amount=100),
    case(O.EXCEEDS_CREDITS, BASE, debit_account=3, amount=101),
    case(O.CREATED, BASE, debit_account=3, amount=100),
    case(O.EXCEEDS_DEBITS, BASE, credit_account=4, amount=101),
    case(O.CREATED, BASE, credit_account=4, amount=100),
]


@pytest.fixture
def prepared(ledger: Ledger) -> tuple[int, Callable[[Transfer], Transfer]]:
    """A book as the table wants it, and what makes a case's ids this book's own."""
    flags = [NONE, NONE, NO_OVERDRAFT, NO_OVERPAY, NONE]
    book = ledger.new_book(*flags)
    extra = [(6, Unit.BYTE, 1, NONE), *((n, Unit.MONEY, 1, NONE) for n in (7, 8, 9, 10, 11))]
    ledger.run(statements.open_accounts(book, extra))

    def own(transfer: Transfer) -> Transfer:
        def salted(id_: bytes | None) -> bytes | None:
            return id_ if id_ in (None, bytes(16), ONES) else tid(book, id_.hex())

        return transfer._replace(
            id=salted(transfer.id) or b"", pending_id=salted(transfer.pending_id)
        )

    answers = ledger.post(book, *map(own, SETUP), at=AT)
    assert {answer.outcome for answer in answers} == {Outcome.CREATED}
    ledger.run(statements.close_accounts(book, [5, 11]))
    return book, own


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outcome(
    case: Case, ledger: Ledger, prepared: tuple[int, Callable[[Transfer], Transfer]]
) -> None:
    book, own = prepared
    before = ledger.log(book)
    batch = [own(transfer) for transfer in case.batch]
    answer = ledger.post(book, *batch, at=AT + timedelta(seconds=case.seconds))[0]
    assert answer.outcome is case.outcome
    assert bool(answer.seq) is answer.outcome.done
    if answer.outcome is not Outcome.CREATED:
        after = [entry for entry in ledger.log(book) if entry.code != 0]  # code 0: a time-out
        assert after == before


def test_an_identifier_names_one_transfer_in_all_books(ledger: Ledger) -> None:
    here, there = ledger.new_book(NONE, NONE), ledger.new_book(NONE, NONE)
    transfer = BASE._replace(id=tid(here))
    assert ledger.post(here, transfer)[0].outcome is Outcome.CREATED
    assert ledger.post(there, transfer)[0].outcome is Outcome.EXISTS_WITH_DIFFERENT_BOOK
    assert ledger.log(there) == []


def test_the_table_reaches_every_outcome() -> None:
    reached = {case.outcome for case in CASES} | {Outcome.EXISTS_WITH_DIFFERENT_BOOK}
    assert reached == set(Outcome)


def test_a_repeat_gets_the_first_answer_although_the_account_is_closed_now(
    ledger: Ledger, prepared: tuple[int, Callable[[Transfer], Transfer]]
) -> None:
    book, own = prepared
    first = ledger.post(book, own(BASE))[0]
    ledger.run(statements.close_accounts(book, [1, 2]))
    assert ledger.post(book, own(BASE))[0] == first._replace(outcome=Outcome.EXISTS)


def test_a_refused_identifier_is_not_burned(
    ledger: Ledger, prepared: tuple[int, Callable[[Transfer], Transfer]]
) -> None:
    book, own = prepared
    large = own(BASE)._replace(debit_account=3, amount=150)
    funds = large._replace(id=tid(book, "more"), debit_account=1, credit_account=3)
    assert ledger.post(book, large)[0].outcome is Outcome.EXCEEDS_CREDITS
    outcomes = [answer.outcome for answer in ledger.post(book, large, funds, large)]
    assert outcomes == [Outcome.EXCEEDS_CREDITS, Outcome.CREATED, Outcome.CREATED]


def test_a_chain_without_time_outs_is_not_one_with(ledger: Ledger) -> None:
    """An array that is left out means 0 on both paths."""
    book = ledger.new_book(NONE, NONE)
    chain = [BASE._replace(id=tid(book, n), flags=PENDING | (LINKED if n else 0)) for n in (1, 0)]
    ledger.post(book, chain[0]._replace(timeout_s=5), chain[1])
    outcomes = [answer.outcome for answer in ledger.post(book, *chain)]
    assert outcomes == [Outcome.EXISTS_WITH_DIFFERENT_TIMEOUT, Outcome.LINKED_EVENT_FAILED]


def test_account_outcomes(ledger: Ledger) -> None:
    book = ledger.new_book(NONE)
    rows = [
        (2, Unit.MONEY, 1, NONE),
        (2, Unit.MONEY, 1, NONE),
        (1, Unit.BYTE, 1, NONE),
        (1, Unit.MONEY, 2, NONE),
        (1, Unit.MONEY, 1, NO_OVERDRAFT),
        (0, Unit.MONEY, 1, NONE),
        (3, Unit.MONEY, 1, NO_OVERDRAFT | NO_OVERPAY),
    ]
    A = AccountOutcome  # noqa: N806  # a table
    expected = [
        A.CREATED,
        A.EXISTS,
        A.EXISTS_WITH_DIFFERENT_UNIT,
        A.EXISTS_WITH_DIFFERENT_KIND,
        A.EXISTS_WITH_DIFFERENT_FLAGS,
        A.ID_MUST_NOT_BE_ZERO,
        A.FLAGS_ARE_MUTUALLY_EXCLUSIVE,
    ]
    assert ledger.run(statements.open_accounts(book, rows)) == expected
    assert set(expected) == set(A)
    ledger.run(statements.close_accounts(book, [1]))
    assert ledger.run(statements.open_accounts(book, [(1, Unit.MONEY, 1, NONE)])) == [A.EXISTS]


@pytest.mark.parametrize(
    ("name", "outcomes"), [("outcome", Outcome), ("account_outcome", AccountOutcome)]
)
def test_the_database_has_the_same_list_in_the_same_order(
    session_connection: psycopg.Connection, name: str, outcomes: type[Outcome]
) -> None:
    rows = session_connection.execute(
        "select enumlabel from pg_enum where enumtypid = %s::regtype order by enumsortorder",
        (f"ledger.{name}",),
    )
    assert [label for (label,) in rows] == [str(outcome) for outcome in outcomes]
