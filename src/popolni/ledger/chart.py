"""The chart of accounts: every kind of account, in one table.

An account's id says what it is: its kind's code times 10^15 plus whom or what it belongs to, so
no look-up stands between a number and its money: that of 79160000001 is 101000079160000001.
"""

from enum import Enum, IntEnum
from typing import NamedTuple, Self

from popolni.core.channel import Channel
from popolni.ledger.model import AccountFlags, Unit

SUBJECT_MAX = 10**15 - 1
"""An E.164 number has at most 15 digits."""

_OPEN = AccountFlags.NONE
_NOT_OVERDRAWN = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
_NOT_OVERPAID = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS


class NewAccount(NamedTuple):
    """An account to open (`statements.open_accounts`)."""

    id: int
    unit: Unit
    kind: int
    flags: AccountFlags


class _Row(NamedTuple):
    code: int
    unit: Unit
    subject: str | None
    flags: AccountFlags


class Kind(Enum):
    """A kind of account: code, unit, what its subject is (None: one for each book), limit.

    Credits increase what the operator owes (subscriber money, a float, a budget); debits
    increase what it has (cash in a drawer, a payment company's debt) or has given away (units).
    """

    # fmt: off
    SUBSCRIBER_MONEY   = _Row(101, Unit.MONEY,   "number",    _NOT_OVERDRAWN)
    PLAN_BYTES         = _Row(111, Unit.BYTE,    "number",    _NOT_OVERDRAWN)
    PLAN_SECONDS       = _Row(112, Unit.SECOND,  "number",    _NOT_OVERDRAWN)
    PLAN_MESSAGES      = _Row(113, Unit.MESSAGE, "number",    _NOT_OVERDRAWN)
    BONUS_BYTES        = _Row(121, Unit.BYTE,    "allowance", _NOT_OVERDRAWN)
    BONUS_SECONDS      = _Row(122, Unit.SECOND,  "allowance", _NOT_OVERDRAWN)
    BONUS_MESSAGES     = _Row(123, Unit.MESSAGE, "allowance", _NOT_OVERDRAWN)

    AGENT_FLOAT        = _Row(201, Unit.MONEY,   "agent",     _NOT_OVERDRAWN)
    TILL_DRAWER        = _Row(202, Unit.MONEY,   "drawer",    _NOT_OVERPAID)
    PAYMENT_CLEARING   = _Row(203, Unit.MONEY,   "provider",  _OPEN)
    BANK               = _Row(204, Unit.MONEY,   None,        _OPEN)

    OPERATOR_REVENUE   = _Row(301, Unit.MONEY,   None,        _OPEN)
    CORRECTIONS        = _Row(302, Unit.MONEY,   None,        _OPEN)
    OPENING_BALANCES   = _Row(303, Unit.MONEY,   None,        _OPEN)
    PROMOTION_MONEY    = _Row(311, Unit.MONEY,   "promotion", _NOT_OVERDRAWN)
    PROMOTION_BYTES    = _Row(312, Unit.BYTE,    "promotion", _NOT_OVERDRAWN)
    PROMOTION_SECONDS  = _Row(313, Unit.SECOND,  "promotion", _NOT_OVERDRAWN)
    PROMOTION_MESSAGES = _Row(314, Unit.MESSAGE, "promotion", _NOT_OVERDRAWN)

    ISSUED_BYTES       = _Row(401, Unit.BYTE,    None,        _OPEN)
    ISSUED_SECONDS     = _Row(402, Unit.SECOND,  None,        _OPEN)
    ISSUED_MESSAGES    = _Row(403, Unit.MESSAGE, None,        _OPEN)
    USED_BYTES         = _Row(411, Unit.BYTE,    None,        _OPEN)
    USED_SECONDS       = _Row(412, Unit.SECOND,  None,        _OPEN)
    USED_MESSAGES      = _Row(413, Unit.MESSAGE, None,        _OPEN)
    EXPIRED_BYTES      = _Row(421, Unit.BYTE,    None,        _OPEN)
    EXPIRED_SECONDS    = _Row(422, Unit.SECOND,  None,        _OPEN)
    EXPIRED_MESSAGES   = _Row(423, Unit.MESSAGE, None,        _OPEN)

    SUSPENSE_MONEY     = _Row(901, Unit.MONEY,   None,        _OPEN)

    MEMO_REFUSED       = _Row(911, Unit.MONEY,   None,        _OPEN)
    MEMO_CONTRA        = _Row(912, Unit.MONEY,   None,        _OPEN)
    # fmt: on

    def account_id(self, subject: int = 0) -> int:
        """The id of this kind's account of `subject`; a kind without subjects has one account."""
        if not 0 <= subject <= SUBJECT_MAX or (subject > 0) != (self.value.subject is not None):
            raise ValueError(f"{self.name} has no account of subject {subject}")
        return self.value.code * (SUBJECT_MAX + 1) + subject

    def account(self, subject: int = 0) -> NewAccount:
        """The account of `subject`, to be opened."""
        row = self.value
        return NewAccount(self.account_id(subject), row.unit, row.code, row.flags)

    @classmethod
    def of(cls, account_id: int) -> Self | None:
        """The kind of an account, by its id; None if the chart has none for it."""
        code = account_id // (SUBJECT_MAX + 1)
        return next((kind for kind in cls if kind.value.code == code), None)


def describe(account_id: int) -> str:
    """An account's name for people: `subscriber_money of number 79160000001`."""
    kind = Kind.of(account_id)
    if kind is None:
        return f"account {account_id}"
    name, subject = kind.name.lower(), account_id % (SUBJECT_MAX + 1)
    return name if kind.value.subject is None else f"{name} of {kind.value.subject} {subject}"


BOOK_ACCOUNTS = [kind.account() for kind in Kind if kind.value.subject is None]
"""What every book has from its first day."""


class Code(IntEnum):
    """What a transfer is. 0 is the ledger's own: the release of a timed-out pending transfer."""

    FLOAT_FUNDING = 2
    ALLOWANCE_GRANT = 3
    USAGE = 4
    FLOAT_WITHDRAWAL = 5
    BALANCE_CREDIT = 6
    BALANCE_DEBIT = 7
    BUDGET_FUNDING = 8
    BUDGET_WITHDRAWAL = 9

    TOP_UP_COUNTER = 11
    TOP_UP_WEB = 12
    TOP_UP_TILL = 13
    TOP_UP_KIOSK = 14
    TOP_UP_OSMP = 15
    TOP_UP_API = 16

    OPENING_BALANCE = 21
    PLAN_CHARGE = 22
    USAGE_CHARGE = 23
    ALLOWANCE_EXPIRY = 24
    BONUS = 25
    BONUS_REVERSAL = 26

    TOP_UP_REVERSAL = 31
    TOP_UP_REFUSAL = 32
    REVERSAL_REFUSAL = 33
    TOP_UP_CANCELLATION = 34
    USAGE_REFUSAL = 35

    COMMISSION_SETTLEMENT = 41


TOP_UPS = {
    Channel.COUNTER: Code.TOP_UP_COUNTER,
    Channel.WEB: Code.TOP_UP_WEB,
    Channel.TILL: Code.TOP_UP_TILL,
    Channel.KIOSK: Code.TOP_UP_KIOSK,
    Channel.OSMP: Code.TOP_UP_OSMP,
    Channel.API: Code.TOP_UP_API,
}
"""A top-up's code says its channel."""
