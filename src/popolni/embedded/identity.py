"""Who PostgreSQL runs as: it refuses to run as root.

The rule kept here: started by root, the server runs as root itself inside a user namespace in
which root has another number, so that every file stays root's. Where the kernel forbids that, it
runs as a system user of its own that may pass through closed folders. No folder that is not
PostgreSQL's own is touched. The owner of a database made earlier decides which of the two it is.

An identity is a command to put before the program. On Linux that command also asks the kernel to
interrupt PostgreSQL when its keeper is killed; elsewhere the next keeper stops it.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from popolni.core.errors import UserError

SERVER_USER = "popolni"
STOP_WITH_PARENT = ("--pdeathsig", "INT")
# What lets a user pass through folders that are closed to it, the least power first.
PASSAGES = ("", ",+dac_read_search", ",+dac_override")
PROBE_SECONDS = 30


@dataclass(frozen=True)
class Identity:
    """A user to run as, and the command that makes a program run so."""

    user_id: int
    group_id: int
    command: tuple[str, ...] = ()


def identities(owner_id: int | None, server_user: str | None) -> Iterator[Identity]:
    """Yield what may work, the best first, for a database of ``owner_id`` or a new one."""
    if os.geteuid() != 0:
        user_id, group_id = os.geteuid(), os.getegid()
        yield Identity(user_id, group_id, ("setpriv", *STOP_WITH_PARENT, "--"))
        yield Identity(user_id, group_id)
        return
    if owner_id == 0 or (owner_id is None and server_user is None):
        yield _in_user_namespace()
    if owner_id != 0:
        yield from _as_other_user(owner_id, server_user or SERVER_USER)


def _in_user_namespace() -> Identity:
    # initdb wants a user that has a name.
    named = next((user for user in pwd.getpwall() if user.pw_name == "nobody"), None)
    user = named or next(user for user in pwd.getpwall() if user.pw_uid != 0)
    enter = ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--")
    return Identity(0, 0, (*enter, "setpriv", *STOP_WITH_PARENT, "--"))


def _as_other_user(owner_id: int | None, name: str) -> Iterator[Identity]:
    try:
        user = _system_user(name) if owner_id is None else pwd.getpwuid(owner_id)
    except KeyError:
        return
    ids = ("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
    # Whoever owns a database says in its settings what PostgreSQL runs: somebody else's must not
    # get any power of root's.
    is_ours = owner_id is None or user.pw_name == name
    for passage in PASSAGES if is_ours else PASSAGES[:1]:
        powers = (f"--inh-caps=-all{passage}", f"--ambient-caps=-all{passage}")
        command = ("setpriv", *ids, *powers, *STOP_WITH_PARENT, "--")
        yield Identity(user.pw_uid, user.pw_gid, command)


def _system_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if name != SERVER_USER or useradd is None:
            raise
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
    subprocess.run([useradd, *options, name], check=False)
    return pwd.getpwnam(name)


def choose(candidates: Iterable[Identity], folder: Path, program: Path) -> tuple[Identity, str]:
    """Return the first identity that can run ``program`` in ``folder``, and the version it says."""
    reason = "this system has no user for it"
    is_new = next(folder.iterdir(), None) is None
    for identity in candidates:
        if is_new:
            os.chown(folder, identity.user_id, identity.group_id)
        said = _probe(identity, folder, program)
        if said.returncode == 0:
            return identity, said.stdout.strip()
        reason = (said.stderr.strip().splitlines() or [f"exit status {said.returncode}"])[-1]
    if os.geteuid() != 0:
        raise UserError(f"PostgreSQL cannot work in {folder}: {reason}")
    raise UserError(
        f"PostgreSQL does not run as root, nor for root in {folder} ({reason}): "
        "start Popolni as another user, or set POPOLNI_DATABASE_URL"
    )


def _probe(identity: Identity, folder: Path, program: Path) -> subprocess.CompletedProcess[str]:
    # Entering the folder shows more than asking for access: access(2) disregards capabilities.
    script = 'cd "$1" && exec "$0" --version'
    command = [*identity.command, "/bin/sh", "-c", script, str(program), str(folder)]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
