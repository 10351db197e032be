"""The demo's phone: what a number was told, in its language, without a script."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices import outbox
from popolni.notices.model import Data, Granted, LowBalance, SignInCode, ToppedUp
from popolni.notices.models import Notice
from popolni.notices.service import Wish, notify
from popolni.subscribers.models import Number
from popolni.web import phone
from popolni.web.phone import shown
from tests.notices.conftest import outbox as empty_outbox
from tests.subscribers.support import new_branch, new_number
from tests.web.office.support import queries_of

__all__ = ["empty_outbox"]

TOP_UP = ToppedUp(
    amount_minor=500_00,
    balance_minor=500_00,
    currency="RUB",
    bonuses=(Granted(Unit.BYTE, 2**30),),
)


@pytest.fixture(autouse=True)
def _demo(empty_outbox: None) -> Iterator[None]:
    del empty_outbox
    with override_settings(DEMO=True):
        yield


@pytest.fixture
def number() -> Number:
    return new_number(new_branch(), 100_00)


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "localhost"}, enforce_csrf_checks=True)


def tell(number: Number, data: Data, key: str, minutes: float = 5) -> None:
    notify(Wish(number.number, data, key, timezone.now() + timedelta(minutes=minutes)))
    outbox.deliver_to_inbox()


def page(client: Client, number: Number | int) -> str:
    response = client.get(f"/demo/phone/{number.number if isinstance(number, Number) else number}")
    assert response.status_code == 200
    assert "no-cache" in response.headers["Cache-Control"]
    return response.content.decode().replace("\xa0", " ")


@pytest.mark.parametrize(
    ("language", "lang", "text"),
    [
        ("ru", "ru", "Пополнение на 500 ₽. Баланс: 500 ₽. Бонус: 1 ГБ."),
        ("en", "en", "Topped up: RUB 500. Balance: RUB 500. Bonus: 1 GB."),
        ("zh", "zh-hans", "充值500卢布成功，余额500卢布。赠送1GB。"),
    ],
)
def test_in_the_subscriber_s_language(
    client: Client, number: Number, language: str, lang: str, text: str
) -> None:
    number.subscriber.language = language
    number.subscriber.save()
    tell(number, TOP_UP, "a")
    html = page(client, number)
    assert f'<html lang="{lang}">' in html
    assert text in html
    assert shown(number.number) in html


def test_it_loads_itself_anew_and_needs_no_script(client: Client, number: Number) -> None:
    html = page(client, number)
    assert f'<meta http-equiv="refresh" content="{phone.REFRESH_S}">' in html
    assert not re.search(r"<script|\son[a-z]+=|<style", html)


def test_what_waits_or_came_to_nothing_is_not_on_it(client: Client, number: Number) -> None:
    for state in Notice.State:
        tell(number, TOP_UP, state)
    for state in Notice.State:
        Notice.objects.filter(key=state).update(state=state, text=f"it is {state}")
    html = page(client, number)
    assert re.findall(r"it is (\w+)", html) == ["sent", "delivered"]


def test_the_newest_is_last_and_so_many_are_shown(client: Client, number: Number) -> None:
    for n in range(phone.SHOWN_MAX + 5):
        tell(number, LowBalance(balance_minor=n, currency="RUB"), str(n))
        Notice.objects.filter(key=str(n)).update(text=f"<b>{n}")
    found = re.findall(r"&lt;b&gt;(\d+)", page(client, number))
    assert found == [str(n) for n in range(5, phone.SHOWN_MAX + 5)]
    assert queries_of(client, f"/demo/phone/{number.number}") <= 4


def test_a_code_is_shown_while_it_is_good(client: Client, number: Number) -> None:
    tell(number, SignInCode(code="654321"), "a")
    assert "654321" in page(client, number)
    Notice.objects.update(expires_at=timezone.now())
    outbox.deliver_to_inbox()
    html = page(client, number)
    assert "654321" not in html
    assert 'class="gone"' in html


def test_the_balance_is_asked_for_as_a_phone_does(client: Client, number: Number) -> None:
    number.subscriber.language = Language.EN.value
    number.subscriber.save()
    html = page(client, number)
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    url = f"/demo/phone/{number.number}"
    assert client.post(url).status_code == 403
    response = client.post(url, {"csrfmiddlewaretoken": token})
    assert (response.status_code, response.headers["Location"]) == (302, url)
    outbox.deliver_to_inbox()
    html = page(client, number)
    assert "Balance: RUB 100." in html
    assert '<li class="mine"><p>*100#</p></li>' in html


@pytest.mark.parametrize("number", ["79169999999", "0", "9" * 30, "abc", "79160000001/"])
def test_a_phone_that_is_none(client: Client, number: str) -> None:
    assert client.get(f"/demo/phone/{number}").status_code == 404


def test_outside_the_demo_there_are_no_phones(client: Client, number: Number) -> None:
    tell(number, TOP_UP, "a")
    with override_settings(DEMO=False):
        for response in (client.get, client.post):
            answer = response(f"/demo/phone/{number.number}")
            assert answer.status_code in {403, 404}
            assert "Пополнение".encode() not in answer.content


@pytest.mark.parametrize(
    ("number", "text"),
    [(79160000001, "+7 916 000-00-01"), (375291234567, "+375291234567"), (1234567, "+1234567")],
)
def test_a_number_as_people_write_it(number: int, text: str) -> None:
    assert shown(number) == text
