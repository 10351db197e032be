"""Promises 1 and 2 of the design, under fire: an independent auditor compares what clients were
told with what the ledger holds.

`./popolni test tests/simulation --seed 7` repeats a run; `--kills 1000` makes a campaign of it.
"""

import os
import time
from importlib.resources import files
from pathlib import Path
from random import Random

import psycopg
import pytest

from popolni.embedded.postgres import running
from popolni.ledger.verify import verify
from tests.conftest import migrated_database
from tests.simulation import auditor, harness

pytestmark = pytest.mark.timeout(0)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    seed = int(request.config.getoption("--seed") or int.from_bytes(os.urandom(3)))
    print(f"--seed {seed}")
    return seed


def audit(url: str, seed: int, clients: harness.Clients) -> list[str]:
    """What the auditor and `popolni verify` find."""
    with psycopg.connect(url, autocommit=True) as connection:
        lines = auditor.faults(connection, seed, clients.files)
    report = verify(url, on_fault=lambda fault: lines.append(f"verify: {fault}"))
    assert report.transfers > 0
    return lines


def test_processes_that_post_the_same_at_once(server_url: str, tmp_path: Path, seed: int) -> None:
    with migrated_database(server_url) as url, harness.clients(url, seed, 6, tmp_path) as clients:
        wait_for_batches(clients, 400)
        clients.stop()
        assert audit(url, seed, clients) == []


def wait_for_batches(clients: harness.Clients, count: int) -> None:
    while sum(f.read_bytes().count(b"\n") for f in clients.files if f.exists()) < count:
        clients.check()
        time.sleep(0.05)


def test_kills_at_random_moments(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    seed: int,
    request: pytest.FixtureRequest,
) -> None:
    kills = int(request.config.getoption("--kills"))
    data = tmp_path_factory.mktemp("data")
    with (
        running(data) as server,
        migrated_database(server) as url,
        harness.clients(url, seed, 4, tmp_path) as clients,
    ):
        done = harness.hurt(url, data, clients, Random(seed), kills)  # noqa: S311  # repeatable
        print(f"killed {done}")
        wait_for_batches(clients, 100)
        clients.stop()
        assert audit(url, seed, clients) == []
        assert sum(done.values()) == kills


SABOTAGE = [
    ("elsif exists (select from ledger.transfer where id = t.id) then", "elsif false then"),
    ("and (select e.seq from ledger.transfer as e where e.id = b.id) is null", ""),
    ("and n.times = 1", ""),
    (" on conflict (id) do nothing;", ";"),
]


def test_a_ledger_that_forgets_is_caught(server_url: str, tmp_path: Path, seed: int) -> None:
    """The harness can fail: without the check of identifiers, the auditor says so."""
    rooms = [files("popolni.ledger").joinpath(name) for name in ("transfer.sql", "post.sql")]
    broken = "".join(room.read_text() for room in rooms)
    for rule, without in SABOTAGE:
        assert rule in broken
        broken = broken.replace(rule, without)
    with migrated_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter table ledger.transfer drop constraint transfer_id")
            connection.execute("create index on ledger.transfer (id)")
            connection.execute(broken.encode())
        with harness.clients(url, seed, 3, tmp_path) as clients:
            wait_for_batches(clients, 60)
            clients.stop()
            lines = audit(url, seed, clients)
    assert any("is in the log 2 times" in line for line in lines)
    assert any(line.startswith("verify: ") and "has the same id" in line for line in lines)
