"""Notices in Russian."""

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
from popolni.notices.speech import SPACE, Speech, shorter_and_shorter, used_percent

_CURRENCIES = {"RUB": "₽", "KZT": "₸", "CNY": "¥", "EUR": "€", "USD": "$"}
_ALLOWANCES = {Unit.BYTE: "интернета", Unit.SECOND: "минут", Unit.MESSAGE: "сообщений"}


class Russian(Speech):
    """Seventy letters a part."""

    language = Language.RU
    locale = Locale("ru")
    date_skeleton = "Md"
    sizes = {"G": "ГБ", "M": "МБ", "K": "КБ", "": "Б"}
    gap = SPACE
    comma = ", "

    def money(self, minor: int, currency: str) -> str:
        return f"{self.sum(minor)}{SPACE}{_CURRENCIES.get(currency, currency)}"

    def minutes(self, count: int) -> str:
        return f"{self.figure(count)}{SPACE}{self.plural(count, 'минута', 'минуты', 'минут')}"

    def seconds(self, count: int) -> str:
        return f"{count}{SPACE}{self.plural(count, 'секунда', 'секунды', 'секунд')}"

    def messages(self, count: int) -> str:
        word = self.plural(count, "сообщение", "сообщения", "сообщений")
        return f"{self.figure(count)}{SPACE}{word}"

    def topped_up(self, data: ToppedUp) -> Sequence[str]:
        amount = self.money(data.amount_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        bonus = f" Бонус: {self.bonuses(data.bonuses, data.currency)}." if data.bonuses else ""
        full, short = f"Пополнение на {amount}. Баланс: {balance}.", f"+{amount}, баланс {balance}."
        if data.renewal is None:
            return [f"{full}{bonus}", f"{short}{bonus}"]
        plan, until = data.renewal.plan[self.language], self.date(data.renewal.until)
        named, unnamed = f" Тариф «{plan}» продлён до {until}.", f" Тариф продлён до {until}."
        return [
            f"{full}{named}{bonus}",
            f"{short}{named}{bonus}",
            f"{full}{unnamed}{bonus}",
            f"{short}{unnamed}{bonus}",
        ]

    def low_balance(self, data: LowBalance) -> Sequence[str]:
        balance = self.money(data.balance_minor, data.currency)
        return [f"На счёте осталось {balance}. Пополните его, чтобы оставаться на связи."]

    def allowance(self, data: AllowanceNearlyUsed) -> Sequence[str]:
        used = f"Израсходовано {used_percent(data)}{SPACE}% {_ALLOWANCES[data.unit]}"
        left = self.amount(data.unit, data.left)
        granted = self.amount(data.unit, data.granted)
        return [f"{used}. Остаток: {left}, было {granted}.", f"{used}. Остаток: {left}."]

    def plan_ends(self, data: PlanEnds) -> Sequence[str]:
        plan, day = data.plan[self.language], self.date(data.ends_at)
        price = self.money(data.price_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        return [
            f"Завтра, {day}, закончится тариф «{plan}». Нужно {price}, на счёте {balance}.",
            f"Завтра закончится тариф «{plan}». Нужно {price}, есть {balance}.",
            f"Завтра закончится тариф. Нужно {price}, на счёте {balance}.",
        ]

    def sign_in_code(self, data: SignInCode) -> Sequence[str]:
        return [f"Код для входа: {data.code}. Никому его не сообщайте."]

    def balance(self, data: Balance) -> Sequence[str]:
        beginning = f"Баланс: {self.money(data.money_minor, data.currency)}."
        rest = [f" До {day}: {amounts}." for day, amounts in self.left(data)]
        return shorter_and_shorter(beginning, rest)

    def no_balance(self) -> Sequence[str]:
        return ["По этому номеру сведений нет."]
