"""How fast a registry is compared with the log, beside a plain ``\\copy`` of the same file.

    ./popolni bench reconcile [--json] [--lines N]

On a database of its own, dropped again. The log gets as many top-ups as the file has lines, with a
thousand differences of each kind planted, and they must be found exactly. The `\\copy` of the file
into a table without an index runs before and after, since the speed of a machine drifts. The
comparison is a process of its own (`popolni reconcile`), so its peak memory is that of nothing
else; it runs for a tenth of the file as well, to see whether memory grows with it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from popolni.embedded.postgres import binary
from popolni.embedded.scratch import migrated_scratch_database

DAY = date(2026, 11, 20)
BOOK, AGENT = 1, "bench"
FIRST = 79_160_000_000
NUMBERS = 1_000_000
EACH = 1_000
"""Differences of each kind, of a million lines; fewer of fewer."""
KINDS = ("only_ours", "only_theirs", "sum_differs", "number_differs", "date_differs")


class Size(NamedTuple):
    """How many lines, and how many differences of each kind."""

    lines: int
    each: int


def main() -> None:
    """Prints a few lines, or one JSON object."""
    parser = argparse.ArgumentParser(prog="popolni bench reconcile", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--lines", type=int, default=1_000_000, help="(default 1000000)")
    args = parser.parse_args()
    with migrated_scratch_database(os.environ["POPOLNI_DATABASE_URL"]) as conninfo:
        report = bench(as_url(conninfo), args.lines)
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name:22} {value:,}" for name, value in report.items()))


def as_url(conninfo: str) -> str:
    """As the variable of a command that a person starts has it."""
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    return (
        f"postgresql:///{quote(parts.pop('dbname'), safe='')}?{urlencode(parts, quote_via=quote)}"
    )


def bench(url: str, lines: int) -> dict[str, Any]:
    """All of it, in seconds, lines a second and MB."""
    size, tenth = sized(lines), sized(lines // 10)
    agent_id = prepare(url)
    with tempfile.TemporaryDirectory(prefix="popolni-bench-") as folder:
        whole, part = Path(folder) / "whole.csv", Path(folder) / "tenth.csv"
        fill(url, agent_id, tenth, "t", DAY.replace(day=10))
        write_file(part, tenth, "t", DAY.replace(day=10))
        fill(url, agent_id, size, "w", DAY)
        write_file(whole, size, "w", DAY)
        copies = [copy_plainly(url, whole)]
        small = compare(url, part, DAY.replace(day=10), tenth)
        large = compare(url, whole, DAY, size)
        copies.append(copy_plainly(url, whole))
    copy_s = median(copies)
    return {
        "lines": lines,
        "file_mb": round(large["file_mb"]),
        "differences": len(KINDS) * size.each,
        "copy_s": round(copy_s, 1),
        "compare_s": round(large["seconds"], 1),
        "copy_ratio": round(round(large["seconds"], 1) / round(copy_s, 1), 1),
        "lines_per_s": round(lines / large["seconds"]),
        "peak_mb": large["peak_mb"],
        "peak_mb_tenth": small["peak_mb"],
    }


def sized(lines: int) -> Size:
    """So many lines, of which at most a tenth differ."""
    return Size(lines, min(EACH, lines // 50))


def prepare(url: str) -> int:
    """A branch, an agent with a float, a layout; the agent's key."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    import django  # noqa: PLC0415  # it reads the variables

    django.setup()
    from popolni.agents.models import Agent  # noqa: PLC0415  # after set-up
    from popolni.agents.service import open_contract  # noqa: PLC0415
    from popolni.catalog.operators.models import ComplianceProfile, Operator  # noqa: PLC0415
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415
    from popolni.reconciliation.models import RegistryLayout  # noqa: PLC0415

    profile = ComplianceProfile.objects.create(name="bench", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        code="bench", name_ru="О", name_en="O", name_zh="运", colour="#000000", mnc="98",
        balance_ussd="*1#", profile=profile,
    )  # fmt: skip
    branch = open_branch(operator, code="bench", book=BOOK, name_ru="О", name_en="O", name_zh="运")
    agent = Agent.objects.create(code=AGENT, name=AGENT)
    open_contract(agent, branch, reference=AGENT)
    RegistryLayout.objects.create(agent=agent, channel="osmp")
    return int(agent.pk)


# The log as a day of top-ups leaves it, written straight: what is measured only reads it. One in
# ten is spread over the night, so that references come in another order than moments. The last
# lines are planted: the first `each` of them only in the log, the next only in the file, and so on.
_FILL = """
    insert into ledger.transfer (
        seq, id, debit_account, credit_account, amount, created_at, book, code, flags,
        reference_at, reference
    )
    select
        %(after)s + n,
        gen_random_uuid(),
        201000000000000000 + %(agent)s,
        101000000000000000 + %(first)s + n %% %(numbers)s,
        100 + n %% 9000,
        %(begin)s::timestamptz + (3600 + 79200.0 * n / %(lines)s) * interval '1 second',
        %(book)s, 15, 0,
        %(begin)s::timestamptz + (3600 + (79200.0 * n / %(lines)s)::integer) * interval '1 second',
        %(prefix)s || (n::bigint * 7919 %% 100000000007)
    from generate_series(1, %(lines)s) as n
    where n <= %(lines)s - %(each)s
"""


def fill(url: str, agent_id: int, size: Size, prefix: str, day: date) -> None:
    """As many top-ups as lines, but for those that only the file has."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC).replace(hour=0)
    with psycopg.connect(url, autocommit=True) as connection:
        (after,) = connection.execute("select last_seq from ledger.book").fetchone() or (0,)
        connection.execute(
            _FILL,
            {
                "after": after, "agent": agent_id, "first": FIRST, "numbers": NUMBERS,
                "begin": f"{day.isoformat()} 00:00:00+03", "lines": size.lines, "book": BOOK,
                "prefix": prefix, "each": size.each,
            },
        )  # fmt: skip
        connection.execute(
            "update ledger.book set last_seq = %s, last_at = %s", (after + size.lines, begin)
        )
        connection.execute("vacuum analyze ledger.transfer")


def write_file(path: Path, size: Size, prefix: str, day: date) -> None:
    """The agent's registry of the same."""
    with path.open("w", encoding="ascii", newline="") as file:
        file.writelines(file_lines(size, prefix, day))


def file_lines(size: Size, prefix: str, day: date) -> Iterator[str]:
    """Each as `_FILL` writes it, but for what is planted at the end."""
    lines, each = size
    own, wrong_sum, wrong_number, wrong_date = (lines - k * each for k in (2, 3, 4, 5))
    midnight = f"{day:%Y%m%d}"
    other_day = f"{day.replace(day=day.day - 3):%Y%m%d}"
    for n in range(1, lines + 1):
        if own < n <= lines - each:
            continue  # only ours
        second = 3600 + half_even(79200 * n, lines)
        clock = f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
        amount = 100 + n % 9000 + (wrong_sum < n <= own)
        number = FIRST + n % NUMBERS + (wrong_number < n <= wrong_sum)
        date_ = other_day if wrong_date < n <= wrong_number else midnight
        yield (
            f"{prefix}{n * 7919 % 100000000007};{date_}{clock};{number};"
            f"{amount // 100}.{amount % 100:02};{n}\r\n"
        )


def half_even(whole: int, parts: int) -> int:
    """As PostgreSQL rounds a numeric to an integer: a half away from zero."""
    return (2 * whole + parts) // (2 * parts)


def compare(url: str, path: Path, day: date, size: Size) -> dict[str, float]:
    """A run as a person starts it; what it found is what was planted."""
    command = [
        sys.executable, "-m", "popolni", "reconcile", AGENT, str(path), "--day", day.isoformat(),
        "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "POPOLNI_DATABASE_URL": url}, stdout=subprocess.PIPE
    )
    output = process.stdout.read() if process.stdout else b""
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 1:
        raise SystemExit(f"it found nothing, or failed: {output!r}")
    report = json.loads(output)
    found = [report[kind] for kind in KINDS]
    wanted = [size.each] * len(KINDS)
    if found != wanted or report["matched"] != size.lines - len(KINDS) * size.each:
        raise SystemExit(f"planted {wanted}, found {found}, {report}")
    return {
        "seconds": seconds,
        "peak_mb": peak_mb(usage),
        "file_mb": path.stat().st_size / 1e6,
    }


def peak_mb(usage: resource.struct_rusage) -> int:
    """What the process held at most; macOS counts it in bytes."""
    per_mb = 1024**2 if sys.platform == "darwin" else 1024
    return round(usage.ru_maxrss / per_mb)


def copy_plainly(url: str, path: Path) -> float:
    """The file with psql into a table without an index, as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists plain")
        columns = ", ".join(f"c{n} text" for n in range(5))
        connection.execute(sql.SQL("create table plain ({})").format(sql.SQL(columns)))
    command = [str(binary("psql")), "-q", "-X", "-v", "ON_ERROR_STOP=1"]
    command += ["-c", f"\\copy plain from '{path}' with (format csv, delimiter ';')"]
    parts = conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    login = {names[key]: str(value) for key, value in parts.items() if key in names}
    login |= {"PGDATABASE": str(parts["dbname"])}
    began = time.perf_counter()
    subprocess.run(command, env={**os.environ, **login}, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
