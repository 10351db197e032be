"""The plan of a number in the office: the form that changes it, and the buttons beside it."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from auditlog.models import LogEntry as AuditEntry
from django.test import Client
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.ledger.chart import Kind
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.service import block
from tests.subscribers.renewals.support import current, on_plan, renew
from tests.subscribers.support import left, new_branch, new_number, new_operator, new_plan
from tests.web.office.support import client_as, demo, queries_of

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture(autouse=True)
def _demo() -> Iterator[None]:
    with demo:
        yield


@pytest.fixture
def branch() -> Branch:
    return new_branch(new_operator("pages", "929"))


@pytest.fixture
def support() -> Client:
    return client_as("support")


def url(number: Number, button: str = "") -> str:
    return f"/admin/popolni/number/{number.pk}/plan/{f'{button}/' if button else ''}"


def page_of(client: Client, number: Number) -> str:
    return client.get(f"/admin/popolni/number/{number.pk}/change/").content.decode()


def form_of(client: Client, number: Number) -> dict[str, str]:
    page = client.get(url(number)).content.decode()
    found = re.search(r'name="shown_at" value="([^"]+)"', page)
    assert found is not None
    return {"shown_at": found[1].replace("&#x2B;", "+")}


def money(number: Number) -> int:
    return left(number, Kind.SUBSCRIBER_MONEY)


def test_a_plan_is_changed_at_once_and_once(branch: Branch, support: Client) -> None:
    number, former = on_plan(branch, money_minor=1_000_00)
    other = new_plan(branch.operator, price_minor=100_00)
    sent = form_of(support, number) | {"version": str(other.pk), "when": "now"}
    for _time in range(2):
        answer = support.post(url(number), sent)
        assert answer.status_code == 302
    assert money(number) == 900_00
    assert current(number).version == other
    assert ">100\N{NO-BREAK SPACE}₽ · active" in page_of(support, number)
    former.refresh_from_db()
    trail = AuditEntry.objects.get_for_object(former)
    assert trail.filter(changes__has_key="ended_at", actor__isnull=False).count() == 1


def test_a_plan_is_queued_and_taken_back(branch: Branch, support: Client) -> None:
    number, former = on_plan(branch, at=timezone.now())
    other = new_plan(branch.operator, price_minor=100_00)
    PlanVersion.objects.filter(pk=other.pk).update(name_en="Other name")
    sent = form_of(support, number) | {"version": str(other.pk), "when": "next"}
    page = support.post(url(number), sent, follow=True).content.decode()
    assert f"{number} goes on Other name with its next period" in page
    assert "With the next period: Other name" in page
    assert current(number).next_version == other
    page = support.post(url(number, "stay"), follow=True).content.decode()
    assert f"{number} stays on its plan" in page
    assert "Other name" not in page
    assert (current(number).version, current(number).next_version) == (former.version, None)


def test_auto_renewal_is_switched_off_and_on(branch: Branch, support: Client) -> None:
    number, _ = on_plan(branch, at=timezone.now())
    page = support.post(url(number, "renewal-off"), follow=True).content.decode()
    assert "does not renew by itself any more" in page
    assert "not renewed" in page
    assert not current(number).is_renewed
    page = support.post(url(number, "renewal-on"), follow=True).content.decode()
    assert "renews by itself" in page
    assert current(number).is_renewed
    assert support.get(url(number, "renewal-off")).status_code == 302
    assert current(number).is_renewed
    assert support.post(url(number, "explode")).status_code == 404


def test_a_lapsed_number_says_so(branch: Branch, support: Client) -> None:
    number, _ = on_plan(branch)
    renew(branch, timezone.now())
    assert "it begins again once the money is enough" in page_of(support, number)
    Subscription.objects.filter(number=number).update(is_renewed=False)
    assert "it is not renewed" in page_of(support, number)


def test_too_little_money_is_said_in_the_form(branch: Branch, support: Client) -> None:
    number, former = on_plan(branch, money_minor=99_99)
    other = new_plan(branch.operator, price_minor=100_00)
    sent = form_of(support, number) | {"version": str(other.pk), "when": "now"}
    answer = support.post(url(number), sent)
    assert answer.status_code == 200
    assert "too little money" in answer.content.decode()
    assert current(number) == former


def test_what_can_be_chosen(branch: Branch, support: Client) -> None:
    number, _ = on_plan(branch)
    mine = new_plan(branch.operator)
    ended = new_plan(branch.operator, valid_to=timezone.now())
    others = new_plan(new_operator("other", "926"))
    page = support.get(url(number)).content.decode()
    shown = set(map(int, re.findall(r'<option value="(\d+)"', page)))
    assert mine.pk in shown
    assert not shown & {ended.pk, others.pk}
    for version in (ended, others):
        sent = form_of(support, number) | {"version": str(version.pk), "when": "now"}
        assert support.post(url(number), sent).status_code == 200


def test_the_first_plan_begins_now(branch: Branch, support: Client) -> None:
    number, version = new_number(branch, 300_00), new_plan(branch.operator)
    assert "Choose a plan" in page_of(support, number)
    sent = form_of(support, number) | {"version": str(version.pk)}
    assert support.post(url(number), sent | {"when": "next"}).status_code == 200
    assert support.post(url(number), sent | {"when": "now"}).status_code == 302
    assert current(number).version == version


@pytest.mark.parametrize("minutes", [-1, 31])
def test_a_form_of_another_time(branch: Branch, support: Client, minutes: int) -> None:
    number, _ = on_plan(branch, money_minor=1_000_00)
    other = new_plan(branch.operator)
    at = timezone.now() - timedelta(minutes=minutes)
    sent = {"shown_at": at.isoformat(timespec="microseconds"), "version": str(other.pk)}
    answer = support.post(url(number), sent | {"when": "now"})
    assert "This form is old" in answer.content.decode()
    assert money(number) == 1_000_00


def test_a_blocked_number_has_no_buttons(branch: Branch, support: Client) -> None:
    number, _ = on_plan(branch)
    block(number)
    assert url(number) not in page_of(support, number)


@pytest.mark.parametrize("role", ["finance", "catalogue"])
def test_who_may_not(branch: Branch, role: str) -> None:
    number, _ = on_plan(branch)
    client = client_as(role)
    assert client.get(url(number)).status_code == 403
    assert client.post(url(number, "renewal-off")).status_code == 403
    assert current(number).is_renewed
    if role == "finance":
        assert url(number) not in page_of(client, number)


def test_the_form_takes_the_same_queries_for_one_and_for_three(
    branch: Branch, support: Client
) -> None:
    number, _ = on_plan(branch)
    one = queries_of(support, url(number))
    for _ in range(3):
        new_plan(branch.operator)
    assert queries_of(support, url(number)) == one
