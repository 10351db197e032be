"""``popolni branches``: what of a branch no web login may change.

From which sum a second person approves is what a first person is held to: whoever could raise it
on a page would be held to nothing.
"""

import argparse
import re
from typing import TYPE_CHECKING

from popolni.commands.common import add_data, django_on_database, read_text, shown
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers

SUM = re.compile(r"\d{1,12}(\.\d{2})?", re.ASCII)


def add_branches(subparsers: "Subparsers") -> None:
    """Declare ``popolni branches``."""
    parser = subparsers.add_parser("branches", help="list branches, set from when two approve")
    actions = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    listing = actions.add_parser("list", help="all branches, with the sum from which two approve")
    listing.set_defaults(run=run_list)
    approval = actions.add_parser("approval", help="from which sum a second person approves")
    approval.add_argument(
        "branch", type=read_text, metavar="BRANCH", help="its code, as in the list"
    )
    approval.add_argument("amount", type=read_sum, metavar="SUM", help="such as 50000 or 99.50")
    approval.set_defaults(run=run_approval)
    for action in (listing, approval):
        add_data(action)


def read_sum(text: str) -> int:
    """A sum in whole units, or with both places of its fraction, in minor ones."""
    if not SUM.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no sum such as 50000 or 99.50")
    whole, _dot, rest = text.partition(".")
    return int(whole) * 100 + int(rest or 0)


def run_list(args: argparse.Namespace) -> int:
    """Print the branches."""
    with django_on_database(args.data):
        from popolni.catalog.operators.models import Branch

        print(f"{'CODE':<20}{'BOOK':>8}  {'TWO APPROVE FROM':>20}")
        for branch in Branch.objects.order_by("book"):
            amount = f"{branch.approval_from_minor / 100:,.2f} {branch.currency}"
            print(f"{branch.code:<20}{branch.book:>8}  {amount:>20}")
    return 0


def run_approval(args: argparse.Namespace) -> int:
    """Set the sum of a branch."""
    with django_on_database(args.data):
        from popolni.catalog.operators.models import Branch

        branch = Branch.objects.filter(code=args.branch).first()
        if branch is None:
            raise UserError(f"there is no branch {shown(args.branch)}: ./popolni branches list")
        branch.approval_from_minor = args.amount
        branch.save(update_fields=["approval_from_minor"])
        print(f"{branch.code}: two approve from {args.amount / 100:,.2f} {branch.currency}")
    return 0
