"""One PostgreSQL for the whole run, with one migrated database.

It is an embedded server in a folder of its own, or, if POPOLNI_DATABASE_URL names a server, a
database that is made there and dropped again: so the same tests run against any version.
"""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from popolni.embedded.postgres import running

SOURCE = Path(__file__).resolve().parents[1] / "src"

# A failure prints the blob that repeats it; `--hypothesis-seed N` repeats a whole run.
_common = hypothesis.settings(deadline=None, print_blob=True, stateful_step_count=15)
hypothesis.settings.register_profile("ci", _common, max_examples=2_000)
hypothesis.settings.register_profile("long", _common, max_examples=100_000)
hypothesis.settings.register_profile("quick", _common, max_examples=100)
hypothesis.settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", help="repeat a simulation")
    parser.addoption("--kills", default="50", help="how many a crash simulation makes")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis takes a new seed for each run, and it is known which."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(int.from_bytes(os.urandom(4)))


def pytest_report_header(config: pytest.Config) -> str:
    return f"to repeat this run: --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the tests make their databases on."""
    url = os.environ.get("POPOLNI_DATABASE_URL")
    if url:
        yield url
        return
    with running(tmp_path_factory.mktemp("server")) as url:
        yield url


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """An empty database for as long as the block lasts; its URL."""
    name = f"popolni_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield make_conninfo(server_url, dbname=name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            )


@contextmanager
def migrated_database(server_url: str) -> Iterator[str]:
    """A database with all migrations, for as long as the block lasts; its URL."""
    with new_database(server_url) as url:
        command = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
        settings = {"DJANGO_SETTINGS_MODULE": "popolni.settings", "POPOLNI_DATABASE_URL": url}
        path = {"PYTHONPATH": str(SOURCE)}
        subprocess.run(command, env={**os.environ, **settings, **path}, check=True)
        yield url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    """A migrated database that is also Django's default one, in this process."""
    with migrated_database(server_url) as url:
        import django  # noqa: PLC0415  # reads the database's URL as it is set up
        import django.db  # noqa: PLC0415

        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("POPOLNI_DATABASE_URL", url)
            environment.setenv("DJANGO_SETTINGS_MODULE", "popolni.settings")
            django.setup()
            yield url
            django.db.connections.close_all()


@pytest.fixture(scope="session")
def session_connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        yield Path(folder)
