"""Notices in English: with the letters of the GSM alphabet, of which a part holds 160."""

from collections.abc import Sequence

from babel import Locale

from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices.model import (
    AllowanceNearlyUsed,
    Balance,
    LowBalance,
    PlanEnds,
    SignInCode,
    ToppedUp,
)
from popolni.notices.speech import Speech, shorter_and_shorter, used_percent

_ALLOWANCES = {Unit.BYTE: "data", Unit.SECOND: "minutes", Unit.MESSAGE: "messages"}


class English(Speech):
    """A name with letters that the alphabet lacks is left out, where that makes it fit."""

    language = Language.EN
    locale = Locale("en", "GB")
    date_skeleton = "MMMd"
    sizes = {"G": "GB", "M": "MB", "K": "KB", "": "B"}
    gap = " "
    comma = ", "

    def money(self, minor: int, currency: str) -> str:
        return f"{currency} {self.sum(minor)}"

    def minutes(self, count: int) -> str:
        return f"{self.figure(count)} {self.plural(count, 'minute', 'minutes')}"

    def seconds(self, count: int) -> str:
        return f"{count} {self.plural(count, 'second', 'seconds')}"

    def messages(self, count: int) -> str:
        return f"{self.figure(count)} {self.plural(count, 'message', 'messages')}"

    def topped_up(self, data: ToppedUp) -> Sequence[str]:
        amount = self.money(data.amount_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        text = f"Topped up: {amount}. Balance: {balance}."
        bonus = f" Bonus: {self.bonuses(data.bonuses, data.currency)}." if data.bonuses else ""
        if data.renewal is None:
            return [f"{text}{bonus}"]
        plan, until = data.renewal.plan[self.language], self.date(data.renewal.until)
        return [
            f"{text} Your {plan} plan has been renewed until {until}.{bonus}",
            f"{text} Your plan has been renewed until {until}.{bonus}",
        ]

    def low_balance(self, data: LowBalance) -> Sequence[str]:
        balance = self.money(data.balance_minor, data.currency)
        return [f"Your balance is low: {balance}. Top up to stay connected."]

    def allowance(self, data: AllowanceNearlyUsed) -> Sequence[str]:
        left = self.amount(data.unit, data.left)
        granted = self.amount(data.unit, data.granted)
        used = f"You have used {used_percent(data)}% of your {_ALLOWANCES[data.unit]}"
        return [f"{used}: {left} left out of {granted}."]

    def plan_ends(self, data: PlanEnds) -> Sequence[str]:
        day = self.date(data.ends_at)
        price = self.money(data.price_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        rest = f"ends tomorrow, {day}. The next period costs {price}, your balance is {balance}."
        return [f"Your {data.plan[self.language]} plan {rest}", f"Your plan {rest}"]

    def sign_in_code(self, data: SignInCode) -> Sequence[str]:
        return [f"Your sign-in code is {data.code}. Do not share it with anyone."]

    def balance(self, data: Balance) -> Sequence[str]:
        beginning = f"Balance: {self.money(data.money_minor, data.currency)}."
        rest = [f" Until {day}: {amounts}." for day, amounts in self.left(data)]
        return shorter_and_shorter(beginning, rest)

    def no_balance(self) -> Sequence[str]:
        return ["No information is available for this number."]
