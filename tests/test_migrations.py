"""The one history of migrations."""

import os
import subprocess
import sys

import psycopg

from tests.conftest import SOURCE, migrated_database


def django(url: str, *words: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "DJANGO_SETTINGS_MODULE": "popolni.settings",
        "POPOLNI_DATABASE_URL": url,
    }
    command = [sys.executable, "-m", "django", *words]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def holds_a_ledger(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("select to_regclass('ledger.transfer') is not null").fetchone()
        assert row is not None
        return bool(row[0])


def test_there_and_back(server_url: str) -> None:
    with migrated_database(server_url) as url:
        assert holds_a_ledger(url)
        django(url, "migrate", "popolni", "zero", "--verbosity=0")
        assert not holds_a_ledger(url)
        django(url, "migrate", "--verbosity=0")
        assert holds_a_ledger(url)


def test_no_model_waits_for_its_migration(database_url: str) -> None:
    assert "No changes detected" in django(database_url, "makemigrations", "--check", "--dry-run")


def test_settings_are_sound(database_url: str) -> None:
    assert "no issues" in django(database_url, "check")
