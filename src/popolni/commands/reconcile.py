"""``popolni reconcile``."""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popolni.commands.common import add_data, count, django_on_database, progress_bar, shown
from popolni.core.errors import UserError

if TYPE_CHECKING:
    from popolni.commands.common import Subparsers
    from popolni.reconciliation.models import Reconciliation
    from popolni.reconciliation.service import Span

SHOWN_MAX = 20
"""Differences, or faults, that are printed; the back office has them all."""


def add_reconcile(subparsers: "Subparsers") -> None:
    """Declare ``popolni reconcile``."""
    parser = subparsers.add_parser(
        "reconcile", help="compare an agent's registry with the ledger's log"
    )
    parser.add_argument("agent", metavar="AGENT", help="its code")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--channel", help="if it has layouts of several")
    parser.add_argument("--day", type=read_day, metavar="D", help="of which it is: 2026-11-26")
    parser.add_argument("--from", dest="first", type=read_day, metavar="D", help="if of several")
    parser.add_argument("--to", dest="last", type=read_day, metavar="D")
    parser.add_argument("--again", action="store_true", help="even if it was compared already")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_data(parser)
    parser.set_defaults(run=run_reconcile)


def read_day(text: str) -> date:
    """Read a day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"{shown(text)} is not a day such as 2026-11-26"
        raise argparse.ArgumentTypeError(message) from None


def run_reconcile(args: argparse.Namespace) -> int:
    """Compare. It ends with status 1 if something differs or can't be read."""
    with django_on_database(args.data):
        from popolni.agents.models import Agent
        from popolni.reconciliation.service import from_path, layout_of, reconcile

        agent = Agent.objects.filter(code=args.agent).first()
        if agent is None:
            raise UserError(f"there is no agent {shown(args.agent)}")
        layout = layout_of(agent, args.channel)
        with progress_bar() as progress:
            done = reconcile(
                layout, from_path(args.file), span_of(args), again=args.again, progress=progress
            )
        if args.json:
            print(json.dumps(report_of(done), ensure_ascii=False))
        else:
            print("\n".join(describe(done)))
    is_good = done.state == "done" and not done.differences_count
    return 0 if is_good else 1


def span_of(args: argparse.Namespace) -> "Span | None":
    """The days that were named; None if none were."""
    from popolni.reconciliation.service import Span

    if args.day:
        if args.first or args.last:
            raise UserError("either --day, or --from and --to")
        return Span(args.day, args.day)
    if bool(args.first) != bool(args.last):
        raise UserError("--from and --to belong together")
    return Span(args.first, args.last) if args.first else None


def report_of(run: "Reconciliation") -> dict[str, Any]:
    """A run for programs; amounts in minor units."""
    from popolni.reconciliation.service import faults_of

    names = (
        "theirs", "theirs_minor", "ours", "ours_minor", "matched",
        "only_ours", "only_theirs", "number_differs", "sum_differs", "date_differs",
    )  # fmt: skip
    return {
        "run": run.pk,
        "agent": run.agent.code,
        "channel": run.channel,
        "first_day": run.first_day.isoformat(),
        "last_day": run.last_day.isoformat(),
        "sha256": run.sha256,
        "state": run.state,
        **{name: getattr(run, name) for name in names},
        "may_be_in_the_next_days_file": run.differences.filter(state="edge").count(),
        "faults": [
            {"line": fault.line, "kind": fault.kind, "text": fault.excerpt}
            for fault in faults_of(run)
        ],
    }


def describe(run: "Reconciliation") -> list[str]:
    """A run, for people."""
    days = f"{run.first_day}" + (f" to {run.last_day}" if run.last_day > run.first_day else "")
    lines = [f"run {run.pk}: {run.agent}, {run.channel}, {days}"]
    if run.state == "unreadable":
        return lines + describe_faults(run)
    lines += [
        f"theirs  {count(run.theirs, 'payment')}, {money(run.theirs_minor)}",
        f"ours    {count(run.ours, 'payment')}, {money(run.ours_minor)}",
        f"matched {run.matched:,}",
    ]
    if not run.differences_count:
        return [*lines, "no differences"]
    rows = run.differences.exclude(state__in=("edge", "found")).order_by("kind", "pk")
    lines += [
        f"{row.kind.replace('_', ' '):14} {row.reference}"
        + (f"  theirs {money(row.their_minor)}" if row.their_minor is not None else "")
        + (f"  ours {money(row.our_minor)}" if row.our_minor is not None else "")
        + (f"  ({row.why})" if row.why else "")
        for row in rows[:SHOWN_MAX]
    ]
    more = run.differences_count - SHOWN_MAX
    return [*lines, f"… and {more:,} more, in the back office"] if more > 0 else lines


def describe_faults(run: "Reconciliation") -> list[str]:
    """Why a file was not compared, for people."""
    from popolni.reconciliation.service import faults_of

    faults = faults_of(run)[:SHOWN_MAX]
    if not run.faults_count:
        return [f"it could not be compared: {fault.excerpt}" for fault in faults]
    return [
        f"{count(run.faults_count, 'line')} can't be read; nothing was compared",
        *(
            f"line {fault.line}: {fault.kind.replace('_', ' ')}: {fault.excerpt}"
            for fault in faults
        ),
    ]


def money(minor: int) -> str:
    """123456 as 1,234.56."""
    return f"{minor // 100:,}.{minor % 100:02}"
