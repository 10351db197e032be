from collections.abc import Iterator

import pytest
from django.urls import reverse

from popolni.agents.roles import assign, create_roles
from popolni.agents.staff import User
from popolni.catalog.numbering.models import Region
from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.ledger.client import run
from popolni.ledger.statements import open_book
from tests.web.office.rooms import (
    branch,
    browser,
    operator,
    profile,
    queries_of_lists,
    refused,
    sent,
    undone,
)

OPERATORS = reverse("admin:popolni_operator_changelist")
BRANCHES = reverse("admin:popolni_branch_changelist")
PROFILES = reverse("admin:popolni_complianceprofile_changelist")


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def names(text: str) -> dict[str, str]:
    return {f"name_{language}": f"{text} {language}" for language in ("ru", "en", "zh")}


def formset(prefix: str, *rows: dict[str, str], initial: int = 0) -> dict[str, str]:
    management = {f"{prefix}-TOTAL_FORMS": str(len(rows)), f"{prefix}-INITIAL_FORMS": str(initial)}
    return management | {
        f"{prefix}-{place}-{name}": value
        for place, row in enumerate(rows)
        for name, value in row.items()
    }


def test_lists_make_the_same_queries_with_one_row_and_with_three() -> None:
    def make(place: int) -> None:
        branch(operator(f"h24-{place}", mnc=f"94{place}"), f"h24-{place}", 24_000 + place)

    urls = [f"{url}?q=h24-" for url in (OPERATORS, BRANCHES, PROFILES)]
    assert queries_of_lists(browser(), urls, make) == [(4, 4), (5, 5), (4, 4)]


def test_an_operator_is_added_and_changed() -> None:
    client, of = browser(), profile("h24")
    data = names("Н") | {
        "code": "h24-new",
        "colour": "#00aaff",
        "mnc": "949",
        "balance_ussd": "*105#",
        "profile": str(of.pk),
    }
    assert sent(client, reverse("admin:popolni_operator_add"), data) == OPERATORS
    row = Operator.objects.get(code="h24-new")
    assert (row.name_en, row.colour, row.profile) == ("Н en", "#00aaff", of)
    page = refused(
        client, reverse("admin:popolni_operator_change", args=(row.pk,)), data | {"mnc": "x"}
    )
    assert 'value="Н zh"' in page  # what was typed stays


def test_the_list_shows_the_colour_and_leads_to_the_profile() -> None:
    row = operator("h24-colour")
    page = browser().get(f"{OPERATORS}?q=h24-colour").content.decode()
    assert 'fill="#12ab34"' in page
    assert reverse("admin:popolni_complianceprofile_change", args=(row.profile_id,)) in page


def test_a_branch_is_opened_with_its_book() -> None:
    client, of = browser(), operator("h24")
    region = Region.objects.create(name="Область h24")
    data = names("Ф") | {
        "operator": str(of.pk),
        "code": "h24-branch",
        "book": "24010",
        "currency": "KZT",
        "time_zone": "Asia/Almaty",
        "approval_from_minor": "5000.50",
        "low_balance_minor": "50",
        "regions": [str(region.pk)],
    }
    assert sent(client, reverse("admin:popolni_branch_add"), data) == BRANCHES
    row = Branch.objects.get(code="h24-branch")
    assert (row.book, row.currency, row.approval_from_minor) == (24_010, "KZT", 500_050)
    assert row.low_balance_minor == 50_00
    assert list(row.regions.all()) == [region]
    assert run(open_book(24_010, "KZT")) is False  # it is there

    changed = data | {"book": "24011", "currency": "RUB", "code": "other", "name_en": "Renamed"}
    changed |= {"low_balance_minor": ""}
    sent(client, reverse("admin:popolni_branch_change", args=(row.pk,)), changed)
    row.refresh_from_db()
    assert (row.name_en, row.book, row.currency, row.code) == (
        *("Renamed", 24_010, "KZT", "h24-branch"),
    )
    assert row.low_balance_minor is None  # nobody is warned


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"book": "24020"}, "book 24020 is in the ledger already: take another number"),
        ({"time_zone": "Europe/Tula"}, "there is no time zone"),
    ],
)
def test_a_branch_that_is_refused_keeps_what_was_typed(
    changes: dict[str, str], sentence: str
) -> None:
    client, of = browser(), operator("h24")
    run(open_book(24_020, "RUB"))
    data = names("Ф") | {
        "operator": str(of.pk),
        "code": "h24-branch",
        "book": "24021",
        "currency": "RUB",
        "time_zone": "Europe/Moscow",
        "approval_from_minor": "5000.50",
    }
    page = refused(client, reverse("admin:popolni_branch_add"), data | changes)
    assert sentence in page
    assert 'value="5000.50"' in page
    assert not Branch.objects.filter(code="h24-branch").exists()


PROFILE = {
    "name": "h24 profile",
    "cash_identity": "document",
    "cash_identity_from_minor": "15000",
    "day_max_minor": "15000",
    "month_max_minor": "40000",
}
WEB = {"channel": "web", "min_minor": "10", "max_minor": "15000"}
CASH = {"method": "cash", "is_on": "on"}


def test_a_profile_is_added_with_its_rows_and_changed() -> None:
    client = browser()
    off = {"method": "paypal", "why_off_ru": "нет", "why_off_en": "no", "why_off_zh": "无"}
    data = PROFILE | formset("channel_limits", WEB) | formset("methods", CASH, off)
    assert sent(client, reverse("admin:popolni_complianceprofile_add"), data) == PROFILES
    row = ComplianceProfile.objects.get(name="h24 profile")
    limit = row.channel_limits.get()
    assert (row.cash_identity_from_minor, row.month_max_minor) == (1_500_000, 4_000_000)
    assert (limit.channel, limit.min_minor, limit.max_minor) == ("web", 1_000, 1_500_000)
    assert sorted(row.methods.values_list("method", "is_on")) == [("cash", True), ("paypal", False)]

    kept = WEB | {"id": str(limit.pk), "profile": str(row.pk), "channel": "till", "max_minor": "99"}
    data = PROFILE | formset("channel_limits", kept, initial=1) | formset("methods")
    sent(client, reverse("admin:popolni_complianceprofile_change", args=(row.pk,)), data)
    limit.refresh_from_db()
    assert (limit.channel, limit.max_minor) == ("web", 9_900)  # a row stays about its channel


@pytest.mark.parametrize(
    ("profile_changes", "limits", "methods", "sentence"),
    [
        ({"month_max_minor": "14999.99"}, [], [], "the sum of a month is not below"),
        ({}, [WEB | {"max_minor": "9.99"}], [], "the largest top-up is not below the smallest one"),
        ({}, [WEB | {"min_minor": "0"}], [], "a top-up is more than nothing"),
        ({}, [WEB, WEB], [], "there is a row for this already"),
        ({}, [], [{"method": "cash"}], "a method that is off says why"),
        ({}, [], [CASH, CASH], "there is a row for this already"),
    ],
)
def test_a_profile_that_can_t_be_is_refused_at_its_place(
    profile_changes: dict[str, str],
    limits: list[dict[str, str]],
    methods: list[dict[str, str]],
    sentence: str,
) -> None:
    data = PROFILE | profile_changes
    data |= formset("channel_limits", *limits) | formset("methods", *methods)
    page = refused(browser(), reverse("admin:popolni_complianceprofile_add"), data)
    assert page.count(sentence) in (1, 3)  # once, or in each language
    assert "violated" not in page
    assert not ComplianceProfile.objects.filter(name="h24 profile").exists()


def test_what_may_only_be_read_is_in_whole_units() -> None:
    row = operator("h24-shown").profile
    client = browser("view_complianceprofile", "view_channellimit")
    row.channel_limits.create(channel="web", min_minor=1_050, max_minor=123_456_00)
    page = client.get(reverse("admin:popolni_complianceprofile_change", args=(row.pk,)))
    text = page.content.decode()
    for shown in ("15,000", "40,000", "10.50", "123,456"):
        assert shown in text
    assert 'name="_save"' not in text


@pytest.mark.parametrize(
    ("permission", "url"),
    [
        ("view_branch", OPERATORS),
        ("view_operator", BRANCHES),
        ("view_operator", PROFILES),
        ("view_branch", reverse("admin:popolni_branch_add")),
        ("view_operator", reverse("admin:popolni_operator_add")),
    ],
)
def test_without_the_permission_there_is_no_page(permission: str, url: str) -> None:
    assert browser(permission).get(url).status_code == 403


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("owner", "operator branch complianceprofile plan planversion promotion promotionbudget"
         " numberingrange numberingimport agent contract outlet"),
        ("catalogue", "operator branch complianceprofile plan planversion promotion promotionbudget"
         " numberingrange numberingimport"),
        ("finance", "operator branch plan planversion promotion promotionbudget agent contract"
         " outlet"),
        ("support", "operator branch plan planversion promotion promotionbudget numberingrange"
         " numberingimport agent outlet"),
    ],
)  # fmt: skip
def test_each_role_sees_its_lists_and_no_others(role: str, seen: str) -> None:
    client = browser("view_operator")
    user = User.objects.get(pk=client.session["_auth_user_id"])
    create_roles()
    assign(user, role)
    lists = (
        *("operator", "branch", "complianceprofile", "plan", "planversion", "promotion"),
        *("promotionbudget", "numberingrange", "numberingimport", "agent", "contract", "outlet"),
    )
    status = {
        name: client.get(reverse(f"admin:popolni_{name}_changelist")).status_code for name in lists
    }
    assert status == {name: 200 if name in seen.split() else 403 for name in lists}
