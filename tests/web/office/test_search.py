"""The search field, the page of a receipt, and the dashboard."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest
from django.test import Client
from django.utils.timezone import now

from popolni.agents.models import Agent
from popolni.agents.service import open_contract
from popolni.agents.staff import User
from popolni.catalog.operators.models import Branch
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import TOP_UPS, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer
from popolni.ledger.statements import post
from popolni.readers.models import TopUpHour
from popolni.subscribers.models import Number
from popolni.topups.models import Adjustment
from tests.web.office.support import client_as, demo, queries_of
from tests.web.office.test_number_pages import branch, new_number

__all__ = ["branch"]  # a fixture

_agents = count(1)


pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture(autouse=True)
def _demo() -> Iterator[None]:
    with demo:
        yield


def new_agent(branch: Branch, name: str = "Chain") -> Agent:
    code = f"search-{next(_agents)}"
    agent = Agent.objects.create(code=code, name=f"{name} {code}")
    open_contract(agent, branch, reference=code, commissions={})
    return agent


def pay(agent: Agent, number: Number, identifier: str, channel: Channel = Channel.OSMP) -> str:
    book, account = number.branch.book, Kind.AGENT_FLOAT.account_id(agent.pk)
    bank, money = Kind.BANK.account_id(), Kind.SUBSCRIBER_MONEY.account_id(number.pk)
    id_ = transfer_id(channel.value, agent.pk, identifier)
    funding = Transfer(transfer_id("test fund", agent.pk, identifier), bank, account, 100, 2)
    top_up = Transfer(id_, account, money, 100, TOP_UPS[channel], reference=identifier)
    answers = run(post(book, [funding, top_up]))
    assert all(answer.outcome.done for answer in answers)
    return f"{book}-{answers[1].seq}"


def found(role: str, text: str) -> list[str]:
    page = client_as(role).get("/admin/search/", {"s": text}, headers={"hx-request": "true"})
    assert page.status_code == 200
    return re.findall(r"<strong>([^<]+)</strong>", page.content.decode())


def test_a_receipt_and_an_agents_identifier_lead_to_the_transfer(branch: Branch) -> None:
    number, agent = new_number(branch), new_agent(branch)
    identifier = f"txn {agent.code}"
    receipt = pay(agent, number, identifier, Channel.KIOSK)
    assert found("finance", receipt) == [receipt]
    assert found("finance", identifier) == [receipt]
    assert found("finance", f"{branch.book}-999999") == []
    page = client_as("finance").get(f"/admin/transfers/{receipt}/").content.decode()
    for text in (agent.name, str(number), identifier, "top-up at a kiosk"):
        assert text in page


def test_a_receipt_that_is_found_says_what_it_is_of(branch: Branch) -> None:
    number, agent = new_number(branch), new_agent(branch)
    identifier = f"about {agent.code}"
    pay(agent, number, identifier, Channel.KIOSK)
    page = client_as("finance").get("/admin/search/", {"s": identifier}).content.decode()
    (about,) = re.findall(r"</strong> · ([^<]+)<", page)
    assert re.fullmatch(
        rf"top-up at a kiosk · [\d.,]+\s₽ · {agent.name} → \+{number.pk} · money"
        r" · \d\d/\d\d/\d{4} \d\d:\d\d",
        about,
    )


def test_a_search_that_stops_early_says_so(branch: Branch) -> None:
    cut = "Only the first 10 of each kind are shown"
    name = "Quentin Many"
    numbers = [new_number(branch, name) for _each in range(11)]
    client = client_as("support")
    for headers in ({}, {"hx-request": "true"}):
        page = client.get("/admin/search/", {"s": name}, headers=headers).content.decode()
        assert page.count(f"<strong>{name}") == 10
        assert cut in page
        one = client.get("/admin/search/", {"s": str(numbers[0])}, headers=headers)
        assert cut not in one.content.decode()


def test_who_sees_no_agents_finds_no_identifiers(branch: Branch) -> None:
    number, agent = new_number(branch), new_agent(branch)
    identifier = f"secret {agent.code}"
    receipt = pay(agent, number, identifier)
    assert found("catalogue", identifier) == found("catalogue", receipt) == []
    assert found("catalogue", agent.name) == found("catalogue", str(number)) == []
    assert client_as("catalogue").get(f"/admin/transfers/{receipt}/").status_code == 403


def test_names_and_numbers(branch: Branch) -> None:
    number = new_number(branch, "Xenia Searchova")
    agent = new_agent(branch, "Xenagora")
    assert found("support", "xenia s") == ["Xenia Searchova"]
    assert found("support", str(number)) == [str(number)]
    assert found("support", str(number.pk)[:10])[0].startswith(str(number)[:11])
    assert found("finance", "xenago") == [agent.name]


@pytest.mark.parametrize(
    "text",
    ["", " ", "x" * 5000, "1-0", "99999999999-1", "2147483648-1", "%", "'", "ab\x00cd", "٣-٣"],
)
def test_whatever_is_typed_is_answered(text: str) -> None:
    assert found("owner", text) == []
    assert client_as("owner").get("/admin/search/", {"s": text}).status_code == 200


@pytest.mark.parametrize(
    "receipt", ["1-0", "0-1", "999999-1", "99999999999-1", "1-99999999999999999999"]
)
def test_a_receipt_that_names_nothing(receipt: str) -> None:
    assert client_as("owner").get(f"/admin/transfers/{receipt}/").status_code == 404


def test_the_dashboard_adds_up_the_hours(branch: Branch) -> None:
    owner = client_as("owner")

    def shown(days: int) -> dict[str, float]:
        page = owner.get("/admin/", {"days": days}).content.decode()
        data = re.search(r'data-value="([^"]+)"', page)
        assert data
        chart = json.loads(data[1].replace("&quot;", '"'))
        return {series["label"]: sum(series["data"]) for series in chart["datasets"]}

    before = {days: shown(days) for days in (1, 7, 30)}
    hours = {0: 100, 23: 1_000, 26: 10_000, 24 * 8: 100_000, 24 * 40: 7}
    for ago, amount_minor in hours.items():
        moment = (now() - timedelta(hours=ago)).replace(minute=0, second=0, microsecond=0)
        TopUpHour.objects.create(
            book=branch.book, hour=moment, channel="osmp", payer=1, top_ups=1,
            amount_minor=amount_minor,
        )  # fmt: skip
    label = "terminals (OSMP)"
    added = {days: round((shown(days)[label] - before[days][label]) * 100) for days in before}
    assert added == {1: 1_100, 7: 11_100, 30: 111_100}


def test_the_dashboard_shows_the_floats_below_their_mark(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popolni.web.office.dashboard.LOW_MAX", 1_000_000)  # others' too
    agent = new_agent(branch, "Empty")
    page = client_as("finance").get("/admin/").content.decode()
    assert agent.name in page


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        ("owner", {"Top-ups by hour and channel", "Floats running low", "Promotion budgets"}),
        ("finance", {"Top-ups by hour and channel", "Floats running low", "Promotion budgets"}),
        ("catalogue", {"Promotion budgets"}),
        ("support", {"Promotion budgets", "Waiting for approval"}),
    ],
)
def test_each_role_sees_its_own_dashboard(role: str, sees: set[str]) -> None:
    page = client_as(role).get("/admin/").content.decode()
    heads = {"Top-ups by hour and channel", "Floats running low"}
    assert {head for head in heads | sees if head in page} == sees


def test_the_dashboard_takes_the_same_queries_for_one_float_and_for_three(branch: Branch) -> None:
    finance = client_as("finance")
    new_agent(branch)
    one = queries_of(finance, "/admin/")
    new_agent(branch)
    new_agent(branch)
    assert queries_of(finance, "/admin/") == one


def test_the_menu_shows_what_may_be_opened() -> None:
    for role, hidden in (("catalogue", "number"), ("support", "user"), ("finance", "subscriber")):
        client = client_as(role)
        page = client.get("/admin/").content.decode()
        links = set(re.findall(r'href="(/admin/popolni/\w+/)"', page))
        assert f"/admin/popolni/{hidden}/" not in links
        assert client.get(f"/admin/popolni/{hidden}/").status_code == 403
        assert {client.get(link).status_code for link in links} == {200}


def test_a_floats_transfer_is_for_who_may_see_floats(branch: Branch) -> None:
    number, agent = new_number(branch), new_agent(branch)
    top_up = pay(agent, number, f"seen {agent.code}")
    book, seq = top_up.split("-")
    funding = f"{book}-{int(seq) - 1}"
    for role, sees in (("support", False), ("finance", True)):
        client = client_as(role)
        assert client.get(f"/admin/transfers/{top_up}/").status_code == 200
        assert (client.get(f"/admin/transfers/{funding}/").status_code == 200) is sees


def test_the_dashboard_counts_what_the_list_shows(branch: Branch) -> None:
    contract = new_agent(branch).contracts.get()
    support, finance = client_as("support"), client_as("finance")

    def waiting(client: Client) -> int:
        page = client.get("/admin/").content.decode()
        found = re.search(r'Waiting for approval</p><p class="office-figure">(\d+)', page)
        assert found
        return int(found[1])

    before = waiting(support), waiting(finance)
    Adjustment.objects.create(
        kind=Adjustment.Kind.FLOAT_FUNDING,
        contract=contract,
        book=branch.book,
        amount=1,
        reason="waits",
        asked_by=User.objects.earliest("pk"),
    )
    assert (waiting(support), waiting(finance)) == (before[0], before[1] + 1)
