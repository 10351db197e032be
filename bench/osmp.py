"""How many top-ups a second the switch answers over HTTP, beside pgbench's TPC-B.

    ./popolni bench osmp [--json] [--seconds N] [--rounds N] [--scale N] [--numbers N]
                         [--processes N] [--large N] [--soak MINUTES]

wrk, a tool that is not ours, sends pays of OSMP over loopback to processes of the switch; each has
an identifier of its own and is for a number at random. One agent (one hot float) and fifty, over 8
and 256 connections, all in one book: the worst case. TPC-B runs on the same server, in turn with
it, since the speed of a machine drifts. Everything shares the machine's cores, the load as well.

Each answer must be result 0, and each must be in the log; what is in the log and was not answered
is no more than the load's end cut off. `fsync` is on, as always.
"""

import argparse
import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import ledger
from bench.osmp_world import BOOK, FIRST, PASSWORD, agent_codes
from popolni.embedded.scratch import migrated_scratch_database, scratch_database
from popolni.ledger.chart import SUBJECT_MAX, Kind

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
AGENTS = (1, 50)
CONNECTIONS = (8, 256)
TPCB_CLIENTS = (8, 32, 64)
SMALL = 10_000
HEADLINE_CONNECTIONS = 256

SUM, SUM_MINOR = "10.00", 10_00
START_S = 60
WARM_UP_S = 3
SETTLE_S = 0.2
MIB = 2**20

AGENTS_OF_ALL = [
    f"{code}={base64.b64encode(f'{code}:{PASSWORD}'.encode()).decode()}"
    for code in agent_codes(max(AGENTS))
]
"""As the load has it: code and credentials."""
_runs = count(time.time_ns() // 1_000_000 % 10**8)


@dataclass(frozen=True)
class World:
    """A database full of numbers, and the switch before it."""

    numbers: int
    database: str
    address: str
    process: psutil.Process


@dataclass(frozen=True)
class Result:
    """What a run of wrk made; `in_log` is by how much the book's log grew."""

    numbers: int
    agents: int
    connections: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    answers: int
    errors: int
    asked: int
    in_log: int


def main() -> None:
    """Prints a table, or one JSON object."""
    parser = argparse.ArgumentParser(prog="popolni bench osmp", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--seconds", type=float, default=10, help="for each run (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="of all runs; medians are shown")
    parser.add_argument("--scale", type=int, default=ledger.TPCB_SCALE, help="of TPC-B")
    parser.add_argument("--numbers", type=int, default=1_000_000, help="to be topped up")
    parser.add_argument("--processes", type=int, default=2, help="of the switch")
    parser.add_argument("--large", type=int, default=0, help="numbers, beside 10,000; 0: not")
    parser.add_argument("--soak", type=float, default=0, help="minutes of load; 0: none")
    args = parser.parse_args()
    get_wrk()
    report = bench(os.environ["POPOLNI_DATABASE_URL"], args)
    print(json.dumps(report) if args.json else as_text(report))


def get_wrk() -> None:
    """Installs wrk where we may, or ends with the one line that says how to get it."""
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0 and not shutil.which("wrk"):
        subprocess.run([apt, "install", "-y", "wrk"], check=False, capture_output=True)
    find_wrk()


def find_wrk() -> str:
    """Where it is."""
    if path := shutil.which("wrk"):
        return path
    sys.exit("popolni: the load comes from wrk, which is not here: apt install wrk")


def bench(server: str, args: argparse.Namespace) -> dict[str, Any]:
    """All runs. `per_s` is the slower of one agent and fifty, over 256 connections."""
    with ExitStack() as stack:
        tpcb_url = stack.enter_context(scratch_database(server))
        ledger.pgbench("-i", "-q", "-s", str(args.scale), url=tpcb_url)
        world = stack.enter_context(switch(server, args.numbers, args.processes))
        tpcb: dict[int, list[float]] = {clients: [] for clients in TPCB_CLIENTS}
        results: list[Result] = []
        for _ in range(args.rounds):
            for clients, runs in tpcb.items():
                runs.append(ledger.tpcb_per_s(tpcb_url, args.seconds, clients))
            for agents, connections in product(AGENTS, CONNECTIONS):
                results.append(load(world, agents, connections, args.seconds))
        report = summary(tpcb, results)
        report |= {"processes": args.processes, "tpcb_scale": args.scale}
        report["bare_handler_per_s"] = bare_handler_per_s(world, args)
        if args.soak:
            report["soak"] = soak(world, args.soak)
    with ledger.ledger(server, SMALL) as url:
        run = ledger.Run(SMALL, "hot", ledger.HEADLINE_BATCH, 1)
        report["bare_ledger_per_s"] = round(ledger.measure(url, run, args.seconds))
    if args.large:
        report |= large_over_small(server, args)
    report["server_version"] = ledger.server_version(server)
    report["cpus"] = os.cpu_count()
    return report


def summary(tpcb: dict[int, list[float]], results: Sequence[Result]) -> dict[str, Any]:
    """The figures that were aimed at, and all the others."""
    tpcb_per_s = max(map(statistics.median, tpcb.values()))
    runs = [
        median_of([one for one in results if (one.agents, one.connections) == cell])
        for cell in sorted({(one.agents, one.connections) for one in results})
    ]
    per_s = min(run["per_s"] for run in runs if run["connections"] == HEADLINE_CONNECTIONS)
    tpcb_shown = round(tpcb_per_s)  # the ratio is that of the figures that are shown
    return {
        "tpcb_per_s": tpcb_shown,
        "per_s": per_s,
        "ratio": round(per_s / tpcb_shown, 2),
        "errors": sum(one.errors for one in results),
        "tpcb_runs_per_s": {
            clients: [round(run) for run in all_] for clients, all_ in tpcb.items()
        },
        "runs": runs,
        "all_runs": [asdict(one) for one in results],
    }


def median_of(results: Sequence[Result]) -> dict[str, Any]:
    """The medians of runs that are alike."""

    def median(name: str, digits: int | None) -> float:
        return round(statistics.median(float(getattr(one, name)) for one in results), digits)

    first = results[0]
    return {
        "numbers": first.numbers,
        "agents": first.agents,
        "connections": first.connections,
        "per_s": median("per_s", None),
        "p50_ms": median("p50_ms", 2),
        "p99_ms": median("p99_ms", 2),
        "answers": sum(one.answers for one in results),
        "errors": sum(one.errors for one in results),
    }


def as_text(report: dict[str, Any]) -> str:
    """The same for people."""
    lines = ["numbers     agents  connections  top-ups/s  × TPC-B   p50 ms   p99 ms"]
    lines += [
        f"{r['numbers']:>10,}  {r['agents']:>6}  {r['connections']:>11}  {r['per_s']:>9,}"
        f"  {r['per_s'] / report['tpcb_per_s']:>7.2f}  {r['p50_ms']:>7.2f}  {r['p99_ms']:>7.2f}"
        for r in report["runs"]
    ]
    lines += [
        f"TPC-B (pgbench, scale {report['tpcb_scale']}): {report['tpcb_per_s']:,} a second, the "
        f"best median of {report['tpcb_runs_per_s']} by clients",
        f"errors: {report['errors']}; every answer is in the log",
        f"the handler without a database: {report['bare_handler_per_s']:,} a second; "
        f"the ledger without HTTP, batch 1000: {report['bare_ledger_per_s']:,}",
    ]
    if "large_over_small" in report:
        lines.append(f"{report['large']:,} numbers beside {SMALL:,}: {report['large_over_small']}")
    if "soak" in report:
        lines.append(f"memory, MiB a minute: {report['soak']['rss_mib']}")
    return "\n".join(lines)


# The world


@contextmanager
def switch(server: str, numbers: int, processes: int) -> Iterator[World]:
    """A database with so many numbers, and processes of the switch that answer for it."""
    with migrated_scratch_database(server) as url:
        command = [sys.executable, "-m", "bench.osmp_world", str(numbers)]
        subprocess.run(command, env=environment(url), check=True)
        with serving(url, processes, "popolni.switch") as (address, process):
            world = World(numbers, url, address, process)
            warm_up(world, processes, AGENTS[-1])
            yield world


def environment(url: str) -> dict[str, str]:
    """Of a program that works on the database."""
    own = {
        "DJANGO_SETTINGS_MODULE": "popolni.settings",
        "POPOLNI_DATABASE_URL": url,
        "POPOLNI_SECRET_KEY": "of this benchmark and nothing else",
        "PYTHONPATH": os.pathsep.join(map(str, (PROJECT / "src", PROJECT))),
    }
    return {**os.environ, **own}


@contextmanager
def serving(url: str, processes: int, module: str) -> Iterator[tuple[str, psutil.Process]]:
    """A program that serves HTTP at an address of its own; its log goes when it ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module, "127.0.0.1", str(port)]
    own = environment(url) | {"POPOLNI_SWITCH_PROCESSES": str(processes)}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, env=own, stderr=log) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(address, process)
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when the program answers."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/readyz", timeout=2).close()  # noqa: S310  # ours
            return
        time.sleep(0.1)
    raise RuntimeError("the switch does not start")


def warm_up(world: World, processes: int, agents: int) -> None:
    """Every process verifies every agent's password once, and the server settles its plans."""
    for agent in AGENTS_OF_ALL[:agents]:
        code, _, basic = agent.partition("=")
        headers = {"Authorization": f"Basic {basic}"}
        for _ in range(4 * processes):  # connections are spread over the processes by chance
            ask = urllib.request.Request(f"{world.address}/osmp/{code}?command=", headers=headers)  # noqa: S310
            urllib.request.urlopen(ask, timeout=10).close()  # noqa: S310
    for connections in CONNECTIONS:
        wrk(world, agents, connections, WARM_UP_S)
    settle(world)


# The load


def load(world: World, agents: int, connections: int, seconds: float) -> Result:
    """One run of wrk. Raises RuntimeError if an answer was not 0, or is not in the log."""
    before, paid_before = settle(world)
    asked, well, badly, broken, micros, p50, p99, most, example = wrk(
        world, agents, connections, seconds
    )
    after, paid_after = settle(world)
    in_log = after - before
    result = Result(
        world.numbers, agents, connections, round(well / micros * 1e6), p50, p99, most, well,
        badly + broken, asked, in_log,
    )  # fmt: skip
    ledger.say(result)
    if result.errors:
        raise RuntimeError(f"{badly} bad answers, {broken} broken connections: {example}")
    if not well <= in_log <= asked or paid_after - paid_before != in_log * SUM_MINOR:
        raise RuntimeError(f"{well} of {asked} were answered, the log grew by {in_log}")
    return result


def wrk(
    world: World, agents: int, connections: int, seconds: float
) -> tuple[int, int, int, int, int, float, float, float, str]:
    """Asked, answered by 0, otherwise, broken connections, microseconds, latencies, an error."""
    words = [str(next(_runs)), str(world.numbers), str(FIRST - 1), SUM, *AGENTS_OF_ALL[:agents]]
    command = [
        find_wrk(), "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s",
        "--timeout", "10s", "-s", str(HERE / "osmp.lua"), world.address, "--", *words,
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(f"wrk says: {done.stdout} {done.stderr}")
    *figures, example = found[1].split(" ", 8)
    asked, well, badly, broken, micros = map(int, figures[:5])
    p50, p99, most = map(float, figures[5:])
    return asked, well, badly, broken, micros, p50, p99, most, example


def settle(world: World) -> tuple[int, int]:
    """How long the log is and what the floats paid, as soon as nothing is under way any more."""
    with psycopg.connect(world.database, autocommit=True) as connection:
        known = None
        while known != (known := _log_and_floats(connection)):
            time.sleep(SETTLE_S)
    return known


def _log_and_floats(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    row = connection.execute(
        "select last_seq, (select sum(debits_posted)::bigint from ledger.account"
        " where book = %(book)s and kind = %(kind)s and id between %(first)s and %(last)s)"
        " from ledger.book where book = %(book)s",
        {
            "book": BOOK,
            "kind": Kind.AGENT_FLOAT.value.code,
            "first": Kind.AGENT_FLOAT.account_id(1),
            "last": Kind.AGENT_FLOAT.account_id(SUBJECT_MAX),
        },
    ).fetchone()
    if row is None:
        raise RuntimeError(f"there is no book {BOOK}")
    return row[0], row[1]


def bare_handler_per_s(world: World, args: argparse.Namespace) -> int:
    """The same application where the desk answers at once: answers a second."""
    with serving(world.database, args.processes, "bench.osmp_bare") as (address, process):
        bare = replace(world, address=address, process=process)
        warm_up(bare, args.processes, 1)
        _, well, *_, micros = wrk(bare, 1, HEADLINE_CONNECTIONS, args.seconds)[:5]
    return round(well / micros * 1e6)


def large_over_small(server: str, args: argparse.Namespace) -> dict[str, Any]:
    """Many numbers beside few, in turn: the median of the ratios."""
    with (
        switch(server, SMALL, args.processes) as small,
        switch(server, args.large, args.processes) as big,
    ):
        runs = [
            load(world, 1, HEADLINE_CONNECTIONS, args.seconds)
            for _ in range(args.rounds)
            for world in (small, big)
        ]
    ratios = [many.per_s / few.per_s for few, many in zip(runs[::2], runs[1::2], strict=True)]
    return {
        "large": args.large,
        "large_over_small": round(statistics.median(ratios), 2),
        "large_runs": [asdict(one) for one in runs],
    }


def soak(world: World, minutes: float) -> dict[str, Any]:
    """A long load; the resident size of the switch's processes, together, minute by minute."""
    sizes = [rss_mib(world.process)]
    answers = 0
    for _ in range(max(1, round(minutes))):
        answers += load(world, AGENTS[-1], HEADLINE_CONNECTIONS, 60).answers
        sizes.append(rss_mib(world.process))
    return {"rss_mib": sizes, "answers": answers}


def rss_mib(process: psutil.Process) -> float:
    """Of a process and all below it."""
    processes = [process, *process.children(recursive=True)]
    return round(sum(one.memory_info().rss for one in processes) / MIB, 1)


if __name__ == "__main__":
    main()
