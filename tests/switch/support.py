"""The switch as real processes, and terminals that speak to it. No part of Django is here."""

import base64
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import django.db
import psutil
import psycopg

from popolni.ledger.verify import Fault, verify
from popolni.protocols.osmp import Response, read_response
from popolni.settings import database
from tests.conftest import SOURCE
from tests.embedded.programs import free_port

T = TypeVar("T")

PROXY = "127.0.0.9"
"""The address from which a proxy is trusted."""

_references = count(1_000_000_001)


def password_of(agent: str) -> str:
    return f"{agent}: its own password"


def new_reference() -> str:
    """A txn_id that no payment has."""
    return str(next(_references))


def wait_for(condition: Callable[[], T | None]) -> T:
    """It comes true, sooner or later; how soon is no matter of a test's."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)
    return found


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """Django's default database in this process, while the block lasts."""
    default = django.db.connections.databases["default"]
    former = dict(default)
    django.db.connections.close_all()
    default.update(database(url))
    try:
        yield
    finally:
        django.db.connections.close_all()
        default.clear()
        default.update(former)


@dataclass(frozen=True)
class Answer:
    """What HTTP brought."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def osmp(self) -> Response:
        assert self.status == 200, self
        return read_response(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass
class Switch:
    """A switch that runs: its supervisor, its port, its log."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path
    may_crash: bool = False
    terminals: dict[str, "Terminal"] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def terminal(self, agent: str = "terminal") -> "Terminal":
        return self.terminals.setdefault(agent, Terminal(self.port, agent, password_of(agent)))

    def get(self, path: str, **more: Any) -> Answer:
        return request(self.port, "GET", path, **more)

    def is_ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.get("/readyz").status == 200
        return False

    def faults(self) -> list[str]:
        """What the auditor finds."""
        faults: list[Fault] = []
        verify(self.url, on_fault=faults.append)
        return [str(fault) for fault in faults]

    def signal(self, number: int) -> None:
        """To every process of it."""
        for one in [psutil.Process(self.process.pid), *self.workers]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)


@contextmanager
def running(
    url: str,
    folder: Path,
    *,
    wait: str = "/readyz",
    may_crash: bool = False,
    tls: ssl.SSLContext | None = None,
    **variables: Any,
) -> Iterator[Switch]:
    """A switch with its database at `url`. It ends by itself when it is told to.

    A variable is named without its POPOLNI_. Its log must have no traceback, unless it `may_crash`.
    """
    settings = {f"POPOLNI_{name}": str(value) for name, value in variables.items()}
    environment = {
        **{name: text for name, text in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "PYTHONPATH": str(SOURCE),
        "POPOLNI_DATABASE_URL": url,
        "POPOLNI_TRUSTED_PROXIES": PROXY,
        **settings,
    }
    switch = _start(url, folder, environment, lambda it: _answers(it, wait, tls))
    switch.may_crash = may_crash
    processes = variables.get("SWITCH_PROCESSES", 1)
    try:
        # One answer is that of one process; the kernel chooses which.
        for _ in range(1 if processes == 1 else 10 * processes):
            wait_for(lambda: _answers(switch, wait, tls))
        yield switch
    finally:
        _end(switch)
    assert may_crash or "Traceback" not in switch.log, switch.log


def _start(
    url: str, folder: Path, environment: dict[str, str], answers: Callable[["Switch"], bool]
) -> Switch:
    """At a free port; one that somebody else took meanwhile is left to them."""
    while True:
        port = free_port()
        log_path = folder / f"switch-{port}.log"
        with log_path.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "popolni.switch", "127.0.0.1", str(port)],
                env=environment,
                stderr=stderr,
                stdout=stderr,
            )
        switch = Switch(url, port, process, log_path)
        try:
            wait_for(partial(_has_begun, switch, answers))
        except BaseException:
            _end(switch)
            raise
        if process.poll() is None:
            return switch
        assert "Address already in use" in switch.log, switch.log


def _has_begun(switch: Switch, answers: Callable[["Switch"], bool]) -> bool:
    return switch.process.poll() is not None or answers(switch)


def _answers(switch: Switch, path: str, tls: ssl.SSLContext | None) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return switch.get(path, tls=tls).status == 200
    return False


def _end(switch: Switch) -> None:
    workers = switch.workers if switch.process.poll() is None else []
    switch.process.send_signal(signal.SIGTERM)
    try:
        switch.process.wait(30)
    finally:
        switch.process.kill()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()


def request(
    port: int,
    method: str,
    target: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    source: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own."""
    where: dict[str, Any] = {"port": port, "timeout": 30, "source_address": (source, 0)}
    connection = (
        http.client.HTTPSConnection("127.0.0.1", context=tls, **where)
        if tls
        else http.client.HTTPConnection("127.0.0.1", **where)
    )
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def raw(port: int, data: bytes, *, source: str = "127.0.0.1") -> bytes:
    """What comes back for these bytes until the switch hangs up."""
    received = b""
    with (
        socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as client,
        suppress(ConnectionError),
    ):
        client.sendall(data)
        while part := client.recv(65_536):
            received += part
    return received


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass(frozen=True)
class Terminal:
    """A machine of an agent's that speaks OSMP."""

    port: int
    agent: str
    password: str

    def send(self, query: str | bytes, method: str = "GET", **more: Any) -> Answer:
        """A query as it is: of the URL, or in the body."""
        headers = {"Authorization": basic(self.agent, self.password), **more.pop("headers", {})}
        path = f"/osmp/{self.agent}"
        if method == "POST":
            body = query if isinstance(query, bytes) else query.encode()
            return request(self.port, method, path, headers=headers, body=body, **more)
        text = query if isinstance(query, str) else query.decode("latin-1")
        return request(self.port, method, f"{path}?{text}", headers=headers, **more)

    def ask(self, command: str, **parameters: Any) -> Response:
        return self.send(urlencode({"command": command, **parameters})).osmp

    def pay(
        self, number: object, amount: object, txn_id: str | None = None, **more: Any
    ) -> Response:
        """`amount` as the protocol writes it."""
        txn_id = new_reference() if txn_id is None else txn_id
        return self.ask("pay", txn_id=txn_id, account=number, sum=amount, **more)

    def check(self, number: object, **more: Any) -> Response:
        return self.ask("check", account=number, **more)


@dataclass
class Told:
    """What a terminal heard of one payment, in order; None: the connection was lost.

    Where there was no connection at all, it was not asked.
    """

    number: int
    txn_id: str
    results: list[int | None] = field(default_factory=list)
    longest_s: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether a terminal would ask no more: it is done, or the money goes back."""
        return bool(self.results) and self.results[-1] not in {None, 1, 90}


class Network:
    """Terminals that pay and ask again until they know, until they are told to stop."""

    def __init__(self, terminal: Terminal, numbers: list[int]) -> None:
        self._terminal = terminal
        self._numbers = numbers
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in numbers]
        self.told: list[Told] = []

    @property
    def done(self) -> int:
        """How many payments were told to be done."""
        return sum(told.results[-1:] == [0] for told in list(self.told))

    def amount_minor(self, number: int) -> int:
        """What a number has been told to have, 10.00 at a time."""
        return 10_00 * sum(t.number == number and t.results[-1:] == [0] for t in self.told)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        while not self._is_over.is_set():
            told = Told(number, new_reference())
            self.told.append(told)
            while not (told.is_over or self._is_over.is_set()):
                self.ask(told)

    def ask(self, told: Told) -> None:
        """Asks for a payment (again)."""
        begin = time.monotonic()
        try:
            told.results.append(int(self._terminal.pay(told.number, "10", told.txn_id).result))
        except ConnectionRefusedError:
            time.sleep(0.05)
        except (OSError, http.client.HTTPException):
            told.results.append(None)
            time.sleep(0.05)
        told.longest_s = max(told.longest_s, time.monotonic() - begin)

    def settle(self) -> None:
        """Asks for all that nobody knows yet, until it is known."""
        for told in self.told:
            while not told.is_over:
                self.ask(told)


@contextmanager
def held(url: str, book: int) -> Iterator[None]:
    """Nothing is posted to a book while the block lasts: its posts are under way."""
    with psycopg.connect(url) as connection:
        connection.execute("select from ledger.book where book = %s for update", (book,))
        yield
        connection.rollback()


def under_way(url: str) -> int:
    """How many posts wait for their book."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and query like '%ledger.post(%'"
        ).fetchone()
    assert row
    return int(row[0])
