"""Which database to use: the user's own server, or the one that Popolni brings.

The rule kept here: a server that does not do is refused with one line, and no line shows a
password.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from popolni.core.errors import UserError
from popolni.embedded.postgres import default_data, running

VARIABLE = "POPOLNI_DATABASE_URL"
MAJOR_MIN = 15
CONNECT_SECONDS = 10
SCHEMES = ("postgresql://", "postgres://")


def given_url() -> str:
    """The user's own database, if the variable names one; a blank one names none."""
    return os.environ.get(VARIABLE, "").strip()


@contextmanager
def database(data: Path | None) -> Iterator[str]:
    """Yield the URL of the database: the variable's, or that of a server in ``data``."""
    if url := given_url():
        check_server(url)
        yield url
        return
    with running(data or default_data()) as own_url:
        yield own_url


def check_server(url: str) -> None:
    """Refuse a server that cannot be reached or is too old."""
    parameters = _parameters(url)
    if not parameters.get("dbname"):
        raise UserError(
            f"{VARIABLE} names no database: it ends with one, such as "
            "postgresql://user:password@host:5432/database"
        )
    timeout = parameters.get("connect_timeout") or os.environ.get("PGCONNECT_TIMEOUT")
    try:
        with psycopg.connect(url, connect_timeout=int(timeout or CONNECT_SECONDS)) as connection:
            check_version(connection.info.server_version, connection.info.host)
    except (psycopg.Error, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if password := parameters.get("password"):
            reason = reason.replace(str(password), "***")
        raise UserError(f"the server in {VARIABLE} cannot be used: {reason}") from None


def _parameters(url: str) -> dict[str, str | int | None]:
    """Return what the URL says; none of it is shown when it is wrong, it may be the password."""
    if not url.startswith(SCHEMES):
        raise UserError(
            f"{VARIABLE} is no PostgreSQL address: it starts with postgresql://, such as "
            "postgresql://user:password@host:5432/database"
        )
    rest = url.partition("://")[2]
    # A bare @ or / in a password would make a host of its end, and libpq would show that.
    is_clear = rest.count("@") == rest.partition("/")[0].count("@") <= 1
    with suppress(psycopg.Error):
        if is_clear:
            return dict(conninfo_to_dict(url))
    raise UserError(
        f"{VARIABLE} is no PostgreSQL address that can be read: in a password, write each "
        "of : / ? # @ % by its percent code, such as %40 for @"
    )


def check_version(server_version: int, host: str) -> None:
    """Refuse a server that is too old; ``server_version`` is the number that libpq gives."""
    major, minor = divmod(server_version, 10_000)
    if major < MAJOR_MIN:
        # Before version 10 there was a number in between.
        shown = f"{major}.{minor}" if major >= 10 else f"{major}.{minor // 100}.{minor % 100}"
        raise UserError(
            f"PostgreSQL {shown} at {host} is too old: Popolni needs {MAJOR_MIN} or newer"
        )
