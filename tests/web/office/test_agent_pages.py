from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from popolni.agents.models import Agent, Contract, Credential, Outlet
from popolni.agents.service import (
    add_certificate,
    add_password,
    check_certificate,
    check_password,
    float_account,
    float_left,
)
from popolni.catalog.formats import money
from popolni.core.channel import Channel
from popolni.ledger.client import run
from popolni.ledger.statements import read_accounts
from tests.web.office.rooms import (
    agent,
    branch,
    browser,
    contract,
    fund,
    operator,
    outlet,
    queries_of_lists,
    refused,
    sent,
    undone,
)

AGENTS, CONTRACTS, OUTLETS = (
    reverse(f"admin:popolni_{model}_changelist") for model in ("agent", "contract", "outlet")
)
ADJUST = reverse("admin:popolni_adjustment_add")
NO_ROWS = {
    f"{prefix}-{form}_FORMS": "0"
    for prefix in ("contracts", "outlets", "credentials")
    for form in ("TOTAL", "INITIAL")
}
STRONG = "correct horse battery staple 24"
SHA256 = "ab" * 32


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def url_of(row: Agent | Contract | Outlet) -> str:
    return reverse(f"admin:popolni_{row._meta.model_name}_change", args=(row.pk,))


def action(name: str, row: Agent | Contract) -> str:
    return reverse(f"admin:popolni_{row._meta.model_name}_{name}", args=(row.pk,))


def text_of(client: Any, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())


def test_lists_make_the_same_queries_with_one_row_and_with_three() -> None:
    at = branch(operator("h24"), "h24", 24_300)

    def make(place: int) -> None:
        of = agent(f"h24-{place}")
        fund(contract(of, at), 1_000_00)
        outlet(of, f"h24-{place}")

    urls = [f"{url}?q=h24-" for url in (AGENTS, CONTRACTS, OUTLETS)]
    assert queries_of_lists(browser(), urls, make) == [(5, 5), (6, 6), (5, 5)]


def test_the_page_of_an_agent_makes_the_same_queries_with_one_row_and_with_three() -> None:
    client, of, at = browser(), agent("h24"), operator("h24")
    text_of(client, url_of(of))  # what Django remembers from then on
    counts = []
    for wanted in (1, 3):
        for place in range(of.contracts.count(), wanted):
            fund(contract(of, branch(at, f"h24-{place}", 24_310 + place)), 1_000_00, times=wanted)
            outlet(of, f"h24-{place}")
            Credential.objects.create(agent=of, kind="certificate", secret=f"{place}")
        with CaptureQueriesContext(connection) as captured:
            text_of(client, url_of(of))
        counts.append(len(captured))
    assert counts == [11, 11]


def test_the_list_has_each_agent_s_outlets_and_float() -> None:
    of, at = agent("h24"), operator("h24")
    for place in (0, 1):
        fund(contract(of, branch(at, f"h24-{place}", 24_320 + place)), 1_234_50)
        outlet(of, f"h24-{place}")
    page = text_of(browser(), f"{AGENTS}?q=h24")
    assert money(2_469_00) in page
    listed = text_of(browser(), f"{CONTRACTS}?q=h24")
    assert listed.count(money(1_234_50)) == 2


def test_an_agent_is_added_and_changed() -> None:
    client = browser()
    data = {
        "code": "h24-new",
        "name": "Сеть",
        "is_active": "on",
        "networks": "203.0.113.0/24, ::1",
        "requests_per_s": "50",
        "reversal_minutes": "15",
        "language": "zh",
        "osmp_commands": ["cancel", "status"],
    }
    assert sent(client, reverse("admin:popolni_agent_add"), data) == AGENTS
    row = Agent.objects.get(code="h24-new")
    assert (row.name, row.networks) == ("Сеть", ["203.0.113.0/24", "::1/128"])
    assert (row.requests_per_s, row.reversal_minutes) == (50, 15)
    assert (row.language, row.osmp_commands) == ("zh", ["cancel", "status"])
    sent(client, url_of(row), NO_ROWS | data | {"name": "Другая", "code": "forged", "networks": ""})
    row.refresh_from_db()
    assert (row.name, row.code, row.networks) == ("Другая", "h24-new", [])
    page = refused(client, url_of(row), NO_ROWS | data | {"networks": "203.0.113.7/24"})
    assert "begins inside the range 203.0.113.0/24" in page
    assert "203.0.113.7/24" in page


def test_a_contract_is_opened_with_its_float_and_commissions() -> None:
    client, of = browser(), agent("h24")
    at = branch(operator("h24"), "h24", 24_330)
    url = client.get(action("new_contract", of)).headers["Location"]
    assert url == f"{reverse('admin:popolni_contract_add')}?agent={of.pk}"
    data = {
        "agent": str(of.pk),
        "branch": str(at.pk),
        "reference": "№ 24",
        "valid_from": "2026-01-01",
        "float_low_minor": "2500.50",
        "cash_identity": "gosuslugi",
        "commissions-TOTAL_FORMS": "2",
        "commissions-INITIAL_FORMS": "0",
        "commissions-0-channel": "osmp",
        "commissions-0-basis_points": "1.25",
        "commissions-1-channel": "till",
        "commissions-1-basis_points": "0",
    }
    assert sent(client, url, data) == CONTRACTS
    row = Contract.objects.get(agent=of)
    assert (row.branch, row.valid_from, row.float_low_minor) == (at, date(2026, 1, 1), 250_050)
    assert row.cash_identity == "gosuslugi"
    commissions = row.commissions.order_by("pk").values_list("channel", "basis_points")
    assert list(commissions) == [(Channel.OSMP.value, 125), (Channel.TILL.value, 0)]
    account = float_account(row)
    assert set(run(read_accounts(at.book, [account])).keys()) == {account}
    assert float_left([row]) == {row.pk: 0}

    page = refused(client, url, data | {"reference": "№ 25"})
    assert page.count("the agent has a contract with this branch already") == 1
    assert "violated" not in page
    assert 'value="№ 25"' in page
    twice = data | {"commissions-1-channel": "osmp"}
    assert "there is a row for this already" in refused(client, url, twice)
    much = data | {"commissions-1-basis_points": "100.01"}
    assert "at most 100%" in refused(client, url, much)


def test_a_contract_ends_but_never_moves() -> None:
    client = browser()
    row = contract(agent("h24"), branch(operator("h24"), "h24", 24_340))
    other = agent("h24-other")
    data = {
        "agent": str(other.pk),
        "reference": "№ 26",
        "valid_from": "2026-01-01",
        "valid_to": "2026-12-31",
        "float_low_minor": "1",
        "cash_identity": "none",
        "commissions-TOTAL_FORMS": "0",
        "commissions-INITIAL_FORMS": "0",
    }
    sent(client, url_of(row), data)
    row.refresh_from_db()
    assert (row.agent.code, row.reference, row.valid_to) == ("h24", "№ 26", date(2026, 12, 31))
    page = refused(client, url_of(row), data | {"valid_to": "2026-01-01"})
    assert page.count("it ends after it begins") == 1
    assert "violated" not in page


@pytest.mark.parametrize("page_of", ["agent", "contract"])
def test_a_float_s_history_is_paged(page_of: str) -> None:
    client, of = browser(), agent("h24")
    row = contract(of, branch(operator("h24"), "h24", 24_350))
    fund(row, 1_00, times=30)
    url = url_of(of if page_of == "agent" else row)
    page = text_of(client, url)
    assert money(30_00) in page
    assert "Low: below" in page
    assert page.count("funding of a float") == 25
    for kind in ("funding", "withdrawal"):
        assert f"{ADJUST}?kind=float_{kind}&amp;contract={row.pk}" in page
    older = f"?float={row.pk}&amp;before=6#float-{row.pk}"
    assert older in page
    last = text_of(client, url + older.replace("&amp;", "&").partition("#")[0])
    assert last.count("funding of a float") == 5
    assert "before=" not in last.partition("office-choices")[2]


def test_of_several_floats_the_chosen_one_shows_its_history() -> None:
    client, of, at = browser(), agent("h24"), operator("h24")
    first, second = (contract(of, branch(at, f"h24-{n}", 24_360 + n)) for n in (0, 1))
    fund(first, 5_00)
    fund(second, 7_77)
    page = text_of(client, url_of(of))
    assert (money(5_00) in page, f"+{money(5_00)}" in page, f"+{money(7_77)}" in page) == (
        *(True, True, False),
    )
    page = text_of(client, f"{url_of(of)}?float={second.pk}&before=nonsense")
    assert (f"+{money(5_00)}" in page, f"+{money(7_77)}" in page) == (False, True)


def test_buttons_of_a_contract_lead_to_the_adjustment() -> None:
    client = browser()
    row = contract(agent("h24"), branch(operator("h24"), "h24", 24_370))
    for name, kind in (("fund", "float_funding"), ("withdraw", "float_withdrawal")):
        location = client.get(action(name, row)).headers["Location"]
        assert location == f"{ADJUST}?kind={kind}&contract={row.pk}"


def password_form(typed: str = "", number: str = "1", unit: str = "day") -> dict[str, str]:
    return {"password": typed, "overlap_0": number, "overlap_1": unit}


def test_a_typed_password_is_set_and_the_old_one_ends_later() -> None:
    client, of = browser(), agent("h24")
    old = add_password(of, "the old one, long enough")
    url = action("new_password", of)
    page = text_of(client, url)
    assert "Set the password" in page
    assert old.secret not in page
    assert sent(client, url, password_form(STRONG, "2", "hour")) == f"{url_of(of)}#credentials"
    now = timezone.now()
    assert check_password(of, STRONG, now)
    assert check_password(of, "the old one, long enough", now)
    assert not check_password(of, "the old one, long enough", now + timedelta(hours=2))


def test_a_generated_password_is_shown_once() -> None:
    client, of = browser(), agent("h24")
    response = client.post(action("new_password", of), password_form())
    page = response.content.decode()
    password = page.partition('id="password"')[2].partition(">")[2].partition("<")[0]
    assert len(password) == 32
    assert check_password(of, password, timezone.now())
    assert "no-store" in response.headers["Cache-Control"]
    assert password not in text_of(client, url_of(of))


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (password_form("short"), "This password is too short"),
        (password_form(STRONG, "91"), "at most 90 days"),
        (password_form(STRONG, ""), "This field is required."),
        (password_form(STRONG, "-1"), "from 0 to"),
    ],
)
def test_a_password_that_is_refused_is_not_set(form: dict[str, str], sentence: str) -> None:
    client, of = browser(), agent("h24")
    page = refused(client, action("new_password", of), form)
    assert sentence in page
    assert STRONG not in page
    assert not of.credentials.exists()


def test_a_third_password_waits() -> None:
    client, of = browser(), agent("h24")
    for _time in range(2):
        assert client.post(action("new_password", of), password_form()).status_code == 200
    page = refused(client, action("new_password", of), password_form(STRONG))
    assert "two are valid already" in page
    assert of.credentials.count() == 2


def test_a_certificate_is_added_and_ended() -> None:
    client, of = browser(), agent("h24")
    url = action("new_certificate", of)
    assert "not a SHA-256 fingerprint" in refused(client, url, {"fingerprint": "xyz"})
    sent(client, url, {"fingerprint": SHA256.upper()})
    assert check_certificate(of, SHA256, timezone.now())
    row = of.credentials.get()
    end = reverse("admin:popolni_agent_end_credential", args=(of.pk, row.pk))
    page = text_of(client, url_of(of))
    assert end in page
    assert SHA256 not in page
    assert "end it now?" in text_of(client, end)
    assert check_certificate(of, SHA256, timezone.now())  # asking changed nothing
    assert sent(client, end, {}) == f"{url_of(of)}#credentials"
    assert not check_certificate(of, SHA256, timezone.now())
    assert end not in text_of(client, url_of(of))


def test_a_credential_of_another_agent_is_not_ended_here() -> None:
    client, of, other = browser(), agent("h24"), agent("h24-other")
    row = add_certificate(other, SHA256)
    url = reverse("admin:popolni_agent_end_credential", args=(of.pk, row.pk))
    assert client.post(url).status_code == 404
    assert check_certificate(other, SHA256, timezone.now())


OUTLET: dict[str, Any] = {
    "kind": "shop",
    "name": "Лавка",
    "code": "h24-shop",
    "is_active": "on",
    "city": "Тула",
    "address": "ул. Мира, 1",
    "latitude": "54.193122",
    "longitude": "37.617348",
    "opening_hours": "Mo-Fr 10:00-20:00; Sa off",
    "methods": ["cash", "sbp"],
    "min_minor": "10",
    "max_minor": "15000",
    "day_max_minor": "90000",
}


def test_an_outlet_is_added_and_is_on_the_map() -> None:
    client, of = browser(), agent("h24")
    url = client.get(action("new_outlet", of)).headers["Location"]
    assert sent(client, url, OUTLET | {"agent": str(of.pk)}) == OUTLETS
    row = Outlet.objects.get(code="h24-shop")
    assert (row.agent, row.methods, row.max_minor) == (of, ["cash", "sbp"], 1_500_000)
    assert (row.latitude, row.longitude) == (Decimal("54.193122"), Decimal("37.617348"))
    link = "https://www.openstreetmap.org/?mlat=54.193122&amp;mlon=37.617348#map=17/"
    for page in (url_of(row), f"{OUTLETS}?q=h24-shop"):
        assert link in text_of(client, page)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"opening_hours": "always"}, "opening hours: can&#x27;t read &#x27;always&#x27;"),
        ({"latitude": "91"}, "Ensure this value is less than or equal to 90."),
        ({"methods": []}, "This field is required."),
        ({"methods": ["shells"]}, "Select a valid choice. shells is not one of"),
        ({"max_minor": "9"}, "the largest top-up is not below the smallest one"),
        ({"day_max_minor": "14999"}, "the sum of a day is not below the largest top-up"),
    ],
)
def test_an_outlet_that_can_t_be_is_refused_at_its_field(
    changes: dict[str, Any], sentence: str
) -> None:
    data = OUTLET | {"agent": str(agent("h24").pk)} | changes
    page = refused(browser(), reverse("admin:popolni_outlet_add"), data)
    assert page.count(sentence) == 1
    assert 'value="Лавка"' in page
    assert "violated" not in page
    assert not Outlet.objects.filter(code="h24-shop").exists()


def test_who_may_only_look_sees_words_and_no_buttons() -> None:
    of = agent("h24")
    row = contract(of, branch(operator("h24"), "h24", 24_380))
    row.commissions.create(channel="osmp", basis_points=125)
    add_password(of, STRONG)
    shop = outlet(of, "h24-shop")
    client = browser(
        *("view_agent", "view_contract", "view_commission", "view_outlet", "view_credential")
    )
    page = text_of(client, url_of(of))
    for hidden in ("new-password", "Fund", "End now", "adjustment/add", 'name="_save"'):
        assert hidden not in page
    assert "1.25" in text_of(client, url_of(row))
    assert "15,000" in text_of(client, url_of(shop))
    credential = of.credentials.get()
    for url in (
        action("new_password", of),
        action("new_certificate", of),
        action("new_contract", of),
        action("new_outlet", of),
        action("fund", row),
        action("withdraw", row),
        reverse("admin:popolni_agent_end_credential", args=(of.pk, credential.pk)),
    ):
        assert client.get(url).status_code == 403
        assert client.post(url, password_form(STRONG)).status_code == 403
    assert check_password(of, STRONG, timezone.now())


def test_without_contracts_the_page_has_no_float() -> None:
    of = agent("h24")
    fund(contract(of, branch(operator("h24"), "h24", 24_390)), 7_77)
    assert money(7_77) not in text_of(browser("view_agent", "change_agent"), url_of(of))


@pytest.mark.parametrize("url", [AGENTS, CONTRACTS, OUTLETS])
def test_without_the_permission_there_is_no_page(url: str) -> None:
    assert browser("view_operator").get(url).status_code == 403
