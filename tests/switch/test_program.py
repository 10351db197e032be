"""The program as a whole: its figures, its settings, its own TLS."""

import http.client
import os
import re
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from popolni.core.errors import UserError
from popolni.switch.settings import Settings, read_settings
from tests.conftest import SOURCE
from tests.subscribers.support import at_once
from tests.switch.catalogue import money_of, new_number
from tests.switch.support import (
    Switch,
    Terminal,
    held,
    new_reference,
    running,
    wait_for,
)

# Its figures


def figures(switch: Switch) -> dict[str, float]:
    text = switch.get("/metrics").body.decode()
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def requests(agent: str, command: str, outcome: str) -> str:
    labels = f'agent="{agent}",channel="osmp",command="{command}",outcome="{outcome}"'
    return f"popolni_switch_requests_total{{{labels}}}"


@pytest.mark.parametrize("processes", [1, 3])
def test_the_figures_of_all_processes(own_url: str, logs: Path, processes: int) -> None:
    with running(own_url, logs, SWITCH_PROCESSES=processes) as switch:
        terminal, numbers = switch.terminal(), [new_number() for _ in range(20)]
        at_once(*[partial(terminal.pay, number, "10") for number in numbers])
        terminal.pay(1, "10")
        terminal.check(numbers[0])
        switch.get("/osmp/nobody")
        expected = {
            requests("terminal", "pay", "credited"): 20,
            requests("terminal", "none", "malformed"): 1,
            requests("terminal", "check", "done"): 1,
            'popolni_switch_not_admitted_total{channel="osmp"}': 1,
            'popolni_switch_seconds_count{channel="osmp",command="pay"}': 20,
            "popolni_switch_batch_sum": 20,
            "popolni_switch_waiting": 0,
        }
        for _ in range(2 * processes):  # whoever is asked
            found = figures(switch)
            assert {name: found.get(name) for name in expected} == expected


def test_the_figures_of_an_earlier_life_are_forgotten(
    own_url: str, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for _ in range(2):
        with running(own_url, logs) as switch:
            switch.terminal().pay(new_number(), "10")
            assert figures(switch)[requests("terminal", "pay", "credited")] == 1
            assert list(tmp_path.glob("*.db"))


def test_the_figures_of_a_process_that_is_killed(own_url: str, logs: Path) -> None:
    """What it had waiting no longer counts; what it has counted does."""
    with running(own_url, logs) as switch, ThreadPoolExecutor(4) as pool:
        terminal, number = switch.terminal(), new_number()
        assert terminal.pay(number, "10").result == 0
        with held(own_url, 1):
            asked = [pool.submit(terminal.pay, number, "10") for _ in range(4)]
            wait_for(lambda: figures(switch).get("popolni_switch_waiting", 0) > 0)
            (worker,) = switch.workers
            worker.kill()
            assert all(isinstance(one.exception(), (OSError, HTTPException)) for one in asked)
            wait_for(switch.is_ready)
            found = figures(switch)
            assert found["popolni_switch_waiting"] == 0
            assert found[requests("terminal", "pay", "credited")] == 1


def test_the_folder_of_figures_does_not_outlive_its_switch(
    own_url: str, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another switch take it away, nor one of somebody else's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    other = tmp_path / "popolni-switch-of-somebody"
    other.mkdir()
    with running(own_url, logs):
        (first,) = set(tmp_path.glob("popolni-switch-*")) - {other}
        with running(own_url, logs) as killed:
            (second,) = set(tmp_path.glob("popolni-switch-*")) - {other, first}
            workers = killed.workers
            killed.process.kill()
            wait_for(lambda: not any(worker.is_running() for worker in workers))
            assert second.exists()
            with running(own_url, logs):
                assert not second.exists()
                assert first.exists()
                assert len(set(tmp_path.glob("popolni-switch-*"))) == 3
    assert set(tmp_path.iterdir()) == {other}


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/healthz", 200, b"ok\n"),
        ("/readyz", 200, b"ready\n"),
        ("/", 404, b"nothing is here\n"),
        ("/healthz/", 404, b"nothing is here\n"),
        ("/admin/", 404, b"nothing is here\n"),
    ],
)
def test_pages(switch: Switch, path: str, status: int, body: bytes) -> None:
    answer = switch.get(path)
    assert (answer.status, answer.body) == (status, body)


def test_one_line_for_each_request(switch: Switch, terminal: Terminal) -> None:
    number, reference = new_number(), new_reference()
    paid = terminal.pay(number, "10.50", reference)
    assert paid.prv_txn
    wait_for(lambda: reference in switch.log)
    (line,) = [line for line in switch.log.splitlines() if reference in line]
    masked = f"{str(number)[:4]}***{str(number)[-4:]}"
    assert re.fullmatch(
        r'\{"at":"[0-9T:.-]+Z","event":"pay","channel":"osmp","agent":"terminal",'
        rf'"reference":"{reference}","number":"{re.escape(masked)}","amount_minor":1050,'
        rf'"outcome":"credited","result":0,"receipt":"1-{int(paid.prv_txn[1:])}","ms":[0-9.]+\}}',
        line,
    )


TOKEN = "of-a-prometheus-server"  # noqa: S105  # nobody's


def test_a_token_for_the_figures(own_url: str, logs: Path) -> None:
    with running(own_url, logs, METRICS_TOKEN=TOKEN) as switch:
        for sent, status in (
            ({}, 404),
            ({"Authorization": f"Bearer {TOKEN}x"}, 404),
            ({"Authorization": TOKEN}, 404),
            ({"Authorization": f"Bearer {TOKEN}"}, 200),
            ({"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.7"}, 200),
        ):
            assert switch.get("/metrics", headers=sent).status == status


# Its settings

DATABASE = {"POPOLNI_DATABASE_URL": "postgresql://nowhere/none"}


def test_the_defaults() -> None:
    settings = read_settings(DATABASE)
    assert settings == Settings(
        database_url="postgresql://nowhere/none",
        processes=1,
        queue=2000,
        proxies=(),
        certificate_header="x-client-cert-sha256",
        metrics_from=settings.metrics_from,
        metrics_token="",
        tls=None,
    )
    assert list(map(str, settings.metrics_from)) == ["127.0.0.0/8", "::1/128"]


def test_each_of_them(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    settings = read_settings(
        {
            "POPOLNI_DATABASE_URL": " postgresql://nowhere/none ",
            "POPOLNI_SWITCH_PROCESSES": "64",
            "POPOLNI_SWITCH_QUEUE": " 100000 ",
            "POPOLNI_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1,",
            "POPOLNI_CERTIFICATE_HEADER": "X-SSL-Client-SHA256",
            "POPOLNI_METRICS_FROM": "192.0.2.1",
            "POPOLNI_TLS_CERTIFICATE": str(tmp_path / "cert.pem"),
            "POPOLNI_TLS_KEY": str(tmp_path / "key.pem"),
        }
    )
    assert settings.database_url == "postgresql://nowhere/none"
    assert (settings.processes, settings.queue) == (64, 100_000)
    assert list(map(str, settings.proxies)) == ["10.0.0.0/8", "2001:db8::1/128"]
    assert settings.certificate_header == "x-ssl-client-sha256"
    assert list(map(str, settings.metrics_from)) == ["192.0.2.1/32"]
    assert settings.tls == (tmp_path / "cert.pem", tmp_path / "key.pem")


HERE = __file__
WRONG = [
    ("DATABASE_URL", " ", "is missing: the address of the database"),
    *(
        ("SWITCH_PROCESSES", text, f"{text!r} is not a number from 1 to 64")
        for text in ("0", "65", "-1", "x", "1.5", "２", "1" * 40)
    ),
    *(
        ("SWITCH_QUEUE", text, f"{text!r} is not a number from 1 to 100000")
        for text in ("0", "100001", "many", "1000000000000")
    ),
    *(
        (name, text, f"{text!r} is not an address range such as 203.0.113.0/24")
        for name in ("TRUSTED_PROXIES", "METRICS_FROM")
        for text in ("x", "10.0.0.0/33", "localhost")
    ),
    (
        "TRUSTED_PROXIES",
        "10.0.0.1/8",
        "'10.0.0.1/8' begins inside the range 10.0.0.0/8: write that, or one address alone",
    ),
    *(
        ("CERTIFICATE_HEADER", text, f"{text!r} is not the name of a header")
        for text in ("X Cert", "X:Cert", "Ы", "-", "X_Cert")
    ),
    *(
        ("METRICS_TOKEN", text, "is not 16 or more characters of ASCII")
        for text in ("short", "x" * 15, "й" * 20)
    ),
    ("TLS_CERTIFICATE", HERE, "POPOLNI_TLS_CERTIFICATE and POPOLNI_TLS_KEY go together"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "fault"), WRONG)
def test_a_setting_that_is_wrong(name: str, text: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings({**DATABASE, f"POPOLNI_{name}": text})
    assert str(caught.value) == f"the switch's settings are wrong:\n  POPOLNI_{name}: {fault}"


def test_a_key_without_a_certificate() -> None:
    with pytest.raises(UserError, match="go together"):
        read_settings({**DATABASE, "POPOLNI_TLS_KEY": HERE})


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(UserError, match=f"{missing} cannot be read: No such file"):
        read_settings(
            {**DATABASE, "POPOLNI_TLS_CERTIFICATE": str(missing), "POPOLNI_TLS_KEY": HERE}
        )


def fails(**variables: str) -> str:
    """What the program says that does not start."""
    settings = {f"POPOLNI_{name}": text for name, text in variables.items()}
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **DATABASE, **settings}
    del environment["DJANGO_SETTINGS_MODULE"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "popolni.switch", "127.0.0.1", "1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_every_wrong_setting_has_its_line() -> None:
    wrong = {"DATABASE_URL": "", "SWITCH_QUEUE": "x", "METRICS_FROM": "here"}
    assert fails(**wrong).splitlines() == [
        "popolni: the switch's settings are wrong:",
        "  POPOLNI_DATABASE_URL: is missing: the address of the database",
        "  POPOLNI_SWITCH_QUEUE: 'x' is not a number from 1 to 100000",
        "  POPOLNI_METRICS_FROM: 'here' is not an address range such as 203.0.113.0/24",
    ]


# TLS


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by nobody else; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "switch")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_tls(own_url: str, logs: Path, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    number = new_number()
    with running(own_url, logs, tls=context, TLS_CERTIFICATE=certificate, TLS_KEY=key) as switch:
        query = f"command=pay&txn_id={new_reference()}&account={number}&sum=10"
        assert switch.terminal().send(query, tls=context).osmp.result == 0
        with pytest.raises((OSError, http.client.HTTPException)):
            switch.terminal().pay(number, "10")  # without TLS, nobody is spoken to
    assert money_of(number) == 10_00


def test_the_versions_of_tls_that_are_old(own_url: str, logs: Path, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    old = ssl.create_default_context(cafile=str(certificate))
    with running(own_url, logs, tls=context, TLS_CERTIFICATE=certificate, TLS_KEY=key) as switch:
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            switch.get("/healthz", tls=old)
