"""Makes ``.venv`` what the lock files say; the launcher runs this when it is not.

The rule kept here: a copy of each installed lock lies in ``.venv`` only while ``.venv`` is whole.
It is removed before the first change and written after the last, so whatever interrupts a start,
the next one sees that the copy is missing and builds anew. Starts at the same time take turns
by a lock that the kernel drops with its last holder; pip holds it too, since pip may outlive us.

Runs on a bare Python: nothing but the standard library here.
"""

import contextlib
import fcntl
import filecmp
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

# What says where packages come from and how to reach them. Any other PIP_ setting could put them
# elsewhere than into .venv, or choose others than the lock's.
KEPT_PIP_SETTINGS = frozenset(
    {
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_CACHE_DIR",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "PIP_USE_DEPRECATED",
        "PIP_USE_FEATURE",
    }
)

# What pip's output tells, the surest sign first.
PIP_FAULTS = (
    ("No space left on device", "the disk is full"),
    ("DO NOT MATCH THE HASHES", "a package is not the one that the lock names"),
    ("connection broken", "cannot reach the package registry; is there a network?"),
    ("from versions: none", "the package registry does not answer or refuses"),
    ("No matching distribution", "the package registry has no package for this Python and machine"),
)


def main(root: Path, locks: list[str]) -> str | None:
    """Bring ``.venv`` up to date; return what went wrong, as one line."""
    try:
        with hold_lock(root / ".venv.lock") as lock_fd:
            return None if is_ready(root, locks) else install(root, locks, lock_fd)
    except PermissionError as error:
        return f"cannot write {error.filename or root}: the project folder must be writable"
    except (OSError, ValueError) as error:
        return f"cannot set up {root / '.venv'}: {error}"


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[int]:
    """Wait for our turn; yield the descriptor that holds the lock."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is installing, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def is_ready(root: Path, locks: list[str]) -> bool:
    """Tell whether ``.venv`` runs and holds what these locks name (the launcher asks the same)."""
    return all(is_installed(root, lock) for lock in locks) and runs(root / ".venv")


def is_installed(root: Path, lock: str) -> bool:
    """Compare a lock with the copy kept of what was installed."""
    copy = root / ".venv" / lock
    return copy.is_file() and filecmp.cmp(root / lock, copy, shallow=False)


def runs(home: Path) -> bool:
    """Tell whether the virtual environment has a Python that sees what was installed in it."""
    try:
        probe = subprocess.run(
            [home / "bin" / "python", "-c", "import pip"], capture_output=True, check=False
        )
    except OSError:
        return False
    return probe.returncode == 0


def install(root: Path, locks: list[str], lock_fd: int) -> str | None:
    """Install the last of the locks, which has all that the others have."""
    home, log = root / ".venv", root / ".venv.log"
    if is_ready(root, locks[:1]) and not (home / locks[-1]).exists():
        say("installing the test tools into .venv")
        (home / locks[0]).unlink()  # a demo may be running from it, so add rather than rebuild
    else:
        say("first start: installing into .venv (about a minute)")
        try:
            venv.create(home, clear=True, symlinks=True, with_pip=True)
        except subprocess.CalledProcessError as error:
            log.write_bytes(error.stdout or b"")
            return f"cannot make .venv with {sys.executable}; see {log}"
    fault = run_pip(home, root / locks[-1], log, lock_fd)
    if fault is None:
        for lock in reversed(locks):  # the one that every start asks for goes last
            keep_copy(root / lock, home / lock)
    return fault


def run_pip(home: Path, lock: Path, log: Path, lock_fd: int) -> str | None:
    """Install exactly what the lock names; pip's own words go to the log."""
    python = str(home / "bin" / "python")
    command = [python, "-m", "pip", "install", "--progress-bar", "off", "--require-hashes"]
    command += ["--no-deps", "--only-binary", ":all:", "-r", str(lock)]
    with log.open("wb") as output:
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=pip_environment(),
            pass_fds=[lock_fd],
            check=False,
        ).returncode
    if status == 0:
        return None
    return f"{explain(log.read_text(errors='replace'))} (what pip said is in {log})"


def explain(said: str) -> str:
    """Put pip's output into a few words."""
    return next((fault for sign, fault in PIP_FAULTS if sign in said), "pip failed")


def pip_environment() -> dict[str, str]:
    """Keep the person's mirrors, proxies and certificates, and nothing that bends the install."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_") or name in KEPT_PIP_SETTINGS
    }
    environment.setdefault("PIP_RETRIES", "2")  # without a network, seconds rather than minutes
    environment |= {
        "PIP_CONSTRAINT": os.devnull,  # these two may be set in pip's configuration files
        "PIP_USER": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    return environment


def keep_copy(lock: Path, copy: Path) -> None:
    """Copy in one step, so that there is never half a copy."""
    part = copy.with_suffix(".part")
    shutil.copyfile(lock, part)
    part.replace(copy)


def say(line: str) -> None:
    """Tell the person at the keyboard why nothing happens yet."""
    print(f"popolni: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        fault = main(Path(sys.argv[1]), sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(f"popolni: {fault}" if fault else 0)
