"""What there is to tell, as data: one class for each kind of notice.

Money is in minor units of `currency`; a moment has the time zone in which people are to read it,
that of the number's branch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from popolni.core.language import Language
from popolni.ledger.model import Unit

MESSAGE_ID_MAX = 65
"""The longest id that SMPP lets a message have."""

Names = Mapping[Language, str]
"""A name in each language."""


class Kind(StrEnum):
    """What a notice is."""

    TOP_UP = "top_up"
    LOW_BALANCE = "low_balance"
    ALLOWANCE = "allowance"
    PLAN_ENDS = "plan_ends"
    SIGN_IN_CODE = "sign_in_code"
    BALANCE = "balance"
    """The answer to who asked for the balance."""

    @property
    def priority(self) -> int:
        """Which goes first: a person waits for an answer, not for a warning."""
        return _PRIORITIES.get(self, 2)


_PRIORITIES = {Kind.SIGN_IN_CODE: 0, Kind.BALANCE: 0, Kind.TOP_UP: 1}


@dataclass(frozen=True, slots=True)
class Granted:
    """A bonus: money in minor units, bytes, seconds or messages."""

    unit: Unit
    amount: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """A plan that was renewed, until when."""

    plan: Names
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    """A top-up was credited; what else it brought."""

    kind: ClassVar = Kind.TOP_UP
    amount_minor: int
    balance_minor: int
    currency: str
    bonuses: tuple[Granted, ...] = ()
    renewal: Renewed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBalance:
    """The money will soon be spent."""

    kind: ClassVar = Kind.LOW_BALANCE
    balance_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowanceNearlyUsed:
    """Of an allowance of bytes, seconds or messages, this much is left."""

    kind: ClassVar = Kind.ALLOWANCE
    unit: Unit
    left: int
    granted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEnds:
    """A plan ends tomorrow, and the money does not pay for its next period."""

    kind: ClassVar = Kind.PLAN_ENDS
    plan: Names
    ends_at: datetime
    price_minor: int
    balance_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCode:
    """The code that somebody signs in with."""

    kind: ClassVar = Kind.SIGN_IN_CODE
    code: str


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of bytes, seconds or messages, until when."""

    unit: Unit
    amount: int
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What a number has: asked for by the number itself."""

    kind: ClassVar = Kind.BALANCE
    money_minor: int
    currency: str
    allowances: tuple[Left, ...] = field(default=())
    is_short: bool = False
    """It has to fit in one part, as an answer over USSD does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBalance:
    """Who asked is told that there is nothing to tell: not whether such a number exists."""

    kind: ClassVar = Kind.BALANCE


Data = ToppedUp | LowBalance | AllowanceNearlyUsed | PlanEnds | SignInCode | Balance | NoBalance


def mask(number: int) -> str:
    """A number as logs may have it: `7916•••••01`."""
    digits = str(number)
    return f"{digits[:4]}{'•' * (len(digits) - 6)}{digits[-2:]}"
