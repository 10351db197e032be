"""Who is let in: over real HTTP, and how often a password is hashed for that."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from django.contrib.auth.hashers import make_password

from popolni.agents.credentials import check_any_password
from popolni.agents.models import Agent, Credential
from popolni.agents.networks import read_network
from popolni.agents.service import add_password, revoke, rotate_password
from popolni.core.language import Language
from popolni.switch import access as access_module
from popolni.switch.access import (
    REMEMBERED_MAX,
    TRIES_WAITING_MAX,
    WRONG_PER_ADDRESS_MAX,
    Access,
    Caller,
    NotAdmitted,
    TooBusy,
    caller_of,
    read_basic,
)
from popolni.topups.catalogue import AgentTerms, Catalogue, Secret
from tests.agents.support import lighten_hashes
from tests.subscribers.support import at_once
from tests.switch.catalogue import FINGERPRINT, new_number
from tests.switch.support import (
    PROXY,
    Answer,
    Switch,
    Terminal,
    basic,
    password_of,
    raw,
    request,
    running,
    wait_for,
)

HEADER = "X-Client-Cert-SHA256"
ASK = "?command=check&account=9160000000"
NOBODY = Answer(
    401,
    [
        ("content-type", "text/plain; charset=utf-8"),
        ("www-authenticate", 'Basic realm="Popolni", charset="UTF-8"'),
        ("content-length", "13"),
        ("server", "granian"),
    ],
    b"who are you?\n",
)


def ask(
    switch: Switch,
    agent: str,
    authorization: str | None = "",
    *,
    source: str = "127.0.0.1",
    **headers: str,
) -> Answer:
    """A check by an agent. `authorization` "": its own; None: none."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if authorization is not None:
        sent["Authorization"] = authorization or basic(agent, password_of(agent))
    answer = request(switch.port, "GET", f"/osmp/{agent}{ASK}", headers=sent, source=source)
    return Answer(
        answer.status, [pair for pair in answer.headers if pair[0] != "date"], answer.body
    )


# agent, Authorization ("": the right one), where from, more headers: and whether it is let in
CERTIFICATE = {HEADER: FINGERPRINT}
COLONS = {HEADER: ":".join([FINGERPRINT[:2].upper()] * 32)}
CASES: list[tuple[str, str | None, str, dict[str, str], bool]] = [
    ("terminal", "", "127.0.0.1", {}, True),
    ("terminal", None, "127.0.3.1", {}, False),
    ("terminal", basic("terminal", "another password"), "127.0.3.1", {}, False),
    ("terminal", basic("terminal", password_of("terminal") + " "), "127.0.3.1", {}, False),
    ("terminal", basic("terminal", ""), "127.0.3.1", {}, False),
    ("terminal", basic("kiosks", password_of("kiosks")), "127.0.3.1", {}, False),
    ("terminal", basic("kiosks", password_of("terminal")), "127.0.3.1", {}, False),
    ("terminal", basic("Terminal", password_of("terminal")), "127.0.3.1", {}, False),
    ("terminal", "Basic", "127.0.3.1", {}, False),
    ("terminal", "Basic !!!", "127.0.3.1", {}, False),
    ("terminal", "Basic dGVybWluYWw=", "127.0.3.1", {}, False),
    ("terminal", "Basic /////w==", "127.0.3.1", {}, False),
    ("terminal", "Bearer x", "127.0.3.1", {}, False),
    ("terminal", "bAsIc  " + basic("terminal", password_of("terminal"))[6:], "127.0.0.1", {}, True),
    ("nobody", "", "127.0.3.2", {}, False),
    ("nobody", None, "127.0.3.2", {}, False),
    ("off", "", "127.0.3.2", {}, False),
    ("abroad", "", "127.0.3.2", {}, False),
    ("abroad", "", PROXY, {"X-Forwarded-For": "203.0.113.7"}, True),
    ("abroad", "", PROXY, {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}, True),
    ("abroad", "", PROXY, {"X-Forwarded-For": "::ffff:203.0.113.7"}, True),
    ("abroad", "", PROXY, {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}, False),
    ("abroad", "", PROXY, {"X-Forwarded-For": "203.0.113.7, "}, False),
    ("abroad", "", PROXY, {"X-Forwarded-For": "unknown"}, False),
    ("abroad", "", PROXY, {}, False),
    ("abroad", "", "127.0.3.2", {"X-Forwarded-For": "203.0.113.7"}, False),
    ("home", "", "127.0.0.2", {}, True),
    ("home", "", "127.0.0.4", {}, False),
    ("home", "", "127.0.0.2", {"X-Forwarded-For": "203.0.113.7"}, True),
    ("certified", None, PROXY, CERTIFICATE, True),
    ("certified", None, PROXY, COLONS, True),
    ("certified", None, PROXY, {HEADER: "cd" * 32}, False),
    ("certified", None, PROXY, {HEADER: ""}, False),
    ("certified", None, PROXY, {}, False),
    ("certified", None, "127.0.3.2", CERTIFICATE, False),
    ("certified", "", PROXY, CERTIFICATE, False),  # it has no password
    ("certified", basic("certified", ""), PROXY, CERTIFICATE, False),
    ("both", "", PROXY, CERTIFICATE, True),
    ("both", None, PROXY, CERTIFICATE, False),
    ("both", "", PROXY, {}, False),
    ("both", "", "127.0.3.2", CERTIFICATE, False),
    ("terminal", "", PROXY, {HEADER: "cd" * 32}, True),  # it has no certificate to compare
]  # fmt: skip


@pytest.mark.parametrize(("agent", "authorization", "source", "headers", "is_let_in"), CASES)
def test_who_is_let_in(
    switch: Switch,
    agent: str,
    authorization: str | None,
    source: str,
    headers: dict[str, str],
    *,
    is_let_in: bool,
) -> None:
    answer = ask(switch, agent, authorization, source=source, **headers)
    assert (answer.status == 200) is is_let_in
    if not is_let_in:
        assert answer == NOBODY


def test_what_is_said_twice(switch: Switch) -> None:
    """Who can add headers behind a proxy's own is in its place; who adds them before, is not."""
    lines = [
        "GET /osmp/abroad?command=check HTTP/1.1",
        "Host: switch",
        f"Authorization: {basic('abroad', password_of('abroad'))}",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-For: 198.51.100.1",
        "Connection: close",
    ]
    data = "\r\n".join([*lines, "", ""]).encode()
    assert raw(switch.port, data, source=PROXY).startswith(b"HTTP/1.1 401 ")


# Credentials that change


def test_two_passwords_while_they_rotate(switch: Switch) -> None:
    agent = Agent.objects.get(code="home")
    new = "a password of another kind"
    rotate_password(agent, new, overlap=timedelta(hours=1))
    wait_for(lambda: ask(switch, "home", basic("home", new)).status == 200)
    assert ask(switch, "home").status == 200
    former = Credential.objects.filter(agent=agent).exclude(valid_to=None).get()
    revoke(former)
    wait_for(lambda: ask(switch, "home").status == 401)
    assert ask(switch, "home", basic("home", new)).status == 200


def test_a_password_that_ends_while_nobody_looks(switch: Switch) -> None:
    """Its end is known before, and no news comes when it is there."""
    agent = Agent.objects.get(code="slow")
    Credential.objects.filter(agent=agent).update(valid_to=datetime.now(UTC) + timedelta(seconds=3))
    wait_for(lambda: ask(switch, "slow").status == 200)
    wait_for(lambda: ask(switch, "slow").status == 401)


def test_an_agent_that_is_put_off_and_on(switch: Switch) -> None:
    for is_active, status in ((False, 401), (True, 200)):
        Agent.objects.filter(code="other").update(is_active=is_active)
        wait_for(lambda status=status: ask(switch, "other").status == status)  # type: ignore[misc]


def test_an_agent_that_is_new(switch: Switch) -> None:
    agent = Agent.objects.create(code="newcomer", name="New")
    assert ask(switch, "newcomer", source="127.0.3.4").status == 401
    add_password(agent, password_of("newcomer"))
    wait_for(lambda: ask(switch, "newcomer", source="127.0.3.5").status == 200)


# Many of them


def test_all_connections_of_an_agent_at_the_start(own_url: str, logs: Path) -> None:
    """None is told that it is unknown, or that too many are there."""
    with running(own_url, logs) as fresh:
        terminal = fresh.terminal("kiosks")
        answers = at_once(*[partial(terminal.send, "command=check")] * 40)
    assert {answer.status for answer in answers if isinstance(answer, Answer)} == {200}
    assert {answer.osmp.result for answer in answers} == {4}  # type: ignore[union-attr]


def test_who_guesses_from_one_address(switch: Switch, terminal: Terminal) -> None:
    """Is heard no more, whatever they say; others are."""
    source = "127.0.4.1"
    for n in range(WRONG_PER_ADDRESS_MAX):
        assert ask(switch, "shop", basic("shop", f"guess {n}"), source=source) == NOBODY
    assert ask(switch, "shop", source=source) == NOBODY  # not even the right one
    assert ask(switch, "shop", source="127.0.4.2").status == 200
    assert terminal.send("command=check").status == 200


def test_the_rate_of_an_agent(own_url: str, logs: Path) -> None:
    Credential.objects.filter(agent__code="slow").update(valid_to=None)
    with running(own_url, logs) as fresh:
        slow = fresh.terminal("slow")
        number = new_number()
        slow.check(number)  # its password is hashed
        answers = [slow.check(number) for _ in range(30)]
        refused = [answer for answer in answers if answer.comment == "too many requests"]
        assert refused
        assert {answer.result for answer in refused} == {1}
        assert {answer.result for answer in answers} == {0, 1}
        assert fresh.terminal().check(number).result == 0
        wait_for(lambda: slow.check(number).result == 0)


# What is seen


def test_no_secret_and_no_number_is_in_the_log(switch: Switch, terminal: Terminal) -> None:
    number = new_number(name="Тайна Секретова")
    terminal.pay(number, "10")
    terminal.check(number)
    wait_for(lambda: '"event":"check"' in switch.log)
    logged = switch.log
    for secret in (str(number), str(number)[1:], "password", "Тайна", "Секрет", FINGERPRINT):
        assert secret not in logged
    assert basic("terminal", password_of("terminal"))[6:] not in logged


@pytest.mark.parametrize(
    ("source", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        (PROXY, {"X-Forwarded-For": "127.0.0.1"}, 200),
        (PROXY, {"X-Forwarded-For": "203.0.113.7"}, 404),
        (PROXY, {"X-Forwarded-For": "nonsense"}, 404),
        # of a proxy that we don't know
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 404),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 404),
        ("127.0.0.1", {"Via": "1.1 nginx"}, 404),
    ],
)
def test_who_may_read_the_metrics(
    switch: Switch, source: str, headers: dict[str, str], status: int
) -> None:
    assert switch.get("/metrics", headers=headers, source=source).status == status


# How often a password is hashed


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hashes each try was held against."""
    lighten_hashes(monkeypatch)
    counts: list[int] = []

    def counting(hashes: list[str], password: str) -> bool:
        counts.append(len(hashes))
        return check_any_password(hashes, password)

    monkeypatch.setattr(access_module, "check_any_password", counting)
    return counts


def agent_with(*passwords: str) -> AgentTerms:
    secrets = tuple(Secret(text=make_password(one), valid_to=None) for one in passwords)
    return AgentTerms(
        id=1,
        code="agent",
        is_active=True,
        language=Language.EN,
        sees_names=False,
        passwords=secrets,
        contracts={},
        outlets={},
    )


def catalogue_of(*agents: AgentTerms) -> Catalogue:
    return Catalogue(
        branches={},
        agents={agent.code: agent for agent in agents},
        plans={},
        books={},
        agents_by_id={},
        currencies=frozenset(),
    )


HERE = Caller(ip_address("198.51.100.1"), None)


async def attempt(
    access: Access, catalogue: Catalogue, name: str, password: str, caller: Caller = HERE
) -> str:
    try:
        await access.admit(catalogue, name, basic(name, password).encode(), caller)
    except NotAdmitted:
        return "no"
    except TooBusy:
        return "busy"
    return "yes"


def test_a_password_that_is_right_is_hashed_once(hashed: list[int]) -> None:
    catalogue = catalogue_of(agent_with("right"))

    async def scenario() -> list[str]:
        access = Access()
        try_ = partial(attempt, access, catalogue, "agent", "right")
        at_first = await asyncio.gather(*[try_() for _ in range(300)])
        return [*at_first, *[await try_() for _ in range(300)]]

    assert set(asyncio.run(scenario())) == {"yes"}
    assert hashed == [1]


def test_who_is_unknown_costs_what_a_wrong_password_costs(hashed: list[int]) -> None:
    """Each is one call, that always makes as many hashes; and is remembered."""
    catalogue = catalogue_of(agent_with("right"))

    async def scenario() -> list[str]:
        access = Access()
        return [
            await attempt(access, catalogue, name, password)
            for _ in range(3)
            for name, password in (("agent", "wrong"), ("nobody", "wrong"), ("nobody", "x" * 9999))
        ]

    assert asyncio.run(scenario()) == ["no"] * 9
    assert hashed == [1, 0, 0]


def test_a_new_password_is_not_judged_by_what_was_remembered(hashed: list[int]) -> None:
    async def scenario() -> list[str]:
        access = Access()
        return [
            await attempt(access, catalogue_of(agent), "agent", "new")
            for agent in (
                agent_with("old"),
                agent_with("old", "new"),
                agent_with("new"),
                agent_with("old"),
                agent_with(),
            )
        ]

    assert asyncio.run(scenario()) == ["no", "yes", "yes", "no", "no"]
    assert len(hashed) == 5


def test_whoever_knows_one_password_cannot_guess_others_for_that(hashed: list[int]) -> None:
    """However they spell what they know: what is right takes back its own try and no other."""
    catalogue = catalogue_of(agent_with("right"))

    async def scenario() -> int:
        access, guesses = Access(), 0
        for n in range(100):
            known = b"Basic" + b" " * (n + 1) + basic("agent", "right").encode()[6:]
            await access.admit(catalogue, "agent", known, HERE)
            before = len(hashed)
            await attempt(access, catalogue, "victim", f"guess {n}")
            guesses += len(hashed) - before
        return guesses

    assert asyncio.run(scenario()) == WRONG_PER_ADDRESS_MAX


def test_so_many_at_once_and_no_more(hashed: list[int]) -> None:
    catalogue = catalogue_of(agent_with("right"))

    async def scenario() -> list[str]:
        access = Access()
        callers = [Caller(ip_address(f"10.0.{n}.1"), None) for n in range(TRIES_WAITING_MAX + 5)]
        return await asyncio.gather(
            *[
                attempt(access, catalogue, "agent", f"wrong {n}", caller)
                for n, caller in enumerate(callers)
            ]
        )

    assert asyncio.run(scenario()) == ["no"] * TRIES_WAITING_MAX + ["busy"] * 5
    assert len(hashed) == TRIES_WAITING_MAX


@pytest.mark.parametrize("prefix", ["2001:db8::{:x}", "10.0.0.1"])
def test_an_ipv6_customer_is_one_address(hashed: list[int], prefix: str) -> None:
    catalogue = catalogue_of()

    async def scenario() -> None:
        access = Access()
        for n in range(WRONG_PER_ADDRESS_MAX + 9):
            caller = Caller(ip_address(prefix.format(n)), None)
            await attempt(access, catalogue, "nobody", f"guess {n}", caller)

    asyncio.run(scenario())
    assert len(hashed) == WRONG_PER_ADDRESS_MAX


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "check_any_password", lambda _hashes, _password: True)
    catalogue = catalogue_of(agent_with("x"))

    async def scenario() -> int:
        access = Access()
        largest = 0
        for n in range(REMEMBERED_MAX + 50):
            caller = Caller(ip_address(n), None)
            name = "agent" if n % 2 else "nobody"
            await attempt(access, catalogue, name, f"password {n}", caller)
            largest = max(largest, len(access._right), len(access._wrong), len(access._tried))
        return largest

    assert asyncio.run(scenario()) <= REMEMBERED_MAX


# What a header says


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Basic YTpi", ("a", "b")),
        (b"basic   YTpi ", ("a", "b")),
        (b"Basic YTpiOmM=", ("a", "b:c")),
        (b"Basic Og==", ("", "")),
        (b"Basic " + basic("Ы", "пароль").encode()[6:], ("Ы", "пароль")),
        (b"", None),
        (b"Basic", None),
        (b"Basic YQ==", None),
        (b"Basic YTpi!", None),
        (b"Basic Y Tpi", None),
        (b"Basic \xff\xff", None),
        (b"Digest YTpi", None),
        (b"BasicYTpi", None),
    ],
)
def test_read_basic(header: bytes, expected: tuple[str, str] | None) -> None:
    assert read_basic(header) == expected


@pytest.mark.parametrize(
    ("client", "headers", "expected"),
    [
        ("198.51.100.1", {b"x-forwarded-for": b"203.0.113.7"}, ("198.51.100.1", None)),
        ("198.51.100.1", {b"cert": b"ab" * 32}, ("198.51.100.1", None)),
        ("10.0.0.1", {b"x-forwarded-for": b"1.1.1.1, 203.0.113.7"}, ("203.0.113.7", None)),
        ("10.0.0.1", {b"cert": b"AB:" * 31 + b"AB"}, ("10.0.0.1", "ab" * 32)),
        ("10.0.0.1", {b"cert": b"ab" * 31}, ("10.0.0.1", None)),
        ("::ffff:10.0.0.1", {b"cert": b"ab" * 32}, ("10.0.0.1", "ab" * 32)),
        ("fe80::1%eth0", {}, ("fe80::1%eth0", None)),
        ("10.0.0.1", {b"x-forwarded-for": b"\xff"}, (None, None)),
        ("a/unix/socket", {b"cert": b"ab" * 32}, (None, None)),
        (None, {}, (None, None)),
    ],
)
def test_where_a_request_comes_from(
    client: str | None, headers: dict[bytes, bytes], expected: tuple[str | None, str | None]
) -> None:
    caller = caller_of(client, headers, [read_network("10.0.0.0/8")], b"cert")
    address, fingerprint = expected
    assert caller[:2] == (ip_address(address) if address else None, fingerprint)
    is_trusted = client in {"10.0.0.1", "::ffff:10.0.0.1"}
    assert caller.is_by_unknown_proxy is (b"x-forwarded-for" in headers and not is_trusted)
