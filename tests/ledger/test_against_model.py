"""The database and the model get the same random batches and must agree on every outcome, every
total and every line of the log.

`--hypothesis-seed N` repeats a run; `./popolni test tests/ledger/test_against_model.py
--hypothesis-profile=long` runs a hundred thousand examples.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.model import AMOUNT_MAX, AccountFlags, Transfer, TransferFlags, Unit
from tests.ledger.model import INT_MAX, ZERO, Model, ModelBook
from tests.ledger.support import NO_OVERDRAFT, NO_OVERPAY, NONE, Ledger

BOOKS = 2
START = datetime(2026, 1, 1, tzinfo=UTC)
_examples = count(1)

# What each account of a book is: two free ones, two with a limit each, one of another unit.
ACCOUNTS = [
    (1, Unit.MONEY, 1, NONE),
    (2, Unit.MONEY, 1, NONE),
    (3, Unit.MONEY, 1, NO_OVERDRAFT),
    (4, Unit.MONEY, 1, NO_OVERDRAFT),
    (5, Unit.MONEY, 1, NO_OVERPAY),
    (6, Unit.BYTE, 2, NONE),
    (7, Unit.BYTE, 2, NO_OVERDRAFT),
]

F = TransferFlags
FLAGS = [
    *[F.NONE] * 10,
    *[F.LINKED] * 3,
    *[F.PENDING] * 4,
    *[F.POST_PENDING] * 3,
    *[F.VOID_PENDING] * 2,
    F.LINKED | F.PENDING,
    F.LINKED | F.POST_PENDING,
    F.LINKED | F.VOID_PENDING,
    F.POST_PENDING | F.VOID_PENDING,
    F.PENDING | F.POST_PENDING,
    16,
]
IDS = [*range(14)]
account_ids = st.sampled_from([1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 99, 0])
amounts = st.sampled_from([1, 2, 3, 5, 8, 10, 20, 50, 0, AMOUNT_MAX, AMOUNT_MAX - 5])


@st.composite
def plans(draw: st.DrawFn) -> tuple[Any, ...]:
    """A transfer but for its ids, which are numbers here and differ in each example."""
    flags = draw(st.sampled_from(FLAGS))
    resolves = bool(flags & 12)
    rarely = st.sampled_from([False] * 11 + [True])
    return (
        draw(st.sampled_from([*IDS, *IDS, -1, -2])),
        0 if resolves and draw(st.booleans()) else draw(account_ids),
        0 if resolves and draw(st.booleans()) else draw(account_ids),
        0 if resolves and draw(st.booleans()) else draw(amounts),
        0 if resolves and draw(st.booleans()) else draw(st.sampled_from([1, 1, 1, 1, 2, 0])),
        flags,
        draw(st.sampled_from([0, 1, 5])) if flags & 2 or draw(rarely) else 0,
        draw(st.sampled_from([*IDS, -2])) if resolves or draw(rarely) else None,
        draw(st.sampled_from(["a", ""])) if draw(rarely) else None,
        START if draw(rarely) else None,
        draw(st.sampled_from([0, 7])) if draw(rarely) else None,
    )


class Machine(RuleBasedStateMachine):
    ledger: ClassVar[Ledger]

    @initialize()
    def begin(self) -> None:
        self.example = next(_examples)
        self.model = Model()
        self.at = START
        self.books = [self.ledger.new_book() for _ in range(BOOKS)]
        self.batches: list[tuple[int, list[Transfer]]] = []
        for book in self.books:
            self.model.books[book] = ModelBook()
            expected = [self.model.open_account(book, *row) for row in ACCOUNTS]
            assert self.ledger.run(statements.open_accounts(book, ACCOUNTS)) == expected

    @rule(
        which=st.integers(0, BOOKS - 1),
        plan=st.lists(plans(), min_size=1, max_size=12),
        seconds=st.sampled_from([0, 0, 1, 2, 6, -3]),
    )
    def post(self, which: int, plan: list[tuple[Any, ...]], seconds: int) -> None:
        batch = [self._transfer(row) for row in plan]
        self._post(self.books[which], batch, seconds)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """An earlier batch, a part of it, or another order of it; sometimes to another book."""
        if not self.batches:
            return
        book, batch = data.draw(st.sampled_from(self.batches))
        if data.draw(st.booleans()):
            start = data.draw(st.integers(0, len(batch) - 1))
            batch = batch[start:]
        if data.draw(st.integers(0, 5)) == 0:
            batch = data.draw(st.permutations(batch))
        if data.draw(st.integers(0, 3)) == 0:
            default: dict[str, Any]
            default = data.draw(st.sampled_from([{"timeout_s": 0}, {"flags": 0}, {"code": 1}]))
            batch = [transfer._replace(**default) for transfer in batch]
        if data.draw(st.integers(0, 5)) == 0:
            book = data.draw(st.sampled_from(self.books))
        self._post(book, list(batch), 0)

    @rule(
        which=st.integers(0, BOOKS - 1),
        sums=st.lists(st.tuples(st.sampled_from([3, 4, 7]), st.integers(1, 100)), max_size=40),
        spends=st.lists(st.tuples(st.sampled_from([3, 4]), st.integers(1, 30)), max_size=5),
    )
    def top_up(
        self, which: int, sums: list[tuple[int, int]], spends: list[tuple[int, int]]
    ) -> None:
        """The usual case: new plain transfers, most of which meet no obstacle."""
        rows = [(6 if to == 7 else 1, to, amount) for to, amount in sums]
        rows += [(account, 2, amount) for account, amount in spends]
        number = len(self.batches)
        batch = [
            Transfer(transfer_id(self.example, "plain", number, i), debit, credit, amount, 1)
            for i, (debit, credit, amount) in enumerate(rows)
        ]
        self._post(self.books[which], batch, 0)

    @rule(which=st.integers(0, BOOKS - 1), account=st.sampled_from([1, 3, 4]))
    def close_account(self, which: int, account: int) -> None:
        book = self.books[which]
        assert self.ledger.run(statements.close_accounts(book, [account])) == 1
        self.model.books[book].accounts[account].flags |= AccountFlags.CLOSED

    @rule(which=st.integers(0, BOOKS - 1))
    def reopen_accounts(self, which: int) -> None:
        book = self.books[which]
        assert self.ledger.run(statements.reopen_accounts(book, [1, 3, 4, 99])) == 3
        for account in (1, 3, 4):
            self.model.books[book].accounts[account].flags &= ~AccountFlags.CLOSED

    def _transfer(self, row: tuple[Any, ...]) -> Transfer:
        number, *fields, pending, reference, reference_at, reference_id = row
        rest = (self._id(pending), reference, reference_at, reference_id)
        return Transfer._make((self._id(number), *fields, *rest))

    def _id(self, number: int | None) -> bytes | None:
        if number is None or number < 0:
            return {None: None, -1: ZERO, -2: INT_MAX}[number]
        return transfer_id(self.example, number)

    def _post(self, book: int, batch: list[Transfer], seconds: int) -> None:
        self.at += timedelta(seconds=seconds)
        if batch:
            self.batches.append((book, batch))
        expected = self.model.post(book, batch, self.at)
        assert self.ledger.post(book, *batch, at=self.at) == expected
        for answer in expected:
            event(answer.outcome)

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        for book in self.books:
            state = self.model.books[book]
            accounts = self.ledger.run(statements.read_accounts(book, [row[0] for row in ACCOUNTS]))
            assert {id_: row[2:] for id_, row in accounts.items()} == {
                id_: tuple(vars(account).values()) for id_, account in state.accounts.items()
            }
            assert self.ledger.log(book) == [entry.as_logged() for entry in state.log]


@pytest.mark.timeout(0)
def test_database_and_model_agree(session_connection: psycopg.Connection) -> None:
    Machine.ledger = Ledger(session_connection)
    run_state_machine_as_test(Machine)
