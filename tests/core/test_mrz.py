"""Machine-readable zones: ICAO's own specimens, each way to be wrong, what check digits can see."""

import contextlib
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.core.mrz import Mrz, MrzError, check_digit, parse, same_to_check_digits

TODAY = date(2026, 6, 1)
NAMES = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<"
DATA = "L898902C36UTO7408122F1204159ZE184226B<<<<<10"
SPECIMEN = f"{NAMES}\n{DATA}"
ERIKSSON = Mrz(
    code="P",
    issuer="UTO",
    number="L898902C3",
    surname="ERIKSSON",
    given_names="ANNA MARIA",
    nationality="UTO",
    born_on=date(1974, 8, 12),
    sex="F",
    expires_on=date(2012, 4, 15),
    personal_number="ZE184226B",
)
CARD = (
    "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<"
)
LONG_CARD = (
    "I<UTOD23145890<7349<<<<<<<<<<<\n3407127M9507122UTO<<<<<<<<<<<2\nSTEVENSON<<PETER<JOHN<<<<<<<<<"
)
LARGE_CARD = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6"
INTERNAL = (
    "PNRUSZDRIL7K<<SERGEQ<ANATOL9EVI3<<<<<<<<<<<<\n3919353498RUS7207233M<<<<<<<4151218910003<50"
)
FORMS = "a machine-readable zone has 2 lines of 44 or 36 characters, or 3 of 30"
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ<"


def signed(number: str, born: str, expires: str, personal: str = "") -> str:
    """The second line of a passport, with its check digits."""
    number, personal = number.ljust(9, "<"), personal.ljust(14, "<")
    parts = [f"{text}{check_digit(text)}" for text in (number, born, expires, personal)]
    composite = check_digit("".join(parts))
    return f"{parts[0]}UTO{parts[1]}F{parts[2]}{parts[3]}{composite}"


@pytest.mark.parametrize(
    "text",
    [
        SPECIMEN,
        SPECIMEN.lower(),
        NAMES + DATA,
        f"\n  {NAMES} \r\n\r\n {DATA}\n",
        " ".join(SPECIMEN.replace("\n", "")),
    ],
)
def test_the_specimen_however_it_was_typed(text: str) -> None:
    assert parse(text, today=TODAY) == ERIKSSON


def test_a_card() -> None:
    expected = ("I", "UTO", "D23145890", "ERIKSSON ANNA MARIA", date(2012, 4, 15), "")
    zone = parse(CARD, today=TODAY)
    assert (
        zone.code, zone.issuer, zone.number, zone.name, zone.expires_on, zone.personal_number
    ) == expected  # fmt: skip


def test_a_card_whose_number_is_long() -> None:
    assert parse(LONG_CARD, today=TODAY).number == "D23145890734"


@pytest.mark.parametrize(
    "text", [LARGE_CARD, LARGE_CARD.lower(), LARGE_CARD.replace("\n", ""), f" {LARGE_CARD}\n\n"]
)
def test_a_card_of_two_lines(text: str) -> None:
    expected = replace(
        ERIKSSON, code="I", number="D23145890", personal_number="", expires_on=date(2012, 4, 15)
    )
    assert parse(text, today=TODAY) == expected


def large_card(number: str, digit: str, optional: str) -> str:
    """A card of two lines, with its check digits but that of the number."""
    number = f"{number:<<9}{digit}"
    born, expires, optional = "7408122", "1204159", f"{optional:<<7}"
    composite = check_digit(number + born + expires + optional)
    return f"I<UTO{'ERIKSSON<<ANNA':<<31}\n{number}UTO{born}F{expires}{optional}{composite}"


def test_a_card_of_two_lines_with_more_in_it() -> None:
    zone = parse(large_card("D23145890", "7", "AB12"), today=TODAY)
    assert (zone.number, zone.personal_number) == ("D23145890", "AB12")
    long = "D23145890734"
    zone = parse(large_card(long[:9], "<", f"{long[9:]}{check_digit(long)}<X"), today=TODAY)
    assert (zone.number, zone.personal_number) == (long, "X")


def test_a_russian_internal_passport() -> None:
    zone = parse(INTERNAL, today=TODAY)
    assert (zone.code, zone.issuer, zone.number, zone.name, zone.born_on, zone.expires_on) == (
        "PN", "RUS", "3914935349", "ЗДРИЛЮК СЕРГЕЙ АНАТОЛЬЕВИЧ", date(1972, 7, 23), None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "surname", "given_names"),
    [
        ("ERIKSSON<<ANNA<MARIA", "ERIKSSON", "ANNA MARIA"),
        ("VAN<DER<BERG<<JAN", "VAN DER BERG", "JAN"),
        ("ARKFREITH", "ARKFREITH", ""),
        ("NILAVADHANANANDA<<CHAYAPA<DEJTHAMRONG", "NILAVADHANANANDA", "CHAYAPA DEJTHAMRONG"),
    ],
)
def test_names(names: str, surname: str, given_names: str) -> None:
    zone = parse(f"P<UTO{names:<<39}\n{DATA}", today=TODAY)
    assert (zone.surname, zone.given_names) == (surname, given_names)


@pytest.mark.parametrize(
    ("born", "expires", "born_on", "expires_on"),
    [
        ("260601", "300101", date(2026, 6, 1), date(2030, 1, 1)),  # born today
        ("260602", "300101", date(1926, 6, 2), date(2030, 1, 1)),
        ("000229", "791231", date(2000, 2, 29), date(2079, 12, 31)),
        ("740812", "800101", date(1974, 8, 12), date(1980, 1, 1)),
        ("280229", "991231", date(1928, 2, 29), date(1999, 12, 31)),
        ("74<<<<", "<<<<<<", None, None),
        ("<<<<<<", "300101", None, date(2030, 1, 1)),
    ],
)
def test_the_century(
    born: str, expires: str, born_on: date | None, expires_on: date | None
) -> None:
    zone = parse(f"{NAMES}\n{signed('A1', born, expires)}", today=TODAY)
    assert (zone.born_on, zone.expires_on) == (born_on, expires_on)


def test_an_empty_personal_number_has_a_digit_or_a_filler() -> None:
    line = signed("A1", "740812", "300101")
    assert line[42] == "0"
    assert parse(f"{NAMES}\n{line[:42]}<{line[43:]}").personal_number == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{FORMS}; these are 0 with 0 in all"),
        (NAMES, f"{FORMS}; these are 1 with 44 in all"),
        (f"{NAMES}<\n{DATA[:-1]}", "line 1 has 45 characters, not 44"),
        (f"{NAMES}\n{DATA[:-1]}", "line 2 has 43 characters, not 44"),
        (f"{NAMES[:-1]}Я\n{DATA}", "'Я' is no character of a machine-readable zone"),
        (f"V{NAMES[1:]}\n{DATA}", "a passport's zone begins with P, not V"),
        (LARGE_CARD[:-1], "line 2 has 35 characters, not 36"),
        (f"{NAMES[:40]}\n{DATA}", "line 1 has 40 characters, not 44"),
        (f"{CARD}\n{NAMES}", f"{FORMS}; these are 4 with 134 in all"),
        (f"P{LARGE_CARD[1:]}", "a card's zone begins with I, A or C, not P"),
        (LARGE_CARD.replace("890", "891"), "wrong check digits: document number, composite"),
        (LARGE_CARD.replace("7408122", "7408132"), "wrong check digits: birth date, composite"),
        (LARGE_CARD.replace("1204159", "1204169"), "wrong check digits: expiry date, composite"),
        (f"{LARGE_CARD[:-1]}7", "wrong check digit: composite"),
        (f"X{CARD[1:]}", "a card's zone begins with I, A or C, not X"),
        (f"{NAMES}\n{DATA[:9]}7{DATA[10:]}", "wrong check digits: document number, composite"),
        (f"{NAMES}\n{DATA[:13]}8{DATA[14:]}", "wrong check digits: birth date, composite"),
        (f"{NAMES}\n{DATA[:21]}2{DATA[22:]}", "wrong check digits: expiry date, composite"),
        (f"{NAMES}\n{DATA[:28]}Y{DATA[29:]}", "wrong check digits: personal number, composite"),
        (f"{NAMES}\n{DATA[:42]}<{DATA[43:]}", "wrong check digits: personal number, composite"),
        (f"{NAMES}\n{DATA[:-1]}1", "wrong check digit: composite"),
        (f"{NAMES}\n{DATA[:-1]}<", "wrong check digit: composite"),
        (f"{NAMES}\n{DATA[:20]}Q{DATA[21:]}", "the sex is M, F or <, not Q"),
        (f"{NAMES}\n{signed('A1', '741312', '300101')}", "the birth date is not a date"),
        (f"{NAMES}\n{signed('A1', '74081A', '300101')}", "the birth date is not a date"),
        (f"{NAMES}\n{signed('A1', '740812', '300230')}", "the expiry date is not a date"),
        (f"{NAMES}\n{signed('', '740812', '300101')}", "there is no document number"),
        (f"P<UTO{'':<<39}\n{DATA}", "there is no name"),
        (f"P<UTO{'ER1KSSON':<<39}\n{DATA}", "a name has a digit in it"),
        (CARD.replace("D23145890", "D23145891"), "wrong check digits: document number, composite"),
        (LONG_CARD.replace("<7349", "<7359"), "wrong check digits: document number, composite"),
    ],
)  # fmt: skip
def test_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(MrzError) as caught:
        parse(text, today=TODAY)
    assert str(caught.value) == message


CHECK_DIGITS = (9, 19, 27, 42, 43)
CHECKED = [*range(10), *range(13, 20), *range(21, 44)]
CARD_CHECK_DIGITS = (9, 19, 27, 35)
CARD_CHECKED = [*range(10), *range(13, 20), *range(21, 36)]


def check_that_it_is_seen(text: str, digits: tuple[int, ...], at: int, char: str) -> None:
    """A check digit is itself compared as a digit, so that any other character there is seen."""
    names, data = text.split()
    changed = f"{names}\n{data[:at]}{char}{data[at + 1 :]}"
    unseen = char == data[at] or (at not in digits and same_to_check_digits(char, data[at]))
    try:
        parse(changed, today=TODAY)
        message = ""
    except MrzError as error:
        message = str(error)
    assert message.startswith("wrong check digit") == (not unseen)


@given(st.sampled_from(CHECKED), st.sampled_from(CHARACTERS))
def test_a_single_wrong_character_is_seen_unless_its_value_is_the_same_modulo_10(
    at: int, char: str
) -> None:
    check_that_it_is_seen(SPECIMEN, CHECK_DIGITS, at, char)


@given(st.sampled_from(CARD_CHECKED), st.sampled_from(CHARACTERS))
def test_so_it_is_on_a_card_of_two_lines(at: int, char: str) -> None:
    check_that_it_is_seen(LARGE_CARD, CARD_CHECK_DIGITS, at, char)


@given(st.sampled_from("0123456789"), st.sampled_from("0123456789"))
def test_no_digit_passes_for_another(one: str, other: str) -> None:
    assert same_to_check_digits(one, other) == (one == other)


@given(st.text(max_size=120))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MrzError):
        parse(text)


def test_nothing_personal_is_in_its_repr() -> None:
    shown = repr(parse(SPECIMEN, today=TODAY))
    assert not {"ERIKSSON", "ANNA", "L898902C3", "1974", "ZE184226B"} & set(
        shown.replace("'", " ").split()
    )
    assert "number" not in shown
