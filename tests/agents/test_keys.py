"""Whose hands a person's keys went through, as the audit trail tells it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from auditlog.context import set_actor
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.keys import hands
from popolni.agents.roles import assign
from popolni.agents.staff import User
from tests.agents.support import new_user

pytestmark = pytest.mark.usefixtures("database_url")

HOUR = timedelta(hours=1)


def hands_of(user: User) -> set[int]:
    return set(hands(user.pk, timezone.now() - HOUR))


def set_password(user: User) -> None:
    user.set_password("some longer password 9")
    user.save(update_fields=["password"])


def lose_phone(user: User) -> None:
    TOTPDevice.objects.get(user=user).delete()


def lose_codes(user: User) -> None:
    StaticDevice.objects.get(user=user).delete()


def give_role(user: User) -> None:
    assign(user, "support")


def call_by_another_name(user: User) -> None:
    user.first_name = "Anna"
    user.save()


def new_person() -> User:
    user = new_user()
    TOTPDevice.objects.create(user=user, name="phone")
    StaticDevice.objects.create(user=user, name="spare codes")
    return user


CHANGES = [
    (set_password, True),
    (lose_phone, True),
    (lose_codes, True),
    (give_role, True),
    (call_by_another_name, False),
]


@pytest.mark.parametrize(("change", "counts"), CHANGES)
def test_what_is_a_change_of_keys(change: Callable[[User], None], counts: bool) -> None:  # noqa: FBT001  # a case
    user, other = new_person(), new_user()
    assert hands_of(user) == {user.pk}
    with set_actor(user):
        change(user)
    assert hands_of(user) == {user.pk}
    user = new_person()
    change(user)  # by a program, or on the command line
    assert hands_of(user) == {user.pk}
    user = new_person()
    with set_actor(other):
        change(user)
    assert hands_of(user) == ({user.pk, other.pk} if counts else {user.pk})
    assert hands_of(other) == {other.pk}


def test_whoever_makes_an_account_has_its_keys() -> None:
    owner = new_user("owner")
    with set_actor(owner):
        made = new_user()
    assert hands_of(made) == {made.pk, owner.pk}


def test_through_others_hands() -> None:
    owner = new_user("owner")
    with set_actor(owner):
        second = new_user("owner")
    with set_actor(second):
        third = new_user()
    with set_actor(third):
        set_password(owner)  # in a circle
    assert hands_of(third) == {owner.pk, second.pk, third.pk}


def test_what_was_before_does_not_count() -> None:
    user, other = new_person(), new_user()
    with set_actor(other):
        set_password(user)
    assert hands(user.pk, timezone.now()) == {user.pk}
