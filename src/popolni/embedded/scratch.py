"""Databases that live as long as a block: for tests and benchmarks, on any server."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SOURCE = Path(__file__).resolve().parents[2]


@contextmanager
def scratch_database(server_url: str, *, template: str | None = None) -> Iterator[str]:
    """An empty database on the server, or a copy of another one, which nobody uses; its URL."""
    name = f"popolni_scratch_{uuid.uuid4().hex[:12]}"
    create = sql.SQL("create database {}").format(sql.Identifier(name))
    if template is not None:
        of = str(conninfo_to_dict(template)["dbname"])
        create += sql.SQL(" template {}").format(sql.Identifier(of))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield make_conninfo(server_url, dbname=name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            )


@contextmanager
def migrated_scratch_database(server_url: str) -> Iterator[str]:
    """A database with all migrations, made by a process of its own; its URL."""
    with scratch_database(server_url) as url:
        command = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
        settings = {
            "DJANGO_SETTINGS_MODULE": "popolni.settings",
            "POPOLNI_DATABASE_URL": url,
            "POPOLNI_SECRET_KEY": os.environ.get("POPOLNI_SECRET_KEY", "of nothing but scratch"),
            "PYTHONPATH": str(SOURCE),
        }
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        yield url
