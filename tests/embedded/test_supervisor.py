"""Programs are started again, and none is left behind, whoever is killed."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from popolni.embedded import supervisor as supervising
from popolni.embedded.leash import END_SECONDS
from popolni.embedded.supervisor import LOG_BYTES_MAX, Program, Supervisor
from tests.conftest import SOURCE
from tests.embedded.processes import wait_for

# Each start adds a line with its process number to a file.
STEADY = "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
DYING = "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')"
POLITE = (
    "signal.signal(15, lambda *_: (open(sys.argv[1], 'a').write('0\\n'), sys.exit()));" + STEADY
)
STUBBORN = "signal.signal(15, signal.SIG_IGN);" + STEADY
WITH_CHILD = (
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]]);"
    + STEADY
)
HOST = """
import os, sys, time
from pathlib import Path
from popolni.embedded.supervisor import Program, Supervisor
lock, code, *names = sys.argv[1:]
commands = {name: [sys.executable, "-c", code, name] for name in names}
supervisor = Supervisor(
    [Program(n, c, os.environ, Path(n + ".log")) for n, c in commands.items()], print, int(lock)
)
while True:
    supervisor.watch()
    time.sleep(0.01)
"""


def script(code: str) -> str:
    return f"import os, signal, subprocess, sys, time; {code}"


class Watched:
    """One program under a supervisor of ours."""

    def __init__(self, folder: Path, code: str) -> None:
        self.file = folder / "starts"
        self.said: list[str] = []
        self.lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        words = [sys.executable, "-c", script(code), str(self.file)]
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        self.program = Program("it", words, environment, folder / "it.log")
        self.supervisor = Supervisor([self.program], self.said.append, self.lock)

    def starts(self) -> list[int]:
        return [int(line) for line in self.file.read_text().split()] if self.file.exists() else []

    def watch_until(self, condition: Callable[[], object]) -> None:
        def holds() -> object:
            self.supervisor.watch()
            return condition()

        wait_for(holds)

    def watch_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.watch_until(lambda: time.monotonic() > until)

    def processes(self) -> list[psutil.Process]:
        return using(self.file)


def using(file: Path) -> list[psutil.Process]:
    """All processes, leashes too, that have this file on their command line and live."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(file) in (process.info["cmdline"] or ())
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[[str], Watched]]:
    made: list[Watched] = []

    def make(code: str) -> Watched:
        made.append(Watched(tmp_path, code))
        return made[-1]

    yield make
    for each in made:
        each.supervisor.stop()
        os.close(each.lock)
        assert each.processes() == []


def test_one_that_is_killed_is_started_again(watched: Callable[[str], Watched]) -> None:
    it = watched(STEADY)
    it.watch_until(lambda: len(it.starts()) == 1)
    os.kill(it.starts()[0], signal.SIGKILL)
    it.watch_until(lambda: len(it.starts()) == 2)
    assert it.said == [f"it has died and is started again: see {it.program.log}"]
    assert it.program.log.read_text() == "popolni: ended with status -9\n"
    assert stat.S_IMODE(it.program.log.stat().st_mode) == 0o600


def test_one_that_keeps_dying_waits_longer_and_is_told_of_twice(
    watched: Callable[[str], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "DELAY_MAX_SECONDS", 0.4)
    it = watched(DYING)
    it.watch_for(2.5)  # pauses of 0.1, 0.2, 0.4, 0.4, …
    assert 3 <= len(it.starts()) <= 8
    assert it.supervisor.deaths("it") >= 3
    assert it.said == [
        f"it has died and is started again: see {it.program.log}",
        f"it dies again and again: see {it.program.log}",
    ]


def test_one_that_was_steady_begins_anew(
    watched: Callable[[str], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "STEADY_SECONDS", 0)
    it = watched(DYING)
    it.watch_until(lambda: len(it.starts()) == 4)
    assert it.supervisor.deaths("it") == 1


def test_it_is_asked_to_end(watched: Callable[[str], Watched]) -> None:
    it = watched(POLITE)
    it.watch_until(it.starts)
    it.supervisor.stop()
    assert it.starts()[1:] == [0]
    assert it.processes() == []


def test_it_is_made_to_end(watched: Callable[[str], Watched]) -> None:
    it = watched(STUBBORN)
    it.watch_until(it.starts)
    began = time.monotonic()
    it.supervisor.stop()
    assert time.monotonic() - began < END_SECONDS + supervising.KILL_SECONDS
    assert it.processes() == []


def test_what_it_started_goes_with_it(watched: Callable[[str], Watched]) -> None:
    it = watched(WITH_CHILD)
    it.watch_until(lambda: it.starts() and len(it.processes()) == 3)  # leash, itself, its child
    before = {process.pid for process in it.processes()}
    os.kill(it.starts()[0], signal.SIGKILL)
    it.watch_until(lambda: len(it.starts()) == 2)
    assert not before & {process.pid for process in it.processes()}


def test_a_leash_that_is_killed_takes_its_program_along(
    watched: Callable[[str], Watched],
) -> None:
    it = watched(STEADY)
    it.watch_until(it.starts)
    leash = psutil.Process(it.starts()[0]).ppid()
    os.kill(leash, signal.SIGKILL)
    it.watch_until(lambda: len(it.starts()) == 2)
    assert it.starts()[0] not in {process.pid for process in it.processes()}


def test_a_log_is_bounded(watched: Callable[[str], Watched]) -> None:
    it = watched(STEADY)
    with it.program.log.open("wb") as log:
        log.truncate(LOG_BYTES_MAX)
    it.watch_until(it.starts)
    assert it.program.log.stat().st_size == LOG_BYTES_MAX
    with it.program.log.open("ab") as log:
        log.write(b"x")
    it.watch_until(lambda: it.program.log.stat().st_size == 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_supervisor_that_dies_leaves_nothing(number: int, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("one", "two", "three")]
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(lock), script(WITH_CHILD), *map(str, names)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        pass_fds=(lock,),
    ) as process:
        os.close(lock)
        try:
            wait_for(lambda: all(name.exists() for name in names))
        finally:
            process.send_signal(number)
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until every leash is gone
    wait_for(lambda: not any(using(name) for name in names))
