"""``popolni worker``."""

import argparse
from typing import TYPE_CHECKING

from popolni.commands.common import add_data, django_on_database

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers


def add_worker(subparsers: "Subparsers") -> None:
    """Declare ``popolni worker``."""
    parser = subparsers.add_parser(
        "worker", help="follow the ledger's log, until Ctrl-C (demo and serve run one too)"
    )
    add_data(parser)
    parser.set_defaults(run=run_worker)


def run_worker(args: argparse.Namespace) -> int:
    """Work until Ctrl-C or SIGTERM."""
    with django_on_database(args.data):
        from popolni.readers.worker import work

        work()
    return 0
