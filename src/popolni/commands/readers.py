"""``popolni readers``: how far each reader of the log is, and reading again from zero."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from popolni.commands.common import (
    add_data,
    django_on_database,
    progress_bar,
    read_text,
    shown,
)
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers
    from popolni.readers.lag import Lag


def add_readers(subparsers: "Subparsers") -> None:
    """Declare ``popolni readers``."""
    parser = subparsers.add_parser(
        "readers", help="what follows the ledger's log, and how far behind it is"
    )
    parser.add_argument("--json", action="store_true", help="a JSON list")
    add_data(parser)
    parser.set_defaults(run=run_readers)
    actions = parser.add_subparsers(metavar="WHAT")
    replay = actions.add_parser("replay", help="have a reader read every book again from zero")
    replay.add_argument("reader", type=read_text, metavar="NAME", help="as in the list")
    replay.add_argument("--yes", action="store_true", help="do not ask")
    # Behind either word; what was given before this one stays if nothing is given here.
    add_data(replay, default=argparse.SUPPRESS)
    replay.set_defaults(run=run_replay)


def run_readers(args: argparse.Namespace) -> int:
    """Print where the readers are."""
    with django_on_database(args.data):
        from popolni.readers.lag import lags, removed
        from popolni.readers.worker import READERS

        names = [reader.name for reader in READERS]
        found, others = lags(names), removed(names)
    print(as_json(found) if args.json else as_text(found))
    if others and not args.json:
        print(f"\nno readers any more, whose positions are kept: {', '.join(others)}")
    return 0


def as_json(found: list["Lag"]) -> str:
    """One object for each reader and book."""
    import json

    return json.dumps(
        [
            {
                "reader": lag.reader,
                "book": lag.book,
                "position": lag.seq,
                "lag_entries": lag.entries,
                "lag_seconds": lag.seconds,
                "set_aside": lag.set_aside,
            }
            for lag in found
        ]
    )


def as_text(found: list["Lag"]) -> str:
    """A table, with the age of the oldest entry that is unread."""
    head = f"{'READER':<16}{'BOOK':>10}{'POSITION':>14}{'BEHIND BY':>14}{'SET ASIDE':>12}"
    return "\n".join([head, *map(_line, found)])


def _line(lag: "Lag") -> str:
    figures = f"{lag.book:>10}{lag.seq:>14,}{lag.entries:>14,}{lag.set_aside:>12,}"
    waits = "" if lag.seconds is None else f"   for {lag.seconds:,.1f} s"
    return f"{lag.reader:<16}{figures}{waits}"


def run_replay(args: argparse.Namespace) -> int:
    """Have a reader read from zero, up to the end of now."""
    with django_on_database(args.data):
        from popolni.readers.replay import replay
        from popolni.readers.worker import reader_of

        reader = reader_of(args.reader)
        if not (args.yes or _is_confirmed(reader.name)):
            raise UserError(f"{shown(reader.name)} stays where it is")
        with progress_bar() as progress:
            read = replay(reader, partial(progress, "reading"))
    print(f"{reader.name}: read again from zero, {'1 entry' if read == 1 else f'{read:,} entries'}")
    return 0


def _is_confirmed(name: str) -> bool:
    """Asks who is at the keyboard."""
    if not (sys.stdin and sys.stdin.isatty()):
        raise UserError("nobody is here to ask: --yes says that it is meant")
    return input(f"{name} reads every book from its first entry. Yes? [y/N] ").lower() in (
        "y",
        "yes",
    )
