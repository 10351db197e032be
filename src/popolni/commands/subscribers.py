"""Commands on numbers, subscribers and their documents."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popolni.commands.common import (
    add_data,
    count,
    django_on_database,
    progress_bar,
    shown,
)

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers
    from popolni.subscribers.load import Progress
    from popolni.subscribers.service import AllowanceLeft, Balance


def read_number(text: str) -> int:
    """Read a number (MSISDN), with or without the plus."""
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number such as 79160000001")
    return int(digits)


def add_balance(subparsers: "Subparsers") -> None:
    """Declare ``popolni balance``."""
    parser = subparsers.add_parser("balance", help="what a number has: money and allowances")
    parser.add_argument("number", type=read_number, metavar="NUMBER", help="such as 79160000001")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_data(parser)
    parser.set_defaults(run=run_balance)


def run_balance(args: argparse.Namespace) -> int:
    """Print a number's balance."""
    with django_on_database(args.data):
        from popolni.subscribers.service import balance

        found = balance(args.number)
    print(as_json(found) if args.json else as_text(found))
    return 0


def as_json(balance: "Balance") -> str:
    """The balance as programs read it; ends are ISO 8601 with offset (UTC)."""
    import json
    from dataclasses import asdict

    return json.dumps(asdict(balance), default=lambda moment: moment.isoformat())


def as_text(balance: "Balance") -> str:
    """The balance as people read it."""
    plan = f"on {balance.plan}" if balance.plan else "without a plan"
    money = f"{balance.money_minor // 100}.{balance.money_minor % 100:02}"
    return "\n".join(
        [
            f"+{balance.number} is {balance.status}, {plan}",
            f"{money} {balance.currency}",
            *map(_allowance_text, balance.allowances),
        ]
    )


def _allowance_text(allowance: "AllowanceLeft") -> str:
    unit = allowance.unit if allowance.left == 1 else f"{allowance.unit}s"
    return f"{allowance.left:,} {unit} until {allowance.ends:%Y-%m-%d %H:%M} UTC"


def add_subscribers(subparsers: "Subparsers") -> None:
    """Declare ``popolni subscribers``."""
    parser = subparsers.add_parser("subscribers", help="load numbers with their subscribers")
    actions = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    load = actions.add_parser("load", help="open the numbers of a CSV file")
    load.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="UTF-8, with the first line number,branch,name,language,balance_minor[,status]",
    )
    add_data(load)
    load.set_defaults(run=run_load)


def run_load(args: argparse.Namespace) -> int:
    """Load a file of subscribers."""
    with django_on_database(args.data):
        from popolni.subscribers.load import BadFile, load

        bars = Bars()
        try:
            loaded = load(args.file, bars.show)
        except BadFile as error:
            bars.close()
            if len(error.problems) > 1:
                print(*error.problems, sep="\n", file=sys.stderr)
            raise
        finally:
            bars.close()
    there = "1 was" if loaded.there == 1 else f"{loaded.there:,} were"
    print(f"{count(loaded.opened, 'number')} opened, {there} there already")
    print(f"opening balances: {loaded.balances_minor} in minor units")
    if loaded.others:
        are = "is" if loaded.others == 1 else "are"
        print(
            f"by the numbering plan {count(loaded.others, 'number')} {are} another operator's,"
            f" the first on line {loaded.others_line}: popolni number NUMBER says whose"
        )
    return 0


def add_documents(subparsers: "Subparsers") -> None:
    """Declare ``popolni documents``."""
    parser = subparsers.add_parser("documents", help="the keys that seal documents and secrets")
    actions = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    reseal = actions.add_parser(
        "reseal", help="seal with the first of POPOLNI_DATA_KEYS what an older key sealed"
    )
    add_data(reseal)
    reseal.set_defaults(run=run_reseal)


def run_reseal(args: argparse.Namespace) -> int:
    """Seal old documents and secrets anew; exit status 1 if there are some that no key opens."""
    with django_on_database(args.data):
        from popolni.readers.webhooks.service import reseal as reseal_secrets
        from popolni.subscribers.documents import reseal

        with progress_bar() as progress:
            done = reseal(on_progress=partial(progress, "sealing"))
        with progress_bar() as progress:
            secrets = reseal_secrets(on_progress=partial(progress, "sealing secrets"))
    print(f"{count(done.resealed, 'document')} sealed anew")
    if secrets.resealed:
        print(f"{count(secrets.resealed, 'secret')} of webhooks sealed anew")
    unreadable = done.unreadable + secrets.unreadable
    if unreadable:
        print(f"{unreadable} stay as they are: no key of POPOLNI_DATA_KEYS opens them")
    return 1 if unreadable else 0


class Bars:
    """A progress bar for each thing that a load does, on a terminal only."""

    def __init__(self) -> None:
        self._doing = ""
        self._bar: Any = None

    def show(self, progress: "Progress") -> None:
        """Move the bar, or begin the next one."""
        from tqdm import tqdm

        if self._doing != progress.doing:
            self.close()
            is_bytes = progress.doing == "checking"
            self._doing = progress.doing
            self._bar = tqdm(
                desc=progress.doing,
                total=progress.total,
                unit="B" if is_bytes else " numbers",
                unit_scale=is_bytes,
                disable=not sys.stderr.isatty(),
                file=sys.stderr,
            )
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
