import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max, Sum
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.staff import User
from popolni.web.office.guessing import FROM_ANYWHERE, source
from tests.web.office.desk import HOST, new_user, signed_in

pytestmark = pytest.mark.usefixtures("database_url")

LOGIN, SECOND, LOGOUT = "/admin/login/", "/admin/second-factor/", "/admin/logout/"
PAGE = "/admin/popolni/adjustment/"
RIGHT = "a horse, a battery"
WRONG = "no horse at all"


def browser() -> Client:
    return Client(SERVER_NAME=HOST)


def password(client: Client, user: User, typed: str = RIGHT, **more: Any) -> Any:
    return client.post(LOGIN, {"username": user.username, "password": typed, **more})


def half_way(user: User) -> Client:
    """With the password alone."""
    client = browser()
    assert password(client, user).status_code == 302
    return client


def code(user: User, drift: int = 0) -> str:
    """What the user's phone shows; `drift` periods later, if it is 1."""
    device = TOTPDevice.objects.get(user=user)
    return f"{totp(device.bin_key, device.step, device.t0, device.digits, drift):06}"


def calm(user: User) -> None:
    """As if time had passed since the last wrong code."""
    for kind in (TOTPDevice, StaticDevice):
        kind.objects.filter(user=user).update(
            throttling_failure_count=0, throttling_failure_timestamp=None
        )


def unused(user: User) -> None:
    """As if time had passed since the last right code."""
    TOTPDevice.objects.filter(user=user).update(last_t=-1)


def enrolled() -> tuple[User, list[str]]:
    """A user with a second factor, and their spare codes."""
    user = new_user("finance", RIGHT)
    client = half_way(user)
    client.get(SECOND)
    shown: Any = client.post(SECOND, {"code": code(user)})
    unused(user)
    codes = shown.context_data["codes"]
    assert len(codes) == 10
    return user, codes


def is_in(client: Client) -> bool:
    return client.get(PAGE).status_code == 200


def test_from_the_password_to_the_page() -> None:
    user, client = new_user("finance", RIGHT), browser()
    answer = client.get(PAGE)
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next={PAGE}")
    answer = client.post(answer["Location"], {"username": user.username, "password": RIGHT})
    assert answer.status_code == 302
    answer = client.get(PAGE, follow=True)
    assert answer.redirect_chain[-1][0] == f"{SECOND}?next={PAGE}"
    shown = answer.content.decode()
    device = TOTPDevice.objects.get(user=user)
    key = re.search(r'class="office-key">([A-Z2-7 ]+)<', shown)
    assert key is not None
    assert "<svg" in shown
    assert not device.confirmed
    wrong = f"{(int(code(user)) + 1) % 10**6:06}"
    assert client.post(SECOND, {"code": wrong}).status_code == 200
    assert not is_in(client)
    calm(user)
    answer = client.post(SECOND, {"code": f"{code(user)[:3]} {code(user)[3:]}", "next": PAGE})
    assert "office-codes" in answer.content.decode()
    assert is_in(client)
    assert TOTPDevice.objects.get(user=user).confirmed


def test_a_code_that_comes_too_early_while_setting_up_is_called_that() -> None:
    user = new_user("finance", RIGHT)
    client = half_way(user)
    client.get(SECOND)
    wrong = f"{(int(code(user)) + 1) % 10**6:06}"
    shown = [client.post(SECOND, {"code": typed}) for typed in (wrong, code(user))]
    told = ["Слишком частые попытки" in answer.content.decode() for answer in shown]
    assert told == [False, True]


def test_the_key_is_shown_only_before_the_first_code() -> None:
    user, _codes = enrolled()
    client = half_way(user)
    assert "office-key" not in client.get(SECOND).content.decode()
    assert TOTPDevice.objects.filter(user=user).count() == 1


def test_what_another_session_was_shown_is_worth_nothing() -> None:
    """Whoever has but the password may look at a key; it is not the one that its owner sets up."""
    user = new_user("finance", RIGHT)
    thief, owner = half_way(user), half_way(user)
    thief.get(SECOND)
    seen = TOTPDevice.objects.get(user=user)
    owner.get(SECOND)
    own = TOTPDevice.objects.filter(user=user).order_by("pk").last()
    assert own is not None
    assert own.key != seen.key

    def shown_by(device: TOTPDevice) -> str:
        return f"{totp(device.bin_key, device.step, device.t0, device.digits):06}"

    assert "office-codes" in owner.post(SECOND, {"code": shown_by(own)}).content.decode()
    assert TOTPDevice.objects.get(user=user).key == own.key
    thief.post(SECOND, {"code": shown_by(seen)})
    assert not is_in(thief)


def test_a_code_is_asked_for_in_each_session() -> None:
    user, _codes = enrolled()
    client = half_way(user)
    assert not is_in(client)
    assert client.post(SECOND, {"code": code(user), "next": PAGE})["Location"] == PAGE
    assert is_in(client)
    assert not is_in(half_way(user))


def test_a_code_works_once() -> None:
    user, _codes = enrolled()
    first, other = half_way(user), half_way(user)
    seen = code(user)
    assert first.post(SECOND, {"code": seen}).status_code == 302
    assert other.post(SECOND, {"code": seen}).status_code == 200
    assert not is_in(other)
    calm(user)
    assert other.post(SECOND, {"code": code(user, drift=1)}).status_code == 302


@pytest.mark.parametrize(
    "typed", ["", "000", "abcdef", "0" * 16, "0" * 17, "-00001", "1e5", "½", "\x00", "' or 1=1 --"]
)
def test_what_is_no_code(typed: str) -> None:
    user, _codes = enrolled()
    client = half_way(user)
    assert client.post(SECOND, {"code": typed}).status_code == 200
    assert not is_in(client)


def test_guessing_is_slowed_down() -> None:
    user, _codes = enrolled()
    client = half_way(user)
    early = "Слишком частые попытки"
    assert early not in client.post(SECOND, {"code": "000000"}).content.decode()
    client.post(SECOND, {"code": "000001"})
    assert early in client.post(SECOND, {"code": code(user)}).content.decode()
    assert not is_in(client)
    calm(user)
    assert client.post(SECOND, {"code": code(user)}).status_code == 302


def test_a_spare_code_works_once() -> None:
    user, codes = enrolled()
    client = half_way(user)
    assert client.post(SECOND, {"code": codes[3].upper()}).status_code == 302
    assert is_in(client)
    again = half_way(user)
    assert again.post(SECOND, {"code": codes[3]}).status_code == 200
    assert not is_in(again)
    calm(user)
    assert again.post(SECOND, {"code": codes[4]}).status_code == 302


def test_codes_of_the_phone_do_not_wear_out_the_spare_ones() -> None:
    user, codes = enrolled()
    for _day in range(3):
        unused(user)
        assert half_way(user).post(SECOND, {"code": code(user)}).status_code == 302
    half_way(user).post(SECOND, {"code": "000000"})
    assert StaticDevice.objects.get(user=user).throttling_failure_count == 0
    assert half_way(user).post(SECOND, {"code": codes[0]}).status_code == 302


def test_nobody_else_s_code_helps() -> None:
    (user, _own), (other, codes) = enrolled(), enrolled()
    client = half_way(user)
    for typed in (code(other), codes[0]):
        assert client.post(SECOND, {"code": typed}).status_code == 200
        calm(user)
    assert not is_in(client)


def test_the_session_s_key_changes_at_each_step() -> None:
    user, _codes = enrolled()
    client = browser()
    client.get(LOGIN)
    session = client.session
    session["before"] = 1
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    keys = [session.session_key]
    password(client, user)
    keys.append(client.session.session_key)
    client.post(SECOND, {"code": code(user)})
    keys.append(client.session.session_key)
    assert len(set(keys)) == 3
    old = browser()
    old.cookies[settings.SESSION_COOKIE_NAME] = str(keys[1])
    assert not is_in(old)


def test_who_has_only_the_password_can_leave() -> None:
    user, _codes = enrolled()
    client = half_way(user)
    client.post(LOGOUT)
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(
    "destination",
    [
        *("//evil.example", "https://evil.example/", "http:evil.example", "javascript:alert(1)"),
        *("/\\evil.example", "///evil.example", "\x00//evil.example", "https://localhost@evil/"),
    ],
)
def test_the_way_leads_nowhere_else(destination: str) -> None:
    user, _codes = enrolled()
    client = browser()
    after = password(client, user, next=destination)
    assert after["Location"] in (SECOND, "/admin/", f"{SECOND}?next=/admin/")
    shown = client.get(SECOND, {"next": destination})
    assert 'name="next" value="/admin/"' in shown.content.decode()
    assert client.post(SECOND, {"code": code(user), "next": destination})["Location"] == "/admin/"
    assert client.get(SECOND, {"next": destination})["Location"] == "/admin/"


@pytest.mark.parametrize(("language", "cookie"), [("ru", "ru"), ("en", "en"), ("zh", "zh-hans")])
def test_the_pages_speak_the_user_s_language(language: str, cookie: str) -> None:
    user = new_user("finance", RIGHT, language=language)
    client = half_way(user)
    assert client.cookies[settings.LANGUAGE_COOKIE_NAME].value == cookie


def test_the_demo_asks_for_no_code() -> None:
    user = new_user("finance", RIGHT)
    client = half_way(user)
    assert not is_in(client)
    with override_settings(DEMO=True):
        assert is_in(client)
        assert client.get(SECOND)["Location"] == "/admin/"
    assert not is_in(client)


@pytest.mark.parametrize(
    "fields", [{"role": "clerk"}, {"role": "cashier"}, {"role": None}, {"is_active": False}]
)
def test_who_has_no_business_here(fields: dict[str, Any]) -> None:
    user = new_user(**{"role": "finance", "password": RIGHT, **fields})
    client = browser()
    assert password(client, user).status_code == 200
    assert "_auth_user_id" not in client.session
    with override_settings(DEMO=True):
        assert not is_in(signed_in(user))
    assert signed_in(user).get(SECOND)["Location"].startswith(LOGIN)


def test_who_has_no_back_office_is_told_so_for_the_right_password_alone() -> None:
    clerk = new_user("clerk", RIGHT)
    told = "This login has no back office"
    assert told not in password(browser(), clerk, WRONG).content.decode()
    assert told in password(browser(), clerk).content.decode()


def test_no_longer_staff_no_longer_in() -> None:
    user, _codes = enrolled()
    client = half_way(user)
    client.post(SECOND, {"code": code(user)})
    User.objects.filter(pk=user.pk).update(is_staff=False)
    assert not is_in(client)


def test_five_wrong_passwords_lock_the_login() -> None:
    user, other = new_user("finance", RIGHT), new_user("finance", RIGHT)
    client = browser()
    answers = [password(client, user, WRONG) for _try in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    assert "Too many wrong passwords" in answers[-1].content.decode()
    assert password(client, user).status_code == 429  # the right one
    assert password(browser(), user).status_code == 429  # from a new session
    assert "_auth_user_id" not in client.session
    assert password(browser(), other).status_code == 302  # nobody else


def test_a_line_s_ipv6_addresses_are_one() -> None:
    user = new_user("finance", RIGHT)

    def from_address(address: str, typed: str = WRONG) -> int:
        client = Client(SERVER_NAME=HOST, REMOTE_ADDR=address)
        return int(password(client, user, typed).status_code)

    assert [from_address(f"2001:db8:1:2::{n}") for n in range(5)] == [200] * 4 + [429]
    assert from_address("2001:db8:1:2:ffff::9", RIGHT) == 429
    assert from_address("2001:db8:1:3::9", RIGHT) == 302
    assert [from_address(f"::ffff:192.0.2.{n}") for n in (1, 1, 1, 1, 2)] == [200] * 5
    assert from_address("192.0.2.1") == 429


@pytest.mark.parametrize(
    ("address", "seen_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("", None),
        ("unix:", None),
    ],
)
def test_where_a_guess_comes_from(address: str, seen_as: str | None) -> None:
    assert source(RequestFactory(REMOTE_ADDR=address).get("/")) == seen_as


def elsewhere(number: int) -> Client:
    """A browser at an address that was never seen before."""
    return Client(SERVER_NAME=HOST, REMOTE_ADDR=f"198.51.100.{number}")


def test_guessing_from_everywhere_is_slowed_down_and_locks_nobody_out() -> None:
    user, other = new_user("finance", RIGHT), new_user("finance", RIGHT)
    at_home = Client(SERVER_NAME=HOST, REMOTE_ADDR="203.0.113.5")
    assert password(at_home, user).status_code == 302
    guesses = [password(elsewhere(n), user, WRONG).status_code for n in range(FROM_ANYWHERE)]
    assert guesses == [200] * (FROM_ANYWHERE - 1) + [429]
    assert password(elsewhere(99), user).status_code == 429  # the right one
    assert password(elsewhere(99), other).status_code == 302
    at_home = Client(SERVER_NAME=HOST, REMOTE_ADDR="203.0.113.5")
    assert password(at_home, user).status_code == 302

    attempts = AccessAttempt.objects.filter(username=user.username)
    before = attempts.aggregate(last=Max("attempt_time"), all=Sum("failures_since_start"))
    for number in range(20):
        password(elsewhere(number), user, WRONG)  # goes on trying
    assert attempts.aggregate(last=Max("attempt_time"), all=Sum("failures_since_start")) == before
    attempts.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert password(elsewhere(99), user).status_code == 302


def test_a_right_password_forgets_the_wrong_ones() -> None:
    user = new_user("finance", RIGHT)
    for _round in range(2):
        client = browser()
        assert [password(client, user, WRONG).status_code for _try in range(4)] == [200] * 4
        assert password(client, user).status_code == 302


def test_an_unknown_login_looks_the_same() -> None:
    user = new_user("finance", RIGHT)
    shown = []
    for name in (user.username, "nobody-of-that-name"):
        answer = browser().post(LOGIN, {"username": name, "password": WRONG})
        text = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
        shown.append(text.replace(name, ""))
    assert shown[0] == shown[1]


def patterns(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    """Every address of the site, with some argument in each place for one."""
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        elif isinstance(entry, URLPattern):
            yield re.sub(r"<[^>]+>", "1", route)


def addresses() -> list[str]:
    found = {
        "/admin/" if url.startswith("/admin/(?P") else url
        for url in patterns(get_resolver())
        if url.startswith("/admin/")
    }
    return sorted(found - {LOGIN, SECOND, LOGOUT})


def test_without_the_second_factor_no_page_opens() -> None:
    everything = addresses()
    assert len(everything) > 60
    assert {PAGE, "/admin/popolni/user/1/password/", "/admin/jsi18n/"} <= set(everything)
    user = new_user(None, RIGHT, is_superuser=True, is_staff=True)
    clerk = signed_in(new_user("clerk"))
    for who, client in (("half", half_way(user)), ("clerk", clerk), ("nobody", browser())):
        for url in everything:
            for answer in (client.get(url), client.post(url, {"action": "x"})):
                assert answer.status_code == 302, (who, url)
                assert answer["Location"].startswith((LOGIN, "/admin/r/")), (who, url)
