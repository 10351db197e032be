"""One PostgreSQL for the whole run, with one migrated database.

It is an embedded server in a folder of its own, or, if POPOLNI_DATABASE_URL names a server, a
database that is made there and dropped again: so the same tests run against any version.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

running = None

# A failure prints the blob that repeats it; `--hypothesis-seed N` repeats a whole run.
_common = hypothesis.settings(deadline=None, print_blob=True, stateful_step_count=15)
hypothesis.settings.register_profile("ci", _common, max_examples=3_000)
hypothesis.settings.register_profile("long", _common, max_examples=100_000)
hypothesis.settings.register_profile("quick", _common, max_examples=100)
hypothesis.settings.load_profile("ci")


@contextmanager
def _server(folder: pytest.TempPathFactory) -> Iterator[str]:
    url = os.environ.get("POPOLNI_DATABASE_URL")
    if url:
        yield url
        return
    with running(folder.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database, as Django's default one."""
    name = f"popolni_test_{uuid.uuid4().hex[:12]}"
    with _server(tmp_path_factory) as server:
        parts = conninfo_to_dict(server)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        url = make_conninfo(**{**parts, "dbname": name})
        os.environ["POPOLNI_DATABASE_URL"] = url
        try:
            _migrate()
            yield url
        finally:
            os.environ["POPOLNI_DATABASE_URL"] = server
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
                )


def _migrate() -> None:
    import django  # noqa: PLC0415  # reads the database's URL as it is set up
    from django.core.management import call_command  # noqa: PLC0415

    os.environ["DJANGO_SETTINGS_MODULE"] = "popolni.settings"
    django.setup()
    call_command("migrate", verbosity=0)


@pytest.fixture(scope="session")
def session_connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        yield Path(folder)
