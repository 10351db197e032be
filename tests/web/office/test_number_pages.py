"""Numbers and subscribers in the office: lists by key, the page about a number, documents."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest
from auditlog.models import LogEntry as AuditEntry
from django.utils import timezone

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.promotions.service import budget_account
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, Unit
from popolni.ledger.statements import open_accounts, post
from popolni.subscribers.documents import Document, set_document
from popolni.subscribers.models import IdentityDocument, Number, Subscriber
from popolni.subscribers.service import open_number
from tests.web.office.desk import new_budget
from tests.web.office.support import client_as, demo, queries_of

LIST = "/admin/popolni/number/"
PEOPLE = "/admin/popolni/subscriber/"
_books = count(26_000)
_numbers = count(79_272_000_000)


pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture(autouse=True)
def _demo() -> Iterator[None]:
    with demo:
        yield


@pytest.fixture
def branch() -> Branch:
    return make_branch()


def make_branch() -> Branch:
    profile, _new = ComplianceProfile.objects.get_or_create(
        name="number pages", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    operator, _new = Operator.objects.get_or_create(
        code="number-pages",
        defaults={
            "name_ru": "Оператор",
            "name_en": "Operator",
            "name_zh": "运营商",
            "colour": "#112233",
            "mnc": "956",
            "balance_ussd": "*100#",
            "profile": profile,
        },
    )
    book = next(_books)
    return open_branch(
        operator,
        code=f"number-pages-{book}",
        book=book,
        name_ru="Филиал",
        name_en=f"Branch {book}",
        name_zh="分公司",
    )


def new_number(branch: Branch, name: str = "Anna") -> Number:
    return open_number(next(_numbers), branch, Subscriber.objects.create(name=name))


def top_up(number: Number, amount_minor: int, reference: str = "") -> str:
    """A receipt."""
    book = number.branch.book
    money = Kind.SUBSCRIBER_MONEY.account_id(number.pk)
    transfer = Transfer(
        transfer_id("web", 0, f"{number.pk} {reference}"),
        Kind.OPENING_BALANCES.account_id(),
        money,
        amount_minor,
        Code.TOP_UP_WEB,
        reference=reference or None,
    )
    (answer,) = run(post(book, [transfer]))
    assert answer.outcome.done
    return f"{book}-{answer.seq}"


def test_the_list_takes_the_same_queries_for_one_and_for_three(branch: Branch) -> None:
    owner = client_as("owner")
    make_branch()  # with one alone, there is nothing to choose by the filter
    url = f"{LIST}?branch__id__exact={branch.pk}"
    new_number(branch)
    one = queries_of(owner, url)
    new_number(branch)
    new_number(branch)
    assert queries_of(owner, url) == one == 6


def test_the_list_is_paged_by_key(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popolni.web.office.numbers.NumberAdmin.list_per_page", 2)
    owner = client_as("owner")
    numbers = [new_number(branch).pk for _each in range(5)]

    def shown(url: str) -> tuple[list[int], dict[str, str]]:
        page = owner.get(url).content.decode()
        links = {
            rel: url.replace("&amp;", "&")
            for url, rel in re.findall(r'href="([^"]+)" rel="(prev|next)"', page)
        }
        return [int(text) for text in re.findall(r"\+(7927\d{7})", page)], links

    url = f"?branch__id__exact={branch.pk}"
    first, links = shown(LIST + url)
    assert (first, set(links)) == (numbers[:2], {"next"})
    second, links = shown(LIST + links["next"])
    assert (second, set(links)) == (numbers[2:4], {"prev", "next"})
    third, last_links = shown(LIST + links["next"])
    assert (third, set(last_links)) == (numbers[4:], {"prev"})
    back, links = shown(LIST + last_links["prev"])
    assert (back, set(links)) == (numbers[2:4], {"prev", "next"})
    back, links = shown(LIST + links["prev"])
    assert (back, set(links)) == (numbers[:2], {"next"})


@pytest.mark.parametrize("key", ["x", "", "9" * 400, "1e5", "0x1", "-1", "1;drop"])
def test_a_key_that_is_none_shows_a_page(key: str) -> None:
    owner = client_as("owner")
    assert owner.get(LIST, {"after": key}).status_code == 200
    assert owner.get(LIST, {"before": key}).status_code == 200


@pytest.mark.parametrize("order", ["1", "-2.3"])
def test_no_other_order_is_taken(branch: Branch, order: str) -> None:
    number = new_number(branch, "Zoe")
    page = client_as("owner").get(LIST, {"o": order, "q": str(number.pk)}).content.decode()
    assert str(number) in page


@pytest.mark.parametrize(
    ("written", "is_found"),
    [
        ("{}", True),
        ("+7 {1} {2}-{3}", True),
        ("8{1}{2}{3}", True),
        ("{1}{2}{3}", True),
        ("792720", True),
        ("79161", False),
        ("Anna", False),
        ("%", False),
        ("٧٩٢٧", False),
    ],
)
def test_a_number_is_found_as_people_write_it(
    branch: Branch,
    written: str,
    is_found: bool,  # noqa: FBT001  # a case
) -> None:
    number = new_number(branch)
    digits = str(number.pk)
    text = written.format(digits, digits[1:4], digits[4:7], digits[7:])
    page = client_as("support").get(LIST, {"q": text, "branch__id__exact": str(branch.pk)})
    assert (str(number) in page.content.decode()) is is_found


def test_the_page_shows_money_and_timeline(branch: Branch) -> None:
    number = new_number(branch)
    receipts = [top_up(number, 100_50, f"their-{n}") for n in range(3)]
    page = client_as("support").get(f"{LIST}{number.pk}/change/").content.decode()
    assert re.search(r'data-testid="balance">301\.50\s₽<', page)
    assert [at for at in re.findall(r">(\d+-\d+)</a>", page) if at in receipts] == receipts[::-1]
    assert "their-2" in page
    assert "top-up on the web" in page


def test_the_timeline_has_pages(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popolni.web.office.number_page.TIMELINE", 2)
    number = new_number(branch)
    receipts = [top_up(number, 100, str(n)) for n in range(5)]
    support = client_as("support")
    seen, url = [], f"{LIST}{number.pk}/change/"
    for _page in range(3):
        page = support.get(url).content.decode()
        seen += re.findall(r">(\d+-\d+)</a>", page)
        older = re.search(r'href="(\?before=\d+)"', page)
        url = f"{LIST}{number.pk}/change/{older[1] if older else ''}"
    assert seen == receipts[::-1]


def test_the_page_takes_the_same_queries_whatever_happened(branch: Branch) -> None:
    support = client_as("support")
    number = new_number(branch)
    url = f"{LIST}{number.pk}/change/"
    top_up(number, 100, "1")
    one = queries_of(support, url)
    top_up(number, 100, "2")
    top_up(number, 100, "3")
    assert queries_of(support, url) == one == 8


def test_what_a_top_up_would_give(branch: Branch) -> None:
    number = new_number(branch)
    asked = {"amount_minor": "500", "channel": "osmp", "method": "cash"}
    page = client_as("support").get(f"{LIST}{number.pk}/change/", asked).content.decode()
    answer = page[page.index('data-testid="answer"') :]
    assert "the operator takes no top-ups through this channel" in answer


def test_an_allowance_says_what_it_is_for(branch: Branch) -> None:
    number, ends = new_number(branch), timezone.now() + timedelta(days=1)
    for unit, kind, granted in (
        (Unit.BYTE, Kind.PLAN_BYTES, 2**30),
        (Unit.MESSAGE, Kind.PLAN_MESSAGES, 300),
    ):
        account = kind.account_id(number.pk)
        run(open_accounts(branch.book, [kind.account(number.pk)]))
        number.allowances.create(account=account, unit=unit, granted=granted, ends_at=ends)
    page = client_as("support").get(f"{LIST}{number.pk}/change/").content.decode()
    lines = re.findall(r'office-bar-text"><span>(.*?)</span><span[^>]*>(.*?)</span>', page)
    assert sorted(lines) == [
        ("Internet", "0 bytes of 1\N{NO-BREAK SPACE}GB"),
        ("Messages", "0 of 300 messages"),
    ]


def test_a_refused_top_up_promises_no_bonus(branch: Branch) -> None:
    number, budget = new_number(branch), new_budget("percent", branch)
    money = transfer_id("budget", 0, str(budget.pk))
    accounts = Kind.BANK.account_id(), budget_account(budget)
    run(post(branch.book, [Transfer(money, *accounts, 100_000, Code.BUDGET_FUNDING)]))
    asked = {"amount_minor": "500", "channel": "osmp", "method": "cash"}
    url, support = f"{LIST}{number.pk}/change/", client_as("support")
    page = support.get(url, asked).content.decode()
    answer = page[page.index('data-testid="answer"') :].partition("</ul>")[0]
    assert "If it were accepted, it would bring:" in answer
    assert "+50" in answer
    assert "office-in" not in answer


@pytest.mark.parametrize("amount", ["x", "-5", "1.234", "NaN", "1e999", ""])
def test_a_sum_that_is_none_is_said(branch: Branch, amount: str) -> None:
    number = new_number(branch)
    asked = {"amount_minor": amount, "channel": "osmp", "method": "cash"}
    response = client_as("support").get(f"{LIST}{number.pk}/change/", asked)
    assert response.status_code == 200
    assert 'data-testid="answer"' not in response.content.decode()


def test_status_changes_by_button(branch: Branch) -> None:
    number, support = new_number(branch), client_as("support")

    def press(change: str) -> str:
        url = f"{LIST}{number.pk}/status/{change}/"
        page = support.post(url, follow=True).content.decode()
        number.refresh_from_db()
        return page

    assert support.get(f"{LIST}{number.pk}/status/block/").status_code == 302
    press("block")
    assert number.status == "blocked"
    press("unblock")
    assert number.status == "active"
    assert support.post(f"{LIST}{number.pk}/status/explode/").status_code == 404


@pytest.mark.parametrize("role", ["finance", "owner"])
def test_a_number_is_closed_for_good_by_finance_or_the_owner(branch: Branch, role: str) -> None:
    number, client, support = new_number(branch), client_as(role), client_as("support")
    url, page = f"{LIST}{number.pk}/status/close/", f"{LIST}{number.pk}/change/"
    assert url not in support.get(page).content.decode()
    assert support.post(url).status_code == 403
    assert url in client.get(page).content.decode()
    top_up(number, 1)
    assert "0.01" in client.post(url, follow=True).content.decode()  # still money there
    number.refresh_from_db()
    assert number.status == "active"
    empty = new_number(branch)
    client.post(f"{LIST}{empty.pk}/status/close/")
    empty.refresh_from_db()
    assert empty.status == "closed"
    assert "status/close/" not in client.get(f"{LIST}{empty.pk}/change/").content.decode()


@pytest.mark.parametrize("role", ["finance", "catalogue"])
def test_who_may_not_change_a_number(branch: Branch, role: str) -> None:
    number, client = new_number(branch), client_as(role)
    assert client.post(f"{LIST}{number.pk}/status/block/").status_code == 403
    number.refresh_from_db()
    assert number.status == "active"


@pytest.mark.parametrize("key", ["79279999999", "abc", "0", "9" * 30])
def test_a_number_that_is_not_there(key: str) -> None:
    assert client_as("owner").get(f"{LIST}{key}/change/").status_code == 404


def test_people_are_found_by_how_their_name_begins(branch: Branch) -> None:
    number = new_number(branch, "Ёлкина Zinaida")
    support = client_as("support")
    for text, is_found in (("ёлк", True), ("Zina", False), ("%", False)):
        page = support.get(PEOPLE, {"q": text}).content.decode()
        assert ("Ёлкина Zinaida" in page) is is_found, text
    page = support.get(f"{PEOPLE}{number.subscriber_id}/change/").content.decode()
    assert str(number.pk) in page


def test_people_take_the_same_queries_for_one_and_for_three(branch: Branch) -> None:
    support = client_as("support")
    new_number(branch, "Qwertz One")
    one = queries_of(support, f"{PEOPLE}?q=Qwertz")
    new_number(branch, "Qwertz Two")
    new_number(branch, "Qwertz Three")
    assert queries_of(support, f"{PEOPLE}?q=Qwertz") == one == 6


def test_a_document_is_masked_and_each_reading_is_logged(branch: Branch) -> None:
    number = new_number(branch)
    document = Document("foreign_passport", "E12345678", "ZHANG WEI")
    row = set_document(number.subscriber, document)
    support = client_as("support")
    for url in (f"{LIST}{number.pk}/change/", f"{PEOPLE}{number.subscriber_id}/change/"):
        page = support.get(url).content.decode()
        assert "5678" in page
        assert "E12345678" not in page
        assert "ZHANG" not in page
    url = f"{PEOPLE}{number.subscriber_id}/document/"
    readings = AuditEntry.objects.get_for_object(row).filter(action=AuditEntry.Action.ACCESS)
    assert "E12345678" not in support.get(url).content.decode()
    assert "E12345678" not in support.post(url, {"why": " no "}).content.decode()
    assert readings.count() == 0
    response = support.post(url, {"why": "the customer asked"})
    assert "E12345678" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    (reading,) = readings
    assert reading.additional_data == {"why": "the customer asked"}
    assert reading.actor is not None


@pytest.mark.parametrize("role", ["owner", "finance", "catalogue"])
def test_who_may_not_read_a_document(branch: Branch, role: str) -> None:
    number = new_number(branch)
    set_document(number.subscriber, Document("foreign_passport", "E12345678", "ZHANG WEI"))
    url = f"{PEOPLE}{number.subscriber_id}/document/"
    response = client_as(role).post(url, {"why": "the customer asked"})
    assert response.status_code == 403
    entries = AuditEntry.objects.get_for_objects(IdentityDocument.objects.all())
    pk = number.subscriber.document.pk
    assert not entries.filter(object_pk=str(pk), action=AuditEntry.Action.ACCESS).exists()


def test_an_export_tells_the_balances(branch: Branch) -> None:
    numbers = [new_number(branch) for _each in range(3)]
    for place, number in enumerate(numbers, start=1):
        top_up(number, place * 100)
    asked = {"action": "export_csv", "_selected_action": [number.pk for number in numbers]}
    text = b"".join(client_as("support").post(LIST, asked)).decode()
    assert [line.split(",")[-2:] for line in text.splitlines()[1:]] == [
        [f"{place}.00", "RUB"] for place in (1, 2, 3)
    ]


def test_who_may_not_see_subscribers_sees_no_names(branch: Branch) -> None:
    number = new_number(branch, "Qaqortoq Secretova")
    finance = client_as("finance")
    for url in (
        f"{LIST}{number.pk}/change/",
        f"{LIST}?q={number.pk}",
        f"/admin/search/?s={number}",
    ):
        page = finance.get(url)
        assert page.status_code == 200
        assert str(number) in page.content.decode()
        assert "Secretova" not in page.content.decode()


@pytest.mark.parametrize(
    "lookup", ["subscriber__name__startswith=Q", "subscriber__document__isnull=0"]
)
def test_an_address_asks_for_nothing_else(branch: Branch, lookup: str) -> None:
    new_number(branch)
    assert client_as("owner").get(f"{LIST}?{lookup}").status_code == 400
