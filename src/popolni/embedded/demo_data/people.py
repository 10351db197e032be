"""Who holds the demo's numbers: invented names, and documents that nobody has.

Document numbers are of specimen form: Russian series begin with 00, which is no region's code,
foreign numbers with SPEC.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from popolni.core.language import Language
from popolni.core.mrz import check_digit

BY_LAST_DIGIT = (Language.ZH, Language.RU, Language.EN)
"""The language of a number's holder, by its last digit modulo 3."""
DOCUMENTS_PERCENT = 60
RUSSIA = "RUS"


class PassportRow(NamedTuple):
    """A passport."""

    country: str
    """By ICAO's list, as machine-readable zones have it."""
    number: str
    surname: str
    given_names: str
    birth: date
    sex: str
    expiry: date | None

    @property
    def name(self) -> str:
        """Surname first."""
        return f"{self.surname} {self.given_names}"

    def zone(self) -> str:
        """A foreign passport's machine-readable zone (TD3), its check digits right."""
        if self.expiry is None:
            raise ValueError("a Russian passport has no such zone here")
        names = f"{self.surname}<<{self.given_names}".replace(" ", "<")
        number, birth, expiry = (
            text + str(check_digit(text))
            for text in (f"{self.number:<<9}", f"{self.birth:%y%m%d}", f"{self.expiry:%y%m%d}")
        )
        personal = "<" * 14 + "0"
        composite = check_digit(number + birth + expiry + personal)
        first = f"P<{self.country:<<3}{names}".ljust(44, "<")
        second = f"{number}{self.country:<<3}{birth}{self.sex}{expiry}{personal}{composite}"
        return f"{first}\n{second}"


class Person(NamedTuple):
    """Who holds `number`."""

    number: int
    name: str
    language: Language
    passport: PassportRow | None


def _words(text: str) -> list[str]:
    return text.split()


_RU_MEN = _words("Александр Дмитрий Максим Сергей Андрей Алексей Артём Илья Кирилл Михаил")
_RU_WOMEN = _words("Анна Мария Елена Дарья Наталья Ирина Ольга Татьяна Юлия Светлана")
_RU_FATHERS = _words(
    "Александров Андреев Иванов Павлов Петров Викторов Олегов Романов Степанов Борисов"
)
"""What a patronymic begins with."""
_RU_FAMILIES = _words(
    "Иванов Смирнов Кузнецов Попов Васильев Соколов Михайлов Новиков Фёдоров Морозов"
    " Лебедев Козлов Степанов Орлов Макаров Захаров Борисов Королёв Тарасов Белов"
)
_EN_MEN = _words("James Oliver George Harry Daniel Thomas William Ravi Arjun Lukas")
_EN_WOMEN = _words("Emma Olivia Sophie Grace Hannah Alice Priya Anika Clara Julia")
_EN_FAMILIES = {
    "Taylor Walker Hughes Edwards Clarke Turner Parker Morgan": "GBR",
    "Anderson Miller Harris Nelson Carter Mitchell": "USA",
    "Sharma Patel Iyer Mehta": "IND",
    "Schneider Weber Hoffmann": "D",
    "Botha Naidoo": "ZAF",
}
_ZH_FAMILIES = _words(
    "王:WANG 李:LI 张:ZHANG 刘:LIU 陈:CHEN 杨:YANG 赵:ZHAO 黄:HUANG 周:ZHOU 吴:WU"
    " 徐:XU 孙:SUN 朱:ZHU 马:MA 胡:HU 郭:GUO 林:LIN 何:HE 高:GAO 罗:LUO"
)
_ZH_MEN = _words("伟:WEI 强:QIANG 磊:LEI 军:JUN 浩然:HAORAN 子轩:ZIXUAN 建国:JIANGUO 志明:ZHIMING")
_ZH_WOMEN = _words("芳:FANG 娜:NA 敏:MIN 静:JING 雨桐:YUTONG 欣怡:XINYI 丽华:LIHUA 晓燕:XIAOYAN")


def make_people(seed: int, numbers: Iterator[int], today: date) -> list[Person]:
    """A person for each number, in its order; a document for most of them."""
    return [_person(random.Random(f"{seed} {number}"), number, today) for number in numbers]  # noqa: S311  # not a secret: the same again is the point


def _person(rng: random.Random, number: int, today: date) -> Person:
    language = BY_LAST_DIGIT[number % 10 % 3]
    make = {Language.RU: _russian, Language.EN: _english, Language.ZH: _chinese}[language]
    name, made = make(rng)
    has_one = number % 100 == 1 or rng.randrange(100) < DOCUMENTS_PERCENT
    passport = _passport(rng, made, number, today) if has_one else None
    return Person(number, name, language, passport)


class _Made(NamedTuple):
    """Whose document it is to be."""

    country: str
    surname: str
    given_names: str
    sex: str


def _russian(rng: random.Random) -> tuple[str, _Made]:
    is_woman = rng.random() < 0.5
    family = rng.choice(_RU_FAMILIES) + ("а" if is_woman else "")
    first = rng.choice(_RU_WOMEN if is_woman else _RU_MEN)
    father = rng.choice(_RU_FATHERS) + ("на" if is_woman else "ич")
    sex = "F" if is_woman else "M"
    return f"{family} {first} {father}", _Made(RUSSIA, family, f"{first} {father}", sex)


def _english(rng: random.Random) -> tuple[str, _Made]:
    families = {family: land for row, land in _EN_FAMILIES.items() for family in row.split()}
    is_woman = rng.random() < 0.5
    first = rng.choice(_EN_WOMEN if is_woman else _EN_MEN)
    family = rng.choice(list(families))
    made = _Made(families[family], family.upper(), first.upper(), "F" if is_woman else "M")
    return f"{first} {family}", made


def _chinese(rng: random.Random) -> tuple[str, _Made]:
    is_woman = rng.random() < 0.5
    first, first_latin = rng.choice(_ZH_WOMEN if is_woman else _ZH_MEN).split(":")
    family, family_latin = rng.choice(_ZH_FAMILIES).split(":")
    return f"{family}{first}", _Made("CHN", family_latin, first_latin, "F" if is_woman else "M")


def _passport(rng: random.Random, made: _Made, number: int, today: date) -> PassportRow:
    digits = f"{number // 10**8 % 10}{number % 10**4:04}"  # of the three operators' 79x0
    birth = today - timedelta(days=rng.randrange(19 * 365, 68 * 365))
    expiry = today + timedelta(days=rng.randrange(90, 9 * 365))
    is_russian = made.country == RUSSIA
    return PassportRow(
        made.country, f"00000{digits}" if is_russian else f"SPEC{digits}", made.surname,
        made.given_names, birth, made.sex, None if is_russian else expiry,
    )  # fmt: skip
