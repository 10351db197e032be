"""The demo under trouble. That it shows what the README says is tested with the documents."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.model import AccountFlags, Transfer, Unit
from tests.conftest import SOURCE, migrated_database, new_database
from tests.ledger.support import Ledger
from tests.test_docs import PROJECT, at_home, running_demo


def demo_fails(home: Path, *options: str, **environment: str) -> str:
    """Its one line."""
    done = subprocess.run(
        [PROJECT / "popolni", "demo", *options],
        env=at_home(home) | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"popolni: .+\n", done.stderr)
    return done.stderr


def test_a_fresh_one_beside_a_running_one_is_refused(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    with running_demo(tmp_path, *data):
        assert "stop it first" in demo_fails(tmp_path, *data, "--fresh")
        with running_demo(tmp_path, *data) as shown:  # but two may look at the same
            assert "6 transfers" in shown


def test_it_starts_postgresql_again_when_its_keeper_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_demo(tmp_path, "--data", str(data)) as shown:
        found = re.search(r"'(postgresql://[^']+)'", shown)
        assert found
        for process in psutil.process_iter():
            words = process.cmdline() if process.is_running() else []
            if "popolni.embedded.keeper" in words and str(data) in words:
                process.send_signal(signal.SIGKILL)
        for _ in range(300):
            try:
                with psycopg.connect(found[1], connect_timeout=5) as connection:
                    keeper = (data / "locks" / "keeper").read_text()
                    if keeper.startswith("ready"):
                        connection.execute("select count(*) from ledger.transfer")
                        connection.execute("select pg_sleep(0.3)")  # not the one that is stopping
                        break
            except psycopg.Error:
                time.sleep(0.1)
        else:
            pytest.fail("it did not come back")


def test_it_does_not_add_to_a_ledger_that_is_not_its_own(server_url: str, tmp_path: Path) -> None:
    with (
        migrated_database(server_url) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        ledger = Ledger(connection)
        ledger.run(statements.open_book(1, "USD"))
        rows = [(n, Unit.MONEY, 1, AccountFlags.NONE) for n in (1, 2)]
        ledger.run(statements.open_accounts(1, rows))
        ledger.post(1, Transfer(transfer_id("theirs"), 1, 2, 5, 1))
        environment = {"POPOLNI_DATABASE_URL": as_url(url)}
        assert "a ledger of its own" in demo_fails(tmp_path, **environment)
        assert len(ledger.log(1)) == 1


def test_an_empty_database_of_the_users_own(server_url: str, tmp_path: Path) -> None:
    """Where --fresh is refused, and no password is shown."""
    with new_database(server_url) as url:
        environment = {**at_home(tmp_path), "POPOLNI_DATABASE_URL": as_url(url)}
        line = demo_fails(tmp_path, "--fresh", POPOLNI_DATABASE_URL=as_url(url))
        assert "--fresh" in line
        process = subprocess.Popen(
            [sys.executable, "-m", "popolni", "demo"],
            env={**os.environ, **environment, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        shown = ""
        while not shown.endswith("READY\n"):
            line = process.stdout.readline()
            assert line
            shown += line
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
        assert "postgresql://" not in shown


def as_url(conninfo: str) -> str:
    """A connection string in the form that the variable wants."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    host = str(parts["host"]).replace("/", "%2F")
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={host}"
