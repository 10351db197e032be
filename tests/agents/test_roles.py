"""Each role may do exactly what the table says, and the table gives nobody too much."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission

from popolni.agents.roles import BACK_OFFICE, ROLES, assign, create_roles, role_of
from popolni.agents.staff import User
from popolni.core.errors import UserError
from tests.agents.support import new_user

pytestmark = pytest.mark.usefixtures("database_url")

EVERYTHING = frozenset(name for names in ROLES.values() for name in names)
MODELS = {model._meta.model_name for model in apps.get_app_config("popolni").get_models()}

# What each may do besides looking, in full: whoever changes the table changes this, too.
WRITES = {
    "owner": {
        "add": "agent branch channellimit commission complianceprofile contract credential"
        " methodsetting numberingimport operator outlet plan planallowance planrate planversion"
        " portednumber promotion promotionbudget reconciliation user",
        "change": "agent branch carrier channellimit commission complianceprofile contract"
        " credential methodsetting number operator outlet plan planallowance planrate planversion"
        " portednumber promotion registrylayout setaside user webhook",
        "delete": "channellimit planallowance planrate portednumber",
        "ask": "balance budget float",
        "decide": "adjustment",
        "close": "number",
        "manage": "subscription",
        "settle": "difference",
    },
    "finance": {
        "add": "reconciliation",
        "change": "registrylayout",
        "ask": "balance budget float",
        "decide": "adjustment",
        "close": "number",
        "settle": "difference",
    },
    "catalogue": {
        "add": "branch channellimit complianceprofile methodsetting numberingimport operator plan"
        " planallowance planrate planversion portednumber promotion promotionbudget",
        "change": "branch carrier channellimit complianceprofile methodsetting operator plan"
        " planallowance planrate planversion portednumber promotion",
        "delete": "channellimit planallowance planrate portednumber",
    },
    "support": {"ask": "balance", "change": "number", "manage": "subscription"},
    "clerk": {},
    "cashier": {},
}
UNSEEN = {
    "owner": "identitydocument",
    "finance": "credential user identitydocument subscriber carrier numberingrange logentry"
    " complianceprofile setaside",
    "catalogue": "agent contract credential user number subscriber identitydocument adjustment"
    " topuphour logentry setaside",
    "support": "contract commission credential user topuphour logentry complianceprofile setaside",
    "clerk": " ".join(sorted(model for model in MODELS if model)),
    "cashier": " ".join(sorted(model for model in MODELS if model)),
}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_writes(role: str) -> None:
    writes: dict[str, set[str]] = {}
    for name in ROLES[role]:
        action, model = name.partition(".")[2].split("_")
        if action != "view":
            writes.setdefault(action, set()).add(model)
    assert writes == {action: set(models.split()) for action, models in WRITES[role].items()}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_does_not_see(role: str) -> None:
    seen = {name.partition(".")[2].removeprefix("view_") for name in ROLES[role] if "view" in name}
    assert seen & set(UNSEEN[role].split()) == set()


def test_what_may_be_written_may_be_seen() -> None:
    for role, names in ROLES.items():
        for name in names:
            app, _, codename = name.partition(".")
            action, model = codename.split("_")
            if action in ("add", "change", "delete"):
                assert f"{app}.view_{model}" in names, (role, name)


# By hand, nobody: services do it, or the regulator's files, and what has a history stays.
@pytest.mark.parametrize(
    ("action", "models"),
    [
        ("delete", MODELS - {"channellimit", "planallowance", "planrate", "portednumber"}),
        ("change", {"reconciliation", "settlement", "writtenregistry"}),
        ("add", {"adjustment", "number", "subscriber", "subscription", "allowance", "topuphour",
                 "identitydocument", "numberingrange", "carrier", "region"}),
        ("change", {"adjustment", "promotionbudget", "subscription", "allowance", "topuphour",
                    "identitydocument", "numberingrange", "region", "numberingimport"}),
    ],
)  # fmt: skip
def test_what_nobody_may(action: str, models: set[str]) -> None:
    assert {f"popolni.{action}_{model}" for model in models} & EVERYTHING == set()


def test_only_the_owner_manages_users_and_reads_the_trail() -> None:
    mine = {name for name in EVERYTHING if name.endswith(("_user", "_logentry"))}
    assert mine == {
        "popolni.add_user",
        "popolni.change_user",
        "popolni.view_user",
        "auditlog.view_logentry",
    }
    assert [role for role, names in ROLES.items() if names & mine] == ["owner"]


def test_only_support_reads_documents() -> None:
    reads = "popolni.view_identitydocument"
    assert [role for role, names in ROLES.items() if reads in names] == ["support"]


def in_database(role: str) -> set[str]:
    rows = Permission.objects.filter(group__name=role)
    return {
        f"{app}.{name}" for app, name in rows.values_list("content_type__app_label", "codename")
    }


def test_the_groups_are_brought_to_the_table() -> None:
    create_roles()
    other, _created = Group.objects.get_or_create(name="south: not a role")
    finance = Group.objects.get(name="finance")
    finance.permissions.add(Permission.objects.get(codename="delete_agent"))
    finance.permissions.remove(Permission.objects.get(codename="ask_float"))
    Group.objects.get(name="owner").permissions.clear()
    for _ in range(2):
        create_roles()
        assert {role: in_database(role) for role in ROLES} == ROLES
    assert Group.objects.filter(pk=other.pk).exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_user_has_one_role_and_nothing_else(role: str) -> None:
    user = new_user(role=None, is_superuser=True, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="delete_agent"))
    user.groups.add(*Group.objects.filter(name__in=["owner", "support"]))
    assert user.has_perm("popolni.delete_agent")
    assign(user, role)
    for one in (user, User.objects.get(pk=user.pk)):
        assert one.get_all_permissions() == ROLES[role]
        assert (one.is_staff, one.is_superuser) == (role in BACK_OFFICE, False)
        assert role_of(one) == role


def test_there_is_no_such_role() -> None:
    user = new_user()
    with pytest.raises(UserError, match=r"no role 'boss'; there are: owner, finance"):
        assign(user, "boss")
    assert role_of(user) == "finance"
    assert role_of(new_user(role=None)) is None
