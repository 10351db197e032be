"""``popolni demo``, ``popolni serve``, ``popolni secrets``."""

import argparse
import re
from typing import TYPE_CHECKING

from popolni.commands.common import add_data, shown

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers

PORT = 8000


def add_demo(subparsers: "Subparsers") -> None:
    """Declare ``popolni demo``."""
    parser = subparsers.add_parser("demo", help="run with demo data, until Ctrl-C")
    add_data(parser)
    add_port(parser)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier demo did")
    parser.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo."""
    from popolni.embedded.demo import demo

    return demo(args.data, port=args.port, fresh=args.fresh)


def add_serve(subparsers: "Subparsers") -> None:
    """Declare ``popolni serve``."""
    parser = subparsers.add_parser("serve", help="run without demo data, until Ctrl-C")
    add_data(parser)
    add_port(parser)
    parser.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    """Run the programs."""
    from popolni.embedded.demo import serve

    return serve(args.data, port=args.port)


def add_port(parser: argparse.ArgumentParser) -> None:
    """Declare ``--port``."""
    parser.add_argument(
        "--port", type=read_port, default=PORT, metavar="N", help=f"of the pages ({PORT})"
    )


def read_port(text: str) -> int:
    """Read a port; the next one must be one too."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65535:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a port between 1 and 65534")
    return int(text)


def add_secrets(subparsers: "Subparsers") -> None:
    """Declare ``popolni secrets``."""
    parser = subparsers.add_parser(
        "secrets", help="make the secrets that serve needs on a PostgreSQL of your own"
    )
    parser.set_defaults(run=run_secrets)


def run_secrets(_args: argparse.Namespace) -> int:
    """Print new ones; nothing is kept."""
    from popolni.embedded.secrets import make_secrets, write_lines

    print(write_lines(make_secrets()), end="")
    return 0
