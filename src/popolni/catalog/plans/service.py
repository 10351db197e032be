"""Plans and their versions.

A version that someone is on never changes: its terms are what they agreed to. Who edits a version
locks its row FOR UPDATE; who puts a number on it takes its terms from `hold_terms`, which holds the
row FOR KEY SHARE; so one waits for the other. (The foreign key does the same only at COMMIT, as it
is deferred: too late.) Changes to one plan's versions wait for each other on the plan's row.
"""

import re
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.catalog.operators.models import Operator
from popolni.catalog.plans.models import Plan, PlanAllowance, PlanRate, PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate, WhenShort, check_terms
from popolni.core.errors import UserError
from popolni.ledger.model import Unit

GRACE = timedelta(minutes=1)
"""So long ago is still now: a form that said "now" was on its way."""

_COLUMNS = (
    *("name_ru", "name_en", "name_zh", "description_ru", "description_en", "description_zh"),
    *("price_minor", "period_unit", "period_count", "when_short", "limited_kbit_per_s"),
    *("valid_from", "valid_to"),
)


def terms_of(version: PlanVersion) -> PlanTerms:
    """A version's terms: two queries, none if allowances and rates are prefetched."""
    columns = {name: getattr(version, name) for name in _COLUMNS}
    return PlanTerms(
        **columns
        | {
            "period_unit": PeriodUnit(version.period_unit),
            "when_short": WhenShort(version.when_short),
            "allowances": {Unit(row.unit): row.amount for row in version.allowances.all()},
            "rates": {
                Unit(row.unit): Rate(row.block, row.price_minor) for row in version.rates.all()
            },
        }
    )


def hold_terms(version: PlanVersion) -> PlanTerms:
    """A version's terms as they will be until this transaction ends: nobody edits it meanwhile.

    Whoever puts a number on it does this first: the terms that are charged are then those that
    the number gets. Must be inside a transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("terms are held until a transaction ends: there is none")
    with connection.cursor() as cursor:
        cursor.execute("select from popolni_planversion where id = %s for key share", (version.pk,))
    return terms_of(PlanVersion.objects.get(pk=version.pk))


def version_at(plan: Plan, at: datetime) -> PlanVersion | None:
    """The version that may be bought at that moment."""
    still = Q(valid_to=None) | Q(valid_to__gt=at)
    return plan.versions.filter(still, valid_from__lte=at).order_by("-version").first()


def is_in_use(version: PlanVersion) -> bool:
    """Whether a number is or was on it, or has it next."""
    return version.subscription_set.exists() or version.queued_set.exists()


@transaction.atomic
def create_plan(operator: Operator, *, code: str, kind: str, terms: PlanTerms) -> PlanVersion:
    """A new plan with its first version. Raises UserError if the code is taken or a term wrong."""
    check_terms(terms)
    if not re.fullmatch(r"[-\w]{1,50}", code, re.ASCII):
        raise UserError(
            _("a plan's code is 1 to 50 letters, digits, hyphens and _, not %(code)s")
            % {"code": repr(code)}
        )
    if kind not in Plan.Kind:
        raise UserError(
            _("a plan is one of %(kinds)s, not %(kind)s")
            % {"kinds": ", ".join(Plan.Kind.values), "kind": repr(kind)}
        )
    plan, is_new = Plan.objects.get_or_create(
        code=code, defaults={"operator": operator, "kind": kind}
    )
    if not is_new:
        raise UserError(
            _("there is a plan %(code)s already: make a new version of it") % {"code": code}
        )
    return _write(PlanVersion(plan=plan, version=1), terms)


@transaction.atomic
def new_version(plan: Plan, terms: PlanTerms, *, valid_from: datetime | None = None) -> PlanVersion:
    """The plan's next version; the former one may be bought until it begins.

    `valid_from`, where given, goes before that of the terms. Raises UserError if it is not later
    than the former version's and than the last time a number went on that one, if it has passed
    although numbers are or were on the former one, or if a term is wrong.
    """
    terms = replace(terms, valid_from=valid_from or terms.valid_from)
    check_terms(terms)
    former = _lock(plan).order_by("-version").first()
    if former:
        _end_before(former, terms.valid_from)
    return _write(PlanVersion(plan=plan, version=former.version + 1 if former else 1), terms)


@transaction.atomic
def edit_version(version: PlanVersion, terms: PlanTerms) -> PlanVersion:
    """Changes a version that nobody is or was on. Returns its row as it is then.

    Raises UserError if someone is, if a term is wrong, or if it would not stay between the
    versions before and after it.
    """
    check_terms(terms)
    versions = _lock(version.plan)
    held = versions.select_for_update().get(pk=version.pk)
    if is_in_use(held):
        raise UserError(
            _("there are numbers on %(version)s: make a new version of %(plan)s")
            % {"version": held, "plan": held.plan}
        )
    _check_ends_before_next(versions, held, terms.valid_to)
    former = versions.filter(version__lt=held.version).order_by("-version").first()
    if former and terms.valid_from != held.valid_from:
        _end_before(former, terms.valid_from, until_now=held.valid_from)
    held.allowances.all().delete()
    held.rates.all().delete()
    return _write(held, terms)


@transaction.atomic
def end_sale(version: PlanVersion, at: datetime | None = None) -> PlanVersion:
    """Nobody goes on the version from `at` (None: now) on; who is on it stays, on the same terms.

    Returns its row as it is then. Raises UserError if the sale is over, if `at` has passed, is not
    after the version's beginning, or is after the next version's.
    """
    versions = _lock(version.plan)
    held = versions.select_for_update().get(pk=version.pk)  # waits for who goes on it now
    now = timezone.now()
    at = at or now
    check_terms(replace(terms_of(held), valid_to=at))
    if held.valid_to is not None and held.valid_to <= now:
        raise UserError(
            _("the sale of %(version)s ended at %(at)s")
            % {"version": held, "at": _moment(held.valid_to)}
        )
    if at < now - GRACE:
        raise UserError(_("the sale of %(version)s ends now or later") % {"version": held})
    _check_ends_before_next(versions, held, at)
    held.valid_to = max(at, now)
    held.save(update_fields=["valid_to"])
    return held


def _lock(plan: Plan) -> QuerySet[PlanVersion]:
    """The plan's versions, which nobody else changes until this transaction ends."""
    Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)
    return PlanVersion.objects.filter(plan=plan)


def _check_ends_before_next(
    versions: QuerySet[PlanVersion], version: PlanVersion, ends: datetime | None
) -> None:
    later = versions.filter(version__gt=version.version).order_by("version").first()
    if later and (ends is None or ends > later.valid_from):
        raise UserError(
            _("%(version)s ends when %(next)s begins, at %(at)s, or earlier")
            % {"version": version, "next": later, "at": _moment(later.valid_from)}
        )


def _end_before(
    former: PlanVersion, begins: datetime, *, until_now: datetime | None = None
) -> None:
    """Ends it when the next begins; one that ended earlier, and not for the next, stays so."""
    if begins <= former.valid_from:
        raise UserError(
            _("%(version)s is valid from %(at)s: the version after it begins later than that")
            % {"version": former, "at": _moment(former.valid_from)}
        )
    _check_nobody_on(former, begins)
    if former.valid_to is None or former.valid_to > begins or former.valid_to == until_now:
        former.valid_to = begins
        former.save(update_fields=["valid_to"])


def _check_nobody_on(former: PlanVersion, begins: datetime) -> None:
    """What people agreed to while a version was sold was never another one's terms."""
    if not is_in_use(former):
        return
    if begins < timezone.now() - GRACE:
        raise UserError(
            _("there are numbers on %(version)s: the version after it begins now or later")
            % {"version": former}
        )
    if former.subscription_set.filter(started_at__gte=begins).exists():
        raise UserError(
            _("a number went on %(version)s at %(at)s or after that: the next one begins later")
            % {"version": former, "at": _moment(begins)}
        )


def _write(version: PlanVersion, terms: PlanTerms) -> PlanVersion:
    for name in _COLUMNS:
        setattr(version, name, getattr(terms, name))
    version.save()
    # One by one: the audit trail hears of each.
    for unit, amount in terms.allowances.items():
        PlanAllowance.objects.create(version=version, unit=unit, amount=amount)
    for unit, rate in terms.rates.items():
        PlanRate.objects.create(
            version=version, unit=unit, block=rate.block, price_minor=rate.price_minor
        )
    return version


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M %Z}"
