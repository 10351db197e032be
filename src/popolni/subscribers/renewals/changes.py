"""What people change of a subscription: its plan, now or next, and whether it renews by itself.

Each locks the number, so that changes take turns, and its subscription, so that no renewal comes
between. Whoever of the staff asks needs the permission; a subscriber, asking for a number of their
own (`by` is None), does not.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from django.core.exceptions import PermissionDenied
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.service import hold_terms
from popolni.core.errors import UserError
from popolni.ledger.client import atomic
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.renewals.rules import Credit
from popolni.subscribers.renewals.service import resume
from popolni.subscribers.service import hold_current, hold_number, subscribe

PERMISSION = "popolni.manage_subscription"


class Staff(Protocol):
    """Who asks."""

    def has_perm(self, perm: str) -> bool:
        """Whether they have this permission."""


def change_plan(
    number: Number | int,
    version: PlanVersion,
    *,
    by: Staff | None,
    at: datetime | None = None,
) -> Subscription:
    """Puts a number on a plan now: `service.subscribe`, which says what it raises.

    What is left of the period under way is lost, and nothing of its price comes back.
    """
    _check(by)
    return subscribe(number, version, at=at)


def queue_plan(
    number: Number | int,
    version: PlanVersion,
    *,
    by: Staff | None,
    now: datetime | None = None,
) -> Subscription:
    """Has a number go on a plan when its next period begins; another queued one is forgotten.

    Who is on this version already only has no other one queued any more. A number that has lapsed
    begins with it, at once if the money is enough.

    Raises UserError, with nothing changed, if the number is on no plan or not active, the version
    another operator's, or not sold now; PermissionDenied.
    """

    def change(row: Number, current: Subscription, at: datetime) -> None:
        if row.status != Number.Status.ACTIVE:
            raise UserError(
                _("%(number)s is %(status)s: only an active number goes on a plan")
                % {"number": row, "status": row.get_status_display()}
            )
        if version.plan.operator_id != row.branch.operator_id:
            raise UserError(_("%(number)s is another operator's than the plan") % {"number": row})
        terms = hold_terms(version)
        if at < terms.valid_from or (terms.valid_to is not None and at >= terms.valid_to):
            raise UserError(_("this version of the plan is not sold at that time"))
        current.next_version = None if version.pk == current.version_id else version

    return _change(number, change, by=by, now=now)


def unqueue_plan(
    number: Number | int, *, by: Staff | None, now: datetime | None = None
) -> Subscription:
    """Has a number stay on its plan. Raises UserError if it is on none; PermissionDenied."""

    def change(_row: Number, current: Subscription, _at: datetime) -> None:
        current.next_version = None

    return _change(number, change, by=by, now=now)


def set_renewed(
    number: Number | int, *, is_renewed: bool, by: Staff | None, now: datetime | None = None
) -> Subscription:
    """Whether a number's plan renews by itself when a period ends.

    Switched on for one that has lapsed, it begins again at once if the money is enough.

    Raises UserError if the number is on no plan; PermissionDenied.
    """

    def change(_row: Number, current: Subscription, _at: datetime) -> None:
        current.is_renewed = is_renewed

    return _change(number, change, by=by, now=now)


def _check(by: Staff | None) -> None:
    if by is not None and not by.has_perm(PERMISSION):
        raise PermissionDenied


def _change(
    number: Number | int,
    change: Callable[[Number, Subscription, datetime], None],
    *,
    by: Staff | None,
    now: datetime | None,
) -> Subscription:
    """Changes the current subscription, and begins it again if it now can be."""
    _check(by)
    with atomic():
        row = hold_number(number)
        current = hold_current(row)
        if current is None:
            raise UserError(_("%(number)s is on no plan") % {"number": row})
        at = now or timezone.now()
        before = current.next_version_id, current.is_renewed
        change(row, current, at)
        if (current.next_version_id, current.is_renewed) != before:
            current.save(update_fields=["next_version", "is_renewed"])
        if current.status == Subscription.Status.LAPSED:
            resume(row.branch.book, {row.number: [Credit(at)]}, at)
    return Subscription.objects.get(number=row, ended_at=None)
