"""Amounts, shares and lists as each language writes them."""

import pytest
from django.utils.translation import override

from popolni.catalog.formats import amount, beside, listed, percent
from popolni.ledger.model import Unit

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("ru", [f"1,5{NBSP}ГБ", f"200{NBSP}МБ", f"3{NBSP}КБ", "1 байт", "5 байт"]),
        ("en", [f"1.5{NBSP}GB", f"200{NBSP}MB", f"3{NBSP}KB", "1 byte", "5 bytes"]),
        ("zh-hans", [f"1.5{NBSP}GB", f"200{NBSP}MB", f"3{NBSP}KB", "1字节", "5字节"]),
    ],
)
def test_data(language: str, texts: list[str]) -> None:
    sizes = (3 * 2**29, 200 * 2**20, 3 * 2**10, 1, 5)
    with override(language):
        assert [amount(size, Unit.BYTE) for size in sizes] == texts


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("ru", [f"86{NBSP}%", f"1,25{NBSP}%", "МТС, МегаФон", "паспорт, 1234"]),
        ("en", ["86%", "1.25%", "МТС, МегаФон", "паспорт, 1234"]),
        ("zh-hans", ["86%", "1.25%", "МТС、МегаФон", "паспорт，1234"]),
    ],
)
def test_shares_and_rows_of_things(language: str, texts: list[str]) -> None:
    with override(language):
        shown = [percent(86), percent(1.25), listed(["МТС", "МегаФон"]), beside("паспорт", 1234)]
    assert shown == texts
