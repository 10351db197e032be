"""Rooms that a new demo has nothing in: registries, a webhook, plans, what was set aside.

They are furnished as people would, then seen at a desk and on a phone, in three languages.
"""

import re
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Office, Person
from tests.embedded.programs import Running

AGENT, NUMBER = "/admin/popolni/agent/1/", "/admin/popolni/number/79160000001/"
RECONCILIATIONS = "/admin/popolni/reconciliation/"
YESTERDAY = date.today() - timedelta(days=1)  # noqa: DTZ011  # as the one at the desk says it
DESK, PHONE = 1280, 390


def send_form(page: Page) -> None:
    page.locator("form[novalidate] button[type=submit]").first.click()
    page.wait_for_load_state()


def send_registry(owner: Person, name: str, text: str) -> str:
    """The page of what was found in it."""
    page = owner.go(f"{RECONCILIATIONS}add/")
    layout = page.locator("select[name=layout] option:not([value=''])").first
    page.evaluate(
        "key => { document.querySelector('select[name=layout]').value = key }",
        layout.get_attribute("value"),
    )
    page.fill("[name=first_day]", YESTERDAY.isoformat())
    page.set_input_files(
        "input[type=file]", {"name": name, "mimeType": "text/csv", "buffer": text.encode()}
    )
    send_form(page)
    path = re.search(r"/admin/popolni/reconciliation/\d+/change/", page.url)
    assert path is not None, page.locator("main, body").first.inner_text()
    return path[0]


def set_aside(demo: Running) -> str:
    """The page of an entry that a reader went on without."""
    url = re.search(r"postgresql://[^\s']+", demo.shown)
    assert url is not None, demo.shown
    with psycopg.connect(url[0], autocommit=True) as connection:
        row = connection.execute(
            "insert into popolni_setaside (reader, book, seq, reason, tries, set_aside_at, how,"
            " note) values ('notices', 1, 100, 'ValueError: no such plan', 5, now(), '', '')"
            " on conflict (reader, book, seq) do update set tries = 5 returning id"
        ).fetchone()
    assert row is not None
    return f"/admin/popolni/setaside/{row[0]}/change/"


def difference_of(owner: Person, run: str) -> str:
    """Where what to do with its first difference is asked for."""
    url = owner.go(run).locator("#run td .office-buttons a").first.get_attribute("href")
    assert url is not None
    return url


def reversal(owner: Person) -> str:
    """Where a top-up's reversal is asked for."""
    page = owner.go(f"{NUMBER}change/")
    links = page.locator("a[href*='/admin/transfers/']").all()
    places = dict.fromkeys(str(link.get_attribute("href")) for link in links)
    for place in places:
        link = owner.go(place).locator("a[href$='/reverse/']")
        if link.count():
            return str(link.first.get_attribute("href"))
    raise AssertionError(places)


@pytest.fixture(scope="module")
def furnished() -> list[str]:
    """The pages, once they were furnished."""
    return []


def furnish(owner: Person, demo: Running) -> list[str]:
    send_form(owner.go(f"{AGENT}registries/"))
    page = owner.go(f"{AGENT}webhook/")
    page.fill("[name=url]", "https://agent.example/hook")
    send_form(page)
    page = owner.go(f"{AGENT}webhook/")
    page.locator("form[action$='/ping/'] button").click()
    page.wait_for_load_state()
    stamp = f"{YESTERDAY:%Y%m%d}120000"
    lines = [f"lost-{n};{stamp};7916000000{n};{n}50.00;\n" for n in range(1, 4)]
    run = send_registry(owner, "registry.csv", "".join(lines))
    unreadable = send_registry(owner, "other.csv", "Отчёт агента\n1;2\n")
    return [
        f"{AGENT}change/",
        f"{AGENT}registries/",
        f"{AGENT}webhook/",
        f"{AGENT}webhook/secret/",
        RECONCILIATIONS,
        f"{RECONCILIATIONS}add/",
        run,
        unreadable,
        difference_of(owner, run),
        reversal(owner),
        f"{NUMBER}change/",
        f"{NUMBER}plan/",
        "/admin/popolni/promotionbudget/",
        "/admin/popolni/promotion/1/change/",
        "/admin/popolni/setaside/",
        set_aside(demo),
    ]


@pytest.mark.parametrize("language", ["ru", "en", "zh-hans"])
def test_each_fits_and_is_in_its_language(
    office: Office, demo: Running, furnished: list[str], shots: Path | None, language: str
) -> None:
    owner = office.signed_in("owner", width=DESK, language=language)
    if not furnished:
        furnished += furnish(owner, demo)
    too_wide = []
    for at, path in enumerate(furnished):
        page = owner.go(path)
        assert page.locator("html").get_attribute("lang") == language, path
        for width in (DESK, PHONE):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                too_wide.append((path, width))
            if shots:
                name = f"{at:02}_{path.strip('/').replace('/', '_')}_{language}_{width}.png"
                page.screenshot(path=shots / name, full_page=True)
        page.set_viewport_size({"width": DESK, "height": 900})
    assert too_wide == []
    assert owner.faults == []
