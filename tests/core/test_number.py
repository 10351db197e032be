"""Phone numbers: however they are written, they are one number or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.core.number import TEXT_MAX, read_number

ONE = 79161234567


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9161234567", ONE),
        ("79161234567", ONE),
        ("+79161234567", ONE),
        ("89161234567", ONE),
        ("+7 (916) 123-45-67", ONE),
        ("8 (916) 123-45-67", ONE),
        ("8-916-123-45-67", ONE),
        ("916.123.45.67", ONE),
        ("+7\u00a0916\u00a0123\u201345\u201367", ONE),
        ("\u202f916 123\u201145\u201067 ", ONE),
        ("(+7) 916 1234567", ONE),
        ("916 123 45 67".ljust(TEXT_MAX), ONE),
        ("916 123 45 67".ljust(TEXT_MAX + 1), None),
        ("+8613800138000", 8613800138000),
        ("+84912345678", 84912345678),  # not the Russian 7 491 234-56-78
        ("+89161234567", 89161234567),  # nobody's, so nobody else gets the money
        ("+9161234567", 9161234567),
        ("+1234567", 1234567),
        ("+123456", None),
        ("+" + "1" * 15, 111111111111111),
        ("+" + "1" * 16, None),
        ("+0123456789", None),
        ("8613800138000", None),
        ("19161234567", None),
        ("916123456", None),
        ("791612345678", None),
        ("", None),
        ("+", None),
        ("-", None),
        ("++79161234567", None),
        ("7+9161234567", None),
        ("79161234567+", None),
        ("7916123456x", None),
        ("79161234567\n", None),
        ("7916123456\0", None),
        ("٩١٦١٢٣٤٥٦٧", None),
        ("９１６１２３４５６７", None),
        ("916123456²", None),
    ],
)
def test_a_number(text: str, number: int | None) -> None:
    assert read_number(text) == number


@given(st.text(max_size=60))
def test_whatever_the_text_it_is_a_number_or_none(text: str) -> None:
    number = read_number(text)
    assert number is None or 10**6 <= number < 10**15


@given(
    st.integers(10**9, 10**10 - 1),
    st.sampled_from(["", "7", "8", "+7"]),
    st.lists(st.sampled_from(["", " ", "-", "\u00a0", ".", "(", ")"]), min_size=10, max_size=10),
)
def test_what_stands_between_the_digits_changes_nothing(
    local: int, prefix: str, marks: list[str]
) -> None:
    digits = "".join(mark + digit for mark, digit in zip(marks, str(local), strict=True))
    assert read_number(prefix + digits) == 7 * 10**10 + local
