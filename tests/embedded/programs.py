"""`popolni demo` and `popolni serve` as processes, each in a home of its own."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.conftest import SOURCE

UNSET = (
    "XDG_DATA_HOME",
    "POPOLNI_DATABASE_URL",
    "POPOLNI_SECRET_KEY",
    "POPOLNI_DATA_KEYS",
    "DJANGO_SETTINGS_MODULE",
)
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
END_SECONDS = 60


@dataclass
class Running:
    """A demo or serve that has printed READY."""

    process: subprocess.Popen[str]
    shown: str
    port: int

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.get("/readyz") == (200, "ready\n")
        except (OSError, http.client.HTTPException):
            return False


PORTS = range(10_000, 32_000, 4)
"""Below those that a kernel gives to whoever connects: it would give them between two starts."""


def free_port() -> int:
    """A port that nobody has, nor the next one."""
    while True:
        port = random.choice(PORTS)  # noqa: S311  # no secret
        with socket.socket() as one, socket.socket() as next_one:
            try:
                one.bind(("127.0.0.1", port))
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(SOURCE), **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "popolni", *words]


@contextmanager
def running(
    home: Path,
    program: str,
    *options: str,
    end: int = signal.SIGTERM,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> Iterator[Running]:
    """It ends cleanly, unless it is killed."""
    port = free_port()
    process = subprocess.Popen(
        command(program, "--port", str(port), *options),
        env=environment(home, **variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        shown = ""
        while not shown.endswith("READY\n"):
            line = process.stdout.readline()
            assert line, f"{program} ended"
            shown += line
        yield Running(process, shown, port)
    finally:
        process.send_signal(end)
        status = process.wait(END_SECONDS)
        process.stdout.close()
    assert status == (-end if end == signal.SIGKILL else 0)


def fails(home: Path, *words: str, **more: str) -> str:
    """The one line of a command that refuses."""
    done = subprocess.run(
        command(*words),
        env=environment(home, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=END_SECONDS,
    )
    assert (done.returncode, done.stdout) == (2, "") or done.stdout == "stopped\n", done
    (line,) = done.stderr.splitlines()
    assert line.startswith("popolni: ")
    return line.removeprefix("popolni: ")
