"""How long it takes to load subscribers from a file, and to read a balance among them.

    ./popolni bench subscribers [--numbers N] [--json]

It makes a database of its own on that server and drops it again. `a_million_s` is what the same
rate would take for a million: an extrapolation, unless `--numbers 1000000` measures it.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from popolni.embedded.scratch import migrated_scratch_database

BOOKS = (20_001, 20_002)
FIRST = 79_250_000_000
BALANCES = 1_000


def main() -> None:
    """Prints a few lines, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with migrated_scratch_database(os.environ["POPOLNI_DATABASE_URL"]) as url:
        report = measure(url, args.numbers)
    text = "\n".join(f"{name:<28}{value:>12,}" for name, value in report.items())
    print(json.dumps(report) if args.json else text)


def measure(url: str, numbers: int) -> dict[str, Any]:
    """All figures; times in seconds."""
    os.environ |= {"POPOLNI_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
    os.environ.setdefault("POPOLNI_SECRET_KEY", "for this benchmark and nothing else")
    import django  # noqa: PLC0415  # it reads its settings, which name the database made above

    django.setup()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "subscribers.csv"
        write(path, numbers, branches())
        first_s, opened = timed_load(path)
        again_s, again = timed_load(path)
    assert (opened, again) == (numbers, 0)  # noqa: S101  # a benchmark of something else
    return {
        "numbers": numbers,
        "load_s": round(first_s, 1),
        "numbers_per_s": round(numbers / first_s),
        "a_million_s": round(first_s * 1_000_000 / numbers),
        "same_file_again_s": round(again_s, 1),
        "balance_ms": round(balance_ms(numbers), 2),
        "faults": faults(url),
        "cpus": os.cpu_count() or 0,
    }


def branches() -> list[str]:
    """The codes of two branches, each with its book."""
    from popolni.catalog.operators.models import (  # noqa: PLC0415  # Django is ready only now
        ComplianceProfile,
        Operator,
    )
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415  # the same

    profile = ComplianceProfile.objects.create(name="bench", day_max_minor=1, month_max_minor=1)
    operator = Operator.objects.create(
        name_ru="О", name_en="O", name_zh="O", code="bench", colour="#112233", mnc="25",
        balance_ussd="*100#", profile=profile,
    )  # fmt: skip
    codes = [f"bench-{book}" for book in BOOKS]
    for code, book in zip(codes, BOOKS, strict=True):
        open_branch(operator, code=code, book=book, name_ru="Ф", name_en="B", name_zh="分")
    return codes


def write(path: Path, numbers: int, codes: list[str]) -> None:
    """A file of people in two branches, nine in ten of them with money."""
    random = Random(1)  # noqa: S311  # the same file every time
    with path.open("w", encoding="utf-8") as file:
        file.write("number,branch,name,language,balance_minor,status\n")
        for number in range(FIRST, FIRST + numbers):
            money = random.randrange(1, 1_000_00) if random.random() < 0.9 else 0
            file.write(f"{number},{random.choice(codes)},Иванова Анна {number},ru,{money},\n")


def timed_load(path: Path) -> tuple[float, int]:
    """Seconds that a load takes, and how many numbers it opened."""
    from popolni.subscribers.load import load  # noqa: PLC0415  # Django is ready only now

    start = time.perf_counter()
    loaded = load(path)
    return time.perf_counter() - start, loaded.opened


def balance_ms(numbers: int) -> float:
    """Milliseconds for one balance, the mean of many."""
    from popolni.subscribers.service import balance  # noqa: PLC0415  # Django is ready only now

    random = Random(2)  # noqa: S311  # the same numbers every time
    balance(FIRST)
    start = time.perf_counter()
    for _ in range(BALANCES):
        balance(FIRST + random.randrange(numbers))
    return (time.perf_counter() - start) / BALANCES * 1000


def faults(url: str) -> int:
    """What the auditor finds."""
    from popolni.ledger.verify import verify  # noqa: PLC0415  # beside the others

    return verify(url, on_fault=print).faults


if __name__ == "__main__":
    main()
