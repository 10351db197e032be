"""The two secrets that Popolni's programs share, kept beside the database that they belong to.

The rule kept here: a data folder gets its secrets once, whole or not at all, and whoever comes
second reads the first one's. A variable of the environment wins over the folder.
"""

import base64
import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from popolni.core.errors import UserError

FILE = "secrets"
SECRET_KEY, DATA_KEYS = NAMES = ("POPOLNI_SECRET_KEY", "POPOLNI_DATA_KEYS")


def make_secrets() -> dict[str, str]:
    """New ones: what signs sessions and forms, and the first key that seals documents."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {SECRET_KEY: secrets.token_urlsafe(50), DATA_KEYS: f"1:{key}"}


def given_secrets() -> dict[str, str]:
    """Those that the environment gives; an empty variable gives none."""
    return {name: value for name in NAMES if (value := os.environ.get(name, "").strip())}


def load_secrets(folder: Path) -> dict[str, str]:
    """Both secrets by their variables' names; a folder that has none yet gets them now.

    Raises UserError where the folder's file cannot be made, cannot be read or is open to others.
    """
    given = given_secrets()
    if len(given) == len(NAMES):
        return given
    path = folder / FILE
    try:
        if not path.exists():
            _make(path)
        kept = _read(path)
    except OSError as error:
        raise UserError(f"the secrets in {path} cannot be used: {error.strerror}") from error
    return kept | given


def write_lines(values: dict[str, str]) -> str:
    """As ``NAME=value`` lines, which a shell and a service manager read too."""
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _make(path: Path) -> None:
    """Written beside its place; the link to its name fails if another start was quicker."""
    descriptor, name = tempfile.mkstemp(prefix=f"{FILE}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(write_lines(make_secrets()))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
        _sync(path.parent)
    finally:
        Path(name).unlink()


def _sync(folder: Path) -> None:
    """What is sealed with a key must not outlive it: the name is on the disk too from here on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, str]:
    with path.open(errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        pairs = [line.partition("=") for line in file.read().splitlines()]
    if mode & 0o077:
        raise UserError(f"the secrets in {path} are open to other users: chmod 600 {path}")
    values = {name: value for name, _, value in pairs if name in NAMES and value}
    if len(values) != len(NAMES):
        raise UserError(f"the secrets in {path} are not whole: put back a copy of that file")
    return values
