"""The demo's operators, branches, numbering and promotions, as tables.

Sums are in roubles here, for the reader; `minor` turns them into kopecks.
"""

from typing import NamedTuple

from popolni.core.channel import Channel
from popolni.core.method import Method

DAYS = 35
"""How long the history is: a month, and so every monthly plan is charged at least once."""

GIB = 2**30
BONUS_MIN_MINOR = 500_00
BONUS_BYTES = GIB
BONUS_DAYS = 30
BUDGET_BYTES = 5_000 * GIB
WEB_SHARE_PERCENT = 10
WEB_BONUS_MAX_MINOR = 100_00
WEB_BUDGET_MINOR = 20_000_00
WEB_CODE = "mts-web-10"


def minor(roubles: int) -> int:
    """Kopecks."""
    return roubles * 100


class Text(NamedTuple):
    """The same in three languages."""

    ru: str
    en: str
    zh: str


class BranchRow(NamedTuple):
    """A branch. `first` and `last` are the ends of its numbers, after the operator's prefix."""

    code: str
    book: int
    name: Text
    time_zone: str
    cities: tuple[str, ...]
    regions: tuple[str, ...]
    approval_from: int
    first: int
    last: int


class OperatorRow(NamedTuple):
    """An operator and its compliance profile."""

    code: str
    name: Text
    colour: str
    mnc: str
    balance_ussd: str
    carrier: str
    inn: str
    prefix: int
    """Of its 10,000,000 numbers: 7916 of 79160000000."""
    day_max: int
    month_max: int
    branches: tuple[BranchRow, BranchRow]

    @property
    def numbers(self) -> range:
        """Its 100 numbers."""
        return range(self.prefix * 10**7 + 1, self.prefix * 10**7 + 101)


MOSCOW_NAME = Text("Москва", "Moscow", "莫斯科")
MOSCOW_REGION = "г. Москва и Московская область"
MOSCOW_CITIES = ("Москва", "Химки")

OPERATORS = (
    OperatorRow(
        "mts", Text("МТС", "MTS", "MTS"), "#E30611", "01", "*100#",
        'ПАО "Мобильные ТелеСистемы"', "7740000076", 7916, 60_000, 200_000,
        (
            BranchRow("mts-moscow", 1, MOSCOW_NAME, "Europe/Moscow", MOSCOW_CITIES,
                      (MOSCOW_REGION,), 100_000, 1, 50),
            BranchRow("mts-siberia", 2, Text("Сибирь", "Siberia", "西伯利亚"),
                      "Asia/Novosibirsk", ("Новосибирск", "Томск", "Красноярск"),
                      ("Новосибирская область", "Томская область", "Красноярский край"),
                      10_000, 51, 100),
        ),
    ),
    OperatorRow(
        "megafon", Text("МегаФон", "MegaFon", "MegaFon"), "#00B956", "02", "*100#",
        'ПАО "МегаФон"', "7812014560", 7926, 50_000, 150_000,
        (
            BranchRow("megafon-moscow", 3, MOSCOW_NAME, "Europe/Moscow", MOSCOW_CITIES,
                      (MOSCOW_REGION,), 100_000, 1, 50),
            BranchRow("megafon-ural", 4, Text("Урал", "Ural", "乌拉尔"),
                      "Asia/Yekaterinburg", ("Екатеринбург", "Челябинск", "Тюмень"),
                      ("Свердловская область", "Челябинская область", "Тюменская область"),
                      10_000, 51, 100),
        ),
    ),
    OperatorRow(
        "beeline", Text("Билайн", "Beeline", "Beeline"), "#FFB800", "99", "*102#",
        'ПАО "Вымпел-Коммуникации"', "7713076301", 7903, 50_000, 150_000,
        (
            BranchRow("beeline-moscow", 5, MOSCOW_NAME, "Europe/Moscow", MOSCOW_CITIES,
                      (MOSCOW_REGION,), 100_000, 1, 50),
            BranchRow("beeline-northwest", 6, Text("Северо-Запад", "North-West", "西北"),
                      "Europe/Moscow", ("Санкт-Петербург", "Великий Новгород", "Петрозаводск"),
                      ("г. Санкт-Петербург и Ленинградская область", "Новгородская область",
                       "Республика Карелия"),
                      10_000, 51, 100),
        ),
    ),
)  # fmt: skip
BRANCHES = tuple(branch for operator in OPERATORS for branch in operator.branches)

BLOCKED, CLOSED = 98, 99
"""The last two digits of each operator's blocked and closed number."""

CASH_MAX = 15_000
"""The largest payment in cash, and here of every channel, in roubles."""

CHANNEL_LIMITS = dict.fromkeys(Channel, (1, CASH_MAX))
"""The smallest and the largest top-up, in roubles."""

METHODS: dict[Method, Text | None] = {
    Method.CASH: None,
    Method.CARD_RUSSIAN: None,
    Method.CARD_FOREIGN: Text(
        "Карты Visa и Mastercard, выпущенные за рубежом, не работают в России с марта 2022 года",
        "Visa and Mastercard cards issued outside Russia have not worked here since March 2022",
        "自2022年3月起，境外发行的Visa和万事达卡在俄罗斯无法使用",
    ),
    Method.SBP: None,
    Method.YOOMONEY: None,
    Method.PAYPAL: Text(
        "PayPal не работает в России с марта 2022 года",
        "PayPal has not worked in Russia since March 2022",
        "PayPal自2022年3月起已停止在俄罗斯的服务",
    ),
    Method.ALIPAY: None,
    Method.WECHAT: None,
}
"""Payment methods; of those that are off, why."""

OTHER_CARRIER = ('ООО "Т2 Мобайл"', "7743895280")


class RangeRow(NamedTuple):
    """Numbers from `first` to `last`, of an operator (by its code; None: the other carrier)."""

    first: int
    last: int
    operator: str | None
    region: str


def _ranges() -> list[RangeRow]:
    """Each operator's million begins in the regions of its branches, where their numbers are."""
    rows = []
    for operator in OPERATORS:
        start = operator.prefix * 10**7
        capital, province = operator.branches
        first, *others = province.regions
        ends = [
            (50, capital.regions[0]),
            (999, first),
            *((9_999 + 10_000 * i, region) for i, region in enumerate(others)),
            (9_999_999, capital.regions[0]),
        ]
        begin = 0
        for end, region in ends:
            rows.append(RangeRow(start + begin, start + end, operator.code, region))
            begin = end + 1
    rows.append(RangeRow(79770000000, 79779999999, None, MOSCOW_REGION))
    return rows


RANGES = _ranges()
PORTED = {79161234567: "02", 79031234567: "01"}
"""Numbers that moved away from the operator of their range: the network code they went to."""


class PromotionRow(NamedTuple):
    """A promotion's texts; its terms are in `reference`."""

    code: str
    operator: str
    name: Text
    description: Text


GIB_PROMOTIONS = tuple(
    PromotionRow(
        f"{operator.code}-gib",
        operator.code,
        Text("Гигабайт за пополнение", "A gigabyte for a top-up", "充值送流量"),
        Text(
            "1 ГБ на 30 дней за каждое пополнение на 500 ₽ и больше",
            "1 GB for 30 days with every single top-up of 500 ₽ or more",
            "单次充值满500卢布，赠送1GB流量，30天内有效",
        ),
    )
    for operator in OPERATORS
)
WEB_PROMOTION = PromotionRow(
    WEB_CODE,
    "mts",
    Text("10 % на счёт", "10% on top", "网上充值送10%"),
    Text(
        "10 % от суммы пополнения на сайте, но не больше 100 ₽ за раз и трёх раз на номер",
        "10% of a top-up on the web, at most 100 ₽ at a time, three times for a number",
        "网上充值赠送10%话费，每次最多100卢布，每个号码限三次",
    ),
)
WEB_TIMES = 3
WEB_ENDED_DAYS = 7
"""The web promotion ended so many days before the history does."""
