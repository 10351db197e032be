"""The command line: ``popolni COMMAND …``.

A command is a pair of functions: ``add_NAME`` declares it, and is listed in ``COMMANDS``;
``run_NAME`` does it and returns the exit status. What a command needs it imports inside its
``run_NAME``, so that ``popolni --help`` does not wait for Django.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from popolni import __version__
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

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


def add_demo(subparsers: "Subparsers") -> None:
    """Declare ``popolni demo``."""
    parser = subparsers.add_parser("demo", help="run with demo data, until Ctrl-C")
    add_data(parser)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier demo did")
    parser.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo."""
    from popolni.embedded.demo import demo

    return demo(args.data, fresh=args.fresh)


def add_verify(subparsers: "Subparsers") -> None:
    """Declare ``popolni verify``."""
    parser = subparsers.add_parser("verify", help="prove the books: recompute every account")
    add_data(parser)
    parser.add_argument("--book", type=int, metavar="N", help="only this book")
    parser.add_argument(
        "--since",
        type=read_date,
        metavar="DATE",
        help="only transfers since then (2026-01-31, or with a time) and the accounts they touched",
    )
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Verify, and print what was found."""
    from popolni.embedded.database import database
    from popolni.ledger.verify import main as verify

    with database(args.data) as url:
        return verify(url, book=args.book, since=args.since)


BENCHES = ("ledger", "codec")


def add_bench(subparsers: "Subparsers") -> None:
    """Declare ``popolni bench``."""
    parser = subparsers.add_parser("bench", help="measure, beside pgbench on the same server")
    parser.add_argument("what", choices=BENCHES)
    add_data(parser, "; without it, a folder of its own that is removed again")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTION")
    parser.set_defaults(run=run_bench)


def run_bench(args: argparse.Namespace) -> int:
    """Run a benchmark, which lies beside the source."""
    import subprocess
    import tempfile

    from popolni.embedded.database import database

    program = PROJECT / "bench" / f"{args.what}.py"
    if not program.is_file():
        raise UserError(f"the benchmarks are not here: {program} is missing")
    with (
        tempfile.TemporaryDirectory(prefix="popolni-bench-") as own,
        database(args.data or Path(own) / "data") as url,
    ):
        environment = {**os.environ, "POPOLNI_DATABASE_URL": url}
        command = [sys.executable, str(program), *args.options]
        return subprocess.run(command, env=environment, check=False).returncode


def add_data(parser: argparse.ArgumentParser, otherwise: str = "") -> None:
    """Declare ``--data``, for what needs the database."""
    own = "a folder for the embedded PostgreSQL (POPOLNI_DATABASE_URL, where set, goes first)"
    parser.add_argument("--data", type=Path, metavar="DIR", help=own + otherwise)


def read_date(text: str) -> "datetime":
    """Read a date, or a date and time; without a time zone it is UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date such as 2026-01-31 or 2026-01-31T12:00+03:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


COMMANDS = (add_demo, add_verify, add_bench, add_test)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what goes wrong is one line for a person."""
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
    except BrokenPipeError:
        # Python flushes once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def run(argv: Sequence[str]) -> int:
    """Read the command line and run the command that it names."""
    parser = argparse.ArgumentParser(
        prog="popolni",
        description="Money handed over anywhere becomes balance on a prepaid number.",
        allow_abbrev=False,
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
    message = f"there is no command {word!r}; {hint}"
    raise UserError(message)
