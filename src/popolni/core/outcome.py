"""What the ledger can answer: one closed list, in the order of precedence.

Of several outcomes that apply to a transfer, the first in this list is the answer. The names
and meanings are TigerBeetle's; where it says ledger, we say unit (of an account) or book.
The database type `ledger.outcome` holds the same list.
"""

from enum import StrEnum, auto


class Outcome(StrEnum):
    """The answer to one transfer of a batch. Anything but `CREATED` changed nothing."""

    CREATED = auto()
    LINKED_EVENT_FAILED = auto()
    LINKED_EVENT_CHAIN_OPEN = auto()
    RESERVED_FLAG = auto()
    ID_MUST_NOT_BE_ZERO = auto()
    ID_MUST_NOT_BE_INT_MAX = auto()
    EXISTS_WITH_DIFFERENT_BOOK = auto()
    EXISTS_WITH_DIFFERENT_FLAGS = auto()
    EXISTS_WITH_DIFFERENT_PENDING_ID = auto()
    EXISTS_WITH_DIFFERENT_TIMEOUT = auto()
    EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID = auto()
    EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID = auto()
    EXISTS_WITH_DIFFERENT_AMOUNT = auto()
    EXISTS_WITH_DIFFERENT_REFERENCE = auto()
    EXISTS_WITH_DIFFERENT_REFERENCE_AT = auto()
    EXISTS_WITH_DIFFERENT_REFERENCE_ID = auto()
    EXISTS_WITH_DIFFERENT_CODE = auto()
    EXISTS = auto()
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = auto()
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = auto()
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = auto()
    ACCOUNTS_MUST_BE_DIFFERENT = auto()
    PENDING_ID_MUST_BE_ZERO = auto()
    PENDING_ID_MUST_NOT_BE_ZERO = auto()
    PENDING_ID_MUST_NOT_BE_INT_MAX = auto()
    PENDING_ID_MUST_BE_DIFFERENT = auto()
    TIMEOUT_RESERVED_FOR_PENDING_TRANSFER = auto()
    AMOUNT_MUST_NOT_BE_ZERO = auto()
    CODE_MUST_NOT_BE_ZERO = auto()
    DEBIT_ACCOUNT_NOT_FOUND = auto()
    CREDIT_ACCOUNT_NOT_FOUND = auto()
    ACCOUNTS_MUST_HAVE_THE_SAME_UNIT = auto()
    PENDING_TRANSFER_NOT_FOUND = auto()
    PENDING_TRANSFER_NOT_PENDING = auto()
    PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID = auto()
    PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID = auto()
    PENDING_TRANSFER_HAS_DIFFERENT_CODE = auto()
    EXCEEDS_PENDING_TRANSFER_AMOUNT = auto()
    PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT = auto()
    PENDING_TRANSFER_ALREADY_POSTED = auto()
    PENDING_TRANSFER_ALREADY_VOIDED = auto()
    PENDING_TRANSFER_EXPIRED = auto()
    DEBIT_ACCOUNT_ALREADY_CLOSED = auto()
    CREDIT_ACCOUNT_ALREADY_CLOSED = auto()
    OVERFLOWS_DEBITS_PENDING = auto()
    OVERFLOWS_CREDITS_PENDING = auto()
    OVERFLOWS_DEBITS_POSTED = auto()
    OVERFLOWS_CREDITS_POSTED = auto()
    OVERFLOWS_DEBITS = auto()
    OVERFLOWS_CREDITS = auto()
    EXCEEDS_CREDITS = auto()
    EXCEEDS_DEBITS = auto()

    @property
    def done(self) -> bool:
        """Whether the transfer is in the log, by this request or an earlier one."""
        return self in (Outcome.CREATED, Outcome.EXISTS)

    @property
    def retryable(self) -> bool:
        """Whether the same transfer, asked for again, may be created later.

        True where the refusal came from the state of the books (a float is empty, an account
        is not open yet or closed now) and not from the transfer itself.
        """
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        Outcome.LINKED_EVENT_FAILED,
        Outcome.DEBIT_ACCOUNT_NOT_FOUND,
        Outcome.CREDIT_ACCOUNT_NOT_FOUND,
        Outcome.PENDING_TRANSFER_NOT_FOUND,
        Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED,
        Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED,
        Outcome.OVERFLOWS_DEBITS_PENDING,
        Outcome.OVERFLOWS_CREDITS_PENDING,
        Outcome.OVERFLOWS_DEBITS,
        Outcome.OVERFLOWS_CREDITS,
        Outcome.EXCEEDS_CREDITS,
        Outcome.EXCEEDS_DEBITS,
    }
)


class AccountOutcome(StrEnum):
    """The answer to one account that is opened, in the order of precedence."""

    CREATED = auto()
    ID_MUST_NOT_BE_ZERO = auto()
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = auto()
    EXISTS_WITH_DIFFERENT_UNIT = auto()
    EXISTS_WITH_DIFFERENT_KIND = auto()
    EXISTS_WITH_DIFFERENT_FLAGS = auto()
    EXISTS = auto()
