"""``popolni switch``: the program for machines, alone."""

import argparse
import os
from typing import TYPE_CHECKING

from popolni.commands.common import add_data, django_on_database
from popolni.commands.programs import read_port

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers

HOST, PORT = "127.0.0.1", 8001


def add_switch(subparsers: "Subparsers") -> None:
    """Declare ``popolni switch``."""
    parser = subparsers.add_parser(
        "switch",
        help="take top-ups from machines, until Ctrl-C (demo and serve run one too)",
        epilog="Its settings are variables: docs/switch.md lists them.",
    )
    add_data(parser)
    parser.add_argument("--host", default=HOST, help=f"the address to listen on ({HOST})")
    parser.add_argument(
        "--port", type=read_port, default=PORT, metavar="N", help=f"the port ({PORT})"
    )
    parser.set_defaults(run=run_switch)


def run_switch(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from popolni.switch.settings import read_settings

    with django_on_database(args.data):
        read_settings(os.environ)
        from popolni.switch.__main__ import main

        main(args.host, args.port)
    return 0
