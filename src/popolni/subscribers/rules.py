"""What subscribers' numbers and documents may become: data in, a decision out, no database."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum, auto
from typing import NamedTuple

from popolni.catalog.plans.rules import PlanTerms
from popolni.core.identifiers import transfer_id
from popolni.core.language import Language
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.model import Account, Transfer, TransferFlags, Unit

NUMBER_MIN = 10**6
NUMBER_MAX = SUBJECT_MAX
NAME_MAX = 200
DOCUMENT_NUMBER_MIN, DOCUMENT_NUMBER_MAX = 4, 20
SHOWN_MAX = 4
"""Characters of a document's number that a page may show; never more than half of it."""

BALANCE_MAX_MINOR = 10**12
"""The largest opening balance that a file may bring; more is a slip of a column."""

PLAN_KINDS = {
    Unit.BYTE: Kind.PLAN_BYTES,
    Unit.SECOND: Kind.PLAN_SECONDS,
    Unit.MESSAGE: Kind.PLAN_MESSAGES,
}
ISSUED_KINDS = {
    Unit.BYTE: Kind.ISSUED_BYTES,
    Unit.SECOND: Kind.ISSUED_SECONDS,
    Unit.MESSAGE: Kind.ISSUED_MESSAGES,
}
EXPIRED_KINDS = {
    Unit.BYTE: Kind.EXPIRED_BYTES,
    Unit.SECOND: Kind.EXPIRED_SECONDS,
    Unit.MESSAGE: Kind.EXPIRED_MESSAGES,
}
NUMBER_KINDS = (Kind.SUBSCRIBER_MONEY, *PLAN_KINDS.values())
"""What a number's accounts are from its first day."""


class DocumentProblem(Enum):
    """Why a document can't be taken."""

    NUMBER_MALFORMED = auto()
    NAME_MISSING = auto()
    EXPIRED = auto()


def document_problem(
    *, number: str, name: str, expires_on: date | None, today: date
) -> DocumentProblem | None:
    """What is wrong with a document; it is good through the day on which it expires.

    `number` is a normal one (`normal_number`).
    """
    if not DOCUMENT_NUMBER_MIN <= len(number) <= DOCUMENT_NUMBER_MAX:
        return DocumentProblem.NUMBER_MALFORMED
    if not name.strip() or len(name) > NAME_MAX:
        return DocumentProblem.NAME_MISSING
    if expires_on is not None and expires_on < today:
        return DocumentProblem.EXPIRED
    return None


def normal_number(text: str) -> str:
    """A document's number as it is compared: capital letters and digits, nothing between them."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text)).upper()


def masked_number(number: str) -> str:
    """The end of a normal number behind dots; ten characters as a Russian passport's 4 and 6."""
    shown = min(SHOWN_MAX, len(number) // 2)
    text = "·" * (len(number) - shown) + number[len(number) - shown :]
    return f"{text[:4]} {text[4:]}" if len(number) == 10 else text


class SubscribeProblem(Enum):
    """Why a number can't go on a plan."""

    NOT_VALID_THEN = auto()
    IN_THE_FUTURE = auto()
    BEFORE_THE_CURRENT_PERIOD = auto()


def subscribe_problem(
    terms: PlanTerms, *, at: datetime, now: datetime, current_since: datetime | None
) -> SubscribeProblem | None:
    """Why a number can't go on these terms at `at`; None if it can.

    `current_since` is when the period began that the number is in now, if any.
    """
    if at < terms.valid_from or (terms.valid_to is not None and at >= terms.valid_to):
        return SubscribeProblem.NOT_VALID_THEN
    if at > now:
        return SubscribeProblem.IN_THE_FUTURE
    if current_since is not None and at <= current_since:
        return SubscribeProblem.BEFORE_THE_CURRENT_PERIOD
    return None


def available(account: Account) -> int:
    """What of a subscriber's account can be spent: what is reserved is not."""
    return account.credits_posted - account.debits_posted - account.debits_pending


def is_settled(account: Account) -> bool:
    """Whether nothing is left there and nothing is under way."""
    pending = account.debits_pending or account.credits_pending
    return not pending and account.credits_posted == account.debits_posted


class Step(NamedTuple):
    """One transfer of a chain; `name` tells it from the others of the same chain."""

    name: str
    debit_account: int
    credit_account: int
    amount: int
    code: Code


def expiries(accounts: Iterable[Account]) -> list[Step]:
    """What is left in these allowance accounts expires."""
    return [
        Step(
            f"expiry {account.id}",
            account.id,
            EXPIRED_KINDS[account.unit].account_id(),
            available(account),
            Code.ALLOWANCE_EXPIRY,
        )
        for account in accounts
        if available(account) > 0
    ]


def subscription_steps(number: int, terms: PlanTerms, former: Iterable[Account]) -> list[Step]:
    """The charge, the end of what the former period left, and what the new one grants."""
    charge = Step(
        "charge",
        Kind.SUBSCRIBER_MONEY.account_id(number),
        Kind.OPERATOR_REVENUE.account_id(),
        terms.price_minor,
        Code.PLAN_CHARGE,
    )
    grants = [
        Step(
            f"grant {unit.name.lower()}",
            ISSUED_KINDS[unit].account_id(),
            PLAN_KINDS[unit].account_id(number),
            amount,
            Code.ALLOWANCE_GRANT,
        )
        for unit, amount in sorted(terms.allowances.items())
    ]
    return [*([charge] if terms.price_minor else []), *expiries(former), *grants]


def chain(
    steps: Sequence[Step], *key: str | int, reference_id: int | None = None
) -> list[Transfer]:
    """The steps as transfers, all or nothing; `key` and a step's name make its identifier."""
    last = len(steps) - 1
    return [
        transfer._replace(flags=TransferFlags.LINKED if at < last else TransferFlags.NONE)
        for at, transfer in enumerate(plain(steps, *key, reference_id=reference_id))
    ]


def plain(
    steps: Iterable[Step],
    *key: str | int,
    reference_id: int | None = None,
    reference: str | None = None,
) -> list[Transfer]:
    """The steps as transfers of which none can be refused: who decided them holds the book."""
    return [
        Transfer(
            transfer_id(*key, step.name),
            step.debit_account,
            step.credit_account,
            step.amount,
            step.code,
            reference=reference,
            reference_id=reference_id,
        )
        for step in steps
    ]


class LoadRow(NamedTuple):
    """A line of a file of subscribers."""

    number: int
    branch_id: int
    name: str
    language: str
    balance_minor: int
    status: str


HEADER = ("number", "branch", "name", "language", "balance_minor")
STATUS = "status"
STATUSES = ("active", "blocked", "closed")
_LANGUAGES = frozenset(Language)
_DIGITS = re.compile(r"[0-9]{1,18}")


def read_load_row(fields: Sequence[str], width: int, branches: Mapping[str, int]) -> LoadRow:
    """Reads a line's fields: `width` is how many, those of `HEADER`, and `STATUS` or not.

    `branches` has ids by code. Raises ValueError with what is wrong.
    """
    if len(fields) != width:
        fields_there = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise ValueError(f"it has {fields_there}, not {width}")
    number, branch, name, language, balance, *rest = fields
    status = (rest[0] if rest else "") or STATUSES[0]
    if not _DIGITS.fullmatch(number) or not NUMBER_MIN <= int(number) <= NUMBER_MAX:
        raise ValueError(f"{_short(number)} is not a number of 7 to 15 digits, without the plus")
    if branch not in branches:
        raise ValueError(f"there is no branch {_short(branch)}")
    if len(name) > NAME_MAX:
        raise ValueError(f"the name has {len(name)} characters; at most {NAME_MAX} go in")
    if not name.isprintable():
        raise ValueError("the name has a character that cannot be printed")
    if language not in _LANGUAGES:
        raise ValueError(f"the language is {', '.join(Language)}, not {_short(language)}")
    if not _DIGITS.fullmatch(balance) or int(balance) > BALANCE_MAX_MINOR:
        raise ValueError(
            f"the balance is 0 to {BALANCE_MAX_MINOR} kopecks, digits alone, not {_short(balance)}"
        )
    if status not in STATUSES:
        raise ValueError(f"the status is {', '.join(STATUSES)}, not {_short(status)}")
    if status == "closed" and int(balance):
        raise ValueError("a closed number has no money")
    return LoadRow(int(number), branches[branch], name, language, int(balance), status)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
