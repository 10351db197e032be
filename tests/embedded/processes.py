"""Owners in processes of their own, and a look at the processes that a data folder has."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg

Wanted = TypeVar("Wanted")

OWNER = """
import sys
from pathlib import Path
from typing import TypeVar
from popolni.core.errors import UserError
from popolni.embedded.postgres import running
try:
    with running(Path(sys.argv[1]), server_user=sys.argv[2] or None) as url:
        print(url, flush=True)
        sys.stdin.read()
except UserError as error:
    print(error, flush=True)
"""


@contextmanager
def owner(
    data: Path, *, before: Sequence[str] = (), server_user: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """An owner that prints its first line when it has the server and leaves at the end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*before, sys.executable, "-c", OWNER, str(data), server_user],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_for(condition: Callable[[], Wanted]) -> Wanted:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.005)
    return found


def processes(data: Path, word: str) -> list[psutil.Process]:
    """The data folder's processes with ``word`` on their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        for line in [" ".join(process.info["cmdline"] or ())]
        if str(data) in line and word in line
    ]


def keepers(data: Path) -> list[psutil.Process]:
    return processes(data, "popolni.embedded.keeper")


def server(data: Path) -> psutil.Process:
    return psutil.Process(int((data / "postgres" / "postmaster.pid").read_text().split("\n")[0]))


def is_down(data: Path) -> bool:
    return not keepers(data) and not processes(data, "postgres -D")


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def answers(url: str) -> bool:
    try:
        return rows(url, "SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False
