from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.roles import ROLES, assign, role_of
from popolni.agents.staff import User
from popolni.topups import adjustments
from tests.web.office.desk import HOST, listed, new_contract, new_user, queries, signed_in

pytestmark = pytest.mark.usefixtures("database_url")

LIST = "/admin/popolni/user/"
ADJUSTMENTS = "/admin/popolni/adjustment/"
ADD = f"{LIST}add/"
PASSWORD = "a horse, a battery"  # noqa: S105  # of users that live in tests
OLD = "an old horse, a battery"
SPARE = "abcdefgh"
PERSON = {"first_name": "Anna", "last_name": "Wang", "email": "a@example.org", "language": "zh"}


def page(user: User) -> str:
    return f"{LIST}{user.pk}/change/"


def sent(user: User, **changes: Any) -> dict[str, Any]:
    """The form as the page has it, with these changes; None leaves a field out."""
    fields = {**PERSON, "role": role_of(user) or "", "is_active": "on", **changes}
    return {name: value for name, value in fields.items() if value is not None}


def new(client: Client, username: str, **changes: Any) -> Any:
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    fields = {"username": username, **PERSON, "role": "finance", **passwords, **changes}
    return client.post(ADD, fields)


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def test_a_new_user_has_a_role_and_nothing_else() -> None:
    client = signed_in(new_user("owner"))
    answer = new(client, "people-anna")
    assert (answer.status_code, answer["Location"]) == (302, LIST)
    anna = User.objects.get(username="people-anna")
    assert (role_of(anna), anna.is_staff, anna.is_superuser, anna.language) == (
        *("finance", True, False, "zh"),
    )
    assert anna.check_password(PASSWORD)
    assert anna.get_all_permissions() == ROLES["finance"]
    new(client, "people-clerk", role="clerk")
    assert not User.objects.get(username="people-clerk").is_staff


@pytest.mark.parametrize(
    ("username", "changes", "field"),
    [
        ("people-weak", {"password1": "short", "password2": "short"}, "password1"),
        ("people-weak", {"password1": "password1234", "password2": "password1234"}, "password1"),
        ("people-weak-login", dict.fromkeys(("password1", "password2"), "people-weak-login1"),
         "password1"),
        ("people-weak", {"password2": "another horse"}, "password2"),
        ("people-weak", {"password1": "", "password2": ""}, "password1"),
        ("people-weak", dict.fromkeys(("password1", "password2"), "x" * 129), "password1"),
        ("people-weak", {"role": "god"}, "role"),
        ("people-weak", {"role": ""}, "role"),
        ("people-weak", {"language": "tlh"}, "language"),
        ("", {}, "username"),
        ("people weak", {}, "username"),
        ("people-TAKEN", {}, "username"),
        ("ｐeople-taken", {}, "username"),
    ],
)  # fmt: skip
def test_a_new_user_that_can_not_be(username: str, changes: dict[str, str], field: str) -> None:
    if not User.objects.filter(username="people-taken").exists():
        new_user("clerk", username="people-taken")
    answer = new(signed_in(new_user("owner")), username, **changes)
    assert answer.status_code == 200
    assert field in answer.context_data["adminform"].form.errors
    assert not User.objects.filter(username__startswith="people-weak").exists()


def test_forged_fields_change_nothing() -> None:
    user = new_user("support")
    permission = Permission.objects.get(codename="change_user")
    forged = {
        "is_superuser": "on",
        "is_staff": "on",
        "user_permissions": permission.pk,
        "groups": 1,
        "username": "somebody-else",
        "password": "pbkdf2_sha256$1$a$b",
    }
    before = fresh(user)
    client = signed_in(new_user("owner"))
    assert client.post(page(user), sent(user, **forged)).status_code == 302
    after = fresh(user)
    assert (after.username, after.password) == (before.username, before.password)
    assert (after.is_superuser, role_of(after), after.first_name) == (False, "support", "Anna")
    assert after.get_all_permissions() == ROLES["support"]
    new(client, "people-forged", is_superuser="on", is_staff="on", role="clerk")
    forged_user = User.objects.get(username="people-forged")
    assert (forged_user.is_superuser, forged_user.is_staff) == (False, False)


def test_another_role_is_all_of_it() -> None:
    user = new_user("catalogue")
    client = signed_in(new_user("owner"))
    client.post(page(user), sent(user, role="support"))
    assert fresh(user).get_all_permissions() == ROLES["support"]
    client.post(page(user), sent(user, role="cashier"))
    assert (fresh(user).is_staff, role_of(fresh(user))) == (False, "cashier")


def test_whoever_is_switched_off_is_out_at_once() -> None:
    user = new_user("finance")
    theirs = signed_in(user)
    assert theirs.get("/admin/popolni/adjustment/").status_code == 200
    signed_in(new_user("owner")).post(page(user), sent(user, is_active=None))
    assert not fresh(user).is_active
    assert theirs.get("/admin/popolni/adjustment/").status_code == 302


@pytest.mark.parametrize("changes", [{"is_active": None}, {"role": "finance"}, {"role": "clerk"}])
def test_nobody_takes_the_keys_from_themselves(changes: dict[str, Any]) -> None:
    owner, _other = new_user("owner"), new_user("owner")
    answer = signed_in(owner).post(page(owner), sent(owner, **changes))
    assert answer.status_code == 200
    assert "another owner does that" in answer.content.decode()
    assert (fresh(owner).is_active, role_of(fresh(owner))) == (True, "owner")
    assert signed_in(owner).post(page(owner), sent(owner)).status_code == 302  # a name is theirs


@pytest.mark.parametrize("changes", [{"is_active": None}, {"role": "finance"}])
def test_one_active_owner_remains(changes: dict[str, Any]) -> None:
    god = new_user(None, is_superuser=True, is_staff=True)
    client = signed_in(god)
    last = new_user("owner")
    others = User.objects.filter(groups__name="owner", is_active=True).exclude(pk=last.pk)
    set_aside = list(others.values_list("pk", flat=True))
    User.objects.filter(pk__in=set_aside).update(is_active=False)
    try:
        answer = client.post(page(last), sent(last, **changes))
        assert "this is the last active owner" in answer.content.decode()
        assert (fresh(last).is_active, role_of(fresh(last))) == (True, "owner")
        new_user("owner")
        assert client.post(page(last), sent(last, **changes)).status_code == 302
    finally:
        User.objects.filter(pk__in=set_aside).update(is_active=True)


def test_an_owner_touches_no_superuser() -> None:
    god = new_user(None, is_superuser=True, is_staff=True, password=PASSWORD)
    client = signed_in(new_user("owner"))
    assert client.get(page(god)).status_code == 200  # to look at
    assert client.post(page(god), sent(god, role="clerk")).status_code == 403
    assert client.get(f"{LIST}{god.pk}/password/").status_code == 403
    assert client.post(f"{LIST}{god.pk}/reset-second-factor/").status_code == 403
    other = signed_in(new_user(None, is_superuser=True, is_staff=True))
    assert other.post(page(god), sent(god, role="clerk")).status_code == 302
    assert (fresh(god).is_superuser, role_of(fresh(god))) == (True, None)


def test_a_new_password_ends_the_old_session() -> None:
    user = new_user("finance", password=OLD)
    theirs = signed_in(user)
    client = signed_in(new_user("owner"))
    url = f"{LIST}{user.pk}/password/"
    assert client.get(url).status_code == 200
    for bad in ("short", "password1234", "x" * 129, ""):
        assert client.post(url, {"password1": bad, "password2": bad}).status_code == 200
    assert client.post(url, {"password1": PASSWORD, "password2": "x"}).status_code == 200
    assert fresh(user).check_password(OLD)
    answer = client.post(url, {"password1": PASSWORD, "password2": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, page(user))
    assert fresh(user).check_password(PASSWORD)
    assert theirs.get("/admin/").status_code == 302


def test_one_s_own_password_takes_the_old_one() -> None:
    owner = new_user("owner", password=PASSWORD)
    answer = signed_in(owner).post(
        f"{LIST}{owner.pk}/password/", {"password1": "another horse", "password2": "another horse"}
    )
    assert answer["Location"] == reverse("admin:password_change")
    assert fresh(owner).check_password(PASSWORD)


def test_the_second_factor_is_reset_for_another_but_not_for_oneself() -> None:
    user, owner = new_user("finance"), new_user("owner")
    theirs, client = signed_in(user), signed_in(owner)
    StaticDevice.objects.create(user=user, name="spare codes").token_set.create(token=SPARE)
    assert client.get(f"{LIST}{user.pk}/reset-second-factor/").status_code == 405
    client.post(f"{LIST}{user.pk}/reset-second-factor/")
    assert not TOTPDevice.objects.filter(user=user).exists()
    assert not StaticDevice.objects.filter(user=user).exists()
    assert theirs.get("/admin/popolni/adjustment/").status_code == 302
    answer = client.post(f"{LIST}{owner.pk}/reset-second-factor/", follow=True)
    assert "Another owner resets" in answer.content.decode()
    assert TOTPDevice.objects.filter(user=owner).exists()


@pytest.mark.parametrize("role", ["finance", "catalogue", "support"])
def test_only_the_owner(role: str) -> None:
    user = new_user("support")
    client = signed_in(new_user(role))
    before = User.objects.filter(pk=user.pk).values().get()
    for url in (LIST, ADD, page(user), f"{LIST}{user.pk}/password/"):
        assert client.get(url).status_code == 403
        assert client.post(url, {}).status_code == 403
    assert client.post(f"{LIST}{user.pk}/reset-second-factor/").status_code == 403
    assert client.post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=user.pk).values().get() == before


def test_nobody_deletes_a_user() -> None:
    user = new_user("support")
    client = signed_in(new_user(None, is_superuser=True, is_staff=True))
    assert client.post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": user.pk, "post": "yes"})
    assert fresh(user) == user


def test_no_hash_is_shown_anywhere() -> None:
    user = new_user("support", password=PASSWORD, username="people-hash")
    client = signed_in(new_user("owner"))
    export = {"action": "export_csv", "_selected_action": user.pk}
    shown = [client.get(url) for url in (LIST, page(user), f"{LIST}{user.pk}/password/")]
    csv = b"".join(client.post(f"{LIST}?q=people-hash", export)).decode()
    assert "people-hash" in csv
    for text in (*(answer.content.decode() for answer in shown), csv):
        assert "argon2" not in text
        assert fresh(user).password not in text


def test_the_list_takes_the_same_queries_for_one_row_and_for_three() -> None:
    client = signed_in(new_user("owner"))
    taken = []
    for many in (1, 3):
        for number in range(many):
            new_user("clerk", username=f"people-row-{many}-{number}")
        with queries() as found:
            answer = client.get(f"{LIST}?q=people-row-{many}")
        assert (answer.status_code, len(listed(answer))) == (200, many)
        taken.append(len(found))
    assert taken == [8, 8]


def test_the_filters() -> None:
    client = signed_in(new_user("owner"))
    off = new_user("clerk", username="people-filter-off", is_active=False)
    on = new_user("support", username="people-filter-on")
    for query, expected in [
        ("role=clerk", [off]),
        ("role=support", [on]),
        ("is_active__exact=0", [off]),
        ("role=owner", []),
    ]:
        answer = client.get(f"{LIST}?q=people-filter&{query}")
        assert listed(answer) == expected


def test_a_user_without_a_role_gets_one_with_the_next_change() -> None:
    user = new_user(None)
    client = signed_in(new_user("owner"))
    assert client.get(page(user)).status_code == 200
    assert client.post(page(user), sent(user)).status_code == 200  # a role is needed
    assert client.post(page(user), sent(user, role="support")).status_code == 302
    assert role_of(fresh(user)) == "support"
    assign(user, "clerk")
    assert Client(SERVER_NAME=HOST).get(LIST).status_code == 302


def test_an_owner_is_no_second_person_of_their_own() -> None:
    owner, finance = new_user("owner"), new_user("finance")
    client = signed_in(owner)
    row = adjustments.ask("float_funding", new_contract(), 10**9, "fifty millions", by=owner)
    assert new(client, f"people-{owner.pk}-second", language="en").status_code == 302
    made = User.objects.get(username=f"people-{owner.pk}-second")
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    client.post(f"{LIST}{finance.pk}/password/", passwords)
    lost, promoted = new_user("finance"), new_user("support")
    signed_in(lost)
    client.post(f"{LIST}{lost.pk}/reset-second-factor/")
    client.post(page(promoted), sent(promoted, role="finance", language="en"))
    for user in (made, finance, lost, promoted):
        answer = signed_in(fresh(user)).post(f"{ADJUSTMENTS}{row.pk}/approve/", follow=True)
        assert "went through the same hand" in answer.content.decode()
    row.refresh_from_db()
    assert row.status == "waiting"
    signed_in(new_user("finance")).post(f"{ADJUSTMENTS}{row.pk}/approve/")
    row.refresh_from_db()
    assert row.status == "posted"


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [("丽", "孙", "孙丽"), ("Li", "Sun", "Li Sun"), ("Ольга", "Волкова", "Ольга Волкова")],
)
def test_a_chinese_name_begins_with_the_family_s(first: str, last: str, shown: str) -> None:
    assert User(first_name=first, last_name=last).get_full_name() == shown
