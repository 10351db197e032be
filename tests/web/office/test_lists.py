"""What all lists and pages of rows have in common."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import override

from popolni.agents.models import Agent
from popolni.web.office.adjustment_forms import AmountForm
from popolni.web.office.badges import moment
from tests.web.office.desk import new_branch, new_contract, new_number, new_user, signed_in
from tests.web.office.support import demo

pytestmark = pytest.mark.usefixtures("database_url")

AGENTS = "/admin/popolni/agent/"


@pytest.fixture(autouse=True)
def _demo() -> Iterator[None]:
    with demo:
        yield


def page(url: str, role: str = "owner", language: str = "en") -> str:
    client = signed_in(new_user(role, language=language[:2]))
    answer = client.get(url, headers={"accept-language": language})
    assert answer.status_code == 200
    return answer.content.decode()


def crumbs(shown: str) -> list[str]:
    return re.findall(r'class="office-crumb">([^<]*)<', shown)


@pytest.mark.parametrize(
    ("language", "text"), [("ru", "Всего: "), ("en", " in all"), ("zh-hans", "条")]
)
def test_the_foot_says_how_many(language: str, text: str) -> None:
    contract = new_contract()
    shown = page(f"{AGENTS}?q={contract.agent.code}", language=language)
    foot = shown[shown.rindex('<div class="py-4') :]
    assert text in foot
    assert "1" in foot[: foot.index("</div>")]


def test_the_head_counts_what_was_found_and_nothing_else() -> None:
    contract = new_contract()
    found = re.compile(r"\d+ results? \(")
    assert found.search(page(AGENTS)) is None
    assert found.search(page(f"{AGENTS}?q={contract.agent.code}"))
    assert found.search(page(f"{AGENTS}?is_active__exact=1"))


def test_labels_begin_as_the_headings_do() -> None:
    new_contract()
    labels = re.findall(r' data-label="([^"]+)"', page(AGENTS))
    assert {"Code", "Name", "Float in all"} < set(labels)
    assert [label for label in labels if label[0].islower()] == []


def test_a_code_stays_as_it_is_written() -> None:
    agent = Agent.objects.create(code="lower-case", name="lower case")
    assert crumbs(page(f"{AGENTS}{agent.pk}/change/")) == ["Agents", "lower case"]
    assert crumbs(page(AGENTS)) == ["Agents"]


def test_each_page_has_a_way_back() -> None:
    number = new_number(new_branch())
    shown = page(f"/admin/popolni/number/{number.pk}/change/", "support")
    assert crumbs(shown) == ["Numbers", str(number)]
    assert '<a href="/admin/popolni/number/" class="block' in shown
    assert '<a href="/admin/" class="block' in page("/admin/search/?s=1", "support")


def test_what_happened_is_in_the_audit_trail_alone() -> None:
    agent = Agent.objects.create(code="with-a-history", name="With a history")
    client = signed_in(new_user())
    assert client.get(f"{AGENTS}{agent.pk}/history/").status_code == 404


@pytest.mark.parametrize(
    ("language", "short", "long"),
    [
        ("ru", "05.11.2026 07:04", "5 ноября 2026 г., 07:04"),
        ("en", "05/11/2026 07:04", "5 Nov 2026, 07:04"),
        ("zh-hans", "2026-11-05 07:04", "2026年11月5日 07:04"),
    ],
)
def test_moments(language: str, short: str, long: str) -> None:
    at = datetime(2026, 11, 5, 4, 4, tzinfo=UTC)
    with override(language):
        assert short in str(moment(at))
        assert date_format(localtime(at), "DATETIME_FORMAT") == long


def test_nothing_yet_is_not_nothing_found() -> None:
    assert "Nothing was imported yet." in page("/admin/popolni/numberingimport/")
    found = page("/admin/popolni/numberingimport/?kind__exact=plan")
    assert "No results found" in found
    assert "Nothing was imported yet." not in found


@pytest.mark.parametrize(
    ("language", "label", "text"),
    [
        ("ru", "Сумма, ₽", "Сумма — не меньше 0,01\N{NO-BREAK SPACE}₽."),
        ("en", "Sum, ₽", "The sum is not below 0.01\N{NO-BREAK SPACE}₽."),
        ("zh-hans", "金额（₽）", "金额不能低于0.01\N{NO-BREAK SPACE}₽。"),
    ],
)
def test_sums_are_asked_for_in_a_currency(language: str, label: str, text: str) -> None:
    with override(language):
        form = AmountForm(new_contract(), {"amount": "0"})
        assert form.fields["amount"].label == label
        assert form.errors == {"amount": [text]}


def test_a_contract_s_mark_is_in_its_branch_s_currency() -> None:
    contract = new_contract(new_branch(currency="KZT"))
    shown = page(f"/admin/popolni/contract/{contract.pk}/change/")
    assert "Float is low below, ₸" in shown
