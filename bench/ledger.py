"""How many transfers a second the ledger posts, beside pgbench's TPC-B on the same server.

    ./popolni bench ledger [--json] [--seconds N] [--large N]

Everything runs in one go, TPC-B before, between and after, since the speed of a machine drifts.
Databases are made for it and dropped again. `fsync` is on, as always.
"""

import argparse
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing.synchronize import Barrier
from random import Random
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from popolni.core.identifiers import transfer_id
from popolni.embedded.postgres import binary
from popolni.embedded.scratch import migrated_scratch_database, scratch_database
from popolni.ledger import statements
from popolni.ledger.client import register_arrays
from popolni.ledger.model import AccountFlags, Transfer, Unit

BOOK = 1
HOT = 1  # the account that every transfer of a "hot" run debits, as one agent's float
BATCHES = (1, 100, 1_000, 8_000)
CONNECTIONS = (1, 4)
SMALL = 10_000
HEADLINE_BATCH = 1_000
TPCB_SCALE, TPCB_CLIENTS = 50, 32


@dataclass(frozen=True)
class Run:
    """One cell of the table."""

    accounts: int
    spread: str
    batch: int
    connections: int


@dataclass(frozen=True)
class Result(Run):
    """What it made."""

    per_s: float


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(prog="popolni bench ledger", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--seconds", type=float, default=5, help="for each run (default 5)")
    parser.add_argument("--large", type=int, default=5_000_000, help="accounts in the large table")
    args = parser.parse_args()
    report = bench(os.environ["POPOLNI_DATABASE_URL"], args.seconds, args.large)
    print(json.dumps(report) if args.json else as_text(report))


def bench(server: str, seconds: float, large: int) -> dict[str, Any]:
    """All runs. `per_s` is the slowest of batch 1000 on the small table, `ratio` it over TPC-B."""
    tpcb: list[float] = []
    results: list[Result] = []
    with (
        scratch_database(server) as tpcb_url,
        ledger(server, SMALL) as small,
        ledger(server, large) as big,
    ):
        pgbench("-i", "-q", "-s", str(TPCB_SCALE), url=tpcb_url)
        tpcb.append(tpcb_per_s(tpcb_url, seconds))
        for spread, connections in product(("hot", "spread"), CONNECTIONS):
            for batch in BATCHES:
                for accounts, url in ((SMALL, small), (large, big)):
                    run = Run(accounts, spread, batch, connections)
                    results.append(Result(**asdict(run), per_s=measure(url, run, seconds)))
                    say(results[-1])
            tpcb.append(tpcb_per_s(tpcb_url, seconds))
    headline = [r for r in results if r.batch == HEADLINE_BATCH]
    per_s = min(r.per_s for r in headline if r.accounts == SMALL)
    large_over_small = [
        big_run.per_s / small_run.per_s
        for small_run, big_run in zip(results[::2], results[1::2], strict=True)
        if small_run.batch == HEADLINE_BATCH
    ]
    ours, theirs = round(per_s), round(statistics.median(tpcb))
    return {
        "tpcb_per_s": theirs,
        "per_s": ours,
        "ratio": round(ours / theirs, 2),  # of the figures that are shown
        "large_over_small": round(statistics.median(large_over_small), 2),
        "tpcb_runs_per_s": [round(value) for value in tpcb],
        "server_version": server_version(server),
        "cpus": os.cpu_count(),
        "runs": [{**asdict(result), "per_s": round(result.per_s)} for result in results],
    }


def as_text(report: dict[str, Any]) -> str:
    """The same for people."""
    head = "accounts   debits  batch  connections  transfers/s  × TPC-B"
    lines = [
        f"{r['accounts']:>9,}  {r['spread']:>6}  {r['batch']:>5}  {r['connections']:>11}"
        f"  {r['per_s']:>11,}  {r['per_s'] / report['tpcb_per_s']:>7.2f}"
        for r in report["runs"]
    ]
    return "\n".join(
        [
            head,
            *lines,
            f"TPC-B (pgbench, scale {TPCB_SCALE}, {TPCB_CLIENTS} clients): "
            f"{report['tpcb_per_s']:,} a second, the median of {report['tpcb_runs_per_s']}",
            f"batch {HEADLINE_BATCH}, slowest on {SMALL:,} accounts: {report['per_s']:,} a second,"
            f" {report['ratio']} × TPC-B; the large table: {report['large_over_small']}",
        ]
    )


@contextmanager
def ledger(server: str, accounts: int) -> Iterator[str]:
    """A migrated database with one book of free accounts."""
    with migrated_scratch_database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            register_arrays(connection)
            execute(connection, statements.open_book(BOOK, "RUB"))
            step = 50_000
            for start in range(1, accounts + 1, step):
                ids = range(start, min(start + step, accounts + 1))
                rows = [(id_, Unit.MONEY, 1, AccountFlags.NONE) for id_ in ids]
                execute(connection, statements.open_accounts(BOOK, rows))
            connection.execute("vacuum (analyze) ledger.account")
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute("checkpoint")
        yield url


def execute(connection: psycopg.Connection[Any], statement: statements.Statement[Any]) -> Any:
    """Runs a statement as the asynchronous caller does."""
    cursor = connection.execute(statement.sql, statement.arguments, prepare=True)
    return statement.decode(cursor.fetchall())


def measure(url: str, run: Run, seconds: float) -> float:
    """Transfers a second, all connections together."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(run.connections) as pool:
        start = manager.Barrier(run.connections)
        words = [(url, run, seconds, number, start) for number in range(run.connections)]
        return sum(pool.starmap(post_for, words))


def post_for(url: str, run: Run, seconds: float, number: int, start: Barrier) -> float:
    """Posts new transfers for so long; how many a second."""
    random = Random(number)  # noqa: S311  # not secret
    name = time.time_ns()

    def transfers(first: int) -> list[Transfer]:
        return [
            Transfer(
                transfer_id("bench", name, number, first + place),
                HOT if run.spread == "hot" else random.randint(2, run.accounts // 2),
                random.randint(run.accounts // 2 + 1, run.accounts),
                10_000,
                1,
                reference=str(first + place),
            )
            for place in range(run.batch)
        ]

    with psycopg.connect(url, autocommit=True) as connection:
        register_arrays(connection)
        done = 0
        for _ in range(6):  # as many executions as settle the server's plans
            execute(connection, statements.post(BOOK, transfers(-(done := done + run.batch))))
        done = 0
        start.wait()
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            for answer in execute(connection, statements.post(BOOK, transfers(done))):
                if answer.outcome != "created":
                    raise RuntimeError(f"a new transfer was answered {answer}")
            done += run.batch
        return done / elapsed


def tpcb_per_s(url: str, seconds: float, clients: int = TPCB_CLIENTS) -> float:
    """TPC-B's transactions a second."""
    seconds = max(1, round(seconds))
    threads = min(clients, os.cpu_count() or 1)
    out = pgbench("-n", "-c", str(clients), "-j", str(threads), "-T", str(seconds), url=url)
    found = re.search(r"tps = ([0-9.]+)", out)
    if not found:
        raise RuntimeError(f"pgbench says: {out}")
    say(f"TPC-B, {clients} clients: {float(found[1]):.0f} a second")
    return float(found[1])


def pgbench(*words: str, url: str) -> str:
    """Runs pgbench on a database; what it printed."""
    parts = conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    login = {names[key]: str(value) for key, value in parts.items() if key in names}
    command = [str(binary("pgbench")), *words, str(parts["dbname"])]
    done = subprocess.run(
        command, env={**os.environ, **login}, check=True, capture_output=True, text=True
    )
    return done.stdout


def server_version(url: str) -> str:
    """PostgreSQL's version."""
    with psycopg.connect(url) as connection:
        major, minor = divmod(connection.info.server_version, 10_000)
        return f"{major}.{minor}"


def say(line: object) -> None:
    """Progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
