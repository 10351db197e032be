"""``popolni usage``: charging what numbers used."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from popolni.commands.common import add_data, count, django_on_database, progress_bar
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers
    from popolni.subscribers.usage.answers import Answer
    from popolni.subscribers.usage.files import Charged

STANDARD_INPUT = "-"
PROGRESS_EVERY = 1_000
ANSWERS = ("line", "identifier", "covered", "reason", "money_minor", "receipt", "repeated")


def add_usage(subparsers: "Subparsers") -> None:
    """Declare ``popolni usage``."""
    parser = subparsers.add_parser(
        "usage", help="charge calls, data and messages to allowances and money"
    )
    parser.add_argument(
        "--file",
        required=True,
        metavar="FILE",
        help="UTF-8, with the first line identifier,number,unit,amount,started_at;"
        " - is standard input",
    )
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="write what became of each event there, as CSV"
    )
    parser.add_argument("--json", action="store_true", help="the sums as one JSON object")
    add_data(parser)
    parser.set_defaults(run=run_usage)


def run_usage(args: argparse.Namespace) -> int:
    """Charge a file; exit status 1 if a line of it was rejected."""
    with ExitStack() as stack:
        file = stack.enter_context(_opened(args.file))
        write = stack.enter_context(_answers_to(args.answers))
        stack.enter_context(django_on_database(args.data))
        done = _charge(file, write)
    print(as_json(done) if args.json else as_text(done))
    return 1 if done.rejected else 0


def _charge(file: BinaryIO, write: "Callable[[int, Answer], None]") -> "Charged":
    """Charges a file; lines that are rejected go to standard error, as they come."""
    from tqdm import tqdm

    from popolni.ledger.errors import LedgerError
    from popolni.readers.usage_warnings import tell
    from popolni.subscribers.usage.files import charge_file

    size = _size(file)
    with progress_bar() as progress:

        def answered(line: int, answer: "Answer") -> None:
            write(line, answer)
            if size and line % PROGRESS_EVERY == 0:
                progress("charging", file.tell(), size)

        try:
            return charge_file(
                file,
                on_problem=lambda line, why: tqdm.write(f"line {line}: {why}", file=sys.stderr),
                on_answer=answered,
                warn=tell,
            )
        except LedgerError as error:
            raise UserError(
                f"the ledger cannot be asked ({error}): charge the file again, what is charged"
                " stays so",
                exit_status=1,
            ) from error


def _size(file: BinaryIO) -> int:
    """How long the file is, in bytes; 0 for a stream, which nobody knows the length of."""
    if not file.seekable():
        return 0
    place, size = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(place)
    return size


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # what is raised inside is not about it
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _answers_to(path: Path | None) -> Iterator[Callable[[int, "Answer"], None]]:
    """Where each answer is written, if anywhere."""
    if path is None:
        yield lambda _line, _answer: None
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(ANSWERS)
        yield lambda line, answer: rows.writerow(_row(line, answer))


def _row(line: int, answer: "Answer") -> list[object]:
    book, seq = answer.place or (0, 0)
    return [
        line,
        answer.event.identifier,
        answer.covered,
        answer.reason or "",
        answer.money_minor,
        f"{book}-{seq}",
        "yes" if answer.is_repeat else "no",
    ]


def as_json(done: "Charged") -> str:
    """The sums as programs read them."""
    return json.dumps({field.name: getattr(done, field.name) for field in fields(done)})


def as_text(done: "Charged") -> str:
    """The sums as people read them."""
    refused = sum(done.refused.values())
    lines = [
        f"{count(done.charged, 'event')} charged, {done.cut:,} cut, {refused:,} refused,"
        f" {done.repeated:,} answered before; {count(done.rejected, 'line')} rejected",
        _listed("refused", {why.replace("_", " "): some for why, some in done.refused.items()}),
        _listed("used", {f"{unit}s": amount for unit, amount in done.used.items()}),
        _listed("paid, in minor units", done.money_minor),
        _listed("warnings", {what.replace("_", " "): n for what, n in done.warnings.items()}),
    ]
    return "\n".join(filter(None, lines))


def _listed(what: str, sums: dict[str, Any]) -> str:
    return f"{what}: " + ", ".join(f"{n:,} {name}" for name, n in sums.items()) if sums else ""
