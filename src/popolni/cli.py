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
from typing import TYPE_CHECKING, Any, NoReturn

from popolni import __version__
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

    Subparsers = argparse._SubParsersAction["Parser"]

INTERRUPTED = 128 + 2  # what a shell reports for a program that SIGINT ended
BROKEN_PIPE = 128 + 13


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, and takes no half of an option's name for the whole."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """One line, and where to look."""
        raise UserError(f"{message} (see {self.prog} --help)")


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
    from popolni.embedded.database import VARIABLE, database
    from popolni.embedded.postgres import default_data
    from popolni.ledger.verify import main as verify

    data = args.data or default_data().expanduser()
    if not os.environ.get(VARIABLE) and not (data / "postgres").exists():
        raise UserError(f"there is no ledger in {data} yet: ./popolni demo makes one")
    with database(data) as url:
        return verify(url, book=args.book, since=args.since)


BENCHES = {
    "ledger": "transfers a second, beside pgbench's TPC-B on the same server",
    "codec": "what writing a batch down costs, beside the driver's own way",
}


def add_bench(subparsers: "Subparsers") -> None:
    """Declare ``popolni bench``."""
    parser = subparsers.add_parser("bench", help="measure, beside something well known")
    benches = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    for name, text in BENCHES.items():
        bench = benches.add_parser(name, help=text)
        bench.set_defaults(run=run_bench, options=())
        if name == "ledger":
            add_data(bench, "; without it, a folder of its own that is removed again")
            bench.add_argument("--json", action="store_true", help="one JSON object")
            bench.add_argument("--seconds", type=float, default=5, help="for each run (5)")
            bench.add_argument("--large", type=int, default=5_000_000, help="accounts (5000000)")


def run_bench(args: argparse.Namespace) -> int:
    """Run a benchmark, which lies beside the source."""
    import tempfile

    from popolni.embedded.database import database

    program = PROJECT / "bench" / f"{args.what}.py"
    if not program.is_file():
        raise UserError(f"the benchmarks are not here: {program} is missing")
    if args.what == "codec":
        return run_program([sys.executable, str(program)], {})
    if args.seconds <= 0 or args.large < 4:
        raise UserError("--seconds is more than 0 and --large at least 4")
    command = [sys.executable, str(program), "--seconds", str(args.seconds)]
    command += ["--large", str(args.large), *(["--json"] if args.json else [])]
    with (
        tempfile.TemporaryDirectory(prefix="popolni-bench-") as own,
        database(args.data or Path(own) / "data") as url,
    ):
        return run_program(command, {"POPOLNI_DATABASE_URL": url})


def run_program(command: list[str], environment: dict[str, str]) -> int:
    """Run a program to its end; Ctrl-C reaches it too, and it is given the time to clean up."""
    import subprocess

    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def add_data(parser: argparse.ArgumentParser, otherwise: str = "") -> None:
    """Declare ``--data``, for what needs the database."""
    own = "a folder for the embedded PostgreSQL (POPOLNI_DATABASE_URL, where set, goes first)"
    parser.add_argument("--data", type=read_folder, metavar="DIR", help=own + otherwise)


def read_folder(text: str) -> Path:
    """Read a folder's name; an empty one is a variable that was not set, not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a folder is missing")
    return Path(text)


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
        if not isinstance(error, BrokenPipeError) and error.errno != errno.ENOSPC:
            raise
        # Python flushes once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


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
    message = f"there is no command {word!r}; {hint}"
    raise UserError(message)
