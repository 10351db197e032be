"""The command line: ``popolni COMMAND …``.

A command is a pair of functions: ``add_NAME`` declares it, and is listed in ``COMMANDS``;
``run_NAME`` does it and returns the exit status. What a command needs it imports inside its
``run_NAME``, so that ``popolni --help`` does not wait for Django.
"""

import argparse
import difflib
import errno
import io
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from popolni import __version__
from popolni.commands.branches import add_branches
from popolni.commands.common import (
    Parser,
    add_data,
    existing_database,
    read_book,
    read_date,
    read_decimal,
    read_whole,
    shown,
)
from popolni.commands.numbering import add_number, add_numbering
from popolni.commands.programs import add_demo, add_secrets, add_serve
from popolni.commands.readers import add_readers
from popolni.commands.reconcile import add_reconcile
from popolni.commands.staff import add_staff
from popolni.commands.subscribers import add_balance, add_documents, add_subscribers
from popolni.commands.switch import add_switch
from popolni.commands.usage import add_usage
from popolni.commands.worker import add_worker
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers

INTERRUPTED = 128 + 2  # what a shell reports for a program that SIGINT ended
BROKEN_PIPE = 128 + 13


PROJECT = Path(__file__).resolve().parents[2]


def add_test(subparsers: "Subparsers") -> None:
    """Declare ``popolni test``."""
    parser = subparsers.add_parser(
        "test",
        help="run all checks, or only the named ones",
        usage="popolni test [PART ...]",
        prefix_chars="\0",  # every word is a part, for pytest's own options are parts too
        add_help=False,
    )
    parser.add_argument("parts", nargs=argparse.REMAINDER, metavar="PART")
    parser.set_defaults(run=run_test)


def run_test(args: argparse.Namespace) -> int:
    """Become the test runner, which lies beside the tests."""
    runner = PROJECT / "tests" / "run.py"
    if not runner.is_file():
        message = f"the tests are not here: {runner} is missing"
        raise UserError(message)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(runner), *args.parts])  # noqa: S606 # no shell


def add_verify(subparsers: "Subparsers") -> None:
    """Declare ``popolni verify``."""
    parser = subparsers.add_parser("verify", help="prove the books: recompute every account")
    add_data(parser)
    parser.add_argument("--book", type=read_book, metavar="N", help="only this book")
    parser.add_argument(
        "--since",
        type=read_date,
        metavar="DATE",
        help="only transfers since then (2026-01-31, or with a time) and the accounts they touched",
    )
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Verify, and print what was found."""
    from popolni.ledger.verify import main as verify

    with existing_database(args.data) as url:
        return verify(url, book=args.book, since=args.since)


class Bench(NamedTuple):
    """A benchmark: what it measures; its options with default, least and meaning, if it has any.

    Without options it needs no database.
    """

    text: str
    options: dict[str, tuple[float, float, str]] | None


BENCHES = {
    "ledger": Bench("transfers a second, beside pgbench's TPC-B on the same server", {
        "--seconds": (5.0, 0.01, "for each run"),
        "--large": (5_000_000, 4, "accounts"),
    }),
    "osmp": Bench("top-ups a second over HTTP, beside pgbench's TPC-B on the same server", {
        "--seconds": (10.0, 1, "for each run"),
        "--rounds": (3, 1, "of all runs; medians are shown"),
        "--scale": (50, 1, "of TPC-B"),
        "--numbers": (1_000_000, 1, "to be topped up"),
        "--processes": (2, 1, "of the switch"),
        "--large": (0, 0, "numbers, to compare with 10,000; 0: not"),
        "--soak": (0, 0, "minutes of load at the end, for its memory; 0: none"),
    }),
    "usage": Bench("events of use charged a second, beside pgbench's TPC-B on the same server", {
        "--seconds": (5.0, 0.01, "for each run"),
        "--numbers": (20_000, 100, "that use"),
        "--scale": (50, 1, "of TPC-B"),
    }),
    "numbering": Bench("importing and looking up the numbering plan, beside a plain copy", {
        "--ranges": (450_000, 1_000, "in all"),
    }),
    "subscribers": Bench("loading subscribers from a file", {
        "--numbers": (200_000, 1_000, "to load"),
    }),
    "renewals": Bench("renewing all that is due in one midnight, beside pgbench's TPC-B", {
        "--numbers": (100_000, 10, "that are due"),
        "--processes": (2, 1, "that renew them"),
        "--scale": (50, 1, "of TPC-B"),
    }),
    "office": Bench("the back office's lists, beside counted ones", {
        "--subscribers": (5_000_000, 1_000, "in the lists"),
        "--rounds": (15, 1, "for each page"),
    }),
    "reconcile": Bench("comparing a registry with the log, beside a plain copy of it", {
        "--lines": (1_000_000, 1_000, "of the registry"),
    }),
    "codec": Bench("what writing a batch down costs, beside the driver's own way", None),
}  # fmt: skip


def add_bench(subparsers: "Subparsers") -> None:
    """Declare ``popolni bench``."""
    parser = subparsers.add_parser("bench", help="measure, beside something well known")
    benches = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    for name, (text, options) in BENCHES.items():
        bench = benches.add_parser(name, help=text)
        bench.set_defaults(run=run_bench)
        if options is None:
            continue
        add_data(bench, "; without it, a folder of its own that is removed again")
        bench.add_argument("--json", action="store_true", help="one JSON object")
        for option, (default, _least, meaning) in options.items():
            read = read_whole if isinstance(default, int) else read_decimal
            help_ = f"{meaning} ({default:,})"
            bench.add_argument(option, type=read, default=default, help=help_)


def run_bench(args: argparse.Namespace) -> int:
    """Run a benchmark, which lies beside the source."""
    import tempfile

    from popolni.embedded.database import database

    program = PROJECT / "bench" / f"{args.what}.py"
    if not program.is_file():
        raise UserError(f"the benchmarks are not here: {program} is missing")
    command = [sys.executable, str(program)]
    options = BENCHES[args.what].options
    if options is None:
        return run_program(command, {})
    for option, (_default, least, _meaning) in options.items():
        value = getattr(args, option.removeprefix("--"))
        if value < least:
            raise UserError(f"{option} is at least {least}")
        command += [option, str(value)]
    command += ["--json"] if args.json else []
    with (
        tempfile.TemporaryDirectory(prefix="popolni-bench-") as own,
        database(args.data or Path(own) / "data") as url,
    ):
        path = os.pathsep.join((str(PROJECT / "src"), str(PROJECT)))  # they share code
        return run_program(command, {"POPOLNI_DATABASE_URL": url, "PYTHONPATH": path})


def run_program(command: list[str], environment: dict[str, str]) -> int:
    """Run a program to its end; Ctrl-C reaches it too, and it is given the time to clean up."""
    import subprocess

    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


COMMANDS = (
    add_demo,
    add_serve,
    add_worker,
    add_readers,
    add_switch,
    add_secrets,
    add_staff,
    add_branches,
    add_balance,
    add_number,
    add_numbering,
    add_subscribers,
    add_documents,
    add_usage,
    add_reconcile,
    add_verify,
    add_bench,
    add_test,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what goes wrong is one line for a person."""
    prepare_output()
    try:
        try:
            return run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()  # here, where a broken pipe is still caught
    except UserError as error:
        print(f"popolni: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        if not (is_full or isinstance(error, BrokenPipeError)):
            raise
        # Python flushes once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not is_full:
            return BROKEN_PIPE
        what = error.filename or "the output"
        print(f"popolni: {what} cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def prepare_output() -> None:
    """Whatever the terminal is, no letter of ours and no closed stream is an error."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as we run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def run(argv: Sequence[str]) -> int:
    """Read the command line and run the command that it names."""
    parser = Parser(
        prog="popolni",
        description="Money handed over anywhere becomes balance on a prepaid number.",
    )
    parser.add_argument("--version", action="version", version=f"popolni {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add_command in COMMANDS:
        add_command(subparsers)
    if not argv:
        parser.print_help()
        return 2
    check_command(argv[0], subparsers.choices)
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


def check_command(word: str, commands: Collection[str]) -> None:
    """Refuse a word that is no command, more helpfully than argparse would."""
    if word.startswith("-") or word in commands:
        return
    close = difflib.get_close_matches(word, commands, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(commands)}"
    message = f"there is no command {shown(word)}; {hint}"
    raise UserError(message)
