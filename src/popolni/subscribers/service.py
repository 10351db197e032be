"""What happens to a number: opened, blocked, closed, put on a plan; and what it has.

Whatever changes a number locks its row first, so that changes of one number take turns, and
posts last. The ledger does not wait for that lock: between reading an account and posting, money
and allowances may move. What then no longer fits is read and tried again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms
from popolni.catalog.plans.service import hold_terms
from popolni.core.errors import UserError
from popolni.core.outcome import AccountOutcome, Outcome
from popolni.core.period import end_of_period
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import Account, Posted, Unit
from popolni.ledger.statements import close_accounts, open_accounts, post, read_accounts
from popolni.subscribers.models import Allowance, Number, Subscriber, Subscription
from popolni.subscribers.renewals.rules import Credit
from popolni.subscribers.renewals.service import resume
from popolni.subscribers.rules import (
    NUMBER_KINDS,
    NUMBER_MAX,
    NUMBER_MIN,
    PLAN_KINDS,
    Step,
    SubscribeProblem,
    available,
    chain,
    expiries,
    is_settled,
    subscribe_problem,
    subscription_steps,
)

T = TypeVar("T")

TRIES_MAX = 5
"""How often a change is tried while the number's allowances are being used."""


@dataclass(frozen=True, slots=True)
class AllowanceLeft:
    """What is left of an allowance: `unit` is `byte`, `second` or `message`."""

    unit: str
    left: int
    ends: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """What a number has and is. Money in minor units of `currency`; `plan` is the plan's code."""

    number: int
    currency: str
    money_minor: int
    status: str
    plan: str | None
    allowances: list[AllowanceLeft]


def balance(number: int) -> Balance:
    """What can be spent now: without what is reserved, or in allowances that have ended.

    Raises UserError if the number is not known.
    """
    row = Number.objects.select_related("branch").filter(pk=number).first()
    if row is None:
        raise _unknown(number)
    current = _current(row)
    allowances = list(row.allowances.filter(ends_at__gt=timezone.now()).order_by("ends_at", "pk"))
    money = Kind.SUBSCRIBER_MONEY.account_id(number)
    accounts = run(read_accounts(row.branch.book, [money, *(a.account for a in allowances)]))
    return Balance(
        number=number,
        currency=row.branch.currency,
        money_minor=available(accounts[money]),
        status=row.status,
        plan=current.version.plan.code if current else None,
        allowances=[
            AllowanceLeft(Unit(a.unit).name.lower(), available(accounts[a.account]), a.ends_at)
            for a in allowances
        ],
    )


def open_number(
    number: int, branch: Branch, subscriber: Subscriber, *, at: datetime | None = None
) -> Number:
    """Opens a number and its accounts in the branch's book, active and without money.

    Raises UserError if it is no number or known already, whatever became of it since.
    """
    if not NUMBER_MIN <= number <= NUMBER_MAX:
        raise UserError(_("a number has 7 to 15 digits, not %(number)s") % {"number": number})
    at = _moment(at)
    with atomic():
        row, is_new = Number.objects.get_or_create(
            number=number,
            defaults={
                "branch": branch,
                "subscriber": subscriber,
                "opened_at": at,
                "status_since": at,
            },
        )
        if not is_new:
            raise UserError(
                _("%(number)s is there already: it is %(status)s")
                % {"number": row, "status": row.get_status_display()}
            )
        outcomes = run(open_accounts(branch.book, [kind.account(number) for kind in NUMBER_KINDS]))
        if set(outcomes) != {AccountOutcome.CREATED}:
            raise UserError(_("the ledger has accounts of %(number)s already") % {"number": row})
    return row


def block(number: Number | int, *, at: datetime | None = None) -> Number:
    """Blocks a number: no service, no top-ups, no plan. A blocked one stays as it is.

    Its accounts stay open, so that what is under way reaches it and staff can correct it; that
    it takes no top-ups is decided where they are. Raises UserError if it is closed or not known.
    """
    return _set_status(number, Number.Status.BLOCKED, _moment(at))


def unblock(number: Number | int, *, at: datetime | None = None) -> Number:
    """Makes a blocked number active again. UserError if it is closed or not known.

    A plan that lapsed meanwhile begins again at that moment if there is the money for it.
    """
    moment = _moment(at)
    with atomic():
        row = _set_status(number, Number.Status.ACTIVE, moment)
        hold_current(row)  # a renewal that took it for blocked lets it lapse: not after this
        resume(row.branch.book, {row.number: [Credit(moment)]}, moment)
    return row


def _set_status(number: Number | int, status: Number.Status, at: datetime) -> Number:
    with atomic():
        row = hold_number(number)
        if row.status == Number.Status.CLOSED:
            raise UserError(_("%(number)s is closed for good") % {"number": row})
        if row.status != status:
            row.status, row.status_since = status, at
            row.save(update_fields=["status", "status_since"])
    return row


def close(number: Number | int, *, at: datetime | None = None) -> Number:
    """Closes a number for good: its plan ends, its allowances expire, its accounts are closed.

    A closed one stays as it is. Raises UserError, with nothing changed, if money is left or under
    way, or if the number is not known.
    """
    return _while_used(lambda: _close_once(number, at))


def _close_once(number: Number | int, at: datetime | None) -> Number:
    with atomic():
        row = hold_number(number)
        at = _moment(at)
        if row.status == Number.Status.CLOSED:
            return row
        row.status, row.status_since = Number.Status.CLOSED, at
        row.save(update_fields=["status", "status_since"])
        if current := hold_current(row):
            _end(current, at)
        allowances = {allowance.account for allowance in row.allowances.all()}
        row.allowances.filter(ends_at__gt=at).update(ends_at=at)
        book = row.branch.book
        ids = sorted({kind.account_id(row.number) for kind in NUMBER_KINDS} | allowances)
        accounts = run(read_accounts(book, ids))
        _check_money(row, accounts)
        steps = expiries(account for account in accounts.values() if account.unit is not Unit.MONEY)
        if steps:
            _check(row, steps, run(post(book, chain(steps, "close", row.number, at.isoformat()))))
        # Now that the book is ours until the commit, nothing moves; but something may have.
        run(close_accounts(book, ids))
        accounts = run(read_accounts(book, ids))
        _check_money(row, accounts)
        bonus_came = row.allowances.exclude(account__in=allowances).exists()
        if bonus_came or not all(map(is_settled, accounts.values())):
            raise _Moved
    return row


def _check_money(row: Number, accounts: dict[int, Account]) -> None:
    account = accounts[Kind.SUBSCRIBER_MONEY.account_id(row.number)]
    if is_settled(account):
        return
    left = account.credits_posted - account.debits_posted
    if left:
        raise UserError(
            _("%(number)s has %(money)s left: pay that out or correct the balance first")
            % {"number": row, "money": _money(left, row.branch.currency)}
        )
    raise UserError(_("a payment of %(number)s is under way: wait for it") % {"number": row})


def subscribe(
    number: Number | int, version: PlanVersion, *, at: datetime | None = None
) -> Subscription:
    """Puts a number on a plan from `at` (None: now) on, in the place of the plan it was on.

    One chain, all or nothing: the charge, the end of what the former period left, the new
    allowances. Months are counted from the day of `at` in the branch's time zone. Asked again
    with the same `at`, it answers with what there is; what may be asked for twice, as a form that
    is sent again, therefore says its `at`.

    Raises UserError, with nothing changed, if the money is too little, the number not active, the
    version another operator's or not valid at `at`, or `at` not after the period under way began.
    """
    return _while_used(lambda: _subscribe_once(number, version, at))


def _subscribe_once(
    number: Number | int, version: PlanVersion, at: datetime | None
) -> Subscription:
    with atomic():
        row = hold_number(number)
        current = hold_current(row)
        at = _moment(at)  # now that others' turns are over
        if current and (current.version_id, current.started_at) == (version.pk, at):
            return current
        terms = hold_terms(version)
        _check_subscribe(row, version, terms, current, at)
        book = row.branch.book
        former = run(read_accounts(book, [k.account_id(row.number) for k in PLAN_KINDS.values()]))
        steps = subscription_steps(row.number, terms, former.values())
        if current:
            _end(current, at)
        subscription = _start(row, version, terms, at)
        _set_allowances(subscription, terms)
        if steps:
            key = ("subscribe", row.number, at.isoformat())
            transfers = chain(steps, *key, reference_id=subscription.pk)
            _check(row, steps, run(post(book, transfers)))
    return subscription


def _check_subscribe(
    row: Number, version: PlanVersion, terms: PlanTerms, current: Subscription | None, at: datetime
) -> None:
    if row.status != Number.Status.ACTIVE:
        raise UserError(
            _("%(number)s is %(status)s: only an active number goes on a plan")
            % {"number": row, "status": row.get_status_display()}
        )
    if version.plan.operator_id != row.branch.operator_id:
        raise UserError(_("%(number)s is another operator's than the plan") % {"number": row})
    problem = subscribe_problem(
        terms,
        at=at,
        now=timezone.now(),
        current_since=current.period_starts_at if current else None,
    )
    messages = {
        SubscribeProblem.NOT_VALID_THEN: _("this version of the plan is not sold at that time"),
        SubscribeProblem.IN_THE_FUTURE: _("a plan starts now, or started earlier"),
        SubscribeProblem.BEFORE_THE_CURRENT_PERIOD: _(
            "the period of %(number)s that is under way began at that time or later"
        ),
    }
    if problem is not None:
        raise UserError(messages[problem] % {"number": row})


def _start(row: Number, version: PlanVersion, terms: PlanTerms, at: datetime) -> Subscription:
    zone = ZoneInfo(row.branch.time_zone)
    unit: Literal["day", "month"] = "day" if terms.period_unit is PeriodUnit.DAY else "month"
    ends_at = end_of_period(at, unit, terms.period_count, zone, at.astimezone(zone).day)
    return Subscription.objects.create(
        number=row,
        version=version,
        started_at=at,
        anchored_at=at,
        period_starts_at=at,
        period_ends_at=ends_at,
    )


def _end(subscription: Subscription, at: datetime) -> None:
    subscription.ended_at, subscription.next_version = at, None
    subscription.save(update_fields=["ended_at", "next_version"])


def _set_allowances(subscription: Subscription, terms: PlanTerms) -> None:
    """The plan's allowances are these, in the accounts that every plan of the number uses."""
    number = subscription.number
    for unit, kind in PLAN_KINDS.items():
        account = kind.account_id(number.number)
        if unit in terms.allowances:
            Allowance.objects.update_or_create(
                number=number,
                account=account,
                defaults={
                    "unit": unit,
                    "granted": terms.allowances[unit],
                    "ends_at": subscription.period_ends_at,
                },
            )
        else:
            number.allowances.filter(account=account, ends_at__gt=subscription.started_at).update(
                ends_at=subscription.started_at
            )


class _Moved(Exception):
    """An account is no longer as it was read; nothing was written."""


def _while_used(change: Callable[[], T]) -> T:
    for _tries in range(TRIES_MAX):
        try:
            return change()
        except _Moved:
            continue
    raise UserError(_("the number's allowances are in use just now: try again in a moment"))


def _check(row: Number, steps: list[Step], answers: list[Posted]) -> None:
    """Raises for the step that a chain failed for, so that all of it is rolled back."""
    for step, answer in zip(steps, answers, strict=True):
        if answer.outcome.done or answer.outcome is Outcome.LINKED_EVENT_FAILED:
            continue
        if answer.outcome is Outcome.EXCEEDS_CREDITS and step.code is Code.PLAN_CHARGE:
            raise UserError(
                _("%(number)s has too little money: the plan costs %(price)s")
                % {"number": row, "price": _money(step.amount, row.branch.currency)}
            )
        if answer.outcome is Outcome.EXCEEDS_CREDITS:
            raise _Moved
        raise UserError(
            _("the ledger refuses a transfer of %(number)s: %(outcome)s")
            % {"number": row, "outcome": answer.outcome}
        )


def hold_number(number: Number | int) -> Number:
    """The number, which nobody else changes until this transaction ends."""
    pk = number.pk if isinstance(number, Number) else number
    locked = Number.objects.select_for_update(of=("self",), no_key=True)
    row = locked.select_related("branch").filter(pk=pk).first()
    if row is None:
        raise _unknown(pk)
    return row


def _current(row: Number) -> Subscription | None:
    return row.subscriptions.filter(ended_at=None).select_related("version__plan").first()


def hold_current(row: Number) -> Subscription | None:
    """The same, which nobody renews until this transaction ends."""
    current = row.subscriptions.filter(ended_at=None).select_for_update(no_key=True)
    current = current.select_related(None)
    # A renewal that was waited for may have ended that row and begun another: a statement that
    # waits does not see what came meanwhile, the next one does.
    return current.first() or current.first()


def _unknown(number: int) -> UserError:
    return UserError(_("the number %(number)s is not known") % {"number": number}, exit_status=1)


def _moment(at: datetime | None) -> datetime:
    if at is None:
        return timezone.now()
    if at.tzinfo is None:
        raise ValueError("a moment has a time zone")
    return at.astimezone(UTC)  # one moment, one identifier


def _money(minor: int, currency: str) -> str:
    return f"{minor // 100}.{minor % 100:02} {currency}"
