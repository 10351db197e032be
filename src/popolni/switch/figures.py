"""Where the processes keep the figures that /metrics adds up: a folder of files, one for each.

A folder of our own is locked as long as anybody uses it: this process and its forks, which inherit
the lock. The kernel lets go of it with the last of them, however that died, and the next switch to
start takes such folders away. Nothing here may import Prometheus' client, which looks for the
folder when it is imported: the processes are forks of this one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from popolni.switch.settings import METRICS_FOLDER

PREFIX, NEW = "popolni-switch-", "popolni-new-switch-"
LOCK = "lock"


@contextmanager
def folder_of_figures() -> Iterator[None]:
    """The one that the environment names, or one of our own; without those of an earlier life."""
    given = os.environ.get(METRICS_FOLDER)
    if given:
        for path in Path(given).glob("*.db"):
            path.unlink(missing_ok=True)
        yield
        return
    _clear_away()
    folder, lock = _make()
    os.environ[METRICS_FOLDER] = str(folder)
    try:
        yield
    finally:
        del os.environ[METRICS_FOLDER]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def forget(pid: int) -> None:
    """A process has died: what it had waiting no longer counts; what it has counted does."""
    for path in Path(os.environ[METRICS_FOLDER]).glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def _make() -> tuple[Path, int]:
    """It gets its name when it is locked, so that nobody finds it without an owner."""
    new = Path(tempfile.mkdtemp(prefix=NEW))
    lock = os.open(new / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return new.rename(new.with_name(PREFIX + new.name.removeprefix(NEW))), lock


def _clear_away() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or just gone
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
