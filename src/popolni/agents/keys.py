"""Whose hands a person's keys went through: who could sign in as them.

The keys are the account itself, its role, its password and its second factor. Whoever made or
changed one of them for another person may know it. The audit trail tells: it records each such
change and by whom, from whichever page, and is only added to. What the command line changes is
nobody's: whoever runs the server is held to nothing by its programs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.staff import User

OF_A_USER = {"password", "groups", "user_permissions", "is_staff", "is_superuser"}
"""The fields of a user that say what they sign in with, and what they may do then."""


def hands(person: int, since: datetime) -> frozenset[int]:
    """The users through whose hands a user's keys went since then: themselves, and all others.

    That includes those who had the keys of those who had the keys, and so on.
    """
    changed_by = _changed_by(since)
    found, new = {person}, [person]
    while new:
        more = changed_by.get(new.pop(), set()) - found
        found |= more
        new += more
    return frozenset(found)


def _changed_by(since: datetime) -> Mapping[int, set[int]]:
    """Of each user whose keys another one changed since then: which ones."""
    kinds = ContentType.objects.get_for_models(User, TOTPDevice, StaticDevice)
    rows = LogEntry.objects.filter(
        content_type__in=kinds.values(), timestamp__gt=since, actor__isnull=False
    )
    found: dict[int, set[int]] = defaultdict(set)
    for row in rows.order_by("pk"):
        is_user = row.content_type_id == kinds[User].pk
        for user in _changed_user(row) if is_user else _user_of_device(row):
            found[user].add(row.actor_id)
    return found


def _changed_user(row: LogEntry) -> Iterator[int]:
    if row.action == LogEntry.Action.CREATE or OF_A_USER & set(row.changes_dict):
        yield int(row.object_pk)


def _user_of_device(row: LogEntry) -> Iterator[int]:
    """Before and after; a change that leaves it with its user (a name) is none of the keys."""
    for user in row.changes_dict.get("user", ()):
        if user and user.isdecimal():
            yield int(user)
