"""One PostgreSQL server in a data folder: made, started, stopped.

The rule kept here: whatever works on the database holds the ``server`` lock by inheritance. Who
holds it otherwise knows that no process of an earlier server is left, so that what such a server
left behind can go, even if its process number belongs to somebody else by now.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil

from popolni.core.errors import UserError
from popolni.embedded.folder import POLL_SECONDS, DataFolder
from popolni.embedded.identity import Identity, choose, identities
from popolni.embedded.wheel import binary

DATABASE = "popolni"
USER = "popolni"
PORT = 5432  # only part of the socket's name
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107

START_SECONDS = 600  # recovery after a crash reads up to max_wal_size again
STOP_SECONDS = 60
QUIT_SECONDS = 10

SHARED_BUFFERS_MIB_MAX = 2048
SETTINGS = {
    "cluster_name": "popolni",
    "jit": "off",  # costs more than it gains in short queries
    "listen_addresses": "",  # no TCP: the socket's folder is the only door
    "max_connections": "100",
    "max_wal_size": "2GB",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
}

FAULT = re.compile(r"(?:PANIC|FATAL|ERROR|error): +(.*)")


@dataclass
class Server:
    """PostgreSQL for one data folder, as the keeper sees it."""

    folder: DataFolder
    settings: Mapping[str, str]
    identity: Identity
    socket_folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @classmethod
    def prepare(cls, folder: DataFolder, settings: Mapping[str, str], user: str | None) -> Self:
        """Make the database if there is none yet, and all else that a start needs."""
        lock = take_server_lock(folder)
        try:
            is_new = not folder.cluster.exists()
            owner_id = None if is_new else _check_cluster(folder)
            if is_new:
                shutil.rmtree(folder.new_cluster, ignore_errors=True)
                folder.new_cluster.mkdir(mode=0o700)
            place = folder.new_cluster if is_new else folder.cluster
            identity, version = choose(identities(owner_id, user), place, binary("postgres"))
            if is_new:
                _make_cluster(folder, identity, lock)
            _check_major(folder, version)
        finally:
            os.close(lock)
        return cls(folder, settings, identity, _socket_folder(folder, identity))

    @property
    def url(self) -> str:
        """What libpq connects with."""
        host = quote(os.fsencode(self.socket_folder), safe="")
        return f"postgresql://{USER}@/{DATABASE}?host={host}&port={PORT}"

    def start(self) -> str | None:
        """Start the server and wait until it serves; None, or why it does not."""
        lock = take_server_lock(self.folder)
        try:
            for left_behind in (self._process_file, self.socket_folder / f"{SOCKET}.lock"):
                left_behind.unlink(missing_ok=True)
            settings = SETTINGS | {
                "shared_buffers": f"{_shared_buffers_mib()}MB",
                "unix_socket_directories": '"{}"'.format(
                    str(self.socket_folder).replace('"', '""')
                ),
                **self.settings,
            }
            options = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
            log_bytes = self.folder.log.stat().st_size
            self.process = subprocess.Popen(
                [*self.identity.command, binary("postgres"), "-D", self.folder.cluster, *options],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=(lock,),
            )
        finally:
            os.close(lock)
        if self._wait_until_ready(self.process):
            return None
        self.stop()
        return fault_in_log(self.folder, log_bytes)

    @property
    def is_running(self) -> bool:
        """Whether the server's first process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def _process_file(self) -> Path:
        return self.folder.cluster / "postmaster.pid"

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = self._process_file.read_bytes().split(b"\n")
                # pg_ctl waits for this word in the eighth line as well.
                if lines[0] == str(process.pid).encode() and lines[7:8] == [b"ready   "]:
                    return True
            time.sleep(POLL_SECONDS)
        return False

    def stop(self) -> None:
        """Stop the server, by force if it does not stop when asked."""
        if self.process is None:
            return
        for number, timeout_seconds in (
            (signal.SIGINT, STOP_SECONDS),
            (signal.SIGQUIT, QUIT_SECONDS),
            (signal.SIGKILL, QUIT_SECONDS),
        ):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self.process.poll() is None:
                    self.process.send_signal(number)
                self.process.wait(timeout_seconds)
                return

    def remove_socket_folder(self) -> None:
        """Leave nothing behind outside the data folder."""
        if self.socket_folder.parent != self.folder.path:
            with contextlib.suppress(OSError):
                self.socket_folder.rmdir()


def take_server_lock(folder: DataFolder) -> int:
    """Return the lock's descriptor once every process of an earlier server is gone."""
    if (lock := folder.try_lock("server", fcntl.LOCK_EX)) is not None:
        _refuse_foreign_server(folder)
        return lock
    for number, timeout_seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, QUIT_SECONDS)):
        if (orphan := _running_server(folder)) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.send_signal(number)
        lock = folder.wait_lock("server", fcntl.LOCK_EX, timeout_seconds=timeout_seconds)
        if lock is not None:
            return lock
    raise UserError(f"processes of an earlier PostgreSQL still work in {folder.cluster}: end them")


def _refuse_foreign_server(folder: DataFolder) -> None:
    """Somebody may have started a server here by hand, which holds no lock of ours."""
    if (process := _running_server(folder)) is not None:
        raise UserError(
            f"another PostgreSQL (process {process.pid}) was started in {folder.cluster}: stop it"
        )


def _running_server(folder: DataFolder) -> psutil.Process | None:
    """Return the process that ``postmaster.pid`` names if it really is a server of this folder."""
    try:
        first_line = (folder.cluster / "postmaster.pid").read_text().partition("\n")[0]
        process = psutil.Process(int(first_line))
        if process.name() != "postgres":
            return None
        try:
            works_here = Path(process.cwd()) == folder.cluster
        except psutil.AccessDenied:
            works_here = str(folder.cluster) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if works_here else None


def _make_cluster(folder: DataFolder, identity: Identity, lock: int) -> None:
    """Make the database beside its place and move it there when it is whole."""
    new = folder.new_cluster
    log_bytes = folder.log.stat().st_size
    character_type = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    initdb: list[str | Path] = [
        "-D",
        new,
        "-U",
        USER,
        "--auth=trust",
        "--no-instructions",
        "--encoding=UTF8",
    ]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    create = f"CREATE DATABASE {DATABASE}\n".encode()
    steps: list[tuple[list[str | Path], bytes]] = [
        ([binary("initdb"), *initdb, *locale, f"--lc-ctype={character_type}"], b""),
        ([binary("postgres"), "--single", "-D", new, "postgres"], create),
    ]
    for command, text in steps:
        done = subprocess.run(
            [*identity.command, *command],
            env=_environment(),
            input=text,
            pass_fds=(lock,),
            check=False,
        )
        if done.returncode != 0:
            reason = fault_in_log(folder, log_bytes)
            raise UserError(f"PostgreSQL could not make its database: {reason}")
    new.rename(folder.cluster)
    _sync(folder.path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_cluster(folder: DataFolder) -> int:
    """Return the owner of the database that is there, if this user can use it."""
    owner_id = folder.cluster.lstat().st_uid
    if os.geteuid() not in (0, owner_id):
        raise UserError(f"{folder.cluster} belongs to another user: choose another data folder")
    if not (folder.cluster / "PG_VERSION").is_file():
        raise UserError(
            f"{folder.cluster} holds no PostgreSQL database: choose another data folder"
        )
    return owner_id


def _check_major(folder: DataFolder, version: str) -> None:
    made_by = (folder.cluster / "PG_VERSION").read_text().strip()
    ours = version.rpartition(" ")[2].partition(".")[0]
    if made_by != ours:
        raise UserError(
            f"{folder.cluster} was made by PostgreSQL {made_by}, this Popolni brings {ours}: "
            f"use the Popolni that made it, or move the data by pg_dump to a new folder"
        )


def _socket_folder(folder: DataFolder, identity: Identity) -> Path:
    """Make the closed folder for the socket: in the data folder, or where its path is too much.

    A socket's path has few bytes, and libpq takes a comma in it for the end of the path.
    """
    inside = folder.path / "run"
    path_bytes = os.fsencode(inside / SOCKET)
    name = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:16]
    try:
        fits = len(path_bytes) <= SOCKET_PATH_BYTES_MAX and "," not in path_bytes.decode()
    except UnicodeDecodeError:
        fits = False
    # Not the user's own TMPDIR, which can be as long.
    place = inside if fits else Path("/tmp", f"popolni-{os.geteuid()}-{name}")  # noqa: S108
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
        os.chown(place, identity.user_id, identity.group_id, follow_symlinks=False)
    found = place.lstat()
    if not (
        stat.S_ISDIR(found.st_mode)
        and stat.S_IMODE(found.st_mode) == 0o700
        and found.st_uid == identity.user_id
    ):
        raise UserError(f"the folder {place} is not closed to other users: remove it")
    return place


def _shared_buffers_mib() -> int:
    return min(SHARED_BUFFERS_MIB_MAX, psutil.virtual_memory().total // 8 // 2**20)


def _environment() -> dict[str, str]:
    """Return an environment in which nothing of the user's settings reaches PostgreSQL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def fault_in_log(folder: DataFolder, since_bytes: int) -> str:
    """Return what went wrong last, and where to read more."""
    with folder.log.open("rb") as log:
        log.seek(since_bytes)
        lines = log.read().decode(errors="replace").splitlines()
    faults = [fault[1] for line in lines if (fault := FAULT.search(line))]
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"{faults[-1] if faults else said} (more in {folder.log})"
