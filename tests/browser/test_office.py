"""What staff do in the back office, done in a browser."""

import base64
import re
import subprocess
import time

import pytest
from django_otp.oath import totp
from playwright.sync_api import expect

from tests.browser.conftest import Office, Person
from tests.embedded.programs import command, environment, running

ADJUSTMENTS = "/admin/popolni/adjustment/"


def test_a_float_is_funded_with_a_second_persons_approval(office: Office) -> None:
    finance, owner = office.signed_in("finance"), office.signed_in("owner")
    page = finance.go("/admin/popolni/agent/?q=terminal")
    page.locator("tbody a").first.click()
    page.get_by_role("link", name="Fund", exact=True).first.click()
    before = money_in(page.locator("strong").first.inner_text())
    page.fill("#id_amount", "150000.50")
    expect(page.locator("#forecast")).to_contain_text("Another person has to approve it")
    reason = f"payment order {time.time_ns()}"
    page.fill("#id_reason", reason)
    page.get_by_role("button", name="Ask for it").click()
    expect(page.locator("body")).to_contain_text("You asked for this yourself")
    asked = page.url

    page = owner.go("/admin/")
    page.get_by_role("link", name="Waiting for approval").click()
    expect(page.locator("body")).to_contain_text(reason)
    page.goto(asked)
    page.get_by_role("button", name="Approve and post").click()
    expect(page.locator("body")).to_contain_text("posted")

    page = finance.page
    page.goto(asked)
    page.get_by_role("link", name="Терминал-Сервис").first.click()
    expect(page.locator("body")).to_contain_text(f"{before + 150_000.50:,.2f}")

    page = owner.go("/admin/auditlog/logentry/")
    rows = page.locator("tr", has_text="Adjustment")
    expect(rows.first).to_contain_text("owner")
    expect(rows.first).to_contain_text("status")
    assert finance.faults == owner.faults == []


def money_in(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


def test_a_small_correction_is_posted_at_once(office: Office) -> None:
    support = office.signed_in("support")
    page = support.go("/admin/popolni/number/79160000007/change/")
    before = money_in(page.get_by_test_id("balance").inner_text())
    page.get_by_role("link", name="Correct the balance").click()
    page.get_by_role("link", name="Correction of a balance, upwards").click()
    page.fill("#id_amount", "12.34")
    page.fill("#id_reason", "paid twice, a receipt is here")
    page.get_by_role("button", name="Ask for it").click()
    expect(page.locator("body")).to_contain_text("posted")
    page = support.go("/admin/popolni/number/79160000007/change/")
    after = money_in(page.get_by_test_id("balance").inner_text())
    assert round(after - before, 2) == 12.34
    expect(page.locator("table").last).to_contain_text("correction of a balance, upwards")


def test_a_plan_that_numbers_are_on_gets_a_new_version(office: Office) -> None:
    catalogue, owner = office.signed_in("catalogue"), office.signed_in("owner")
    page = catalogue.go("/admin/popolni/planversion/?q=mts-data")
    page.locator("tbody a").first.click()
    expect(page.locator("body")).to_contain_text("stays as it is")
    page.get_by_role("link", name="New version").click()
    page.fill("#id_price_minor", "777.70")
    page.get_by_role("button", name="Save", exact=True).click()
    page = catalogue.go("/admin/popolni/planversion/?q=mts-data")
    expect(page.locator("body")).to_contain_text("777.70")
    page = owner.go("/admin/auditlog/logentry/")
    expect(page.locator("tr", has_text="Plan version").first).to_contain_text("catalogue")
    assert catalogue.faults == []


def test_the_search_field(office: Office) -> None:
    support = office.signed_in("support")
    page = support.go("/admin/")
    field = page.locator(".office-find input")
    field.press_sequentially("+7 916 000-00-05")
    page.locator("#office-found a", has_text="+79160000005").click()
    expect(page.get_by_test_id("balance")).to_be_visible()
    receipt = page.locator("table a", has_text=re.compile(r"^\d+-\d+$")).first.inner_text()
    field.fill(receipt)
    page.locator("#office-found a", has_text=receipt).click()
    expect(page).to_have_url(re.compile(rf"/transfers/{receipt}/$"))


def test_what_would_500_roubles_give(office: Office) -> None:
    page = office.signed_in("support").go("/admin/popolni/number/79160000001/change/")
    page.fill("#id_amount_minor", "500")
    page.select_option("#id_identity", "document")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_test_id("answer")).to_contain_text("+1\N{NO-BREAK SPACE}GB")


def test_a_document_is_read_for_a_reason(office: Office) -> None:
    support, owner = office.signed_in("support"), office.signed_in("owner")
    page = support.go("/admin/popolni/number/79160000001/change/")
    page.get_by_role("link", name="Read it").click()
    page.fill("#id_why", "the holder asked at the desk")
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("dl")).to_contain_text("Name")
    page = owner.go("/admin/auditlog/logentry/")
    expect(page.locator("tbody tr").first).to_contain_text("support")
    expect(page.locator("tbody tr").first).to_contain_text("Identity document")


def test_the_language_is_kept_for_the_next_sign_in(office: Office) -> None:
    person = office.someone()
    person.sign_in("catalogue", "catalogue-demo")
    page = person.page
    for code in ("ru", "zh-hans", "en"):
        page.locator("#nav-sidebar .cursor-pointer", has_text="unfold_more").click()
        page.locator(f"form:has(input[name=language][value='{code}']) button").click()
        expect(page.locator("html")).to_have_attribute("lang", code)
    again = office.someone()
    again.sign_in("catalogue", "catalogue-demo")
    expect(again.page.locator("html")).to_have_attribute("lang", "en")


def test_guessing_is_locked_out(office: Office) -> None:
    person = office.someone()
    for _guess in range(5):
        person.page.goto(person.url("/admin/login/"))
        if person.page.locator("#id_username").count() == 0:
            break
        person.page.fill("#id_username", "cashier")
        person.page.fill("#id_password", "wrong")
        person.page.click("#login-form button[type=submit]")
    response = person.page.goto(person.url("/admin/login/"))
    person.page.fill("#id_username", "cashier")
    person.page.fill("#id_password", "cashier-demo")
    with person.page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        person.page.click("#login-form button[type=submit]")
    assert response is not None
    assert answered.value.status == 429


@pytest.fixture
def _in_time() -> None:
    """A code is good for half a minute: not one that is about to end."""
    if time.time() % 30 > 20:
        time.sleep(30 - time.time() % 30)


@pytest.mark.usefixtures("_in_time")
def test_outside_the_demo_a_second_factor_is_set_up(
    office: Office, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("serve")
    with running(home, "serve") as serve:
        subprocess.run(
            command("staff", "add", "anna", "--role", "owner", "--language", "en"),
            env=environment(home),
            input="correct horse 7 battery\n",
            text=True,
            check=True,
            capture_output=True,
        )
        person = Person(office.someone().context, serve.port)
        person.sign_in("anna", "correct horse 7 battery")
        page = person.page
        expect(page.locator(".office-qr svg")).to_be_visible()
        key = page.locator(".office-key").inner_text().replace(" ", "")
        page.fill("#id_code", code_of(key))
        page.click("#code-form button")
        spare = page.locator(".office-codes code").all_inner_texts()
        assert len(set(spare)) == 10
        page.get_by_role("link", name=re.compile("kept")).click()
        expect(page).to_have_url(person.url("/admin/"))
        expect(page.locator(".demo-banner")).to_have_count(0)

        other = Person(office.someone().context, serve.port)
        other.sign_in("anna", "correct horse 7 battery")
        page = other.page
        page.goto(other.url("/admin/popolni/number/"))
        expect(page.locator("#id_code")).to_be_visible()  # a password alone opens nothing
        page.fill("#id_code", spare[0])
        page.click("#code-form button")
        expect(page).to_have_url(other.url("/admin/popolni/number/"))


def code_of(key: str) -> str:
    padded = key + "=" * (-len(key) % 8)
    return f"{totp(base64.b32decode(padded)):06}"
