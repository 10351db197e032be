"""Passwords and certificates: two of a kind at most, and a check that tells nobody anything."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from statistics import median

import pytest
from auditlog.models import LogEntry
from django.contrib.auth import hashers
from django.db import connection

from popolni.agents import credentials
from popolni.agents.credentials import (
    add_certificate,
    add_password,
    address_allowed,
    check_certificate,
    check_password,
    revoke,
    rotate_password,
)
from popolni.agents.models import Agent, Credential
from popolni.agents.networks import check_networks
from popolni.core.errors import UserError
from tests.agents.support import lighten_hashes, new_agent

pytestmark = pytest.mark.usefixtures("database_url")

FIRST, SECOND, THIRD = "first-of-three", "second-of-three", "third-of-three"
PRINT = "0123456789abcdef" * 4
COLONS = ":".join(PRINT[i : i + 2] for i in range(0, 64, 2)).upper()
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _light_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_nobodys_hash", cache(credentials._nobodys_hash.__wrapped__))
    if "slow" not in request.node.name:
        lighten_hashes(monkeypatch)


def now() -> datetime:
    return datetime.now(UTC)


def valid(agent: Agent, at: datetime) -> list[str]:
    return [text for text in (FIRST, SECOND, THIRD) if check_password(agent, text, at)]


def test_a_password_is_kept_as_its_hash() -> None:
    agent = new_agent()
    credential = add_password(agent, FIRST)
    assert credential.secret.startswith("argon2$argon2id$")
    assert FIRST not in credential.secret
    assert valid(agent, now()) == [FIRST]


def test_rotation_has_two_valid_for_as_long_as_they_overlap() -> None:
    agent = new_agent()
    add_password(agent, FIRST)
    rotate_password(agent, SECOND, overlap=HOUR)
    assert [valid(agent, now() + later) for later in (HOUR * 0, HOUR * 0.9, HOUR * 1.1)] == [
        [FIRST, SECOND],
        [FIRST, SECOND],
        [SECOND],
    ]


def test_a_third_is_refused_until_one_ends() -> None:
    agent = new_agent()
    add_password(agent, FIRST)
    rotate_password(agent, SECOND, overlap=HOUR)
    with pytest.raises(UserError, match="two are valid already"):
        add_password(agent, THIRD)
    with pytest.raises(UserError, match="two are valid already"):
        rotate_password(agent, THIRD, overlap=HOUR)
    assert valid(agent, now()) == [FIRST, SECOND]
    assert valid(agent, now() + 10 * HOUR) == [SECOND]  # the second was not rotated out by halves
    revoke(Credential.objects.filter(agent=agent).earliest("pk"))
    rotate_password(agent, THIRD, overlap=HOUR)
    assert valid(agent, now()) == [SECOND, THIRD]


def test_without_overlap_the_former_ends_at_once() -> None:
    agent = new_agent()
    add_password(agent, FIRST)
    rotate_password(agent, SECOND, overlap=timedelta(0))
    assert valid(agent, now()) == [SECOND]
    rotate_password(agent, THIRD, overlap=timedelta(0))
    assert valid(agent, now()) == [THIRD]


def test_the_end_of_what_ends_sooner_is_not_put_off() -> None:
    agent = new_agent()
    add_password(agent, FIRST)
    rotate_password(agent, SECOND, overlap=HOUR)
    rotate_password_from = now()
    with pytest.raises(UserError):
        rotate_password(agent, THIRD, overlap=5 * HOUR)
    ends = Credential.objects.filter(agent=agent).earliest("pk").valid_to
    assert ends is not None
    assert ends < rotate_password_from + HOUR


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "too short"),
        ("short", "too short"),
        ("password1234", "too common"),
        ("x" * 129, "at most 128 characters"),
    ],
)
def test_a_weak_password_is_refused(password: str, says: str) -> None:
    agent = new_agent()
    with pytest.raises(UserError, match=says):
        add_password(agent, password)
    with pytest.raises(UserError, match=says):
        rotate_password(agent, password, overlap=HOUR)
    assert not agent.credentials.exists()


def test_a_negative_overlap_is_refused() -> None:
    with pytest.raises(UserError, match="negative"):
        rotate_password(new_agent(), FIRST, overlap=timedelta(seconds=-1))


def test_an_inactive_agent_proves_nothing() -> None:
    agent = new_agent()
    add_password(agent, FIRST)
    add_certificate(agent, PRINT)
    agent.is_active = False
    assert not check_password(agent, FIRST, now())
    assert not check_certificate(agent, PRINT, now())
    assert not address_allowed(agent, "203.0.113.7")


def with_passwords(how_many: int) -> Agent:
    agent = new_agent()
    for text in (FIRST, SECOND)[:how_many]:
        add_password(agent, text)
    return agent


ASKED: list[tuple[str, Callable[[], Agent | None], str]] = [
    ("nobody of that name", lambda: None, FIRST),
    ("no password", lambda: with_passwords(0), FIRST),
    ("inactive", lambda: new_agent(is_active=False), FIRST),
    ("right", lambda: with_passwords(1), FIRST),
    ("right, of two", lambda: with_passwords(2), FIRST),
    ("wrong", lambda: with_passwords(1), THIRD),
    ("wrong, of two", lambda: with_passwords(2), THIRD),
    ("empty", lambda: with_passwords(1), ""),
    ("a million letters", lambda: with_passwords(1), "x" * 1_000_000),
]


@pytest.mark.parametrize(
    ("agent", "password"), [row[1:] for row in ASKED], ids=[r[0] for r in ASKED]
)
def test_any_check_hashes_twice(
    agent: Callable[[], Agent | None], password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = agent()
    check_password(asked, password, now())  # the hash of nobody is made once
    hashed: list[int] = []
    verify = hashers.Argon2PasswordHasher.verify

    def count(self: hashers.Argon2PasswordHasher, text: str, encoded: str) -> bool:
        hashed.append(len(text))
        return verify(self, text, encoded)

    monkeypatch.setattr(hashers.Argon2PasswordHasher, "verify", count)
    check_password(asked, password, now())
    assert len(hashed) == 2
    assert max(hashed) <= credentials.PASSWORD_MAX + 1


def test_the_hash_of_nobody_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    known = hashers.make_password(THIRD)
    monkeypatch.setattr(credentials, "_nobodys_hash", lambda: known)
    assert not check_password(None, THIRD, now())
    assert not check_password(with_passwords(1), THIRD, now())


def test_a_longer_password_is_not_its_beginning() -> None:
    agent, longest = new_agent(), "x1" * 64
    add_password(agent, longest)
    assert check_password(agent, longest, now())
    assert not check_password(agent, longest + "x", now())
    assert not check_password(agent, longest[:-1], now())


def test_a_slow_check_takes_as_long_for_nobody_as_for_a_right_password() -> None:
    agent = with_passwords(1)
    check_password(None, FIRST, now())

    def took_s(asked: Agent | None) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            check_password(asked, FIRST, now())
            times.append(time.process_time() - start)
        return median(times)

    assert 0.5 < took_s(None) / took_s(agent) < 2


def test_two_at_once_do_not_make_three() -> None:
    agent = with_passwords(1)
    answers: list[str] = []
    barrier = threading.Barrier(4)

    def add() -> None:
        barrier.wait()
        try:
            add_password(agent, SECOND)
            answers.append("added")
        except UserError:
            answers.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["added", "refused", "refused", "refused"]


@pytest.mark.parametrize("text", [PRINT, PRINT.upper(), COLONS, f" {COLONS}\n"])
def test_a_certificate_is_known_by_its_fingerprint(text: str) -> None:
    agent = new_agent()
    assert add_certificate(agent, text).secret == PRINT
    for written in (PRINT, COLONS):
        assert check_certificate(agent, written, now())
    assert not check_certificate(agent, "f" * 64, now())
    assert not check_certificate(new_agent(), PRINT, now())
    assert not check_certificate(None, PRINT, now())


@pytest.mark.parametrize(
    "text", ["", "zz" * 32, PRINT[:-1], PRINT + "0", COLONS[:-3], PRINT.replace("1", ":"), "0" * 40]
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    agent = new_agent()
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        add_certificate(agent, text)
    assert not check_certificate(agent, text, now())


def test_two_certificates_beside_two_passwords() -> None:
    agent = with_passwords(2)
    add_certificate(agent, PRINT)
    with pytest.raises(UserError, match="has this certificate"):
        add_certificate(agent, COLONS)
    second = add_certificate(agent, "a" * 64)
    with pytest.raises(UserError, match="two are valid already"):
        add_certificate(agent, "b" * 64)
    revoke(second)
    assert not check_certificate(agent, "a" * 64, now())
    ended = second.valid_to
    revoke(second)
    assert Credential.objects.get(pk=second.pk).valid_to == ended
    add_certificate(agent, "b" * 64)


@pytest.mark.parametrize(
    ("networks", "kept"),
    [
        ([], []),
        (["203.0.113.0/24"], ["203.0.113.0/24"]),
        ([" 203.0.113.7 ", "203.0.113.7/32"], ["203.0.113.7/32"]),
        (["2001:DB8::/32", "0.0.0.0/0"], ["2001:db8::/32", "0.0.0.0/0"]),
        (["::ffff:203.0.113.0/120"], ["203.0.113.0/24"]),
        (["203.0.113.0/255.255.255.0"], ["203.0.113.0/24"]),
    ],
)
def test_networks_are_kept_in_one_form(networks: list[str], kept: list[str]) -> None:
    assert check_networks(networks) == kept


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("", "'' is not an address range"),
        ("203.0.113.0/33", "'203.0.113.0/33' is not"),
        ("203.0.113.256", "is not"),
        ("203.0.113.07", "is not"),
        ("example.com", "is not"),
        ("203.0.113.7/24", "begins inside the range 203.0.113.0/24"),
    ],
)
def test_a_malformed_network_is_named(network: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_networks(["203.0.113.0/24", network])


@pytest.mark.parametrize(
    ("networks", "allowed", "denied"),
    [
        ([], ["203.0.113.7", "::1"], ["", "nowhere", "203.0.113.7:80"]),
        (
            ["203.0.113.0/24", "2001:db8::/32"],
            [
                "203.0.113.0",
                "203.0.113.255",
                "2001:db8::1",
                "::ffff:203.0.113.7",
                "::FFFF:cb00:7107",
            ],
            ["203.0.114.0", "203.0.112.255", "2001:db9::", "::ffff:203.0.114.1", "::1", ""],
        ),
        (["::ffff:203.0.113.0/120"], ["203.0.113.7", "::ffff:203.0.113.7"], ["203.0.114.7"]),
        (["nonsense"], [], ["203.0.113.7", "::1"]),
        (["nonsense", "203.0.113.7"], ["203.0.113.7"], ["203.0.113.8"]),
        (["::/0"], ["2001:db8::1"], ["203.0.113.7", "::ffff:203.0.113.7"]),
    ],
)
def test_where_an_agent_may_come_from(
    networks: list[str], allowed: list[str], denied: list[str]
) -> None:
    agent = Agent(networks=networks)
    assert [ip for ip in [*allowed, *denied] if address_allowed(agent, ip)] == allowed


def test_the_audit_trail_hears_of_each_end() -> None:
    agent = new_agent()
    first = add_password(agent, "first password 17")
    rotate_password(agent, "second password 17", overlap=timedelta(hours=1))
    second = Credential.objects.get(agent=agent, valid_to=None)
    revoke(second)
    for credential in (first, second):
        newest = LogEntry.objects.get_for_object(credential).first()
        assert newest is not None
        assert set(newest.changes) == {"valid_to"}
