"""A real browser on a real `popolni demo`: one of each for all of these tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.chromium import ADVICE, ARGUMENTS, find_chromium
from tests.embedded.programs import Running, running

ACTION_MS = 20_000


@pytest.fixture(scope="module")  # while it lives, no other event loop runs in this process
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"no Chromium here: {ADVICE}")
        pytest.skip(f"no Chromium here: {ADVICE}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("demo"), "demo") as program:
        yield program


class Person:
    """Somebody at a browser of their own, with what its console said."""

    def __init__(self, context: BrowserContext, port: int) -> None:
        self.context, self.port = context, port
        self.page: Page = context.new_page()
        self.page.set_default_timeout(ACTION_MS)
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def go(self, path: str) -> Page:
        response = self.page.goto(self.url(path))
        assert response is not None
        assert response.status == 200, (path, response.status)
        return self.page

    def resize(self, width: int, height: int = 900) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def sign_in(self, login: str, password: str) -> None:
        self.go("/admin/login/")
        self.page.fill("#id_username", login)
        self.page.fill("#id_password", password)
        self.page.click("#login-form button[type=submit]")
        self.page.wait_for_url(lambda url: "/login/" not in url)

    def speak(self, language: str) -> None:
        cookie = {"name": "django_language", "value": language, "url": self.url("/")}
        self.context.add_cookies([cookie])  # type: ignore[list-item]  # a TypedDict of these


class Office:
    """Where people come in."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.browser, self.port = browser, port
        self.contexts: list[BrowserContext] = []
        self.people: list[Person] = []

    def someone(self, *, width: int = 1440, height: int = 900) -> Person:
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, locale="en-GB"
        )
        self.contexts.append(context)
        self.people.append(Person(context, self.port))
        return self.people[-1]

    def signed_in(self, login: str, *, width: int = 1440, language: str = "en") -> Person:
        person = self.someone(width=width)
        person.sign_in(login, f"{login}-demo")
        person.speak(language)
        return person

    def refused(self) -> list[str]:
        """What the pages' own policy kept a browser from."""
        faults = [fault for person in self.people for fault in person.faults]
        return [fault for fault in faults if "Content Security Policy" in fault]

    def close(self) -> None:
        for context in self.contexts:
            context.close()


@pytest.fixture
def office(browser: Browser, demo: Running) -> Iterator[Office]:
    opened = Office(browser, demo.port)
    yield opened
    opened.close()
    assert opened.refused() == []


@pytest.fixture
def shots(request: pytest.FixtureRequest) -> Path | None:
    """Where a test leaves pictures for people to look at, if somebody wants them."""
    folder: str | None = request.config.getoption("--shots")
    return Path(folder) if folder else None
