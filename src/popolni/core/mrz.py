"""The machine-readable zone of passports and residence permits (ICAO 9303, parts 3 to 6).

TD3 (passports) is 2 lines of 44 characters, TD2 (larger cards, as many older ones are) 2 of 36,
TD1 (cards) 3 of 30. A check digit is the sum of
the characters' values (0 to 9, A = 10 to Z = 35, filler 0), weighted 7, 3, 1, 7, …, modulo 10. Each
weight has no factor in common with 10, so a single wrong character goes unseen exactly if its
value differs from the right one's by a multiple of 10 (`same_to_check_digits`): never a digit
for another digit, but 0 for filler, A, K or U, and 1 for B, L or V.

Dates have two digits for the year, and the century is found so: a birth date is the latest that is
not in the future, an expiry date is of 1980 to 2079 (the first of these passports is of 1981).

The Russian internal passport is a TD3 of its own kind (`PNRUS`): no expiry, the fourth digit of
its series is the first of the personal number, and its names are Russian letters, one character
for each.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

_FILLER = "<"
_TD3, _TD2, _TD1 = (44, 44), (36, 36), (30, 30, 30)
_WEIGHTS = (7, 3, 1)
_EXPIRY_FROM = 1980
_RUSSIAN = str.maketrans("ABVGDE2JZIQKLMNOPRSTUFHC34WXY9678", "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ")


class MrzError(ValueError):
    """What is wrong with a zone, in words for the person who typed or scanned it.

    `text` has placeholders for `values`, and `%(fields)s` for `fields`, the names of what is
    wrong; all of them are marked for translation, as this module knows one language.
    """

    def __init__(self, text: str, *, fields: Sequence[str] = (), **values: str | int) -> None:
        super().__init__(text % {**values, "fields": ", ".join(fields)})
        self.text, self.fields, self.values = text, fields, values


def gettext_noop(text: str) -> str:
    """Marks a text for translation where it is shown."""
    return text


@dataclass(frozen=True, slots=True)
class Mrz:
    """What a zone says.

    `code` is the document's kind as printed (`P`, `PN`, …), `issuer` and `nationality` are ICAO's
    codes (`RUS`, `D`). `sex` is `M`, `F` or "" (not specified). Dates that the zone leaves open
    are None, and so is a birth date without its month or day.
    """

    code: str
    issuer: str
    number: str = field(repr=False)
    surname: str = field(repr=False)
    given_names: str = field(repr=False)
    nationality: str
    born_on: date | None = field(repr=False)
    sex: str
    expires_on: date | None
    personal_number: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """Surname first, as printed."""
        return f"{self.surname} {self.given_names}".strip()


def parse(text: str, *, today: date | None = None) -> Mrz:
    """Reads a zone, and verifies every check digit.

    Spaces and lower case do no harm, nor does a line break that is missing. `today` (None: by the
    clock, UTC) says which century a birth date is of.

    Raises MrzError, which names every check digit that is wrong.
    """
    today = today or datetime.now(UTC).date()
    lines = _split(text)
    if len(lines) == len(_TD1):
        first, second, third = lines
        return _parse_td1(first, second, third, today)
    first, second = lines
    return (_parse_td3 if len(first) == _TD3[0] else _parse_td2)(first, second, today)


def check_digit(text: str) -> int:
    """The check digit of digits, letters A to Z and fillers."""
    return sum(_value(char) * _WEIGHTS[at % 3] for at, char in enumerate(text)) % 10


def same_to_check_digits(one: str, other: str) -> bool:
    """Whether no check digit can tell these two characters apart."""
    return (_value(one) - _value(other)) % 10 == 0


def _value(char: str) -> int:
    return 0 if char == _FILLER else int(char, 36)


def _split(text: str) -> tuple[str, ...]:
    lines = [line for raw in text.splitlines() if (line := re.sub(r"\s", "", raw).upper())]
    joined = "".join(lines)
    wrong = re.search(r"[^A-Z0-9<]", joined)
    if wrong:
        raise MrzError(
            gettext_noop("%(char)s is no character of a machine-readable zone"),
            char=repr(wrong[0]),
        )
    form = _form_of(lines, len(joined))
    if len(lines) > 1:
        _check_lengths(lines, form)
    size = form[0]
    return tuple(joined[at : at + size] for at in range(0, sum(form), size))


def _form_of(lines: list[str], size: int) -> tuple[int, ...]:
    """The form with as many lines, and of these the nearest in size; without lines, by size."""
    forms = [form for form in (_TD3, _TD2, _TD1) if len(form) == len(lines) or sum(form) == size]
    if not forms:
        raise MrzError(
            gettext_noop(
                "a machine-readable zone has 2 lines of 44 or 36 characters, or 3 of 30;"
                " these are %(lines)d with %(size)d in all"
            ),
            lines=len(lines),
            size=size,
        )
    return min(forms, key=lambda form: (len(form) != len(lines), abs(sum(form) - size)))


def _check_lengths(lines: list[str], form: tuple[int, ...]) -> None:
    if len(lines) != len(form):
        raise MrzError(
            gettext_noop("the zone has %(right)d lines, not %(count)d"),
            right=len(form),
            count=len(lines),
        )
    for number, (line, length) in enumerate(zip(lines, form, strict=True), start=1):
        if len(line) != length:
            raise MrzError(
                gettext_noop("line %(line)d has %(count)d characters, not %(right)d"),
                line=number,
                count=len(line),
                right=length,
            )


_DOCUMENT_NUMBER = gettext_noop("document number")
_BIRTH_DATE = gettext_noop("birth date")
_EXPIRY_DATE = gettext_noop("expiry date")
_PERSONAL_NUMBER = gettext_noop("personal number")
_COMPOSITE = gettext_noop("composite")


class _Checked(NamedTuple):
    """A field, its check digit, and whether an empty field may have a filler there."""

    name: str
    value: str
    digit: str
    may_be_filler: bool = False

    @property
    def is_right(self) -> bool:
        if self.digit == _FILLER:
            return self.may_be_filler and not self.value.strip(_FILLER)
        return self.digit.isdigit() and int(self.digit) == check_digit(self.value)


def _verify(*fields: _Checked) -> None:
    wrong = [field.name for field in fields if not field.is_right]
    if wrong:
        one, many = (
            gettext_noop("wrong check digit: %(fields)s"),
            gettext_noop("wrong check digits: %(fields)s"),
        )
        raise MrzError(one if len(wrong) == 1 else many, fields=wrong)


def _parse_td3(first: str, second: str, today: date) -> Mrz:
    if first[0] != "P":
        raise MrzError(gettext_noop("a passport's zone begins with P, not %(char)s"), char=first[0])
    _verify(
        _Checked(_DOCUMENT_NUMBER, second[0:9], second[9]),
        _Checked(_BIRTH_DATE, second[13:19], second[19]),
        _Checked(_EXPIRY_DATE, second[21:27], second[27], may_be_filler=True),
        _Checked(_PERSONAL_NUMBER, second[28:42], second[42], may_be_filler=True),
        _Checked(_COMPOSITE, second[0:10] + second[13:20] + second[21:43], second[43]),
    )
    number, personal = second[0:9].rstrip(_FILLER), second[28:42].rstrip(_FILLER)
    surname, given_names = _names(first[5:])
    if first[:5] == "PNRUS":
        number = number[:3] + personal[:1] + number[3:]
        surname, given_names = surname.translate(_RUSSIAN), given_names.translate(_RUSSIAN)
    return Mrz(
        code=_filled(first[0:2]),
        issuer=_filled(first[2:5]),
        number=_number(number),
        surname=_letters(surname),
        given_names=_letters(given_names),
        nationality=_filled(second[10:13]),
        born_on=_born_on(second[13:19], today),
        sex=_sex(second[20]),
        expires_on=_expires_on(second[21:27]),
        personal_number=personal,
    )


def _parse_td2(first: str, second: str, today: date) -> Mrz:
    _check_card(first)
    number, digit, optional = _card_number(second[0:9], second[9], second[28:35])
    _verify(
        _Checked(_DOCUMENT_NUMBER, number, digit),
        _Checked(_BIRTH_DATE, second[13:19], second[19]),
        _Checked(_EXPIRY_DATE, second[21:27], second[27], may_be_filler=True),
        _Checked(_COMPOSITE, second[0:10] + second[13:20] + second[21:35], second[35]),
    )
    surname, given_names = _names(first[5:])
    return Mrz(
        code=_filled(first[0:2]),
        issuer=_filled(first[2:5]),
        number=_number(number.rstrip(_FILLER)),
        surname=_letters(surname),
        given_names=_letters(given_names),
        nationality=_filled(second[10:13]),
        born_on=_born_on(second[13:19], today),
        sex=_sex(second[20]),
        expires_on=_expires_on(second[21:27]),
        personal_number=_filled(optional),
    )


def _parse_td1(first: str, second: str, third: str, today: date) -> Mrz:
    _check_card(first)
    number, digit, optional = _card_number(first[5:14], first[14], first[15:30])
    _verify(
        _Checked(_DOCUMENT_NUMBER, number, digit),
        _Checked(_BIRTH_DATE, second[0:6], second[6]),
        _Checked(_EXPIRY_DATE, second[8:14], second[14], may_be_filler=True),
        _Checked(_COMPOSITE, first[5:30] + second[0:7] + second[8:15] + second[18:29], second[29]),
    )
    surname, given_names = _names(third)
    return Mrz(
        code=_filled(first[0:2]),
        issuer=_filled(first[2:5]),
        number=_number(number.rstrip(_FILLER)),
        surname=_letters(surname),
        given_names=_letters(given_names),
        nationality=_filled(second[15:18]),
        born_on=_born_on(second[0:6], today),
        sex=_sex(second[7]),
        expires_on=_expires_on(second[8:14]),
        personal_number=_filled(optional),
    )


def _check_card(first: str) -> None:
    if first[0] not in "IAC":
        raise MrzError(
            gettext_noop("a card's zone begins with I, A or C, not %(char)s"), char=first[0]
        )


def _card_number(number: str, digit: str, optional: str) -> tuple[str, str, str]:
    """Number, its check digit, other data: a long number goes on in the optional data."""
    if digit != _FILLER or not optional.strip(_FILLER):
        return number, digit, optional
    rest, _, optional = optional.partition(_FILLER)
    return number + rest[:-1], rest[-1:] or _FILLER, optional


def _filled(text: str) -> str:
    return text.replace(_FILLER, " ").strip()


def _number(text: str) -> str:
    if not text:
        raise MrzError(gettext_noop("there is no document number"))
    return _filled(text)


def _names(text: str) -> tuple[str, str]:
    """Two fillers stand between surname and given names, one between the parts of either."""
    surname, _, given_names = text.strip(_FILLER).partition(_FILLER * 2)
    if not surname:
        raise MrzError(gettext_noop("there is no name"))
    return " ".join(_parts(surname)), " ".join(_parts(given_names))


def _parts(text: str) -> Iterator[str]:
    return filter(None, text.split(_FILLER))


def _letters(name: str) -> str:
    if re.search(r"\d", name):
        raise MrzError(gettext_noop("a name has a digit in it"))
    return name


def _sex(char: str) -> str:
    if char not in "MFX<":
        raise MrzError(gettext_noop("the sex is M, F or <, not %(char)s"), char=char)
    return char if char in "MF" else ""


def _born_on(text: str, today: date) -> date | None:
    if not re.fullmatch(r"[0-9]{6}", text):
        if re.fullmatch(r"(?:[0-9]{2}|<<){3}", text):
            return None  # the state does not know all of it
        raise MrzError(gettext_noop("the birth date is not a date"))
    century = today.year // 100 * 100
    date_ = _date(text, century)
    if date_ is None or date_ > today:
        date_ = _date(text, century - 100)
    if date_ is None:
        raise MrzError(gettext_noop("the birth date is not a date"))
    return date_


def _expires_on(text: str) -> date | None:
    if text == _FILLER * len(text):
        return None
    if re.fullmatch(r"[0-9]{6}", text):
        century = 2000 if int(text[:2]) < _EXPIRY_FROM % 100 else 1900
        date_ = _date(text, century)
        if date_ is not None:
            return date_
    raise MrzError(gettext_noop("the expiry date is not a date"))


def _date(text: str, century: int) -> date | None:
    """None if there is no such day in that century, as 29 February of 1900."""
    try:
        return date(century + int(text[0:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None
