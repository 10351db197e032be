"""CSV: what a spreadsheet would run is text, and nothing else is changed."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils.text import capfirst
from hypothesis import example, given
from hypothesis import strategies as st

from popolni.agents.models import Agent
from popolni.topups import adjustments
from popolni.web.office.exports import BOM, safe_cell, write_csv
from tests.web.office.desk import new_contract, new_number, new_user
from tests.web.office.support import client_as, demo


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("=1+1", "'=1+1"),
        ("+79160000001", "'+79160000001"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ("a\r\n=1+1\tb", "a =1+1 b"),
        ("a\u2028=1", "a =1"),
        ('"=1"', '\'"=1"'),
        ("\u200b=1", "'\u200b=1"),
        (" =1", "' =1"),
        ("\xa0=1", "'\xa0=1"),
        ("＝1", "'＝1"),
        ("a=1", "a=1"),
        ("invoice 7;=1+1", "invoice 7;'=1+1"),
        ("a; @b;c-d", "a;' @b;c-d"),
        ("thanks;\"=cmd|'/C calc'!A0;bye", "thanks;'\"=cmd|'/C calc'!A0;bye"),
        ("a;;=1", "a;;'=1"),
        ("Анна", "Анна"),
        ("", ""),
        (None, ""),
        (-5, "-5"),
        (7.5, "7.5"),
        (Decimal("-1044.00"), "-1044.00"),
        (True, "True"),
    ],
)
def test_cells(cell: object, text: str) -> None:
    assert safe_cell(cell) == text


def test_what_was_written_is_read_back() -> None:
    rows = [["a", 'quoted "b"'], ["with;semicolon", "with,comma"]]
    text = "".join(write_csv(rows))
    assert text.startswith(BOM)
    assert list(csv.reader(io.StringIO(text[1:], newline=""))) == rows


# What is taken for a formula, and all that parts, quotes or hides it.
tricky = st.text(st.sampled_from("a1=+-@＝;,\"' \t\r\n\v\xa0\u2028\u200b"), max_size=12)


@given(st.lists(st.lists(tricky, min_size=1, max_size=4), min_size=1, max_size=3))
@example([["1", "goodwill;\"=cmd|'/C calc'!A0;thanks", "x"]])
@example([['a\n=HYPERLINK("http://example.com")'], ["a\t=1"], ['a";"=1']])
def test_no_cell_is_a_formula_however_the_file_is_read(rows: list[list[str]]) -> None:
    text = "".join(write_csv(rows)).removeprefix(BOM)
    assert len(text.splitlines()) == len(rows)
    for delimiter in ",;\t":
        for skips in (False, True):
            reader = csv.reader(
                io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=skips
            )
            cells = [cell.lstrip(' "\xa0\u200b') for row in reader for cell in row]
            assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "＝"))] == []


@pytest.fixture
def _demo() -> Iterator[None]:
    with demo:
        yield


@pytest.mark.usefixtures("database_url", "_demo")
def test_a_list_is_exported_without_formulas() -> None:
    name = '=HYPERLINK("http://example.com","x")'
    agent = Agent.objects.create(code="export-formula", name=name)
    client = client_as("owner")
    asked = {"action": "export_csv", "_selected_action": [agent.pk]}
    response = client.post("/admin/popolni/agent/", asked)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    text = b"".join(response).decode()
    rows = list(csv.reader(io.StringIO(text[1:], newline="")))
    assert len(rows) == 2
    assert f"'{name}" in rows[1]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


@pytest.mark.usefixtures("_demo")
def test_what_people_wrote_is_exported_as_they_wrote_it() -> None:
    name = "a<b & O'Brien <Ltd>"
    agent = Agent.objects.create(code="export-text", name=name)
    asked = {"action": "export_csv", "_selected_action": [agent.pk]}
    response = client_as("owner").post("/admin/popolni/agent/", asked)
    text = b"".join(response).decode()
    rows = list(csv.reader(io.StringIO(text[1:], newline="")))
    assert name in rows[1]


@pytest.mark.usefixtures("database_url", "_demo")
def test_numbers_and_sums_are_exported_for_a_program_to_read() -> None:
    contract = new_contract()
    number = new_number(contract.branch)
    user = client_as("owner")
    columns = exported(user, "number", number.pk)
    assert (columns["Number"], columns["Balance"], columns["Currency"]) == (
        str(number.pk),
        "0.00",
        "RUB",
    )
    columns = exported(user, "contract", contract.pk)
    assert (columns["Float"], columns["Low below"], columns["Currency"]) == (
        "0.00",
        "10000.00",
        "RUB",
    )
    row = adjustments.ask("float_funding", contract, 100_050, "to be read", by=new_user("finance"))
    columns = exported(user, "adjustment", row.pk)
    assert (columns["Amount"], columns["Unit"]) == ("1000.50", "RUB")


def exported(client: Client, model: str, pk: int) -> dict[str, str]:
    """A row's cells by their headings."""
    asked = {"action": "export_csv", "_selected_action": [pk]}
    response: Any = client.post(f"/admin/popolni/{model}/", asked)
    text = b"".join(response).decode()
    headings, cells = csv.reader(io.StringIO(text[1:], newline=""))
    assert len(headings) == len(cells)
    return dict(zip((str(capfirst(name)) for name in headings), cells, strict=True))
