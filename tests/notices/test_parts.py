"""How many parts, and where a text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.notices.parts import PARTS_MAX, Alphabet, alphabet_of, count, header, split

GSM = "@£$¥èéùìòÇ\nØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
EXTENSION = "^{}\\[~]|€\f"


@pytest.mark.parametrize(
    ("text", "alphabet", "parts"),
    [
        ("", "GSM7", 1),
        ("a" * 160, "GSM7", 1),
        ("a" * 161, "GSM7", 2),
        ("a" * 306, "GSM7", 2),
        ("a" * 307, "GSM7", 3),
        ("€" * 80, "GSM7", 1),
        ("€" * 81, "GSM7", 2),
        ("a" * 159 + "€", "GSM7", 2),
        ("€" * 152, "GSM7", 2),  # 76 in each: a half of one is no use to anybody
        ("€" * 153, "GSM7", 3),
        ("a" * 152 + "€" + "a" * 151, "GSM7", 2),
        ("я" * 70, "UCS2", 1),
        ("я" * 71, "UCS2", 2),
        ("我" * 134, "UCS2", 2),
        ("我" * 135, "UCS2", 3),
        ("😀" * 35, "UCS2", 1),
        ("😀" * 36, "UCS2", 2),
        ("😀" * 66, "UCS2", 2),
        ("😀" * 67, "UCS2", 3),
        ("a" * 160 + "`", "UCS2", 3),
        (GSM + EXTENSION, "GSM7", 1),
        ("ç", "UCS2", 1),
        ("\xa0", "UCS2", 1),
        ("\x1b", "UCS2", 1),
    ],
)
def test_parts_are_counted(text: str, alphabet: str, parts: int) -> None:
    assert (alphabet_of(text).name, count(text)) == (alphabet, parts)


LETTERS = st.one_of(
    st.sampled_from(GSM + EXTENSION),
    st.sampled_from("я我😀"),
    st.characters(exclude_categories=["Cs"]),
)


@given(st.one_of(st.text(LETTERS, max_size=400), st.text(GSM + EXTENSION, max_size=700)))
def test_nothing_is_lost_and_all_fit(text: str) -> None:
    alphabet, texts = split(text)
    assert "".join(texts) == text
    assert all(texts) or texts == [""]
    bytes_max = 140 if alphabet is Alphabet.UCS2 else 160
    if len(texts) > 1:
        bytes_max = 134 if alphabet is Alphabet.UCS2 else 153
    codec = "utf-16-be" if alphabet is Alphabet.UCS2 else None
    for each in texts:
        encoded = alphabet.encode(each)
        assert len(encoded) <= bytes_max
        if codec:
            assert encoded == each.encode(codec)


def test_a_text_has_an_end() -> None:
    assert count("я" * 67 * PARTS_MAX) == PARTS_MAX
    with pytest.raises(ValueError, match="does not fit in 255 parts"):
        split("я" * (67 * PARTS_MAX + 1))


def test_the_header_says_which_part_it_is() -> None:
    assert header(0x1234, 2, 3).hex() == "0500033403" + "02"
