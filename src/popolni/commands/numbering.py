"""The numbering plan: its imports, and whose a number is."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from popolni.commands.common import add_data, count, django_on_database, progress_bar
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.catalog.numbering.rules import Found, GroupChange
    from popolni.catalog.numbering.service import PortedReport, Report
    from popolni.commands.common import Subparsers


def add_numbering(subparsers: "Subparsers") -> None:
    """Declare ``popolni numbering``."""
    parser = subparsers.add_parser("numbering", help="import the numbering plan")
    parts = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    ranges = parts.add_parser(
        "import", help="the regulator's files (DEF-9xx.csv, ABC-3xx.csv …), each for its own codes"
    )
    ranges.add_argument("files", type=Path, nargs="+", metavar="FILE")
    ported = parts.add_parser("ported", help="a list of all ported numbers, in place of the last")
    ported.add_argument("file", type=Path, metavar="FILE")
    for part in (ranges, ported):
        part.add_argument(
            "--allow-shrink", action="store_true", help="even if over 20 %% of the numbers would go"
        )
        add_data(part)
        part.set_defaults(run=run_numbering)


def run_numbering(args: argparse.Namespace) -> int:
    """Import, and print what changed."""
    with django_on_database(args.data):
        from popolni.catalog.numbering.service import import_ported, import_ranges

        with progress_bar() as progress:
            options = {"allow_shrink": args.allow_shrink, "progress": progress}
            if args.what == "import":
                lines = describe_ranges(import_ranges(args.files, **options))
            else:
                lines = describe_ported(import_ported(args.file, **options))
    print("\n".join(lines))
    return 0


def describe_ranges(report: "Report") -> list[str]:
    """An import of ranges, for people."""
    lines = [f"{file.name}: {count(file.rows, 'range')}" for file in report.files]
    lines += [describe_group(group) for group in report.groups]
    lines += [
        f"from {move.carrier_before} to {move.carrier_after}: {count(move.numbers, 'number')}"
        for move in report.moves
    ]
    if report.moves_unnamed:
        lines.append(f"… and {report.moves_unnamed:,} smaller moves between carriers")
    if report.carriers_new:
        lines.append(
            f"{count(report.carriers_new, 'new carrier')}:"
            " the back office says which operator each belongs to"
        )
    if report.regions_new:
        lines.append(
            f"{count(report.regions_new, 'new region')}:"
            " the back office says which branch serves each"
        )
    return lines


def describe_group(group: "GroupChange") -> str:
    """What became of one group of codes."""
    return (
        f"{group.group}xx: {count(group.numbers_after, 'number')} in"
        f" {count(group.ranges_after, 'range')}"
        f" (before: {group.numbers_before:,} in {group.ranges_before:,});"
        f" {group.added:,} added, {group.removed:,} removed,"
        f" {group.carrier_changed:,} with another carrier,"
        f" {group.region_changed:,} in another region"
    )


def describe_ported(report: "PortedReport") -> list[str]:
    """An import of ported numbers, for people."""
    return [
        f"{report.files[0].name}: {count(report.numbers_after, 'ported number')}"
        f" (before: {report.numbers_before:,}); {report.added:,} added,"
        f" {report.removed:,} removed, {report.moved:,} changed"
    ]


def add_number(subparsers: "Subparsers") -> None:
    """Declare ``popolni number``."""
    parser = subparsers.add_parser("number", help="whose a number is")
    parser.add_argument("number", nargs="+", metavar="NUMBER", help="79161234567, or as written")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_data(parser)
    parser.set_defaults(run=run_number)


def run_number(args: argparse.Namespace) -> int:
    """Look a number up. It ends with status 1 if the number is in no range."""
    from popolni.catalog.numbering.rules import parse_number

    try:
        number = parse_number(" ".join(args.number))
    except ValueError as error:
        raise UserError(str(error)) from None
    with django_on_database(args.data):
        from popolni.catalog.numbering.service import is_empty, lookup

        found = lookup(number)
        if found is None and is_empty():
            raise UserError(
                "there is no numbering plan yet: popolni numbering import FILE brings it"
            )
    if found is None:
        raise UserError(f"{number} is in no range of the numbering plan", exit_status=1)
    print(json.dumps(asdict(found), ensure_ascii=False) if args.json else describe_found(found))
    return 0


def describe_found(found: "Found") -> str:
    """A number, for people."""
    return "\n".join(
        (
            f"number    {found.number}",
            f"operator  {found.operator or 'none of ours'}",
            f"branch    {found.branch or 'none of ours'}",
            f"region    {found.region}",
            f"carrier   {found.carrier}{', before it was ported' if found.ported else ''}",
            f"ported    {'yes' if found.ported else 'no'}",
        )
    )
