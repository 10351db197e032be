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
        return [
            f"На счёте осталось {balance}. Пополните счёт, чтобы оставаться на связи.",
            f"На счёте {balance}. Пополните счёт, чтобы оставаться на связи.",
            f"На счёте {balance}. Пополните счёт.",
        ]

    def allowance(self, data: AllowanceNearlyUsed) -> Sequence[str]:
        used = f"Израсходовано {used_percent(data)}{SPACE}% {_ALLOWANCES[data.unit]}"
        return [f"{used}. {self._left_of(data)}."]

    def _left_of(self, data: AllowanceNearlyUsed) -> str:
        left, granted = data.left, data.granted
        if data.unit is Unit.MESSAGE:
            of = self._genitive(granted, "сообщения", "сообщений")
            return f"Осталось {self.figure(left)} из {of}"
        if data.unit is Unit.BYTE:
            return f"Осталось {self.size(left)} из {self.size(granted)}"
        if granted < 60:
            return f"Осталось {left} из {self._genitive(granted, 'секунды', 'секунд')}"
        of = self._genitive(granted // 60, "минуты", "минут")
        if left < 60:
            word = self.plural(left, "Осталась", "Осталось", "Осталось")
            return f"{word} {self.seconds(left)} из {of}"
        return f"Осталось {self.figure(left // 60)} из {of}"

    def _genitive(self, count: int, one: str, many: str) -> str:
        return f"{self.figure(count)}{SPACE}{self.plural(count, one, many, many)}"

    def plan_ends(self, data: PlanEnds) -> Sequence[str]:
        plan, day = data.plan[self.language], self.date(data.ends_at)
        ends, dated = "Завтра заканчивается тариф", f"Завтра, {day}, заканчивается тариф"
        price = self.money(data.price_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        return [
            f"{dated} «{plan}». Для продления нужно {price}, на счёте {balance}.",
            f"{dated} «{plan}». Нужно {price}, на счёте {balance}.",
            f"{ends} «{plan}». Нужно {price}, на счёте {balance}.",
            f"{ends} «{plan}». Нужно {price}, есть {balance}.",
            f"{ends}. Нужно {price}, на счёте {balance}.",
        ]

    def sign_in_code(self, data: SignInCode) -> Sequence[str]:
        return [f"Код для входа: {data.code}. Никому его не сообщайте."]

    def balance(self, data: Balance) -> Sequence[str]:
        beginning = f"Баланс: {self.money(data.money_minor, data.currency)}."
        rest = [f" До {day}: {amounts}." for day, amounts in self.left(data)]
        return shorter_and_shorter(beginning, rest)

    def no_balance(self) -> Sequence[str]:
        return ["Нет данных по этому номеру."]
