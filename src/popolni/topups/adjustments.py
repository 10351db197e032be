"""What staff post by hand: funding a float or a budget, correcting a balance, reversing a top-up.

The states, and what leads from one to the next; the last three are final:

    waiting → posted     below the branch's sum, at once; otherwise a second person approves
    waiting → declined   a second person declines; nothing was posted
    waiting → refused    approved, but the ledger refuses (the float has less than is withdrawn)

An adjustment is one transfer, whose identifier is made from the adjustment's pk, and it is posted
in the transaction that says so in the row: the row is locked and changed first, the post is last,
and if the ledger refuses, all of it is rolled back and the refusal written down by itself. A crash
anywhere leaves the row waiting or the transfer posted with it, and to ask or approve again is
harmless: the token of a form is written with the row, and the same form is the same ask however
late it comes again. What can't be told from a double click, an ask for just the same within
`REPEAT`, is the same ask whatever form it comes from.

Whoever asks stays below the sum only as long as all money does that was posted for them without
approval, in the branch, within `WINDOW`: a sum is not split into small ones, nor over many targets.
And a second person is one whose keys did not lately go through the asker's hands, nor the asker's
through theirs, nor both through a third one's: or one person would be two.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import django.db
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.keys import hands
from popolni.agents.models import Agent, Contract
from popolni.agents.staff import User
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_kind
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.outcome import Outcome
from popolni.ledger.chart import TOP_UPS, Code
from popolni.ledger.client import atomic, run, run_steps
from popolni.ledger.errors import LedgerUnavailable
from popolni.ledger.model import AMOUNT_MAX, LogEntry, Posted, Transfer, TransferFlags, Unit
from popolni.ledger.statements import lock_book, post, read_transfers
from popolni.subscribers.models import Number
from popolni.topups.adjustment_transfers import (
    WAYS,
    Target,
    Way,
    accounts_of,
    id_of,
    read_place,
    target_of,
    transfers_of,
)
from popolni.topups.models import Adjustment, SentForm
from popolni.topups.reversals import read_reversed
from popolni.topups.rules import (
    EXISTS_AS_ANOTHER,
)

REASON_MIN, REASON_MAX = 5, 300
"""Characters of a reason."""

REPEAT = timedelta(minutes=5)
"""The same ask within this time is the same click."""

WINDOW = timedelta(hours=24)
"""What was posted without approval within this time counts together."""

OWN_KEYS_AFTER = timedelta(days=7)
"""An account, a role, a password or a second factor this old at the time of the ask is its own."""

Kind, Status = Adjustment.Kind, Adjustment.Status
_REVERSAL = Way("ask_balance", Number, Code.TOP_UP_REVERSAL, "target")
_ALWAYS_APPROVED = (Kind.TOP_UP_REVERSAL, Kind.TOP_UP, Kind.TOP_UP_CORRECTION)
_TOP_UPS = frozenset(TOP_UPS.values())


class _RefusedByLedger(Exception):
    """Rolls back the row that said `posted`."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def ask(  # noqa: PLR0913  # what, who, and which sending of it
    kind: str, target: Target, amount: int, reason: str, *, by: User, form: str = ""
) -> Adjustment:
    """Asks for an adjustment, and posts it at once if the branch's rule lets one person do that.

    `target` is a contract (its float), a number (its money) or a promotion's budget; `amount` is
    in kopecks, or in what the promotion gives: such budgets always wait. `form` is the token of
    the form that asks. The answer is waiting, posted, or refused with the ledger's outcome.

    Raises PermissionDenied, UserError (nothing was asked; the form had asked for something else),
    LedgerUnavailable, OutcomeUnknown (ask again just so, with the same form). Opens its own
    transactions: not to be called inside one.
    """
    way = WAYS[Kind(kind)]
    if not isinstance(target, way.target):
        raise TypeError(f"{kind} is not about a {type(target).__name__}")
    _check_amount(amount)
    wanted = Adjustment(
        kind=kind,
        contract=target if isinstance(target, Contract) else None,
        number=target if isinstance(target, Number) else None,
        budget=target if isinstance(target, PromotionBudget) else None,
        book=target.branch.book,
        amount=amount,
        reason=_clean_reason(reason),
        asked_by=by,
    )
    return _ask(wanted, way.permission, form)


def ask_reversal(
    number: Number, top_up: LogEntry, reason: str, *, by: User, form: str = ""
) -> Adjustment:
    """Asks for a reversal of a number's top-up, the whole sum; a second person always approves.

    The ledger posts it while the number still has the money, and once, whoever else asks for it.
    Raises as `ask` does; UserError also if this is no top-up of the number.
    """
    if top_up.code not in _TOP_UPS or top_up.credit_account != accounts_of(number)[0]:
        raise UserError(_("this is no top-up of %(number)s") % {"number": number})
    wanted = Adjustment(
        kind=Kind.TOP_UP_REVERSAL,
        number=number,
        book=number.branch.book,
        amount=top_up.amount,
        reverses_seq=top_up.seq,
        reason=_clean_reason(reason),
        asked_by=by,
    )
    return _ask(wanted, _REVERSAL.permission, form)


@dataclass(frozen=True, slots=True)
class MissingTopUp:
    """A top-up that an agent has and we have not: whose it is, by its own identifier and date."""

    agent: Agent
    channel: Channel
    reference: str
    number: Number
    amount_minor: int
    reference_at: datetime | None


def ask_top_up(missing: MissingTopUp, reason: str, *, by: User, form: str = "") -> Adjustment:
    """Asks for a top-up that an agent's machine never got through; a second person approves.

    It gets the identifier that it would have had: a late retry of the machine is answered that
    it exists, and if we refused it once, the ledger refuses it for good. Raises as `ask` does.
    """
    _check_amount(missing.amount_minor)
    wanted = Adjustment(
        kind=Kind.TOP_UP,
        number=missing.number,
        book=missing.number.branch.book,
        amount=missing.amount_minor,
        agent=missing.agent,
        channel=missing.channel.value,
        reference=missing.reference,
        reference_at=missing.reference_at,
        reason=_clean_reason(reason),
        asked_by=by,
    )
    return _ask(wanted, _REVERSAL.permission, form)


def ask_correction(  # noqa: PLR0913  # what, of whom, how much, who, and which sending of it
    number: Number, top_up: LogEntry, amount: int, reason: str, *, by: User, form: str = ""
) -> Adjustment:
    """Asks that a top-up of the number's book is reversed, and one with the right sum is posted.

    `number` is the one that gets it, which may be another one than got it first. Both are posted
    or neither; a second person approves. Raises as `ask` does.
    """
    _check_amount(amount)
    if top_up.code not in _TOP_UPS or top_up.flags & TransferFlags.PENDING:
        raise UserError(_("this is no top-up of %(number)s") % {"number": number})
    wanted = Adjustment(
        kind=Kind.TOP_UP_CORRECTION,
        number=number,
        book=number.branch.book,
        amount=amount,
        reverses_seq=top_up.seq,
        reason=_clean_reason(reason),
        asked_by=by,
    )
    return _ask(wanted, _REVERSAL.permission, form)


def _ask(wanted: Adjustment, permission: str, form: str) -> Adjustment:
    _refuse_inside_transaction()
    with transaction.atomic():
        _check_permission(_lock_person(wanted.asked_by_id), permission)
        row = _find_or_write(wanted, form)
    return _post(row.pk, approver=None)


def sent_before(form: str, *, by: User) -> Adjustment | None:
    """What this person's form asked for; None if it has asked for nothing yet."""
    return Adjustment.objects.filter(forms__asked_by=by.pk, forms__token=form).first()


def approve(adjustment: Adjustment, *, by: User) -> Adjustment:
    """Approves and posts what another person asked for; again, it answers the same.

    The answer is posted, or refused with the ledger's outcome. Raises PermissionDenied, UserError
    (it is as good as one's own, or was declined), LedgerUnavailable, OutcomeUnknown (approve
    again). Not to be called inside a transaction.
    """
    _refuse_inside_transaction()
    _check_decider(adjustment, by)
    row = _post(adjustment.pk, approver=by)
    if row.status == Status.DECLINED:
        raise UserError(_already(row))
    return row


def decline(adjustment: Adjustment, *, by: User) -> Adjustment:
    """Declines what another person asked for; again, it answers the same.

    Raises PermissionDenied, UserError (it is as good as one's own, or posted or refused already).
    """
    _check_decider(adjustment, by)
    with transaction.atomic():
        row = _lock(adjustment.pk)
        if row.status == Status.WAITING:
            _decide(row, Status.DECLINED, by)
    if row.status != Status.DECLINED:
        raise UserError(_already(row))
    return row


def withdraw(pk: int) -> bool:
    """Declines, for nobody, what waits and is not wanted any more; whether it waited.

    What it was asked for is settled by itself, or could not be noted: no person decides on it.
    """
    with transaction.atomic():
        row = _lock(pk)
        is_waiting = row.status == Status.WAITING
        if is_waiting:
            _decide(row, Status.DECLINED, None)
    return is_waiting


def posted_alone(person: User, book: int) -> int:
    """What was posted for a person in a branch's book within `WINDOW` without approval.

    Minor units: what is not money is always approved.
    """
    rows = Adjustment.objects.filter(
        asked_by=person.pk,
        book=book,
        status=Status.POSTED,
        decided_by=None,
        decided_at__gt=timezone.now() - WINDOW,
    )
    return int(rows.aggregate(sum=Sum("amount"))["sum"] or 0)


def needs_approval(amount: int, posted_alone: int, approval_from: int) -> bool:
    """Whether a sum needs a second person, after what was posted without one; minor units."""
    return amount + posted_alone >= approval_from


def _post(pk: int, approver: User | None) -> Adjustment:
    """Posts a waiting row, for one person alone if that is allowed; the row as it is then."""
    try:
        with atomic():
            row = _lock(pk)
            if row.status == Status.WAITING and (approver or _is_for_one(row)):
                _decide(row, Status.POSTED, approver, Outcome.CREATED)
                row.seq = _post_last(row)
    except _RefusedByLedger as refused:
        return _note_refusal(pk, approver, refused.outcome)
    _note_place(row)
    return row


def _post_last(row: Adjustment) -> int:
    """Its place in the log. Nothing may follow it in the transaction."""
    if row.kind == Kind.TOP_UP_CORRECTION:
        _refuse_what_is_reversed(row)
    first, *others = transfers_of(row)
    answer = _post_chain(row.book, first)
    for other in others:
        if answer.outcome in EXISTS_AS_ANOTHER:
            answer = _post_chain(row.book, other)
    if not answer.outcome.done:
        raise _RefusedByLedger(answer.outcome)
    return answer.seq


def _refuse_what_is_reversed(row: Adjustment) -> None:
    """A top-up that went back meanwhile is not corrected: nobody reverses it behind this."""
    run(lock_book(row.book))
    if id_of(row) in run(read_transfers([id_of(row)])):
        return
    if run_steps(read_reversed(row.book, [row.reverses_seq or 0])):
        raise _RefusedByLedger(Outcome.EXISTS)


def _post_chain(book: int, chain: Sequence[Transfer]) -> Posted:
    """The answer to its first transfer, or why the chain failed."""
    answers = run(post(book, chain))
    failed = (one for one in answers if one.outcome is not Outcome.LINKED_EVENT_FAILED)
    return answers[0] if answers[0].outcome.done else next(failed, answers[0])


def _note_refusal(pk: int, approver: User | None, outcome: Outcome) -> Adjustment:
    with transaction.atomic():
        row = _lock(pk)
        if row.status == Status.WAITING:  # else someone was faster, and it may have been posted
            _decide(row, Status.REFUSED, approver, outcome)
    return row


def _note_place(row: Adjustment) -> None:
    """Writes down where in the log it is: after the post, which is its transaction's last."""
    if row.status != Status.POSTED:
        return
    # What can't be written now is written when someone approves again; it is posted all the same.
    with suppress(django.db.Error, LedgerUnavailable):
        if row.seq is None:
            row.seq = read_place(row)
        Adjustment.objects.filter(pk=row.pk, seq=None).update(seq=row.seq)


def _lock(pk: int) -> Adjustment:
    """The row as it is now; nobody else decides on it until the transaction ends."""
    related = ("contract__branch", "number__branch", "budget__branch", "budget__promotion")
    rows = Adjustment.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related(*related).get(pk=pk)


def _decide(
    row: Adjustment, status: Adjustment.Status, by: User | None, outcome: Outcome | None = None
) -> None:
    """Moves a locked, waiting row to its final state; saved so that the audit trail sees it."""
    row.status, row.outcome = status, outcome or ""
    row.decided_by, row.decided_at = by, timezone.now()
    row.save(update_fields=["status", "outcome", "decided_by", "decided_at"])


def _is_for_one(row: Adjustment) -> bool:
    """Whether no second person is needed. One ask of a person at a time: what they posted counts.

    They are locked after the row, as each has rows of their own only.
    """
    if row.kind in _ALWAYS_APPROVED:
        return False
    if row.budget is not None and budget_kind(row.budget.promotion).value.unit != Unit.MONEY:
        return False
    person = _lock_person(row.asked_by_id)
    return not needs_approval(
        row.amount, posted_alone(person, row.book), target_of(row).branch.approval_from_minor
    )


def _find_or_write(wanted: Adjustment, form: str) -> Adjustment:
    """The row that was asked for already, or this one; the token is found with it from now on.

    The person is locked: nobody else writes a row or a token of theirs.
    """
    sent = sent_before(form, by=wanted.asked_by)
    if sent is not None:
        _check_content(wanted, sent)
        return sent
    row = _same_ask(wanted)
    if row is None:
        row = wanted
        row.save(force_insert=True)
    if form:
        SentForm.objects.create(asked_by=row.asked_by, token=form, adjustment=row)
    return row


def _check_content(wanted: Adjustment, sent: Adjustment) -> None:
    """A token is of one content, as an identifier is in the ledger."""
    names = (
        "kind", "contract_id", "number_id", "budget_id", "amount", "reason", "reverses_seq",
        "agent_id", "channel", "reference", "reference_at",
    )  # fmt: skip
    if any(getattr(wanted, name) != getattr(sent, name) for name in names):
        raise UserError(
            _("this form was sent before and asked for something else (№ %(pk)d): open a new one")
            % {"pk": sent.pk}
        )


def _same_ask(row: Adjustment) -> Adjustment | None:
    """What the same person asked for in the same words a moment ago, unless it came to nothing."""
    return (
        Adjustment.objects.filter(
            asked_by=row.asked_by_id,
            contract=row.contract_id,
            number=row.number_id,
            budget=row.budget_id,
            kind=row.kind,
            amount=row.amount,
            reason=row.reason,
            reverses_seq=row.reverses_seq,
            agent=row.agent_id,
            channel=row.channel,
            reference=row.reference,
            status__in=(Status.WAITING, Status.POSTED),
            asked_at__gt=timezone.now() - REPEAT,
        )
        .order_by("pk")
        .last()
    )


def _check_amount(amount: int) -> None:
    if not 0 < amount <= AMOUNT_MAX:
        raise UserError(_("the amount is more than zero, and no more than an account can hold"))


def _clean_reason(text: str) -> str:
    reason = " ".join(text.split())
    if not REASON_MIN <= len(reason) <= REASON_MAX or not reason.isprintable():
        raise UserError(
            _("say why, in %(min)d to %(max)d letters: others will read it")
            % {"min": REASON_MIN, "max": REASON_MAX}
        )
    return reason


def _lock_person(pk: int) -> User:
    return User.objects.select_for_update(no_key=True).get(pk=pk)


def _check_permission(user: User, permission: str) -> None:
    """As the database knows them now: whoever left a second ago is nobody's second person."""
    if not user.is_active or not user.has_perm(f"popolni.{permission}"):
        raise PermissionDenied(_("this is not among what you may do; ask the owner for the role"))


def _check_decider(adjustment: Adjustment, by: User) -> None:
    check_second_person(adjustment.asked_by_id, adjustment.asked_at, by)


def check_second_person(asked_by_id: int, asked_at: datetime, by: User) -> None:
    """Whether this is another person than who asked, and one who may decide.

    Raises PermissionDenied, UserError.
    """
    _check_permission(User.objects.get(pk=by.pk), "decide_adjustment")
    if asked_by_id == by.pk:
        raise UserError(_("you asked for this yourself: another person decides"))
    since = asked_at - OWN_KEYS_AFTER
    if hands(by.pk, since) & hands(asked_by_id, since):
        raise UserError(
            _(
                "an account, a role, a password or a second factor of yours and of who asked for "
                "this went through the same hand lately: somebody else decides"
            )
        )


def _already(row: Adjustment) -> str:
    return _("№ %(pk)d is decided already: %(status)s") % {
        "pk": row.pk,
        "status": row.get_status_display(),
    }


def _refuse_inside_transaction() -> None:
    if connection.in_atomic_block:
        raise RuntimeError("an adjustment commits by itself: not inside a transaction")
