"""The demo's phone, without scripts: a top-up over OSMP buzzes it, in three languages."""

import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.embedded.programs import Running

AGENT, PASSWORD = "terminal", "demo-terminal"
PHONES = {
    79160000047: ("ru", "Пополнение на 500", "Узнать баланс", "Баланс: "),
    79160000048: ("en", "Topped up: RUB 500.", "Ask for the balance", "Balance: RUB "),
    79160000049: ("zh-hans", "充值500卢布成功", "查询余额", "余额"),
}
DESK, PHONE = (1280, 860), (390, 780)
_names = count(1)


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=False
    )
    yield context.new_page()
    context.close()


def pay(port: int, number: int) -> None:
    fields = {
        "command": "pay", "account": number, "sum": "500.00", "txn_id": f"7700{next(_names)}",
    }  # fmt: skip
    request = urllib.request.Request(  # ours
        f"http://127.0.0.1:{port + 1}/osmp/{AGENT}?{urlencode(fields)}",
        headers={"Authorization": "Basic " + b64encode(f"{AGENT}:{PASSWORD}".encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        assert b"<result>0</result>" in answer.read()


@pytest.mark.parametrize("number", list(PHONES))
def test_a_top_up_arrives_and_the_balance_is_told(
    page: Page, demo: Running, number: int, shots: Path | None
) -> None:
    language, topped_up, button, balance = PHONES[number]
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.goto(f"http://127.0.0.1:{demo.port}/demo/phone/{number}")
    assert page.locator("html").get_attribute("lang") == language
    expect(page.locator(".demo-banner")).to_be_visible()
    before = page.locator("li.theirs").count()
    pay(demo.port, number)
    expect(page.locator("li.theirs")).to_have_count(before + 1, timeout=20_000)  # by itself
    expect(page.locator("li.theirs").last).to_contain_text(topped_up)
    page.get_by_role("button", name=button).click()
    expect(page.locator("li.theirs")).to_have_count(before + 2, timeout=20_000)
    expect(page.locator("li.theirs p").last).to_contain_text(balance)
    expect(page.locator("li.theirs").last).to_be_in_viewport()
    assert page.viewport_size is not None
    width = page.viewport_size["width"]
    assert page.locator("body").bounding_box()["width"] <= width  # type: ignore[index]  # it is there
    if shots:
        page.screenshot(path=shots / f"phone_{language}_{width}.png")
    assert faults == []
