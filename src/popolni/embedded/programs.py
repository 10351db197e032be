"""What `popolni demo` and `popolni serve` share: a database, and the programs that work on it.

The rule kept here: a data folder has one demo or serve at a time. Its lock ``programs`` tells who
it is; its lock ``leashes`` is free only when every program of an earlier one is gone.
"""

import fcntl
import http.client
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from popolni.core.errors import UserError
from popolni.embedded.checking import check_settings
from popolni.embedded.database import VARIABLE, database, given_url
from popolni.embedded.folder import DataFolder
from popolni.embedded.leash import END_SECONDS
from popolni.embedded.postgres import default_data
from popolni.embedded.supervisor import KILL_SECONDS, Program, Supervisor, supervised
from popolni.switch.settings import TLS_CERTIFICATE

HOST = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCH_SECONDS = 0.05
KEEPER_SECONDS = 1.0
READY_SECONDS = 60
DEATHS_MAX = 3
ANSWER_SECONDS = 2
PORT_SECONDS = 0.5  # a port that was just let go of may take a moment
WEB, SWITCH, WORKER = "web", "switch", "worker"
METRICS = "metrics"


@dataclass(frozen=True)
class Site:
    """Where the programs work: the folder of their logs and secrets, the ports, the variables.

    ``data`` is what the user named, ``is_embedded`` whether the database is in that folder too,
    ``variables`` what the programs find in their environment besides the database.
    """

    folder: DataFolder
    data: Path | None
    port: int
    is_embedded: bool
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, data: Path | None, port: int) -> "Site":
        """The site in this folder, or the usual one."""
        folder = DataFolder.prepare(data or default_data())
        return cls(folder, data, port, is_embedded=not given_url())

    @property
    def address(self) -> str:
        """Where the pages are."""
        return f"http://{HOST}:{self.port}"

    @property
    def switch_port(self) -> int:
        """The one after that of the pages."""
        return self.port + 1

    @property
    def switch_address(self) -> str:
        """Where machines top up."""
        scheme = "https" if os.environ.get(TLS_CERTIFICATE, "").strip() else "http"
        return f"{scheme}://{HOST}:{self.switch_port}"

    def environment(self, url: str) -> dict[str, str]:
        """The whole environment of a program."""
        given = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GRANIAN_") and name != "POPOLNI_DEMO"
        }
        return given | {
            "DJANGO_SETTINGS_MODULE": "popolni.settings",
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
            VARIABLE: url,
            **self.variables,
        }


def run_programs(
    site: Site, *, prepare: Callable[[str], None], show: Callable[[Site, str], str]
) -> int:
    """Runs until Ctrl-C or SIGTERM. The exit status.

    ``prepare`` makes the database of this URL ready, with the programs' variables in our own
    environment; ``show`` says what is where, just before READY.
    """
    catch_signals()
    try:
        with (
            _only_one(site) as lock,
            _port(site.port),
            _port(site.switch_port),
            ExitStack() as servers,
        ):
            url = servers.enter_context(database(site.data))
            environment = site.environment(url)
            with _environment(environment):
                check_settings(environment)
                prepare(url)
                shown = show(site, url)
            with supervised(_programs(site, environment), _say, lock) as supervisor:
                _wait_until_ready(site, supervisor)
                print(f"{shown}\nREADY", flush=True)
                _keep(site, supervisor, servers)
    except KeyboardInterrupt:
        pass
    print("stopped", flush=True)
    return 0


def catch_signals() -> None:
    """Each ends us in order; a shell's background job would ignore SIGINT."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(f"popolni: {line}", file=sys.stderr, flush=True)


@contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _only_one(site: Site) -> Iterator[int]:
    """Hold the folder; yields the lock that goes to the leashes."""
    folder = site.folder
    own = folder.try_lock("programs", fcntl.LOCK_EX)
    if own is None:
        address = folder.lock_path("programs").read_text().strip()
        raise UserError(
            f"a demo or serve works in {folder.path} already{address and f', at {address}'}: "
            "stop it first, or name another folder with --data"
        )
    os.ftruncate(own, 0)
    os.pwrite(own, site.address.encode(), 0)
    # Those of one that was killed are ending by themselves.
    lock = folder.wait_lock("leashes", fcntl.LOCK_EX, timeout_seconds=END_SECONDS + KILL_SECONDS)
    try:
        if lock is None:
            raise UserError(f"programs of an earlier start still work in {folder.path}: end them")
        yield lock
    finally:
        if lock is not None:
            os.close(lock)
        os.close(own)


@contextmanager
def _port(port: int) -> Iterator[None]:
    """Keeps the port for us: of two starts at once, one gets it.

    Granian shares a port without a word with whoever else shares theirs. So it is asked for alone,
    which tells of any other program, and behind a lock of the whole machine's, which tells of
    another start that has yet to bind it.
    """
    path = Path(tempfile.gettempdir()) / f"popolni-port-{port}.lock"
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        lock = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _port_refused(port, "another start has it") from None
        _ask_for_port(port)
        yield
    finally:
        os.close(lock)


def _ask_for_port(port: int) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(WATCH_SECONDS)
                continue
            raise _port_refused(port, (error.strerror or "").lower()) from None
        return


def _port_refused(port: int, reason: str) -> UserError:
    return UserError(
        f"port {port} cannot be used ({reason}): choose another one with --port, "
        "the switch takes the one after it"
    )


def _programs(site: Site, environment: Mapping[str, str]) -> list[Program]:
    """In the order in which they are ended: nothing new comes in while the rest is done."""
    python = (sys.executable, "-P", "-m")
    # One process: its threads wait for PostgreSQL, which does most of the work.
    granian = (
        *("granian", "--interface", "wsgi", "--host", HOST, "--port", str(site.port)),
        *("--workers", "1", "--blocking-threads", "8", "--no-ws"),
        *("--log-level", "error", "--no-access-log", "--workers-kill-timeout", "3"),
        "popolni.web.wsgi:application",
    )
    metrics = site.folder.path / METRICS
    metrics.mkdir(mode=0o700, exist_ok=True)
    switch = (*python, "popolni.switch", HOST, str(site.switch_port))
    commands = {
        WEB: ((*python, *granian), environment),
        SWITCH: (switch, {**environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}),
        WORKER: ((*python, "popolni.readers"), environment),
    }
    return [
        Program(name, command, its_environment, site.folder.path / f"{name}.log")
        for name, (command, its_environment) in commands.items()
    ]


def _wait_until_ready(site: Site, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + READY_SECONDS
    waited_for = [WEB, SWITCH]
    while waited_for:
        supervisor.watch()
        name = waited_for[0]
        if _IS_READY[name](site):
            waited_for.remove(name)
            continue
        if supervisor.deaths(name) >= DEATHS_MAX or time.monotonic() > deadline:
            log = site.folder.path / f"{name}.log"
            raise UserError(f"{_WHAT[name]} at {_ADDRESS[name](site)} does not come up: see {log}")
        time.sleep(WATCH_SECONDS)


def is_ready(site: Site) -> bool:
    """Whether the pages answer and have what they need."""
    # A name that the pages are served under; any other is refused.
    name = os.environ.get("POPOLNI_HOSTS", "").partition(",")[0].strip().lstrip(".*")
    return _answers(http.client.HTTPConnection(HOST, site.port, timeout=ANSWER_SECONDS), name)


def is_switch_ready(site: Site) -> bool:
    """Whether machines can top up."""
    if site.switch_address.startswith("https"):
        # It is our own program on this machine; its certificate has the name of the outside.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            HOST, site.switch_port, timeout=ANSWER_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(HOST, site.switch_port, timeout=ANSWER_SECONDS)
    return _answers(connection, "")


def _answers(connection: http.client.HTTPConnection, name: str) -> bool:
    try:
        connection.request("GET", "/readyz", headers={"Host": name or HOST})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


_IS_READY = {WEB: is_ready, SWITCH: is_switch_ready}
_WHAT = {WEB: "the program of the pages", SWITCH: "the switch"}
_ADDRESS = {WEB: lambda site: site.address, SWITCH: lambda site: site.switch_address}


def _keep(site: Site, supervisor: Supervisor, servers: ExitStack) -> NoReturn:
    """Watch programs and database, until a signal."""
    asked_at = time.monotonic()
    while True:
        supervisor.watch()
        if site.is_embedded and time.monotonic() - asked_at > KEEPER_SECONDS:
            if not site.folder.is_locked("keeper"):
                _say("PostgreSQL has gone with its keeper: starting both again")
                servers.enter_context(database(site.data))  # at the same address
            asked_at = time.monotonic()
        time.sleep(WATCH_SECONDS)
