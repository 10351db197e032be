"""What /healthz and /readyz say, and what it takes."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from popolni.settings import database
from popolni.web import health
from tests.conftest import new_database

UNAVAILABLE = 503


@pytest.fixture(autouse=True)
def _django(database_url: str) -> Iterator[None]:
    """Each test sees the migrations for itself, and leaves Django where it was."""
    del database_url
    health._seen.clear()
    before = dict(connection.settings_dict)
    yield
    connection.close()
    connection.settings_dict.update(before)
    health._seen.clear()


@pytest.fixture
def client() -> Client:
    return Client(SERVER_NAME="127.0.0.1")


def get(client: Client, path: str) -> tuple[int, str]:
    response = client.get(path)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "no-store" in response.headers["Cache-Control"]
    return response.status_code, response.content.decode()


def test_healthz_asks_nobody(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert get(client, "/healthz") == (200, "ok\n")
    assert len(queries) == 0


def test_readyz(client: Client) -> None:
    assert get(client, "/readyz") == (200, "ready\n")
    with CaptureQueriesContext(connection) as queries:
        assert get(client, "/readyz") == (200, "ready\n")
    assert [query["sql"] for query in queries] == ["select 1"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_are_only_read(path: str, client: Client) -> None:
    assert client.post(path).status_code == 405
    assert client.head(path).status_code == 200


def test_a_connection_that_was_lost_is_made_anew(
    client: Client, session_connection: psycopg.Connection
) -> None:
    assert get(client, "/readyz") == (200, "ready\n")
    pid = connection.connection.info.backend_pid
    session_connection.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    assert get(client, "/readyz") == (200, "ready\n")


def test_a_database_that_does_not_answer(client: Client) -> None:
    connection.close()
    connection.settings_dict.update(HOST="/nowhere", PASSWORD="hidden")  # noqa: S106  # is looked for
    assert get(client, "/readyz") == (UNAVAILABLE, "the database does not answer\n")
    assert get(client, "/healthz") == (200, "ok\n")


def test_a_database_without_migrations(client: Client, server_url: str) -> None:
    with new_database(server_url) as url:
        connection.close()
        connection.settings_dict.update(database(url))
        assert get(client, "/readyz") == (UNAVAILABLE, "the database is not up to date\n")
        connection.close()
