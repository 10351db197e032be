"""Pages that say why there is none: in the office's frame, and in the languages of it."""

from collections.abc import Iterator

import pytest
from django.test import Client, override_settings

from tests.web.office.desk import HOST, new_user, signed_in
from tests.web.office.support import demo

pytestmark = pytest.mark.usefixtures("database_url")

STYLES = 'href="/static/office/office.css"'
ICON = 'rel="icon"'
COLOURS = 'href="/static/office/colours.css"'
BANNER = "demo-banner"
MENU = 'id="nav-sidebar"'


@pytest.fixture(autouse=True)
def _demo() -> Iterator[None]:
    with demo:
        yield


def parts(page: str) -> list[str]:
    return [part for part in (STYLES, ICON, COLOURS, BANNER, MENU) if part in page]


def stranger(language: str = "en", *, checks: bool = False) -> Client:
    return Client(
        enforce_csrf_checks=checks, SERVER_NAME=HOST, headers={"accept-language": language}
    )


def test_no_such_page_and_the_way_back() -> None:
    answer = signed_in(new_user("support")).get("/admin/popolni/number/1/change/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert parts(page) == [STYLES, ICON, COLOURS, BANNER, MENU]
    assert "There is nothing here" in page
    assert 'href="/admin/"' in page


def test_who_is_not_signed_in_gets_no_menu() -> None:
    answer = stranger().get("/nothing/")
    assert answer.status_code == 404
    assert parts(answer.content.decode()) == [STYLES, ICON, COLOURS, BANNER]


def test_not_for_this_role() -> None:
    answer = signed_in(new_user("support")).get("/admin/popolni/contract/")
    assert answer.status_code == 403
    assert parts(answer.content.decode()) == [STYLES, ICON, COLOURS, BANNER, MENU]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Откройте страницу заново и повторите."),
        ("en", "Open the page again and repeat."),
        ("zh-hans", "请重新打开后再试。"),
    ],
)
def test_a_form_that_has_expired(language: str, text: str) -> None:
    client = stranger(language, checks=True)
    before = f"http://{HOST}/admin/login/?next=/admin/search/"
    answer = client.post("/admin/login/", {}, headers={"referer": before})
    assert answer.status_code == 403
    page = answer.content.decode()
    assert parts(page) == [STYLES, ICON, COLOURS, BANNER]
    assert text in page
    assert f'href="{before}"' in page


@pytest.mark.parametrize("before", ["", "https://evil.example/", "javascript:alert(1)"])
def test_an_expired_form_leads_nowhere_else(before: str) -> None:
    answer = stranger(checks=True).post("/admin/login/", {}, headers={"referer": before})
    assert answer.status_code == 403
    assert 'href="/admin/"' in answer.content.decode()
    assert not before or before not in answer.content.decode()


@pytest.mark.parametrize("is_demo", [True, False])
def test_what_fails_says_no_more_than_that(
    is_demo: bool,  # noqa: FBT001  # a case
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> bool:
        raise RuntimeError("made to fail")

    monkeypatch.setattr("popolni.web.health._is_up_to_date", fail)
    client = Client(SERVER_NAME=HOST, raise_request_exception=False)
    with override_settings(DEMO=is_demo):
        answer = client.get("/readyz")
    assert answer.status_code == 500
    assert parts(answer.content.decode()) == ([BANNER] if is_demo else [])
    assert "see whether what you asked for was done" in answer.content.decode()


def test_locked_out() -> None:
    user, client = new_user("finance", "a horse, a battery"), stranger()
    sent = {"username": user.username, "password": "no horse at all"}
    answer = [client.post("/admin/login/", sent) for _try in range(5)][-1]
    assert answer.status_code == 429
    page = answer.content.decode()
    assert parts(page) == [STYLES, ICON, COLOURS, BANNER]
    assert "Too many wrong passwords" in page
