"""Clients under load, and faults at random moments."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import psutil
import psycopg

from tests.ledger.support import Ledger
from tests.simulation import workload

PROJECT = Path(__file__).resolve().parents[2]
STOP_S = 120
UP_AGAIN_S = 60


def environment(**variables: str) -> dict[str, str]:
    """That of a program which finds both what it tests and the tests."""
    return os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{PROJECT}"} | variables


class Clients:
    """Simulated clients, each a process and a file of what it was told."""

    def __init__(self, url: str, seed: int, count: int, folder: Path) -> None:
        self._url, self._seed = url, seed
        self.files = [folder / f"client-{number}" for number in range(count)]
        self._processes = [self._start(number) for number in range(count)]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        words = [self._url, str(self._seed), str(self._seed * 1000 + number)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.client", *words, self.files[number]],
            cwd=PROJECT,
            env=environment(),
        )

    def check(self) -> None:
        """No client may end by itself."""
        assert all(process.poll() is None for process in self._processes)

    def kill(self, number: int) -> None:
        """Kills one and starts it again; it goes on with the batch that it was at."""
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start(number)

    def stop(self) -> None:
        """Lets each finish the batch that it is at."""
        for file in self.files:
            Path(f"{file}.stop").touch()
        for process in self._processes:
            assert process.wait(STOP_S) == 0

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@contextmanager
def clients(url: str, seed: int, count: int, folder: Path) -> Iterator[Clients]:
    """Opens the books and starts the clients."""
    with psycopg.connect(url, autocommit=True) as connection:
        ledger = Ledger(connection)
        for statement in workload.opening():
            ledger.run(statement)
    started = Clients(url, seed, count, folder)
    try:
        yield started
    finally:
        started.kill_all()


def wait_until_up(url: str) -> None:
    deadline = time.monotonic() + UP_AGAIN_S
    while True:
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                connection.execute("select 1")
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.05)


def kill_postmaster(data: Path) -> None:
    """Kills the server, if it runs: its file may name a process that is somebody else's now."""
    with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        pid = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(pid)
        if str(data) in " ".join(process.cmdline()):
            process.kill()


def kill_backend(url: str, random: Random) -> None:
    """A server process under a client: PostgreSQL then restarts all of them and recovers."""
    wait_until_up(url)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity"
            " where backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchall()
    if rows:
        os.kill(random.choice(rows)[0], signal.SIGKILL)


def hurt(url: str, data: Path, running: Clients, random: Random, kills: int) -> dict[str, int]:
    """Kills at random moments under load; how often what was killed."""
    faults: dict[str, Callable[[], None]] = {
        "postmaster": lambda: kill_postmaster(data),
        "backend": lambda: kill_backend(url, random),
        "client": lambda: running.kill(random.randrange(len(running.files))),
    }
    done = dict.fromkeys(faults, 0)
    for _ in range(kills):
        time.sleep(random.uniform(0.05, 0.4))
        running.check()
        name = random.choice(list(faults))
        faults[name]()
        done[name] += 1
        # Mostly wait, so that the next one strikes under load; sometimes strike in recovery.
        if name != "client" and random.random() < 0.8:
            wait_until_up(url)
        elif name == "postmaster":
            time.sleep(0.5)  # its pid file still names the one that is gone
            wait_until_up(url)
    wait_until_up(url)
    return done
