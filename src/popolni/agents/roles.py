"""The roles of staff and exactly what each may do; whatever is not listed here, nobody may.

- Nobody deletes what has a history: it is switched off, ended, closed, or gets a new version.
- Nobody adds or changes an adjustment, a budget's or a float's sum, a subscription, an allowance:
  those come about through services that check more than a permission.
- Numbering ranges, carriers and regions come from the regulator's files alone.
- Only the owner manages users and reads the audit trail. That there is a second person for large
  sums is checked by `topups.adjustments`, for the owner too.
- Reading an identity document in the clear is support's alone.
- A number's plan is changed by support and the owner.
- A number is blocked by support, and closed, which nothing takes back, by finance or the owner.
- How an agent writes its registries, and what is done about differences, is for finance and the
  owner.
- The clerk and the cashier have no back office; their pages are the counter and the till.
"""

from collections.abc import Mapping
from types import MappingProxyType

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils.translation import gettext as _

from popolni.agents.staff import User
from popolni.core.errors import UserError


def _may(actions: str, models: str) -> frozenset[str]:
    """The permissions to do these things with these models, all of our one app."""
    return frozenset(
        f"popolni.{action}_{model}" for action in actions.split() for model in models.split()
    )


_PLANS = _may("view", "plan planversion planallowance planrate")
_PROMOTIONS = _may("view", "promotion promotionbudget")
_OPERATORS = _may("view", "operator branch complianceprofile channellimit methodsetting")
_NUMBERING = _may("view", "carrier region numberingrange portednumber numberingimport")
_AGENTS = _may("view", "agent contract commission outlet")
_NUMBERS = _may("view", "number subscription allowance")

_FINANCE = (
    _may("ask", "float balance budget")
    | _may("decide view", "adjustment")
    | _may("close", "number")
    | _may("view", "operator branch topuphour")
    | _may("view change", "registrylayout")
    | _may("add view", "reconciliation")
    | _may("settle", "difference")
    | _may("view", "settlement")
    | _AGENTS
    | _PLANS
    | _PROMOTIONS
    | _NUMBERS
)
_CATALOGUE = (
    # What stands in a list without a history of its own may leave it again: a channel that is
    # off, a line of a version that nobody is on yet, a number that came back.
    _may("add change delete", "channellimit planallowance planrate portednumber")
    | _may("add change", "operator branch complianceprofile methodsetting")
    | _may("add change", "plan planversion promotion")
    | _may("add", "promotionbudget numberingimport")
    | _may("change", "carrier")  # which of our operators it is
    | _OPERATORS
    | _PLANS
    | _PROMOTIONS
    | _NUMBERING
)
_SUPPORT = (
    _may("ask", "balance")
    | _may("change", "number")  # block and unblock
    | _may("manage", "subscription")  # its plan, and whether it renews by itself
    | _may("view", "adjustment subscriber identitydocument")
    | _may("view", "operator branch agent outlet")
    | _NUMBERS
    | _PLANS
    | _PROMOTIONS
    | _NUMBERING
)
_OWNER = (
    _may("add change view", "user")
    | _may("add change", "agent contract commission outlet credential")
    | _may("view", "credential")
    | _may("view change", "webhook setaside")
    | {"auditlog.view_logentry"}
    | _FINANCE
    | _CATALOGUE
    | (_SUPPORT - _may("view", "identitydocument"))
)

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "owner": _OWNER,
        "finance": _FINANCE,
        "catalogue": _CATALOGUE,
        "support": _SUPPORT,
        "clerk": frozenset(),
        "cashier": frozenset(),
    }
)
"""The permissions of each role, as `user.has_perm` takes them."""

BACK_OFFICE = frozenset({"owner", "finance", "catalogue", "support"})
"""The roles that may sign in there."""


def create_roles() -> None:
    """Brings the group of each role exactly to the table; other groups are left alone.

    A permission whose model the database has yet to get is left out until the next time.
    """
    with transaction.atomic():
        permissions = _permissions()
        for role, names in ROLES.items():
            group, _created = Group.objects.get_or_create(name=role)
            wanted = {permissions[name] for name in names if name in permissions}
            group.permissions.set(wanted)  # writes nothing if they are the ones


def _permissions() -> dict[str, int]:
    """The pk of each permission that a role has."""
    names = {name for names in ROLES.values() for name in names}
    apps = {name.partition(".")[0] for name in names}
    rows = Permission.objects.filter(content_type__app_label__in=apps)
    return {
        f"{app}.{codename}": pk
        for app, codename, pk in rows.values_list("content_type__app_label", "codename", "pk")
    }


def assign(user: User, role: str) -> None:
    """Gives a user this role and nothing else: no other group, no permission of their own.

    Raises UserError if there is no such role.
    """
    if role not in ROLES:
        raise UserError(
            _("there is no role %(role)r; there are: %(roles)s")
            % {"role": role, "roles": ", ".join(ROLES)}
        )
    with transaction.atomic():
        group, created = Group.objects.get_or_create(name=role)
        if created:
            create_roles()
        user.is_staff = role in BACK_OFFICE
        user.is_superuser = False
        user.save(update_fields=["is_staff", "is_superuser"])
        user.groups.set([group])
        user.user_permissions.clear()
    for cached in ("_perm_cache", "_user_perm_cache", "_group_perm_cache"):
        user.__dict__.pop(cached, None)  # what Django remembers of who they were


def role_of(user: User) -> str | None:
    """The role of a user; None if they have none."""
    names = {group.name for group in user.groups.all()}
    return next((role for role in ROLES if role in names), None)
