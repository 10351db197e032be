"""Who is let in, what a request must be, and what is written down of it. Nothing is a 5xx."""

import http.client
import json
import socket
import time
from typing import Any

import pytest

from popolni.switch.api.problems import Kind
from tests.switch.api.support import Partner, partner, problem_of, value_of
from tests.switch.catalogue import money_of, new_number
from tests.switch.support import (
    Answer,
    Switch,
    basic,
    held,
    new_reference,
    password_of,
    request,
    running,
    wait_for,
)


@pytest.fixture
def shop(switch: Switch) -> Partner:
    return partner(switch)


def order(**more: Any) -> dict[str, Any]:
    fields = {"reference": new_reference(), "number": "79169999999", "amount_minor": 100_00}
    return {**fields, "currency": "RUB", **more}


def post(shop: Partner, body: bytes, **headers: str) -> Answer:
    sent = {"Content_Type": "application/json", **headers}
    return shop.send("POST", "/api/v1/top-ups", body, **sent)


ORDER = json.dumps(order(reference="a reference")).encode()


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"", [""]),
        (b"{", None),
        (b"\xff\xfe", None),
        (b"\xef\xbb\xbf" + ORDER, None),
        (b"null", [""]),
        (b"[]", [""]),
        (b"[" * 60_000, [""]),
        (b'{"a":' * 12_000, [""]),
        (b"{}", [""]),
        (ORDER + b"{}", None),
        (ORDER.replace(b"10000", b"NaN"), None),
        (ORDER.replace(b"10000", b"Infinity"), None),
        (ORDER.replace(b"10000", b"1e400"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"1" * 5_000), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"9007199254740992"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"100.5"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"1e-400"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"1e999999999"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"9007199254740991.4"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b'10000.0, "amount_minor": 1'), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"0.0"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"0"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"-1"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b'"10000"'), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"true"), ["/amount_minor"]),
        (ORDER.replace(b"10000", b"null"), ["/amount_minor"]),
        (ORDER.replace(b'"79169999999"', b"0"), ["/number"]),
        (ORDER.replace(b'"79169999999"', b"1000000000000000"), ["/number"]),
        (ORDER.replace(b'"79169999999"', b"[]"), ["/number"]),
        (ORDER.replace(b"79169999999", b"7" * 41), ["/number"]),
        (ORDER.replace(b"79169999999", rb"\ud800"), None),
        (ORDER.replace(b'"RUB"', b'"rub"'), ["/currency"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "currency": "RUB"'), ["/currency"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "sum": 1'), [""]),
        (ORDER.replace(b'"RUB"', b'"RUB", "method": "barter"'), ["/method"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "method": null'), ["/method"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "identity": "face"'), ["/identity"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "paid_at": 1700000000'), ["/paid_at"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "paid_at": "today"'), ["/paid_at"]),
        (ORDER.replace(b'"RUB"', b'"RUB", "paid_at": "2026-02-30T00:00:00Z"'), ["/paid_at"]),
    ],
)
def test_bodies_that_cannot_be_read(shop: Partner, body: bytes, pointers: list[str] | None) -> None:
    status, kind, problem = problem_of(post(shop, body))
    assert (status, kind) == (400, "malformed")
    wrong = problem.get("errors")
    assert (wrong and [one.get("pointer") for one in wrong]) == pointers


@pytest.mark.parametrize("written", ["10000.0", "10000.000", "1e4", "1E+4", "100.00e2"])
def test_a_whole_number_as_some_programs_write_it(shop: Partner, written: str) -> None:
    number = new_number()
    body = json.dumps(order(number=float(number))).replace("10000,", f"{written},")
    assert value_of(post(shop, body.encode()))["amount_minor"] == 100_00
    assert money_of(number) == 100_00


@pytest.mark.parametrize(
    "reference",
    ["", " a", "a ", "a\n", "\n", "\0", "a\0b", "a\tb", "ж", "\x7f", "a" * 65, " ", 7, None, ["a"]],
)
def test_references_that_are_none(shop: Partner, reference: object) -> None:
    answer = shop.post("/top-ups", order(reference=reference))
    _, _, problem = problem_of(answer)
    assert [one["pointer"] for one in problem["errors"]] == ["/reference"]


@pytest.mark.parametrize("reference", ["a", "!", "~", "a b", "a" * 64, '"\\', "../..?x=%00&y#z"])
def test_references_that_are_some(shop: Partner, reference: str) -> None:
    answer = shop.top_up(new_number(), reference=reference)
    assert value_of(answer)["reference"] == reference


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/msgpack", 415),
        ("", 415),
    ],
)
def test_the_type_of_the_content(shop: Partner, content_type: str, status: int) -> None:
    body = json.dumps(order(number=new_number())).encode()
    assert post(shop, body, Content_Type=content_type).status == status


def test_a_body_that_is_too_long(shop: Partner) -> None:
    spaces = b" " * (64 * 1024 - len(ORDER))
    assert problem_of(post(shop, ORDER + spaces))[1] == "refused"  # that number is not there
    assert problem_of(post(shop, ORDER + spaces + b" "))[:2] == (413, "too-large")
    answer = shop.send("POST", "/api/v1/top-ups/1-1/reversal", b" " * 65_537)
    assert problem_of(answer)[:2] == (413, "too-large")


def test_a_body_that_does_not_come(shop: Partner) -> None:
    head = (
        "POST /api/v1/top-ups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {basic('terminal', password_of('terminal'))}\r\nContent-Length: 50\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shop.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"{")
        started = time.monotonic()
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 408
        assert json.loads(response.read())["type"] == "/problems/too-slow"
    assert 8 < time.monotonic() - started < 20


def test_the_long_way_is_the_short_one(shop: Partner) -> None:
    """An order is taken before the router; what comes to the router is answered the same."""
    number, reference = new_number(), new_reference()
    body = json.dumps(order(number=number, reference=reference)).encode()
    path, kind = "/api/v1/top-ups/", "application/json"
    first = shop.send("POST", path, body, Content_Type=kind)
    again = post(shop, body)
    assert (first.status, again.status, again.body) == (201, 200, first.body)
    assert first.header("location") == again.header("location")
    for wrong in (b"", b"{", b"{}", ORDER.replace(b"10000", b"-1")):
        answers = [shop.send("POST", path, wrong, Content_Type=kind), post(shop, wrong)]
        assert len({(answer.status, answer.body) for answer in answers}) == 1
    answer = shop.send("POST", "/api/v1/top-ups?dry_run=1", body, Content_Type=kind)
    assert problem_of(answer)[:2] == (400, "malformed")


# Who asks


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !",
        basic("terminal", "wrong"),
        basic("nobody", "x"),
        basic("off", password_of("off")),
        basic("abroad", password_of("abroad")),
        basic("both", password_of("both")),
        "Bearer x",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/float", "/api/v1/nothing", "/problems/nothing"])
def test_nobody_learns_anything(switch: Switch, authorization: str | None, path: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = request(switch.port, "GET", path, headers=headers)
    assert problem_of(answer) == (401, "unauthorized", {"retry_helps": False})
    assert answer.header("www-authenticate") == 'Basic realm="Popolni", charset="UTF-8"'
    assert answer.body == request(switch.port, "GET", "/api/v1/float").body


def test_so_many_in_a_second(switch: Switch) -> None:
    slow = partner(switch, "slow")
    answers = [slow.get("/float") for _ in range(12)]
    (refused,) = {answer.body for answer in answers if answer.status != 200}
    assert json.loads(refused)["type"] == "/problems/too-many-requests"
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.header("retry-after") == "1"
    wait_for(lambda: slow.get("/float").status == 200)


# Pages


@pytest.mark.parametrize("kind", Kind)
def test_each_problem_has_a_page(switch: Switch, kind: Kind) -> None:
    answer = switch.get(kind.type)
    assert (answer.status, answer.header("content-type")) == (200, "text/plain; charset=utf-8")
    assert kind.value.meaning in answer.body.decode()


@pytest.mark.parametrize("path", ["/nothing", "/", "/top-ups/1-1/x", "/float/x", "/openapi.yaml"])
def test_pages_that_are_not_there(shop: Partner, path: str) -> None:
    assert problem_of(shop.get(path))[:2] == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/top-ups", {"GET", "POST", "OPTIONS"}),
        ("PUT", "/top-ups/1-1", {"GET", "OPTIONS"}),
        ("GET", "/top-ups/1-1/reversal", {"POST", "OPTIONS"}),
        ("POST", "/float", {"GET", "OPTIONS"}),
        ("TRACE", "/float", {"GET", "OPTIONS"}),
        ("BREW", "/float", {"GET", "OPTIONS"}),
    ],
)
def test_methods(shop: Partner, method: str, path: str, allow: set[str]) -> None:
    answer = shop.send(method, f"/api/v1{path}")
    assert problem_of(answer)[:2] == (405, "method-not-allowed")
    assert set((answer.header("allow") or "").replace(" ", "").split(",")) == allow


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/top-ups", {"GET", "OPTIONS", "POST"}), ("/float", {"GET", "OPTIONS"})],
)
def test_options(shop: Partner, path: str, allow: set[str]) -> None:
    answer = shop.send("OPTIONS", f"/api/v1{path}")
    assert answer.status == 204
    assert set((answer.header("allow") or "").replace(" ", "").split(",")) == allow


# When the database is away


def test_without_a_database_everything_may_be_asked_again(own_url: str, switch: Switch) -> None:
    shop, number, reference = partner(switch), new_number(), new_reference()
    with held(own_url, 1):  # what is under way may be credited
        assert shop.top_up(number, reference=reference).status == 202
        answer = shop.top_up(number)
        assert answer.status in (202, 503)
    wait_for(lambda: shop.top_up(number, reference=reference).status == 200)


@pytest.mark.usefixtures("own_url")
def test_no_database_from_the_start(logs: Any) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    with running(url, logs, wait="/healthz", may_crash=True) as away:
        answer = partner(away).get("/float")
        assert problem_of(answer) == (503, "unavailable", {"retry_helps": True})
        assert away.get("/api/v1/openapi.json").status == 200


# What is written down


def test_the_log_has_a_line_for_each_and_no_secret(switch: Switch, shop: Partner) -> None:
    number, reference = new_number(), new_reference()
    id_ = value_of(shop.top_up(number, 123_45, reference=reference))["id"]
    shop.get(f"/numbers/{number}")
    wait_for(lambda: switch.log.count(str(number)[-4:]) >= 2)
    lines = [json.loads(line) for line in switch.log.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["reference"] == reference]
    assert line.pop("ms") > 0
    assert line.pop("at")
    assert line == {
        "event": "top_up",
        "channel": "api",
        "agent": "terminal",
        "reference": reference,
        "number": f"{str(number)[:4]}***{str(number)[-4:]}",
        "amount_minor": 123_45,
        "outcome": "credited",
        "status": 201,
        "receipt": id_,
    }
    assert str(number) not in switch.log
    assert password_of("terminal") not in switch.log
    assert basic("terminal", password_of("terminal")).partition(" ")[2] not in switch.log


def test_metrics_of_every_request(switch: Switch, shop: Partner) -> None:
    shop.top_up(new_number())
    shop.get("/nothing")
    text = switch.get("/metrics").body.decode()
    for label in ('command="top_up",outcome="credited"', 'command="none",outcome="not-found"'):
        assert f'popolni_switch_requests_total{{agent="terminal",channel="api",{label}}}' in text


def test_money_is_where_it_was(shop: Partner) -> None:
    """After all of the above."""
    number = new_number()
    assert (shop.top_up(number, 10_00).status, money_of(number)) == (201, 10_00)
