"""The ledger in plain Python, written from the design and not from the SQL: one transfer after
another, a dictionary for each table. The tests drive it and the database with the same batches
and compare all they answer and hold.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from popolni.core.outcome import AccountOutcome, Outcome
from popolni.ledger.model import (
    AMOUNT_MAX,
    AccountFlags,
    LogEntry,
    Posted,
    Transfer,
    TransferFlags,
    Unit,
)

ZERO, INT_MAX = bytes(16), b"\xff" * 16
EXPIRY_BOUND = 1_000


@dataclass
class ModelAccount:
    unit: Unit
    kind: int
    flags: AccountFlags
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0


@dataclass(frozen=True)
class Entry:
    book: int
    seq: int
    at: datetime
    transfer: Transfer

    @property
    def expires_at(self) -> datetime | None:
        seconds = self.transfer.timeout_s
        return self.at + timedelta(seconds=seconds) if seconds else None

    def as_logged(self) -> LogEntry:
        t = self.transfer
        rest = (t.reference, t.reference_at, t.reference_id)
        movement = (t.id, t.debit_account, t.credit_account, t.amount)
        return LogEntry(
            self.seq, *movement, self.at, t.code, t.flags, t.pending_id, self.expires_at, *rest
        )


@dataclass
class ModelBook:
    accounts: dict[int, ModelAccount] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    at: datetime | None = None


class Refused(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def require(condition: bool, outcome: Outcome) -> None:  # noqa: FBT001  # reads as a rule
    if not condition:
        raise Refused(outcome)


class Model:
    """All books. `entries` holds every transfer by id, in all books; `resolved` what became of
    pending ones."""

    def __init__(self) -> None:
        self.books: dict[int, ModelBook] = {}
        self.entries: dict[bytes, Entry] = {}
        self.resolved: dict[bytes, Outcome] = {}

    def open_account(
        self, book: int, account: int, unit: Unit, kind: int, flags: AccountFlags
    ) -> AccountOutcome:
        if account == 0:
            return AccountOutcome.ID_MUST_NOT_BE_ZERO
        if flags & 6 == 6:
            return AccountOutcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        existing = self.books[book].accounts.get(account)
        if existing is None:
            self.books[book].accounts[account] = ModelAccount(unit, kind, flags)
            return AccountOutcome.CREATED
        if existing.unit != unit:
            return AccountOutcome.EXISTS_WITH_DIFFERENT_UNIT
        if existing.kind != kind:
            return AccountOutcome.EXISTS_WITH_DIFFERENT_KIND
        if existing.flags & ~AccountFlags.CLOSED != flags:
            return AccountOutcome.EXISTS_WITH_DIFFERENT_FLAGS
        return AccountOutcome.EXISTS

    def post(self, book: int, batch: list[Transfer], at: datetime) -> list[Posted]:
        """The answers, in order; the state afterwards is what the database must hold."""
        state = self.books[book]
        at = max(at, state.at or at)
        before = len(state.log)
        self._release_expired(book, at)
        answers: list[Posted] = []
        while len(answers) < len(batch):
            start = end = len(answers)
            while batch[end].flags & TransferFlags.LINKED and end + 1 < len(batch):
                end += 1
            answers += self._post_chain(book, batch[start : end + 1], at)
        state = self.books[book]  # a chain that failed put an earlier one back
        if len(state.log) > before:
            state.at = at
        return answers

    def _post_chain(self, book: int, chain: list[Transfer], at: datetime) -> list[Posted]:
        """One transfer, or several that are linked."""
        is_open = bool(chain[-1].flags & TransferFlags.LINKED)
        if len(chain) == 1 and not is_open:
            return [self._post_one(book, chain[0], at)]
        saved = copy.deepcopy((self.books[book], self.entries, self.resolved))
        answers = [
            self._post_one(book, transfer, at) for transfer in chain[: -1 if is_open else None]
        ]
        outcomes = [answer.outcome for answer in answers]
        if not is_open and set(outcomes) in ({Outcome.CREATED}, {Outcome.EXISTS}):
            return answers
        self.books[book], self.entries, self.resolved = saved
        if is_open:
            outcomes.append(Outcome.LINKED_EVENT_CHAIN_OPEN)
        failed = next(i for i, outcome in enumerate(outcomes) if outcome is not Outcome.CREATED)
        result = [Posted(Outcome.LINKED_EVENT_FAILED, 0) for _ in chain]
        if is_open:
            result[-1] = Posted(Outcome.LINKED_EVENT_CHAIN_OPEN, 0)
        if outcomes[failed] is not Outcome.EXISTS:
            result[failed] = Posted(outcomes[failed], 0)
        elif chain[failed].id in self.entries:  # not only in the chain that is undone
            result[failed] = Posted(Outcome.EXISTS, self.entries[chain[failed].id].seq)
        return result

    def _post_one(self, book: int, transfer: Transfer, at: datetime) -> Posted:
        try:
            return Posted(Outcome.CREATED, self._create(book, transfer, at))
        except Refused as refused:
            exists = refused.outcome is Outcome.EXISTS
            return Posted(refused.outcome, self.entries[transfer.id].seq if exists else 0)

    def _create(self, book: int, t: Transfer, at: datetime) -> int:
        require(t.flags <= 15, Outcome.RESERVED_FLAG)
        require(t.id != ZERO, Outcome.ID_MUST_NOT_BE_ZERO)
        require(t.id != INT_MAX, Outcome.ID_MUST_NOT_BE_INT_MAX)
        if t.id in self.entries:
            self._compare(book, t)
        if t.flags & (TransferFlags.POST_PENDING | TransferFlags.VOID_PENDING):
            return self._resolve(book, t, at)
        require(t.debit_account != 0, Outcome.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO)
        require(t.credit_account != 0, Outcome.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO)
        require(t.debit_account != t.credit_account, Outcome.ACCOUNTS_MUST_BE_DIFFERENT)
        require(t.pending_id is None, Outcome.PENDING_ID_MUST_BE_ZERO)
        pending = bool(t.flags & TransferFlags.PENDING)
        require(pending or t.timeout_s == 0, Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER)
        require(t.amount != 0, Outcome.AMOUNT_MUST_NOT_BE_ZERO)
        require(t.code != 0, Outcome.CODE_MUST_NOT_BE_ZERO)
        accounts = self.books[book].accounts
        require(t.debit_account in accounts, Outcome.DEBIT_ACCOUNT_NOT_FOUND)
        require(t.credit_account in accounts, Outcome.CREDIT_ACCOUNT_NOT_FOUND)
        debit, credit = accounts[t.debit_account], accounts[t.credit_account]
        require(debit.unit == credit.unit, Outcome.ACCOUNTS_MUST_HAVE_THE_SAME_UNIT)
        closed = AccountFlags.CLOSED
        require(not debit.flags & closed, Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED)
        require(not credit.flags & closed, Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED)
        debits, credits_ = debit.debits_posted, credit.credits_posted
        held_debits, held_credits = debit.debits_pending, credit.credits_pending
        for total, outcome in (
            (held_debits if pending else 0, Outcome.OVERFLOWS_DEBITS_PENDING),
            (held_credits if pending else 0, Outcome.OVERFLOWS_CREDITS_PENDING),
            (debits, Outcome.OVERFLOWS_DEBITS_POSTED),
            (credits_, Outcome.OVERFLOWS_CREDITS_POSTED),
            (debits + held_debits, Outcome.OVERFLOWS_DEBITS),
            (credits_ + held_credits, Outcome.OVERFLOWS_CREDITS),
        ):
            require(total + t.amount <= AMOUNT_MAX, outcome)
        if debit.flags & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS:
            enough = debits + held_debits + t.amount <= debit.credits_posted
            require(enough, Outcome.EXCEEDS_CREDITS)
        if credit.flags & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS:
            enough = credits_ + held_credits + t.amount <= credit.debits_posted
            require(enough, Outcome.EXCEEDS_DEBITS)
        if pending:
            debit.debits_pending += t.amount
            credit.credits_pending += t.amount
        else:
            debit.debits_posted += t.amount
            credit.credits_posted += t.amount
        return self._append(book, t, at)

    def _resolve(self, book: int, t: Transfer, at: datetime) -> int:
        both = TransferFlags.POST_PENDING | TransferFlags.VOID_PENDING
        exclusive = t.flags & both != both and not t.flags & TransferFlags.PENDING
        require(exclusive, Outcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE)
        require(t.pending_id is not None, Outcome.PENDING_ID_MUST_NOT_BE_ZERO)
        assert t.pending_id is not None
        require(t.pending_id != INT_MAX, Outcome.PENDING_ID_MUST_NOT_BE_INT_MAX)
        require(t.pending_id != t.id, Outcome.PENDING_ID_MUST_BE_DIFFERENT)
        require(t.timeout_s == 0, Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER)
        entry = self.entries.get(t.pending_id)
        require(entry is not None and entry.book == book, Outcome.PENDING_TRANSFER_NOT_FOUND)
        assert entry is not None
        p = entry.transfer
        require(bool(p.flags & TransferFlags.PENDING), Outcome.PENDING_TRANSFER_NOT_PENDING)
        for given, was, outcome in (
            (
                t.debit_account,
                p.debit_account,
                Outcome.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID,
            ),
            (
                t.credit_account,
                p.credit_account,
                Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID,
            ),
            (t.code, p.code, Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CODE),
        ):
            require(given in (0, was), outcome)
        require(t.amount <= p.amount, Outcome.EXCEEDS_PENDING_TRANSFER_AMOUNT)
        posts = bool(t.flags & TransferFlags.POST_PENDING)
        require(posts or t.amount in (0, p.amount), Outcome.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT)
        if t.pending_id in self.resolved:
            raise Refused(self.resolved[t.pending_id])
        expired = entry.expires_at is not None and entry.expires_at <= at
        require(not expired, Outcome.PENDING_TRANSFER_EXPIRED)
        debit = self.books[book].accounts[p.debit_account]
        credit = self.books[book].accounts[p.credit_account]
        if posts:
            closed = AccountFlags.CLOSED
            require(not debit.flags & closed, Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED)
            require(not credit.flags & closed, Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED)
        whole = self._inherit(t, p)
        debit.debits_pending -= p.amount
        credit.credits_pending -= p.amount
        if posts:
            debit.debits_posted += whole.amount
            credit.credits_posted += whole.amount
        self.resolved[t.pending_id] = (
            Outcome.PENDING_TRANSFER_ALREADY_POSTED
            if posts
            else Outcome.PENDING_TRANSFER_ALREADY_VOIDED
        )
        return self._append(book, whole, at)

    @staticmethod
    def _inherit(t: Transfer, p: Transfer) -> Transfer:
        """What a transfer that posts or voids leaves out, it takes from the pending one."""
        return t._replace(
            debit_account=t.debit_account or p.debit_account,
            credit_account=t.credit_account or p.credit_account,
            amount=t.amount or p.amount,
            code=t.code or p.code,
            reference=p.reference if t.reference is None else t.reference,
            reference_at=p.reference_at if t.reference_at is None else t.reference_at,
            reference_id=p.reference_id if t.reference_id is None else t.reference_id,
        )

    def _compare(self, book: int, t: Transfer) -> None:
        entry = self.entries[t.id]
        e = entry.transfer
        require(entry.book == book, Outcome.EXISTS_WITH_DIFFERENT_BOOK)
        require(e.flags == t.flags, Outcome.EXISTS_WITH_DIFFERENT_FLAGS)
        require(e.pending_id == t.pending_id, Outcome.EXISTS_WITH_DIFFERENT_PENDING_ID)
        require(e.timeout_s == t.timeout_s, Outcome.EXISTS_WITH_DIFFERENT_TIMEOUT)
        if t.flags & (TransferFlags.POST_PENDING | TransferFlags.VOID_PENDING):
            assert t.pending_id is not None
            t = self._inherit(t, self.entries[t.pending_id].transfer)
        for given, was, outcome in (
            (t.debit_account, e.debit_account, Outcome.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID),
            (t.credit_account, e.credit_account, Outcome.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID),
            (t.amount, e.amount, Outcome.EXISTS_WITH_DIFFERENT_AMOUNT),
            (t.reference, e.reference, Outcome.EXISTS_WITH_DIFFERENT_REFERENCE),
            (t.reference_at, e.reference_at, Outcome.EXISTS_WITH_DIFFERENT_REFERENCE_AT),
            (t.reference_id, e.reference_id, Outcome.EXISTS_WITH_DIFFERENT_REFERENCE_ID),
            (t.code, e.code, Outcome.EXISTS_WITH_DIFFERENT_CODE),
        ):
            require(given == was, outcome)
        raise Refused(Outcome.EXISTS)

    def _append(self, book: int, t: Transfer, at: datetime) -> int:
        log = self.books[book].log
        entry = Entry(book, len(log) + 1, at, t)
        log.append(entry)
        self.entries[t.id] = entry
        return entry.seq

    def _release_expired(self, book: int, at: datetime) -> None:
        """Oldest first; the histories of the tests stay below the bound of one call."""
        due = [
            entry
            for entry in self.books[book].log
            if entry.expires_at is not None
            and entry.expires_at <= at
            and entry.transfer.id not in self.resolved
        ]
        assert len(due) < EXPIRY_BOUND
        for entry in sorted(due, key=lambda entry: (entry.expires_at, entry.seq)):
            p = entry.transfer
            accounts = self.books[book].accounts
            accounts[p.debit_account].debits_pending -= p.amount
            accounts[p.credit_account].credits_pending -= p.amount
            self.resolved[p.id] = Outcome.PENDING_TRANSFER_EXPIRED
            release = release_of(p, sha256(p.id).digest()[:16])
            self._append(book, release, at)


def release_of(p: Transfer, release_id: bytes) -> Transfer:
    return p._replace(
        id=release_id, code=0, flags=TransferFlags.VOID_PENDING, timeout_s=0, pending_id=p.id
    )
