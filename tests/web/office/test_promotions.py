from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from popolni.catalog.formats import amount, money
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_left, open_budget
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, Unit
from popolni.ledger.statements import post, read_accounts
from tests.web.office.rooms import (
    branch,
    browser,
    operator,
    plan,
    promotion,
    queries_of_lists,
    refused,
    sent,
    undone,
)

PROMOTIONS = reverse("admin:popolni_promotion_changelist")
BUDGETS = reverse("admin:popolni_promotionbudget_changelist")
ADD = reverse("admin:popolni_promotion_add")
ADD_BUDGET = reverse("admin:popolni_promotionbudget_add")
GIB = 2**30

TYPED: dict[str, Any] = {
    "code": "h24-new",
    "name_ru": "Акция",
    "name_en": "Gift",
    "name_zh": "活动",
    "is_on": "on",
    "channels": ["web", "osmp"],
    "starts_at_0": "2026-01-01",
    "starts_at_1": "00:00:00",
    "amount_min_minor": "500",
    "amount_max_minor": "",
    "per_number_max": "1",
    "per_number_days": "30",
    "bonus_0": "1",
    "bonus_1": "GB",
    "money_max_minor": "",
    "valid_days": "30",
    "description_ru": "",
    "description_en": "",
    "description_zh": "",
}
NO_BUDGETS = {"budgets-TOTAL_FORMS": "0", "budgets-INITIAL_FORMS": "0"}


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def url_of(row: Promotion | PromotionBudget) -> str:
    return reverse(f"admin:popolni_{row._meta.model_name}_change", args=(row.pk,))


def fund(budget: PromotionBudget, value: int, given: int = 0) -> None:
    """Puts into a budget of bytes, and gives some of it."""
    account, issued = budget_account(budget), Kind.ISSUED_BYTES.account_id()
    transfers = [
        Transfer(transfer_id("h24", budget.pk, 1), issued, account, value, Code.BUDGET_FUNDING)
    ]
    if given:
        transfers.append(
            Transfer(transfer_id("h24", budget.pk, 2), account, issued, given, Code.BONUS)
        )
    run(post(budget.branch.book, transfers))


def test_lists_make_the_same_queries_with_one_row_and_with_three() -> None:
    of = operator("h24")

    def make(place: int) -> None:
        budget = open_budget(
            promotion(of, f"h24-{place}"), branch(of, f"h24-{place}", 24_200 + place)
        )
        fund(budget, GIB)

    urls = [f"{url}?q=h24-" for url in (PROMOTIONS, BUDGETS)]
    assert queries_of_lists(browser(), urls, make) == [(5, 5), (5, 5)]


@pytest.mark.parametrize(
    ("changes", "gives", "value"),
    [
        ({}, "bytes", GIB),
        ({"bonus_0": "100", "bonus_1": "message"}, "messages", 100),
        ({"bonus_0": "1.5", "bonus_1": "min"}, "seconds", 90),
        ({"bonus_0": "50.50", "bonus_1": "money", "valid_days": ""}, "money", 5_050),
        ({"bonus_0": "10", "bonus_1": "percent", "valid_days": ""}, "percent", 10),
    ],
)
def test_a_promotion_is_made(changes: dict[str, Any], gives: str, value: int) -> None:
    of = operator("h24")
    mine = plan(of, "h24-plan").plan
    data = TYPED | {"operator": str(of.pk), "plans": [str(mine.pk)]} | changes
    assert sent(browser(), ADD, data) == PROMOTIONS
    row = Promotion.objects.get(code="h24-new")
    assert (row.gives, row.value, row.channels) == (gives, value, ["web", "osmp"])
    assert (row.amount_min_minor, row.per_number_max, row.is_on) == (50_000, 1, True)
    assert list(row.plans.all()) == [mine]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"valid_days": ""}, "bytes, seconds and messages end: say when"),
        ({"valid_days": "0"}, "bytes, seconds and messages end: say when"),
        ({"bonus_0": "10", "bonus_1": "percent"}, "money does not end: leave this out"),
        ({"money_max_minor": "5"}, "only for per cent of the sum: leave this out"),
        ({"amount_max_minor": "499.99"}, "the largest sum is not below the smallest one"),
        ({"ends_at_0": "2026-01-01", "ends_at_1": "00:00:00"}, "it ends after it starts"),
        ({"ends_at_0": "2025-12-31", "ends_at_1": "00:00:00"}, "it ends after it starts"),
        ({"per_number_max": ""}, "say how many times within those days"),
        ({"per_number_days": "0"}, "more than nothing; or leave it out"),
        ({"bonus_0": ""}, "This field is required."),
        ({"channels": ["fax"]}, "Select a valid choice. fax is not one of the available choices."),
    ],
)
def test_terms_that_can_t_be_are_refused_at_their_field(
    changes: dict[str, Any], sentence: str
) -> None:
    data = TYPED | {"operator": str(operator("h24").pk)} | changes
    page = refused(browser(), ADD, data)
    assert page.count(sentence) == 1
    assert 'value="Gift"' in page
    assert "violated" not in page
    assert not Promotion.objects.filter(code="h24-new").exists()


def test_plans_of_another_operator_are_refused() -> None:
    other = plan(operator("h24-other", mnc="942"), "h24-theirs").plan
    data = TYPED | {"operator": str(operator("h24").pk), "plans": [str(other.pk)]}
    page = refused(browser(), ADD, data)
    assert "plans of another operator: h24-theirs" in page


def test_what_it_gives_changes_until_there_is_a_budget() -> None:
    client, of = browser(), operator("h24")
    row = promotion(of, "h24-row")
    changed = TYPED | NO_BUDGETS | {"bonus_0": "2", "name_en": "Changed"}
    assert 'name="bonus_0"' in client.get(url_of(row)).content.decode()
    sent(client, url_of(row), changed)
    row.refresh_from_db()
    assert (row.value, row.name_en, row.channels) == (2 * GIB, "Changed", ["web", "osmp"])

    open_budget(row, branch(of, "h24", 24_210))
    page = client.get(url_of(row)).content.decode()
    assert 'name="bonus_0"' not in page
    assert "what it gives stays as it is" in page
    assert amount(2 * GIB, Unit.BYTE) in page
    forged = changed | {"bonus_0": "9", "valid_days": "99", "name_en": "Again", "gives": "money"}
    sent(client, url_of(row), forged | {"is_on": ""})
    row.refresh_from_db()
    assert (row.gives, row.value, row.valid_days) == ("bytes", 2 * GIB, 30)
    assert (row.name_en, row.is_on) == ("Again", False)


def test_a_budget_that_is_opened_meanwhile_keeps_what_it_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, of = browser(), operator("h24")
    row = promotion(of, "h24-row")
    open_budget(row, branch(of, "h24", 24_211))
    monkeypatch.setattr("popolni.web.office.promotions.has_budget", lambda _promotion: False)
    page = refused(client, url_of(row), TYPED | NO_BUDGETS | {"bonus_0": "3"})
    assert "it has a budget by now: what it gives stays as it is" in page
    assert Promotion.objects.get(pk=row.pk).value == GIB


def test_a_budget_is_opened_and_shows_what_is_left() -> None:
    client, of = browser(), operator("h24")
    row, at = promotion(of, "h24-row"), branch(of, "h24", 24_220)
    button = reverse("admin:popolni_promotion_open_budget", args=(row.pk,))
    url = client.get(button).headers["Location"]
    assert url == f"{ADD_BUDGET}?promotion={row.pk}"
    assert f'<option value="{row.pk}" selected' in client.get(url).content.decode()

    data = {"promotion": str(row.pk), "branch": str(at.pk)}
    assert sent(client, ADD_BUDGET, data) == BUDGETS
    budget = row.budgets.get()
    account = budget_account(budget)
    assert set(run(read_accounts(at.book, [account])).keys()) == {account}

    fund(budget, 10 * GIB, given=GIB)
    assert budget_left(budget) == 9 * GIB
    link = f"{reverse('admin:popolni_adjustment_add')}?kind=budget_funding&amp;budget={budget.pk}"
    for page in (client.get(f"{BUDGETS}?q=h24-row"), client.get(url_of(budget))):
        text = page.content.decode()
        for shown in (amount(9 * GIB, Unit.BYTE), amount(10 * GIB, Unit.BYTE), "90% left"):
            assert shown in text
    assert link in client.get(f"{BUDGETS}?q=h24-row").content.decode()
    fund_button = reverse("admin:popolni_promotionbudget_fund_it", args=(budget.pk,))
    assert client.get(fund_button).headers["Location"] == link.replace("&amp;", "&")
    assert amount(9 * GIB, Unit.BYTE) in client.get(url_of(row)).content.decode()


def test_a_budget_that_is_refused_keeps_what_was_typed() -> None:
    row = promotion(operator("h24"), "h24-row")
    at = branch(operator("h24-other", mnc="942"), "h24-other", 24_230)
    page = refused(browser(), ADD_BUDGET, {"promotion": str(row.pk), "branch": str(at.pk)})
    assert "is not a promotion of" in page
    assert f'<option value="{at.pk}" selected' in page
    assert not row.budgets.exists()


def test_a_branch_has_one_budget_of_a_promotion() -> None:
    of = operator("h24")
    row, at = promotion(of, "h24-row"), branch(of, "h24", 24_231)
    open_budget(row, at)
    page = refused(browser(), ADD_BUDGET, {"promotion": str(row.pk), "branch": str(at.pk)})
    assert page.count("the promotion has a budget in this branch already") == 1
    assert "violated" not in page


def test_a_budget_is_never_edited() -> None:
    of = operator("h24")
    budget = open_budget(promotion(of, "h24-row"), branch(of, "h24", 24_240))
    data = {"promotion": str(budget.promotion_id), "branch": str(budget.branch_id)}
    assert browser().post(url_of(budget), data).status_code == 403


def test_who_may_only_look_sees_words_and_no_buttons() -> None:
    of = operator("h24")
    row = promotion(of, "h24-row", gives="percent", value=10, valid_days=None, channels=["till"])
    budget = open_budget(row, branch(of, "h24", 24_250))
    client = browser("view_promotion", "view_promotionbudget")
    page = client.get(url_of(row)).content.decode()
    assert "10% of the sum" in page
    assert "till" in page
    assert money(0) in page
    listed = client.get(f"{BUDGETS}?q=h24-row").content.decode()
    assert "adjustment/add" not in listed
    for url in (
        reverse("admin:popolni_promotionbudget_fund_it", args=(budget.pk,)),
        reverse("admin:popolni_promotion_open_budget", args=(row.pk,)),
        ADD,
        ADD_BUDGET,
    ):
        assert client.get(url).status_code == 403


@pytest.mark.parametrize("url", [PROMOTIONS, BUDGETS])
def test_without_the_permission_there_is_no_page(url: str) -> None:
    assert browser("view_operator").get(url).status_code == 403
