"""What notices share in every language: figures, dates, what belongs together. Pure.

Each language has a class of its own, with the same methods in the same order: `russian`,
`english`, `chinese`. A method answers with wordings, the best first and each shorter than the one
before; `texts` takes the first that fits in one part.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from babel import Locale
from babel.dates import format_skeleton
from babel.numbers import format_decimal

from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices.model import (
    AllowanceNearlyUsed,
    Balance,
    Granted,
    LowBalance,
    PlanEnds,
    SignInCode,
    ToppedUp,
)

SPACE = "\N{NO-BREAK SPACE}"

_SIZES = (("G", 2**30), ("M", 2**20), ("K", 2**10), ("", 1))


class Speech(ABC):
    """A language."""

    language: ClassVar[Language]
    locale: ClassVar[Locale]
    date_skeleton: ClassVar[str]
    """As CLDR names it: `Md` is 28.02, `MMMd` is 28 Feb."""
    sizes: ClassVar[Mapping[str, str]]
    """What stands for G, M, K and the single byte."""
    gap: ClassVar[str]
    """Between a figure and its unit."""
    comma: ClassVar[str]

    @abstractmethod
    def money(self, minor: int, currency: str) -> str:
        """A sum with its currency."""

    @abstractmethod
    def minutes(self, count: int) -> str:
        """`1 minute`, `2 minutes`."""

    @abstractmethod
    def seconds(self, count: int) -> str:
        """Less than a minute."""

    @abstractmethod
    def messages(self, count: int) -> str:
        """`1 message`, `2 messages`."""

    @abstractmethod
    def topped_up(self, data: ToppedUp) -> Sequence[str]:
        """A top-up was credited."""

    @abstractmethod
    def low_balance(self, data: LowBalance) -> Sequence[str]:
        """The money will soon be spent."""

    @abstractmethod
    def allowance(self, data: AllowanceNearlyUsed) -> Sequence[str]:
        """An allowance will soon be used up."""

    @abstractmethod
    def plan_ends(self, data: PlanEnds) -> Sequence[str]:
        """A plan ends tomorrow, and the money is short."""

    @abstractmethod
    def sign_in_code(self, data: SignInCode) -> Sequence[str]:
        """The code."""

    @abstractmethod
    def balance(self, data: Balance) -> Sequence[str]:
        """What the number has."""

    @abstractmethod
    def no_balance(self) -> Sequence[str]:
        """Nothing can be told."""

    def figure(self, value: int | Decimal) -> str:
        """A number with the language's own marks, and at most one place behind the point."""
        return str(format_decimal(value, "#,##0.#", self.locale))

    def sum(self, minor: int) -> str:
        """Money without its currency; whole sums go without a fraction."""
        pattern = "#,##0.00" if minor % 100 else "#,##0"
        return str(format_decimal(Decimal(minor) / 100, pattern, self.locale))

    def plural(self, count: int, *forms: str) -> str:
        """The form that goes with the count: one, few and many in Russian, one and other else."""
        names = ("one", "few", "many") if len(forms) == 3 else ("one", "other")
        return dict(zip(names, forms, strict=True))[self.locale.plural_form(count)]

    def date(self, moment: datetime) -> str:
        """The day, in the moment's own time zone."""
        return str(format_skeleton(self.date_skeleton, moment, moment.tzinfo, locale=self.locale))

    def size(self, count: int) -> str:
        """Bytes, rounded down: nobody is told of more than there is."""
        name, factor = next((each for each in _SIZES if count >= each[1]), _SIZES[-1])
        tenths = count * 10 // factor
        return f"{self.figure(Decimal(tenths) / 10)}{self.gap}{self.sizes[name]}"

    def amount(self, unit: Unit, value: int, currency: str = "") -> str:
        """An amount of any unit; seconds as minutes, where there is one."""
        if unit is Unit.MONEY:
            return self.money(value, currency)
        if unit is Unit.BYTE:
            return self.size(value)
        if unit is Unit.MESSAGE:
            return self.messages(value)
        return self.minutes(value // 60) if value >= 60 else self.seconds(value)

    def bonuses(self, bonuses: Sequence[Granted], currency: str) -> str:
        """All bonuses in a row."""
        return self.comma.join(self.amount(each.unit, each.amount, currency) for each in bonuses)

    def left(self, data: Balance) -> list[tuple[str, str]]:
        """What is left, in a row for each day on which it ends: (day, amounts)."""
        days: dict[str, list[str]] = {}
        for each in data.allowances:
            amounts = days.setdefault(self.date(each.ends_at), [])
            amounts.append(self.amount(each.unit, each.amount))
        return [(day, self.comma.join(amounts)) for day, amounts in days.items()]


def used_percent(data: AllowanceNearlyUsed) -> int:
    """How much of an allowance is used, rounded down."""
    return (data.granted - data.left) * 100 // data.granted


def shorter_and_shorter(beginning: str, rest: Sequence[str]) -> list[str]:
    """All of it, then without the last of the rest, and so on."""
    return [beginning + "".join(rest[:count]) for count in range(len(rest), -1, -1)]
