"""The demo's plans. Two of them have a former version that some numbers are still on."""

from typing import Literal, NamedTuple

from popolni.embedded.demo_data.catalogue import GIB, Text
from popolni.ledger.model import Unit

MINUTE = 60
MIB = 2**20
RATES = {Unit.BYTE: (MIB, 2_00), Unit.SECOND: (MINUTE, 2_50), Unit.MESSAGE: (1, 3_00)}
"""Beyond the allowances: each begun block of so many, and its price in kopecks."""


class TermsRow(NamedTuple):
    """A version's terms. `from_days`: valid from so many days before the history begins."""

    name: Text
    description: Text
    price_minor: int
    period: tuple[Literal["day", "month"], int]
    allowances: dict[Unit, int]
    limited_kbit_per_s: int | None
    from_days: int


class PlanRow(NamedTuple):
    """A plan; its versions from the oldest on. `share`: how many numbers of a hundred have it."""

    code: str
    operator: str
    kind: Literal["voice", "data", "combo"]
    share: int
    versions: tuple[TermsRow, ...]


def _units(gib: int = 0, minutes: int = 0, messages: int = 0) -> dict[Unit, int]:
    amounts = {Unit.BYTE: gib * GIB, Unit.SECOND: minutes * MINUTE, Unit.MESSAGE: messages}
    return {unit: amount for unit, amount in amounts.items() if amount}


_IN_WORDS = {
    ("month", 1): Text("на месяц", "for a month", "有效期一个月"),
    ("day", 7): Text("на 7 дней", "for 7 days", "有效期7天"),
    ("day", 30): Text("на 30 дней", "for 30 days", "有效期30天"),
}


def _described(units: tuple[int, int, int], period: Text) -> Text:
    """What a period includes, in words, and for how long."""
    gib, minutes, messages = units
    said = [
        *([Text(f"{gib} ГБ", f"{gib} GB", f"{gib}GB流量")] if gib else []),
        *(
            [Text(f"{minutes} минут", f"{minutes} minutes", f"{minutes}分钟通话")]
            if minutes
            else []
        ),
        *([Text(f"{messages} SMS", f"{messages} SMS", f"{messages}条短信")] if messages else []),
    ]
    return Text(
        ", ".join(part.ru for part in said) + f" {period.ru}",
        ", ".join(part.en for part in said) + f" {period.en}",
        "、".join(part.zh for part in said) + f"，{period.zh}",
    )


def _terms(  # noqa: PLR0913  # a table's columns
    name: Text,
    roubles: int,
    period: tuple[Literal["day", "month"], int],
    units: tuple[int, int, int],
    *,
    limited: int | None = None,
    from_days: int = 400,
) -> TermsRow:
    """`units`: GiB, minutes, messages."""
    description = _described(units, _IN_WORDS[period])
    return TermsRow(name, description, roubles * 100, period, _units(*units), limited, from_days)


_ALL = Text("Всё вместе", "All together", "全能套餐")
_TALK = Text("Разговорный", "Talk", "畅聊套餐")
_NET = Text("Интернет", "Internet", "上网套餐")
_GUEST = Text("Гость", "Guest", "旅客套餐")
_CITY = Text("Город", "City", "都市套餐")
_WEEKLY = Text("Неделя онлайн", "Week online", "周流量套餐")
_BIG = Text("Большой интернет", "Big internet", "大流量套餐")

PLANS = (
    PlanRow("mts-combo", "mts", "combo", 40, (
        _terms(_ALL, 590, ("month", 1), (25, 500, 300), limited=64, from_days=900),
        _terms(_ALL, 650, ("month", 1), (30, 500, 300), limited=64, from_days=90),
    )),
    PlanRow("mts-data", "mts", "data", 20, (
        _terms(_NET, 750, ("month", 1), (60, 0, 50), limited=128),
    )),
    PlanRow("mts-voice", "mts", "voice", 18, (
        _terms(_TALK, 350, ("month", 1), (0, 600, 50)),
    )),
    PlanRow("mts-guest", "mts", "combo", 22, (
        _terms(_GUEST, 950, ("day", 30), (40, 200, 50)),
    )),
    PlanRow("megafon-combo", "megafon", "combo", 40, (
        _terms(_CITY, 640, ("month", 1), (35, 600, 300), limited=64, from_days=700),
        _terms(_CITY, 700, ("month", 1), (40, 600, 300), limited=64, from_days=60),
    )),
    PlanRow("megafon-week", "megafon", "data", 20, (
        _terms(_WEEKLY, 250, ("day", 7), (15, 0, 10), limited=64),
    )),
    PlanRow("megafon-voice", "megafon", "voice", 18, (
        _terms(_TALK, 380, ("month", 1), (0, 700, 100)),
    )),
    PlanRow("megafon-guest", "megafon", "combo", 22, (
        _terms(_GUEST, 900, ("day", 30), (50, 150, 50)),
    )),
    PlanRow("beeline-combo", "beeline", "combo", 40, (
        _terms(_ALL, 600, ("month", 1), (25, 400, 200), limited=64),
    )),
    PlanRow("beeline-data", "beeline", "data", 20, (
        _terms(_BIG, 800, ("day", 30), (100, 0, 50), limited=256),
    )),
    PlanRow("beeline-voice", "beeline", "voice", 18, (
        _terms(_TALK, 350, ("month", 1), (0, 500, 100)),
    )),
    PlanRow("beeline-guest", "beeline", "combo", 22, (
        _terms(_GUEST, 450, ("day", 7), (20, 100, 20)),
    )),
)  # fmt: skip
BY_CODE = {plan.code: plan for plan in PLANS}
