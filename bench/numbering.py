"""How fast the numbering plan is imported and looked up, beside a plain ``\\copy`` of it.

    ./popolni bench numbering [--json] [--ranges N]

On a database of its own, dropped again. Four imports (all new; the same again; every tenth range
with another carrier), the `\\copy` of the same rows into a table without an index before, between
and after, since the speed of a machine drifts. `copy_ratio` is the first import over the `\\copy`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from popolni.embedded.postgres import binary
from popolni.embedded.scratch import migrated_scratch_database

SEED = 3
GROUPS = {3: "ABC-3xx.csv", 4: "ABC-4xx.csv", 8: "ABC-8xx.csv", 9: "DEF-9xx.csv"}
CARRIERS, REGIONS = 1_500, 8_000
LOOKUPS = 200_000
PORTED = 1_000_000
DATABASE_LOOKUPS = 1_000


def main() -> None:
    """Prints a few lines, or one JSON object."""
    parser = argparse.ArgumentParser(prog="popolni bench numbering", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--ranges", type=int, default=450_000, help="in all (default 450000)")
    args = parser.parse_args()
    with migrated_scratch_database(os.environ["POPOLNI_DATABASE_URL"]) as url:
        report = bench(url, args.ranges)
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name:22} {value:,}" for name, value in report.items()))


def bench(url: str, ranges: int) -> dict[str, Any]:
    """All of it, in seconds and look-ups a second."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    import django  # noqa: PLC0415  # it reads the variables

    django.setup()
    from popolni.catalog.numbering.service import import_ranges  # noqa: PLC0415  # after set-up

    with tempfile.TemporaryDirectory(prefix="popolni-bench-") as folder:
        paths = write_plan(Path(folder), ranges, moved=False)
        copies = [copy_plainly(url, paths)]
        first_s = seconds(lambda: import_ranges(paths))
        copies.append(copy_plainly(url, paths))
        again_s = seconds(lambda: import_ranges(paths))
        paths = write_plan(Path(folder), ranges, moved=True)
        moved_s = seconds(lambda: import_ranges(paths))
        copies.append(copy_plainly(url, paths))
        ported_s = import_numbers(Path(folder))
    copy_s = median(copies)
    return {
        "ranges": ranges,
        "copy_s": round(copy_s, 2),
        "import_s": round(first_s, 2),
        "copy_ratio": round(first_s / copy_s, 1),
        "import_again_s": round(again_s, 2),
        "import_tenth_moved_s": round(moved_s, 2),
        "import_million_ported_s": round(ported_s, 2),
        **lookups(),
    }


def import_numbers(folder: Path) -> float:
    """A million ported numbers."""
    from popolni.catalog.numbering.service import import_ported  # noqa: PLC0415  # after set-up

    path = folder / "ported.csv"
    lines = (f"{9_000_000_000 + n * 991},{n % 3:02},2020-01-01\n" for n in range(PORTED))
    path.write_text("Number,MNC,PortDate\n" + "".join(lines))
    return seconds(lambda: import_ported(path))


def lookups() -> dict[str, float]:
    """By the directory, and straight from the database."""
    from popolni.catalog.numbering.service import load_directory, lookup  # noqa: PLC0415  # as above

    began = time.perf_counter()
    directory = load_directory()
    load_s = time.perf_counter() - began
    random = Random(SEED)  # noqa: S311  # repeatable
    numbers = [70_000_000_000 + random.randrange(3 * 10**9, 10**10) for _ in range(LOOKUPS)]
    directory_s = seconds(lambda: [directory.lookup(number) for number in numbers])
    database_s = seconds(lambda: [lookup(number) for number in numbers[:DATABASE_LOOKUPS]])
    return {
        "directory_load_s": round(load_s, 2),
        "directory_lookups_per_s": round(LOOKUPS / directory_s),
        "database_lookups_per_s": round(DATABASE_LOOKUPS / database_s),
    }


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_plan(folder: Path, ranges: int, *, moved: bool) -> list[Path]:
    """A file for each group, as the regulator's: the same whenever it is called."""
    random = Random(SEED)  # noqa: S311  # repeatable
    paths = []
    for group, name in GROUPS.items():
        rows = plan_rows(random, group, ranges // len(GROUPS), moved=moved)
        path = folder / name
        header = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН\n"
        path.write_text("\ufeff" + header + "".join(rows), encoding="utf-8")
        paths.append(path)
    return paths


def plan_rows(random: Random, group: int, count: int, *, moved: bool) -> Iterator[str]:
    """Ranges of all sizes side by side, with gaps."""
    step = 10**9 // count
    for n in range(count):
        code, first = divmod(n * step, 10**7)
        size = min(random.choice((100, 1_000, step)), step, 10**7 - first)
        carrier = random.randrange(CARRIERS) + (moved and n % 10 == 0)
        region = random.randrange(REGIONS)
        yield (
            f"{group}{code:02};{first:07};{first + size - 1:07};{size};"
            f'ООО "Связь {carrier}";г. Город {region}|Область {region % 85};'
            f"Область {region % 85};{7_700_000_000 + carrier}\n"
        )


def copy_plainly(url: str, paths: list[Path]) -> float:
    """The same files with psql into a table without an index, as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists plain")
        columns = ", ".join(f"c{n} text" for n in range(8))
        connection.execute(sql.SQL("create table plain ({})").format(sql.SQL(columns)))
    copies = (
        f"\\copy plain from '{path}' with (format csv, delimiter ';', header, quote E'\\b')"
        for path in paths
    )
    words = [word for copy in copies for word in ("-c", copy)]
    command = [str(binary("psql")), "-q", "-X", "-v", "ON_ERROR_STOP=1", *words]
    parts = conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    login = {names[key]: str(value) for key, value in parts.items() if key in names}
    login |= {"PGDATABASE": str(parts["dbname"])}
    return seconds(lambda: subprocess.run(command, env={**os.environ, **login}, check=True))


if __name__ == "__main__":
    main()
