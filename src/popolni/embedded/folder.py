"""What lies in a data folder, and its locks.

The rule kept here: who is alive is told by locks and by nothing else. The kernel frees a lock
with its last holder, however that died, so none is ever stale. Each is a file in ``locks``:

- ``opening``: exclusive; whoever comes in or goes out. It makes openings take turns.
- ``owners``: shared; every process that uses the server. Exclusive: the keeper, once none is left.
- ``keeper``: exclusive; the keeper. Its text tells what has become of the server.
- ``server``: exclusive; initdb, postgres and each process that they start, by inheritance.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from popolni.core.errors import UserError

POLL_SECONDS = 0.01


@dataclass(frozen=True)
class DataFolder:
    """The paths inside one data folder."""

    path: Path

    @classmethod
    def prepare(cls, path: Path) -> Self:
        """Make the folder unless it is there; one that is there keeps its permissions."""
        try:
            path = path.expanduser().resolve()
            if {"\n", "\r", "\0"} & set(str(path)):
                raise UserError(f"a data folder's name cannot hold a line break: {str(path)!r}")
            if path.exists() and not path.is_dir():
                raise UserError(f"the data folder {path} is not a folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            folder = cls(path)
            folder.lock_path("").mkdir(mode=0o700, exist_ok=True)
            os.close(folder.open_log())
        except (OSError, RuntimeError) as error:  # RuntimeError: no home folder, or a symlink loop
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"the data folder {path} cannot be used: {reason}") from error
        return folder

    @property
    def cluster(self) -> Path:
        """What PostgreSQL calls its data directory."""
        return self.path / "postgres"

    @property
    def new_cluster(self) -> Path:
        """A data directory in the making; whatever is left here is rubbish."""
        return self.path / "postgres.new"

    @property
    def log(self) -> Path:
        """What PostgreSQL and the keeper say."""
        return self.path / "postgres.log"

    def open_log(self) -> int:
        """Return a descriptor that appends to the log."""
        return os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def lock_path(self, name: str) -> Path:
        """Return the file that a lock is on."""
        return self.path / "locks" / name

    def try_lock(self, name: str, operation: int) -> int | None:
        """Take a lock if it is free: the descriptor that holds it until closed."""
        descriptor = os.open(self.lock_path(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def wait_lock(self, name: str, operation: int, *, timeout_seconds: float) -> int | None:
        """Take a lock, or None when it has not become free in time."""
        deadline = time.monotonic() + timeout_seconds
        while (descriptor := self.try_lock(name, operation)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        return descriptor

    def is_locked(self, name: str) -> bool:
        """Whether somebody holds a lock, shared or not."""
        descriptor = self.try_lock(name, fcntl.LOCK_EX)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    @contextmanager
    def opening(self, *, timeout_seconds: float) -> Iterator[None]:
        """Keep other owners from coming in or going out meanwhile."""
        descriptor = self.wait_lock("opening", fcntl.LOCK_EX, timeout_seconds=timeout_seconds)
        if descriptor is None:
            raise UserError(
                f"the data folder {self.path} is busy: another Popolni has been opening it for "
                f"{timeout_seconds:.0f} seconds"
            )
        try:
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Report:
    """What the keeper tells openers: a word and what belongs to it, one line in its lock's file.

    The words are ``ready`` with the server's URL and ``failed`` with the reason.
    """

    word: str = ""
    text: str = ""

    def write(self, descriptor: int) -> None:
        """Replace the report; a reader in between sees none."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, os.fsencode(f"{self.word} {' '.join(self.text.split())}\n"), 0)

    @classmethod
    def read(cls, folder: DataFolder) -> Self:
        """Return the last report, an empty one while there is none."""
        line = b""
        with suppress(FileNotFoundError):
            line = folder.lock_path("keeper").read_bytes()
        if not line.endswith(b"\n"):
            return cls()
        word, _, text = os.fsdecode(line[:-1]).partition(" ")
        return cls(word, text)
