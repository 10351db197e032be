"""Sent until it has arrived, to a real server; whatever that does, it holds up nobody else."""

import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.db import connection
from django.utils import timezone

from popolni.agents.networks import Network
from popolni.readers.webhooks import sending, targets
from popolni.readers.webhooks.models import Delivery
from popolni.readers.webhooks.rules import TRIES_MAX
from popolni.readers.webhooks.sending import AT_ONCE_OF_ONE, Answer, claim, give_back, mark
from popolni.readers.webhooks.service import new_secret, send_again, set_webhook
from popolni.subscribers.sealing import VARIABLE as DATA_KEYS
from tests.ledger.support import Ledger
from tests.readers.webhooks.support import (
    Arrived,
    Endpoint,
    Shop,
    endpoint,
    late,
    make_due,
    send_one,
    sender,
    wait_for,
    with_status,
)
from tests.subscribers.test_sealing import NEW

Allowed = tuple[Network, ...]


def now_of(delivery: Delivery) -> Delivery:
    delivery.refresh_from_db()
    return delivery


def is_signed(request: Arrived, secret: str | None) -> bool:
    """As an agent would check it, with nothing of ours."""
    assert secret is not None
    signed = f"{request.headers['Popolni-Timestamp']}.{request.body}".encode()
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, request.headers["Popolni-Signature"])


def test_what_arrives_is_signed(ledger: Ledger, there: Endpoint, allowed: Allowed) -> None:
    shop = Shop(ledger, there.url)
    delivery = shop.reversed_top_up()
    there.answers.append(with_status(200, "thank\x00 you"))
    with sender(allowed):
        wait_for(lambda: now_of(delivery).state == "delivered")
    (request,) = there.arrived
    assert request.path == "/hooks?of=us"
    assert request.body == delivery.body
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Host"] == f"127.0.0.1:{there.server_port}"
    assert request.headers["Popolni-Event-Id"] == delivery.event_id
    assert abs(int(request.headers["Popolni-Timestamp"]) - time.time()) < 30
    assert is_signed(request, shop.secret)
    assert not is_signed(request, "another")
    assert (delivery.tries, delivery.status, delivery.answer) == (1, 200, "thank  you")


def test_after_another_secret_it_is_signed_with_that(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    shop = Shop(ledger, there.url)
    delivery = shop.reversed_top_up()
    secret = new_secret(shop.webhook)
    with sender(allowed):
        wait_for(lambda: now_of(delivery).state == "delivered")
    assert is_signed(there.arrived[0], secret)
    assert not is_signed(there.arrived[0], shop.secret)


@pytest.mark.parametrize(
    ("answer", "status", "failure"),
    [
        (with_status(500, "no"), 500, ""),
        (with_status(302, Location="http://127.0.0.1:1/"), 302, ""),
        (late(1.0), None, "time_out"),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), None, "unreachable"),
    ],
)
def test_what_failed_is_sent_again(  # noqa: PLR0917
    ledger: Ledger,
    there: Endpoint,
    allowed: Allowed,
    answer: Callable[[Any], None],
    status: int | None,
    failure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.3)
    delivery = Shop(ledger, there.url).reversed_top_up()
    there.answers.append(answer)
    with sender(allowed):
        wait_for(lambda: now_of(delivery).status or delivery.failure)
        assert (delivery.state, delivery.tries) == ("waiting", 1)
        assert (delivery.status, delivery.failure) == (status, failure)
        pause = delivery.due_at - timezone.now()
        assert timedelta(seconds=5) < pause <= timedelta(seconds=10)
        make_due(delivery)
        wait_for(lambda: now_of(delivery).state == "delivered")
    assert (delivery.tries, delivery.status, delivery.failure) == (2, 204, "")
    first, second = there.arrived
    assert first.body == second.body
    assert first.headers["Popolni-Event-Id"] == second.headers["Popolni-Event-Id"]


def test_a_refused_connection_is_sent_again(ledger: Ledger, allowed: Allowed) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    shop = Shop(ledger, url)
    delivery = shop.reversed_top_up()
    with sender(allowed), endpoint() as there:
        wait_for(lambda: now_of(delivery).failure)
        assert (delivery.state, delivery.failure) == ("waiting", "unreachable")
        set_webhook(shop.agent, there.url, is_on=True)
        make_due(delivery)
        wait_for(lambda: now_of(delivery).state == "delivered")


def test_at_last_it_is_given_up_and_may_be_sent_again_by_hand(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    delivery = Shop(ledger, there.url).reversed_top_up()
    there.always = with_status(503)
    Delivery.objects.filter(pk=delivery.pk).update(tries=TRIES_MAX - 1)
    with sender(allowed):
        wait_for(lambda: now_of(delivery).state == "given_up")
        assert (delivery.tries, delivery.status) == (TRIES_MAX, 503)
        make_due(delivery)
        time.sleep(1)
        assert len(there.arrived) == 1
        there.always = with_status(204)
        send_again(delivery)
        wait_for(lambda: now_of(delivery).state == "delivered")
        assert delivery.tries == 1
        send_again(delivery)
        wait_for(lambda: len(there.arrived) == 3)
    assert {request.headers["Popolni-Event-Id"] for request in there.arrived} == {delivery.event_id}


def test_a_crash_between_the_post_and_the_mark_sends_it_again(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    delivery = Shop(ledger, there.url).reversed_top_up()
    (taken,) = claim(9, [])
    assert send_one(taken, allowed).status == 204
    # The worker is killed here. For a while nobody else has it:
    assert claim(9, []) == []
    assert now_of(delivery).state == "waiting"
    assert delivery.due_at > timezone.now() + timedelta(seconds=sending.DEADLINE_S)
    make_due(delivery)
    with sender(allowed):
        wait_for(lambda: now_of(delivery).state == "delivered")
    first, second = there.arrived
    assert first.headers["Popolni-Event-Id"] == second.headers["Popolni-Event-Id"]
    assert first.body == second.body


def test_who_comes_late_changes_nothing_but_that_it_arrived(ledger: Ledger) -> None:
    delivery = Shop(ledger, "http://127.0.0.1:1/").reversed_top_up()
    (late_one,) = claim(9, [])
    make_due(delivery)
    (taken,) = claim(9, [])
    mark(late_one, Answer(500, "late"))
    give_back(late_one)
    assert (now_of(delivery).state, delivery.tries, delivery.status) == ("waiting", 2, None)
    mark(late_one, Answer(204))
    assert now_of(delivery).state == "delivered"
    mark(taken, Answer(500, "later"))
    assert (now_of(delivery).state, delivery.status) == ("delivered", 204)


def test_workers_at_once_take_each_once(ledger: Ledger, there: Endpoint, allowed: Allowed) -> None:
    shop = Shop(ledger, there.url)
    for _ in range(20):
        shop.reverse(shop.top_up())
    shop.read()
    with sender(allowed), sender(allowed):
        wait_for(lambda: all(row.state == "delivered" for row in shop.deliveries()))
    ids = [request.headers["Popolni-Event-Id"] for request in there.arrived]
    assert sorted(ids) == sorted({row.event_id for row in shop.deliveries()})


def test_of_one_webhook_few_are_taken_and_of_a_busy_one_none(ledger: Ledger) -> None:
    first, second = (Shop(ledger, "http://127.0.0.1:1/") for _ in range(2))
    for _ in range(6):
        first.reverse(first.top_up())
    first.read()
    second.reversed_top_up()
    taken = claim(99, [first.webhook.pk])
    assert [one.webhook_id for one in taken] == [second.webhook.pk]
    assert len(claim(2, [])) == 2
    assert len(claim(99, [])) == AT_ONCE_OF_ONE
    assert claim(99, []) == []


def test_one_that_is_off_waits(ledger: Ledger) -> None:
    shop = Shop(ledger, "http://127.0.0.1:1/")
    shop.reversed_top_up()
    set_webhook(shop.agent, shop.webhook.url, is_on=False)
    assert claim(9, []) == []
    set_webhook(shop.agent, shop.webhook.url, is_on=True)
    assert len(claim(9, [])) == 1


def test_a_dead_endpoint_holds_up_no_other(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    with endpoint() as dead:
        dead.always = late(4)
        stuck, other = Shop(ledger, dead.url), Shop(ledger, there.url)
        for _ in range(10):
            stuck.reverse(stuck.top_up())
        stuck.read()
        with sender(allowed):
            wait_for(lambda: len(dead.arrived) == AT_ONCE_OF_ONE)
            began = time.monotonic()
            for _ in range(3):
                delivery = other.reversed_top_up()
                wait_for(lambda: now_of(delivery).state == "delivered")  # noqa: B023
            assert time.monotonic() - began < 3
            ended = time.monotonic()
        assert time.monotonic() - ended < sending.END_S + 1
        # What was cut short is due at once, and was no try.
        assert {(row.tries, row.due_at <= timezone.now()) for row in stuck.deliveries()} == {
            (0, True)
        }


@pytest.mark.parametrize("slow", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_letter_by_letter_ends(
    ledger: Ledger,
    there: Endpoint,
    allowed: Allowed,
    slow: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "DEADLINE_S", 0.5)

    def drip(handler: Any) -> None:
        handler.wfile.write(slow)
        for _ in range(30):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    there.always = drip
    Shop(ledger, there.url).reversed_top_up()
    (taken,) = claim(9, [])
    began = time.monotonic()
    assert send_one(taken, allowed) == Answer(None, "", "time_out")
    assert time.monotonic() - began < 2


def test_of_a_long_answer_the_beginning_is_read(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    def flood(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            handler.wfile.write(b"y" * 65_536)

    there.always = flood
    Shop(ledger, there.url).reversed_top_up()
    (taken,) = claim(9, [])
    assert send_one(taken, allowed) == Answer(200, "y" * 500)


def test_what_one_agent_has_us_keep_no_other_gets(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    """Two agents may be on one address, such as that of a hosting company."""
    with endpoint() as elsewhere, sender(allowed):
        elsewhere.always = with_status(204, **{"Set-Cookie": "session=of-another; Path=/"})
        first = Shop(ledger, elsewhere.url).reversed_top_up()
        wait_for(lambda: now_of(first).state == "delivered")
        second = Shop(ledger, there.url).reversed_top_up()
        wait_for(lambda: now_of(second).state == "delivered")
    assert "Cookie" not in there.arrived[0].headers


def test_of_a_name_whose_first_address_is_silent_the_next_is_tried(
    ledger: Ledger, there: Endpoint, allowed: Allowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_host: str, _port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    monkeypatch.setattr(targets, "_look_up", found)
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.5)
    Shop(ledger, f"http://localhost:{there.server_port}/").reversed_top_up()
    (taken,) = claim(9, [])
    with silence("127.0.0.9", there.server_port):
        assert send_one(taken, allowed) == Answer(204)


@contextmanager
def silence(address: str, port: int) -> Iterator[None]:
    """A port that neither takes a connection nor refuses it: its queue is full."""
    with ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind((address, port))
        server.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex((address, port))
        time.sleep(0.1)
        yield


def test_our_own_network_gets_nothing(ledger: Ledger, there: Endpoint) -> None:
    delivery = Shop(ledger, there.url).reversed_top_up()
    with sender(()):
        wait_for(lambda: now_of(delivery).failure)
    assert (delivery.state, delivery.failure) == ("waiting", "address")
    assert there.arrived == []


def test_what_is_connected_to_is_what_was_checked(
    ledger: Ledger, there: Endpoint, allowed: Allowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who answers for the name says another address each time; the second answer is never asked."""
    asked: list[str] = []

    def found(host: str, port: int, **_kind: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.99"
        return [(2, 1, 6, "", (address, port))]

    Shop(ledger, f"http://localhost:{there.server_port}/").reversed_top_up()
    (taken,) = claim(9, [])
    monkeypatch.setattr(socket, "getaddrinfo", found)
    answer = send_one(taken, allowed)
    assert answer.status == 204, answer
    assert there.arrived[0].headers["Host"] == f"localhost:{there.server_port}"
    assert [host for host in asked if host == "localhost"] == ["localhost"]


def test_without_the_key_nothing_is_sent(
    ledger: Ledger, there: Endpoint, allowed: Allowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    Shop(ledger, there.url).reversed_top_up()
    (taken,) = claim(9, [])
    monkeypatch.setenv(DATA_KEYS, f"new:{NEW}")
    assert send_one(taken, allowed) == Answer(None, "", "no_key")
    assert there.arrived == []


def test_no_transaction_is_open_while_it_is_sent(
    ledger: Ledger, there: Endpoint, allowed: Allowed
) -> None:
    delivery = Shop(ledger, there.url).reversed_top_up()
    found: list[int] = []

    def look(handler: Any) -> None:
        found.extend(
            count
            for (count,) in ledger.connection.execute(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and state like 'idle in transaction%'"
            ).fetchall()
        )
        with_status(204)(handler)

    there.always = look
    connection.close()
    with sender(allowed):
        wait_for(lambda: now_of(delivery).state == "delivered")
    assert found == [0]


def test_over_tls_the_certificate_is_the_name_s(
    ledger: Ledger, allowed: Allowed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """We connect to an address, and yet ask for the name and believe no other one's certificate."""
    certificate = make_certificate(tmp_path, "agent.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    real = socket.getaddrinfo

    def found(host: Any, *words: Any, **kind: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".example") else host, *words, **kind)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with endpoint() as there:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        there.socket = context.wrap_socket(there.socket, server_side=True)
        for name, status in (("agent.example", 204), ("other.example", None)):
            Shop(ledger, f"https://{name}:{there.server_port}/").reversed_top_up()
            (taken,) = claim(9, [])
            answer = send_one(taken, allowed)
            assert answer.status == status, answer
            assert answer.failure == ("" if status else "unreachable")
    assert [one.headers["Host"] for one in there.arrived] == [f"agent.example:{there.server_port}"]


def make_certificate(folder: Path, name: str) -> Path:
    """Its own authority; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ) + certificate.public_bytes(Encoding.PEM)
    path = folder / "certificate.pem"
    path.write_bytes(pem)
    return path
