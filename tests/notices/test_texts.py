"""What people read, in three languages, letter by letter."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices.model import (
    AllowanceNearlyUsed,
    Balance,
    Data,
    Granted,
    Left,
    LowBalance,
    NoBalance,
    PlanEnds,
    Renewed,
    SignInCode,
    ToppedUp,
    mask,
)
from popolni.notices.parts import Alphabet, count, split
from popolni.notices.texts import SPEECHES, text_of

ZONE = ZoneInfo("Europe/Moscow")
END = datetime(2026, 2, 28, 23, 59, tzinfo=ZONE)
NEXT_DAY = datetime(2026, 3, 1, 0, 0, tzinfo=ZONE)
PLAN = {Language.RU: "Смарт", Language.EN: "Smart", Language.ZH: "智享"}
GIB, MIB = 2**30, 2**20


def topped_up(*bonuses: Granted, renewal: Renewed | None = None, **others: int) -> ToppedUp:
    sums = {"amount_minor": 500_00, "balance_minor": 1234_56} | others
    return ToppedUp(**sums, currency="RUB", bonuses=bonuses, renewal=renewal)


CASES: list[tuple[Data, str, str, str]] = [
    (
        topped_up(),
        "Пополнение на 500 ₽. Баланс: 1 234,56 ₽.",
        "Topped up: RUB 500. Balance: RUB 1,234.56.",
        "充值500卢布成功，余额1,234.56卢布。",
    ),
    (
        topped_up(amount_minor=100_05, balance_minor=1_000_000_00),
        "Пополнение на 100,05 ₽. Баланс: 1 000 000 ₽.",
        "Topped up: RUB 100.05. Balance: RUB 1,000,000.",
        "充值100.05卢布成功，余额1,000,000卢布。",
    ),
    (
        topped_up(Granted(Unit.BYTE, GIB)),
        "Пополнение на 500 ₽. Баланс: 1 234,56 ₽. Бонус: 1 ГБ.",
        "Topped up: RUB 500. Balance: RUB 1,234.56. Bonus: 1 GB.",
        "充值500卢布成功，余额1,234.56卢布。赠送1GB。",
    ),
    (
        topped_up(Granted(Unit.MONEY, 50_00), Granted(Unit.MESSAGE, 21)),
        "Пополнение на 500 ₽. Баланс: 1 234,56 ₽. Бонус: 50 ₽, 21 сообщение.",
        "Topped up: RUB 500. Balance: RUB 1,234.56. Bonus: RUB 50, 21 messages.",
        "充值500卢布成功，余额1,234.56卢布。赠送50卢布、21条短信。",
    ),
    (
        topped_up(renewal=Renewed(PLAN, END), balance_minor=5_00),
        "Пополнение на 500 ₽. Баланс: 5 ₽. Тариф «Смарт» продлён до 28.02.",
        "Topped up: RUB 500. Balance: RUB 5. Your Smart plan has been renewed until 28 Feb.",
        "充值500卢布成功，余额5卢布。“智享”套餐已续订至2月28日。",
    ),
    (
        topped_up(Granted(Unit.BYTE, GIB), renewal=Renewed(PLAN, NEXT_DAY)),
        "+500 ₽, баланс 1 234,56 ₽. Тариф продлён до 01.03. Бонус: 1 ГБ.",
        "Topped up: RUB 500. Balance: RUB 1,234.56."
        " Your Smart plan has been renewed until 1 Mar. Bonus: 1 GB.",
        "充值500卢布成功，余额1,234.56卢布。“智享”套餐已续订至3月1日。赠送1GB。",
    ),
    (
        LowBalance(balance_minor=45_20, currency="RUB"),
        "На счёте осталось 45,20 ₽. Пополните счёт, чтобы оставаться на связи.",
        "Your balance is low: RUB 45.20. Top up to stay connected.",
        "您的余额仅剩45.20卢布，请及时充值，以免影响使用。",
    ),
    (
        AllowanceNearlyUsed(unit=Unit.BYTE, left=1_268 * MIB, granted=6 * GIB),
        "Израсходовано 79 % интернета. Осталось 1,2 ГБ из 6 ГБ.",
        "You have used 79% of your data: 1.2 GB left out of 6 GB.",
        "您的流量已用79%，剩余1.2GB，共6GB。",
    ),
    (
        AllowanceNearlyUsed(unit=Unit.SECOND, left=21 * 60 + 59, granted=300 * 60),
        "Израсходовано 92 % минут. Осталось 21 из 300 минут.",
        "You have used 92% of your minutes: 21 minutes left out of 300 minutes.",
        "您的通话时长已用92%，剩余21分钟，共300分钟。",
    ),
    (
        AllowanceNearlyUsed(unit=Unit.MESSAGE, left=1, granted=5),
        "Израсходовано 80 % сообщений. Осталось 1 из 5 сообщений.",
        "You have used 80% of your messages: 1 message left out of 5 messages.",
        "您的短信已用80%，剩余1条短信，共5条短信。",
    ),
    (
        PlanEnds(plan=PLAN, ends_at=END, price_minor=500_00, balance_minor=120_50, currency="RUB"),
        "Завтра заканчивается тариф «Смарт». Нужно 500 ₽, на счёте 120,50 ₽.",
        "Your Smart plan ends tomorrow, 28 Feb."
        " The next period costs RUB 500, your balance is RUB 120.50.",
        "“智享”套餐将于明天（2月28日）到期。续订需500卢布，余额120.50卢布，请充值。",
    ),
    (
        SignInCode(code="012345"),
        "Код для входа: 012345. Никому его не сообщайте.",
        "Your sign-in code is 012345. Do not share it with anyone.",
        "登录验证码：012345，5分钟内有效，请勿告知他人。",
    ),
    (
        Balance(
            money_minor=1234_56,
            currency="RUB",
            allowances=(Left(Unit.BYTE, 5 * GIB, END), Left(Unit.SECOND, 7_200, END)),
        ),
        "Баланс: 1 234,56 ₽. До 28.02: 5 ГБ, 120 минут.",
        "Balance: RUB 1,234.56. Until 28 Feb: 5 GB, 120 minutes.",
        "余额1,234.56卢布。5GB、120分钟，有效期至2月28日。",
    ),
    (
        Balance(money_minor=0, currency="KZT"),
        "Баланс: 0 ₸.",
        "Balance: KZT 0.",
        "余额0坚戈。",
    ),
    (
        NoBalance(),
        "Нет данных по этому номеру.",
        "No information is available for this number.",
        "未查询到该号码的信息。",
    ),
]


@pytest.mark.parametrize(("data", "russian", "english", "chinese"), CASES)
def test_what_is_told(data: Data, russian: str, english: str, chinese: str) -> None:
    told = {language: text_of(data, language) for language in Language}
    assert {language: text.replace("\xa0", " ") for language, text in told.items()} == {
        Language.RU: russian,
        Language.EN: english,
        Language.ZH: chinese,
    }
    assert {language: count(text) for language, text in told.items()} == dict.fromkeys(Language, 1)
    assert split(told[Language.EN]).alphabet is Alphabet.GSM7


@pytest.mark.parametrize(
    ("number", "minutes", "messages"),
    [
        (1, "1 минута", "1 сообщение"),
        (2, "2 минуты", "2 сообщения"),
        (4, "4 минуты", "4 сообщения"),
        (5, "5 минут", "5 сообщений"),
        (11, "11 минут", "11 сообщений"),
        (12, "12 минут", "12 сообщений"),
        (21, "21 минута", "21 сообщение"),
        (104, "104 минуты", "104 сообщения"),
        (111, "111 минут", "111 сообщений"),
        (1_001, "1 001 минута", "1 001 сообщение"),
        (0, "0 секунд", "0 сообщений"),
    ],
)
def test_russian_counts(number: int, minutes: str, messages: str) -> None:
    speech = SPEECHES[Language.RU]
    assert speech.amount(Unit.SECOND, number * 60).replace("\xa0", " ") == minutes
    assert speech.amount(Unit.MESSAGE, number).replace("\xa0", " ") == messages


@pytest.mark.parametrize(
    ("number", "minutes", "messages"),
    [
        (1, "1 minute", "1 message"),
        (2, "2 minutes", "2 messages"),
        (21, "21 minutes", "21 messages"),
        (1_000, "1,000 minutes", "1,000 messages"),
        (0, "0 seconds", "0 messages"),
    ],
)
def test_english_counts(number: int, minutes: str, messages: str) -> None:
    speech = SPEECHES[Language.EN]
    assert speech.amount(Unit.SECOND, number * 60) == minutes
    assert speech.amount(Unit.MESSAGE, number) == messages


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"), (1_023, "1,023 B"), (1_024, "1 KB"), (MIB - 1, "1,023.9 KB"), (MIB, "1 MB"),
        (500 * MIB, "500 MB"), (GIB - 1, "1,023.9 MB"), (GIB, "1 GB"), (5 * GIB + 1, "5 GB"),
        (int(5.19 * GIB), "5.1 GB"), (2_000 * GIB, "2,000 GB"),
    ],
)  # fmt: skip
def test_sizes_are_rounded_down(value: int, text: str) -> None:
    assert SPEECHES[Language.EN].amount(Unit.BYTE, value) == text


@pytest.mark.parametrize(("language", "text"), [("ru", "59 секунд"), ("en", "59 seconds")])
def test_less_than_a_minute(language: str, text: str) -> None:
    assert SPEECHES[Language(language)].amount(Unit.SECOND, 59).replace("\xa0", " ") == text


def test_money_is_exact_however_much_it_is() -> None:
    assert SPEECHES[Language.EN].money(2**63 - 1, "RUB") == "RUB 92,233,720,368,547,758.07"


@pytest.mark.parametrize(
    ("unit", "left", "granted", "text"),
    [
        (Unit.SECOND, 59, 300 * 60, "Осталось 59 секунд из 300 минут."),
        (Unit.SECOND, 1, 21 * 60, "Осталась 1 секунда из 21 минуты."),
        (Unit.SECOND, 5, 50, "Осталось 5 из 50 секунд."),
        (Unit.MESSAGE, 2, 21, "Осталось 2 из 21 сообщения."),
        (Unit.BYTE, 2 * GIB, 10 * GIB, "Осталось 2 ГБ из 10 ГБ."),
    ],
)
def test_what_is_left_in_russian(unit: Unit, left: int, granted: int, text: str) -> None:
    data = AllowanceNearlyUsed(unit=unit, left=left, granted=granted)
    assert text_of(data, Language.RU).replace("\xa0", " ").endswith(f". {text}")


@pytest.mark.parametrize(
    ("balance_minor", "text"),
    [
        (50_00, "На счёте осталось 50 ₽. Пополните счёт, чтобы оставаться на связи."),
        (1234_56, "На счёте 1 234,56 ₽. Пополните счёт, чтобы оставаться на связи."),
        (10**17, "На счёте 1 000 000 000 000 000 ₽. Пополните счёт."),
    ],
)
def test_a_low_balance_in_one_part(balance_minor: int, text: str) -> None:
    told = text_of(LowBalance(balance_minor=balance_minor, currency="RUB"), Language.RU)
    assert told.replace("\xa0", " ") == text


def test_the_best_wording_of_a_plan_s_end() -> None:
    data = PlanEnds(
        plan={Language.RU: "X" * 70}, ends_at=END, price_minor=500_00, balance_minor=300_00,
        currency="RUB",
    )  # fmt: skip
    best = (
        f"Завтра, 28.02, заканчивается тариф «{'X' * 70}»."
        " Для продления нужно 500 ₽, на счёте 300 ₽."
    )
    assert SPEECHES[Language.RU].plan_ends(data)[0].replace("\xa0", " ") == best
    assert count(text_of(data, Language.RU)) == 1


def test_what_fits_in_no_part_is_told_in_full() -> None:
    bonuses = [Granted(unit, 3_000) for unit in (Unit.MONEY, Unit.SECOND, Unit.MESSAGE)]
    text = text_of(topped_up(*bonuses, renewal=Renewed(PLAN, END)), Language.RU)
    assert text.startswith("Пополнение на 500")
    assert "«Смарт» продлён" in text
    assert count(text) == 2


def test_a_name_that_costs_parts_is_left_out() -> None:
    """A letter that the GSM alphabet lacks would make three parts of one."""
    plan = PLAN | {Language.EN: "Łódź Unlimited"}
    data = topped_up(renewal=Renewed(plan, END))
    text = "Topped up: RUB 500. Balance: RUB 1,234.56. Your plan has been renewed until 28 Feb."
    assert text_of(data, Language.EN) == text


@pytest.mark.parametrize("language", list(Language))
def test_over_ussd_the_balance_fits_in_one_part(language: Language) -> None:
    days = [END.replace(day=day) for day in range(1, 21)]
    allowances = tuple(Left(Unit.BYTE, 3 * GIB, day) for day in days)
    full = Balance(money_minor=1_50, currency="RUB", allowances=allowances)
    short = Balance(money_minor=1_50, currency="RUB", allowances=allowances, is_short=True)
    assert count(text_of(full, language)) > 1
    assert count(text_of(short, language)) == 1
    assert text_of(full, language).startswith(text_of(short, language))


def test_dates_are_those_of_the_moment_s_zone() -> None:
    plan = topped_up(renewal=Renewed(PLAN, END.astimezone(ZoneInfo("Asia/Vladivostok"))))
    assert text_of(plan, Language.ZH).endswith("已续订至3月1日。")


def test_a_number_in_logs() -> None:
    assert mask(79160000001) == "7916•••••01"
    assert mask(1234567) == "1234•67"
