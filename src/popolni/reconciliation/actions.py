"""What is done about a difference: one person asks, another one approves.

Money is moved as adjustments (`topups.adjustments`), with their approval and their audit trail: the
missing top-up is posted, the extra one reversed, the wrong one corrected. That a difference stays
as it is, is accepted, with a note; that moves nothing, and is approved by the same rule.
"""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from enum import StrEnum, auto
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.staff import User
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import read_places
from popolni.reconciliation.models import Difference, RegistryLayout
from popolni.subscribers.models import Number
from popolni.topups import adjustments
from popolni.topups.adjustments import REASON_MAX, REASON_MIN, MissingTopUp
from popolni.topups.models import Adjustment

SETTLE = "popolni.settle_difference"
Kind, State = Difference.Kind, Difference.State
_FAILED = (Adjustment.Status.DECLINED, Adjustment.Status.REFUSED)


class Action(StrEnum):
    """What can be asked for."""

    POST = auto()
    """The top-up that only they have."""
    REVERSE = auto()
    """The top-up that only we have."""
    CORRECT = auto()
    """Reverse it, and post it as they have it."""
    ACCEPT = auto()
    """Leave it."""


def is_open(row: Difference) -> bool:
    """Whether something can be asked: nothing was, or it came to nothing."""
    failed = row.adjustment is not None and row.adjustment.status in _FAILED
    return row.state == State.OPEN and (row.adjustment is None or failed)


OPEN = Q(state=State.OPEN) & (Q(adjustment=None) | Q(adjustment__status__in=_FAILED))
"""The same for a query."""
WAITING = Q(state=State.ASKED) | Q(state=State.OPEN, adjustment__status=Adjustment.Status.WAITING)
SETTLED = Q(state__in=(State.ACCEPTED, State.FOUND)) | Q(
    state=State.OPEN, adjustment__status=Adjustment.Status.POSTED
)


def open_differences() -> int:
    """How many there are, of the runs that are done."""
    return Difference.objects.filter(OPEN, run__state="done").count()


def actions_of(row: Difference) -> list[Action]:
    """What can be asked for."""
    if not is_open(row):
        return []
    if row.kind == Kind.ONLY_OURS:
        return [Action.REVERSE, Action.ACCEPT]
    if row.kind == Kind.ONLY_THEIRS and not row.why and row.their_number is not None:
        return [Action.POST, Action.ACCEPT]
    if row.kind in (Kind.SUM_DIFFERS, Kind.NUMBER_DIFFERS):
        return [Action.CORRECT, Action.ACCEPT]
    return [Action.ACCEPT]


def ask(row: Difference, action: Action, reason: str, *, by: User, form: str = "") -> Difference:
    """Asks for it; another person approves.

    The answer waits: as an adjustment, or as `asked` (what is accepted). Raises PermissionDenied,
    UserError, and what `topups.adjustments.ask` does. Not to be called inside a transaction.
    """
    _check(by)
    row = Difference.objects.select_related("adjustment", "run__agent").get(pk=row.pk)
    if action not in actions_of(row):
        raise UserError(_("№ %(pk)d: this can't be asked for now") % {"pk": row.pk})
    if action is Action.ACCEPT:
        return _ask_to_accept(row, reason, by)
    asked = _ASKS[action](row, reason, by, form)
    locked = _attach(row.pk, asked, by)
    if locked is None:  # somebody was faster, and what belongs to no difference is not approved
        adjustments.withdraw(asked.pk)
        raise UserError(_("№ %(pk)d: this can't be asked for now") % {"pk": row.pk})
    return locked


def _attach(pk: int, asked: Adjustment, by: User) -> Difference | None:
    """Notes what was asked for; None if the difference is not open any more, or not there."""
    with transaction.atomic():
        try:
            locked = _lock(pk)
        except Difference.DoesNotExist:
            return None
        if not is_open(locked) and locked.adjustment_id != asked.pk:
            return None
        locked.adjustment, locked.note = asked, asked.reason
        locked.asked_by, locked.asked_at = by, asked.asked_at
        locked.save(update_fields=["adjustment", "note", "asked_by", "asked_at"])
    return locked


def _ask_to_accept(row: Difference, note: str, by: User) -> Difference:
    text = " ".join(note.split())
    if not REASON_MIN <= len(text) <= REASON_MAX or not text.isprintable():
        raise UserError(
            _("say why, in %(min)d to %(max)d letters: others will read it")
            % {"min": REASON_MIN, "max": REASON_MAX}
        )
    with transaction.atomic():
        locked = _lock(row.pk)
        if Action.ACCEPT not in actions_of(locked):
            raise UserError(_("№ %(pk)d: this can't be asked for now") % {"pk": row.pk})
        locked.state, locked.note, locked.adjustment = State.ASKED, text, None
        locked.asked_by, locked.asked_at = by, timezone.now()
        locked.decided_by = locked.decided_at = None
        locked.save(
            update_fields=[
                "state", "note", "adjustment", "asked_by", "asked_at", "decided_by", "decided_at",
            ]
        )  # fmt: skip
    return locked


def accept_all(rows: Iterable[Difference], note: str, *, by: User) -> int:
    """Asks that all of these stay as they are; how many could be asked for."""
    _check(by)
    done = 0
    for row in rows:
        if Action.ACCEPT in actions_of(row):
            _ask_to_accept(row, note, by)
            done += 1
    return done


def decide(row: Difference, *, by: User, approve: bool) -> Difference:
    """Approves, or declines, that a difference stays as it is; again, it answers the same.

    Raises PermissionDenied, UserError (it is as good as one's own; nothing waits).
    """
    with transaction.atomic():
        locked = _lock(row.pk)
        wanted = State.ACCEPTED if approve else State.OPEN
        if locked.state == State.ASKED and locked.asked_by_id and locked.asked_at:
            adjustments.check_second_person(locked.asked_by_id, locked.asked_at, by)
            locked.state, locked.decided_by, locked.decided_at = wanted, by, timezone.now()
            locked.save(update_fields=["state", "decided_by", "decided_at"])
        elif locked.state != wanted or locked.decided_by is None:
            raise UserError(_("№ %(pk)d does not wait for approval") % {"pk": row.pk})
    return locked


def decide_all(rows: Iterable[Difference], *, by: User, approve: bool) -> int:
    """The same for many; how many waited."""
    done = 0
    for row in rows:
        if row.state == State.ASKED:
            decide(row, by=by, approve=approve)
            done += 1
    return done


def _check(by: User) -> None:
    if not by.is_active or not by.has_perm(SETTLE):
        raise PermissionDenied(_("this is not among what you may do; ask the owner for the role"))


def _lock(pk: int) -> Difference:
    rows = Difference.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("adjustment", "run__agent").get(pk=pk)


def _top_up(row: Difference) -> LogEntry:
    found = run(read_places(row.book or 0, [row.seq or 0]))
    if not found:
        raise AssertionError(f"{row.book}-{row.seq} is not in the log")
    return found[0]


def _number(number: int | None) -> Number:
    rows = Number.objects.select_related("branch__operator")
    row = rows.filter(pk=number).first() if number is not None else None
    if row is None:
        raise UserError(_("there is no such number here: %(number)s") % {"number": number})
    return row


def _reverse(row: Difference, reason: str, by: User, form: str) -> Adjustment:
    entry = _top_up(row)
    number = _number(entry.credit_account % (SUBJECT_MAX + 1))
    return adjustments.ask_reversal(number, entry, reason, by=by, form=form)


def _post(row: Difference, reason: str, by: User, form: str) -> Adjustment:
    number = _number(row.their_number)
    missing = MissingTopUp(
        agent=row.run.agent,
        channel=Channel(row.run.channel),
        reference=row.reference,
        number=number,
        amount_minor=row.their_minor or 0,
        reference_at=_moment(row, number),
    )
    return adjustments.ask_top_up(missing, reason, by=by, form=form)


def _correct(row: Difference, reason: str, by: User, form: str) -> Adjustment:
    number = _number(row.their_number if row.their_number is not None else row.our_number)
    if number.branch.book != row.book:
        raise UserError(
            _(
                "%(number)s is of another branch than the number that got it: reverse the top-up "
                "on its receipt's page, and correct the other number's balance"
            )
            % {"number": number}
        )
    amount = row.their_minor or 0
    return adjustments.ask_correction(number, _top_up(row), amount, reason, by=by, form=form)


_ASKS = {Action.REVERSE: _reverse, Action.POST: _post, Action.CORRECT: _correct}


def _moment(row: Difference, number: Number) -> datetime | None:
    """Their date, with its zone; a day alone is taken at its noon."""
    if not row.their_at:
        return None
    layout = RegistryLayout.objects.filter(agent=row.run.agent_id, channel=row.run.channel).first()
    zone = ZoneInfo((layout.time_zone if layout else "") or number.branch.time_zone)
    moment = datetime.fromisoformat(row.their_at)
    if len(row.their_at) == len("2026-11-26"):
        moment = datetime.combine(moment, time()) + timedelta(hours=12)
    return moment.replace(tzinfo=zone)
