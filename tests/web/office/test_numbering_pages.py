from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.web.office.reports import Section, sections
from tests.web.office.rooms import browser, operator, queries_of, queries_of_lists, sent, undone

CARRIERS, REGIONS, RANGES, PORTED, IMPORTS = (
    reverse(f"admin:popolni_{model}_changelist")
    for model in ("carrier", "region", "numberingrange", "portednumber", "numberingimport")
)
FIRST = 79_270_000_000


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def make_range(first: int, last: int, carrier: str = "ООО h24") -> NumberingRange:
    return NumberingRange.objects.create(
        first=first,
        last=last,
        carrier=Carrier.objects.get_or_create(name=carrier)[0],
        region=Region.objects.get_or_create(name=f"Область {carrier}")[0],
    )


def rows(url: str) -> list[Any]:
    response: Any = browser().get(url)
    assert response.status_code == 200
    return list(response.context_data["cl"].result_list)


def test_lists_make_the_same_queries_with_one_row_and_with_three() -> None:
    def make(place: int) -> None:
        make_range(FIRST + place * 10, FIRST + place * 10 + 9, f"ООО h24-{place}")

    urls = [f"{CARRIERS}?q=h24-", f"{REGIONS}?q=h24-"]
    assert queries_of_lists(browser(), urls, make) == [(5, 5), (4, 4)]


def test_lists_by_key_make_the_same_queries_with_one_row_and_with_three() -> None:
    client = browser()
    last = {RANGES: NumberingRange, PORTED: PortedNumber}
    after = f"?after={10**14}"  # behind all others
    counts = []
    for wanted in (1, 3):
        for place in range(wanted):
            key = 2 * 10**14 + place * 10
            PortedNumber.objects.get_or_create(number=key, mnc="01")
            if not NumberingRange.objects.filter(pk=key).exists():
                make_range(key, key + 9)
        counts.append([queries_of(client, f"{url}{after}", wanted) for url in last])
    assert counts == [[4, 4], [4, 4]]


def test_the_list_of_imports_makes_the_same_queries_with_one_row_and_with_three() -> None:
    NumberingImport.objects.all().delete()  # undone, as all of this

    def make(_place: int) -> None:
        NumberingImport.objects.create(kind=NumberingImport.Kind.RANGES, files=[], report={})

    assert queries_of_lists(browser(), [IMPORTS], make) == [(4, 4)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("79270000000", [FIRST]),
        ("+7 927 000-00-09", [FIRST]),
        ("8 927 000 00 10", []),  # between two
        ("79270000025", [FIRST + 20]),
        ("79270000030", []),
        ("79269999999", None),  # whatever others made there
        ("abc", []),
        ("9" * 30, []),
    ],
)
def test_a_number_finds_the_range_that_holds_it(typed: str, found: list[int] | None) -> None:
    make_range(FIRST, FIRST + 9)
    make_range(FIRST + 20, FIRST + 29)
    answer = [row.pk for row in rows(f"{RANGES}?q={typed.replace('+', '%2B')}")]
    assert FIRST not in answer if found is None else answer == found


@pytest.mark.parametrize(
    ("typed", "found"), [("79270000001", [79_270_000_001]), ("7927000000", []), ("x", [])]
)
def test_a_ported_number_is_found_exactly(typed: str, found: list[int]) -> None:
    PortedNumber.objects.create(number=79_270_000_001, mnc="01")
    PortedNumber.objects.create(number=79_270_000_002, mnc="02")
    assert [row.pk for row in rows(f"{PORTED}?q={typed}")] == found


def test_staff_say_which_operator_a_carrier_is_and_nothing_else() -> None:
    client, of = browser(), operator("h24")
    carrier = Carrier.objects.create(name="ПАО h24", inn="7700000000")
    url = reverse("admin:popolni_carrier_change", args=(carrier.pk,))
    forged = {"operator": str(of.pk), "name": "other", "inn": "1"}
    assert sent(client, url, forged) == CARRIERS
    carrier.refresh_from_db()
    assert (carrier.operator, carrier.name, carrier.inn) == (of, "ПАО h24", "7700000000")
    assert client.get(reverse("admin:popolni_carrier_add")).status_code == 403


def test_what_an_import_wrote_is_never_changed_here() -> None:
    client = browser()
    row = make_range(FIRST, FIRST + 9)
    for model, pk in (("numberingrange", row.pk), ("region", row.region_id)):
        assert client.get(reverse(f"admin:popolni_{model}_add")).status_code == 403
        url = reverse(f"admin:popolni_{model}_change", args=(pk,))
        assert client.get(url).status_code == 200
        assert client.post(url, {"name": "x", "last": "1"}).status_code == 403


def test_an_import_is_shown_in_words() -> None:
    row = NumberingImport.objects.create(
        kind="ranges",
        files=[{"name": "h24 <b>.csv", "bytes": 12_345, "sha256": "ab" * 32, "rows": 7}],
        report={
            "groups": [{"group": 9, "ranges_before": 1, "ranges_after": 1_234_567}],
            "carriers_new": 2,
            "moves": [{"carrier_before": "А", "carrier_after": "Б", "numbers": 1_000}],
        },
    )
    client = browser("view_numberingimport")
    page = client.get(reverse("admin:popolni_numberingimport_change", args=(row.pk,)))
    text = page.content.decode()
    for shown in ("h24 &lt;b&gt;.csv", "12,345", "1,234,567", "Groups of codes", "carrier before"):
        assert shown in text
    assert "{&" not in text
    listed = client.get(IMPORTS).content.decode()
    assert "h24 &lt;b&gt;.csv" in listed
    assert "./popolni numbering --help" in listed


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ({}, []),
        ({"added": 1_000}, [Section("", [("added", "1,000")], [], [])]),
        ({"some_part": "x"}, [Section("", [("some part", "x")], [], [])]),
        ({"moves": []}, []),
        (
            {"moves": [{"numbers": 1}, {"group": 9}]},
            [
                Section(
                    "From one carrier to another",
                    [],
                    ["numbers", "group"],
                    [["1", ""], ["", "9"]],
                )
            ],
        ),
    ],
)
def test_reports_of_any_form_are_read(report: dict[str, Any], shown: list[Section]) -> None:
    assert sections(report) == shown


@pytest.mark.parametrize("url", [CARRIERS, REGIONS, RANGES, PORTED, IMPORTS])
def test_without_the_permission_there_is_no_page(url: str) -> None:
    assert browser("view_operator").get(url).status_code == 403
