"""A switch for each module, on a database of its own with a small catalogue (see support)."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import migrated_database
from tests.switch.support import Switch, Terminal, default_database, running


@pytest.fixture(scope="session")
def template_url(server_url: str) -> Iterator[str]:
    """A database with the catalogue, to be copied."""
    with migrated_database(server_url) as url:
        fill(url)
        yield url


def fill(url: str) -> None:
    # Not above: Django is set up only after this file was read.
    from tests.agents.support import lighten_hashes  # noqa: PLC0415
    from tests.switch.catalogue import make_catalogue  # noqa: PLC0415

    with default_database(url), pytest.MonkeyPatch.context() as monkeypatch:
        lighten_hashes(monkeypatch)
        make_catalogue()


@pytest.fixture(scope="module")
def own_url(server_url: str, template_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The module's own copy, also Django's default database while the module lasts."""
    name = "switch_" + request.module.__name__.rpartition(".")[2]
    template = str(conninfo_to_dict(template_url)["dbname"])
    create = sql.SQL("create database {} template {}")
    drop = sql.SQL("drop database if exists {} with (force)")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        url = make_conninfo(server_url, dbname=name)
        with default_database(url):
            yield url
        connection.execute(drop.format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def switch(own_url: str, logs: Path) -> Iterator[Switch]:
    """One process that answers, for the whole module."""
    with running(own_url, logs) as switch:
        yield switch


@pytest.fixture
def terminal(switch: Switch) -> Terminal:
    return switch.terminal()
