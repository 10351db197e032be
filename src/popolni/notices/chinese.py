"""Notices in Chinese."""

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

_CURRENCIES = {"RUB": "卢布", "KZT": "坚戈", "CNY": "元", "EUR": "欧元", "USD": "美元"}
_ALLOWANCES = {Unit.BYTE: "流量", Unit.SECOND: "通话时长", Unit.MESSAGE: "短信"}


class Chinese(Speech):
    """Seventy characters a part; nouns have no plural."""

    language = Language.ZH
    locale = Locale("zh")
    date_skeleton = "MMMd"
    sizes = {"G": "GB", "M": "MB", "K": "KB", "": "B"}
    gap = ""
    comma = "、"

    def money(self, minor: int, currency: str) -> str:
        return f"{self.sum(minor)}{_CURRENCIES.get(currency, currency)}"

    def minutes(self, count: int) -> str:
        return f"{self.figure(count)}分钟"

    def seconds(self, count: int) -> str:
        return f"{count}秒"

    def messages(self, count: int) -> str:
        return f"{self.figure(count)}条短信"

    def topped_up(self, data: ToppedUp) -> Sequence[str]:
        amount = self.money(data.amount_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        text = f"充值{amount}成功，余额{balance}。"
        bonus = f"赠送{self.bonuses(data.bonuses, data.currency)}。" if data.bonuses else ""
        if data.renewal is None:
            return [f"{text}{bonus}"]
        plan, until = data.renewal.plan[self.language], self.date(data.renewal.until)
        renewed = f"套餐已续订至{until}。{bonus}"
        return [f"{text}“{plan}”{renewed}", f"{text}{renewed}"]

    def low_balance(self, data: LowBalance) -> Sequence[str]:
        balance = self.money(data.balance_minor, data.currency)
        return [f"您的余额仅剩{balance}，请及时充值，以免影响使用。"]

    def allowance(self, data: AllowanceNearlyUsed) -> Sequence[str]:
        left = self.amount(data.unit, data.left)
        granted = self.amount(data.unit, data.granted)
        used = f"{_ALLOWANCES[data.unit]}已用{used_percent(data)}%"
        return [f"您的{used}，剩余{left}，共{granted}。"]

    def plan_ends(self, data: PlanEnds) -> Sequence[str]:
        day = self.date(data.ends_at)
        price = self.money(data.price_minor, data.currency)
        balance = self.money(data.balance_minor, data.currency)
        rest = f"套餐将于明天（{day}）到期。续订需{price}，余额{balance}，请充值。"
        return [f"“{data.plan[self.language]}”{rest}", f"您的{rest}"]

    def sign_in_code(self, data: SignInCode) -> Sequence[str]:
        return [f"登录验证码：{data.code}，5分钟内有效，请勿告知他人。"]

    def balance(self, data: Balance) -> Sequence[str]:
        beginning = f"余额{self.money(data.money_minor, data.currency)}。"
        rest = [f"{amounts}，有效期至{day}。" for day, amounts in self.left(data)]
        return shorter_and_shorter(beginning, rest)

    def no_balance(self) -> Sequence[str]:
        return ["未查询到该号码的信息。"]
