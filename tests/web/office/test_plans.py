from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from popolni.agents.roles import assign, create_roles
from popolni.agents.staff import User
from popolni.catalog.formats import amount, money
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.plans.rules import Rate, WhenShort
from popolni.catalog.plans.service import new_version, terms_of
from popolni.ledger.model import Unit
from popolni.subscribers.models import Subscriber, Subscription
from popolni.subscribers.service import open_number
from tests.web.office.rooms import (
    START,
    branch,
    browser,
    operator,
    plan,
    queries_of_lists,
    refused,
    sent,
    terms,
    undone,
)

PLANS = reverse("admin:popolni_plan_changelist")
VERSIONS = reverse("admin:popolni_planversion_changelist")
ADD_PLAN = reverse("admin:popolni_plan_add")
ADD_VERSION = reverse("admin:popolni_planversion_add")
GIB = 2**30


@pytest.fixture(autouse=True)
def _undone(database_url: str) -> Iterator[None]:
    with undone(database_url):
        yield


def url_of(version: PlanVersion) -> str:
    return reverse("admin:popolni_planversion_change", args=(version.pk,))


def use(version: PlanVersion, number: int = 79270000001, book: int = 24_100) -> None:
    """Puts a number on it."""
    at = branch(version.plan.operator, f"h24-{book}", book)
    row = open_number(number, at, Subscriber.objects.create())
    Subscription.objects.create(
        number=row, version=version, period_ends_at=timezone.now() + timedelta(days=30)
    )


TERMS: dict[str, Any] = {
    "name_ru": "Тариф",
    "name_en": "Tariff",
    "name_zh": "套餐",
    "description_ru": "",
    "description_en": "For travellers",
    "description_zh": "",
    "price_minor": "450.50",
    "period_unit": "month",
    "period_count": "1",
    "when_short": "limit",
    "limited_kbit_per_s": "64",
    "valid_from_0": "2026-02-01",
    "valid_from_1": "00:00:00",
    "data_amount_0": "1.5",
    "data_amount_1": "GB",
    "voice_amount_0": "300",
    "voice_amount_1": "min",
    "messages_amount_0": "",
    "messages_amount_1": "message",
    "data_price_minor": "1.5",
    "data_block_0": "100",
    "data_block_1": "KB",
    "voice_price_minor": "",
    "voice_block_0": "",
    "voice_block_1": "min",
    "messages_price_minor": "2",
    "messages_block_0": "1",
    "messages_block_1": "message",
}


def test_lists_make_the_same_queries_with_one_row_and_with_three() -> None:
    of = operator("h24")
    urls = [f"{url}?q=h24-" for url in (PLANS, VERSIONS)]
    counts = queries_of_lists(browser(), urls, lambda place: plan(of, f"h24-{place}"))
    assert counts == [(7, 7), (5, 5)]


def test_a_plan_is_made_with_its_first_version() -> None:
    client, of = browser(), operator("h24")
    data = TERMS | {"operator": str(of.pk), "code": "h24-plan", "kind": "data"}
    assert sent(client, ADD_PLAN, data) == PLANS
    version = PlanVersion.objects.get(plan__code="h24-plan")
    assert (version.version, version.plan.kind, version.plan.operator) == (1, "data", of)
    assert terms_of(version) == terms(
        description_en="For travellers",
        price_minor=45_050,
        period_unit="month",
        period_count=1,
        when_short=WhenShort.LIMIT,
        limited_kbit_per_s=64,
        valid_from=version.valid_from,
        allowances={Unit.BYTE: 3 * GIB // 2, Unit.SECOND: 18_000},
        rates={Unit.BYTE: Rate(102_400, 150), Unit.MESSAGE: Rate(1, 200)},
    )
    page = client.get(f"{PLANS}?q=h24-plan").content.decode()
    assert "450.50" in page
    assert "1 month" in page


def test_the_role_catalogue_suffices_for_plans() -> None:
    client, of = browser("view_plan"), operator("h24")
    create_roles()
    assign(User.objects.get(pk=client.session["_auth_user_id"]), "catalogue")
    data = TERMS | {"operator": str(of.pk), "code": "h24-plan", "kind": "data"}
    assert sent(client, ADD_PLAN, data) == PLANS
    version = PlanVersion.objects.get(plan__code="h24-plan")
    assert sent(client, url_of(version), TERMS | {"price_minor": "1"}) == VERSIONS
    next_one = TERMS | {"plan": str(version.plan_id), "valid_from_0": "2026-03-01"}
    assert sent(client, ADD_VERSION, next_one) == VERSIONS
    assert PlanVersion.objects.filter(plan__code="h24-plan").count() == 2


def test_a_plan_that_the_service_refuses_keeps_what_was_typed() -> None:
    client, of = browser(), operator("h24")
    plan(of, "h24-taken")
    data = TERMS | {"operator": str(of.pk), "code": "h24-taken", "kind": "data"}
    page = refused(client, ADD_PLAN, data)
    assert "Plan with this Code already exists." in page
    assert 'value="450.50"' in page
    assert Plan.objects.filter(code="h24-taken").count() == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"limited_kbit_per_s": ""}, "say how fast limited service is: from 1 kbit/s on"),
        ({"when_short": "stop"}, "service stops here: leave the speed out"),
        ({"period_count": "0"}, "1 or more"),
        ({"price_minor": "-1"}, "The sum is not below 0"),
        ({"data_amount_0": "0.0000001"}, "is no whole number: take a smaller unit"),
        ({"data_amount_0": "0"}, "from 1 to"),
        ({"data_block_0": ""}, "say by what it is charged"),
        ({"messages_price_minor": ""}, "a block has a price"),
        (
            {"valid_to_0": "2026-02-01", "valid_to_1": "00:00:00"},
            "it ends after it begins",
        ),
        (
            {"valid_to_0": "2026-01-01", "valid_to_1": "00:00:00"},
            "it ends after it begins",
        ),
        ({"name_zh": ""}, "This field is required."),
    ],
)
def test_terms_that_can_t_be_are_refused_at_their_field(
    changes: dict[str, str], sentence: str
) -> None:
    of = operator("h24")
    data = TERMS | {"operator": str(of.pk), "code": "h24-plan", "kind": "data"} | changes
    page = refused(browser(), ADD_PLAN, data)
    assert page.count(sentence) == 1
    assert 'value="Tariff"' in page
    assert not Plan.objects.filter(code="h24-plan").exists()


def test_a_version_that_nobody_is_on_is_edited() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    page = client.get(url_of(version)).content.decode()
    assert 'value="10"' in page  # GB
    assert 'value="450.5' in page
    assert sent(client, url_of(version), TERMS | {"price_minor": "500"}) == VERSIONS
    version = PlanVersion.objects.get(plan__code="h24-plan")
    assert (version.version, version.price_minor) == (1, 50_000)
    assert terms_of(version).allowances == {Unit.BYTE: 3 * GIB // 2, Unit.SECOND: 18_000}


def test_a_version_keeps_the_moment_that_nobody_touched() -> None:
    begins = datetime(2026, 1, 1, 9, 0, 0, 123_456, tzinfo=UTC)
    client, version = browser(), plan(operator("h24"), "h24-plan", valid_from=begins)
    local = timezone.localtime(begins)
    moment = {"valid_from_0": f"{local:%Y-%m-%d}", "valid_from_1": f"{local:%H:%M:%S}"}
    sent(client, url_of(version), TERMS | moment)
    version.refresh_from_db()
    assert version.valid_from == begins


def test_a_version_in_use_is_only_shown() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    page = client.get(url_of(version)).content.decode()
    rate = f"{money(150)} for each begun {amount(2**20, Unit.BYTE)}"
    included = f"{amount(10 * GIB, Unit.BYTE)}, {amount(18_000, Unit.SECOND)}"
    for shown in (rate, included, "450.50", "so it stays as it is"):
        assert shown in page
    assert 'name="price_minor"' not in page
    assert 'name="_save"' not in page
    assert f"/planversion/{version.pk}/new-version/" in page


def test_a_version_in_use_is_not_edited_by_a_forged_form() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    before = terms_of(version)
    assert client.post(url_of(version), TERMS).status_code == 403
    assert terms_of(PlanVersion.objects.get(pk=version.pk)) == before


def test_a_version_that_gets_used_while_it_is_edited_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    monkeypatch.setattr("popolni.web.office.plans._is_used", lambda _version: False)
    page = refused(client, url_of(version), TERMS | {"name_en": "Typed"})
    assert "there are numbers on Tariff (v1): make a new version of Tariff" in page
    assert 'value="Typed"' in page


@pytest.mark.parametrize("model", ["plan", "planversion"])
def test_a_new_version_begins_with_what_the_last_one_says(model: str) -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    pk = version.plan_id if model == "plan" else version.pk
    button = reverse(f"admin:popolni_{model}_new_version", args=(pk,))
    url = client.get(button).headers["Location"]
    assert url == f"{ADD_VERSION}?from={version.pk}"
    page = client.get(url).content.decode()
    for value in ("Тариф", "450.5", "30", "10", "300"):
        assert f'value="{value}"' in page or f'value="{value}0"' in page
    assert f'<option value="{version.plan_id}" selected' in page


def test_a_new_version_ends_the_one_before_it() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    tomorrow = timezone.localtime(timezone.now() + timedelta(days=1))
    data = TERMS | {"plan": str(version.plan_id), "valid_from_0": f"{tomorrow:%Y-%m-%d}"}
    assert sent(client, f"{ADD_VERSION}?from={version.pk}", data) == VERSIONS
    first, second = PlanVersion.objects.filter(plan=version.plan).order_by("version")
    assert (second.version, second.price_minor) == (2, 45_050)
    assert (first.valid_from, first.valid_to) == (START, second.valid_from)


def test_a_new_version_whose_beginning_nobody_touched_begins_when_it_is_sent() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    page = client.get(f"{ADD_VERSION}?from={version.pk}").content.decode()
    assert 'name="initial-valid_from_0"' in page
    opened = timezone.localtime(timezone.now() - timedelta(hours=1))
    shown = {"valid_from_0": f"{opened:%Y-%m-%d}", "valid_from_1": f"{opened:%H:%M:%S}"}
    hidden = {f"initial-{name}": value for name, value in shown.items()}
    before = timezone.now()
    sent(client, ADD_VERSION, TERMS | {"plan": str(version.plan_id)} | shown | hidden)
    second = PlanVersion.objects.get(plan=version.plan, version=2)
    assert before <= second.valid_from <= timezone.now()


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ru", "следующая версия начинается сейчас или позже"),
        ("en", "the version after it begins now or later"),
        ("zh-hans", "后一版本须从现在或更晚的时间起生效"),
    ],
)
def test_a_new_version_that_begins_under_people_is_refused(language: str, sentence: str) -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    page = refused(client, ADD_VERSION, TERMS | {"plan": str(version.plan_id)})
    assert sentence in page
    assert 'value="2026-02-01"' in page
    assert PlanVersion.objects.filter(plan=version.plan).count() == 1


def test_a_new_version_that_begins_too_early_is_refused() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    data = TERMS | {"plan": str(version.plan_id), "valid_from_0": "2025-12-31"}
    page = refused(client, ADD_VERSION, data)
    assert "the version after it begins later than that" in page
    assert 'value="2025-12-31"' in page
    assert PlanVersion.objects.filter(plan=version.plan).count() == 1


def end_url(version: PlanVersion) -> str:
    return reverse("admin:popolni_planversion_end_sale", args=(version.pk,))


@pytest.mark.parametrize(
    ("language", "button", "said"),
    [
        ("ru", "Прекратить продажу", "продаётся до"),
        ("en", "End the sale", "is sold until"),
        ("zh-hans", "停止销售", "停售时间"),
    ],
)
def test_the_sale_of_a_version_in_use_is_ended(language: str, button: str, said: str) -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    before = terms_of(version)
    page = client.get(url_of(version)).content.decode()
    assert button in page
    assert f'href="{end_url(version)}"' in page
    assert button in client.get(end_url(version)).content.decode()
    asked_at = timezone.now()
    assert sent(client, end_url(version), {"at_0": "", "at_1": ""}) == url_of(version)
    row = PlanVersion.objects.get(pk=version.pk)
    assert row.valid_to is not None
    assert asked_at <= row.valid_to <= timezone.now()
    assert terms_of(row) == replace(before, valid_to=row.valid_to)
    page = client.get(url_of(version)).content.decode()
    assert said in page
    assert "&lt;" not in page
    (entry,) = LogEntry.objects.get_for_object(row).filter(action=LogEntry.Action.UPDATE)
    assert (list(entry.changes), entry.actor_id) == (
        ["valid_to"],
        int(client.session["_auth_user_id"]),
    )


def test_a_sale_ends_at_a_moment_to_come() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    tomorrow = timezone.localtime(timezone.now() + timedelta(days=1)).replace(microsecond=0)
    data = {"at_0": f"{tomorrow:%Y-%m-%d}", "at_1": f"{tomorrow:%H:%M:%S}"}
    assert sent(client, end_url(version), data) == url_of(version)
    assert PlanVersion.objects.get(pk=version.pk).valid_to == tomorrow


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ru", "продажа версии Тариф (v1) прекращается сейчас или позже"),
        ("en", "the sale of Tariff (v1) ends now or later"),
        ("zh-hans", "套餐 (v1)只能从现在或更晚的时间起停售"),
    ],
)
def test_a_sale_that_is_to_end_in_the_past_goes_on(language: str, sentence: str) -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    use(version)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    page = refused(client, end_url(version), {"at_0": "2026-03-01", "at_1": "00:00:00"})
    assert sentence in page
    assert 'value="2026-03-01"' in page
    assert PlanVersion.objects.get(pk=version.pk).valid_to is None


def test_the_end_of_a_sale_is_a_date_with_a_time() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    page = refused(client, end_url(version), {"at_0": "tomorrow", "at_1": "00:00:00"})
    assert "Enter a valid date." in page
    assert client.get(end_url(version).replace(str(version.pk), "0")).status_code == 404


def test_without_the_permission_no_sale_ends() -> None:
    client, version = browser("view_planversion"), plan(operator("h24"), "h24-plan")
    use(version)
    assert end_url(version) not in client.get(url_of(version)).content.decode()
    assert client.get(end_url(version)).status_code == 403
    assert client.post(end_url(version), {"at_0": "", "at_1": ""}).status_code == 403
    assert PlanVersion.objects.get(pk=version.pk).valid_to is None


def test_the_plan_s_page_lists_its_versions() -> None:
    client, version = browser(), plan(operator("h24"), "h24-plan")
    new_version(
        version.plan, terms(name_en="Second", price_minor=99_900, valid_from=timezone.now())
    )
    url = reverse("admin:popolni_plan_change", args=(version.plan_id,))
    page = client.get(url).content.decode()
    assert "Second" in page
    assert "999" in page
    versions = {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}
    sent(client, url, versions | {"kind": "voice", "code": "forged"})
    saved = Plan.objects.get(pk=version.plan_id)
    assert (saved.kind, saved.code) == ("voice", "h24-plan")


@pytest.mark.parametrize(
    ("permissions", "url"),
    [
        (("view_operator",), PLANS),
        (("view_operator",), VERSIONS),
        (("view_planversion",), ADD_VERSION),
        (("add_plan", "view_plan"), ADD_PLAN),
    ],
)
def test_without_the_permission_there_is_no_page(permissions: tuple[str, ...], url: str) -> None:
    assert browser(*permissions).get(url).status_code == 403


def test_without_the_permission_there_is_no_new_version() -> None:
    client, version = browser("view_plan", "view_planversion"), plan(operator("h24"), "h24-plan")
    button = reverse("admin:popolni_planversion_new_version", args=(version.pk,))
    assert client.get(button).status_code == 403
    assert button not in client.get(url_of(version)).content.decode()
    assert client.post(url_of(version), TERMS).status_code == 403
