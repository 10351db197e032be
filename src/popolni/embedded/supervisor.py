"""Runs programs side by side: one that dies is started again, none outlives the supervisor.

The rule kept here: there is one way to end a program, and it is to let go of its leash
(`leash`), which a supervisor that is killed does too.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from popolni.embedded.leash import END_SECONDS

LEASH = "popolni.embedded.leash"
DELAY_MIN_SECONDS = 0.1
DELAY_MAX_SECONDS = 5.0
STEADY_SECONDS = 10
"""A program that lived this long has started well: the next delay is the shortest again."""
KILL_SECONDS = 2
LOG_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True)
class Program:
    """What to run: its name for people, its command, its whole environment, its log."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path


@dataclass
class Supervisor:
    """Programs under watch; `say` gets a line for a person when something is wrong.

    ``lock`` is a descriptor of which every leash holds a copy: a file lock on it is free only
    when all of them are gone.
    """

    programs: Sequence[Program]
    say: Callable[[str], None]
    lock: int
    _children: list["_Child"] = field(init=False)

    def __post_init__(self) -> None:
        self._children = [_Child(program) for program in self.programs]

    def watch(self) -> None:
        """Start what is due; to be called again and again."""
        for child in self._children:
            if child.is_due():
                child.start(self.lock)
            elif child.has_died():
                child.clear_away()
                self._say_died(child)
            child.bound_log()

    def deaths(self, name: str) -> int:
        """How often a program has died since it last was steady."""
        return next(child.deaths for child in self._children if child.program.name == name)

    def stop(self) -> None:
        """End all of them, one after the other and in their order; takes a bounded time."""
        for child in self._children:
            child.stop()

    def _say_died(self, child: "_Child") -> None:
        """Once for the first time, and once more when it does not get better."""
        name, log = child.program.name, child.program.log
        if child.deaths == 1:
            self.say(f"{name} has died and is started again: see {log}")
        elif child.delay_s >= DELAY_MAX_SECONDS and not child.is_hopeless:
            child.is_hopeless = True
            self.say(f"{name} dies again and again: see {log}")


@contextmanager
def supervised(
    programs: Sequence[Program], say: Callable[[str], None], lock: int
) -> Iterator[Supervisor]:
    """Programs that are started by the first `watch` and have ended when the block has."""
    supervisor = Supervisor(programs, say, lock)
    try:
        yield supervisor
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it is ending already, and within a bound
        supervisor.stop()


@dataclass
class _Child:
    program: Program
    leash: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    delay_s: float = DELAY_MIN_SECONDS
    due_at: float = 0
    started_at: float = 0
    is_hopeless: bool = False

    def is_due(self) -> bool:
        return self.leash is None and time.monotonic() >= self.due_at

    def start(self, lock: int) -> None:
        self.started_at = time.monotonic()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(self.program.log, flags, 0o600)
        try:
            self.leash = subprocess.Popen(
                [sys.executable, "-P", "-m", LEASH, *self.program.command],
                env=self.program.environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)

    def has_died(self) -> bool:
        return self.leash is not None and self.leash.poll() is not None

    def clear_away(self) -> None:
        """What a leash left behind that was killed itself goes; when to start again is set."""
        self._end(0)
        if time.monotonic() - self.started_at >= STEADY_SECONDS:
            self.deaths, self.delay_s, self.is_hopeless = 0, DELAY_MIN_SECONDS, False
        self.deaths += 1
        self.due_at = time.monotonic() + self.delay_s
        self.delay_s = min(2 * self.delay_s, DELAY_MAX_SECONDS)

    def stop(self) -> None:
        self._end(END_SECONDS + KILL_SECONDS)

    def _end(self, timeout_seconds: float) -> None:
        leash, self.leash = self.leash, None
        if leash is None:
            return
        assert leash.stdin is not None  # noqa: S101  # it is a pipe
        leash.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            leash.wait(timeout_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leash.pid, signal.SIGKILL)
        leash.wait()

    def bound_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.program.log.stat().st_size > LOG_BYTES_MAX:
                os.truncate(self.program.log, 0)
