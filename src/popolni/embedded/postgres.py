"""PostgreSQL from a wheel, for everyone who opens the same data folder.

The rule kept here: an owner holds a lock and nothing else. The server belongs to its keeper, a
process of its own that starts with the first owner and ends after the last.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from popolni.core.errors import UserError
from popolni.embedded.folder import POLL_SECONDS, DataFolder, Report
from popolni.embedded.wheel import binary

__all__ = ["binary", "default_data", "running"]

KEEPER = "popolni.embedded.keeper"
# Longer than a keeper takes for a start or a stop, which it bounds itself.
OPEN_SECONDS = 900
LEAVE_SECONDS = 120
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def default_data() -> Path:
    """Return the data folder of who names none."""
    home = os.environ.get("XDG_DATA_HOME", "")
    # The standard has relative paths disregarded.
    return (Path(home) if home.startswith("/") else Path("~/.local/share")) / "popolni"


@contextmanager
def running(
    data: Path, *, settings: Mapping[str, str] = NO_SETTINGS, server_user: str | None = None
) -> Iterator[str]:
    """Share a PostgreSQL server for ``data`` with every other owner; its URL.

    ``settings`` add to PostgreSQL's; they and ``server_user``, the user that a new database
    started by root belongs to, count only where this owner is the one that starts the server.
    """
    folder = DataFolder.prepare(data)
    try:
        with folder.opening(timeout_seconds=OPEN_SECONDS):
            owner = _become_owner(folder)
            try:
                url = _wait_for_server(folder, settings, server_user)
            except BaseException:
                os.close(owner)
                raise
    except OSError as error:
        raise UserError(
            f"the data folder {folder.path} cannot be used: {error.strerror}"
        ) from error
    try:
        yield url
    finally:
        # Closed, not unlocked: a fork of this process may go on as an owner.
        os.close(owner)
        with contextlib.suppress(UserError, OSError):
            _wait_until_stopped(folder)


def _become_owner(folder: DataFolder) -> int:
    """Hold the owners' lock; a keeper that stops holds it to its end."""
    owner = folder.wait_lock("owners", fcntl.LOCK_SH, timeout_seconds=LEAVE_SECONDS)
    if owner is None:
        raise UserError(f"the PostgreSQL server in {folder.path} does not stop, see {folder.log}")
    return owner


def _wait_for_server(
    folder: DataFolder, settings: Mapping[str, str], server_user: str | None
) -> str:
    """Start a keeper unless there is one, and wait for its report."""
    is_started = False
    deadline = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < deadline:
        lock = folder.try_lock("keeper", fcntl.LOCK_EX)
        if lock is not None:
            try:
                if is_started:
                    raise UserError(Report.read(folder).text or _without_report(folder))
                _start_keeper(folder, lock, settings, server_user)
                is_started = True
            finally:
                os.close(lock)
        report = Report.read(folder)
        if report.word == "ready":
            return report.text
        time.sleep(POLL_SECONDS)
    raise UserError(f"PostgreSQL does not start in {folder.path}, see {folder.log}")


def _without_report(folder: DataFolder) -> str:
    return f"PostgreSQL's keeper was killed while it started, see {folder.log}"


def _start_keeper(
    folder: DataFolder, lock: int, settings: Mapping[str, str], server_user: str | None
) -> None:
    """Hand the lock to a new keeper, which inherits it, so that there is never a second one."""
    Report().write(lock)
    pairs = [f"{name}={value}" for name, value in settings.items()]
    # What this process imports from, the keeper does too, wherever either was started.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    log = folder.open_log()
    try:
        started = subprocess.run(
            [sys.executable, "-P", "-m", KEEPER, folder.path, str(lock), server_user or "", *pairs],
            env=os.environ | {"PYTHONPATH": path},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(log)
    if started.returncode != 0:
        raise UserError(f"PostgreSQL's keeper does not start, see {folder.log}")


def _wait_until_stopped(folder: DataFolder) -> None:
    """Wait for the keeper's end, unless there is another owner."""
    deadline = time.monotonic() + LEAVE_SECONDS
    with folder.opening(timeout_seconds=LEAVE_SECONDS):
        while time.monotonic() < deadline and folder.is_locked("keeper"):
            if _has_owner(folder):
                return
            time.sleep(POLL_SECONDS)


def _has_owner(folder: DataFolder) -> bool:
    """Whether the owners' lock is held, but not by a keeper that stops."""
    if not folder.is_locked("owners"):
        return False
    shared = folder.try_lock("owners", fcntl.LOCK_SH)
    if shared is not None:
        os.close(shared)
    return shared is not None
